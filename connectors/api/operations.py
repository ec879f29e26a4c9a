"""Routes about the running of it: exceptions, tables, health, metrics."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from connectors.api.docs import answers
from connectors.api.http import ExactRoute
from connectors.api.models import AssignIn, ResolveIn, ResumeIn, SettleIn, SkipIn
from connectors.api.pools import Pool
from connectors.api.ports import Health, Ports, UnknownFieldShown
from connectors.api.problems import Problem, problem
from connectors.api.promises import Cursor, Limit, Text
from connectors.api.render import instant, plain, reply
from connectors.texts import unknown
from schemas.deliveries import EndpointStatus
from schemas.operations import ExceptionRow

HEALTH_THREADS, HEALTH_WAITING = 4, 1_000
SCAN_THREADS, SCAN_WAITING = 4, 100
_SCAN_MOST = 10_000
_ENDPOINT = {"endpoint": "wms", "circuit": "open", "waiting": 12, "in_flight": 0, "retry_at": "2026-11-02T09:14:07.000Z"}
_STANDING = {
    "halted": [
        {
            "flow": "promise",
            "record": "promise.inbox.v1/2/4711",
            "event": "StockReceived W-1029 of SKU-1",
            "reason": "stock is impossible",
            "since": "2026-11-02T09:14:07.000Z",
            "exit": 'crossdock skip promise.inbox.v1/2/4711 --reason "..."',
        }
    ],
    "paused": [],
    "waiting": [],
    "unpublished": [],
    "limits": {"dead_letters": 1000, "share": 0.5, "window_s": 3600, "flow_dead_letters": 10000, "sources": {}},
    "is_cut": False,
    "settings": ["site.DC-1: the ERP has no site 'DC-1', so no site is run by these settings. Did you mean DC1?"],
}


_UNKNOWN = {
    "source": "wms",
    "message": "stock.received",
    "field": "expires_one",
    "count": 12,
    "since": "2026-11-02T09:14:07.000Z",
    "last_at": "2026-11-02T11:02:51.000Z",
    "example": "raw.wms/0/4711",
    "meant": "expires_on",
    "advice": "Did you mean expires_on? Have the sender correct it, and send these messages again.",
    "is_warning": True,
}


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["operations"])
    _exceptions(routes, ports)
    _interventions(routes, ports)
    _sources(routes, ports)
    _endpoints(routes, ports)
    _tables(routes, ports)
    routes.include_router(health_router(ports.health, ports.registry))
    return routes


def health_router(health: Health, registry: CollectorRegistry) -> APIRouter:
    """Whether the process works, whether it is ready, and its measures."""
    routes = APIRouter(route_class=ExactRoute, tags=["operations"])
    _health(routes, health, registry)
    return routes


def _exceptions(routes: APIRouter, ports: Ports) -> None:
    pool = Pool(SCAN_THREADS, SCAN_WAITING)

    @routes.get("/v1/exceptions", responses=answers("A page of exceptions", {"exceptions": [], "next": None}, 503, 504))
    async def page(
        state: Annotated[str | None, Query(pattern="^(open|assigned|resolved|cleared|all)$")] = None,
        code: Text = None,
        after: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        """What a person should know. Without `state`: those open or assigned. Pass `next` as `after` for the next page."""
        codes = ports.exceptions.codes()
        if code is not None and code not in codes:
            raise Problem(422, f"query/code: {unknown('code of exceptions', code, codes)}")
        wanted = {"open", "assigned"} if state is None else None if state == "all" else {state}
        found, following = await pool.run(_matching, ports, wanted, code, after, limit)
        return reply({"exceptions": [_row(row) for row in found], "next": following})

    @routes.post(
        "/v1/exceptions/{fingerprint:path}/assign",
        status_code=202,
        responses=answers("Taken", {}, 404, 409, 415, 503, status=202),
    )
    def assign(fingerprint: str, body: AssignIn) -> Response:
        """Somebody takes it."""
        ports.exceptions.work(fingerprint, "assign", body.person, "")
        return reply({"fingerprint": fingerprint, "action": "assign"}, 202)

    @routes.post(
        "/v1/exceptions/{fingerprint:path}/resolve",
        status_code=202,
        responses=answers("Settled", {}, 404, 409, 415, 503, status=202),
    )
    def resolve(fingerprint: str, body: ResolveIn) -> Response:
        """Somebody has settled it, with a note on how."""
        ports.exceptions.work(fingerprint, "resolve", body.person, body.note)
        return reply({"fingerprint": fingerprint, "action": "resolve"}, 202)

    @routes.post(
        "/v1/exceptions/{exception_id:path}/replay",
        status_code=202,
        responses=answers("Fed again", {}, 404, 409, 503, status=202),
    )
    def replay(exception_id: str, person: Text = None) -> Response:
        """Feed the quarantined message behind it again (by fingerprint or dead letter id), now that its cause is corrected.

        Each dead letter is fed once. `gone`: letters whose record was too large to be kept and is no longer in the log.
        `is_more`: ask again for the others.

        For an exhausted obligation: have it tried again.
        """
        found = ports.exceptions.replay(exception_id, person or "")
        more = ({"gone": found.gone} if found.gone else {}) | ({"is_more": True} if found.is_more else {})
        return reply({"replayed": found.ids, **more}, 202)

    @routes.get("/v1/exceptions/{fingerprint:path}", responses=answers("One exception", {}, 404))
    def one(fingerprint: str) -> Response:
        """One exception with the events behind it."""
        row = ports.exceptions.get(fingerprint)
        if row is None:
            raise Problem(404, f"There is no exception {fingerprint[:100]!r}. GET /v1/exceptions lists them.")
        return reply(_row(row))


def _matching(
    ports: Ports, states: set[str] | None, code: str | None, after: str | None, limit: int
) -> tuple[list[ExceptionRow], str | None]:
    found: list[ExceptionRow] = []
    seen = 0
    while seen < _SCAN_MOST:
        rows = ports.exceptions.page(after, 500)
        for row in rows:
            if (states is None or row.state in states) and (code is None or row.code == code):
                found.append(row)
                if len(found) == limit:
                    return found, row.fingerprint
        if len(rows) < 500:
            return found, None
        seen += len(rows)
        after = rows[-1].fingerprint
    return found, after


def _row(row: ExceptionRow) -> dict[str, Any]:
    shown: dict[str, Any] = plain(row)
    return shown


def _interventions(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/operations", responses=answers("What does not go on", _STANDING, 503))
    def standing() -> Response:
        """What does not go on, and what has it go on again.

        `halted`: partitions that stand at a record (`exit`: the command that sets it aside). `paused`: sources read no further,
        because too much of them was refused (`limits`). `waiting`: what events wait for. `unpublished`: keys of which what is
        published is old, because it cannot be worked out. `settings`: names in settings that nobody has.
        """
        return reply(_since(plain(ports.interventions.standing())))

    @routes.post("/v1/operations/skip", status_code=202, responses=answers("Taken", {}, 404, 415, 503, status=202))
    def skip(body: SkipIn) -> Response:
        """Set a record aside at which a partition stands: it becomes a dead letter, and the partition goes on after it."""
        ports.interventions.skip(body.record, body.person, body.reason)
        return reply({"record": body.record, "action": "skip"}, 202)

    @routes.post("/v1/operations/resume", status_code=202, responses=answers("Taken", {}, 409, 415, 503, status=202))
    def resume(body: ResumeIn) -> Response:
        """Have a paused source read on from where it was paused."""
        return reply({"source": ports.interventions.resume(body.source, body.person, body.reason), "action": "resume"}, 202)

    @routes.post("/v1/operations/settle", status_code=202, responses=answers("Taken", {}, 404, 409, 415, 503, status=202))
    def settle(body: SettleIn) -> Response:
        """Say that the ERP's newest snapshot of a table is over: rows it has not read are taken for deleted.

        What the ERP streams after a snapshot says that of itself; this is for a table in which nothing changes. What is read
        of a row later brings it back.
        """
        position = ports.interventions.settle(body.table, body.person, body.reason)
        return reply({"table": body.table, "history": position, "action": "settle"}, 202)


def _sources(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/sources/unknown-fields", responses=answers("Fields nobody reads", {"fields": [_UNKNOWN]}, 503))
    def unknown_fields() -> Response:
        """Fields that foreign systems send and nobody reads, at most 200 a source: what is probably misspelt first.

        `count`: messages that had it. `example`: the last of them, as topic/partition/offset; the whole message is kept there.
        `meant`: the field that was probably meant. `is_warning`: it was, and this came within the last days.
        """
        return reply({"fields": [_unknown_field(row) for row in ports.sources.unknown_fields()]})


def _unknown_field(row: UnknownFieldShown) -> dict[str, Any]:
    shown: dict[str, Any] = plain(row)
    since_ms, last_ms = shown.pop("since_ms"), shown.pop("last_ms")
    return {**shown, "since": instant(since_ms), "last_at": instant(last_ms)}


def _since(shown: Any) -> Any:
    """The same with instants for people, wherever there is one."""
    if isinstance(shown, dict):
        return {("since" if k == "since_ms" else k): instant(v) if k == "since_ms" else _since(v) for k, v in shown.items()}
    return [_since(part) for part in shown] if isinstance(shown, list | tuple) else shown


def _endpoints(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/endpoints", responses=answers("The endpoints there are", {"endpoints": [_ENDPOINT]}))
    def endpoints() -> Response:
        """The systems orders are posted to, released to and told of: what waits for each, and whether it serves.

        `circuit`: closed (served), open (left alone until `retry_at`), half_open (one call decides). `oldest_at`: when the oldest
        that waits was raised.
        """
        return reply({"endpoints": [_endpoint(row) for row in ports.endpoints.endpoints()]})


def _endpoint(row: EndpointStatus) -> dict[str, Any]:
    shown: dict[str, Any] = plain(row)
    shown["oldest_at"] = instant(shown.pop("oldest_ms"))
    return shown


def _tables(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/tables", responses=answers("The tables there are", {"tables": ["promise.items"]}))
    def names() -> Response:
        """Every flow's tables."""
        return reply({"tables": ports.tables.names()})

    @routes.get("/v1/tables/{table}", responses=answers("A page of rows", {"rows": [], "next": None}, 404))
    def all_rows(
        table: str,
        after: Cursor = None,
        limit: Limit = 100,
        form: Annotated[str, Query(pattern="^(values|packed)$")] = "values",
    ) -> Response:
        """Rows of a table in key order. `table` is `<flow>.<table>`, or the table's name alone where only one flow has it.

        `form=packed` gives rows as they are stored (base64), partition after partition, for programs that know the types.
        """
        if form == "packed":
            found = ports.tables.packed(table, after, limit)
            rows = [{"key": key, "row": row} for _, key, row in found]
            return reply({"table": table, "rows": rows, "next": found[-1][0] if len(found) == limit else None})
        return _rows(ports, table, None, after, limit)

    @routes.get("/v1/tables/{table}/{key:path}", responses=answers("The rows of a key", {"rows": [], "next": None}, 404))
    def rows(table: str, key: str, after: Cursor = None, limit: Limit = 100) -> Response:
        """Rows whose key is, or begins with, `key`: its parts separated by `|`, like `00010000|DC1`."""
        return _rows(ports, table, key, after, limit)


