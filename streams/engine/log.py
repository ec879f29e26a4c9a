"""The log contract. Two implementations live by it (`embedded`, and Kafka), and a seeded one that injects faults (`memory`).

One test suite (`tests/contracts`) runs on each. Whatever a log does inside, it owes its users this:

- A record that `append` or `commit` returned for is durable: it survives kill -9, in its partition's order, at its offset.
- `commit` is atomic: records, rows and positions of a transaction are all there or none is, also after a crash.
- A partition of a group has one owner. A member that lost it cannot commit it (`Fenced`).
- After a restart a member goes on from the last committed positions, with the rows they left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from schemas.records import Headers, Record
from schemas.topics import Topic


class Unavailable(Exception):
    """The log cannot serve now. Nothing of the call took effect; back off and try again."""


class Fenced(Exception):
    """This member no longer owns a partition it tried to commit. Drop the work; the new owner does it."""


class StoreFailed(Exception):
    """Rows of a store cannot be read: it is damaged, or its disk is. No event is to blame, so the work stops there."""


class DamagedLog(StoreFailed):
    """What is stored cannot be read, or is not all there. The message says which file and how to go on.

    It is not an input's fault: whoever meets it stops. `partition`: whose records these are, where one partition's only.
    """

    def __init__(self, reason: str, partition: TopicPartition | None = None) -> None:
        super().__init__(reason)
        self.partition = partition


Rights = Mapping[str, Collection[str]]
"""What a user has to be allowed on topics, in Kafka's words (Read, Write, Describe, DescribeConfigs)."""
NO_RIGHTS: Rights = MappingProxyType({})


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class StoreId(NamedTuple):
    """The tables of one flow for one partition of its inbox."""

    flow: str
    partition: int


class Outgoing(NamedTuple):
    """A record to be written. The log gives its offset and, unless set, its timestamp."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None


@dataclass(slots=True)
class Transaction:
    """What one batch makes: records, changed rows (none: removed) and how far its inputs have been read (next offset)."""

    outgoing: list[Outgoing] = field(default_factory=list)
    rows: dict[StoreId, list[tuple[bytes, bytes | None]]] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)


class Store(Protocol):
    """The committed rows of one `StoreId`, as of the owner's last commit."""

    def get(self, key: bytes) -> bytes | None:
        """The row, or none."""
        ...

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high` (to the end if none) in byte order, as of the call."""
        ...


class Listener(Protocol):
    """Is told, inside `poll`, what a member owns."""

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """These are the member's now; their stores are caught up."""
        ...

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """These are another's now; uncommitted work on them is void."""
        ...


class GroupMembership(Protocol):
    """One worker's membership in a consumer group."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records of owned partitions, each partition in order, at most `max_records`.

        Waits up to `timeout_s` for the first one. Each call goes on where the last one ended. Takes assignments and revocations.
        """
        ...

    def store(self, store: StoreId) -> Store:
        """The rows of an owned partition."""
        ...

    def commit(self, transaction: Transaction) -> None:
        """All of the transaction, durably, or nothing. Raises `Fenced` or `Unavailable`."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """The committed position of a partition in this group: the next offset to read; the log's start if none."""
        ...

    def rewind(self) -> None:
        """Read owned partitions again from their committed positions (after a dropped batch)."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


class Follower(Protocol):
    """A reader outside any group: tails topics for views and waiting requests."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records, each partition in order. Waits up to `timeout_s` for the first one."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """Up to where a followed partition has been read: at its end, once `poll` has given all there is, marks included."""
        ...

    def close(self) -> None:
        """Stop following."""
        ...


class Log(Protocol):
    """A partitioned, durable log."""

    def create(self, topics: Sequence[Topic]) -> None:
        """See to it that the topics exist as declared. Raises `ValueError` if one exists with other partitions or cleanup."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises `KeyError` for an unknown one, with the known ones named."""
        ...

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Write records, all or none, and return their offsets once they are durable. Safe from any thread.

        On Kafka a call that ends with `Unavailable` may have written some: send all again, receivers count each event once.
        Raises `Unavailable`, `KeyError` for an unknown topic, `ValueError` for a record without a key in a compacted one.
        """
        ...

    def read(self, partition: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Up to `limit` records from `offset` on (from the first kept one, if that is later)."""
        ...

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first kept offset and the next one to be written."""
        ...

    def committed(self, group: str, partition: TopicPartition) -> int:
        """The committed position of a group: the log's start if none."""
        ...

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The committed positions of a group and where the partitions end, in few requests. At rest both are the same.

        On Kafka a commit may show a moment after it returned: the brokers mark positions then.
        """
        ...

    def join(self, group: str, topics: Sequence[str], listener: Listener) -> GroupMembership:
        """Become a member of a group that shares the topics' partitions."""
        ...

    def follow(self, start: Mapping[TopicPartition, int]) -> Follower:
        """Tail partitions from the given offsets."""
        ...

    def close(self) -> None:
        """Release everything. Members and followers are closed too: calls then raise `Unavailable`."""
        ...


class Reader(Protocol):
    """Reads by key, for views: the embedded log answers itself, on Kafka a follower keeps the rows."""

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        ...

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        ...

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None = None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        ...

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class LocalProgress:
    """How far this machine's rows of one partition number of a group are, or what it has read of a topic for reads by key.

    `group`: the topic, in the second case. `state`: `owned` by a member of this process, being `restored` for one, or
    `followed` while others own it. `position`, `end`: offsets, of the changelog or the topic. `caught_up_ms`: when all that was
    committed was last known to be here; none: not yet, and nothing is read from it. `restored`, `rows_per_s`: changes read since
    it was last opened or taken over, and how fast. `problem`: why it does not get on.
    """

    group: str
    partition: int
    state: Literal["owned", "restored", "followed"]
    position: int
    end: int
    caught_up_ms: int | None
    restored: int = 0
    rows_per_s: int = 0
    problem: str | None = None
    remade: int = 0

    @property
    def remaining(self) -> int:
        """How many changes are to be read at most, until it is as far as is known."""
        return max(0, self.end - self.position)


class ReadableLog(Log, Reader, Protocol):
    """A log that also answers by key, and shows committed rows of any flow."""

    def keep(self, group: str, flows: Sequence[str], topics: Sequence[str]) -> None:
        """Keep the rows of these flows on this machine, whoever owns their partitions: for `store`, and as warm standby."""
        ...

    def store(self, store: StoreId) -> Store:
        """The committed rows of a store, whoever owns it. Raises `Unavailable` if they are not kept here or not caught up yet.

        Each `get` and `range` sees whole commits of the owner, never half of one; two calls may see different ones.
        """
        ...

    def kept(self) -> list[LocalProgress]:
        """What is kept, and how far it is. Nothing on a log that has the rows itself."""
        ...

    def findings(self, topics: Sequence[Topic], rights: Rights = NO_RIGHTS) -> list[str]:
        """What is not as it has to be for these topics, each with what to do. Nothing: all is well. Raises `Unavailable`.

        `rights`: those that this process's user has to have.
        """
        ...


def records_from(log: Log, at: TopicPartition, offset: int) -> Iterator[Record]:
    """The records of a partition from an offset on."""
    while records := log.read(at, offset, 1_000):
        yield from records
        offset = records[-1].offset + 1


def all_records(log: Log, topic: Topic) -> Iterator[Record]:
    """The records of a topic, partition after partition."""
    for partition in range(log.partitions(topic.name)):
        at = TopicPartition(topic.name, partition)
        yield from records_from(log, at, log.bounds(at)[0])
