"""An `EngineTable` answers as a `DictTable` would, through undo, commit, drop and eviction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.engine import table as table_module
from streams.engine.memory.log import MemoryStore
from streams.engine.table import Change, EngineTable, Journal
from tables.common.table import DictTable


@dataclass(frozen=True, slots=True)
class Part:
    site: str
    qty_milli: int


@dataclass(frozen=True, slots=True)
class Row:
    qty_milli: int
    price: Decimal
    day: date | None
    parts: tuple[Part, ...]
    extra: dict[str, str]


Key = tuple[str, int]
KEYS = st.tuples(st.sampled_from(["", "a", "a\0"]), st.integers(-1, 1))
BOUNDS = st.one_of(KEYS, KEYS.map(lambda key: key[:1]), st.just(()))
DAY, PARTS = date(2026, 11, 2), (Part("DC1", 5), Part("DC2", -5))
ROWS = st.sampled_from(
    [
        Row(1, Decimal("1.5"), DAY, PARTS, {"x": "1", "y": "2"}),
        Row(1, Decimal("1.50"), DAY, PARTS, {"x": "1", "y": "2"}),  # equal, with other bytes
        Row(1, Decimal("1.5"), DAY, PARTS, {"y": "2", "x": "1"}),
        Row(2, Decimal(0), None, (), {}),
    ]
)


def write(store: MemoryStore, changes: list[Change]) -> None:
    for key, row in changes:
        store.put(key, row)


def dump(store: MemoryStore) -> list[tuple[bytes, bytes]]:
    return list(store.range(b"", None))


class TableMachine(RuleBasedStateMachine):
    """Random operations on both; rows fall out of the tiny cache all the time."""

    @initialize(cache_rows=st.integers(1, 6))
    def start(self, cache_rows: int) -> None:
        self.store = MemoryStore()
        for neighbour in (b"s\0\xff", b"t", b"t\1", b"t2\0"):
            self.store.put(neighbour, b"another table's")
        self.cache_rows = cache_rows
        self.journal = Journal()
        self.table: EngineTable[Key, Row] = EngineTable("t", (str, int), Row, self.store, self.journal, cache_rows=cache_rows)
        self.model: DictTable[Key, Row] = DictTable()
        self.at_commit = dict(self.model)
        self.at_mark = dict(self.model)

    @rule(key=KEYS, row=ROWS)
    def set(self, key: Key, row: Row) -> None:
        self.table[key] = row
        self.model[key] = row

    @rule(key=KEYS)
    def delete(self, key: Key) -> None:
        if key in self.model:
            del self.model[key]
            del self.table[key]
        else:
            with pytest.raises(KeyError):
                del self.table[key]

    @rule(key=KEYS)
    def read(self, key: Key) -> None:
        assert self.table.get(key) == self.model.get(key)
        assert (key in self.table) == (key in self.model)
        if key in self.model:
            assert self.table[key] == self.model[key]
        else:
            with pytest.raises(KeyError):
                self.table[key]

    @rule(prefix=BOUNDS)
    def under(self, prefix: tuple[str | int, ...]) -> None:
        assert list(self.table.under(*prefix)) == list(self.model.under(*prefix))

    @rule(low=BOUNDS, high=BOUNDS)
    def range(self, low: tuple[str | int, ...], high: tuple[str | int, ...]) -> None:
        assert list(self.table.range(low, high)) == list(self.model.range(low, high))

    @rule()
    def mark(self) -> None:
        self.journal.mark()
        self.at_mark = dict(self.model)

    @rule()
    def undo(self) -> None:
        self.journal.undo()
        self.model = DictTable(self.at_mark)

    @rule()
    def commit(self) -> None:
        write(self.store, self.table.changes())
        changed = {k for k in {*self.model, *self.at_commit} if self.model.get(k) != self.at_commit.get(k)}
        assert {key[0] for key in changed} <= set(self.table.touched)
        self.table.committed()
        self._new_batch()

    @rule(reaches_store=st.booleans())
    def drop(self, reaches_store: bool) -> None:
        """A dropped batch may have been committed all the same: the store says what is."""
        changes = self.table.changes()
        if reaches_store:
            write(self.store, changes)
        else:
            self.model = DictTable(self.at_commit)
        self.table.dropped()
        self._new_batch()

    def _new_batch(self) -> None:
        assert self.table.changes() == []
        self.journal.mark()
        self.at_commit = dict(self.model)
        self.at_mark = dict(self.model)

    @precondition(lambda self: not self.table._base)
    @invariant()
    def store_is_the_model(self) -> None:
        fresh = EngineTable[Key, Row]("t", (str, int), Row, self.store, Journal())
        assert list(fresh.under()) == list(self.model.under())
        assert len(self.table._rows) <= max(self.cache_rows // 2, 1) + 1 + 9


@pytest.fixture(autouse=True)
def few_keys_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "SCAN_ROWS", 2)


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


STEPS = st.lists(st.tuples(KEYS, st.none() | ROWS), max_size=30)


@given(STEPS, st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(1, 50))
def test_stored_bytes_do_not_depend_on_where_batches_end(
    steps: list[tuple[Key, Row | None]], ends: set[int], other_ends: set[int], cache_rows: int
) -> None:
    stores = MemoryStore(), MemoryStore()
    for store, boundaries, size in zip(stores, (ends, other_ends), (cache_rows, 1000), strict=True):
        journal = Journal()
        table: EngineTable[Key, Row] = EngineTable("t", (str, int), Row, store, journal, cache_rows=size)
        for at, (key, row) in enumerate(steps):
            journal.mark()
            if row is not None:
                table[key] = row
            elif key in table:
                del table[key]
            if at in boundaries:
                write(store, table.changes())
                table.committed()
        write(store, table.changes())
    assert dump(stores[0]) == dump(stores[1])
