"""Proof that tables = fold(log): folds each inbox again from its start into an empty store and compares, row by row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

import msgspec

from schemas.codec import Codec
from streams.engine.controls import read_controls
from streams.engine.fates import NAMESPACE, EngineTables, is_state
from streams.engine.flow import Fold
from streams.engine.keys import KeyCodec
from streams.engine.log import Fenced, Log, Store, TopicPartition, Unavailable
from streams.engine.partition import Flow, Limits, PartitionHalted, open_partition, store_id
from streams.engine.scratch import ScratchStore
from streams.engine.verdict import Verdict, overall
from streams.engine.worker import GROUP, flows_by_topic
from tables.common.table import row_types

Progress = Callable[[int, int], None]
BATCH = 5_000
_POLL_S = 0.1
_NO_ROW: tuple[bytes, bytes] = (b"\xff", b"")


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One flow partition. `inputs` were folded again. Hashes are of all rows that were compared.

    `problem`: a sentence saying what differs, or why nothing is known; none if all rows are the same.
    """

    flow: str
    partition: TopicPartition
    verdict: Verdict
    inputs: int = 0
    live_hash: str = ""
    folded_hash: str = ""
    problem: str | None = None

    @property
    def is_same(self) -> bool:
        """Every row is what the log says it is."""
        return self.verdict is Verdict.SAME

    @property
    def is_unknown(self) -> bool:
        """It was not compared, or not to the end."""
        return self.verdict is Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All flow partitions of a group."""

    partitions: tuple[PartitionReport, ...]

    @property
    def is_same(self) -> bool:
        """Every row of every partition is what the log says it is."""
        return overall(report.verdict for report in self.partitions) is Verdict.SAME


def state_hash(store: Store) -> str:
    """A hash of all rows in order that follow from the inputs: engine rows too (fates, records that wait), but see `is_state`."""
    state = blake2b(digest_size=16)
    for row in _hashed(store.range(b"", None), state):
        del row
    return state.hexdigest()


def verify(
    log: Log,
    flows: Sequence[Flow],
    codec: Codec,
    progress: Progress = lambda done, total: None,
    *,
    group: str = GROUP,
    limits: Limits | None = None,
    patience_s: float = 5.0,
) -> VerifyReport:
    """Fold every inbox again up to the group's committed positions and compare. Outputs are discarded; nothing is written.

    No worker of the group may run meanwhile: its partitions would be reported as unknown. `limits` must be the worker's.
    `progress` is told (records folded, records to fold). `patience_s`: how long the group may take to give its partitions to us.
    """
    by_topic = flows_by_topic(flows)
    wanted = [TopicPartition(topic, index) for topic in by_topic for index in range(log.partitions(topic))]
    owned = _Owned()
    member = log.join(group, list(by_topic), owned)
    try:
        until = time.monotonic() + patience_s
        while not owned.partitions >= set(wanted) and time.monotonic() < until:
            member.poll(1, _POLL_S)
        positions = {partition: member.position(partition) for partition in wanted if partition in owned.partitions}
        check = _Check(log, codec, limits or Limits(), progress, sum(positions.values()))
        reports = []
        for partition in wanted:
            flow = by_topic[partition.topic]
            if partition not in positions:
                reports.append(
                    _unknown(flow, partition, "another member of the group owns it: stop all workers and verify again")
                )
                continue
            live = partial(member.store, store_id(flow, partition))
            reports.append(check.partition(flow, partition, positions[partition], live))
        return VerifyReport(tuple(reports))
    finally:
        member.close()


class _Owned:
    """Listens for what the group gives us."""

    def __init__(self) -> None:
        self.partitions: set[TopicPartition] = set()

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self.partitions |= partitions

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.partitions -= partitions


class _Check:
    """Folds partitions again, one after the other."""

    def __init__(self, log: Log, codec: Codec, limits: Limits, progress: Progress, total: int) -> None:
        self._log = log
        self._codec = codec
        self._limits = limits
        self._controls = read_controls(log, codec)
        self._progress = progress
        self._total = total
        self._done = 0

    def partition(self, flow: Flow, partition: TopicPartition, end: int, live: Callable[[], Store]) -> PartitionReport:
        before = self._done
        try:
            return self._compared(flow, partition, end, live)
        except (Unavailable, Fenced) as error:
            return _unknown(flow, partition, f"it could not be read to its end: {error}")
        finally:
            self._advance(before + end - self._done)

    def _compared(self, flow: Flow, partition: TopicPartition, end: int, live: Callable[[], Store]) -> PartitionReport:
        first, last = self._log.bounds(partition)
        if first > 0 and end > 0:
            gone = f"its inputs before offset {first} are no longer kept, so it cannot be folded from the start"
            return _unknown(flow, partition, gone)
        if last < end:
            gone = f"its inputs end at offset {last}, but {end} is committed: the log has lost what the rows were made of"
            return _unknown(flow, partition, gone)
        with ScratchStore() as scratch:
            try:
                inputs = self._fold(flow, partition, end, scratch)
            except PartitionHalted as halted:
                problem = f"folding it again does not get to the end: {halted}"
                return PartitionReport(flow.name, partition, Verdict.DIFFERENT, problem=problem)
            return _compare(flow, partition, inputs, live(), scratch)

    def _fold(self, flow: Flow, partition: TopicPartition, end: int, scratch: ScratchStore) -> int:
        again = open_partition(flow, partition, scratch, self._log, self._codec, self._limits, self._controls)
        at = inputs = 0
        while at < end:
            records = [record for record in self._log.read(partition, at, BATCH) if record.offset < end]
            if not records:
                break  # marks of transactions alone are left
            left = records
            while left or again.is_releasing:
                left = left[again.apply(left, self._limits.release_batch) :]
                if again.halt is not None:
                    raise again.halt
                scratch.write(again.changes())
                again.committed()
            self._advance(again.position - at)
            at = again.position
            inputs += len(records)
        return inputs

    def _advance(self, records: int) -> None:
        self._done += records
        self._progress(self._done, self._total)


def _unknown(flow: Flow, partition: TopicPartition, problem: str) -> PartitionReport:
    return PartitionReport(flow.name, partition, Verdict.UNKNOWN, problem=problem)


def _hashed(rows: Iterator[tuple[bytes, bytes]], state: Any) -> Iterator[tuple[bytes, bytes]]:
    """The same rows, hashed on their way. Lengths go in too: no two sets of rows make the same bytes."""
    for key, row in rows:
        if not is_state(key):
            continue
        state.update(b"%d %d " % (len(key), len(row)))
        state.update(key)
        state.update(row)
        yield key, row


def _compare(flow: Flow, partition: TopicPartition, inputs: int, live: Store, folded: Store) -> PartitionReport:
    live_state, folded_state = blake2b(digest_size=16), blake2b(digest_size=16)
    problem = None
    rows = zip_longest(
        _hashed(live.range(b"", None), live_state), _hashed(folded.range(b"", None), folded_state), fillvalue=_NO_ROW
    )
    for ours, theirs in rows:
        if problem is None and ours != theirs:
            problem = _difference(flow, ours, theirs)
    verdict = Verdict.SAME if problem is None else Verdict.DIFFERENT
    return PartitionReport(flow.name, partition, verdict, inputs, live_state.hexdigest(), folded_state.hexdigest(), problem)


def _difference(flow: Flow, live: tuple[bytes, bytes], folded: tuple[bytes, bytes]) -> str:
    if live[0] < folded[0]:
        return f"{_row_name(flow, live[0])} is stored, but folding the inputs again does not make it"
    if folded[0] < live[0]:
        return f"{_row_name(flow, folded[0])} is missing: folding the inputs again makes {_show(folded[1])}"
    return f"{_row_name(flow, live[0])} is {_show(live[1])}, but folding the inputs again makes {_show(folded[1])}"


def _row_name(flow: Flow, data: bytes) -> str:
    """The table and key behind a stored key, as a person says them."""
    table = data.split(b"\0")[0].decode("utf-8", "replace")
    kinds = {NAMESPACE + name: types for name, (types, _) in row_types(EngineTables).items()}
    if flow.tables is not None:
        kinds |= {name: types for name, (types, _) in row_types(flow.tables).items()}
    if table not in kinds:
        return f"row {data!r} of no known table"
    key = KeyCodec(table.encode() + b"\0", kinds[table]).decode(data)
    return f"row {key!r} of table {table} ({flow.name if isinstance(flow, Fold) else 'translator ' + flow.name})"


def _show(row: bytes) -> str:
    return repr(msgspec.msgpack.decode(row))
