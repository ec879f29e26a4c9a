"""Counts of foreign fields that nobody reads, in the rows of the partition they came on: exact, and bounded.

Messages of a feed mostly have the same unknown fields. So a message costs one look-up, whatever the number of its fields; the
rows are made once a batch. They are the same however records were cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.texts import one_line
from connectors.unknown_fields import OTHERS
from schemas.near import nearest
from schemas.records import UnknownFields
from streams.engine.fates import UnknownField
from tables.common.table import Table

MOST_FIELDS = 200
MOST_OF_A_PATH = 100
_MOST_SHAPES = 256
_ALIKE = 0.75
_OTHERS = ("", OTHERS)
Row = tuple[str, str]


@dataclass(slots=True)
class _Seen:
    """Messages with the same unknown fields."""

    first: UnknownFields
    count: int
    since_ms: int
    last_ms: int
    offset: int


class UnknownFieldCounts:
    """The counts of one partition. `count` each message, `flush` once a batch."""

    def __init__(self, table: Table[tuple[str, str], UnknownField]) -> None:
        self._table = table
        self._rows: dict[Row, UnknownField] | None = None  # all of the table's, from the first message that needs them
        self._changed: set[Row] = set()
        self._shapes: dict[tuple[str, tuple[str, ...]], _Seen] = {}

    def count(self, found: UnknownFields, offset: int, at_ms: int) -> None:
        """A message that was applied has these."""
        shape = (found.message, found.paths)
        seen = self._shapes.get(shape)
        if seen is not None:
            seen.count += 1
            seen.last_ms, seen.offset = at_ms, offset
            return
        if len(self._shapes) == _MOST_SHAPES:
            self._add_up()
        self._shapes[shape] = _Seen(found, 1, at_ms, at_ms, offset)

    def flush(self) -> None:
        """Set the rows that have changed."""
        if not self._shapes and not self._changed:
            return
        rows = self._add_up()
        for key in sorted(self._changed):
            self._table[key] = rows[key]
        self._changed.clear()

    def dropped(self) -> None:
        """What was counted since the last commit did not happen."""
        self._rows = None
        self._changed.clear()
        self._shapes.clear()

    def _add_up(self) -> dict[Row, UnknownField]:
        if self._rows is None:
            self._rows = dict(self._table.under())
        rows = self._rows
        for seen in self._shapes.values():
            keys: dict[Row, int] = {}
            for n, path in enumerate(seen.first.paths):
                key = (seen.first.message, one_line(path, MOST_OF_A_PATH))
                full = path == OTHERS or (key not in rows and len(rows) + len(keys.keys() - rows.keys()) >= MOST_FIELDS)
                keys.setdefault(_OTHERS if full else key, n)
            for key, n in keys.items():
                rows[key] = _added(rows.get(key), seen, n)
                self._changed.add(key)
        self._shapes.clear()
        return rows


def _added(row: UnknownField | None, seen: _Seen, n: int) -> UnknownField:
    if row is None:
        return UnknownField(seen.count, seen.since_ms, seen.last_ms, seen.offset, _meant(seen.first, n))
    is_newer = seen.offset > row.offset
    return UnknownField(
        row.count + seen.count,
        row.since_ms,
        seen.last_ms if is_newer else row.last_ms,
        seen.offset if is_newer else row.offset,
        row.meant,
    )


def _meant(found: UnknownFields, n: int) -> str:
    """The field that was probably meant: one that is read beside it, is called nearly so, and is not in the message."""
    known, given = found.among[n]
    prefix, dot, name = found.paths[n].rpartition(".")
    near = nearest(name[:MOST_OF_A_PATH], (other for other, field in known.items() if field not in given), _ALIKE)
    return "" if near is None else one_line(f"{prefix}{dot}{near}", MOST_OF_A_PATH)
