"""WMS messages to canonical events. An event about stock and an order becomes one for each, from one record."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from operator import attrgetter
from typing import Any, TypedDict

from connectors.edge import Header, check_not_ahead, read_counting
from connectors.wms import wire
from schemas.documents import WarehouseReported
from schemas.inventory import (
    DemandSubstituted,
    PickShorted,
    StockAdjusted,
    StockCounted,
    StockMoved,
    StockPicked,
    StockReceived,
    StockReturned,
    StockShipped,
    StockStatusChanged,
)
from schemas.orders import LinePicked, LineReturned, LineShipped, LineShorted, LineSubstituted, PickReleased
from schemas.records import FeedPosition, Record, Translation
from schemas.reported import written

_TYPE = attrgetter("type")


class StockSubject(TypedDict):
    """What every stock event names."""

    item: str
    site: str
    lot: str | None
    uom: str | None


class LineOf(TypedDict):
    """What every execution event names."""

    order_id: str
    line: int
    item: str
    site: str
    uom: str | None


class ShippedFact(TypedDict):
    """What both events of a shipment's line name."""

    item: str
    site: str
    lot: str | None
    qty_milli: int
    uom: str | None
    order_id: str
    line: int


def translate(record: Record) -> Translation:
    """The events one WMS message means, and its place in the feed. Raises `BadMessage`."""
    m, unknown = read_counting(wire.ADAPTER, record, _TYPE, wire.TYPES)
    check_not_ahead(m.occurred_at, "occurred_at", record)
    source = "wms" if m.instance is None else f"wms:{m.instance}"
    header = Header(
        event_id=f"{source}:{m.event_id}",
        source=source,
        source_position=m.sequence,
        occurred_at_ms=m.occurred_at,
        recorded_at_ms=record.timestamp_ms,
        trace_id=record.trace_id,
    )
    content = blake2b(m.model_dump_json(warnings=False).encode(), digest_size=8).hexdigest()
    feed = FeedPosition(source, m.sequence, m.occurred_at, m.event_id, content)
    if isinstance(m, wire.StockMovedMessage) and m.to_site == m.site:
        return Translation(feed=feed, ignored=f"moved within {m.site}: the position of the site is the same", unknown=unknown)
    return Translation([_addressed(event) for event in _TRANSLATE[type(m)](m, header)], feed, unknown=unknown)


def _addressed(event: Any) -> Any:
    """An order named by an id of ours has `<channel>:` in it. Any other name is the ERP's number, and is looked up there."""
    order = getattr(event, "order_id", None)
    if order is None or ":" in order:
        return event
    return WarehouseReported(
        event_id=event.event_id,
        source=event.source,
        source_position=event.source_position,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        order_no=order,
        type=type(event).__name__,
        body=written(event),
    )


def _received(m: wire.Received, h: Header) -> list[Any]:
    document, line = (m.reference.po, m.reference.line) if m.reference else (None, None)
    return [
        StockReceived(
            **h,
            **_thing(m),
            qty_milli=m.qty,
            status=m.status,
            expires_on=m.expires_on,
            document=document,
            document_line=line,
        )
    ]


def _reversed(m: wire.ReceiptReversed, h: Header) -> list[Any]:
    document, line = (m.reference.po, m.reference.line) if m.reference else (None, None)
    return [
        StockReceived(**h, **_thing(m), qty_milli=-m.qty, status=m.status, expires_on=None, document=document, document_line=line)
    ]


def _adjusted(m: wire.Adjusted, h: Header) -> list[Any]:
    return [StockAdjusted(**h, **_thing(m), qty_milli=m.qty, status=m.status, reason=m.reason)]


def _moved(m: wire.StockMovedMessage, h: Header) -> list[Any]:
    return [StockMoved(**h, **_thing(m), qty_milli=m.qty, status=m.status, to_site=m.to_site)]


def _status_changed(m: wire.StatusChanged, h: Header) -> list[Any]:
    return [StockStatusChanged(**h, **_thing(m), qty_milli=m.qty, from_status=m.from_status, to_status=m.to_status)]


def _snapshot(m: wire.Snapshot, h: Header) -> list[Any]:
    return [StockCounted(**h, **_thing(m), qty_milli=m.qty, status=m.status, expires_on=m.expires_on)]


