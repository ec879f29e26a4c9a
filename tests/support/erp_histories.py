"""A small ERP database, and what Debezium's connectors tell of it: snapshots, streams, crashes, and connectors made anew.

The database changes also while no connector hears it, and its log may begin anew at lower positions. Each table's topic has two
partitions, each of which keeps the order in which its records were produced.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from connectors.erp.columns import TABLES
from schemas.records import Record
from streams.engine.partitions import partition_of
from tests.support.erp_driver import Driver

ITEMS = [f"I{n}" for n in range(5)]
KEYS: dict[str, list[tuple[Any, ...]]] = {
    "item": [(name,) for name in ITEMS],
    "item_price": [("STD", name, "USD", 20_454) for name in ITEMS],
    "inventory_balance": [("DC1", name) for name in ITEMS],
    "customer": [(f"C{n}",) for n in range(4)],
    "purchase_order": [(f"P{n}",) for n in range(3)],
    "purchase_order_line": [(f"P{n % 3}", 10 * n) for n in range(6)],
    "sales_order": [(f"S{n}",) for n in range(3)],
    "sales_order_line": [(f"S{n % 3}", 10 * n) for n in range(6)],
    "invoice": [(f"V{n}",) for n in range(3)],
    "invoice_line": [(f"V{n % 3}", 10 * n) for n in range(6)],
}
COLUMNS: dict[str, dict[str, Any]] = {
    "item": {"description": "text", "base_uom": "EA", "updated_at": 1_785_587_220_000_000},
    "item_price": {"valid_to": None},
    "inventory_balance": {"updated_at": "2026-11-23T08:44:38Z"},
    "customer": {"name": "Name", "credit_hold": False, "price_list": "STD"},
    "purchase_order": {"status": "OPEN"},
    "purchase_order_line": {"item_no": "I1", "site_code": "DC1", "expected_date": 20_796, "status": "O"},
    "sales_order": {
        "channel": "EDI",
        "external_ref": None,
        "customer_no": "C1",
        "status": "OPEN",
        "created_at": "2026-11-23T08:43:51Z",
        "updated_at": 1_795_401_833_808,
    },
    "sales_order_line": {"item_no": "I1", "site_code": "DC1", "status": "O"},
    "invoice": {"order_no": "S1", "status": "POSTED", "created_at": "2026-11-23T08:43:51Z"},
    "invoice_line": {"order_line_no": 10, "item_no": "I1", "qty": "1.000"},
}
TOLD_BY = {
    "item": "safety_stock",
    "item_price": "unit_price",
    "inventory_balance": "on_hand",
    "customer": "terms",
    "purchase_order": "supplier",
    "purchase_order_line": "qty_ordered",
    "sales_order": "priority",
    "sales_order_line": "qty_ordered",
    "invoice": "total",
    "invoice_line": "amount",
}
"""The column of each table that says which state of a row this is."""
MINUTE_MS = 60_000


class Database:
    """The database, the connector that reads it, and the topics it writes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rows: dict[tuple[str, tuple[Any, ...]], int] = {}
        self.lsn = random.randrange(1_000, 2_000)
        self.commit: int | None = None
        self.ms = 1_795_900_000_000
        self.states = 0
        self.topics: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.streamed: list[tuple[str, tuple[Any, ...] | None, dict[str, Any]]] = []
        self.histories: list[int] = []

    def change(self, *, is_heard: bool = True) -> None:
        """A row is written, or deleted."""
        table = self.random.choice(list(KEYS))
        key = self.random.choice(KEYS[table])
        self._pass()
        known = (table, key) in self.rows
        op = "c" if not known else self.random.choice("uud")
        if op == "d":
            del self.rows[table, key]
        else:
            self.states += 1
            self.rows[table, key] = self.states
        if is_heard:
            self._stream(table, key, op)

    def truncate(self, table: str) -> None:
        """All rows of a table are gone."""
        self._pass()
        for key in [at for at in self.rows if at[0] == table]:
            del self.rows[key]
        self._stream(table, None, "t")

    def read(self, table: str, *, is_incremental: bool) -> None:
        """A connector that streams reads a table again, beside it or blocking it: a signal in the database, a commit, says so."""
        self._pass()
        self.commit = self.lsn - 1
        snapshot = "incremental" if is_incremental else "true"
        for name, key in sorted(self.rows, key=str):
            if name == table:
                source = self._source(table, snapshot)
                source |= {"lsn": None} if is_incremental else {}
                self.streamed.append((table, key, self._envelope(table, key, "r", source)))
                self._produce(*self.streamed[-1])

    def crash(self) -> None:
        """The connector is killed: what it streamed since its last offset comes again."""
        for again in self.streamed[-self.random.randrange(1, 20) :]:
            self._produce(*again)

    def begin(self, *, is_lower: bool = False, is_cut_short: bool = False) -> None:
        """The connector is made anew: it reads everything, then streams. Cut short, it begins over."""
        self.ms += 10 * MINUTE_MS
        for _ in range(self.random.randrange(0, 6) if self.histories else 8):
            self.change(is_heard=False)
        if is_lower:
            self.lsn = self.random.randrange(10, 500)
        self.lsn += self.random.randrange(1, 50)
        while self.lsn in self.histories:
            self.lsn += 1
        self.histories.append(self.lsn)
        self.commit, self.streamed = None, []
        names = [name for name in KEYS if any(at[0] == name for at in self.rows)]
        self.random.shuffle(names)
        is_marked = self.random.random() < 0.5
        for n, name in enumerate(names):
            keys = sorted([key for table, key in self.rows if table == name], key=str)
            if is_cut_short and n == len(names) // 2:
                keys = keys[:1]
            for key in keys:
                mark = "last_in_data_collection" if is_marked and key == keys[-1] and not is_cut_short else "true"
                self._produce(name, key, self._envelope(name, key, "r", self._source(name, mark)))
            if is_cut_short and n == len(names) // 2:
                break
        if is_cut_short:
            self.begin()

    def _pass(self) -> None:
        self.ms += self.random.randrange(1, 2_000)
        self.lsn += self.random.randrange(2, 9)

    def _stream(self, table: str, key: tuple[Any, ...] | None, op: str) -> None:
        self.streamed.append((table, key, self._envelope(table, key, op, self._source(table, "false"))))
        self._produce(*self.streamed[-1])
        self.commit = self.lsn + 1

    def _source(self, table: str, snapshot: str) -> dict[str, Any]:
        commit = None if self.commit is None else str(self.commit)
        sequence = json.dumps([commit, str(self.lsn)])
        names = {"table": table, "schema": "public", "name": "erp", "connector": "postgresql"}
        return names | {"snapshot": snapshot, "lsn": self.lsn, "sequence": sequence, "ts_ms": self.ms}

    def _envelope(self, table: str, key: tuple[Any, ...] | None, op: str, source: dict[str, Any]) -> dict[str, Any]:
        after = None
        if key is not None and op != "d":
            state = self.rows[table, key]
            column = TABLES[table].columns[TOLD_BY[table]]
            value: Any = state if column.name == "priority" else f"{state}.00" if column.scale else f"N{state}"
            after = self._key(table, key) | COLUMNS[table] | {column.name: value}
        return {"op": op, "before": None, "after": after, "source": source}

    def _key(self, table: str, key: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip([column.name for column in TABLES[table].key], key, strict=True))

    def _produce(self, table: str, key: tuple[Any, ...] | None, envelope: dict[str, Any]) -> None:
        self.ms += 1
        name = None if key is None else json.dumps(self._key(table, key)).encode()
        partition = self.random.randrange(2) if name is None else partition_of(name, 2)
        records = self.topics[table, partition]
        value = json.dumps(envelope).encode()
        records.append(Record(f"raw.erp.{table}", partition, len(records), self.ms, name, value))

    def delivered(self, random: Random) -> Iterator[Record]:
        """All records, each partition's in its order, some partitions far behind."""
        queues = [deque(records) for records in self.topics.values()]
        while queues:
            queue = random.choice(queues[: random.randrange(1, len(queues) + 1)])
            for _ in range(min(len(queue), random.randrange(1, 12))):
                yield queue.popleft()
            queues = [queue for queue in queues if queue]


