"""The embedded log's one writer: group commit.

Whoever wants to write queues a job. One of them leads: it takes the write lock, writes everything queued by then in one
WriteBatch with one sync, wakes those whose jobs are done, and has the first of those that came meanwhile lead. So a commit
costs one sync (of the write-ahead log, then of the anchor), and a hundred concurrent appends about as much. Offsets, ends and
positions in memory change only after the sync: readers see durable records only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rocksdict import WriteBatch

from streams.engine.embedded import files
from streams.engine.embedded.catalog import CatalogPartition
from streams.engine.embedded.records_codec import Body, encode_body, pack_head
from streams.engine.log import Fenced, Outgoing, StoreId, Unavailable

MAX_BATCH_BYTES = 16 * 1024 * 1024
ROW_BYTES = 64
POINTERS_CACHED = 65_536


@dataclass(slots=True)
class WriteJob:
    """One append or commit: all of it is written, or none."""

    records: list[tuple[CatalogPartition, Outgoing, Body]] = field(default_factory=list)
    rows: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    positions: list[tuple[CatalogPartition, int]] = field(default_factory=list)
    check: Callable[[], None] | None = None
    group: str = ""
    offsets: list[int] = field(default_factory=list)
    error: Exception | None = None
    is_done: bool = False
    leads: bool = False
    turn: threading.Event | None = None

    @property
    def size(self) -> int:
        """About how many bytes will be written: jobs share a batch up to a bound, a large one goes alone."""
        records = sum(len(encoded.body) for _, _, encoded in self.records)
        return records + ROW_BYTES * (len(self.records) + len(self.rows) + 1)


class Writer:
    """Queues jobs and writes them. `lock` is held while anything that decides about a commit changes (ownership, trimming)."""

    def __init__(self, opened: Callable[[], files.Files], clock_ms: Callable[[], int]) -> None:
        self.lock = threading.RLock()
        self._opened = opened
        self._clock_ms = clock_ms
        self._queue: deque[WriteJob] = deque()
        self._queuing = threading.Lock()
        self._is_led = False  # while nobody leads, nothing is queued
        self._pointers: dict[bytes, bytes] = {}
        self._stopped: str | None = None

    def submit(self, job: WriteJob) -> WriteJob:
        """Write a job, with whatever else is queued. Raises `Fenced` or `Unavailable`; nothing was written then."""
        with self._queuing:
            self._queue.append(job)
            if self._is_led:
                job.turn = threading.Event()
            else:
                self._is_led = job.leads = True
        try:
            if job.turn is not None:
                job.turn.wait()
            if job.leads:
                with self.lock:
                    self._write(self._drain())
        finally:
            self._hand_over(job)
        if job.error is not None:
            raise job.error
        return job

    def submit_held(self, job: WriteJob) -> None:
        """Write a job, for who holds the lock and so cannot wait for another to lead. Raises as `submit` does."""
        self._write([job])
        if job.error is not None:
            raise job.error

    def _hand_over(self, job: WriteJob) -> None:
        """Have another lead, if this job did. One that was interrupted before it was written takes itself out of the queue."""
        with self._queuing:
            if not job.is_done and job in self._queue:
                self._queue.remove(job)
            if job.leads:
                self._is_led = bool(self._queue)
                if self._queue:
                    self._queue[0].leads = True
                    _wake(self._queue[0])

    def stop(self, reason: str) -> None:
        """Refuse everything from now on. Held under `lock`, no job is on its way."""
        self._stopped = reason

    @property
    def problem(self) -> str | None:
        """Why nothing is written any more; none if it is."""
        return self._stopped

    def require_running(self) -> None:
        """Raises `Unavailable` once stopped."""
        if self._stopped is not None:
            raise Unavailable(self._stopped)

    def write_alone(self, batch: WriteBatch) -> None:
        """Make a batch of somebody else's durable. Needs the lock. Raises `Unavailable`: if nobody knows whether it is on disk,
        for good, as for any other write.
        """
        self.require_running()
        try:
            self._opened().write(batch)
        except Exception as error:
            raise self._not_written(error) from error
        self._make_durable(())

    def _not_written(self, error: Exception) -> Unavailable:
        """Why a batch was refused. RocksDB takes none any more once it has met damage: then there is no use in trying again."""
        if "Corruption" in str(error):
            self._stopped = str(self._opened().damaged(error))
            return Unavailable(self._stopped)
        return Unavailable(f"the log could not be written: {error}")

    def _make_durable(self, ends: Iterable[tuple[bytes, int]]) -> None:
        try:
            self._opened().sync(ends)
        except BaseException as error:  # written, but nobody knows what of it is on disk
            self._stopped = f"the log could not be synced ({error or type(error).__name__}): start crossdock again"
            if not isinstance(error, Exception):
                raise
            raise Unavailable(self._stopped) from error

    def _drain(self) -> list[WriteJob]:
        jobs: list[WriteJob] = []
        size = 0
        with self._queuing:
            while self._queue and size < MAX_BATCH_BYTES:
                job = self._queue.popleft()
                jobs.append(job)
                size += job.size
        return jobs

    def _write(self, jobs: Sequence[WriteJob]) -> None:
        written: list[WriteJob] = []
        try:
            self.require_running()
            batch = _Batch(self._opened(), self._clock_ms(), self._pointers)
            for job in jobs:
                try:
                    if job.check is not None:
                        job.check()
                except Fenced as error:
                    job.error = error
                else:
                    batch.add(job)
                    written.append(job)
            if written:
                self._sync(batch, written)
        except Unavailable as error:
            for job in jobs:
                job.error = error
        except BaseException as error:
            # Interrupted: whether the batch is on disk is not known, and offsets in memory may be behind it.
            self._stopped = f"writing was interrupted by {type(error).__name__}: start crossdock again"
            for job in jobs:
                job.error = job.error or Unavailable(self._stopped)
            raise
        finally:
            for job in jobs:
                job.is_done = True
                _wake(job)

    def _sync(self, batch: _Batch, jobs: Sequence[WriteJob]) -> None:
        try:
            batch.write()
        except Exception as error:  # rocksdict has no narrower one
            batch.forget()
            for job in jobs:
                job.error = self._not_written(error)
            return
        self._make_durable(batch.ends())
        for job in jobs:
            for part, position in job.positions:
                part.positions[job.group] = position
        if len(self._pointers) > POINTERS_CACHED:
            self._pointers.clear()
        self._pointers.update(batch.pointers)
        batch.publish()


def _wake(job: WriteJob) -> None:
    if job.turn is not None:
        job.turn.set()


class _Batch:
    """Jobs on their way into one WriteBatch."""

    def __init__(self, open_files: files.Files, now_ms: int, known: dict[bytes, bytes]) -> None:
        self.pointers: dict[bytes, bytes] = {}
        self._files = open_files
        self._now_ms = now_ms
        self._known = known
        self._batch = WriteBatch(raw_mode=True)
        self._touched: dict[CatalogPartition, None] = {}

    def add(self, job: WriteJob) -> None:
        """Records, rows and positions of one job."""
        put, log_cf, pack_offset, now_ms = self._batch.put, self._files.log_cf, files.pack_offset, self._now_ms
        for part, record, (key_length, flags, body) in job.records:
            offset = part.next
            part.next = offset + 1
            self._touched[part] = None
            at_ms = now_ms if record.timestamp_ms is None else record.timestamp_ms
            log_key = part.prefix + pack_offset(offset)
            put(log_key, pack_head(offset, at_ms, key_length, flags) + body, log_cf)
            job.offsets.append(offset)
            if part.state.is_compacted or part.state.topic.is_indexed:
                self._index(part, record.key, offset, log_key)
        state_cf, delete = self._files.state_cf, self._batch.delete
        for key, value in job.rows:
            if value is None:
                delete(key, state_cf)
            else:
                put(key, value, state_cf)
        for part, position in job.positions:
            put(files.position_key(job.group, part.prefix), pack_offset(position), self._files.meta_cf)

    def write(self) -> None:
        """Write the batch."""
        for name, log_key in self.pointers.items():
            self._batch.put(name, log_key, self._files.latest_cf)
        for part in self._touched:
            self._batch.put(b"e" + part.prefix, files.pack_offset(part.next), self._files.meta_cf)
        self._files.write(self._batch)

    def ends(self) -> Iterable[tuple[bytes, int]]:
        """Where the partitions end that it has grown, by their prefix."""
        return [(part.prefix, part.next) for part in self._touched]

    def publish(self) -> None:
        """Show the records to readers."""
        for part in self._touched:
            part.end = part.next
        for part in self._touched:
            part.wake()

    def forget(self) -> None:
        """The batch is not in the log: its offsets are free again."""
        for part in self._touched:
            part.next = part.end

    def _index(self, part: CatalogPartition, key: bytes | None, offset: int, log_key: bytes) -> None:
        if key is None:
            return
        if part.state.topic.is_indexed:
            self._batch.put(files.index_key(part.state.id, key, offset, part.partition.partition), b"", self._files.bykey_cf)
        if part.state.is_compacted:
            name = part.state.prefix + key
            older = self.pointers.get(name) or self._known.get(name) or self._files.latest.get(name)
            if older is not None:
                self._batch.delete(older, self._files.log_cf)
            self.pointers[name] = log_key


def prepare(
    parts: Callable[[str, int], CatalogPartition], records: Sequence[Outgoing]
) -> list[tuple[CatalogPartition, Outgoing, Body]]:
    """Encode records in the caller's own time, and refuse what the log could not take."""
    prepared = []
    for record in records:
        part = parts(record.topic, record.partition)
        if record.key is None and part.state.is_compacted:
            raise ValueError(f"a record of the compacted topic {record.topic} needs a key")
        prepared.append((part, record, encode_body(record)))
    return prepared


