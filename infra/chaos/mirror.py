"""What the brokers hold, in the form the simulation's checks read: every committed record, and the rows of the changelogs.

Offsets count records here, as in a log without transaction marks; each record keeps its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaException,
)
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, OffsetSpec

from infra.chaos.worker import kafka_settings
from schemas import topics
from schemas.codec import Codec
from schemas.records import Record
from schemas.topics import Topic
from streams.engine.kafka.clients import check_message, is_end, place, to_record
from streams.engine.log import StoreId, TopicPartition
from streams.engine.memory.log import MemoryLog, MemoryStore

ASK_S = 10.0
STILL_S = 20.0
CLOSE_S = 10.0
_VERSIONED = (topics.ATP.name, topics.ORDER_STATUS.name)


class Mirror(MemoryLog):
    """`MemoryLog` filled from a cluster. `wrong`: what may not be seen in a log, whoever wrote it."""

    def __init__(self, declared: Sequence[Topic], changelogs: Iterable[str]) -> None:
        super().__init__()
        self.create(declared)
        self.changelogs = frozenset(changelogs)
        self.wrong: list[str] = []
        self._last: dict[TopicPartition, int] = {}
        self._versions: dict[tuple[str, bytes], int] = {}
        self._codec = Codec()

    def take(self, record: Record) -> None:
        """The next record of its partition."""
        at = TopicPartition(record.topic, record.partition)
        if record.offset <= self._last.get(at, -1):
            self.wrong.append(f"{record.trace_id} was read again: the partition has been cut and written anew")
            return
        self._last[at] = record.offset
        if record.topic in self.changelogs:
            self._row(record)
            return
        self._data.records[at].append(record)
        topic = self._data.topics[record.topic]
        if topic.cleanup == "compact" and record.key is not None:
            self._data.newest.setdefault(record.topic, {})[record.key] = record
        if record.topic in _VERSIONED and record.key is not None and record.value is not None:
            self._versioned(record, record.key, record.value)

    def last(self, at: TopicPartition) -> int:
        """The offset of the last record of a partition; -1 if there is none."""
        return self._last.get(at, -1)

    def _row(self, record: Record) -> None:
        key = record.key or b""
        flow, row = key[1 : 1 + key[0]].decode(), key[key[0] + 2 :]
        self._data.stores.setdefault(StoreId(flow, record.partition), MemoryStore()).put(row, record.value)

    def _versioned(self, record: Record, key: bytes, value: bytes) -> None:
        """I4, record by record: each answer about a key has a higher version than the one before it."""
        version = self._codec.decode(value).version
        held = self._versions.get((record.topic, key), -1)
        if version <= held:
            self.wrong.append(f"{record.trace_id} ({key.decode()}) has version {version}, after version {held}")
        self._versions[record.topic, key] = version


class Watcher:
    """Follows a cluster into a mirror, and tells when it is at rest."""

    def __init__(self, bootstrap: str, mirror: Mirror, partitions: Sequence[TopicPartition]) -> None:
        settings = kafka_settings(bootstrap)
        self._settings = settings
        self.mirror = mirror
        self._partitions = list(partitions)
        self._admin = AdminClient(settings.of_any())
        self._at: dict[TopicPartition, int] = dict.fromkeys(self._partitions, 0)
        self._consumer = self._reading()
        self._moved_s = time.monotonic()

    def _reading(self) -> Consumer:
        consumer = self._settings.reader(wait_ms=50)
        consumer.assign([place(at, offset) for at, offset in self._at.items()])
        return consumer

    def ends(self, *, is_decided: bool) -> dict[TopicPartition, int]:
        """Where each partition ends. `is_decided`: before the first open transaction."""
        level = IsolationLevel.READ_COMMITTED if is_decided else IsolationLevel.READ_UNCOMMITTED
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {Place(*at): latest for at in self._partitions}
        found = self._admin.list_offsets(asked, isolation_level=level, request_timeout=ASK_S)
        ends = {TopicPartition(at.topic, at.partition): int(future.result().offset) for at, future in found.items()}
        if any(end < 0 for end in ends.values()):  # said without an error while a leader is away
            raise KafkaException("some partitions do not tell their ends")
        return ends

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """A group's positions."""
        asker = Consumer(self._settings.of_consumers(group))
        try:
            found = asker.committed([place(at) for at in self._partitions], timeout=ASK_S)
        finally:
            asker.close()
        if failed := [at.error for at in found if at.error is not None]:
            raise KafkaException(failed[0])
        return {TopicPartition(at.topic, at.partition): at.offset for at in found if at.offset >= 0}

    def follow(self, ends: dict[TopicPartition, int], within_s: float) -> list[TopicPartition]:
        """Take records until each partition is read to where it ends. Returns what was not in time."""
        deadline = time.monotonic() + within_s
        while behind := [at for at, end in ends.items() if self._at[at] < end]:
            for message in self._consumer.consume(5_000, 0.1):
                if is_end(message):
                    at = TopicPartition(str(message.topic()), int(message.partition() or 0))
                    self._at[at] = max(self._at[at], int(message.offset() or 0))
                elif check_message(message):
                    record = to_record(message)
                    self.mirror.take(record)
                    self._at[TopicPartition(record.topic, record.partition)] = record.offset + 1
                self._moved_s = time.monotonic()
            if time.monotonic() > deadline:
                if time.monotonic() - self._moved_s > STILL_S:
                    # librdkafka 2.16 can lock itself up for good while a broker goes (ADR 0013).
                    _let_go(self._consumer)
                    self._consumer, self._moved_s = self._reading(), time.monotonic()
                return behind
        return []

    def unrest(self, groups: dict[str, list[TopicPartition]]) -> str | None:
        """Why the cluster is not at rest; none if it is: nothing open, nothing unread, nothing written meanwhile.

        `groups`: what each reads. The mirror is up to date when this says none.
        """
        try:
            ends, decided = self.ends(is_decided=False), self.ends(is_decided=True)
            behind = self.follow(decided, 2.0)
            if behind:
                return f"{len(behind)} partitions cannot be read to their ends, the first is {_name(behind[0])}"
            for group, inputs in groups.items():
                done = self.committed(group)
                late = [at for at in inputs if self.mirror.last(at) >= max(done.get(at, 0), 0)]
                if late:
                    return f"{group} has not read {len(late)} partitions to their ends, the first is {_name(late[0])}"
            if open_ := [at for at, end in ends.items() if decided[at] != end]:
                return f"a transaction is open in {len(open_)} partitions, the first is {_name(open_[0])}"
            return None if self.ends(is_decided=False) == ends else "records are still being written"
        except KafkaException as error:
            # librdkafka's admin client goes on asking with the leader epochs it once learned (FENCED_LEADER_EPOCH).
            self._admin = AdminClient(self._settings.of_any())
            return f"the brokers do not answer: {error}"

    def close(self) -> None:
        """Stop following."""
        _let_go(self._consumer).join(CLOSE_S)


def _let_go(consumer: Consumer) -> threading.Thread:
    """Close a client that may never answer."""
    thread = threading.Thread(target=consumer.close, name="chaos-let-go", daemon=True)
    thread.start()
    return thread


def _name(at: TopicPartition) -> str:
    return f"{at.topic}/{at.partition}"
