"""The worker: takes batches from the log, applies them, and commits each as one transaction.

    poll -> apply each record -> derive once a changed key -> one transaction: records, rows, positions -> committed

Whatever fails before or in the commit, the batch is dropped and read again from the committed positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event as Stop

from schemas.codec import Codec
from schemas.errors import BrokenInvariant
from schemas.records import Record
from streams.engine.controls import FollowedControls, target_of
from streams.engine.fates import InputFates
from streams.engine.flow import Fold
from streams.engine.halts import PartitionDamaged
from streams.engine.log import DamagedLog, Fenced, Log, TopicPartition, Transaction, Unavailable
from streams.engine.partition import Flow, FlowPartition, Limits, PartitionHalted, open_partition, store_id
from streams.engine.process import resting_collector

GROUP = "crossdock"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a worker paces itself. A batch doubles while there is more to read, up to `max_batch`, and halves when there is not,
    or when it was fenced.

    `poll_s`: how long an idle worker waits for a record before it looks whether it is to stop. `backoff_s`: the shortest and
    the longest wait while the log is unavailable.
    """

    max_batch: int = 32_768
    min_batch: int = 256
    poll_s: float = 0.2
    backoff_s: tuple[float, float] = (0.05, 5.0)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did. `is_fenced`: the batch was dropped, because a partition is another worker's now."""

    inputs: int = 0
    outputs: int = 0
    rows: int = 0
    is_fenced: bool = False


@dataclass(slots=True)
class Counters:
    """What a worker has done since it started. `busy_ms`: from a batch's arrival to its commit."""

    inputs: int = 0
    outputs: int = 0
    rows: int = 0
    batches: int = 0
    busy_ms: int = 0
    fenced: int = 0
    unavailable: int = 0
    positions: dict[TopicPartition, int] = field(default_factory=dict)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _nothing(point: str) -> None:
    del point


