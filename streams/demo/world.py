"""What a demo day is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from schemas.quantity import MILLI

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
CHANNELS = ("web", "marketplace", "crm", "edi")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DemoItem:
    """An item of the master. `is_divisible`: parts of its base unit exist. `pack_milli`: base units in a `pack_uom`."""

    item: str
    uom: str
    is_divisible: bool = False
    is_lot_tracked: bool = False
    pack_uom: str | None = None
    pack_milli: int | None = None
    unit_price: Decimal | None = None
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class PurchaseLine:
    """An open purchase line: receipts name it."""

    document: str
    line: int
    item: str
    site: str
    open_milli: int


@dataclass(frozen=True, slots=True)
class OpenLine:
    """Units of an order line allocated at a site, to be executed."""

    order_id: str
    line: int
    item: str
    site: str
    qty_milli: int
    uom: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A day. `displacement`: how many places a message may be delivered early or late. Rates are parts of one."""

    seed: int
    items: Sequence[DemoItem]
    sites: Sequence[str]
    customers: Sequence[str]
    start_ms: int
    orders: int = 400
    stock_events: int = 300
    purchases: Sequence[PurchaseLine] = ()
    channels: Sequence[str] = CHANNELS
    displacement: int = 8
    duplicate_rate: float = 0.05
    garbage: int = 0


class Message(NamedTuple):
    """A raw message as delivered. `source` is what `ingest` takes: `wms`, or the name of a channel."""

    source: str
    body: bytes


@dataclass(slots=True)
class Counts:
    """What one source was made to send. `types`: unique messages by what they are; `garbage`: by what is wrong with them."""

    unique: int = 0
    duplicates: int = 0
    types: dict[str, int] = field(default_factory=dict)
    garbage: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages in the order they are delivered, what they are by source, and the WMS feed's next sequence number."""

    messages: tuple[Message, ...]
    manifest: dict[str, Counts]
    next_sequence: int


class Fact(NamedTuple):
    """A message before its delivery. Facts of one `thread` are delivered in the order they happened; none: in any."""

    at_ms: int
    source: str
    kind: str
    thread: str | None
    body: dict[str, Any]


def dice(plan: Plan, purpose: str) -> Random:
    """The plan's randomness for one purpose: drawing more for one changes no other."""
    return Random(f"{plan.seed}/{purpose}")  # noqa: S311 - reproducible, not secret


def pick_hot(rng: Random, items: Sequence[DemoItem]) -> DemoItem:
    """An item; the first ones of the list are asked for most."""
    return items[int(len(items) * rng.random() ** 2)]


def some_milli(rng: Random, item: DemoItem, low: int, high: int) -> int:
    """Between `low` and `high` units; with decimals where the unit is divisible."""
    return rng.randint(low * MILLI, high * MILLI) if item.is_divisible else rng.randint(low, high) * MILLI


def lot_of(item: DemoItem | None, site: str) -> str | None:
    """The lot a site has of an item, if its lots are tracked."""
    return f"L-{item.item}-{site}" if item is not None and item.is_lot_tracked else None


def iso(at_ms: int) -> str:
    """An instant as messages have it."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_after(at_ms: int, days: int) -> str:
    """A day as messages have it."""
    return (_EPOCH + timedelta(milliseconds=at_ms, days=days)).date().isoformat()
