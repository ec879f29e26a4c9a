"""The marketplace's orders and cancellations to canonical events."""

from __future__ import annotations

from connectors.channels.marketplace import wire
from connectors.channels.orders.translate import changed, channel_of, placed
from connectors.channels.orders.wire import Cancel, FulfilmentPolicy, OrderDocument, OrderDocumentLine
from connectors.edge import read_counting
from schemas.records import Record, Translation


def translate(record: Record) -> Translation:
    """The event one entry of a page means. Raises `BadMessage`."""
    m, unknown = read_counting(wire.ADAPTER, record, wire.kind, wire.TYPES)
    channel = channel_of(record)
    if isinstance(m, wire.Cancelled):
        cancel = Cancel(channel=channel, external_ref=m.id, change="cancel", change_id="cancelled", reason=m.reason)
        return Translation([changed(cancel.model_copy(update={"changed_at": m.cancelled}), record)], unknown=unknown)
    order = OrderDocument.model_construct(
        channel=channel,
        external_ref=m.id,
        customer=m.buyer.account,
        placed_at=m.purchased,
        requested_date=m.ship_by,
        priority=5,
        policy=FulfilmentPolicy(partial=m.partial_ok),
        lines=[
            OrderDocumentLine.model_construct(
                line=item.no,
                item=item.sku,
                qty=item.quantity,
                uom=item.unit,
                unit_price=item.price.amount if item.price else None,
                currency=item.price.currency if item.price else None,
                site=None,
            )
            for item in m.items
        ],
    )
    return Translation([placed(order, record, is_restated=True, stated_at_ms=m.updated or 0)], unknown=unknown)
