"""A warehouse's events about an order, carried as JSON while the order is known by the ERP's number only."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.errors import BadMessage
from schemas.inventory import DemandSubstituted, PickShorted, StockEvent, StockPicked, StockReturned, StockShipped
from schemas.orders import LinePicked, LineReturned, LineShipped, LineShorted, LineSubstituted, PickReleased

TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        DemandSubstituted,
        LinePicked,
        LineReturned,
        LineShipped,
        LineShorted,
        LineSubstituted,
        PickReleased,
        PickShorted,
        StockPicked,
        StockReturned,
        StockShipped,
    )
}
"""Events that name an order and a line of it, by their names."""


def written(event: Any) -> str:
    """The event as JSON."""
    return msgspec.json.encode(event).decode()


def read(name: str, body: str) -> Any:
    """The event of a type. Raises `BadMessage`."""
    try:
        return msgspec.json.decode(body, type=TYPES[name])
    except (KeyError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadMessage(f"a reported {name} cannot be read: {error}", hint="send the warehouse's message again") from error


def stock_items(event: Any) -> tuple[str, ...]:
    """The item whose stock or demand an event changes; none for what tells the order alone."""
    return (event.item,) if isinstance(event, StockEvent) else ()
