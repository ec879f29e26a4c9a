"""Readers of the embedded log: members of a group, followers, and the rows they see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from schemas.records import Record
from streams.engine.embedded.catalog import CatalogPartition
from streams.engine.embedded.files import store_prefix
from streams.engine.embedded.records_codec import decode_run
from streams.engine.embedded.writer import Waiter, WriteJob, prepare, prepare_rows
from streams.engine.groups import Membership
from streams.engine.log import DamagedLog, Listener, StoreId, TopicPartition, Transaction, Unavailable
from streams.engine.scans import scan_items

if TYPE_CHECKING:
    from streams.engine.embedded.log import EmbeddedLog

MAX_POLL_BYTES = 32 * 1024 * 1024


class EmbeddedStore:
    """The committed rows of one `StoreId`."""

    def __init__(self, log: EmbeddedLog, store: StoreId) -> None:
        self._log = log
        self._prefix = store_prefix(store)
        self._beyond = store_prefix(StoreId(store.flow, store.partition + 1))

    def get(self, key: bytes) -> bytes | None:
        """The row, or none."""
        try:
            row: bytes | None = self._log.files().state.get(self._prefix + key)
        except Exception as error:
            raise self._log.damaged(error) from error
        return row

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high`, as of the call."""
        beyond = self._beyond if high is None else self._prefix + high
        try:
            rows = scan_items(self._log.files().state, self._prefix + low, beyond)
        except Exception as error:
            raise self._log.damaged(error) from error
        return self._read(rows)

    def _read(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        length = len(self._prefix)
        try:
            for key, value in rows:
                yield key[length:], value
        except Exception as error:
            raise self._log.damaged(error) from error


class Cursor:
    """Reads on from an offset in each of some partitions, in turns.

    A damaged partition is an error each time it comes to it; with `is_once` the first time only, for who sets it aside then.
    """

    def __init__(self, log: EmbeddedLog, *, is_once: bool = False) -> None:
        self._log = log
        self._is_once = is_once
        self._turn = 0
        self.next: dict[CatalogPartition, int] = {}

    def fetch(self, max_records: int) -> list[Record]:
        """The next records; a partition that did not fit comes first the next time. Raises `DamagedLog`."""
        parts = list(self.next)
        found: list[Record] = []
        room = MAX_POLL_BYTES
        for step in range(len(parts)):
            index = (self._turn + step) % len(parts)
            part = parts[index]
            if part.end <= self.next[part]:
                continue
            if len(found) >= max_records or room <= 0:
                self._turn = index
                break
            try:
                records, self.next[part], room = read_run(self._log, part, self.next[part], max_records - len(found), room)
            except DamagedLog:
                self._turn = index
                if found:
                    break  # those first: others' records do not wait for it
                self._turn = index + 1
                if self._is_once:
                    del self.next[part]
                raise
            found = found + records if found else records
        return found


def read_run(log: EmbeddedLog, part: CatalogPartition, offset: int, limit: int, max_bytes: int) -> tuple[list[Record], int, int]:
    """Records of one partition from `offset` on, the offset to go on from, and what is left of `max_bytes`.

    Raises `DamagedLog` if they cannot be read, or some are missing.
    """
    end = part.end
    first = max(offset, part.low)
    try:
        raws = log.scan_log(part, first, end)
        records, left = decode_run(part.partition.topic, part.partition.partition, raws, limit, max_bytes)
    except Exception as error:
        raise log.damaged(error, part.partition) from error
    is_cut = bool(records) and (len(records) >= limit or left <= 0)
    above = records[-1].offset + 1 if is_cut else max(end, offset)
    if above - first != len(records) and above > first and not part.state.is_compacted:
        _require_all(log, part, records, first, above)
    return records, above, left


def _require_all(log: EmbeddedLog, part: CatalogPartition, records: list[Record], first: int, above: int) -> None:
    """Raises `DamagedLog` if an offset is missing that was neither trimmed meanwhile nor accepted to be lost."""
    at = first
    for offset in [*(record.offset for record in records), above]:
        while at < offset and at in part.holes:
            at = part.holes[at]
        hole = max((end for begin, end in part.holes.items() if begin <= at < end), default=at)
        at = max(at, hole, min(part.low, offset))
        if at < offset:
            missing = f"offsets {at} to {offset - 1} of {part.partition.topic}/{part.partition.partition} are missing"
            raise log.damaged(missing, part.partition)
        at = max(at, offset + 1)


class EmbeddedFollower:
    """Tails partitions outside any group."""

    def __init__(self, log: EmbeddedLog, start: Mapping[CatalogPartition, int]) -> None:
        self._log = log
        self._cursor = Cursor(log)
        self._cursor.next = dict(start)
        self._waiter = Waiter(log.writer)
        self._waiter.watch(list(start))
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records. Waits up to `timeout_s` for the first one. Raises `Unavailable` once closed."""
        return wait_for(self._waiter, timeout_s, lambda: self._fetch(max_records))

    def position(self, partition: TopicPartition) -> int:
        """Up to where a followed partition has been read."""
        return self._cursor.next[self._log.part(*partition)]

    def close(self) -> None:
        """Stop following: a waiting `poll` ends."""
        self._is_open = False
        self._waiter.unwatch(list(self._cursor.next))
        self._waiter.event.set()
        self._log.unfollow(self)

    def _fetch(self, max_records: int) -> list[Record]:
        if not self._is_open:
            raise Unavailable("the follower is closed")
        return self._cursor.fetch(max_records)


class EmbeddedMember:
    """One worker's membership. Used by one thread at a time; `close` may come from another."""

    def __init__(self, log: EmbeddedLog, membership: Membership, listener: Listener) -> None:
        self._log = log
        self._membership = membership
        self._listener = listener
        self._cursor = Cursor(log, is_once=True)
        self._waiter = Waiter(log.writer)
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records of owned partitions. Waits up to `timeout_s` for the first one. Raises `Unavailable` once closed."""
        return wait_for(self._waiter, timeout_s, lambda: self._fetch(max_records))

    def store(self, store: StoreId) -> EmbeddedStore:
        """The rows of an owned partition. Raises `Fenced` if it is not owned."""
        if not self._membership.owns(store.partition):
            raise self._membership.fenced(f"the rows of {store.flow}/{store.partition}")
        return EmbeddedStore(self._log, store)

    def commit(self, transaction: Transaction) -> None:
        """All of the transaction, durably, or nothing. Raises `Fenced` or `Unavailable`."""
        self._log.writer.submit(
            WriteJob(
                records=prepare(self._log.part, transaction.outgoing),
                rows=prepare_rows(transaction.rows),
                positions=[(self._log.part(*partition), position) for partition, position in transaction.positions.items()],
                check=lambda: self._membership.check(transaction),
                group=self._membership.group.name,
            )
        )

    def position(self, partition: TopicPartition) -> int:
        """The committed position of a partition in this group: the log's start if none."""
        return self._log.committed(self._membership.group.name, partition)

    def rewind(self) -> None:
        """Read owned partitions again from their committed positions."""
        for part in self._cursor.next:
            self._cursor.next[part] = self.position(part.partition)

    def wake(self) -> None:
        """Have a waiting `poll` look again: the group has changed."""
        self._waiter.event.set()

    def close(self) -> None:
        """Leave the group: a waiting `poll` ends, partitions go to the others."""
        self._is_open = False
        self._waiter.unwatch(list(self._cursor.next))
        self._log.leave(self, self._membership)
        self.wake()

    def _fetch(self, max_records: int) -> list[Record]:
        if not self._is_open:
            raise Unavailable("the member has left its group")
        if not self._membership.is_current:
            self._take_changes()
        return self._cursor.fetch(max_records)

    def _take_changes(self) -> None:
        with self._log.writer.lock:
            lost, gained = self._membership.changes()
        for partition in lost:
            part = self._log.part(*partition)
            self._cursor.next.pop(part, None)
            self._waiter.unwatch([part])
        for partition in sorted(gained):
            part = self._log.part(*partition)
            self._cursor.next[part] = self.position(partition)
            self._waiter.watch([part])
        if lost:
            self._listener.revoked(lost)
        if gained:
            self._listener.assigned(gained)


def wait_for(waiter: Waiter, timeout_s: float, fetch: Callable[[], list[Record]]) -> list[Record]:
    """What `fetch` finds, now or once woken; nothing when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        waiter.event.clear()  # before looking: what comes after the look wakes the wait
        records = fetch()
        if records or not waiter.until(deadline):
            return records
