"""Rows of any flow's tables, committed, as table web views show them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Any

import msgspec

from connectors.api.ports import (
    Invalid,
    NotKnown,
)
from schemas.errors import BrokenInvariant
from streams.engine.flow import Fold, Translator
from streams.engine.keys import KeyCodec
from streams.engine.keys import after as after_all
from streams.engine.log import ReadableLog as ReadableLog  # noqa: PLC0414 - its importers move to the engine
from streams.engine.log import TopicPartition
from streams.engine.partition import store_id
from streams.engine.partitions import partition_of
from streams.engine.table import EngineTable, Journal
from streams.engine.topology import inputs_of, partitions_of
from tables.common.table import row_types

SEPARATOR = "|"


class TableTypes:
    """The tables of every flow, by `<flow>.<table>`, and the types of their rows."""

    def __init__(self, flows: Sequence[Fold[Any] | Translator]) -> None:
        self._tables: dict[str, tuple[Fold[Any] | Translator, str, tuple[type[Any], ...], type[Any]]] = {}
        for flow in flows:
            for name, (key_types, row_type) in row_types(flow.tables).items() if flow.tables else ():
                self._tables[f"{flow.name}.{name}"] = (flow, name, key_types, row_type)

    def names(self) -> list[str]:
        """All there are."""
        return sorted(self._tables)

    def unpacked(self, table: str, key: str, row: str) -> tuple[tuple[Any, ...], Any]:
        """A row that `TableView.packed` gave, perhaps in another process."""
        _, name, key_types, row_type = self._tables[table]
        codec = KeyCodec(name.encode() + b"\0", key_types)
        return codec.decode(b64decode(key)), msgspec.msgpack.decode(b64decode(row), type=row_type)


class TableView(TableTypes):
    """Committed rows of every flow, by `<flow>.<table>` (or the table's name, where only one flow has it)."""

    def __init__(self, log: ReadableLog, flows: Sequence[Fold[Any] | Translator]) -> None:
        super().__init__(flows)
        self._log = log

    def row(self, table: str, key: tuple[Any, ...], partition_key: str) -> Any:
        """One row by its typed key, from the partition that `partition_key` belongs to; or none."""
        flow, name, key_types, row_type = self._tables[table]
        topic = inputs_of(flow)[0]
        at = TopicPartition(topic.name, partition_of(partition_key.encode(), topic.partitions))
        return self._open(flow, at, name, key_types, row_type).get(key)

    def under(self, table: str, prefix: tuple[Any, ...], limit: int) -> list[tuple[tuple[Any, ...], Any]]:
        """The first rows whose typed key starts with `prefix`, whose first part is the flow's own key."""
        flow, name, key_types, row_type = self._tables[table]
        topic = inputs_of(flow)[0]
        at = TopicPartition(topic.name, partition_of(str(prefix[0]).encode(), topic.partitions))
        return list(islice(self._after(flow, at, name, (key_types, row_type), prefix, None), limit))

    def rows(self, table: str, key: str | None, after_key: str | None, limit: int) -> list[tuple[str, Any]]:
        """Rows whose key is or begins with `key`, in key order over all partitions, after a key."""
        flow, name, key_types, row_type = self._tables[self._full_name(table)]
        prefix = _parse(key, key_types, is_whole=False) if key is not None else ()
        last = _parse(after_key, key_types, is_whole=True) if after_key is not None else None
        found: dict[tuple[Any, ...], Any] = {}
        for at in partitions_of(flow):
            rows = self._after(flow, at, name, (key_types, row_type), prefix, last)
            for _, (row_key, row) in zip(range(limit), rows, strict=False):
                found[row_key] = row
        return [(shown(row_key), found[row_key]) for row_key in sorted(found)[:limit]]

    def scan(self, flow: str, table: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """All rows of a table, partition after partition: a broadcast row comes once from each."""
        found, name, key_types, row_type = self._tables[f"{flow}.{table}"]
        for at in partitions_of(found):
            yield from self._after(found, at, name, (key_types, row_type), (), None)

    def packed(self, table: str, after: str | None, limit: int) -> list[tuple[str, str, str]]:
        """Rows as they are stored, partition after partition: (cursor, key, row) in base64. `TableTypes.unpacked` reads them."""
        flow, name, _, _ = self._tables[self._full_name(table)]
        head = name.encode() + b"\0"
        seen, last = _cursor(after)
        found: list[tuple[str, str, str]] = []
        for number, at in enumerate(partitions_of(flow)):
            low = head if number > seen else last + b"\0"
            if number < seen or len(found) == limit:
                continue
            for key, row in islice(self._log.store(store_id(flow, at)).range(low, after_all(head)), limit - len(found)):
                packed_key = b64encode(key).decode()
                found.append((f"{number}/{packed_key}", packed_key, b64encode(row).decode()))
        return found

    def _full_name(self, table: str) -> str:
        if table in self._tables:
            return table
        matches = [name for name in self._tables if name.partition(".")[2] == table or name.rpartition(".")[2] == table]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NotKnown(f"Several flows have a table {table}: say {' or '.join(sorted(matches))}.")
        raise NotKnown(f"There is no table {table[:100]!r}. There are {', '.join(self.names())}.")

    def _open(self, flow: Any, at: TopicPartition, name: str, key_types: tuple[type[Any], ...], row_type: type[Any]) -> Any:
        store = self._log.store(store_id(flow, at))
        return EngineTable[Any, Any](name, key_types, row_type, store, Journal(), cache_rows=2)

    def _after(
        self,
        flow: Any,
        at: TopicPartition,
        name: str,
        types: tuple[tuple[type[Any], ...], type[Any]],
        prefix: tuple[Any, ...],
        last: tuple[Any, ...] | None,
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        store = self._log.store(store_id(flow, at))
        codec = KeyCodec(name.encode() + b"\0", types[0])
        low = codec.prefix(prefix)
        high = after_all(low)
        if last is not None:
            low = max(low, codec.encode(last) + b"\0")
        table = self._open(flow, at, name, *types)
        for data, _ in store.range(low, high):
            key = codec.decode(data)
            row = table.get(key)
            if row is not None:
                yield key, row


def _cursor(after: str | None) -> tuple[int, bytes]:
    """The partition's number and the last key given."""
    if after is None:
        return -1, b""
    number, _, key = after.partition("/")
    try:
        return int(number), b64decode(key, validate=True)
    except ValueError:
        raise Invalid(f"The cursor {after[:100]!r} is not one of ours", "Send `next` as it was given.") from None


def shown(key: tuple[Any, ...]) -> str:
    """A table key as text: its parts separated by `|`."""
    return SEPARATOR.join(part.isoformat() if isinstance(part, date) else str(part) for part in key)


def _parse(text: str, types: tuple[type[Any], ...], *, is_whole: bool) -> tuple[Any, ...]:
    parts = text.split(SEPARATOR)
    words = SEPARATOR.join(t.__name__ for t in types)
    if len(parts) > len(types) or (is_whole and len(parts) != len(types)):
        raise Invalid(f"The key {text[:100]!r} has {len(parts)} parts", f"This table's keys are {words}.")
    key = []
    for part, kind in zip(parts, types, strict=False):
        try:
            key.append(date.fromisoformat(part) if kind is date else kind(part))
            KeyCodec(b"", (kind,)).encode((key[-1],))
        except (ValueError, BrokenInvariant):
            raise Invalid(f"{part[:100]!r} is no {kind.__name__}", f"This table's keys are {words}.") from None
    return tuple(key)
