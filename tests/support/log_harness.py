"""What the contract suite needs of an implementation, and helpers that allow for assignment in the background."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from schemas.records import Record
from schemas.topics import Cleanup, Topic
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import Follower, GroupMembership, Log, Outgoing, ReadableLog, Reader, TopicPartition
from streams.engine.memory.log import MemoryLog
from tests.support.kafka_broker import KAFKA

T = TypeVar("T")
PATIENCE_S = 30.0
POLL_S = 0.05
_numbers = itertools.count()


class Harness(Protocol):
    """A log under test. `reopen` closes it and opens it again, as a new process would."""

    log: ReadableLog
    reader: Reader

    def reopen(self) -> None: ...


class MemoryHarness:
    def __init__(self, path: Path) -> None:
        del path
        self._own = MemoryLog(clock_ms=lambda: 1_000)
        self.log: ReadableLog = self._own
        self.reader: Reader = self._own

    def reopen(self) -> None:
        self._own = self._own.reopen()
        self.log = self.reader = self._own


class EmbeddedHarness:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = EmbeddedLog(path)
        self.log: ReadableLog = self._own
        self.reader: Reader = self._own

    def reopen(self) -> None:
        self._own.close()
        self._own = EmbeddedLog(self._path)
        self.log = self.reader = self._own


class KafkaHarness:
    """On the session's broker (`KAFKA`), with quick heartbeats, so that members learn of each other soon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._settings = KafkaSettings(os.environ[KAFKA], session_ms=6_000, heartbeat_ms=200)
        self._own = KafkaLog(self._settings, path)
        self.log: ReadableLog = self._own
        self.reader: Reader = self._own

    def reopen(self) -> None:
        self._own.close()
        self._own = KafkaLog(self._settings, self._path)
        self.log = self.reader = self._own


IMPLEMENTATIONS: dict[str, Callable[[Path], Harness]] = {
    "memory": MemoryHarness,
    "embedded": EmbeddedHarness,
    "kafka": KafkaHarness,
}


class Owned:
    """A listener that holds its log to the rules: nothing is assigned twice, nothing is revoked that was not assigned."""

    def __init__(self) -> None:
        self.partitions: frozenset[TopicPartition] = frozenset()

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        assert not partitions & self.partitions
        self.partitions |= partitions

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        assert partitions <= self.partitions
        self.partitions -= partitions


def fresh(what: str) -> str:
    """A name no other test uses: a log may outlive a test."""
    return f"test.{what}.{next(_numbers)}.{time.time_ns()}"


def topic(
    what: str, partitions: int = 4, cleanup: Cleanup = "keep", *, is_indexed: bool = False, name: str | None = None
) -> Topic:
    return Topic(name or fresh(what), "key", "tests", 1_000, (), partitions, cleanup, is_indexed=is_indexed)


def until(condition: Callable[[], T]) -> T:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "the log did not come to it in time"
    return value


def take(source: GroupMembership | Follower, count: int, at_most: int = 1_000) -> list[Record]:
    """Poll until so many records have come, and see that no more come."""
    found: list[Record] = []

    def enough() -> bool:
        batch = source.poll(at_most, POLL_S)
        assert len(batch) <= at_most
        found.extend(batch)
        return len(found) >= count

    until(enough)
    assert source.poll(at_most, POLL_S) == []
    assert len(found) == count
    return found


def settle(members: Iterable[tuple[GroupMembership, Owned]], log: Log, topics: Sequence[Topic]) -> list[Record]:
    """Poll every member until each partition has exactly one owner. Returns what was polled on the way."""
    wanted = {TopicPartition(t.name, index) for t in topics for index in range(log.partitions(t.name))}
    members = list(members)
    polled: list[Record] = []

    def settled() -> bool:
        for member, _ in members:
            polled.extend(member.poll(1_000, POLL_S))
        shares = [owned.partitions for _, owned in members]
        return sum(map(len, shares)) == len(wanted) and set().union(*shares) == wanted and all(shares)

    until(settled)
    return polled


def numbered(name: str, partition: int, numbers: Iterable[int]) -> list[Outgoing]:
    return [Outgoing(name, partition, b"k%d" % n, b"%d" % n) for n in numbers]


def everything(log: Log, name: str, at_least: int = 0) -> list[Record]:
    """All records of a topic, partition by partition, once there are so many: a commit's may be readable a moment after it."""
    until(lambda: len(_pages(log, name)) >= at_least)
    return _pages(log, name)


def _pages(log: Log, name: str) -> list[Record]:
    found: list[Record] = []
    for index in range(log.partitions(name)):
        partition = TopicPartition(name, index)
        at, end = log.bounds(partition)
        while at < end and (page := log.read(partition, at, 7)):
            found += page
            at = page[-1].offset + 1
    return found


def at(t: Topic, partition: int = 0) -> TopicPartition:
    return TopicPartition(t.name, partition)


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def member_of(log: Log, group: str, *topics: Topic) -> tuple[GroupMembership, Owned]:
    owned = Owned()
    return log.join(group, [t.name for t in topics], owned), owned


def alone(log: Log, group: str, *topics: Topic) -> GroupMembership:
    """The only member of a group, owner of everything, nothing read yet."""
    member, owned = member_of(log, group, *topics)
    settle([(member, owned)], log, topics)
    member.rewind()
    return member
