"""What a large order costs: steps on tables rise with its lines, not with their square."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from schemas.errors import AlreadyApplied
from tests.support.order_runs import Yard, order
from tests.support.orders import World


class Counted:
    """A `Table` that counts what is read and written, shared by all tables of a fold."""

    steps = 0

    def __init__(self) -> None:
        self._rows: dict[Any, Any] = {}
        self._keys: list[Any] = []

    def get(self, key: Any) -> Any:
        Counted.steps += 1
        return self._rows.get(key)

    def __getitem__(self, key: Any) -> Any:
        Counted.steps += 1
        return self._rows[key]

    def __setitem__(self, key: Any, row: Any) -> None:
        Counted.steps += 1
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = row

    def __delitem__(self, key: Any) -> None:
        Counted.steps += 1
        del self._rows[key]
        del self._keys[bisect_left(self._keys, key)]

    def __contains__(self, key: Any) -> bool:
        Counted.steps += 1
        return key in self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._keys))

    def under(self, *prefix: Any) -> Iterator[tuple[Any, Any]]:
        n, at = len(prefix), bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at][:n] == prefix:
            Counted.steps += 1
            yield self._keys[at], self._rows[self._keys[at]]
            at += 1

    def range(self, low: Any, high: Any) -> Iterator[tuple[Any, Any]]:
        for key in self._keys[bisect_left(self._keys, low) : bisect_left(self._keys, high)]:
            Counted.steps += 1
            yield key, self._rows[key]


class CountedWorld(World):
    """The order fold, its tables counted: nothing it is told here is refused, so nothing is undone."""

    def _step(self, event: Any) -> tuple[str, list[Any]]:
        try:
            out = list(self.fold.rules[type(event)](self.tables, event))
        except AlreadyApplied:
            return "duplicate", []
        self.out += out
        return "applied", out


def _steps(lines: int) -> int:
    """The whole way of an order whose lines are all in stock, every message in a batch of its own."""
    yard = Yard(A=lines * 10)
    yard.world = CountedWorld(fold=yard.world.fold)
    for field in fields(yard.tables):
        counted = Counted()
        for key, row in getattr(yard.tables, field.name).under():
            counted[key] = row
        setattr(yard.tables, field.name, counted)
    Counted.steps = 0
    yard.tell(order(*[(n, "A", 2) for n in range(1, lines + 1)], price="1"))
    _rest(yard)
    assert len(yard.wms.todo) == lines, "all of it is released"
    yard.wms.work_off()
    _rest(yard)
    assert yard.status == "invoiced"
    return Counted.steps


def _rest(yard: Yard) -> None:
    while True:
        yard.rest()
        if not any(what == "put_off" for _, what, _ in yard.tables.deadlines):
            return
        yard.pass_ms(1_000)


def test_a_thousand_lines_cost_about_ten_times_a_hundred() -> None:
    """From the placing to the invoice, of the order fold alone."""
    hundred, thousand = _steps(100), _steps(1_000)
    assert thousand < 13 * hundred, (hundred, thousand)


@pytest.mark.parametrize("lines", [49, 50, 51, 60, 120])
def test_an_order_comes_to_the_same_end_however_large_it_is(lines: int) -> None:
    """Looking at all lines once for many events leaves nothing behind."""
    yard = Yard(A=lines * 10)
    yard.tell(order(*[(n, "A", 2) for n in range(1, lines + 1)], price="1"))
    _rest(yard)
    assert (yard.decision, yard.status) == ("accepted", "released")
    yard.wms.work_off()
    _rest(yard)
    assert yard.status == "invoiced"
    assert len(yard.asked("request_invoice")[0]) == lines
    assert not yard.tables.put_offs
    assert not yard.open()
