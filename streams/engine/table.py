"""Durable tables: what a rule changes lies over what was committed, until the batch commits or is dropped.

A table keeps two dicts. `_rows` is what a rule sees: rows decoded from the store, and over them those set since the last
commit (none: there is no such row). `_base` remembers, for each key set since the last commit, what was there before. So a
read is one lookup, and `changes` compares before and after. `_older` is the previous generation of `_rows`: when that has
grown to the bound, it becomes the older one, and rows still in use come back from it (second chance).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from heapq import merge
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from streams.engine.keys import KeyCodec, Unstorable, after
from streams.engine.log import Fenced, Store, StoreFailed, Unavailable
from tables.common.table import K, V, row_types

T = TypeVar("T")
Change = tuple[bytes, bytes | None]

CACHE_ROWS = 16_384
MAX_ROW_BYTES = 8 * 1024 * 1024 - 16 * 1024
"""What a row may take: a changelog keeps it in a record, with its key."""
MAX_KEY_BYTES = 12 * 1024
SCAN_ROWS = 64
_LEAST = -(2**62)
_MISSING: Any = object()
_NO_ROW: tuple[Any, Any] = (None, None)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_INSORT_BELOW = 32


class _Top:
    """Above every key part: `(*prefix, TOP)` is above all keys that start with `prefix`."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


_TOP = _Top()


class Journal:
    """What one step did to the tables that share this journal, so that it alone can be undone."""

    __slots__ = ("_entries", "mark", "note")

    def __init__(self) -> None:
        self._entries: list[tuple[EngineTable[Any, Any], Any, Any]] = []
        self.mark = self._entries.clear
        self.note = self._entries.append

    @property
    def is_empty(self) -> bool:
        """No table was changed since `mark`."""
        return not self._entries

    def check(self) -> None:
        """Raises `Unstorable` if a row set since `mark` cannot be stored."""
        for table, key, _ in self._entries:
            table.check(key)

    def undo(self) -> None:
        """Take back everything since `mark`."""
        for table, key, row in self._entries[::-1]:
            if row is _MISSING:
                table._rows.pop(key, None)
            else:
                table._rows[key] = row
        self._entries.clear()


# Partitions change hands often in simulations and tests, and each of them opens all tables of its flow: build this once.
@cache
def _key_codec(name: str, key_types: tuple[type[Any], ...]) -> KeyCodec:
    return KeyCodec(name.encode() + b"\0", key_types)


