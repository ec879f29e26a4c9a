"""A log in memory for simulations: exact, without threads of its own, and failing on purpose, the same way for the same seed.

Nothing here waits: `poll` answers at once, `timeout_s` is ignored. Only `append` may be called from other threads. Time
comes from the clock handed in. What a crash does to a process is shown by raising `Crash`: the harness drops its workers,
calls `reopen` and starts over on what was durable.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Lock

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.groups import Group, Membership
from streams.engine.log import (
    NO_RIGHTS,
    Listener,
    LocalProgress,
    Outgoing,
    Rights,
    Store,
    StoreId,
    TopicPartition,
    Transaction,
    Unavailable,
)


class Crash(Exception):
    """The process died at a named point. Only what was durable by then is left: see `MemoryLog.reopen`."""

    def __init__(self, point: str) -> None:
        super().__init__(f"injected crash {point}")
        self.point = point


@dataclass(frozen=True, slots=True)
class LogFaults:
    """How often what goes wrong: probabilities from 0 to 1 of each call (of each partition and poll for `delay`).

    `before_*` crashes lose the write, `after_*` crashes keep it while the caller never hears of it. `unavailable`: a commit
    that takes no effect. `reassign`: a partition changes hands at a poll or commit. `small_batch`: a poll stops early.
    `delay`: a partition hides its newest records, or all, from one poll. `interleave`: partitions come in random turns.
    """

    before_commit: float = 0.0
    after_commit: float = 0.0
    before_append: float = 0.0
    after_append: float = 0.0
    unavailable: float = 0.0
    reassign: float = 0.0
    small_batch: float = 0.0
    delay: float = 0.0
    interleave: bool = False


NO_FAULTS = LogFaults()


class MemoryStore:
    """Rows of one `StoreId`, in key order."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """The row, or none."""
        return self._rows.get(key)

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high`, as of the call."""
        end = len(self._keys) if high is None else bisect_left(self._keys, high)
        return iter([(key, self._rows[key]) for key in self._keys[bisect_left(self._keys, low) : end]])

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set a row, or remove it (none)."""
        if value is not None:
            if key not in self._rows:
                insort(self._keys, key)
            self._rows[key] = value
        elif self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]


@dataclass(slots=True)
class _Durable:
    """What outlives a crash, and the dice, so that a whole run depends on one seed."""

    random: Random
    topics: dict[str, Topic] = field(default_factory=dict)
    records: dict[TopicPartition, list[Record | None]] = field(default_factory=dict)
    newest: dict[str, dict[bytes, Record]] = field(default_factory=dict)
    indexed: dict[str, dict[bytes, list[Record]]] = field(default_factory=dict)
    stores: dict[StoreId, MemoryStore] = field(default_factory=dict)
    positions: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)


class MemoryLog:
    """`Log` and `Reader` in memory. Same seed, faults and calls: same answers."""

    def __init__(self, seed: int = 0, faults: LogFaults = NO_FAULTS, clock_ms: Callable[[], int] = lambda: 0) -> None:
        self.faults = faults
        self._clock_ms = clock_ms
        self._data = _Durable(Random(seed))  # noqa: S311 - dice, not secrets
        self._groups: dict[str, Group] = {}
        self._is_open = True
        self._lock = Lock()

    def reopen(self) -> MemoryLog:
        """The log as the next process finds it. This one, its members and followers are dead."""
        self.close()
        log = MemoryLog(0, self.faults, self._clock_ms)
        log._data = self._data
        return log

    def close(self) -> None:
        """End members and followers."""
        self._is_open = False
        for group in self._groups.values():
            for member in list(group.members):
                group.leave(member)

    def create(self, topics: Sequence[Topic]) -> None:
        """See to it that the topics exist as declared. Raises `ValueError` if one exists with other partitions or cleanup."""
        for topic in topics:
            known = self._data.topics.get(topic.name, topic)
            if known.partitions != topic.partitions:
                raise ValueError(f"topic {topic.name} exists with {known.partitions} partitions, not {topic.partitions}")
            if known.cleanup != topic.cleanup:
                raise ValueError(f"topic {topic.name} exists with cleanup={known.cleanup}, not {topic.cleanup}")
        for topic in topics:
            self._data.topics[topic.name] = topic
            for index in range(topic.partitions):
                self._data.records.setdefault(TopicPartition(topic.name, index), [])

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises `KeyError` for an unknown one."""
        return self._topic(topic).partitions

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Write records, all or none, and return their offsets."""
        self._require_open()
        self._check(records)
        self._maybe_crash("before_append", self.faults.before_append)
        with self._lock:
            offsets = [self._write(record) for record in records]
        self._maybe_crash("after_append", self.faults.after_append)
        return offsets

    def read(self, partition: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Up to `limit` records from `offset` on."""
        found: list[Record] = []
        for record in self._partition(partition)[max(offset, 0) :]:
            if len(found) >= limit:
                break
            if record is not None:
                found.append(record)
        return found

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first kept offset and the next one to be written."""
        records = self._partition(partition)
        first = next((record.offset for record in records if record is not None), len(records))
        return first, len(records)

    def join(self, group: str, topics: Sequence[str], listener: Listener) -> MemoryMember:
        """Become a member of a group that shares the topics' partitions."""
        self._require_open()
        counts = {topic: self.partitions(topic) for topic in topics}
        known = self._groups.setdefault(group, Group(group, counts))
        if not known.members:
            known.topics = counts
        elif known.topics != counts:
            raise ValueError(f"group {group} shares {', '.join(known.topics)}: a member cannot join it for other topics")
        return MemoryMember(self, known.join(), listener)

    def follow(self, start: Mapping[TopicPartition, int]) -> MemoryFollower:
        """Tail partitions from the given offsets."""
        self._require_open()
        for partition in start:
            self._partition(partition)
        return MemoryFollower(self, dict(start))

    def store(self, store: StoreId) -> Store:
        """The committed rows of any store, for views and checks."""
        return self._data.stores.setdefault(store, MemoryStore())

    def committed(self, group: str, partition: TopicPartition) -> int:
        """The committed position of a group: the log's start if none."""
        position = self._data.positions.get((group, partition))
        return self.bounds(partition)[0] if position is None else position

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The committed positions of a group and where the partitions end."""
        return {partition: (self.committed(group, partition), self.bounds(partition)[1]) for partition in partitions}

    def keep(self, group: str, flows: Sequence[str], topics: Sequence[str]) -> None:
        """Nothing to do: all rows are here."""

    def kept(self) -> list[LocalProgress]:
        """None: the rows are the log's own."""
        return []

    def findings(self, topics: Sequence[Topic], rights: Rights = NO_RIGHTS) -> list[str]:
        """Topics that are missing."""
        del rights
        return [f"topic {t.name} is missing: create it" for t in topics if t.name not in self._data.topics]

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        self._require_cleanup(topic)
        record = self._data.newest.get(topic, {}).get(key)
        return None if record is None or record.value is None else record

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        self._require_cleanup(topic)
        newest = self._data.newest.get(topic, {})
        keys = sorted(key for key, record in newest.items() if record.value is not None and (after is None or key > after))
        return [newest[key] for key in keys[: max(limit, 0)]]

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None = None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        if not self._topic(topic).is_indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        found = self._data.indexed.get(topic, {}).get(key, [])
        return [record for record in found if before is None or record.offset < before][-limit:] if limit > 0 else []

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        if not self._topic(topic).is_indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        found = self._data.indexed.get(topic, {}).get(key, [])
        return [record for record in found if record.offset >= start][:limit]

    def _fetch(self, next_offsets: dict[TopicPartition, int], max_records: int) -> list[Record]:
        """Records at `next_offsets`, which move on; faults cut, hide and interleave."""
        self._require_open()
        dice, faults = self._data.random, self.faults
        if faults.small_batch and dice.random() < faults.small_batch:
            max_records = dice.randint(1, max(1, min(max_records, 8)))
        ends = {p: end for p in sorted(next_offsets) if (end := self._visible_end(p, next_offsets[p])) > next_offsets[p]}
        found: list[Record] = []
        while ends and len(found) < max_records:
            partition = dice.choice(list(ends)) if faults.interleave else next(iter(ends))
            room = max_records - len(found)
            run = min(ends[partition] - next_offsets[partition], dice.randint(1, room) if faults.interleave else room)
            first = next_offsets[partition]
            found.extend(record for record in self._partition(partition)[first : first + run] if record is not None)
            next_offsets[partition] = first + run
            if next_offsets[partition] >= ends[partition]:
                del ends[partition]
        return found

    def _visible_end(self, partition: TopicPartition, position: int) -> int:
        end = len(self._partition(partition))
        if end > position and self.faults.delay and self._data.random.random() < self.faults.delay:
            return self._data.random.randint(position, end)
        return end

    def _commit(self, membership: Membership, transaction: Transaction) -> None:
        self._require_open()
        self._check(transaction.outgoing)
        self._maybe_crash("before_commit", self.faults.before_commit)
        if self.faults.unavailable and self._data.random.random() < self.faults.unavailable:
            raise Unavailable("injected: the log takes no commit now")
        self._maybe_reassign(membership.group)
        membership.check(transaction)
        with self._lock:
            for record in transaction.outgoing:
                self._write(record)
        for store_id, rows in transaction.rows.items():
            store = self._data.stores.setdefault(store_id, MemoryStore())
            for key, value in rows:
                store.put(key, value)
        for partition, position in transaction.positions.items():
            self._data.positions[membership.group.name, partition] = position
        self._maybe_crash("after_commit", self.faults.after_commit)

    def _write(self, out: Outgoing) -> int:
        topic = self._data.topics[out.topic]
        records = self._data.records[TopicPartition(out.topic, out.partition)]
        at_ms = self._clock_ms() if out.timestamp_ms is None else out.timestamp_ms
        record = Record(out.topic, out.partition, len(records), at_ms, out.key, out.value, out.headers)
        records.append(record)
        if topic.cleanup == "compact" and out.key is not None:
            newest = self._data.newest.setdefault(out.topic, {})
            older = newest.get(out.key)
            if older is not None:
                self._data.records[TopicPartition(older.topic, older.partition)][older.offset] = None
            newest[out.key] = record
        if topic.is_indexed and out.key is not None:
            self._data.indexed.setdefault(out.topic, {}).setdefault(out.key, []).append(record)
        return record.offset

    def _check(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            if record.key is None and self._topic(record.topic).cleanup == "compact":
                raise ValueError(f"a record of the compacted topic {record.topic} needs a key")
            self._partition(TopicPartition(record.topic, record.partition))

    def _topic(self, name: str) -> Topic:
        if name not in self._data.topics:
            raise KeyError(f"unknown topic {name}; known: {', '.join(sorted(self._data.topics)) or 'none'}")
        return self._data.topics[name]

    def _partition(self, partition: TopicPartition) -> list[Record | None]:
        records = self._data.records.get(partition)
        if records is None:
            raise KeyError(f"topic {partition.topic} has {self.partitions(partition.topic)} partitions, no {partition.partition}")
        return records

    def _require_cleanup(self, topic: str) -> None:
        if self._topic(topic).cleanup != "compact":
            raise ValueError(f"topic {topic} is not compacted: only compacted topics keep the newest record of a key")

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("the log is closed")

    def _maybe_crash(self, point: str, probability: float) -> None:
        if probability and self._data.random.random() < probability:
            raise Crash(point)

    def _maybe_reassign(self, group: Group) -> None:
        if self.faults.reassign and self._data.random.random() < self.faults.reassign:
            group.shuffle(self._data.random)


class MemoryMember:
    """One worker's membership."""

    def __init__(self, log: MemoryLog, membership: Membership, listener: Listener) -> None:
        self._log = log
        self._membership = membership
        self._listener = listener
        self._next: dict[TopicPartition, int] = {}
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records of owned partitions, at once: `timeout_s` is ignored. Raises `Unavailable` once closed."""
        del timeout_s
        if not self._is_open:
            raise Unavailable("the member has left its group")
        self._log._maybe_reassign(self._membership.group)
        lost, gained = self._membership.changes()
        for partition in lost:
            self._next.pop(partition, None)
        for partition in sorted(gained):
            self._next[partition] = self.position(partition)
        if lost:
            self._listener.revoked(lost)
        if gained:
            self._listener.assigned(gained)
        return self._log._fetch(self._next, max_records)

    def store(self, store: StoreId) -> Store:
        """The rows of an owned partition. Raises `Fenced` if it is not owned."""
        if not self._membership.owns(store.partition):
            raise self._membership.fenced(f"the rows of {store.flow}/{store.partition}")
        return self._log.store(store)

    def commit(self, transaction: Transaction) -> None:
        """All of the transaction or nothing. Raises `Fenced`, `Unavailable`, and `Crash` where told to."""
        self._log._commit(self._membership, transaction)

    def position(self, partition: TopicPartition) -> int:
        """The committed position of a partition in this group: the log's start if none."""
        return self._log.committed(self._membership.group.name, partition)

    def rewind(self) -> None:
        """Read owned partitions again from their committed positions."""
        self._next = {partition: self.position(partition) for partition in self._next}

    def close(self) -> None:
        """Leave the group."""
        self._is_open = False
        self._membership.group.leave(self._membership)


class MemoryFollower:
    """Tails partitions outside any group."""

    def __init__(self, log: MemoryLog, start: dict[TopicPartition, int]) -> None:
        self._log = log
        self._next = start
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records, at once: `timeout_s` is ignored. Raises `Unavailable` once closed."""
        del timeout_s
        if not self._is_open:
            raise Unavailable("the follower is closed")
        return self._log._fetch(self._next, max_records)

    def position(self, partition: TopicPartition) -> int:
        """Up to where a followed partition has been read."""
        return self._next[partition]

    def close(self) -> None:
        """Stop following."""
        self._is_open = False