def _rows(ports: Ports, table: str, key: str | None, after: str | None, limit: int) -> Response:
    found = ports.tables.rows(table, key, after, limit)
    if not found and key is not None and after is None:
        raise Problem(404, f"Table {table} has no row {key[:100]!r}. GET /v1/tables/{table} lists its rows.")
    following = found[-1][0] if len(found) == limit else None
    return reply({"table": table, "rows": [{"key": k, "row": row} for k, row in found], "next": following})


def _health(routes: APIRouter, health: Health, registry: CollectorRegistry) -> None:
    # Threads of its own: whoever watches is answered in time, whatever else is asked.
    pool, measuring = Pool(HEALTH_THREADS, HEALTH_WAITING), Pool(1, HEALTH_WAITING)

    def measured() -> bytes:
        health.refresh_metrics()
        return generate_latest(registry)

    @routes.get("/healthz", responses=answers("Alive", {"is_live": True, "checks": {}}, 503))
    async def healthz() -> Response:
        """Whether the process works. A partition that stands is not a reason to start it again: see `readyz`."""
        state = await pool.run(health.state)
        if state.is_live:
            return reply({"is_live": True, "checks": state.checks})
        return problem(
            503, "A thread has ended: see its log. Nothing is lost; correct the cause and restart.", checks=state.checks
        )

    @routes.get("/readyz", responses=answers("Ready", {"is_ready": True, "checks": {}}, 503))
    async def readyz() -> Response:
        """Whether requests will be served in time: the flows run and are not far behind."""
        state = await pool.run(health.state)
        if state.is_ready:
            return reply({"is_ready": True, "checks": state.checks})
        return problem(503, state.says, {"Retry-After": "1"}, checks=state.checks)

    @routes.get("/metrics", responses={200: {"description": "Prometheus text", "content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Measures in Prometheus' text format."""
        return Response(await measuring.run(measured), media_type=CONTENT_TYPE_LATEST)
