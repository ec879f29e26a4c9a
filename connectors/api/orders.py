"""Routes about orders, and the door for raw messages of any source."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from connectors.api.docs import answers
from connectors.api.http import ExactRoute, parse_json
from connectors.api.models import CancelIn, ReleaseIn
from connectors.api.ports import Accepted, Ports
from connectors.api.problems import Problem
from connectors.api.promises import Before, Cursor, Limit
from connectors.api.render import plain, reply
from connectors.channels.orders.schema import document_schema
from connectors.channels.orders.translate import check_fields
from connectors.texts import meant, suggestion
from schemas.errors import BadMessage
from schemas.orders import OrderStatus

_JSON_TYPES = frozenset({"application/json"})
_LINES_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"})
_ORDER = {
    "channel": "web",
    "external_ref": "W1001",
    "customer": "00100113",
    "placed_at": "2026-11-02T09:00:00Z",
    "requested_date": "2026-11-05",
    "policy": {"partial": True, "backorder": True, "substitute": False},
    "lines": [{"line": 1, "item": "00010021", "qty": "3", "uom": "EA", "unit_price": "12.50", "currency": "USD"}],
}
_CHANGE = {"change": "api:7f", "kind": "cancel", "outcome": "in_part", "sentence": "...", "hint": "..."}
_MOST_MESSAGES = 100_000


def _body(example: Any, *media: str, schema: Any = None) -> dict[str, Any]:
    schema = {"schema": schema or {"type": ["object", "array"]}, "example": example}
    return {"requestBody": {"required": True, "content": dict.fromkeys(media, schema)}}


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["orders"])
    _placing(routes, ports)
    _interventions(routes, ports)
    _door(routes, ports)
    _reads(routes, ports)
    return routes


def _placing(routes: APIRouter, ports: Ports) -> None:
    @routes.post(
        "/v1/orders",
        status_code=202,
        responses=answers("Durable, and on its way", {"order_id": "web:W1001"}, 415, 422, 503, status=202),
        openapi_extra=_body(_ORDER, "application/json", schema=document_schema(ports.channels)),
    )
    async def place(request: Request) -> Response:
        """Place an order, as a channel writes it. 202 once it is durable; follow `Location` for what becomes of it.

        A resend (same channel and external_ref) is the same order. Of a change, `Location` says what became of it.
        """
        _media(request, _JSON_TYPES)
        body = await request.body()
        document = parse_json(body)
        if not isinstance(document, dict):
            raise Problem(422, "body: an order is one JSON object. See /docs for an example.")
        try:
            check_fields(document)
        except BadMessage as error:
            raise Problem(422, f"body: {error.reason}. {error.hint}") from None
        order_id, accepted = await run_in_threadpool(ports.orders.place, body)
        return _on_its_way(order_id, accepted, accepted.change)


def _interventions(routes: APIRouter, ports: Ports) -> None:
    @routes.post(
        "/v1/orders/{order_id:path}/cancel",
        status_code=202,
        responses=answers("Durable, and on its way", {"order_id": "web:W1001"}, 404, 409, 415, 503, status=202),
    )
    def cancel(order_id: str, body: CancelIn | None = None) -> Response:
        """Ask to cancel an order or a line of it, as far as that can still be done. `Location` says what became of it."""
        wish = body or CancelIn()
        change, accepted = ports.orders.cancel(order_id, wish.line, wish.reason)
        return _on_its_way(order_id, accepted, change)

    @routes.post(
        "/v1/orders/{order_id:path}/release",
        status_code=202,
        responses=answers("Durable, and on its way", {"order_id": "web:W1001"}, 404, 409, 415, 503, status=202),
    )
    def release(order_id: str, body: ReleaseIn) -> Response:
        """Let a held order go on, in spite of one of the reasons it is held for, or of all."""
        change, accepted = ports.holds.release(order_id, body.reason or "", body.person, body.note)
        return _on_its_way(order_id, accepted, change)


def _door(routes: APIRouter, ports: Ports) -> None:
    @routes.post(
        "/v1/ingest/{source}",
        status_code=202,
        responses=answers("Durable", {"source": "wms", "count": 2}, 404, 415, 503, status=202),
        openapi_extra=_body({"event_id": "W-1029", "type": "stock.received"}, "application/json", "application/x-ndjson"),
    )
    async def ingest(source: str, request: Request) -> Response:
        """Take in raw messages of a source: one JSON document, an array of them, or one a line (NDJSON). All or none.

        A message that turns out not to be understood is kept as a dead letter and shows under /v1/exceptions.
        """
        if source not in ports.ingest.sources():
            known = ports.ingest.sources()
            raise Problem(404, f"There is no source {source[:100]!r}. Known: {', '.join(known)}.{meant(source, known)}")
        media = _media(request, _JSON_TYPES | _LINES_TYPES)
        messages = await run_in_threadpool(split, await request.body(), media in _LINES_TYPES)
        accepted = await run_in_threadpool(ports.ingest.accept, source, messages)
        return reply({"source": source, "count": accepted.count, "trace_id": accepted.trace_id}, 202)


def _reads(routes: APIRouter, ports: Ports) -> None:
    @routes.get("/v1/orders", responses=answers("Orders by id, a page at a time", {"orders": [], "next": None}))
    def page(after: Cursor = None, limit: Limit = 100) -> Response:
        """All orders. Pass `next` as `after` for the page that follows."""
        rows = ports.orders.status_page(after, limit)
        return reply({"orders": rows, "next": rows[-1].order_id if len(rows) == limit else None})

    @routes.get("/v1/orders/{order_id:path}/trace", responses=answers("What happened to it", {"events": []}, 404))
    def trace(order_id: str, before: Before = None, limit: Limit = 200) -> Response:
        """Everything the order's state follows from, oldest first, with where each came from, and its milestones."""
        events = ports.orders.events(order_id, before, limit)
        row = ports.orders.status(order_id)
        if row is None and not events:
            raise _unknown(ports, order_id)
        return reply(
            {
                "order_id": order_id,
                "status": row.status if row else "received",
                "events": [{"offset": offset, "type": type(event).__name__, **plain(event)} for offset, event in events],
                "next": events[0][0] if len(events) == limit else None,
                "milestones": ports.orders.milestones(order_id),
            }
        )

    @routes.get("/v1/orders/{order_id:path}/changes", responses=answers("What became of requests", {"changes": []}, 404))
    def changes(order_id: str) -> Response:
        """Requests for change of an order and what became of each, and what to do instead.

        `outcome`: pending, done, in_part, refused or expired. One that came before its order is pending until the order comes, at
        most as long as the settings say; then it has expired.
        """
        found = ports.orders.changes(order_id)
        if not found and ports.orders.status(order_id) is None:
            raise _unknown(ports, order_id)
        return reply({"order_id": order_id, "changes": found})

    @routes.get("/v1/orders/{order_id:path}/changes/{change:path}", responses=answers("What became of it", _CHANGE, 404))
    def change(order_id: str, change: str) -> Response:
        """What became of one request for change. The call that made it, or the order, says its id."""
        found = next((row for row in ports.orders.changes(order_id) if row.change == change), None)
        if found is None:
            where = f"Order {order_id[:100]!r} has no change {change[:100]!r}."
            raise Problem(404, f"{where} One just sent shows within a second; GET /v1/orders/<id>/changes lists them.")
        return reply(found)

    @routes.get("/v1/orders/{order_id:path}", responses=answers("Its state, line by line", {"order_id": "web:W1001"}, 404))
    def order(order_id: str) -> Response:
        """The state of an order. The id is `<channel>:<external reference>`."""
        return reply(_status(ports, order_id))


