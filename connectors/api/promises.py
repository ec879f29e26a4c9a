"""Routes about promises: ATP, checks, the formula alone, reservations, and why the number is what it is."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from connectors.api.docs import AUDIT, EXPLAIN, QUOTE, answers
from connectors.api.http import ExactRoute
from connectors.api.ledger import Total, Totals
from connectors.api.models import FIRST_DAY, LAST_DAY, MAX_DAYS, CalculateIn, CheckIn, ReserveIn
from connectors.api.pools import Pool
from connectors.api.ports import AtpQuery, AuditQuery, CheckLine, CommandResponse, Ports, Quote, QuoteDay, ReserveCommand
from connectors.api.problems import Problem, problem
from connectors.api.render import field, instant, number, plain, reply
from connectors.texts import ID_PATTERN, MAX_ID, MAX_PATH_ID
from schemas.inventory import Atp, SiteAtp

Text = Annotated[str | None, Query(min_length=1, max_length=MAX_ID, pattern=ID_PATTERN)]
Cursor = Annotated[str | None, Query(min_length=1, max_length=MAX_PATH_ID, pattern=ID_PATTERN)]
Place = Annotated[str | None, Query(min_length=1, max_length=30_000, pattern=ID_PATTERN)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Before = Annotated[int | None, Query(ge=0, le=2**62)]


EXPLAIN_THREADS, EXPLAIN_WAITING = 2, 100


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["promises"])
    _reads(routes, ports)
    _formulas(routes, ports)
    _reservations(routes, ports)
    return routes


def _reads(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/atp", responses=answers("Items in order, a page at a time", {"items": [], "next": None}))
    def atp_page(after: Cursor = None, limit: Limit = 100) -> Response:
        """The promise of every item. Pass `next` as `after` for the page that follows."""
        rows = ports.promises.atp_page(after, limit)
        return reply({"items": [_brief(row) for row in rows], "next": rows[-1].item if len(rows) == limit else None})

    @routes.get("/v1/atp/{item:path}", responses=answers("The number, its day series, its inputs", QUOTE, 404))
    def atp(
        item: str,
        site: Text = None,
        channel: Text = None,
        policy: Text = None,
        from_: Annotated[date | None, Query(alias="from", ge=FIRST_DAY, le=LAST_DAY)] = None,
        days: Annotated[int | None, Query(ge=1, le=MAX_DAYS)] = None,
    ) -> Response:
        """What can be promised of an item: by site and day, by any policy, as one channel may take it.

        A channel that is not in the settings (422) or a site the ERP has not sent (404) is refused.
        """
        row = _known(ports, item)
        quote = ports.promises.quote(row, AtpQuery(site, channel, policy, from_, days))
        return reply(_quoted(row, quote) | {"freshness": _freshness(ports, row)})

    totals, pool = Totals(ports.promises), Pool(EXPLAIN_THREADS, EXPLAIN_WAITING)

    def explained(item: str, before: int | None, limit: int) -> dict[str, Any]:
        row = _known(ports, item)
        entries = ports.promises.ledger(item, before, limit)
        found, is_whole = totals.of(row)
        return {
            "item": item,
            "uom": row.uom,
            "rows": [{"offset": offset, **plain(entry)} for offset, entry in entries],
            "next": entries[0][0] if len(entries) == limit else None,
            "totals": [_total(total) for total in found],
            "adds_up": all(t.added_milli == t.present_milli for t in found) if is_whole else None,
        }

    @routes.get("/v1/items/{item:path}/explain", responses=answers("The ledger behind the number", EXPLAIN, 404, 503, 504))
    async def explain(item: str, before: Before = None, limit: Limit = 100) -> Response:
        """The ledger rows of an item, oldest first, and the sum of all its rows beside the present number.

        Rows are the newest `limit`; pass `next` as `before` for older ones.
        """
        return await pool.run(lambda: reply(explained(item, before, limit)))

    @routes.get("/v1/items/{item:path}/audit", responses=answers("What was oversold, and by what", AUDIT, 404, 422, 503, 504))
    async def audit(item: str, site: Text = None, at: Text = None, after: Place = None) -> Response:
        """Each time more of an item was promised at a site than there was, with the event that caused it, from the ledger.

        `at`: as of an instant, a day (UTC) or milliseconds since 1970. A long ledger takes several requests: pass `next` as
        `after` until it is none, each brings the oversales that ended in its part. `is_proved`, in the last one, says that the
        whole ledger was read and is whole: then no `oversales` in any is the proof that there was none.
        """
        return await pool.run(lambda: reply(_audited(ports, item, AuditQuery(site, at, after))))


def _audited(ports: Ports, item: str, query: AuditQuery) -> dict[str, Any]:
    _known(ports, item)
    page = ports.promises.audit(item, query)
    found = [plain(row) | {"why": why} for row, why in zip(page.oversales, page.sentences, strict=True)]
    return {
        "item": item,
        "is_proved": page.is_proved,
        "events": page.events,
        "oversales": found,
        "missing_before": page.gap or None,
        "proved": page.proved,
        "not_proved": page.not_proved,
        "next": page.next,
    }


def _formulas(routes: APIRouter, ports: Ports) -> None:
    @routes.post(
        "/v1/atp/check",
        responses=answers("Line by line, whether they can be had together", {"is_available": True, "lines": []}, 404, 415, 422),
    )
    def check(body: CheckIn) -> Response:
        """Can these lines be had together? Lines of one item share its stock. Nothing is held: reserve for that.

        A channel that is not in the settings (422) or a site the ERP has not sent (404) is refused; what is wrong with an item or
        its unit is said in its line.
        """
        lines = [CheckLine(line.item, line.qty, line.uom, line.site, line.date) for line in body.lines]
        found = ports.promises.check(lines, body.channel)
        return reply({"channel": body.channel, "is_available": all(line.is_available for line in found), "lines": found})

    @routes.post(
        "/v1/atp/calculate",
        responses=answers("ATP and projected stock by day", {"policy": "lookahead", "atp": [17], "projected": [17]}, 415, 422),
    )
    def calculate(body: CalculateIn) -> Response:
        """The formula alone, over the quantities given: nothing of crossdock's own state is read."""
        if body.policy not in ports.promises.policies():
            raise Problem(422, f"body/policy: there is no policy {body.policy!r}. Use {', '.join(ports.promises.policies())}.")
        supply, demand = body.by_day(body.supply), body.by_day(body.demand)
        atp, projected = ports.promises.calculate(body.policy, body.opening, body.safety_stock, supply, demand)
        return reply({"policy": body.policy, "atp": [number(q) for q in atp], "projected": [number(q) for q in projected]})


