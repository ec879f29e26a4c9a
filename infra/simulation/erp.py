"""The simulated ERP: a database whose commits come out as Debezium envelopes, with everything the real feed gets wrong.

Log positions are given at write time, commits are delivered in commit order, a restarted connector repeats itself, an
incremental snapshot reads rows between the changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from infra.simulation.facts import ErpFact, RawMessage

KEYS: dict[str, tuple[str, ...]] = {
    "site": ("site_code",),
    "item": ("item_no",),
    "item_price": ("price_list", "item_no", "currency", "valid_from"),
    "customer": ("customer_no",),
    "inventory_balance": ("site_code", "item_no"),
    "sales_order": ("order_no",),
    "sales_order_line": ("order_no", "line_no"),
    "purchase_order": ("po_no",),
    "purchase_order_line": ("po_no", "line_no"),
    "invoice": ("invoice_no",),
    "invoice_line": ("invoice_no", "line_no"),
}
EPOCH = date(1970, 1, 1)
INFINITY = -2_147_472_692  # as Debezium has it, in days
UNAVAILABLE = "__debezium_unavailable_value"


@dataclass(slots=True)
class Write:
    """One row change inside a transaction, with the log position it got when it was written."""

    table: str
    key: tuple[Any, ...]
    row: dict[str, Any] | None
    lsn: int
    op: str
    headers: tuple[tuple[str, bytes], ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(slots=True)
class Database:
    """Committed rows, and the change stream they made. `stream` is what the connector has delivered or will deliver, in order.

    `begun`: where in it the newest history does. `unseen`: deletions that no connector has seen, of rows that are gone.
    """

    rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = field(default_factory=lambda: {table: {} for table in KEYS})
    stream: list[RawMessage] = field(default_factory=list)
    commits: int = 0
    lsn: int = 1_000_000
    last_commit: int | None = None
    now_ms: int = 0
    begun: int = 0
    histories: int = 1
    unseen: dict[tuple[str, tuple[Any, ...]], RawMessage] = field(default_factory=dict)

    def begin(self) -> list[Write]:
        """An open transaction: a list of writes."""
        return []

    def put(self, tx: list[Write], table: str, row: Mapping[str, Any], hidden: tuple[str, ...] = ()) -> None:
        """Insert or update. `hidden` columns come as Debezium's unavailable value."""
        key = tuple(row[name] for name in KEYS[table])
        self.lsn += 56
        exists = key in self.rows[table] or any((w.table, w.key) == (table, key) for w in tx)
        tx.append(Write(table, key, dict(row), self.lsn, "u" if exists else "c", hidden=hidden))

    def delete(self, tx: list[Write], table: str, key: tuple[Any, ...]) -> None:
        """Delete a row."""
        self.lsn += 56
        tx.append(Write(table, key, None, self.lsn, "d"))

    def renumber(
        self, tx: list[Write], table: str, old: tuple[Any, ...], row: Mapping[str, Any], hidden: tuple[str, ...]
    ) -> None:
        """A primary-key change: a delete of the old key and a create of the new one, sharing one log position."""
        new = tuple(row[name] for name in KEYS[table])
        self.lsn += 56
        tx.append(Write(table, old, None, self.lsn, "d", (("__debezium.newkey", _json(_named(table, new))),)))
        tx.append(Write(table, new, dict(row), self.lsn, "c", (("__debezium.oldkey", _json(_named(table, old))),), hidden))

    def commit(self, tx: list[Write]) -> None:
        """Make the writes visible and put them on the stream."""
        if not tx:
            return
        self.commits += 1
        for write in tx:
            if write.row is None:
                self.rows[write.table].pop(write.key, None)
            else:
                self.rows[write.table][write.key] = write.row
            self.stream.extend(self._messages(write))
        self.lsn += 48
        self.last_commit = self.lsn

    def snapshot(self) -> list[RawMessage]:
        """The initial snapshot of every row: what a connector reads before it streams."""
        return [self._read(table, key, "true", self.lsn) for table in KEYS for key in sorted(self.rows[table])]

    def begin_anew(self, heard: int, *, is_lower: bool) -> list[RawMessage]:
        """The connector is made anew: what it had not delivered by `heard` nobody hears of; it reads every row.

        The database may have been restored or have failed over: its positions go on higher up, or begin again lower down.
        """
        for lost in self.stream[heard:]:
            if isinstance(lost.fact, ErpFact) and lost.fact.row is None:
                self.unseen[lost.fact.table, lost.fact.key] = lost
        self.unseen = {at: lost for at, lost in self.unseen.items() if at[1] not in self.rows[at[0]]}
        del self.stream[heard:]
        self.begun = heard
        self.histories += 1
        self.lsn = 1_000_000 - 150_000 * self.histories if is_lower else self.lsn + 1_000_000
        self.last_commit = None
        return self.snapshot()

    def truncate(self, table: str) -> None:
        """All rows of a table are gone, in one message without a key."""
        self.lsn += 56
        self.commits += 1
        self.rows[table].clear()
        sequence = [None if self.last_commit is None else str(self.last_commit), str(self.lsn)]
        said = self._message(table, (), None, None, "t", self.lsn, sequence, "false", (), self.commits)
        self.stream.append(replace(said, key=None))
        self.lsn += 48
        self.last_commit = self.lsn

    def read_again(self, table: str) -> None:
        """An incremental snapshot of a table, between the changes of the stream."""
        self.lsn += 64
        self.last_commit = self.lsn
        self.stream.extend(self._read(table, key, "incremental", None) for key in sorted(self.rows[table]))

    def _read(self, table: str, key: tuple[Any, ...], kind: str, lsn: int | None) -> RawMessage:
        row = self.rows[table][key]
        sequence = [None if lsn else str(self.last_commit), str(self.lsn)]
        return self._message(table, key, row, row, "r", lsn, sequence, kind, (), self.commits)

    def _messages(self, write: Write) -> list[RawMessage]:
        sequence = [None if self.last_commit is None else str(self.last_commit), str(write.lsn)]
        seen = None if write.row is None else {k: UNAVAILABLE if k in write.hidden else v for k, v in write.row.items()}
        change = self._message(
            write.table, write.key, write.row, seen, write.op, write.lsn, sequence, "false", write.headers, self.commits
        )
        if write.op != "d":
            return [change]
        return [change, RawMessage(change.topic, change.key, None, write.headers, None, "ignored")]

    def _message(
        self,
        table: str,
        key: tuple[Any, ...],
        row: Mapping[str, Any] | None,
        seen: Mapping[str, Any] | None,
        op: str,
        lsn: int | None,
        sequence: list[str | None],
        snapshot: str,
        headers: tuple[tuple[str, bytes], ...],
        truth: int,
    ) -> RawMessage:
        source = {
            "version": "3.3.0.Final",
            "connector": "postgresql",
            "name": "erp",
            "ts_ms": self.now_ms,
            "snapshot": snapshot,
            "db": "erp",
            "sequence": json.dumps(sequence),
            "schema": "public",
            "table": table,
            "txId": None if snapshot == "incremental" else 5000 + truth,
            "lsn": lsn,
            "xmin": None,
        }
        after = None if seen is None else {name: _plain(value) for name, value in seen.items()}
        before = None if op != "d" else _invented(_named(table, key))
        value = {"before": before, "after": after, "source": source, "transaction": None, "op": op, "ts_ms": self.now_ms + 5}
        fact = ErpFact(table, key, None if row is None else dict(row), truth, self.now_ms)
        return RawMessage(f"raw.erp.{table}", _json(_named(table, key)), _json(value), headers, fact, "applied")


def transaction_marker(status: str, number: int) -> RawMessage:
    """Transaction metadata: heard, and of no consequence."""
    value = {"status": status, "id": f"{number}:{number}", "event_count": 1, "data_collections": None, "ts_ms": 1}
    return RawMessage("raw.erp.other", _json({"id": f"{number}:{number}"}), _json(value), (), None, "ignored")


def heartbeat(now_ms: int) -> RawMessage:
    """A heartbeat: heard, and of no consequence."""
    return RawMessage("raw.erp.other", _json({"serverName": "erp"}), _json({"ts_ms": now_ms}), (), None, "ignored")


def _named(table: str, key: tuple[Any, ...]) -> dict[str, Any]:
    return {name: _plain(part) for name, part in zip(KEYS[table], key, strict=bool(key))}


def _invented(key: dict[str, Any]) -> dict[str, Any]:
    """Under default replica identity the old row of a delete is its key, and made-up values for columns that cannot be null."""
    return {"on_hand": "0.000", "row_version": 1, "status": "O", "safety_stock": "0.000", **key}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if value == date.max:
        return INFINITY
    if isinstance(value, date):
        return (value - EPOCH).days
    return value


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
