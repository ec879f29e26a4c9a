"""Channel orders and their changes to canonical events."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from connectors.channels.orders import wire
from connectors.edge import Header, check_known, check_not_ahead, items_in, read_counting
from schemas.errors import BadMessage
from schemas.orders import OrderCancelRequested, OrderPlaced, OrderQuantityChangeRequested, PlacedLine
from schemas.records import Record, Translation

RAW = "raw.channel."


def translate(record: Record) -> Translation:
    """The event one channel message means. Raises `BadMessage`."""
    m, unknown = read_counting(wire.ADAPTER, record, wire.change, wire.TYPES)
    channel = m.channel.lower()
    if record.topic != RAW + channel:
        raise BadMessage(
            f"channel {m.channel!r} came on the topic of channel {channel_of(record)!r}",
            hint="send each channel's orders to its own source",
            items=items_in(record.value or b""),
        )
    return Translation([placed(m, record) if isinstance(m, wire.OrderDocument) else changed(m, record)], unknown=unknown)


def check_fields(document: Any) -> None:
    """Raises `BadMessage` for a field of a message, already parsed, that would not be read."""
    model = wire.MODELS.get(wire.change(document))
    if model is not None:
        check_known(model, document)


def channel_of(record: Record) -> str:
    """The channel whose raw topic a record is on."""
    return record.topic.removeprefix(RAW)


def placed(m: wire.OrderDocument, record: Record, *, is_restated: bool = False, stated_at_ms: int = 0) -> OrderPlaced:
    """The event a channel's order means, whatever format it came in. Raises `BadMessage`.

    `is_restated`: the channel sends an order whenever it changes, as it then stands; `stated_at_ms`: when that was, 0 if unsaid.
    """
    channel = m.channel.lower()
    order_id = f"{channel}:{m.external_ref}"
    check_not_ahead(m.placed_at, "placed_at", record)
    lines = sorted(m.lines, key=lambda line: line.line)
    content = _hash([m.customer, str(m.requested_date), m.priority, m.policy.model_dump(), [_content(line) for line in lines]])
    return OrderPlaced(
        **_header(f"{order_id}#{content}", channel, m.placed_at, record),
        order_id=order_id,
        channel=channel,
        external_ref=m.external_ref,
        customer=m.customer,
        requested_on=m.requested_date,
        priority=m.priority,
        allow_partial=m.policy.partial,
        allow_backorder=m.policy.backorder,
        allow_substitute=m.policy.substitute,
        content_hash=content,
        lines=[
            PlacedLine(
                line=line.line,
                item=line.item,
                qty_milli=line.qty,
                uom=line.uom,
                unit_price=line.unit_price,
                currency=line.currency,
                site=line.site,
            )
            for line in lines
        ],
        is_restated=is_restated,
        stated_at_ms=stated_at_ms,
    )


def changed(
    m: wire.Cancel | wire.CancelLine | wire.SetQty, record: Record
) -> OrderCancelRequested | OrderQuantityChangeRequested:
    """The event a channel's change means, whatever format it came in. Raises `BadMessage`."""
    channel = m.channel.lower()
    order_id = f"{channel}:{m.external_ref}"
    at_ms = record.timestamp_ms if m.changed_at is None else m.changed_at
    check_not_ahead(at_ms, "changed_at", record)
    said = m.model_dump(mode="json", exclude={"channel", "external_ref", "change_id"})
    header = _header(f"{order_id}!{m.change_id or _hash(said)}", channel, at_ms, record)
    if isinstance(m, wire.SetQty):
        return OrderQuantityChangeRequested(
            **header, order_id=order_id, line=m.line, qty_milli=m.qty, uom=m.uom, customer=m.customer or ""
        )
    line = m.line if isinstance(m, wire.CancelLine) else None
    return OrderCancelRequested(**header, order_id=order_id, line=line, reason=m.reason, customer=m.customer or "")


def _header(event_id: str, channel: str, occurred_at_ms: int, record: Record) -> Header:
    return Header(
        event_id=event_id,
        source=channel,
        source_position=record.offset,
        occurred_at_ms=occurred_at_ms,
        recorded_at_ms=record.timestamp_ms,
        trace_id=record.trace_id,
    )


def _content(line: wire.OrderDocumentLine) -> list[Any]:
    return [line.line, line.item, line.qty, line.uom, _price(line.unit_price), line.currency, line.site]


def _price(price: Decimal | None) -> str | None:
    return None if price is None else format(price.normalize(), "f")


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
