"""One partition of a flow: applies its records one by one, each as a step that happens whole or not at all.

`apply` a batch, `finish` it (what to commit), then `committed` or `dropped`. State after any records is the same however
they were cut into batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage, BrokenInvariant, NotYet
from schemas.inventory import ItemSuspected, SuspicionCleared
from schemas.operations import ExceptionNoted
from schemas.records import Record
from schemas.topics import ENGINE, ROUTES
from streams.engine import quarantine
from streams.engine.fates import NAMESPACE, ONE, EngineTables, Fates, Parked, Waiting
from streams.engine.flow import Fold, Translator
from streams.engine.log import Fenced, Log, Outgoing, Store, StoreId, TopicPartition, Unavailable
from streams.engine.outputs import Outputs
from streams.engine.table import CACHE_ROWS, Change, FoldTables, Journal

Flow = Fold[Any] | Translator


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a flow partition.

    `cache_rows`: decoded rows a table holds. More than `dead_letter_share` of the last inputs, and at least `dead_letters`,
    halt the partition. `parked_per_key`: events of a key that may wait; the next one is a dead letter.
    """

    cache_rows: int = CACHE_ROWS
    dead_letter_share: float = 0.5
    dead_letters: int = 100
    parked_per_key: int = 1_000


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
        self.position = 0
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
    def step(self, record: Record) -> bool:
        """Apply one record, or raise why not. Returns whether parked records of its key may go on now."""

    @abstractmethod
    def _park(self, record: Record, error: NotYet) -> None:
        """Keep a record until a fact about its key comes."""

    @abstractmethod
    def _release(self, record: Record) -> None:
        """Apply parked records of the record's key again."""

    def apply(self, records: Sequence[Record]) -> None:
        """Apply records of this partition, in order. Raises `PartitionHalted`, or what the log raises."""
        mark, step, outgoing = self._journal.mark, self.step, self.outgoing
        fates = self._fates = (self._engine.fates.get(ONE) or Fates()).copy()
        for record in records:
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
                    self._release(record)
        if records:
            self.position = records[-1].offset + 1
        self._engine.fates[ONE] = fates

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
        self._fold_tables.committed()
        self._engine_tables.committed()
        self.outgoing.clear()

    def dropped(self) -> None:
        """The batch is not in the log, as far as is known."""
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

    def _quarantine(self, record: Record, error: BadMessage) -> None:
        replayed = quarantine.replay_of(record.headers)
        items = {item: None for item in (*self._own_items(record), *error.items, *(replayed[1] if replayed else ())) if item}
        letter = quarantine.dead_letter(self.flow, record, error, items)
        self._note(letter, quarantine.letter_headers(letter, self.stage))
        if self._takes_notes():
            self._note(quarantine.letter_noted(letter, record))
        for suspicion in quarantine.suspected(letter, record):
            self._note(suspicion)
        self._replayed(record)
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

    def step(self, record: Record) -> bool:
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
        return False

    def _park(self, record: Record, error: NotYet) -> None:
        reason = f"a translator knows one message at a time and cannot wait for another ({error.reason})"
        raise PartitionHalted(self.flow, self.partition, record.offset, self._describe(record), reason) from error

    def _release(self, record: Record) -> None:
        """Nothing is parked here."""


class FoldPartition(FlowPartition):
    """Canonical events to tables, outputs and derived outputs."""

    stage = "TASK_PUT"

    def __init__(self, flow: Fold[Any], partition: TopicPartition, store: Store, log: Log, codec: Codec, limits: Limits) -> None:
        super().__init__(flow, partition, store, log, codec, limits)
        self._inbox = flow.inbox
        self._rules: dict[type[Any], Callable[[Any, Any], Any]] = flow.rules
        self._releasing = flow.releasing
        self._decode = codec.decode

    def step(self, record: Record) -> bool:
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
        return kind in self._releasing

    def _unruled(self, kind: type[Any]) -> Exception:
        if any(carried.type is kind for carried in self._inbox.carries):
            return BrokenInvariant(f"the fold has no rule for {kind.__name__}, which its inbox carries")
        return BadMessage(f"{kind.__name__} does not belong on {self._inbox.name}", hint="events go where topics.ROUTES says")

    # --- parked records -------------------------------------------------------------------------------------------------

    def _park(self, record: Record, error: NotYet) -> None:
        key = quarantine.text_of(record.key)
        waiting = self._engine.waiting.get((key,))
        count = 1 if waiting is None else waiting.count + 1
        if count > self._limits.parked_per_key:
            full = f"{count - 1} events of {key} wait already, and this one cannot be applied either: {error.reason}"
            self._quarantine(record, BadMessage(full, hint="replay it when the fact has come"))
            return
        self._engine.parked[key, record.offset] = Parked(
            record.key, record.value, record.headers, record.timestamp_ms, error.reason
        )
        self._engine.waiting[key,] = Waiting(count)
        self._fates.parked += 1
        if self._takes_notes():
            item = key if self._inbox.key == "item" else None
            order_id = key if self._inbox.key == "order" else None
            self._note(quarantine.waiting_noted(self.flow, record, error.reason, count, item, order_id))

    def _release(self, record: Record) -> None:
        """Apply parked records of the key again, oldest first; begin anew when one of them releases others."""
        key = quarantine.text_of(record.key)
        again = (key,) in self._engine.waiting
        while again:
            again = False
            for (_, offset), parked in list(self._engine.parked.under(key)):
                again |= self._retry(
                    Record(*self.partition, offset, parked.timestamp_ms, parked.key, parked.value, parked.headers)
                )

    def _retry(self, record: Record) -> bool:
        self._journal.mark()
        sent = len(self.outgoing)
        try:
            releases = self.step(record)
        except NotYet:
            self._undo(sent)
            return False
        except Exception as error:
            self._undo(sent)
            self._unpark(record)
            self._answer(record, error)
            return False
        self._unpark(record)
        self._replayed(record)
        return releases

    def _unpark(self, record: Record) -> None:
        key = quarantine.text_of(record.key)
        del self._engine.parked[key, record.offset]
        left = self._engine.waiting[key,].count - 1
        self._fates.parked -= 1
        if left:
            self._engine.waiting[key,] = Waiting(left)
            return
        del self._engine.waiting[key,]
        if self._takes_notes():
            self._note(quarantine.waiting_over(self.flow, record))

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
