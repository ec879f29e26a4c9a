"""What a demonstration is made of: the master data its orders are drawn from, and the dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from schemas.quantity import MILLI

CHANNELS = ("web", "marketplace", "crm", "edi")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DemoItem:
    """An item of the master. `is_divisible`: parts of its base unit exist. `pack_milli`: base units in a `pack_uom`."""

    item: str
    uom: str
    is_divisible: bool = False
    pack_uom: str | None = None
    pack_milli: int | None = None


class DemoPrice(NamedTuple):
    """The reference of one base unit."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the channels order. `customers`: price list by customer; `prices`: by (price list, item). Rates are parts of one."""

    seed: int
    items: Sequence[DemoItem]
    sites: Sequence[str]
    customers: Mapping[str, str]
    prices: Mapping[tuple[str, str], DemoPrice] = field(default_factory=dict)
    orders: int = 400
    channels: Sequence[str] = CHANNELS
    duplicate_rate: float = 0.05
    garbage: int = 0


class DemoOrder(NamedTuple):
    """An order, or a change of one, in crossdock's own words (`connectors/channels/orders`). `kind`: order, or which change."""

    channel: str
    kind: str
    body: dict[str, Any]


def dice(plan: DemoPlan, purpose: str) -> Random:
    """The plan's randomness for one purpose: drawing more for one changes no other."""
    return Random(f"{plan.seed}/{purpose}")  # noqa: S311 - reproducible, not secret


def pick_hot(rng: Random, items: Sequence[DemoItem]) -> DemoItem:
    """An item; the first ones of the list are asked for most."""
    return items[int(len(items) * rng.random() ** 2)]


def some_milli(rng: Random, item: DemoItem, low: int, high: int) -> int:
    """Between `low` and `high` units; with decimals where the unit is divisible."""
    return rng.randint(low * MILLI, high * MILLI) if item.is_divisible else rng.randint(low, high) * MILLI


def iso(at_ms: int) -> str:
    """An instant as messages have it."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_after(at_ms: int, days: int) -> str:
    """A day as messages have it."""
    return (_EPOCH + timedelta(milliseconds=at_ms, days=days)).date().isoformat()
