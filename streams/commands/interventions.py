"""What stands and what a person does about it: halted partitions, paused sources, events that wait; skip, resume and settle.

What stands is in the log and in the flows' rows, so any process that serves can tell of all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from connectors.api.ports import BlockedOutputView, Halted, Interruptions, Invalid, LimitsShown, NotKnown, Paused, WaitingFor
from schemas.base import ErpTableNews
from schemas.codec import Codec
from schemas.customers import ErpCustomersNews
from schemas.documents import ErpDocumentsNews
from schemas.inventory import ErpItemsNews
from schemas.operations import ExceptionCleared, RecordSkipped, SourceResumed
from schemas.topics import CUSTOMERS, DOCUMENTS, PROMISE
from streams.commands.send import append, record_of, said_now
from streams.engine.controls import FollowedControls
from streams.engine.fates import NAMESPACE, ONE, EngineTables
from streams.engine.flow import Fold, Translator
from streams.engine.halts import skip_command
from streams.engine.limits import Limits
from streams.engine.log import ReadableLog, TopicPartition
from streams.engine.partition import store_id
from streams.engine.quarantine import pause_fingerprint, waited_for
from streams.engine.table import EngineTable, Journal
from streams.engine.topology import partitions_of
from tables.common.cdc_tables import EVERY_PART, READ, CdcTable
from tables.common.table import row_types

KEPT_S = 1.0
"""What was found last is good for so long: health is asked often."""
MOST_FACTS = 1_000
"""Facts of one partition that are looked at: whoever waits for more of them is told that there are more."""

Flow = Fold[Any] | Translator


_NEWS: dict[str, type[ErpTableNews]] = {
    PROMISE: ErpItemsNews,
    DOCUMENTS: ErpDocumentsNews,
    CUSTOMERS: ErpCustomersNews,
}
"""What each fold with rows of the ERP's hears about whole tables."""


def _begun(row: CdcTable) -> tuple[bool, int, int]:
    start = row.starts[-1] if row.starts else None
    return row.older, start.ms if start else 0, start.told_ms if start else 0