class Worker:
    """Runs flows over the partitions its membership gives it. One thread steps it; any thread may read counters and fates.

    `at` is called with `before_apply`, `after_apply`, `before_commit`, `after_commit` of every batch, for tests that kill
    the process there, `on_halt` when `run` sets a partition aside, `on_away` when it begins to wait for the log, `on_back` when
    the log is there (also for the first time). `rng` spreads
    the waits of workers that back off.
    """

    def __init__(
        self,
        log: Log,
        flows: Sequence[Flow],
        codec: Codec,
        *,
        group: str = GROUP,
        pace: Pace | None = None,
        limits: Limits | None = None,
        clock_ms: Callable[[], int] = _wall_ms,
        rng: Random | None = None,
        at: Callable[[str], None] = _nothing,
        on_halt: Callable[[PartitionHalted], None] = lambda error: None,
        on_away: Callable[[Unavailable], None] = lambda error: None,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.counters = Counters()
        self.halted: dict[TopicPartition, PartitionHalted] = {}
        self._log = log
        self._codec = codec
        self._pace = pace or Pace()
        self._limits = limits or Limits()
        self._clock_ms = clock_ms
        self._rng = rng or Random()  # noqa: S311 - spreads waits
        self._at = at
        self._on_halt = on_halt
        self._on_away = on_away
        self._on_back = on_back
        self._flows = flows_by_topic(flows)
        self._parts: dict[TopicPartition, FlowPartition] = {}
        self._batch = min(self._pace.min_batch, self._pace.max_batch)
        self._halting: list[PartitionHalted] = []
        self._controls = FollowedControls(log, codec)
        self._targets = {topic: target_of(flow, topic) for topic, flow in self._flows.items()}
        self._left: dict[TopicPartition, list[Record]] = {}  # polled, behind a release that takes several transactions
        self._must_rewind = False
        self._group = group
        self._member = log.join(group, list(self._flows), self)

    def run(self, stop: Stop) -> None:
        """Step until told to stop. Backs off while the log is unavailable.

        A partition that halts is left out (`halted`) until a person has its record skipped, or the worker is started again; the
        others go on. One whose source is paused is left out until a person resumes it.
        """
        failures = 0
        is_away = True
        while not stop.is_set():
            try:
                self.step(self._pace.poll_s)
                failures = 0
                if is_away:
                    is_away = False
                    self._on_back()
            except PartitionHalted as error:
                self._on_halt(error)
                for other in self._halting:
                    self._on_halt(other)
                self._halting.clear()
            except Unavailable as error:
                self.counters.unavailable += 1
                if not failures:
                    self._on_away(error)
                is_away = True
                stop.wait(self._wait_s(failures))
                failures += 1

    def step(self, timeout_s: float = 0.0) -> StepReport:
        """One batch, waiting up to `timeout_s` for it.

        Raises `Unavailable`: then nothing took effect. Raises `PartitionHalted` when what came before a record that cannot be
        applied is committed: its partition is left out (`halted`) from then on.
        """
        try:
            if self._controls.look():
                self._go_on()
            if self._must_rewind:
                self._member.rewind()
                self._must_rewind = False
            records = self._poll(timeout_s)
            if not records and not self._left:
                self._adapt(0)
                return StepReport()
            with resting_collector():
                report = self._work(records)
        except Fenced:
            self._drop()
            self._adapt(0)  # a batch that took longer than its group waits would be fenced again, and again
            self.counters.fenced += 1
            return StepReport(is_fenced=True)
        except PartitionHalted as error:  # nothing of the batch can be committed
            self._drop()
            self.halted[error.partition] = error
            raise
        except BaseException:
            self._drop()
            raise
        if self._halting:
            raise self._halting.pop(0)
        return report

    def _poll(self, timeout_s: float) -> list[Record]:
        """The next records; few of them while records polled before wait for a release to end."""
        most, timeout_s = (self._batch, timeout_s) if not self._left else (min(self._batch, self._pace.min_batch), 0.0)
        try:
            records = self._member.poll(most, timeout_s)
        except DamagedLog as error:
            raise self._damaged(error) from error
        if not self.halted and not self._controls.pauses:
            return records
        self._left = {at: batch for at, batch in self._left.items() if not self._stands(at)}
        places = {place: self._stands(TopicPartition(*place)) for place in {(r.topic, r.partition) for r in records}}
        return [r for r in records if not places[r.topic, r.partition]]

    def _damaged(self, error: DamagedLog, partition: TopicPartition | None = None) -> Exception:
        """Damaged records or rows stop their partition; what is not known to be one's stops the worker."""
        partition = partition or error.partition
        if partition is None:
            return error
        flow = self._flows[partition.topic]
        return PartitionDamaged(flow.name, partition, self.counters.positions.get(partition, 0), error)

    def _stands(self, at: TopicPartition) -> bool:
        """Whether a partition is to be left out: it halted, or its source is paused."""
        return at in self.halted or self._controls.is_paused(self._targets[at.topic])

    def _go_on(self) -> None:
        """A person resumed a source or had a record skipped: read again what was left out."""
        for at, halt in list(self.halted.items()):
            if f"{at.topic}/{at.partition}/{halt.offset}" in self._controls.skips:
                del self.halted[at]
        self._drop()

    def close(self) -> None:
        """Leave the group."""
        self._controls.close()
        self._member.close()

    @property
    def is_releasing(self) -> bool:
        """Whether it is not done though nothing is left to read: events that waited are still to be applied."""
        return bool(self._left)

    def fates(self) -> dict[tuple[str, TopicPartition], InputFates]:
        """What became of the inputs of each owned flow partition, as of its last commit."""
        return {(part.flow, part.partition): part.fates for part in list(self._parts.values())}

    def lag(self) -> dict[TopicPartition, int]:
        """How many records each owned partition has that are not applied and committed yet."""
        progress = self._log.progress(self._group, list(self.counters.positions))
        return {partition: max(0, end - position) for partition, (position, end) in progress.items()}

    # --- membership (`Listener`) ----------------------------------------------------------------------------------------

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Open the flow partitions. Called inside `poll`."""
        for partition in sorted(partitions):
            self._part(partition)

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Forget the flow partitions. Called inside `poll`."""
        for partition in partitions:
            self._parts.pop(partition, None)
            self._left.pop(partition, None)
            self.counters.positions.pop(partition, None)

    def _part(self, partition: TopicPartition) -> FlowPartition:
        """An owned partition, opened if it is not: being fenced while opening some leaves others for later."""
        part = self._parts.get(partition)
        if part is None:
            flow = self._flows[partition.topic]
            store = self._member.store(store_id(flow, partition))
            self.counters.positions[partition] = self._member.position(partition)
            try:
                part = open_partition(flow, partition, store, self._log, self._codec, self._limits, self._controls)
                part.begin(self.counters.positions[partition])
            except DamagedLog as error:
                raise self._damaged(error, partition) from error
            self._parts[partition] = part
            if part.is_releasing and not self._stands(partition):
                self._left[partition] = []
        return part

    # --- a batch ----------------------------------------------------------------------------------------------------------

    def _work(self, records: list[Record]) -> StepReport:
        began_ms = self._clock_ms()
        self._at("before_apply")
        batches: dict[tuple[str, int], list[Record]] = dict(self._left.items())
        for record in records:
            place = record.topic, record.partition
            batch = batches.get(place)
            if batch is None:
                batches[place] = [record]
            else:
                batch.append(record)
        parts = [self._part(TopicPartition(*place)) for place in batches]
        for part, batch in zip(parts, batches.values(), strict=True):
            try:
                part.apply(batch, self._limits.release_batch)
            except DamagedLog as error:
                raise self._damaged(error, part.partition) from error
        self._at("after_apply")
        transaction = Transaction()
        for part in parts:
            try:
                transaction.rows[part.id] = part.finish()
            except DamagedLog as error:
                raise self._damaged(error, part.partition) from error
            transaction.outgoing += part.outgoing
            transaction.positions[part.partition] = part.position
        taken = sum(part.taken for part in parts)
        self._left = {  # before the commit: whoever sees that nothing is left to read also sees that there is more to do
            part.partition: batch[part.taken :]
            for part, batch in zip(parts, batches.values(), strict=True)
            if not part.is_stopped and (part.taken < len(batch) or part.is_releasing)
        }
        if taken or transaction.outgoing or any(transaction.rows.values()):
            self._at("before_commit")
            self._member.commit(transaction)
            self._at("after_commit")
        for part in parts:
            part.committed()
            if part.halt is not None:
                self.halted[part.partition] = part.halt
                self._halting.append(part.halt)
        self._adapt(len(records))
        return self._count(taken, transaction, began_ms)

    def _count(self, inputs: int, transaction: Transaction, began_ms: int) -> StepReport:
        counters = self.counters
        rows = sum(map(len, transaction.rows.values()))
        counters.inputs += inputs
        counters.outputs += len(transaction.outgoing)
        counters.rows += rows
        counters.batches += 1
        counters.busy_ms += self._clock_ms() - began_ms
        counters.positions.update(transaction.positions)
        return StepReport(inputs, len(transaction.outgoing), rows)

    def _adapt(self, taken: int) -> None:
        if taken >= self._batch:
            self._batch = min(self._batch * 2, self._pace.max_batch)
        elif taken < self._batch // 2:
            self._batch = max(self._batch // 2, min(self._pace.min_batch, self._pace.max_batch))

    def _drop(self) -> None:
        for part in self._parts.values():
            part.dropped()
        self._halting.clear()
        self._left = {at: [] for at, part in self._parts.items() if part.is_releasing and not self._stands(at)}
        self._must_rewind = True

    def _wait_s(self, failures: int) -> float:
        shortest, longest = self._pace.backoff_s
        return min(longest, shortest * 2.0 ** min(failures, 30)) * (0.5 + self._rng.random() / 2)


def flows_by_topic(flows: Sequence[Flow]) -> dict[str, Flow]:
    """Which flow reads a topic. Raises `BrokenInvariant` if two do: each record has one fate."""
    found: dict[str, Flow] = {}
    for flow in flows:
        for topic in (flow.inbox,) if isinstance(flow, Fold) else flow.topics:
            if topic.name in found:
                raise BrokenInvariant(f"{flow.name} and {found[topic.name].name} both read {topic.name}: one flow reads a topic")
            found[topic.name] = flow
    return found