def _released(m: wire.Released, h: Header) -> list[Any]:
    return [PickReleased(**h, **_line_of(m), qty_milli=m.qty)]


def _picked(m: wire.Picked, h: Header) -> list[Any]:
    return [
        StockPicked(**h, **_thing(m), qty_milli=m.qty, order_id=m.order, line=m.line, substitute_for=None),
        LinePicked(**h, **_line_of(m), qty_milli=m.qty),
    ]


def _short(m: wire.Short, h: Header) -> list[Any]:
    return [
        PickShorted(**h, **_thing(m), qty_milli=m.qty, order_id=m.order, line=m.line, short_milli=m.qty_short),
        LineShorted(**h, **_line_of(m), qty_milli=m.qty, short_milli=m.qty_short),
    ]


def _substituted(m: wire.Substituted, h: Header) -> list[Any]:
    return [
        DemandSubstituted(
            **h,
            item=m.item,
            site=m.site,
            lot=None,
            uom=m.uom,
            qty_milli=m.qty,
            order_id=m.order,
            line=m.line,
            substitute_item=m.substitute_item,
        ),
        StockPicked(
            **h,
            item=m.substitute_item,
            site=m.site,
            lot=m.lot,
            uom=m.substitute_uom or m.uom,
            qty_milli=m.substitute_qty,
            order_id=m.order,
            line=m.line,
            substitute_for=m.item,
        ),
        LineSubstituted(
            **h, **_line_of(m), qty_milli=m.qty, substitute_item=m.substitute_item, substitute_milli=m.substitute_qty
        ),
    ]


def _shipped(m: wire.Shipped, h: Header) -> list[Any]:
    """One event a line and lot: what a message says of it in several places (cartons) adds up."""
    rows: dict[tuple[int, str, str | None, str | None], int] = {}
    for line in m.lines:
        at = (line.line, line.item, line.lot, line.uom)
        rows[at] = rows.get(at, 0) + line.qty
    events: list[Any] = []
    times: dict[int, int] = {}
    parts: dict[tuple[int, str, str | None], int] = {}
    for (number, item, lot, uom), qty in rows.items():
        n = times[number] = times.get(number, 0) + 1
        part = parts[number, item, lot] = parts.get((number, item, lot), -1) + 1
        own = h.copy()
        own["event_id"] = f"{h['event_id']}/{number}" if n == 1 else f"{h['event_id']}/{number}.{n}"
        fact = ShippedFact(item=item, site=m.site, lot=lot, qty_milli=qty, uom=uom, order_id=m.order, line=number)
        events.append(StockShipped(**own, **fact, shipment=m.shipment, part=part))
        events.append(LineShipped(**own, **fact, shipment=m.shipment, part=part, carrier=m.carrier, tracking=m.tracking))
    return events


def _returned(m: wire.ReturnMessage, h: Header) -> list[Any]:
    stock = StockReturned(**h, **_thing(m), qty_milli=m.qty, order_id=m.order, line=m.line)
    if m.order is None or m.line is None:
        return [stock]
    return [
        stock,
        LineReturned(**h, order_id=m.order, line=m.line, item=m.item, site=m.site, uom=m.uom, qty_milli=m.qty, lot=m.lot),
    ]


def _thing(m: wire.StockMessage) -> StockSubject:
    return StockSubject(item=m.item, site=m.site, lot=m.lot, uom=m.uom)


def _line_of(m: wire.PickMessage) -> LineOf:
    return LineOf(order_id=m.order, line=m.line, item=m.item, site=m.site, uom=m.uom)


_TRANSLATE: dict[type[Any], Callable[[Any, Header], list[Any]]] = {
    wire.Received: _received,
    wire.ReceiptReversed: _reversed,
    wire.Adjusted: _adjusted,
    wire.StockMovedMessage: _moved,
    wire.StatusChanged: _status_changed,
    wire.Snapshot: _snapshot,
    wire.Released: _released,
    wire.Picked: _picked,
    wire.Short: _short,
    wire.Substituted: _substituted,
    wire.Shipped: _shipped,
    wire.ReturnMessage: _returned,
}
