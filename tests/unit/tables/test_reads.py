"""What rules read grows with what is told, not with its square: counted in rows, on tables that grow tenfold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from schemas.inventory import CheckPrice, ItemSuspected, PriceChanged, Status, SuspicionCleared
from tables.common.policy import Policy
from tables.common.table import DictTable
from tests.support.deliveries import Counter
from tests.support.erp_world import row_event
from tests.support.promises import Bench

FEW = 60


class Counted(DictTable[Any, Any]):
    """A table that counts the rows a rule looks at."""

    reads: list[str]

    def under(self, *prefix: Any) -> Iterator[tuple[Any, Any]]:
        return self._counted(super().under(*prefix))

    def range(self, low: tuple[Any, ...], high: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
        return self._counted(super().range(low, high))

    def get(self, key: Any, default: Any = None) -> Any:
        self.reads.append("")
        return super().get(key, default)

    def _counted(self, rows: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        for row in rows:
            self.reads.append("")
            yield row


def reads_of(script: Callable[[Bench, int], None], times: int) -> int:
    """Rows read by what a script tells, so many times."""
    bench, reads = Bench(Policy(remembered_movements=8)), list[str]()
    for f in fields(bench.t):
        table = Counted(getattr(bench.t, f.name))
        table.reads = reads
        setattr(bench.t, f.name, table)
    bench.item()
    bench.receive("100000")
    script(bench, times)
    return len(reads)


def holds(b: Bench, times: int) -> None:
    """Holds of one item that end and are forgotten, each at its own time."""
    for n in range(times):
        b.reserve("1", f"R-{n}")
        b.minute += 1
    for _ in range(times + 20):
        b.pass_minutes(1)
    for _ in range(3):
        b.pass_minutes(24 * 60)  # a tick works off a bounded number
    assert not list(b.t.requests.under()) and not list(b.t.reservations.under())


def erp_shipments(tell: str) -> Callable[[Bench, int], None]:
    """Lines the ERP says have shipped, of which the warehouse tells in its own time, or never."""

    def script(b: Bench, times: int) -> None:
        for n in range(times):
            b.order("1", f"erp:{n}", is_firm=True, site="DC1")
            b.order("1", f"erp:{n}", revision=2, is_firm=True, site="DC1", shipped_milli=1_000, commit_position=n)
            b.pass_minutes(1) if tell == "nothing" else None
        for n in range(times):
            if tell == "pick":
                b.pick("1", f"erp:{n}")
            elif tell == "count":
                b.count("1000", at=-n)
            else:
                b.pass_minutes(1)
        b.pass_minutes(90)
        assert not b.t.unposted and not b.t.unposted_commits and not b.t.unposted_times

    return script


def erp_balances(b: Bench, times: int) -> None:
    """The same where the ERP owns the stock: its balances come as far as the shipments one by one."""
    for n in range(times):
        b.order("1", f"erp:{n}", is_firm=True, site="EU1")
        b.order("1", f"erp:{n}", revision=2, is_firm=True, site="EU1", shipped_milli=1_000, commit_position=100 + n)
    for n in range(times):
        b.erp_balance("5", 100 + n)


def parcels(first: str) -> Callable[[Bench, int], None]:
    """A line that ships one by one: after its picks, before them, or with no pick told; in order or late."""

    def script(b: Bench, times: int) -> None:
        b.order(str(times), "web:1")
        told = range(times, 0, -1) if first == "late" else range(times)
        for n in told:
            if first == "pick":
                b.pick("1", "web:1", event_id=f"P-{n}")
            b.ship("1", "web:1", at=n)
        if first == "ship":
            for n in range(times):
                b.pick("1", "web:1", event_id=f"P-{n}")
            assert not b.t.unpicked
        assert b.site().staged_milli == 0 and b.on_hand() == str(100_000 - times)

    return script


def movements(b: Bench, times: int) -> None:
    """Receipts of one instant, with counts between."""
    for n in range(times * 20):
        b.receive("1", at=0)
        if n % 20 == 0:
            b.count("5", at=-1)


def supplies(b: Bench, times: int) -> None:
    """Purchase lines and their receipts."""
    for n in range(times):
        b.supply("5", "2026-12-01", f"PO-{n}")
        b.receive("5", document=f"PO-{n}", document_line=1, status=Status.USABLE)


def letters(b: Bench, times: int) -> None:
    """Suspicions that come and go."""
    for n in range(times):
        b.apply(ItemSuspected(**b.head(source="engine"), item="SKU-1", dead_letter_id=f"D-{n}", reason="?"))
    for n in range(times):
        b.apply(SuspicionCleared(**b.head(source="engine"), item="SKU-1", dead_letter_id=f"D-{n}"))


def prices(valid_for: int | None) -> Callable[[Bench, int], None]:
    """A new price each day, and as many order lines checked against them. `valid_for`: days each is valid, or no end."""

    def script(b: Bench, times: int) -> None:
        first = date(2020, 1, 1)
        row_event_of(b, first - timedelta(days=400), None, "9")
        for n in range(times):
            day = first + timedelta(days=n)
            row_event_of(b, day, None if valid_for is None else day + timedelta(days=valid_for - 1), str(10 + n))
        for n in range(times):
            day = first + timedelta(days=n if valid_for is None else times + 40)
            event = CheckPrice(
                **b.head(), item="SKU-1", order_id=f"web:{n}", line=1, revision=1, price_list="STD", unit_price=Decimal(10),
                currency="USD", uom=None, day=day,
            )  # fmt: skip
            assert b.apply(event) == "applied"
            assert b.said[-1].reference == (Decimal(9) if valid_for is not None else 10 + n)

    return script


def row_event_of(b: Bench, valid_from: date, valid_to: date | None, price: str) -> None:
    b.number += 1
    columns: dict[str, Any] = {
        "item": "SKU-1",
        "price_list": "STD",
        "currency": "USD",
        "valid_from": valid_from,
        "valid_to": valid_to,
    }
    assert b.apply(row_event(PriceChanged, b.number, "u", **columns, unit_price=Decimal(price))) == "applied"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(prices(None), id="prices-without-end"),
        pytest.param(prices(1), id="prices-of-a-day"),
        pytest.param(holds, id="holds"),
        *[pytest.param(erp_shipments(tell), id=f"erp-{tell}") for tell in ("pick", "count", "nothing")],
        pytest.param(erp_balances, id="erp-balances"),
        *[pytest.param(parcels(first), id=f"parcels-{first}") for first in ("pick", "ship", "none", "late")],
        pytest.param(movements, id="movements"),
        pytest.param(supplies, id="supplies"),
        pytest.param(letters, id="letters"),
    ],
)
def test_ten_times_as_much_costs_ten_times_as_much(script: Callable[[Bench, int], None]) -> None:
    """A rule that scans what has piled up costs a hundred times as much for ten times as many events."""
    few, many = reads_of(script, FEW), reads_of(script, 10 * FEW)
    assert many < 14 * few, f"{few} rows read for {FEW}, {many} for {10 * FEW}"


def test_news_of_an_order_whose_endpoint_is_down_costs_the_same_however_many_wait() -> None:
    """An order's replaceable obligations behind others that were sent before: only the newest is looked at."""

    def reads_of_backlog(times: int) -> int:
        counter, reads = Counter(), list[str]()
        for f in fields(counter.t):
            table = Counted(getattr(counter.t, f.name))
            table.reads = reads
            setattr(counter.t, f.name, table)
        for n in range(times):
            counter.owe(f"A{n}", is_replaceable=n % 2 == 0)  # one that may not be replaced stands between
        assert len(list(counter.t.obligations.under())) == times
        return len(reads)

    few, many = reads_of_backlog(FEW), reads_of_backlog(10 * FEW)
    assert many < 14 * few, f"{few} rows read for {FEW}, {many} for {10 * FEW}"
