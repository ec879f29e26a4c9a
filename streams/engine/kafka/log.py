"""The Kafka log: records, changelogs and positions on the brokers, rows cached in local files.

A commit is one Kafka transaction (`kafka_transaction`), fenced by the group's generation; rows are a cache of a compacted
changelog (`kafka_store`, `kafka_restore`) and move with their inputs (`kafka_member`). `append` is idempotent, without a
transaction: its records are contiguous and visible at once, and a call that fails may leave some of its records behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.kafka.admin import KafkaAdmin
from streams.engine.kafka.clients import KafkaSettings, said_of
from streams.engine.kafka.followers import KafkaFollower, KafkaPages
from streams.engine.kafka.keys import KafkaKeys
from streams.engine.kafka.member import KafkaMember, MemberPlace
from streams.engine.kafka.process_name import DuplicateProcessWatch, name_in
from streams.engine.kafka.standby import KafkaStandby
from streams.engine.kafka.store import KafkaRows
from streams.engine.kafka.stores import KafkaStores
from streams.engine.kafka.topics import KafkaTopics, changelog_name, changelog_of
from streams.engine.kafka.transaction import produce
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import NO_RIGHTS, Listener, LocalProgress, Outgoing, Rights, StoreId, TopicPartition, Unavailable

__all__ = ["KafkaLog", "KafkaSettings"]

_log = logging.getLogger(__name__)


class KafkaLog:
    """`Log` and `Reader` on Kafka. `directory` is this process's own: its name in the cluster and its rows are there.

    Raises `Unavailable` if no broker answers, `CannotOpen` if another process uses the directory.
    """

    def __init__(self, settings: KafkaSettings, directory: str | Path) -> None:
        self._settings = settings
        self._directory = Path(directory)
        self._topics = KafkaTopics(settings)
        self._admin = KafkaAdmin(settings)
        self.keeper = ThreadKeeper()
        self.clock = settings.clock_ms
        self._keys = KafkaKeys(settings, self._topics, self._admin, self._directory / "keys", self.keeper)
        self._name = name_in(self._directory)
        self._pages = KafkaPages(settings)
        self._appender = Appender(settings, self.keeper)
        self._lock = threading.Lock()
        self._shelves: dict[str, KafkaStores] = {}
        self._flows: dict[str, KafkaStores] = {}
        self._standbys: dict[str, KafkaStandby] = {}
        self._members: list[KafkaMember] = []
        self._followers: list[KafkaFollower] = []
        self._is_open = True

    def create(self, topics: Sequence[Topic]) -> None:
        """See to it that the topics exist as declared. Raises `ValueError` if one exists with other partitions or cleanup."""
        self._require_open()
        self._topics.declare(topics)
        self._keys.declare(topics)

    def prepare(self, group: str, topics: Sequence[str]) -> None:
        """See to it that a group's changelog exists, as wide as these inputs: for members who may not make it themselves."""
        self._require_open()
        self._topics.grow(changelog_of(group, map(self.partitions, topics)))

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises `KeyError` for an unknown one, with the known ones named."""
        return self._topics.partitions(topic)

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Write records and return their offsets once they are durable. Safe from any thread.

        None is written if one is for an unknown topic or not fit. If the brokers fail in the middle, `Unavailable` is raised
        although some may be there: send all of them again.
        """
        self._require_open()
        self._topics.check(records)
        return self._appender.append(records) if records else []

    def read(self, partition: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Up to `limit` committed records from `offset` on."""
        self._require_open()
        self._topics.require(partition)
        return self._pages.read(partition, offset, limit)

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first kept offset and the end: beyond the last record there may be a transaction's mark."""
        self._require_open()
        self._topics.require(partition)
        return self._pages.bounds(partition)

    def join(self, group: str, topics: Sequence[str], listener: Listener) -> KafkaMember:
        """Become a member of a group that shares the topics' partitions. Members of a group name the same topics."""
        self._require_open()
        counts = {topic: self.partitions(topic) for topic in topics}
        stores = self._shelf(group, counts)
        with self._lock:
            taken = {member.seat.name for member in self._members}
            slot = next(n for n in range(len(taken) + 1) if f"{group}.{self._name}.{n}" not in taken)
            seat = MemberPlace(group, counts, changelog_name(group), f"{group}.{self._name}.{slot}")
            member = KafkaMember(
                self._settings,
                self._topics,
                seat,
                stores,
                listener,
                DuplicateProcessWatch(seat.name, group, self._settings.session_ms / 1000, self._admin.members),
                lambda partition: self._pages.bounds(partition)[0],
                self._forget_member,
            )
            self._members.append(member)
        return member

    def follow(self, start: Mapping[TopicPartition, int]) -> KafkaFollower:
        """Tail partitions from the given offsets."""
        self._require_open()
        for partition in start:
            self._topics.require(partition)
        follower = KafkaFollower(self._settings, start, self._forget_follower)
        with self._lock:
            self._followers.append(follower)
        return follower

    def keep(self, group: str, flows: Sequence[str], topics: Sequence[str]) -> None:
        """Keep the rows of these flows on this machine, whoever owns their partitions: for `store`, and as warm standby.

        Flows that are kept already go on. Raises `Unavailable`, and `KeyError` for an unknown topic.
        """
        self._require_open()
        stores = self._shelf(group, {topic: self.partitions(topic) for topic in topics})
        with self._lock:
            self._flows |= dict.fromkeys(flows, stores)
            if group not in self._standbys:
                stores.is_kept = True
                self._standbys[group] = KafkaStandby(self._settings, self._admin, stores, changelog_name(group), self.keeper)

    def store(self, store: StoreId) -> KafkaRows:
        """The committed rows of a kept flow, whoever owns the partition. Raises `Unavailable` if they are not here or not yet.

        While others own it, they are as old as `kept` says. Each `get` and `range` sees whole commits of the owner.
        """
        self._require_open()
        stores = self._flows.get(store.flow)
        if stores is None:
            raise Unavailable(f"the rows of {store.flow} are not kept by this process: ask one that has the role serve")
        return stores.rows(store)

    def kept(self) -> list[LocalProgress]:
        """How far the rows of this machine are, kept or restored for a member."""
        return [*(kept for stores in list(self._shelves.values()) for kept in stores.kept()), *self._keys.kept()]

    def committed(self, group: str, partition: TopicPartition) -> int:
        """The committed position of a group: the log's start if none."""
        return self.progress(group, [partition])[partition][0]

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The committed positions of a group and where the partitions end, in a few requests."""
        self._require_open()
        wanted = list(partitions)
        for partition in wanted:
            self._topics.require(partition)
        return self._admin.progress(group, wanted)

    def findings(self, topics: Sequence[Topic], rights: Rights = NO_RIGHTS) -> list[str]:
        """What an operator has to put right on the brokers for these topics, each with what to do. Raises `Unavailable`."""
        return self._admin.findings(topics, rights)

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        return self._keys.latest(topic, key)

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        return self._keys.scan(topic, after, limit)

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None = None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        return self._keys.by_key(topic, key, limit, before)

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        return self._keys.by_key_from(topic, key, limit, start)

    def close(self) -> None:
        """Release everything. Members and followers are closed too: calls then raise `Unavailable`."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        readers: list[KafkaMember | KafkaFollower] = [*self._members, *self._followers]
        for standby in self._standbys.values():
            standby.close()
        for reader in readers:
            reader.close()
        for stores in self._shelves.values():
            stores.close()
        self._appender.close()
        self._keys.close()
        self._pages.close()
        self._admin.close()

    def _shelf(self, group: str, counts: Mapping[str, int]) -> KafkaStores:
        """The stores of a group, whose changelog has as many partitions as its widest input."""
        changelog = changelog_of(group, counts.values())
        self._topics.grow(changelog)
        with self._lock:
            if group not in self._shelves:
                path = self._directory / "stores" / group
                self._shelves[group] = KafkaStores(group, path, lambda: self._topics.identity(changelog.name))
            stores = self._shelves[group]
            stores.widen(changelog.partitions)
        return stores

    def _forget_member(self, member: KafkaMember) -> None:
        with self._lock:
            self._members = [other for other in self._members if other is not member]

    def _forget_follower(self, follower: KafkaFollower) -> None:
        with self._lock:
            self._followers = [other for other in self._followers if other is not follower]

    def _require_open(self) -> None:
        if not self._is_open:
            raise Unavailable("the log is closed")


_PAUSE_S = 0.1
_STALL_S = 30.0
_GIVEN_UP = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL})
"""What becomes of the records of a producer that is broken."""