def _reservations(routes: APIRouter, ports: Ports) -> None:
    held = {"reservation_id": "MDAwMTAwMDA.9f8e7d6c5b4a3928", "item": "00010000", "qty": 2, "site": "DC1"}

    @routes.post(
        "/v1/reservations", status_code=201, responses=answers("Held", held, 400, 404, 409, 415, 422, 429, 503, 504, status=201)
    )
    async def reserve(
        body: ReserveIn, idempotency_key: Annotated[str | None, Header(max_length=255, min_length=1, pattern=ID_PATTERN)] = None
    ) -> Response:
        """Hold units for a while. The same Idempotency-Key with the same body gets the same answer, however often it is sent.

        429: the channel has as many alive over all items as it may (`hold_total` of its settings).
        """
        if idempotency_key is None:
            raise Problem(
                400,
                "The Idempotency-Key header is missing. Send one of your own (a UUID, say), and the same one when you try again.",
            )
        command = ReserveCommand(
            key=idempotency_key,
            body_hash=_hash(body),
            item=body.item,
            qty_milli=body.qty,
            uom=body.uom,
            site=body.site,
            channel=body.channel,
            ttl_ms=body.ttl_s * 1000,
        )
        answer = await ports.reservations.reserve(command)
        location = answer.body.get("reservation_id")
        return _decided(answer, {"Location": f"/v1/reservations/{location}"} if answer.status == 201 else {})

    @routes.delete("/v1/reservations/{reservation_id}", responses=answers("Given back", held, 404, 503, 504))
    async def release(reservation_id: str) -> Response:
        """Give a hold back. Doing it again gets the same answer."""
        return _decided(await ports.reservations.release(reservation_id), {})


