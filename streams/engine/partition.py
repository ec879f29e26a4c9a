"""One partition of a flow: applies its records one by one, each as a step that happens whole or not at all.

`apply` a batch, `finish` it (what to commit), then `committed` or `dropped`. State after any records is the same however
they were cut into batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage, BrokenInvariant, NotYet
from schemas.inventory import ItemSuspected, SuspicionCleared
from schemas.operations import ExceptionNoted
from schemas.records import Record
from schemas.topics import ENGINE, ROUTES
from streams.engine import quarantine
from streams.engine.fates import NAMESPACE, ONE, EngineTables, Fates, Parked, Releasing, Waiting, fact_of
from streams.engine.flow import Fold, Translator, WaitsFor
from streams.engine.log import Fenced, Log, Outgoing, Store, StoreId, TopicPartition, Unavailable
from streams.engine.outputs import Outputs
from streams.engine.table import CACHE_ROWS, Change, FoldTables, Journal

Flow = Fold[Any] | Translator
RELEASE_ROWS = 256
"""Waiting records read at once."""
_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a flow partition.

    `cache_rows`: decoded rows a table holds. More than `dead_letter_share` of the last inputs, and at least `dead_letters`,
    halt the partition. `waiting`: events that may wait for one fact; the next one is a dead letter, though not one that halts.
    `release_batch`: waiting events applied in one transaction.
    """

    cache_rows: int = CACHE_ROWS
    dead_letter_share: float = 0.5
    dead_letters: int = 100
    waiting: int = 100_000
    release_batch: int = 2_048


class PartitionHalted(Exception):
    """A flow partition cannot go on: a defect of ours. Nothing of its batch is committed, so nothing is lost or half done."""

    def __init__(self, flow: str, partition: TopicPartition, offset: int, event: str, reason: str) -> None:
        super().__init__(
            f"{flow} stopped at {partition.topic}/{partition.partition}/{offset} ({event}): {reason}. "
            "Nothing of this batch was committed: correct the cause and start again, it goes on from here"
        )
        self.flow = flow
        self.partition = partition
        self.offset = offset
        self.event = event
        self.reason = reason


class TooManyDeadLetters(PartitionHalted):
    """So many inputs are refused that the fault is more likely ours (a bad deploy) than theirs."""


def store_id(flow: Flow, partition: TopicPartition) -> StoreId:
    """Where the rows of a flow partition are. A translator keeps them by topic: each is the fold of one partition."""
    return StoreId(flow.name if isinstance(flow, Fold) else f"{flow.name}.{partition.topic}", partition.partition)


def open_partition(flow: Flow, partition: TopicPartition, store: Store, log: Log, codec: Codec, limits: Limits) -> FlowPartition:
    """A flow partition over its committed rows."""
    if isinstance(flow, Fold):
        return FoldPartition(flow, partition, store, log, codec, limits)
    return TranslatorPartition(flow, partition, store, log, codec, limits)