class Interventions:
    """`connectors.api.ports.Interventions` on the log. Safe from any thread."""

    def __init__(
        self,
        log: ReadableLog,
        flows: Sequence[Flow],
        codec: Codec,
        clock_ms: Callable[[], int],
        limits: Limits,
        misnamed: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._log = log
        self._flows = tuple(flows)
        self._codec = codec
        self._clock_ms = clock_ms
        self._limits = limits
        self._misnamed = misnamed
        self._controls = FollowedControls(log, codec)
        self._lock = threading.Lock()
        self._found: tuple[float, list[Halted]] | None = None

    def halted(self) -> list[Halted]:
        """Partitions that stand, whoever works them off. Perhaps as it was a second ago. Raises `Unavailable`."""
        found = self._found
        if found is None or time.monotonic() - found[0] > KEPT_S:
            found = self._found = (time.monotonic(), list(self._halted()))
        return found[1]

    def _halted(self) -> Iterator[Halted]:
        for flow, at in self._places():
            row = self._table(flow, at, "halts").get(ONE)
            if row is not None:
                record = f"{at.topic}/{at.partition}/{row.offset}"
                yield Halted(flow.name, record, row.event, row.reason, row.since_ms, skip_command(at, row.offset))

    def paused(self) -> list[Paused]:
        """Sources that are read no further, oldest pause first. Raises `Unavailable`."""
        with self._lock:
            self._controls.look()
            found = self._controls.paused()
        return [Paused(p.target, p.flow, f"{p.topic}/{p.partition}/{p.offset}", p.reason, p.occurred_at_ms) for p in found]

    def standing(self) -> Interruptions:
        """All of it. Raises `Unavailable`."""
        self._found = None
        waiting: dict[tuple[str, str], WaitingFor] = {}
        unpublished: list[BlockedOutputView] = []
        is_cut = False
        for flow, at in self._places():
            rows = list(islice(self._table(flow, at, "waiting").under(), MOST_FACTS + 1))
            is_cut |= len(rows) > MOST_FACTS
            for (fact,), row in rows[:MOST_FACTS]:
                known = waiting.get((flow.name, fact)) or WaitingFor(flow.name, waited_for(fact), 0, row.since_ms, row.reason)
                since_ms = min(known.since_ms, row.since_ms)
                waiting[flow.name, fact] = WaitingFor(flow.name, known.name, known.events + row.count, since_ms, known.reason)
            stale = islice(self._table(flow, at, "unpublished").under(), MOST_FACTS)
            unpublished += [BlockedOutputView(flow.name, key, row.reason, row.since_ms) for (key,), row in stale]
        oldest = sorted(waiting.values(), key=lambda found: found.since_ms)
        limits = self._limits
        shown = LimitsShown(
            dead_letters=limits.source.dead_letters,
            share=limits.source.share,
            window_s=limits.window_ms // 1_000,
            flow_dead_letters=limits.flow.dead_letters,
            sources={name: (limit.dead_letters, limit.share) for name, limit in limits.sources.items()},
        )
        return Interruptions(self.halted(), self.paused(), oldest, unpublished, shown, is_cut, self._misnamed())

    def skip(self, record: str, person: str, reason: str) -> None:
        """Have a record set aside at which a partition stands: it becomes a dead letter, and the partition goes on."""
        self._found = None
        standing = self.halted()
        if all(halt.record != record for halt in standing):
            known = "; ".join(f"{halt.record} ({halt.flow})" for halt in standing) or "none"
            raise NotKnown(f"No partition stands at {record[:100]!r}. Records at which one stands: {known}.")
        said = said_now(self._clock_ms(), f"record/{record}")
        event = RecordSkipped(**said, record=record, person=person, reason=reason)
        append(self._log, [record_of(self._codec, event)])

    def resume(self, source: str, person: str, reason: str) -> str:
        """Have a source read on from where it was paused. Returns what it is called."""
        with self._lock:
            self._controls.look()
            pauses = self._controls.paused()
        names = {source, source.removeprefix("channel."), f"flow.{source}"}
        found = [pause for pause in pauses if pause.target in names]
        if not found:
            known = ", ".join(sorted({pause.target for pause in pauses})) or "none"
            raise Invalid(f"{source[:100]!r} is not paused", f"What is paused: {known}.", is_conflict=True)
        target = found[0].target
        ended = [pause.event_id for pause in found if pause.target == target]
        said = said_now(self._clock_ms(), f"source/{target}")
        resumed = SourceResumed(**said, target=target, pauses=ended, person=person, reason=reason)
        cleared = ExceptionCleared(**said, fingerprint=pause_fingerprint(target))
        append(self._log, [record_of(self._codec, event) for event in (resumed, cleared)])
        return target

    def settle(self, table: str, person: str, reason: str) -> int:
        """A table's newest snapshot is over: each partition of the fold that has its rows hears it. Returns its position."""
        known = {name: (flow, row) for flow in self._flows if isinstance(flow, Fold) for name, row in self._erp_tables(flow)}
        if table not in known:
            raise NotKnown(f"No snapshot of a table {table[:100]!r} is known. Tables read: {', '.join(sorted(known)) or 'none'}.")
        flow, row = known[table]
        if not row.older:
            raise Invalid(f"{table} has no rows of before its newest snapshot", "There is nothing to settle", is_conflict=True)
        said = said_now(self._clock_ms(), f"table/{table}")
        news = _NEWS[flow.name](
            **said,
            table=table,
            what=READ,
            connector=row.connector,
            epoch=0,
            history=row.history,
            commit_position=0,
            part=EVERY_PART,
            person=person,
            reason=reason,
        )
        one = record_of(self._codec, news)
        append(self._log, [one._replace(partition=at.partition) for at in partitions_of(flow)])
        return row.history

    def _erp_tables(self, flow: Fold[Any]) -> Iterator[tuple[str, CdcTable]]:
        """What the fold knows of the ERP's tables, by the partition that has heard of the newest snapshot of each."""
        if flow.name not in _NEWS:
            return
        newest: dict[str, CdcTable] = {}
        key_types, row_type = row_types(flow.tables)["erp_tables"]
        for at in partitions_of(flow):
            store = self._log.store(store_id(flow, at))
            rows = EngineTable[Any, CdcTable]("erp_tables", key_types, row_type, store, Journal(), cache_rows=2)
            for (name,), row in rows.under():
                if name not in newest or _begun(row) > _begun(newest[name]):
                    newest[name] = row
        yield from newest.items()

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            self._controls.close()

    def _places(self) -> Iterator[tuple[Flow, TopicPartition]]:
        return ((flow, at) for flow in self._flows for at in partitions_of(flow))

    def _table(self, flow: Flow, at: TopicPartition, name: str) -> EngineTable[Any, Any]:
        key_types, row_type = row_types(EngineTables)[name]
        store = self._log.store(store_id(flow, at))
        return EngineTable[Any, Any](f"{NAMESPACE}{name}", key_types, row_type, store, Journal(), cache_rows=2)
