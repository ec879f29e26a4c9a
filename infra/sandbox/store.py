"""Where a core keeps what it knows: rows by kind and key, in SQLite for the service, in memory for a simulation."""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

R = TypeVar("R")
_END = "\U0010ffff"
_SEPARATOR = "\x1f"


class FilesInUse(Exception):
    """Another process has the files open."""


class Rows(Protocol[R]):
    """The rows of one kind, in the order of their keys. A row is never changed in place, only put anew."""

    def get(self, key: str) -> R | None:
        """The row, if there is one."""

    def put(self, key: str, row: R) -> None:
        """Keep the row in place of any other of its key."""

    def remove(self, key: str) -> None:
        """Forget the row; none is fine."""

    def scan(self, prefix: str = "", *, after: str = "", below: str = "", limit: int = -1) -> list[tuple[str, R]]:
        """Rows whose key begins with `prefix`, is above `after` and (if given) below `below`; at most `limit`."""

    def count(self) -> int:
        """How many rows there are."""


class SandboxStore(Protocol):
    """All rows of a service."""

    def rows(self, name: str, kind: type[R]) -> Rows[R]:
        """The rows called `name`, of a type msgspec can write as JSON."""


def joined(*parts: str | int) -> str:
    """A key of several parts. That of the leading ones, with an empty last part, is a prefix to scan by."""
    return _SEPARATOR.join(f"{part:012d}" if isinstance(part, int) else part for part in parts)


def next_number(counters: Rows[int], name: str, first: int = 1) -> int:
    """Count on: `first`, then one more each time."""
    number = counters.get(name) or first
    counters.put(name, number + 1)
    return number


def due_key(due_ms: int, *parts: str | int) -> str:
    """A key by which rows are in the order of their time."""
    return joined(f"{due_ms:015d}", *parts)


def due_by(rows: Rows[R], now: int) -> list[tuple[str, R]]:
    """The rows whose time has come, earliest first."""
    return rows.scan(below=f"{now + 1:015d}")


def first_due(*all_rows: Rows[Any]) -> int | None:
    """The earliest time of any of them."""
    return min((int(key[:15]) for rows in all_rows for key, _ in rows.scan(limit=1)), default=None)


class MemoryRows(Generic[R]):
    """Rows in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}
        self._keys: list[str] = []

    def get(self, key: str) -> R | None:
        """See `Rows`."""
        return self._rows.get(key)

    def put(self, key: str, row: R) -> None:
        """See `Rows`."""
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = row

    def remove(self, key: str) -> None:
        """See `Rows`."""
        if self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, prefix: str = "", *, after: str = "", below: str = "", limit: int = -1) -> list[tuple[str, R]]:
        """See `Rows`."""
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        end = min(bisect_left(self._keys, prefix + _END), bisect_left(self._keys, below or _END))
        keys = self._keys[start : end if limit < 0 else min(start + limit, end)]
        return [(key, self._rows[key]) for key in keys]

    def count(self) -> int:
        """See `Rows`."""
        return len(self._rows)


class MemoryStore:
    """A store that is gone with its process."""

    def __init__(self) -> None:
        self._all: dict[str, MemoryRows[Any]] = {}

    def rows(self, name: str, kind: type[R]) -> Rows[R]:
        """See `SandboxStore`."""
        return self._all.setdefault(name, MemoryRows())


class SqliteRows(Generic[R]):
    """Rows as JSON in a table of SQLite."""

    def __init__(self, connection: sqlite3.Connection, name: str, kind: type[R]) -> None:
        self._connection = connection
        self._name = name
        self._decoder = msgspec.json.Decoder(kind)

    def get(self, key: str) -> R | None:
        """See `Rows`."""
        found = self._connection.execute("SELECT value FROM rows WHERE kind = ? AND key = ?", (self._name, key)).fetchone()
        return None if found is None else self._decoder.decode(found[0])

    def put(self, key: str, row: R) -> None:
        """See `Rows`."""
        value = msgspec.json.encode(row)
        self._connection.execute("INSERT OR REPLACE INTO rows (kind, key, value) VALUES (?, ?, ?)", (self._name, key, value))

    def remove(self, key: str) -> None:
        """See `Rows`."""
        self._connection.execute("DELETE FROM rows WHERE kind = ? AND key = ?", (self._name, key))

    def scan(self, prefix: str = "", *, after: str = "", below: str = "", limit: int = -1) -> list[tuple[str, R]]:
        """See `Rows`."""
        found = self._connection.execute(
            "SELECT key, value FROM rows WHERE kind = ? AND key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
            (self._name, prefix, after, min(prefix + _END, below or _END), limit),
        )
        return [(key, self._decoder.decode(value)) for key, value in found.fetchall()]

    def count(self) -> int:
        """See `Rows`."""
        return int(self._connection.execute("SELECT count(*) FROM rows WHERE kind = ?", (self._name,)).fetchone()[0])


class SqliteStore:
    """A store in a file. What a transaction has committed survives the process, however it ends."""

    def __init__(self, path: Path) -> None:
        """Raises `FilesInUse` if another process has it."""
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.5)
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS rows (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID"
            )
            with self.transaction():
                pass
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise FilesInUse(f"{path} cannot be opened ({error}): is another sandbox running on it?") from None

    def rows(self, name: str, kind: type[R]) -> Rows[R]:
        """See `SandboxStore`."""
        return SqliteRows(self._connection, name, kind)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()