class FlowPartition(ABC):
    """What folds and translators have in common: fates, dead letters, replays."""

    stage: str

    def __init__(self, flow: Flow, partition: TopicPartition, store: Store, log: Log, codec: Codec, limits: Limits) -> None:
        self.flow = flow.name
        self.partition = partition
        self.id = store_id(flow, partition)
        self.position = self._position = 0
        self.outgoing: list[Outgoing] = []
        self._limits = limits
        self._journal = Journal()
        kind = flow.tables if flow.tables is not None else _NoTables
        self._fold_tables = FoldTables(kind, store, self._journal, cache_rows=limits.cache_rows)
        self._tables: Any = self._fold_tables.tables
        self._engine_tables = FoldTables(EngineTables, store, self._journal, namespace=NAMESPACE, cache_rows=limits.cache_rows)
        self._engine = self._engine_tables.tables
        self._emit = Outputs(flow.name, log, codec, self.outgoing).emit
        self._note = Outputs(ENGINE, log, codec, self.outgoing).emit
        self._derivations = flow.derivations if isinstance(flow, Fold) else []
        self._fates = self.fates = self._engine.fates.get(ONE) or Fates()

    @abstractmethod
    def step(self, record: Record) -> Sequence[str]:
        """Apply one record, or raise why not. Returns the facts it brings: what waits for them may go on now."""

    @abstractmethod
    def _park(self, record: Record, error: NotYet) -> None:
        """Keep a record until a fact comes."""

    @abstractmethod
    def _release(self, facts: Sequence[str], most: int | None) -> None:
        """Apply again what waits for these facts, and for those that came before: `most` records, the others at the next call."""

    @property
    def is_releasing(self) -> bool:
        """Records that waited are still to be applied before anything else."""
        return ONE in self._engine.releasing

    def apply(self, records: Sequence[Record], most_released: int | None = None) -> int:
        """Apply records of this partition, in order. Returns how many were taken.

        It takes fewer than all when more than `most_released` records that waited are to be applied first (`is_releasing`):
        commit what there is, then give it the others. Raises `PartitionHalted`, or what the log raises.
        """
        mark, step, outgoing = self._journal.mark, self.step, self.outgoing
        fates = self._fates = (self._engine.fates.get(ONE) or Fates()).copy()
        taken = 0
        if self.is_releasing:
            self._release((), most_released)
        for record in records if not self.is_releasing else ():
            taken += 1
            fates.inputs += 1
            mark()
            sent = len(outgoing)
            try:
                releases = step(record)
            except Exception as error:
                self._undo(sent)
                self._answer(record, error)
            else:
                if record.headers:
                    self._replayed(record)
                if releases:
                    self._release(releases, most_released)
                    if self.is_releasing:
                        break
        if taken:
            self.position = records[taken - 1].offset + 1
        self._engine.fates[ONE] = fates
        return taken

    def finish(self) -> list[Change]:
        """The batch's changed rows; its records are in `outgoing`."""
        try:
            changes = self.changes()
            self._derive()
        except (Unavailable, Fenced):
            raise
        except Exception as error:
            reason = _reason(error)
            raise PartitionHalted(self.flow, self.partition, self.position - 1, "the batch's end", reason) from error
        return changes

    def changes(self) -> list[Change]:
        """The batch's changed rows alone, without what is derived from them."""
        return self._fold_tables.changes() + self._engine_tables.changes()

    def committed(self) -> None:
        """The batch is in the log."""
        self.fates = self._fates
        self._position = self.position
        self._fold_tables.committed()
        self._engine_tables.committed()
        self.outgoing.clear()

    def dropped(self) -> None:
        """The batch is not in the log, as far as is known."""
        self.position = self._position
        self._fold_tables.dropped()
        self._engine_tables.dropped()
        self.outgoing.clear()

    def _derive(self) -> None:
        self._journal.mark()
        for derived in self._derivations:
            for key in self._fold_tables.touched(derived.on):
                output = derived.function(self._tables, key, self.position)
                if output is not None:
                    self._emit(output)
        if not self._journal.is_empty:
            raise BrokenInvariant("a derivation changed a table: only rules may")

    def begin(self, position: int) -> None:
        """The position the committed rows reflect."""
        self.position = self._position = position

    def _undo(self, sent: int) -> None:
        self._journal.undo()
        del self.outgoing[sent:]

    # --- what else than "applied" can be said of a record ---------------------------------------------------------------

    def _answer(self, record: Record, error: Exception) -> None:
        if isinstance(error, AlreadyApplied):
            self._fates.duplicate += 1
            self._replayed(record)
        elif isinstance(error, BadMessage):
            self._quarantine(record, error)
        elif isinstance(error, NotYet):
            self._park(record, error)
        elif isinstance(error, Unavailable | Fenced):
            raise error
        else:
            raise PartitionHalted(self.flow, self.partition, record.offset, self._describe(record), _reason(error)) from error

    def _quarantine(self, record: Record, error: BadMessage, *, is_limited: bool = True) -> None:
        replayed = quarantine.replay_of(record.headers)
        items = {item: None for item in (*self._own_items(record), *error.items, *(replayed[1] if replayed else ())) if item}
        letter = quarantine.dead_letter(self.flow, record, error, items)
        self._note(letter, quarantine.letter_headers(letter, self.stage))
        if self._takes_notes():
            self._note(quarantine.letter_noted(letter, record))
        for suspicion in quarantine.suspected(letter, record):
            self._note(suspicion)
        self._replayed(record)
        if not is_limited:
            self._fates.dead_lettered += 1
            return
        dead, inputs = self._fates.dead_letter()
        limits = self._limits
        if dead >= limits.dead_letters and dead > limits.dead_letter_share * inputs:
            reason = (
                f"{dead} of the last {inputs} inputs were refused, the last one because: {letter.reason}. If the inputs are to"
                " blame and not the rules, raise the limit of dead letters"
            )
            raise TooManyDeadLetters(self.flow, self.partition, record.offset, self._describe(record), reason)

    def _replayed(self, record: Record) -> None:
        """A dead letter sent again has been settled, or has become another dead letter: the old one raises no doubt now."""
        replayed = quarantine.replay_of(record.headers)
        if replayed is not None:
            for cleared in quarantine.suspicion_cleared(*replayed, record):
                self._note(cleared)

    def _own_items(self, record: Record) -> tuple[str, ...]:
        """Items the record is about by where it is."""
        return ()

    def _takes_notes(self) -> bool:
        """Whether exceptions may be noted: not about the inbox they would be noted in."""
        return True

    def _describe(self, record: Record) -> str:
        return f"key {quarantine.text_of(record.key)}"