def _decided(answer: CommandResponse, headers: dict[str, str]) -> Response:
    if answer.status < 400:
        return reply(dict(field(name, value) for name, value in answer.body.items()), answer.status, headers)
    more = {name: value for name, value in answer.body.items() if name not in {"type", "title", "status", "detail"}}
    return problem(answer.status, str(answer.body.get("detail", "The request was refused.")), headers, **more)


def _hash(body: ReserveIn) -> str:
    return hashlib.sha256(json.dumps(body.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def _known(ports: Ports, item: str) -> Atp:
    row = ports.promises.atp(item)
    if row is None:
        raise Problem(404, f"Item {item[:100]!r} is not known: no source has sent it yet. GET /v1/atp lists the items there are.")
    return row


# --- how rows are shown ----------------------------------------------------------------------------------------------------


def _brief(row: Atp) -> dict[str, Any]:
    return {
        "item": row.item,
        "uom": row.uom,
        "item_status": row.item_status,
        "policy": row.policy,
        "version": row.version,
        "as_of": instant(row.as_of_ms),
        "atp": number(row.atp_milli),
        "promise": number(row.promise_milli),
        "demand": number(sum(site.demand_milli for site in row.sites)),
        "backordered": number(sum(site.backordered_milli for site in row.sites)),
        "is_suspect": bool(row.suspects),
    }


def _quoted(row: Atp, quote: Quote) -> dict[str, Any]:
    inputs = {site.site: site for site in row.sites}
    shown = _brief(row) | {
        "policy": quote.policy,
        "channel": quote.channel,
        "atp": number(quote.atp_milli),
        "promise": number(quote.promise_milli),
        "safety_stock": number(row.safety_stock_milli),
        "safety_policy": row.safety_policy,
        "suspects": row.suspects,
        "days": [_day(day) for day in quote.days],
    }
    shown["sites"] = [
        {
            "site": site.site,
            "today": site.today.isoformat(),
            "atp": number(site.atp_milli),
            "promise": number(site.promise_milli),
            **_inputs(inputs[site.site]),
            "days": [_day(day) for day in site.days],
        }
        for site in quote.sites
    ]
    return shown


def _inputs(site: SiteAtp) -> dict[str, Any]:
    statuses = ("usable", "held", "quality", "damaged", "staged")
    return {
        "on_hand": {status: number(getattr(site, f"{status}_milli")) for status in statuses},
        "safety_stock": number(site.safety_milli),
        "safety_kept_for_network": number(site.kept_milli),
        "demand": number(site.demand_milli),
        "reserved": number(site.reserved_milli),
        "backordered": number(site.backordered_milli),
        "nets": plain(site.days),
        "expiries": plain(site.expiries),
        "channels": plain(site.channels),
    }


def _day(day: QuoteDay) -> dict[str, Any]:
    shown: dict[str, Any] = plain(day)
    return shown


def _total(total: Total) -> dict[str, Any]:
    return {
        "site": total.site,
        "measure": total.measure,
        "ledger": number(total.added_milli),
        "present": number(total.present_milli),
        "agrees": total.added_milli == total.present_milli,
    }


def _freshness(ports: Ports, row: Atp) -> dict[str, Any]:
    return {"as_of": instant(row.as_of_ms), "item": plain(row.marks), "sources": plain(ports.promises.freshness())}
