"""What folds and translators have in common: one partition of a flow, and what becomes of each of its records.

`apply` a batch, `finish` it (what to commit), then `committed` or `dropped`. Each record is a step that happens whole or not at
all, and state after any records is the same however they were cut into batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage, BrokenInvariant, NotYet
from schemas.operations import SourcePaused
from schemas.records import Record
from schemas.topics import ENGINE
from streams.engine import quarantine
from streams.engine.controls import PartitionControls, target_of
from streams.engine.fates import DEADLINES, NAMESPACE, ONE, BlockedOutput, Due, EngineTables, Halt, InputFates, ReplayRecord
from streams.engine.flow import Derived, Fold, Translator
from streams.engine.halts import PartitionHalted
from streams.engine.keys import Unstorable
from streams.engine.limits import Limits, SourceLimit, Windows
from streams.engine.log import Fenced, Log, Outgoing, Store, StoreFailed, StoreId, TopicPartition, Unavailable
from streams.engine.outputs import Outputs
from streams.engine.table import Change, FoldTables, Journal

Flow = Fold[Any] | Translator
_NO_CONTROLS = PartitionControls(can_pause=False)


class _FedAlready(AlreadyApplied):
    """Another copy of a replayed dead letter: the first one counts."""


def store_id(flow: Flow, partition: TopicPartition) -> StoreId:
    """Where the rows of a flow partition are. A translator keeps them by topic: each is the fold of one partition."""
    return StoreId(flow.name if isinstance(flow, Fold) else f"{flow.name}.{partition.topic}", partition.partition)


class FlowPartition(ABC):
    """One partition of a flow: fates, dead letters, replays, halts and pauses.

    After `finish`: `taken` records of the batch were applied. `halt` says why the next one could not be, `is_stopped` that none
    is to be taken now, for that or because `target` is paused.
    """

    stage: str

    def __init__(
        self,
        flow: Flow,
        partition: TopicPartition,
        store: Store,
        log: Log,
        codec: Codec,
        limits: Limits,
        controls: PartitionControls = _NO_CONTROLS,
    ) -> None:
        self.flow = flow.name
        self.partition = partition
        self.id = store_id(flow, partition)
        self.target = target_of(flow, partition.topic)
        self.position = self._position = 0
        self.taken = 0
        self.halt: PartitionHalted | None = None
        self.is_stopped = False
        self.outgoing: list[Outgoing] = []
        self._limits = limits
        self._controls = controls
        self._journal = Journal()
        kind = flow.tables if flow.tables is not None else _NoTables
        self._fold_tables = FoldTables(kind, store, self._journal, cache_rows=limits.cache_rows)
        self._tables: Any = self._fold_tables.tables
        self._deadlines = self._fold_tables.get(DEADLINES)
        self._engine_tables = FoldTables(EngineTables, store, self._journal, namespace=NAMESPACE, cache_rows=limits.cache_rows)
        self._engine = self._engine_tables.tables
        self._emit = Outputs(flow.name, log, codec, self.outgoing).emit
        self._note = Outputs(ENGINE, log, codec, self.outgoing).emit
        self._derivations: list[Derived[Any]] = flow.derivations if isinstance(flow, Fold) else []
        self._fates = self.fates = self._engine.fates.get(ONE) or InputFates()
        self._windows = Windows()
        self._given: tuple[Sequence[Record], int | None] = ((), None)
        self._pauses: list[SourcePaused] = []
        self._is_careful = False
        self._are_unpublished_tried = False

    @abstractmethod
    def step(self, record: Record) -> Sequence[str]:
        """Apply one record, or raise why not. Returns the facts it brings: what waits for them may go on now."""

    @abstractmethod
    def _park(self, record: Record, error: NotYet) -> None:
        """Keep a record until a fact comes."""

    @abstractmethod
    def _release(self, facts: Sequence[str], most: int | None) -> None:
        """Apply again what waits for these facts, and for those that came before: `most` records, the others at the next call."""

    @abstractmethod
    def _count_refused(self, record: Record, letter_reason: str) -> None:
        """A dead letter that counts against a limit."""

    @property
    def is_releasing(self) -> bool:
        """Records that waited are still to be applied before anything else."""
        return ONE in self._engine.releasing

    def begin(self, position: int) -> None:
        """The position the committed rows reflect."""
        self.position = self._position = position

    # --- a batch --------------------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record], most_released: int | None = None) -> int:
        """Apply records of this partition, in order. Returns how many were taken (`taken`).

        It takes fewer than all when it halts or is paused (`is_stopped`), and when more than `most_released` records that waited
        are to be applied first (`is_releasing`): commit what there is, then give it the others. Raises what the log raises.
        """
        self._given = records, most_released
        if self._deadlines is not None:
            due = self._engine.due.get(ONE)
            self._deadlines.floor = None if due is None else due.first_ms
        self.halt, self.is_stopped = None, False
        self._fates = (self._engine.fates.get(ONE) or InputFates()).copy()
        self._windows = (self._engine.windows.get(ONE) or Windows()).copy()
        was_releasing = self.is_releasing
        if was_releasing:
            self._release((), most_released)
        self.taken = 0 if self.is_stopped or self.is_releasing else self._apply(records, most_released)
        if self.taken:
            self.position = records[self.taken - 1].offset + 1
        self._engine.fates[ONE] = self._fates
        if self._windows.by_name or ONE in self._engine.windows:
            self._engine.windows[ONE] = self._windows
        self._note_halt(is_moving=self.taken > 0 or was_releasing)
        return self.taken

    def _apply(self, records: Sequence[Record], most_released: int | None) -> int:
        mark, step, outgoing, fates = self._journal.mark, self.step, self.outgoing, self._fates
        taken = 0
        for record in records:
            taken += 1
            fates.inputs += 1
            mark()
            sent = len(outgoing)
            try:
                if record.headers:
                    self._require_first(record)
                releases = step(record)
                if self._is_careful:
                    self._journal.check()
            except Exception as error:
                self._undo(sent)
                if not self._answer(record, error):
                    fates.inputs -= 1
                    return taken - 1
                if record.headers:
                    self._fed(record)
                if self.is_stopped:
                    break
            else:
                if record.headers:
                    self._replayed(record)
                    self._fed(record)
                if releases:
                    self._release(releases, most_released)
                    if self.is_stopped or self.is_releasing:
                        break
        return taken

    def finish(self) -> list[Change]:
        """The batch's changed rows; its records are in `outgoing`. Raises `PartitionHalted` if nothing can be committed."""
        try:
            return self._finished()
        except Unstorable:
            # A row cannot be stored. Whose fault it is shows when each record is looked at: it is that record's dead letter.
            self.dropped()
            self._is_careful = True
            self.apply(*self._given)
        try:
            return self._finished()
        except Unstorable as error:
            raise PartitionHalted(self.flow, self.partition, self.position, "the batch's end", str(error)) from error
        finally:
            self._is_careful = False

    def _finished(self) -> list[Change]:
        changes = self._fold_tables.changes()
        self._note_due()
        self._derive()
        return changes + self._engine_tables.changes()

    def changes(self) -> list[Change]:
        """The batch's changed rows alone, without what is derived from them."""
        changes = self._fold_tables.changes()
        self._note_due()
        return changes + self._engine_tables.changes()

    def _note_due(self) -> None:
        """The earliest deadline is a row of its own, exact as of each commit."""
        if self._deadlines is None or not self._deadlines.is_changed:
            return
        first_ms, known = self._deadlines.first(), self._engine.due.get(ONE)
        if first_ms is None and known is not None:
            del self._engine.due[ONE]
        elif first_ms is not None and (known is None or known.first_ms != first_ms):
            self._engine.due[ONE] = Due(first_ms)

    def committed(self) -> None:
        """The batch is in the log."""
        self.fates = self._fates
        self._position = self.position
        for pause in self._pauses:
            self._controls.note(pause)
        self._pauses.clear()
        self._fold_tables.committed()
        self._engine_tables.committed()
        self.outgoing.clear()

    def dropped(self) -> None:
        """The batch is not in the log, as far as is known."""
        self.position = self._position
        self._pauses.clear()
        self._fold_tables.dropped()
        self._engine_tables.dropped()
        self.outgoing.clear()

    def _undo(self, sent: int) -> None:
        self._journal.undo()
        del self.outgoing[sent:]

    # --- what is derived ------------------------------------------------------------------------------------------------

    def _derive(self) -> None:
        again = [] if self._are_unpublished_tried else [key for (key,), _ in self._engine.unpublished.under()]
        self._are_unpublished_tried = True
        failed: dict[str, str] = {}
        worked: dict[str, None] = {}
        for derived in self._derivations:
            for key in dict.fromkeys([*self._fold_tables.touched(derived.on), *again]):
                why = self._derived(derived, key)
                if why is None:
                    worked[key] = None
                else:
                    failed.setdefault(key, why)
        self._note_unpublished(failed, worked)

    def _derived(self, derived: Derived[Any], key: str) -> str | None:
        """Work one output out. Returns why it cannot be: the fault stays with its key."""
        self._journal.mark()
        sent = len(self.outgoing)
        try:
            output = derived.function(self._tables, key, self.position)
            if output is not None:
                self._emit(output)
            if self._journal.is_empty:
                return None
            why = "a derivation changed a table: only rules may"
        except (Unavailable, Fenced, StoreFailed):
            raise
        except Exception as error:
            why = quarantine.defect(error)
        self._undo(sent)
        return why

    def _note_unpublished(self, failed: dict[str, str], worked: dict[str, None]) -> None:
        """People are told of a key whose output cannot be worked out, once, and when it can again."""
        rows = self._engine.unpublished
        at = Record(
            *self.partition, max(self.position - 1, 0), self._given[0][-1].timestamp_ms if self._given[0] else 0, None, None
        )
        for key, why in failed.items():
            if (key,) not in rows:
                rows[key,] = BlockedOutput(why, at.timestamp_ms)
                for note in quarantine.unpublished(self.flow, at, key, why, is_item=self._is_suspectable()):
                    self._tell(note)
        for key in worked:
            if key not in failed and (key,) in rows:
                del rows[key,]
                for cleared in quarantine.published_again(self.flow, at, key, is_item=self._is_suspectable()):
                    self._tell(cleared)

    def _tell(self, note: Any) -> None:
        if self._takes_notes() or quarantine.is_about_items(note):
            self._note(note)

    # --- what else than "applied" can be said of a record ---------------------------------------------------------------

    def _answer(self, record: Record, error: Exception) -> bool:
        """Settle a record that could not be applied. Returns False if the partition cannot go on (`halt` says why)."""
        if isinstance(error, AlreadyApplied):
            self._fates.duplicate += 1
            if not isinstance(error, _FedAlready):
                self._replayed(record)
        elif isinstance(error, BadMessage):
            self._quarantine(record, error)
        elif isinstance(error, NotYet):
            self._park(record, error)
        elif isinstance(error, Unavailable | Fenced | StoreFailed | MemoryError):
            raise error
        elif isinstance(error, BrokenInvariant) and not isinstance(error, Unstorable):
            return self._skipped(record, error)
        else:
            items = self._items_of(record)
            self._quarantine(record, BadMessage(quarantine.defect(error), hint=quarantine.DEFECT_HINT, items=items))
        return True

    def _skipped(self, record: Record, error: BrokenInvariant) -> bool:
        """Set a record aside at which the partition cannot go on, if a person said so."""
        skip = self._controls.skips.get(record.trace_id)
        if skip is None:
            event = self._describe(record)
            self.halt = PartitionHalted(self.flow, self.partition, record.offset, event, str(error))
            self._halted_at = record
            self.is_stopped = True
            return False
        self._quarantine(record, quarantine.skipped(skip, error, self._items_of(record)), is_limited=False)
        return True

    def _note_halt(self, *, is_moving: bool) -> None:
        """A halt is a row, for whoever looks from elsewhere, and an exception until the partition goes on."""
        halts = self._engine.halts
        known = halts.get(ONE)
        if self.halt is not None:
            row = Halt(self.halt.offset, self.halt.event, self.halt.reason, self._halted_at.timestamp_ms)
            if row != known:
                halts[ONE] = row
                self._tell(quarantine.halted(self.halt, self._halted_at))
        elif known is not None and is_moving:
            del halts[ONE]
            self._tell(quarantine.halt_over(Record(*self.partition, known.offset, known.since_ms, None, None)))

    def _quarantine(self, record: Record, error: BadMessage, *, is_limited: bool = True) -> None:
        replayed = quarantine.replay_of(record.headers)
        items = {item: None for item in (*self._own_items(record), *error.items, *(replayed[1] if replayed else ())) if item}
        letter = quarantine.dead_letter(self.flow, record, error, items, self._limits.letter_bytes)
        self._note(letter, quarantine.letter_headers(letter, self.stage))
        if self._takes_notes():
            self._note(quarantine.letter_noted(letter, record))
        for suspicion in quarantine.suspected(letter, record):
            self._note(suspicion)
        self._replayed(record)
        self._fates.dead_lettered += 1
        if is_limited and self._controls.can_pause:
            self._count_refused(record, letter.reason)

    def _too_many(self, target: str, limit: SourceLimit, record: Record) -> tuple[int, int] | None:
        """Count a dead letter. Returns how many of how many were refused, if that is too much and it is not paused yet."""
        if self._controls.is_paused(target) or any(pause.target == target for pause in self._pauses):
            return None
        epoch, window_ms = self._controls.epoch(target), self._limits.window_ms
        dead, inputs = self._windows.refused(target, record.timestamp_ms, window_ms, epoch)
        return (dead, inputs) if dead >= limit.dead_letters and dead > limit.share * inputs else None

    def _pause(self, target: str, found: tuple[int, int], record: Record, letter_reason: str) -> None:
        """Have nothing more read of a source (or by this flow), from here on and wherever else it comes in."""
        pause = quarantine.paused(target, self.flow, record, found, self._limits.window_ms, letter_reason)
        self._pauses.append(pause)
        self._windows.by_name.pop(target, None)
        self._note(pause)
        if self._takes_notes():
            self._note(quarantine.pause_noted(pause))
        self.is_stopped |= target == self.target

    # --- replays --------------------------------------------------------------------------------------------------------

    def _require_first(self, record: Record) -> None:
        """Raises `AlreadyApplied` for another copy of a replayed dead letter: two people asked at once."""
        replayed = quarantine.replay_of(record.headers)
        if replayed is not None and (replayed[0],) in self._engine.replayed:
            raise _FedAlready

    def _fed(self, record: Record) -> None:
        """Remember that a dead letter was fed again."""
        replayed = quarantine.replay_of(record.headers)
        if replayed is not None and (replayed[0],) not in self._engine.replayed:
            self._engine.replayed[replayed[0],] = ReplayRecord(record.offset)

    def _replayed(self, record: Record) -> None:
        """A dead letter sent again has been settled, or has become another dead letter: the old one raises no doubt now."""
        replayed = quarantine.replay_of(record.headers)
        if replayed is not None:
            for cleared in quarantine.suspicion_cleared(*replayed, record):
                self._note(cleared)

    # --- words ----------------------------------------------------------------------------------------------------------

    def _own_items(self, record: Record) -> tuple[str, ...]:
        """Items the record is about by where it is."""
        return ()

    def _items_of(self, record: Record) -> tuple[str, ...]:
        """Items the record names, where it can be read."""
        return ()

    def _is_suspectable(self) -> bool:
        """Whether the flow's keys are the items whose numbers people rely on."""
        return False

    def _takes_notes(self) -> bool:
        """Whether exceptions may be noted: not about the inbox they would be noted in."""
        return True

    def _describe(self, record: Record) -> str:
        return f"key {quarantine.text_of(record.key)}"


@dataclass(slots=True)
class _NoTables:
    """A translator without a feed ledger."""
