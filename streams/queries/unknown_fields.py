"""What foreign systems send and nobody reads, for people: by source, whichever process counted it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.api.ports import UnknownFieldShown
from connectors.unknown_fields import OTHERS
from streams.engine.controls import target_of
from streams.engine.fates import NAMESPACE, EngineTables, UnknownField
from streams.engine.flow import Fold, Translator
from streams.engine.log import ReadableLog, TopicPartition
from streams.engine.partition import store_id
from streams.engine.table import EngineTable, Journal
from streams.engine.topology import partitions_of
from streams.engine.unknown_fields import MOST_FIELDS
from tables.common.table import row_types

_MISSPELT = "Did you mean {meant}? Have the sender correct it, and send these messages again."
_OTHERS = "More fields than are named one by one: look at the example, and tell the sender."
_UNMAPPED = "Nobody reads it, the message is kept: tell the sender, or have it mapped if it matters."
_ERP = "It is kept with the row and decides nothing: have it mapped if it matters, or leave it out of the connector."


WARNED_DAYS = 8
"""A misspelt field that has not come for so long is not warned of: it was corrected. A weekly feed has come again by then."""
_DAY_MS = 86_400_000


class SourceReader:
    """`connectors.api.ports.Sources` on the log. Safe from any thread."""

    def __init__(self, log: ReadableLog, flows: Sequence[Fold[Any] | Translator], clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._clock_ms = clock_ms
        self._places = [(flow, at) for flow in flows if isinstance(flow, Translator) for at in partitions_of(flow)]

    def unknown_fields(self) -> list[UnknownFieldShown]:
        """At most `MOST_FIELDS` a source: what is probably misspelt first, and what came lately; then what comes most often.

        Raises `Unavailable`.
        """
        found: dict[tuple[str, str, str], UnknownFieldShown] = {}
        for source, at, message, path, row in self._rows():
            key = (source, message, path)
            found[key] = _added(found.get(key), _shown(source, at, message, path, row))
        since_ms = self._clock_ms() - WARNED_DAYS * _DAY_MS
        rows = [replace(row, is_warning=row.meant is not None and row.last_ms >= since_ms) for row in found.values()]
        named: Counter[str] = Counter()
        shown: list[UnknownFieldShown] = []
        for field in sorted(rows, key=lambda f: (not f.is_warning, f.meant is None, -f.count, f.source, f.message, f.field)):
            named[field.source] += 1
            if named[field.source] <= MOST_FIELDS:
                shown.append(field)
        return shown

    def totals(self) -> Mapping[str, int]:
        """How often that was, by source. Raises `Unavailable`."""
        found = Counter({target_of(flow, at.topic): 0 for flow, at in self._places})
        for source, _, _, _, row in self._rows():
            found[source] += row.count
        return found

    def _rows(self) -> Iterator[tuple[str, TopicPartition, str, str, UnknownField]]:
        key_types, row_type = row_types(EngineTables)["unknown"]
        for flow, at in self._places:
            store = self._log.store(store_id(flow, at))
            rows = EngineTable[Any, Any](f"{NAMESPACE}unknown", key_types, row_type, store, Journal(), cache_rows=2)
            for (message, path), row in rows.under():
                yield target_of(flow, at.topic), at, message, path, row


def _shown(source: str, at: TopicPartition, message: str, path: str, row: UnknownField) -> UnknownFieldShown:
    advice = _MISSPELT.format(meant=row.meant) if row.meant else _ERP if source == "erp" else _UNMAPPED
    return UnknownFieldShown(
        source=source,
        message=message,
        field=path,
        count=row.count,
        since_ms=row.since_ms,
        last_ms=row.last_ms,
        example=f"{at.topic}/{at.partition}/{row.offset}",
        meant=row.meant or None,
        advice=_OTHERS if path == OTHERS else advice,
    )


def _added(one: UnknownFieldShown | None, other: UnknownFieldShown) -> UnknownFieldShown:
    """The same field on two partitions."""
    if one is None:
        return other
    first, last = (one, other) if one.since_ms <= other.since_ms else (other, one), max(one, other, key=lambda row: row.last_ms)
    hinted = next((row for row in first if row.meant), last)
    return UnknownFieldShown(
        source=one.source,
        message=one.message,
        field=one.field,
        count=one.count + other.count,
        since_ms=first[0].since_ms,
        last_ms=last.last_ms,
        example=last.example,
        meant=hinted.meant,
        advice=hinted.advice,
    )