def prepare_rows(rows: Mapping[StoreId, Sequence[tuple[bytes, bytes | None]]]) -> list[tuple[bytes, bytes | None]]:
    """Rows under the keys they are kept by. Raises `TypeError` for anything but bytes, which would spoil the whole batch."""
    prepared: list[tuple[bytes, bytes | None]] = []
    for store, changes in rows.items():
        prefix = files.store_prefix(store)
        for key, value in changes:
            if value is not None and not isinstance(value, bytes):
                raise TypeError(f"a row of {store.flow} has a value of type {type(value).__name__}, not bytes")
            prepared.append((prefix + key, value))
    return prepared


class Waiter:
    """Wakes a reader when one of its partitions grew, its group changed, or the log was closed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.event = threading.Event()

    def watch(self, parts: Sequence[CatalogPartition]) -> None:
        """Be woken by these, too."""
        with self._writer.lock:
            for part in parts:
                part.waiting |= {self.event}

    def unwatch(self, parts: Sequence[CatalogPartition]) -> None:
        """Be woken by these no more."""
        with self._writer.lock:
            for part in parts:
                part.waiting -= {self.event}

    def until(self, deadline: float) -> bool:
        """Wait to be woken. False when the deadline (`time.monotonic`) came first."""
        left = deadline - time.monotonic()
        return left > 0 and self.event.wait(left)
