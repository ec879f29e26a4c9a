"""What the simulated world knows to be true, said once in its own words: the oracle is told these, the system raw bytes.

Quantities are `Decimal` in the item's base unit, instants ms UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class ErpFact:
    """A row of the ERP's database, as it was after `truth` commits (none: the row is gone; with key (): all of the table are).

    `at_ms`: when it was committed, or read. `truth` is what no consumer sees: the serial number of the commit behind the
    row. The newest truth told is the truth.
    """

    table: str
    key: tuple[Any, ...]
    row: Mapping[str, Any] | None
    truth: int
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """One line of an order in the hands of the warehouse: `short` was not found, or another item serves `qty` of it."""

    order_id: str
    line: int
    item: str
    qty: Decimal
    short: Decimal = ZERO
    substitute_item: str | None = None
    substitute_qty: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class WmsFact:
    """One warehouse event. `moves`: (item, site, status, lot, signed quantity); `count` replaces the balance of its one key.

    `receipt`: the purchase line it came on and how much. `kind` is the type on the wire. `refused_for`: the item that does
    not have the unit it is counted in: well-formed, and still nothing but a dead letter. `is_uncounted`: it waits for the
    item to have its unit.
    """

    event_id: str
    sequence: int
    kind: str
    at_ms: int
    moves: tuple[tuple[str, str, str, str, Decimal], ...] = ()
    count: tuple[str, str, str, str, Decimal] | None = None
    receipt: tuple[str, int, Decimal] | None = None
    executions: tuple[Execution, ...] = ()
    refused_for: str | None = None
    is_uncounted: bool = False


@dataclass(frozen=True, slots=True)
class WantedLine:
    """A line as the channel wants it, in base units. `price`: of one, none if the order says nothing of note."""

    line: int
    item: str
    qty: Decimal
    site: str | None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderFact:
    """A channel order. A resend is an equal fact told again."""

    order_id: str
    customer: str
    requested_on: date | None
    partial: bool
    backorder: bool
    lines: tuple[WantedLine, ...]


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """A channel's change: `kind` is cancel, cancel_line or set_qty; `change_id` tells a repetition from another change."""

    change_id: str
    order_id: str
    kind: str
    at_ms: int
    line: int | None = None
    qty: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class HoldFact:
    """A granted reservation, as the reply acknowledged it."""

    reservation_id: str
    item: str
    sites: Mapping[str, Decimal]
    qty: Decimal
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class ReleaseFact:
    """A reservation was given back."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class PromiseFact:
    """What the system last acknowledged for an order line: units promised by site, the rest backordered (with its day)."""

    order_id: str
    line: int
    item: str
    parts: tuple[tuple[str, Decimal], ...]
    backordered: Decimal
    promised_on: date | None


Fact = ErpFact | WmsFact | OrderFact | ChangeFact


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A raw message on its way. `fact` is what it says (none: nothing); `fate` what must become of it at its first delivery."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    fact: Fact | None
    fate: str
