"""One partition of a translator: raw records to canonical events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from schemas.errors import BadMessage, NotYet
from schemas.records import Record, Translation
from streams.engine import quarantine
from streams.engine.flow import Translator
from streams.engine.flow_partition import FlowPartition
from streams.engine.unknown_fields import UnknownFieldCounts


class TranslatorPartition(FlowPartition):
    """Raw records to canonical events."""

    stage = "TRANSFORMATION"

    def __init__(self, flow: Translator, *of_all: Any) -> None:
        super().__init__(flow, *of_all)
        remembers = flow.tables is not None and flow.admit is None
        self._translate: Callable[[Record], Translation] = partial(flow.translate, self._tables) if remembers else flow.translate
        self._admit = flow.admit
        self._unknown = UnknownFieldCounts(self._engine.unknown)
        self._named = flow.items_of

    def step(self, record: Record) -> Sequence[str]:
        """Translate one record and enter it in the feed ledger."""
        translation = self._translate(record)
        emit = self._emit
        if self._admit is not None and translation.feed is not None:
            for event in self._admit(self._tables, translation.feed):
                emit(event)
        try:
            for event in translation.events:
                emit(event)
        except ValueError as error:
            raise BadMessage(f"it says what no event can hold: {error}", hint="correct it at the source") from error
        if translation.ignored is not None:
            self._fates.ignore(translation.ignored)
        if self._windows.by_name:
            self._windows.passed(self.target, record.timestamp_ms, self._limits.window_ms)
        if translation.unknown is not None:
            if self._is_careful:
                self._journal.check()  # what cannot be stored is not counted: it becomes a dead letter
            self._unknown.count(translation.unknown, record.offset, record.timestamp_ms)
        return ()

    def apply(self, records: Sequence[Record], most_released: int | None = None) -> int:
        """Apply records of this partition, in order. Returns how many were taken (`taken`)."""
        taken = super().apply(records, most_released)
        self._unknown.flush()
        return taken

    def dropped(self) -> None:
        """The batch is not in the log, as far as is known."""
        super().dropped()
        self._unknown.dropped()

    def _count_refused(self, record: Record, letter_reason: str) -> None:
        found = self._too_many(self.target, self._limits.of(self.target), record)
        if found is not None:
            self._pause(self.target, found, record, letter_reason)

    def _park(self, record: Record, error: NotYet) -> None:
        reason = f"a translator knows one message at a time and cannot wait for another ({error.reason})"
        self._quarantine(record, BadMessage(reason, hint=quarantine.DEFECT_HINT, items=self._items_of(record)))

    def _release(self, facts: Sequence[str], most: int | None) -> None:
        """Nothing is parked here."""

    def _items_of(self, record: Record) -> tuple[str, ...]:
        return () if self._named is None else tuple(self._named(record))
