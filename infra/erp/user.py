"""One session of the ERP: its dice, and what it picks from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from infra.erp.database import Cursor


@dataclass(slots=True)
class ErpUser:
    """What somebody at the ERP picks from. `places`: (site, item) with a balance; all desks share them."""

    dice: Random
    places: list[tuple[str, str]]
    customers: list[str]
    references: list[str] = field(default_factory=list)

    def place(self) -> tuple[str, str]:
        """A site and an item; the first ones are asked for most."""
        return self.places[int(len(self.places) * self.dice.random() ** 2)]

    def amount(self, low: int, high: int, decimals: int) -> Decimal:
        """A number with so many decimals."""
        scale: int = 10**decimals
        return Decimal(self.dice.randint(low * scale, high * scale)) / Decimal(scale)

    def quantity(self) -> Decimal:
        """A quantity; one in ten with decimals."""
        return self.amount(1, 60, 3) if self.dice.random() < 0.1 else Decimal(self.dice.choice((1, 2, 4, 6, 12, 24, 40, 120)))

    def day(self, first: int, last: int) -> date:
        """A day, so many from today."""
        return datetime.now(UTC).date() + timedelta(days=self.dice.randint(first, last))

    def number(self, cursor: Cursor, sequence: str) -> int:
        """The next number of a sequence."""
        found = cursor.execute("SELECT nextval(%s)", (sequence,)).fetchone()
        assert found is not None
        return int(found[0])

    def one(self, cursor: Cursor, query: str, arguments: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """One of the first rows of an ordered query."""
        found = cursor.execute(f"{query} LIMIT 40", arguments).fetchall()
        return self.dice.choice(found) if found else None


def places_in(cursor: Cursor) -> list[tuple[str, str]]:
    """Where the database has stock now: (site, item)."""
    places = cursor.execute("SELECT site_code, item_no FROM inventory_balance ORDER BY item_no, site_code").fetchall()
    return [(row[0], row[1]) for row in places]


def customers_in(cursor: Cursor) -> list[str]:
    """The customers there are now."""
    return [row[0] for row in cursor.execute("SELECT customer_no FROM customer ORDER BY customer_no")]
