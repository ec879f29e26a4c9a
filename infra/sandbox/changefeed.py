"""The ERP database's change feed, as Debezium captures it: one envelope a changed row, in the order of its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from infra.sandbox.store import Rows, SandboxStore, due_by, due_key, next_number

FIRST_LSN = 1_000_000_000_000  # far above any capture's: this database's later life
FIRST_TX = 1_000_000
_SERVER_ZONE = ZoneInfo("America/Chicago")


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row as a transaction leaves it. `op`: c or u."""

    op: str
    table: str
    key: dict[str, Any]
    row: dict[str, Any]


class ChangeFeed:
    """Takes transactions as they commit, shows them after a while: one that shows later never overtakes."""

    def __init__(self, store: SandboxStore) -> None:
        self.waiting: Rows[dict[str, Any]] = store.rows("feed", dict[str, Any])
        self._counters: Rows[int] = store.rows("feed_counters", int)

    def commit(self, changes: Sequence[RowChange], now: int, delay_ms: int) -> None:
        """A transaction's changes, to be shown `delay_ms` from now or when what is before them is."""
        due = max(now + delay_ms, self._counters.get("due") or 0)
        self._counters.put("due", due)
        tx = next_number(self._counters, "tx", FIRST_TX)
        last_commit = self._counters.get("commit") or FIRST_LSN
        lsn = max(last_commit, self._counters.get("lsn") or FIRST_LSN)
        seen: dict[str, int] = {}
        for order, change in enumerate(changes, 1):
            lsn += 120
            seen[change.table] = seen.get(change.table, 0) + 1
            place = {"id": f"{tx}:{lsn}", "total_order": order, "data_collection_order": seen[change.table]}
            message = _envelope(change, now, due, tx, (last_commit, lsn), place)
            self.waiting.put(due_key(due, f"{lsn:015d}"), message)
        self._counters.put("lsn", lsn + 8)
        self._counters.put("commit", lsn + 8)

    def show(self, now: int) -> list[dict[str, Any]]:
        """What is due, in order, once."""
        due = due_by(self.waiting, now)
        for key, _ in due:
            self.waiting.remove(key)
        return [message for _, message in due]


def _envelope(change: RowChange, now: int, due: int, tx: int, position: tuple[int, int], place: dict[str, Any]) -> dict[str, Any]:
    commit, lsn = position
    source = {
        "version": "3.3.0.Final",
        "connector": "postgresql",
        "name": "erp",
        "ts_ms": now,
        "snapshot": "false",
        "db": "erp",
        "sequence": f'["{commit}","{lsn}"]',
        "ts_us": now * 1_000,
        "ts_ns": now * 1_000_000,
        "schema": "public",
        "table": change.table,
        "txId": tx,
        "lsn": lsn,
        "xmin": None,
    }
    times = {"ts_ms": due, "ts_us": due * 1_000, "ts_ns": due * 1_000_000}
    value = {"before": None, "after": change.row, "source": source, "transaction": place, "op": change.op, **times}
    return {"topic": f"erp.public.{change.table}", "key": change.key, "value": value}


def days(day: date | None) -> int | None:
    """A `date` column: days since 1970-01-01."""
    return None if day is None else (day - date(1970, 1, 1)).days


def local_ms(at_ms: int) -> int:
    """A `timestamp(3)` column: the wall clock of the server's zone, read as if it were UTC."""
    local = datetime.fromtimestamp(at_ms // 1000, _SERVER_ZONE)
    return int(local.replace(tzinfo=UTC).timestamp()) * 1000 + at_ms % 1000
