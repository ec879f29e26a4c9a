"""The shop's order as it sends it. It goes no further than `translate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from connectors.channels.orders.wire import Currency, FulfilmentPolicy, check_numbers
from connectors.edge import MAX_LINES, Day, Instant, Line, Name, Price, Qty, Text, Wire


class ShopCustomer(Wire):
    """Who ordered."""

    number: Name


class LineItem(Wire):
    """One line."""

    position: Line
    sku: Name
    quantity: Qty
    unit: Name | None = None
    price: Price | None = None


class ShopOrder(Wire):
    """An order as it stands in the shop."""

    id: Name
    status: Literal["open", "cancelled"] = "open"
    created_at: Instant
    updated_at: Instant | None = None
    customer: ShopCustomer
    currency: Currency | None = None
    deliver_by: Day | None = None
    accept: FulfilmentPolicy = FulfilmentPolicy()
    line_items: Annotated[list[LineItem], Field(min_length=1, max_length=MAX_LINES)]
    cancelled_at: Instant | None = None
    cancel_reason: Text = ""

    @model_validator(mode="after")
    def _numbered_once(self) -> Self:
        check_numbers((line.position, line.sku) for line in self.line_items)
        return self


ADAPTER: TypeAdapter[ShopOrder] = TypeAdapter(ShopOrder)
