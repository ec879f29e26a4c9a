"""Time as events: a tick goes to an inbox partition when, and only when, its tables have something due.

A fold that wants to be woken keeps a table `deadlines` whose keys begin with the instant (ms UTC), and its inbox carries a type
of `Tick`. Nothing else is needed: the clock finds both by their declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import topics
from schemas.base import Tick
from schemas.codec import Codec
from streams.engine.fates import DEADLINES, NAMESPACE, ONE, Due, EngineTables
from streams.engine.flow import Fold
from streams.engine.log import Outgoing, ReadableLog, TopicPartition, Unavailable
from streams.engine.partition import Flow, store_id
from streams.engine.table import EngineTable, Journal
from streams.flows.groups import GroupOf, one_group
from tables.common.table import row_types

_DUE = row_types(EngineTables)["due"]


@dataclass(frozen=True, slots=True)
class Timed:
    """A fold that is woken: its partitions, and by which tick."""

    fold: Fold[Any]
    tick: type[Tick]


def timed(flows: Sequence[Flow]) -> list[Timed]:
    """The folds that keep deadlines."""
    found = []
    for flow in flows:
        key_types = row_types(flow.tables).get(DEADLINES, ((), None))[0] if isinstance(flow, Fold) else ()
        if isinstance(flow, Fold) and key_types and key_types[0] is int:
            (tick,) = (carried.type for carried in flow.inbox.carries if issubclass(carried.type, Tick))
            found.append(Timed(flow, tick))
    return found


class TickClock:
    """Looks at the deadlines of every fold that keeps any. Call `tick` every so often, from one thread."""

    def __init__(
        self,
        log: ReadableLog,
        codec: Codec,
        clock_ms: Callable[[], int],
        flows: Sequence[Flow],
        group: GroupOf = one_group,
    ) -> None:
        self._log = log
        self._group = group
        self._codec = codec
        self._clock_ms = clock_ms
        self._timed = timed(flows)
        self._sent: dict[TopicPartition, int] = {}

    def tick(self) -> int:
        """Append a tick to each partition with a deadline due; returns to how many. One is in flight in each at a time.

        Partitions whose rows are not here (`Unavailable`) are looked at again next time.
        """
        now_ms = self._clock_ms()
        due: list[Outgoing] = []
        for entry in self._timed:
            topic = entry.fold.inbox
            places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
            late = self._not_in_flight(entry, [at for at in places if self._is_due(entry, at, now_ms)])
            value = self._codec.encode(_tick(entry.tick, now_ms)) if late else None
            due += [Outgoing(*at, topics.CLOCK.encode(), value) for at in late]
        if due:
            offsets = self._log.append(due)
            self._sent |= {TopicPartition(o.topic, o.partition): offset for o, offset in zip(due, offsets, strict=True)}
        return len(due)

    def _is_due(self, entry: Timed, at: TopicPartition, now_ms: int) -> bool:
        """By the row the engine keeps of the earliest deadline: a scan would pass by all that were ever worked off."""
        try:
            store = self._log.store(store_id(entry.fold, at))
            due = EngineTable[Any, Due](f"{NAMESPACE}due", *_DUE, store, Journal(), cache_rows=2).get(ONE)
        except Unavailable:
            return False
        return due is not None and due.first_ms <= now_ms

    def _not_in_flight(self, entry: Timed, late: list[TopicPartition]) -> list[TopicPartition]:
        """Those whose last tick has been read."""
        ticked = [at for at in late if at in self._sent]
        progress = self._log.progress(self._group(entry.fold), ticked) if ticked else {}
        return [at for at in late if at not in progress or progress[at][0] > self._sent[at]]


def _tick(kind: type[Tick], now_ms: int) -> Tick:
    return kind(
        event_id=f"tick:{now_ms}",
        source=topics.CLOCK,
        source_position=now_ms,
        occurred_at_ms=now_ms,
        recorded_at_ms=now_ms,
        trace_id=f"clock/{now_ms}",
    )
