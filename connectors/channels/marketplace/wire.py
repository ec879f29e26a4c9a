"""The marketplace's pages and orders as they come. They go no further than `translate` and `client`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from connectors.channels.orders.wire import Currency, check_numbers
from connectors.edge import MAX_LINES, Day, Instant, Line, Name, Price, Qty, Text, Wire


class Buyer(Wire):
    """Who ordered."""

    account: Name


class Money(Wire):
    """A price of one unit."""

    amount: Price
    currency: Currency


class PurchasedLine(Wire):
    """One line."""

    no: Line
    sku: Name
    quantity: Qty
    unit: Name | None = None
    price: Money | None = None


class Purchase(Wire):
    """An order."""

    id: Name
    purchased: Instant
    updated: Instant | None = None
    buyer: Buyer
    ship_by: Day | None = None
    partial_ok: bool = True
    items: Annotated[list[PurchasedLine], Field(min_length=1, max_length=MAX_LINES)]

    @model_validator(mode="after")
    def _numbered_once(self) -> Self:
        check_numbers((item.no, item.sku) for item in self.items)
        return self


class Cancelled(Wire):
    """The buyer does not want it any more."""

    id: Name
    cancelled: Instant
    reason: Text = ""


def kind(body: Any) -> str:
    """Which message it is, parsed or not."""
    return "cancellation" if (isinstance(body, dict) and "cancelled" in body) or isinstance(body, Cancelled) else "purchase"


AnyMessage = Annotated[
    Annotated[Purchase, Tag("purchase")] | Annotated[Cancelled, Tag("cancellation")],
    Discriminator(kind),
]
ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)
TYPES = ("purchase", "cancellation")
