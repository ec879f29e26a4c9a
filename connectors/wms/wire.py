"""The WMS's messages as they come. They go no further than `translate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, TypeAdapter, model_validator

from connectors.edge import MAX_LINES, Day, Delta, Instant, Line, Name, Qty, QtyOrZero, Sequence, Text, Wire, refuse
from schemas.inventory import Status


class WmsMessage(Wire):
    """What every message has. `instance`: which of several WMS feeds, each with a numbering of its own."""

    event_id: Name
    sequence: Sequence
    site: Name
    occurred_at: Instant
    instance: Name | None = None


class StockMessage(WmsMessage):
    """A message about one item."""

    item: Name
    lot: Name | None = None
    uom: Name | None = None


class Reference(Wire):
    """The purchase line goods came on."""

    po: Name
    line: Line


class Received(StockMessage):
    """Goods in."""

    type: Literal["stock.received"]
    qty: Qty
    status: Annotated[Status, Field(strict=False)] = Status.USABLE
    expires_on: Day | None = None
    reference: Reference | None = None


class ReceiptReversed(StockMessage):
    """A receipt was posted by mistake: `qty` of it is taken back, and its purchase line expects the units again."""

    type: Literal["stock.receipt_reversed"]
    qty: Qty
    status: Annotated[Status, Field(strict=False)] = Status.USABLE
    reference: Reference | None = None


class Adjusted(StockMessage):
    """A correction: `qty` is signed."""

    type: Literal["stock.adjusted"]
    qty: Delta
    status: Annotated[Status, Field(strict=False)] = Status.USABLE
    reason: Text = ""


class StockMovedMessage(StockMessage):
    """From site to site."""

    type: Literal["stock.moved"]
    qty: Qty
    status: Annotated[Status, Field(strict=False)] = Status.USABLE
    to_site: Name


class StatusChanged(StockMessage):
    """From status to status."""

    type: Literal["stock.status_changed"]
    qty: Qty
    from_status: Annotated[Status, Field(strict=False, validation_alias=AliasChoices("from_status", "from"))]
    to_status: Annotated[Status, Field(strict=False, validation_alias=AliasChoices("to_status", "to"))]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.from_status == self.to_status:
            raise refuse(
                f"from_status and to_status are both {self.to_status.value!r}",
                "send the status the units had and the one they have",
            )
        return self


class Snapshot(StockMessage):
    """The balance as of `occurred_at`."""

    type: Literal["stock.snapshot"]
    qty: QtyOrZero
    status: Annotated[Status, Field(strict=False)] = Status.USABLE
    expires_on: Day | None = None


class PickMessage(StockMessage):
    """A message about one order line."""

    order: Name
    line: Line


class Released(PickMessage):
    """The line went to the floor."""

    type: Literal["pick.released"]
    qty: Qty


class Picked(PickMessage):
    """Units of the line were picked."""

    type: Literal["pick.completed"]
    qty: Qty


class Short(PickMessage):
    """`qty` was picked (perhaps nothing), `qty_short` was not there."""

    type: Literal["pick.short"]
    qty: QtyOrZero
    qty_short: Qty


class Substituted(PickMessage):
    """`qty` of the line is served by another item. `lot` is the substitute's; `substitute_uom` is `uom` if none."""

    type: Literal["pick.substituted"]
    qty: Qty
    substitute_item: Name
    substitute_qty: Qty
    substitute_uom: Name | None = None

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.substitute_item == self.item:
            raise refuse(f"substitute_item {self.item!r} is the item ordered", "send pick.completed for the item itself")
        return self


class ShipmentLineMessage(Wire):
    """One line of a shipment. `qty` 0 takes back what an earlier message said had left."""

    line: Line
    item: Name
    qty: QtyOrZero
    lot: Name | None = None
    uom: Name | None = None


class Shipped(WmsMessage):
    """A shipment left."""

    type: Literal["shipment.confirmed"]
    order: Name
    shipment: Name
    carrier: Name | None = None
    tracking: Name | None = None
    lines: Annotated[list[ShipmentLineMessage], Field(min_length=1, max_length=MAX_LINES)]


class ReturnMessage(StockMessage):
    """Goods came back, of an order line if it is known."""

    type: Literal["return.received"]
    qty: Qty
    order: Name | None = None
    line: Line | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.order is None) != (self.line is None):
            given, lacking = ("order", "line") if self.line is None else ("line", "order")
            raise refuse(f"{lacking} is missing, but {given} is there", "name both, or neither")
        return self


AnyMessage = Annotated[
    Received
    | ReceiptReversed
    | Adjusted
    | StockMovedMessage
    | StatusChanged
    | Snapshot
    | Released
    | Picked
    | Short
    | Substituted
    | Shipped
    | ReturnMessage,
    Field(discriminator="type"),
]
ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)
TYPES = (
    "stock.received",
    "stock.receipt_reversed",
    "stock.adjusted",
    "stock.moved",
    "stock.status_changed",
    "stock.snapshot",
    "pick.released",
    "pick.completed",
    "pick.short",
    "pick.substituted",
    "shipment.confirmed",
    "return.received",
)