class TranslatorPartition(FlowPartition):
    """Raw records to canonical events."""

    stage = "TRANSFORMATION"

    def __init__(self, flow: Translator, partition: TopicPartition, store: Store, log: Log, codec: Codec, limits: Limits) -> None:
        super().__init__(flow, partition, store, log, codec, limits)
        self._translate = flow.translate
        self._admit = flow.admit

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
        return ()

    def _park(self, record: Record, error: NotYet) -> None:
        reason = f"a translator knows one message at a time and cannot wait for another ({error.reason})"
        raise PartitionHalted(self.flow, self.partition, record.offset, self._describe(record), reason) from error

    def _release(self, facts: Sequence[str], most: int | None) -> None:
        """Nothing is parked here."""


class FoldPartition(FlowPartition):
    """Canonical events to tables, outputs and derived outputs."""

    stage = "TASK_PUT"

    def __init__(self, flow: Fold[Any], partition: TopicPartition, store: Store, log: Log, codec: Codec, limits: Limits) -> None:
        super().__init__(flow, partition, store, log, codec, limits)
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
        releasing = self._releasing.get(kind)
        if releasing is None:
            return ()
        names = [self._own_fact(record) if waits_for is None else waits_for(event) for waits_for in releasing]
        return [fact_of(name) for name in names if name]

    def _unruled(self, kind: type[Any]) -> Exception:
        if any(carried.type is kind for carried in self._inbox.carries):
            return BrokenInvariant(f"the fold has no rule for {kind.__name__}, which its inbox carries")
        return BadMessage(f"{kind.__name__} does not belong on {self._inbox.name}", hint="events go where topics.ROUTES says")

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
            late = BadMessage(f"{full}: {error.reason}", hint="replay it when what it waits for has come")
            self._quarantine(record, late, is_limited=False)
            return
        self._fates.parked += 1
        self._wait(record, fact, error.reason)

    def _wait(self, record: Record, fact: str, reason: str) -> None:
        known = self._engine.waiting.get((fact,)) or Waiting(0, record.timestamp_ms, reason)
        row = replace(known, count=known.count + 1)
        self._engine.parked[fact, record.offset] = Parked(record.key, record.value, record.headers, record.timestamp_ms, reason)
        self._engine.waiting[fact,] = row
        if self._takes_notes():
            own = quarantine.text_of(record.key) if fact == fact_of(self._own_fact(record)) else None
            item = own if self._inbox.key == "item" else None
            order_id = own if self._inbox.key == "order" else None
            count = row.count if own is not None else None
            self._note(quarantine.waiting_noted(self.flow, record, fact, reason, count, item, order_id))

    def _release(self, facts: Sequence[str], most: int | None) -> None:
        engine = self._engine
        state = engine.releasing.get(ONE) or Releasing(())
        new = [fact for fact in dict.fromkeys(facts) if (fact,) in engine.waiting]
        state = self._queued(state, new)
        tried = 0
        while state.facts and (most is None or tried < most):
            fact = state.facts[0]
            some = RELEASE_ROWS if most is None else min(RELEASE_ROWS, most - tried)
            rows = list(islice(engine.parked.range((fact, state.after + 1), (fact, _END)), some))
            for (_, offset), row in rows:
                is_left, brings = self._retry(fact, self._parked(offset, row))
                state = replace(state, after=offset, is_left=state.is_left or is_left)
                if brings:
                    state = self._queued(state, [other for other in brings if (other,) in engine.waiting])
            tried += len(rows)
            if len(rows) < some:
                state = replace(state, after=-1, is_left=False, is_again=False, facts=state.facts[0 if state.is_again else 1 :])
        if state.facts:
            engine.releasing[ONE] = state
        elif ONE in engine.releasing:
            del engine.releasing[ONE]

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
        except NotYet as error:
            self._undo(sent)
            other = self._fact(record, error)
            if other == fact:
                return True, ()
            self._unpark(fact, record)
            self._wait(record, other, error.reason)
            return False, ()
        except Exception as error:
            self._undo(sent)
            self._unpark(fact, record)
            self._fates.parked -= 1
            self._answer(record, error)
            return False, ()
        self._unpark(fact, record)
        self._fates.parked -= 1
        self._replayed(record)
        return False, brings

    def _unpark(self, fact: str, record: Record) -> None:
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

    def _own_items(self, record: Record) -> tuple[str, ...]:
        """On the inbox that is told of suspicions the key is the item, but for broadcasts and for suspicions themselves."""
        if self._inbox.name != ROUTES[ItemSuspected].topic.name:
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


@dataclass(slots=True)
class _NoTables:
    """A translator without a feed ledger."""


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, BrokenInvariant) else f"{type(error).__name__}: {error}"
