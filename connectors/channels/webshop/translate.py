"""The shop's order to canonical events."""

from __future__ import annotations

from connectors.channels.orders.translate import changed, channel_of, placed
from connectors.channels.orders.wire import Cancel, OrderDocument, OrderDocumentLine
from connectors.channels.webshop import wire
from connectors.edge import read_counting
from schemas.records import Record, Translation


def translate(record: Record) -> Translation:
    """The event one webhook means. Raises `BadMessage`."""
    m, unknown = read_counting(wire.ADAPTER, record, lambda _: "order")
    channel = channel_of(record)
    if m.status == "cancelled":
        cancel = Cancel(
            channel=channel,
            external_ref=m.id,
            change="cancel",
            change_id="cancelled",  # a shop cancels an order once: every repetition is the same change
            reason=m.cancel_reason,
        )
        return Translation([changed(cancel.model_copy(update={"changed_at": m.cancelled_at}), record)], unknown=unknown)
    order = OrderDocument.model_construct(
        channel=channel,
        external_ref=m.id,
        customer=m.customer.number,
        placed_at=m.created_at,
        requested_date=m.deliver_by,
        priority=5,
        policy=m.accept,
        lines=[
            OrderDocumentLine.model_construct(
                line=line.position,
                item=line.sku,
                qty=line.quantity,
                uom=line.unit,
                unit_price=line.price,
                currency=m.currency if line.price is not None else None,
                site=None,
            )
            for line in m.line_items
        ],
    )
    return Translation([placed(order, record, is_restated=True, stated_at_ms=m.updated_at or 0)], unknown=unknown)