class EngineTable(Generic[K, V]):
    """A `Table` over a `Store`. `cache_rows` bounds the committed rows held decoded, absent ones included.

    Rows are msgpack under `<name> NUL <key>`. Not thread-safe: one worker uses it.
    """

    __slots__ = (
        "_base",
        "_cache_rows",
        "_codec",
        "_decode",
        "_moved",
        "_note",
        "_older",
        "_ordered",
        "_rows",
        "_scanned",
        "_scans",
        "_store",
        "floor",
        "name",
        "touched",
    )

    def __init__(
        self,
        name: str,
        key_types: Sequence[type[Any]],
        row_type: type[V],
        store: Store,
        journal: Journal,
        *,
        cache_rows: int = CACHE_ROWS,
    ) -> None:
        self.name = name
        self.touched: dict[Any, None] = {}
        self.floor: int | None = None  # no committed key begins with less, where that is known
        self._codec = _key_codec(name, tuple(key_types))
        self._decode = msgspec.msgpack.Decoder(row_type).decode
        self._store = store
        self._note = journal.note
        self._cache_rows = max(cache_rows // 2, 1)
        self._rows: dict[K, V | None] = {}
        self._older: dict[K, V | None] = {}
        self._base: dict[K, V | None] = {}
        self._ordered: list[K] = []
        self._moved: list[K] = []
        self._scans: dict[tuple[Any, ...], list[K] | None] = {}
        self._scanned = 0

    # --- what a rule sees ----------------------------------------------------------------------------------------------

    def get(self, key: K) -> V | None:
        """The row, or none."""
        row: V | None = self._rows.get(key, _MISSING)
        return row if row is not _MISSING else self._load(key)

    def __getitem__(self, key: K) -> V:
        """The row. Raises `KeyError`."""
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def __setitem__(self, key: K, row: V | None) -> None:
        rows = self._rows
        old = rows.get(key, _MISSING)
        self._note((self, key, old))
        self._base.setdefault(key, old)
        rows[key] = row

    def __delitem__(self, key: K) -> None:
        """Remove the row. Raises `KeyError` if there is none."""
        if self.get(key) is None:
            raise KeyError(key)
        self[key] = None

    def __contains__(self, key: Any) -> bool:
        row = self._rows.get(key, _MISSING)
        return (row if row is not _MISSING else self._load(key)) is not None

    def under(self, *prefix: Any) -> Iterator[tuple[K, V]]:
        """All rows whose key starts with `prefix`, in order. Rows set or removed meanwhile may or may not show."""
        keys: Iterable[K] | None = self._scans.get(prefix, _MISSING)
        if keys is _MISSING:
            keys = self._scan(prefix)
        if keys is None:
            low = self._codec.prefix(prefix)
            keys = self._stream(low, after(low))
        return self._merged(keys, self._changed(prefix, (*prefix, _TOP)) if self._base else ())

    def range(self, low: tuple[Any, ...], high: tuple[Any, ...]) -> Iterator[tuple[K, V]]:
        """All rows with `low <= key < high`, compared as tuples, in order."""
        above = low if self.floor is None or low[0] >= self.floor else (self.floor,)
        keys = self._stream(self._codec.prefix(above), self._codec.prefix(high))
        return self._merged(keys, self._changed(low, high) if self._base else ())

    def first(self) -> Any:
        """The first part of the least key, which is an int; none if the table is empty."""
        found = next(self.range((_LEAST,), (-_LEAST,)), None)
        key: Any = None if found is None else found[0]
        return None if key is None else key[0]

    @property
    def is_changed(self) -> bool:
        """Something was set since the last commit."""
        return bool(self._base)

    # --- committed rows ------------------------------------------------------------------------------------------------

    def _load(self, key: K) -> V | None:
        row: V | None = self._older.pop(key, _MISSING)
        if row is _MISSING:
            where = self._codec.encode(key)
            try:
                data = self._store.get(where)
                row = None if data is None else self._decode(data)
            except Exception as error:
                raise self._failed(error) from error
        self._keep(key, row)
        return row

    def _keep(self, key: K, row: V | None) -> None:
        if len(self._rows) - len(self._base) >= self._cache_rows:
            self._age()
        self._rows[key] = row

    def _age(self) -> None:
        """Begin a new generation. What is not committed stays in it: the older one holds committed rows only."""
        older, self._rows = self._rows, {}
        for key in self._base:
            if key in older:
                self._rows[key] = older.pop(key)
        self._older = older

    def _scan(self, prefix: tuple[Any, ...]) -> list[K] | None:
        """The committed keys under a prefix, kept as long as no key there comes or goes; none if there are many."""
        if not prefix:
            return None
        low = self._codec.prefix(prefix)
        keys: list[K] | None = list(islice(self._stream(low, after(low)), SCAN_ROWS + 1))
        if keys is not None and len(keys) > SCAN_ROWS:
            keys = None
        self._scanned += 1 + len(keys or ())
        if self._scanned > self._cache_rows:
            self._scans.clear()
            self._scanned = 0
        self._scans[prefix] = keys
        return keys

    def _stream(self, low: bytes, high: bytes | None) -> Iterator[K]:
        """Keys of committed rows in order; their rows are in the cache when they come."""
        rows = iter(self._store.range(low, high))
        while True:
            try:
                data, row = next(rows, _NO_ROW)
                if data is None:
                    return
                key: Any = self._codec.decode(data)
                if key not in self._rows:
                    self._keep(key, self._decode(row))
            except Exception as error:
                raise self._failed(error) from error
            yield key

    def _failed(self, error: Exception) -> Exception:
        """What to raise when rows cannot be read: no event is to blame for that."""
        if isinstance(error, Unavailable | Fenced | StoreFailed):
            return error
        return StoreFailed(f"table {self.name} cannot be read ({type(error).__name__}: {error})")

    # --- what was set since the last commit ------------------------------------------------------------------------------

    def _changed(self, low: tuple[Any, ...], high: tuple[Any, ...]) -> list[K]:
        """Keys set since the last commit with `low <= key < high`, in order. `_ordered` follows `_base` when asked only."""
        ordered = self._ordered
        new = len(self._base) - len(ordered)
        if new > _INSORT_BELOW:
            ordered.extend(islice(reversed(self._base), new))
            ordered.sort()
        elif new:
            for key in islice(reversed(self._base), new):
                insort(ordered, key)
        return ordered[bisect_left(ordered, low) : bisect_left(ordered, high)]

    def _merged(self, keys: Iterable[K], changed: Sequence[K]) -> Iterator[tuple[K, V]]:
        last = None
        for key in merge(keys, changed) if changed else keys:
            if key != last:
                row = self.get(key)
                if row is not None:
                    yield key, row
                last = key

    # --- the batch's end -------------------------------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """Encoded rows that differ from the committed ones as far as those were read (none: removed).

        Sets `touched`, the first parts of their keys.

        Raises `Unstorable` for a row that cannot be encoded.
        """
        found: list[Change] = []
        rows, encode_key = self._rows, self._codec.encode
        touched: dict[Any, None] = {}
        moved: list[K] = []
        for key, old in self._base.items():
            new = rows.get(key, _MISSING)
            if new is old:
                continue
            data = self._encoded(key, new)
            # In the end bytes are compared: equal rows can differ in them (1.5 and 1.50), and what is stored must not depend on
            # where batches end. A key set without having been read is written as it is: a look-up costs more than that.
            if old == new and _encode(old) == data:
                continue
            key_data = encode_key(key)
            if len(key_data) > MAX_KEY_BYTES:
                raise self._key_too_long(key_data)
            if new is None and old is _MISSING and self._store.get(key_data) is None:
                continue
            if old is None or new is None or old is _MISSING:
                moved.append(key)
            found.append((key_data, data))
            touched[key[0]] = None
        self.touched, self._moved = touched, moved
        return found

    def check(self, key: K) -> None:
        """Raises `Unstorable` if the row cannot be stored."""
        self._encoded(key, self._rows.get(key))
        if len(data := self._codec.encode(key)) > MAX_KEY_BYTES:
            raise self._key_too_long(data)

    def _key_too_long(self, data: bytes) -> Unstorable:
        return Unstorable(f"a key of {len(data):,} bytes for table {self.name}: a row's key may take {MAX_KEY_BYTES:,}")

    def _encoded(self, key: K, row: V | None) -> bytes | None:
        try:
            if row is None or len(data := _encode(row)) <= MAX_ROW_BYTES:
                return None if row is None else data
            raise Unstorable(f"row {key!r} of table {self.name} takes {len(data):,} bytes: a row may take {MAX_ROW_BYTES:,}")
        except (TypeError, ValueError, OverflowError) as error:
            raise Unstorable(f"row {key!r} of table {self.name} cannot be stored: {error}") from error

    def committed(self) -> None:
        """The store has the changes: they are the committed rows now."""
        if self._scans and self._moved:
            self._forget_scans(self._moved)
        self._end_batch()
        if len(self._rows) > self._cache_rows:
            self._age()

    def dropped(self) -> None:
        """Forget everything since the last commit. Rows that were set are read from the store again: it may have them."""
        for key in self._base:
            self._rows.pop(key, None)
            self._older.pop(key, None)
        self._forget_scans(self._base)
        self._end_batch()

    def _end_batch(self) -> None:
        self._base.clear()
        self._ordered.clear()
        self._moved = []
        self.touched = {}

    def _forget_scans(self, keys: Iterable[K]) -> None:
        lengths = {len(prefix) for prefix in self._scans}
        for key in keys:
            for length in lengths:
                self._scans.pop(key[:length], None)


class FoldTables(Generic[T]):
    """The tables of one flow partition, as its rules see them (`tables`), and the engine's handle on all of them.

    `kind` is the dataclass whose fields are annotated `Table[key, row]`; `namespace` sets its rows apart in a shared store.
    """

    def __init__(
        self, kind: type[T], store: Store, journal: Journal, *, namespace: str = "", cache_rows: int = CACHE_ROWS
    ) -> None:
        self._all: dict[str, EngineTable[Any, Any]] = {
            name: EngineTable(namespace + name, key_types, row_type, store, journal, cache_rows=cache_rows)
            for name, (key_types, row_type) in row_types(kind).items()
        }
        self.tables: T = kind(**self._all)

    def get(self, name: str) -> EngineTable[Any, Any] | None:
        """One of the tables, if there is one of that name."""
        return self._all.get(name)

    def changes(self) -> list[Change]:
        """Encoded changed rows of all tables, for the commit."""
        return [change for table in self._all.values() if table._base for change in table.changes()]

    def touched(self, names: Iterable[str]) -> list[Any]:
        """First key parts of the rows that `changes` found in these tables: what derivations are worked out for."""
        found: dict[Any, None] = {}
        for name in names:
            found.update(self._all[name].touched)
        return list(found)

    def committed(self) -> None:
        """The store has the changes."""
        for table in self._all.values():
            table.committed()

    def dropped(self) -> None:
        """Forget everything since the last commit."""
        for table in self._all.values():
            table.dropped()