def _on_its_way(order_id: str, accepted: Accepted, change: str | None = None) -> Response:
    location = f"/v1/orders/{quote(order_id, safe=':')}"
    if change is None:
        return reply({"order_id": order_id, "trace_id": accepted.trace_id}, 202, {"Location": location})
    location = f"{location}/changes/{quote(change, safe=':')}"
    return reply({"order_id": order_id, "change": change, "trace_id": accepted.trace_id}, 202, {"Location": location})


def _status(ports: Ports, order_id: str) -> OrderStatus:
    row = ports.orders.status(order_id)
    if row is None:
        raise _unknown(ports, order_id)
    return row


def _unknown(ports: Ports, order_id: str) -> Problem:
    channel, colon, _ = order_id.partition(":")
    known = {*ports.channels, "erp"}
    if ports.channels and colon and channel not in known:
        about = f"Ids begin with the channel the order came from, and {channel[:60]!r} is none. "
        return Problem(404, f"Order {order_id[:100]!r} is not known. {about}{suggestion('channel', channel, known)}")
    return Problem(
        404,
        f"Order {order_id[:100]!r} is not known. Ids are <channel>:<external reference>; one just sent shows within a second.",
    )


def _media(request: Request, allowed: frozenset[str]) -> str:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in allowed:
        raise Problem(415, f"The body's type is {media or 'not given'}. Send Content-Type: {' or '.join(sorted(allowed)[:2])}.")
    return media


def split(body: bytes, is_lines: bool) -> list[bytes]:
    """The messages of a body, each as it was written. Raises `Problem` 400 for anything that is not JSON."""
    if not is_lines:
        try:
            kind = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if len([line for line in body.splitlines() if line.strip()]) < 2 or body.lstrip()[:1] == b"[":
                parse_json(body, is_foreign=True)
                raise Problem(400, "The body is not JSON.") from None
        else:
            return _bounded(
                [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
                if isinstance(kind, list)
                else [body.strip()]
            )
    messages = []
    for n, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            parse_json(line, is_foreign=True)
        except Problem as error:
            raise Problem(400, f"Line {n}: {error.detail} Nothing of the request was taken.") from None
        messages.append(line.strip())
    return _bounded(messages)


def _bounded(messages: list[bytes]) -> list[bytes]:
    if not messages:
        raise Problem(400, "The body holds no message. Send one JSON document, an array, or one document a line.")
    if len(messages) > _MOST_MESSAGES:
        raise Problem(413, f"{len(messages):,} messages are more than {_MOST_MESSAGES:,}. Send them in parts.")
    return messages
