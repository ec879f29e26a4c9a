"""A channel's messages as they come. They go no further than `translate`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, TypeAdapter, model_validator

from connectors.edge import MAX_LINES, Day, Instant, Line, Name, Price, Qty, Text, Wire, refuse

Currency = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z]{3}$", strict=True)]


class OrderMessage(Wire):
    """What every message has."""

    channel: Name
    external_ref: Name


class FulfilmentPolicy(Wire):
    """What the customer accepts."""

    partial: bool = True
    backorder: bool = True
    substitute: bool = False


class OrderDocumentLine(Wire):
    """One line of an order."""

    line: Line
    item: Name
    qty: Qty
    uom: Name | None = None
    unit_price: Price | None = None
    currency: Currency | None = None
    site: Name | None = None


def check_numbers(lines: Iterable[tuple[int, str]]) -> None:
    """Raises for a line number (and its item) that is there twice."""
    for (one, item), (other, other_item) in pairwise(sorted(lines)):
        if one == other:
            raise refuse(f"line {one} is there twice: {item!r} and {other_item!r}", "number the lines of an order 1, 2, 3")


class OrderDocument(OrderMessage):
    """An order, whole."""

    customer: Name
    placed_at: Instant
    requested_date: Day | None = None
    priority: Annotated[int, Field(ge=0, le=99)] = 5
    policy: FulfilmentPolicy = FulfilmentPolicy()
    lines: Annotated[list[OrderDocumentLine], Field(min_length=1, max_length=MAX_LINES)]

    @model_validator(mode="after")
    def _numbered_once(self) -> Self:
        check_numbers((line.line, line.item) for line in self.lines)
        return self


class ChangeMessage(OrderMessage):
    """What every change has."""

    customer: Name | None = None
    change_id: Name | None = None
    changed_at: Instant | None = None
    reason: Text = ""


class Cancel(ChangeMessage):
    """Cancel the order."""

    change: Literal["cancel"]


class CancelLine(ChangeMessage):
    """Cancel one line."""

    change: Literal["cancel_line"]
    line: Line


class SetQty(ChangeMessage):
    """Another quantity for one line."""

    change: Literal["set_qty"]
    line: Line
    qty: Qty
    uom: Name | None = None


def change(body: Any) -> str:
    """Which message it is: a change says so, anything else is meant as an order."""
    kind = body.get("change") if isinstance(body, dict) else getattr(body, "change", None)
    return "order" if kind is None else str(kind)


AnyMessage = Annotated[
    Annotated[OrderDocument, Tag("order")]
    | Annotated[Cancel, Tag("cancel")]
    | Annotated[CancelLine, Tag("cancel_line")]
    | Annotated[SetQty, Tag("set_qty")],
    Discriminator(change),
]
ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)
MODELS: dict[str, type[OrderMessage]] = {"order": OrderDocument, "cancel": Cancel, "cancel_line": CancelLine, "set_qty": SetQty}
"""The model of each message, by what `change` says of it."""
TYPES = ("order", "cancel", "cancel_line", "set_qty")