class Appender:
    """Writes outside transactions: one idempotent producer for all threads."""

    def __init__(self, settings: KafkaSettings, keeper: ThreadKeeper) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._is_open = True
        self._producer = self._started()
        self._fatal: KafkaError | None = None
        self._broke = threading.Event()
        self._thread = keeper.thread("kafka-append", self._serve, self._stop, stall_s=_STALL_S)
        self._thread.start()

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Offsets of the records. Raises `Unavailable`."""
        call = _Call(len(records))
        stamp_ms = self._settings.clock_ms()
        with self._lock:  # keeps the records of a call together, and the producer in place
            producer = self._producer
            for at, record in enumerate(records):
                try:
                    produce(producer, record, call.noting(at), stamp_ms)
                except KafkaException as error:
                    call.failed(error.args[0], len(records) - at)
                    break
        # librdkafka gives every record up in `delivery.timeout.ms`, so this ends.
        call.done.wait()
        if call.error is not None:
            raise Unavailable(f"records were not written: {said_of(self._reason(producer, call.error))}")
        return call.offsets

    def close(self) -> None:
        """Write what was handed over, and stop."""
        self._is_open = False
        self._stop.set()
        self._thread.join()
        with suppress(KafkaException):  # it is broken, and holds nothing that anybody waits for
            self._producer.flush(self._settings.request_s)
            self._producer.close()

    def _started(self) -> Producer:
        return self._settings.producer(linger_ms=0, delivery_timeout_ms=int(self._settings.request_s * 1000))

    def _reason(self, producer: Producer, error: KafkaError) -> KafkaError:
        """Why records were given up. If the producer is broken, another takes its place."""
        if error.code() in _GIVEN_UP:
            self._broke.wait(1.0)  # the poll that gave them up is about to say why
        fatal = error if error.fatal() else self._fatal
        if fatal is not None:
            self._replace(producer)
        return fatal or error

    def _replace(self, broken: Producer) -> None:
        with self._lock:
            if self._producer is broken:
                self._broke.clear()
                self._producer, self._fatal = self._started(), None

    def _serve(self) -> None:
        while self._is_open:
            try:
                self._producer.poll(0.1)
            except KafkaException as error:  # it is broken, which is told once; who appends next has to hear of it too
                self._fatal = error.args[0]
                self._broke.set()
            except Exception:  # without this thread every append would wait for ever
                _log.exception("the producer's poll has failed, and goes on")
                time.sleep(_PAUSE_S)
                continue  # without a beat: if that does not stop, it is seen
            self._thread.beat()


class _Call:
    """What becomes of the records of one `append`."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.error: KafkaError | None = None
        self.done = threading.Event()
        self._left = count

    def noting(self, at: int) -> Callable[[KafkaError | None, Message], None]:
        """The delivery callback of one record."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.failed(error, 1)
                return
            offset = message.offset()
            if offset is None:  # a repeat that the broker had already: written, but where it does not say
                self.failed(KafkaError(KafkaError.DUPLICATE_SEQUENCE_NUMBER), 1)
                return
            self.offsets[at] = offset
            self._count(1)

        return delivered

    def failed(self, error: KafkaError, count: int) -> None:
        """So many records were not written."""
        self.error = self.error or error
        self._count(count)

    def _count(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self.done.set()