HELD: dict[str, tuple[str, str, Callable[[Any, Any], tuple[Any, ...]]]] = {
    "item": ("promise", "items", lambda key, row: (*key, row.safety_stock_milli // 1_000)),
    "item_price": ("promise", "prices", lambda key, row: (key[1], key[0], key[2], 20_454, int(row.unit_price))),
    "inventory_balance": ("promise", "erp_balances", lambda key, row: (key[1], key[0], row.on_hand_milli // 1_000)),
    "customer": ("customers", "customers", lambda key, row: (*key, int(row.terms[1:]))),
    "purchase_order": ("documents", "purchase_orders", lambda key, row: (*key, int(row.supplier[1:]))),
    "purchase_order_line": ("documents", "purchase_order_lines", lambda key, row: (*key, row.ordered_milli // 1_000)),
    "sales_order": ("documents", "sales_orders", lambda key, row: (*key, row.priority)),
    "sales_order_line": ("documents", "sales_order_lines", lambda key, row: (*key, row.ordered_milli // 1_000)),
    "invoice": ("documents", "invoices", lambda key, row: (*key, int(row.total))),
    "invoice_line": ("documents", "invoice_lines", lambda key, row: (*key, int(row.amount))),
}
"""Where each table's rows are kept, and what such a row is in the database: its key and its state."""


def held(driver: Driver, table: str) -> dict[tuple[Any, ...], Any]:
    """The living rows of a table by key and state."""
    fold, name, read = HELD[table]
    return {read(key, row): row for key, row in driver.rows(fold, name) if not row.is_deleted}
