"""What the property tests of the engine's tables do not look at: bounds, touched keys, big ranges, rows that cannot be stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.errors import BrokenInvariant
from streams.engine.memory.log import MemoryStore
from streams.engine.table import SCAN_ROWS, Change, EngineTable, FoldTables, Journal
from tables.common.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    qty_milli: int


@dataclass(slots=True)
class Tables:
    stock: Table[tuple[str, int], Row]
    prices: Table[tuple[str], Row]


class CountingStore(MemoryStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = 0
        self.ranges = 0

    def get(self, key: bytes) -> bytes | None:
        self.gets += 1
        return super().get(key)

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        self.ranges += 1
        return super().range(low, high)


def commit(store: MemoryStore, tables: FoldTables[Any]) -> list[Change]:
    changes = tables.changes()
    for key, row in changes:
        store.put(key, row)
    tables.committed()
    return changes


def new(cache_rows: int = 1_000) -> tuple[CountingStore, Journal, FoldTables[Tables]]:
    store, journal = CountingStore(), Journal()
    return store, journal, FoldTables(Tables, store, journal, cache_rows=cache_rows)


def test_touched_names_the_first_key_parts_whose_rows_differ_from_the_committed_ones() -> None:
    store, _, kept = new()
    t = kept.tables
    t.stock["a", 1], t.stock["b", 1], t.prices["c",] = Row(1), Row(1), Row(1)
    commit(store, kept)
    t.stock["b", 1] = Row(2)
    t.stock["b", 2] = Row(2)
    t.stock["a", 1] = Row(2)
    t.stock["a", 1] = Row(1)
    del t.prices["c",]
    assert len(kept.changes()) == 3
    assert kept.touched(["stock"]) == ["b"]
    assert kept.touched(["stock", "prices"]) == ["b", "c"]
    kept.committed()
    assert kept.touched(["stock", "prices"]) == []


def test_a_row_set_and_removed_in_one_batch_leaves_no_trace() -> None:
    store, _, kept = new()
    kept.tables.prices["a",] = Row(1)
    del kept.tables.prices["a",]
    assert commit(store, kept) == []


def test_undo_takes_back_one_step_in_all_tables() -> None:
    _, journal, kept = new()
    t = kept.tables
    t.stock["a", 1] = Row(1)
    journal.mark()
    t.stock["a", 1], t.stock["a", 2], t.prices["a",] = Row(5), Row(5), Row(5)
    del t.stock["a", 1]
    journal.undo()
    assert list(t.stock.under()) == [(("a", 1), Row(1))]
    assert ("a",) not in t.prices
    assert [key for key, _ in kept.changes()] == [b"stock\0a\0" + (2**63 + 1).to_bytes(8, "big")]


def test_cached_rows_and_misses_are_not_read_again() -> None:
    store, _, kept = new()
    t = kept.tables
    t.stock["a", 1] = Row(1)
    commit(store, kept)
    before = store.gets
    for _ in range(5):
        assert t.stock.get(("a", 1)) == Row(1)
        assert ("a", 9) not in t.stock
    assert store.gets == before + 1


def test_a_short_prefix_is_ranged_once_until_a_key_comes_or_goes() -> None:
    store, _, kept = new()
    t = kept.tables
    for n in range(3):
        t.stock["a", n] = Row(n)
    commit(store, kept)
    for n in range(5):
        t.stock["a", 1] = Row(10 + n)
        assert [row.qty_milli for _, row in t.stock.under("a")] == [0, 10 + n, 2]
        commit(store, kept)
    assert store.ranges == 1
    t.stock["a", 5] = Row(5)
    assert len(list(t.stock.under("a"))) == 4
    commit(store, kept)
    assert len(list(t.stock.under("a"))) == 4
    assert store.ranges == 2


def test_a_long_prefix_is_streamed_and_need_not_be_read_to_its_end() -> None:
    store, _, kept = new()
    t = kept.tables
    count = SCAN_ROWS * 3
    for n in range(count):
        t.stock["a", n] = Row(n)
    commit(store, kept)
    t.stock["a", -1] = Row(-1)
    del t.stock["a", 0]
    assert [key[1] for key, _ in t.stock.under("a")] == [-1, *range(1, count)]
    assert next(t.stock.under("a")) == (("a", -1), Row(-1))
    assert [key[1] for key, _ in t.stock.range(("a", 5), ("a", 8))] == [5, 6, 7]


def test_rows_changed_while_ranging_do_not_disturb_it() -> None:
    store, _, kept = new()
    t = kept.tables
    for n in range(10):
        t.stock["a", n] = Row(n)
    commit(store, kept)
    for (item, n), row in t.stock.under("a"):
        del t.stock[item, n]
        t.stock[item, n + 100] = row
        list(t.stock.under("a"))
    assert [key[1] for key, _ in t.stock.under("a")] == list(range(100, 110))


def test_the_cache_is_bounded_whatever_is_read() -> None:
    store, _, kept = new(cache_rows=100)
    t = kept.tables
    for n in range(1_000):
        t.stock[f"SKU-{n}", 1] = Row(n)
    commit(store, kept)
    for n in range(5_000):
        t.stock.get((f"SKU-{n}", 1))
        list(t.stock.under(f"SKU-{n}"))
    assert isinstance(t.stock, EngineTable)
    assert len(t.stock._rows) + len(t.stock._older) <= 1_100
    assert len(t.stock._scans) <= 100
    commit(store, kept)
    assert len(t.stock._rows) + len(t.stock._older) <= 102


def test_two_tables_of_which_one_name_begins_with_the_other_do_not_mix() -> None:
    store = MemoryStore()
    short = EngineTable[tuple[str], Row]("t", (str,), Row, store, Journal())
    long = EngineTable[tuple[str], Row]("tt", (str,), Row, store, Journal())
    short["a",], long["a",] = Row(1), Row(2)
    for table in (short, long):
        for key, row in table.changes():
            store.put(key, row)
        table.committed()
    assert list(short.under()) == [(("a",), Row(1))]
    assert list(long.under()) == [(("a",), Row(2))]


def test_a_row_that_cannot_be_stored_names_itself() -> None:
    _, _, kept = new()
    kept.tables.prices["a",] = Row(2**70)
    with pytest.raises(BrokenInvariant, match=r"row \('a',\) of table prices cannot be stored"):
        kept.changes()
