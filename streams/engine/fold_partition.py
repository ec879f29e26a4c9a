"""One partition of a fold: canonical events to tables, outputs and derived outputs; and the events that wait for a fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from schemas.codec import Codec
from schemas.errors import BadMessage, BrokenInvariant, NotYet
from schemas.inventory import ItemSuspected, SuspicionCleared
from schemas.operations import ExceptionNoted
from schemas.records import Record
from schemas.topics import ROUTES, source_of
from streams.engine import quarantine
from streams.engine.controls import PartitionControls
from streams.engine.fates import ONE, Doubted, Parked, Releasing, WaitingSummary, fact_of
from streams.engine.flow import Fold, WaitsFor
from streams.engine.flow_partition import FlowPartition
from streams.engine.limits import Limits
from streams.engine.log import Log, Store, TopicPartition

RELEASE_ROWS = 256
"""Waiting records read at once."""
_END = 2**63 - 1


class FoldPartition(FlowPartition):
    """Canonical events to tables, outputs and derived outputs."""

    stage = "TASK_PUT"

    def __init__(
        self,
        flow: Fold[Any],
        partition: TopicPartition,
        store: Store,
        log: Log,
        codec: Codec,
        limits: Limits,
        controls: PartitionControls,
    ) -> None:
        super().__init__(flow, partition, store, log, codec, limits, controls)
        self._inbox = flow.inbox
        self._rules: dict[type[Any], Callable[[Any, Any], Any]] = flow.rules
        self._releasing: dict[type[Any], tuple[WaitsFor | None, ...]] = flow.releasing
        self._decode = codec.decode

    def step(self, record: Record) -> Sequence[str]:
        """Apply the rule for one event."""
        value = record.value
        if value is None:
            raise BadMessage("the record has no value", hint="an inbox holds events only")
        event = self._decode(value)
        kind = type(event)
        rule = self._rules.get(kind)
        if rule is None:
            raise self._unruled(kind)
        emit = self._emit
        for output in rule(self._tables, event):
            emit(output)
        if self._windows.by_name:
            for target in (_source(event), self.target):
                if target is not None:
                    self._windows.passed(target, record.timestamp_ms, self._limits.window_ms)
        releasing = self._releasing.get(kind)
        if releasing is None:
            return ()
        names = [self._own_fact(record) if waits_for is None else waits_for(event) for waits_for in releasing]
        return [fact_of(name) for name in names if name]

    def _unruled(self, kind: type[Any]) -> Exception:
        if any(carried.type is kind for carried in self._inbox.carries):
            return BrokenInvariant(f"the fold has no rule for {kind.__name__}, which its inbox carries")
        return BadMessage(f"{kind.__name__} does not belong on {self._inbox.name}", hint="events go where topics.ROUTES says")

    def _count_refused(self, record: Record, letter_reason: str) -> None:
        """A source is paused where it comes in; the fold stands still only when it refuses far more, whoever sent it."""
        source = _source(self._event(record))
        found = None if source is None else self._too_many(source, self._limits.of(source), record)
        if source is not None and found is not None:
            self._pause(source, found, record, letter_reason)
        found = self._too_many(self.target, self._limits.flow, record)
        if found is not None:
            self._pause(self.target, found, record, letter_reason)

    # --- records that wait ----------------------------------------------------------------------------------------------

    def _own_fact(self, record: Record) -> str:
        return f"{self._inbox.key}:{quarantine.text_of(record.key)}"

    def _fact(self, record: Record, error: NotYet) -> str:
        return fact_of(error.waits_for or self._own_fact(record))

    def _park(self, record: Record, error: NotYet) -> None:
        fact = self._fact(record, error)
        known = self._engine.waiting.get((fact,))
        if known is not None and known.count >= self._limits.waiting:
            full = f"{known.count} events wait for {quarantine.waited_for(fact)} already, and this one cannot be applied either"
            late = BadMessage(f"{full}: {error.reason}", hint="replay it when what it waits for has come", items=error.items)
            self._quarantine(record, late, is_limited=False)
            return
        self._fates.parked += 1
        self._wait(record, fact, error)

    def _wait(self, record: Record, fact: str, error: NotYet) -> None:
        reason, items = error.reason, tuple(dict.fromkeys(error.items))
        known = self._engine.waiting.get((fact,)) or WaitingSummary(0, record.timestamp_ms, reason)
        row = replace(known, count=known.count + 1)
        self._engine.parked[fact, record.offset] = Parked(
            record.key, record.value, record.headers, record.timestamp_ms, reason, items
        )
        self._engine.waiting[fact,] = row
        for doubted in items:
            self._doubt(record, fact, doubted, reason)
        if self._takes_notes():
            own = quarantine.text_of(record.key) if fact == fact_of(self._own_fact(record)) else None
            item = own if self._inbox.key == "item" else None
            order_id = own if self._inbox.key == "order" else None
            count = row.count if own is not None else None
            self._note(quarantine.waiting_noted(self.flow, record, fact, reason, count, item, order_id))

    def _release(self, facts: Sequence[str], most: int | None) -> None:
        engine = self._engine
        state = engine.releasing.get(ONE) or Releasing(())
        state = self._queued(state, [fact for fact in dict.fromkeys(facts) if (fact,) in engine.waiting])
        tried = 0
        while state.facts and (most is None or tried < most) and not self.is_stopped:
            some = RELEASE_ROWS if most is None else min(RELEASE_ROWS, most - tried)
            tried += some
            state = self._released(state, some)
        if state.facts:
            engine.releasing[ONE] = state
        elif ONE in engine.releasing:
            del engine.releasing[ONE]

    def _released(self, state: Releasing, some: int) -> Releasing:
        """Try the next records that wait for the first fact; after the last one the fact has been dealt with."""
        fact = state.facts[0]
        rows = list(islice(self._engine.parked.range((fact, state.after + 1), (fact, _END)), some))
        for (_, offset), row in rows:
            is_left, brings = self._retry(fact, self._parked(offset, row))
            if self.halt is not None:
                return state
            state = replace(state, after=offset, is_left=state.is_left or is_left)
            if brings:
                state = self._queued(state, [other for other in brings if (other,) in self._engine.waiting])
            if self.is_stopped:
                return state
        if len(rows) == some:
            return state
        return replace(state, after=-1, is_left=False, is_again=False, facts=state.facts[0 if state.is_again else 1 :])

    def _queued(self, state: Releasing, facts: Sequence[str]) -> Releasing:
        """The facts come after those being released; the one at hand is gone through again if it left anything waiting."""
        for fact in facts:
            if fact not in state.facts:
                state = replace(state, facts=(*state.facts, fact))
            elif fact == state.facts[0] and state.is_left:
                state = replace(state, is_again=True)
        return state

    def _parked(self, offset: int, row: Parked) -> Record:
        return Record(*self.partition, offset, row.timestamp_ms, row.key, row.value, row.headers)

    def _retry(self, fact: str, record: Record) -> tuple[bool, Sequence[str]]:
        """Apply a record that waited. Returns whether it still waits for the same, and what facts it brings."""
        self._journal.mark()
        sent = len(self.outgoing)
        try:
            brings = self.step(record)
            if self._is_careful:
                self._journal.check()
        except NotYet as error:
            self._undo(sent)
            other = self._fact(record, error)
            if other == fact:
                return True, ()
            self._wait(record, other, error)  # first: an item that both concern is not trusted in between
            self._unpark(fact, record)
            return False, ()
        except Exception as error:
            self._undo(sent)
            if self._answer(record, error):
                self._unpark(fact, record)
                self._fates.parked -= 1
            return False, ()
        self._unpark(fact, record)
        self._fates.parked -= 1
        self._replayed(record)
        return False, brings

    def _doubt(self, record: Record, fact: str, item: str, reason: str) -> None:
        """One more record about the item waits for the fact: the first has the item's answers say that they may be wrong."""
        known = self._engine.doubted.get((fact, item))
        self._engine.doubted[fact, item] = Doubted(1 if known is None else known.count + 1)
        if known is None:
            self._note(quarantine.doubted(self.flow, record, fact, item, reason))

    def _trust(self, record: Record, fact: str, item: str) -> None:
        """One record fewer: after the last one the fact raises no doubt about the item."""
        known = self._engine.doubted[fact, item]
        if known.count > 1:
            self._engine.doubted[fact, item] = Doubted(known.count - 1)
            return
        del self._engine.doubted[fact, item]
        self._note(quarantine.doubt_over(self.flow, record, fact, item))

    def _unpark(self, fact: str, record: Record) -> None:
        for item in self._engine.parked[fact, record.offset].items:
            self._trust(record, fact, item)
        del self._engine.parked[fact, record.offset]
        row = self._engine.waiting[fact,]
        if row.count > 1:
            self._engine.waiting[fact,] = replace(row, count=row.count - 1)
            return
        del self._engine.waiting[fact,]
        if self._takes_notes():
            self._note(quarantine.waiting_over(self.flow, record, fact))

    # --- words ----------------------------------------------------------------------------------------------------------

    def _event(self, record: Record) -> Any:
        """The record's event; none if it cannot be read."""
        try:
            return None if record.value is None else self._decode(record.value)
        except BadMessage:
            return None

    def _items_of(self, record: Record) -> tuple[str, ...]:
        item = getattr(self._event(record), "item", None)
        return (item,) if isinstance(item, str) else ()

    def _is_suspectable(self) -> bool:
        return self._inbox.name == ROUTES[ItemSuspected].topic.name

    def _own_items(self, record: Record) -> tuple[str, ...]:
        """On the inbox that is told of suspicions the key is the item, but for broadcasts and for suspicions themselves."""
        if not self._is_suspectable():
            return ()
        event = self._event(record)
        route = ROUTES.get(type(event))
        if isinstance(event, ItemSuspected | SuspicionCleared) or (route is not None and route.is_broadcast):
            return ()
        return (quarantine.text_of(record.key),)

    def _takes_notes(self) -> bool:
        return self._inbox.name != ROUTES[ExceptionNoted].topic.name

    def _describe(self, record: Record) -> str:
        event = self._event(record)
        if event is None:
            return super()._describe(record)
        return f"{type(event).__name__} {getattr(event, 'event_id', '')} of {quarantine.text_of(record.key)}"


def _source(event: Any) -> str | None:
    """The source whose message an event comes from; none for what comes from ourselves."""
    return source_of(getattr(event, "trace_id", "").partition("/")[0])
