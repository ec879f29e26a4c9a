"""Reads by key: follows compacted and indexed topics into a local database, which can always be made again.

| key | value |
|---|---|
| `d`, topic | `indexed`, if it is declared so |
| `w` | when following last got on, in ms |
| `i`, topic | identity of the topic that was followed |
| `p`, topic, partition | where following goes on |
| `l`, topic, record key | partition and newest record (compacted topics) |
| `k`, topic, record key, offset, partition | record (indexed topics) |

A topic is followed from the first time it is asked for. That call waits until it is caught up; later ones answer with what has
come so far. A database that cannot be read answers nothing any more: all of it is read anew.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Message
from confluent_kafka import TopicPartition as Place
from rocksdict import Options, Rdict, WriteBatch

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.embedded.files import CannotOpen, number, pack_offset
from streams.engine.embedded.records_codec import decode, encode_body, pack_head
from streams.engine.kafka.admin import KafkaAdmin
from streams.engine.kafka.clients import KafkaSettings, check_message, is_end, place, to_record
from streams.engine.kafka.followers import SLICE_S, next_messages
from streams.engine.kafka.store import MAX_AGE_MS, destroy
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import LocalProgress, Outgoing, TopicPartition, Unavailable
from streams.engine.scans import scan_items, scan_keys_back

T = TypeVar("T")
_log = logging.getLogger(__name__)
STALL_S = 60.0
"""Who has not got on for so long hangs."""
_CHUNK = 5_000
_LOOK_S = 1.0
"""How often it asks whether it has everything: how exactly the age of what is read is known."""
_PARTITION = struct.Struct(">H")
_PLACE = struct.Struct(">QH")
_LENGTH = struct.Struct(">H")
_KEY_LENGTH = struct.Struct(">I")
_LAST = b"\xff" * _PLACE.size
_WRITTEN = b"w"


@dataclass(slots=True)
class _Reading:
    """How far a partition has been read, from where, where it ends, and when it was last known to have been read whole."""

    start: int
    position: int
    end: int
    fresh_ms: int | None = None


class KafkaKeys:
    """`Reader` on Kafka. Safe from any thread. Raises `CannotOpen` if its directory is in use."""

    def __init__(self, settings: KafkaSettings, topics: KafkaTopics, admin: KafkaAdmin, path: Path, keeper: ThreadKeeper) -> None:
        self._settings = settings
        self._topics = topics
        self._admin = admin
        self._path = path
        now_ms = self._settings.clock_ms()
        self._db, written_ms, self._indexed = _begun(path)
        self._damage: str | None = None
        self._remade = 0
        self._is_old = written_ms is not None and now_ms - written_ms > MAX_AGE_MS
        self._lock = threading.Condition()
        self._behind: dict[str, set[int]] = {}  # followed topics: partitions not read to their end yet
        self._read: dict[TopicPartition, _Reading] = {}
        self._joining: list[Place] = []  # to be taken up by the thread: a consumer that is being polled takes nothing from others
        self._failure: str | None = None
        self._is_open = True
        self._stop = threading.Event()
        self._has_begun = False
        self._thread = keeper.thread("kafka-keys", self._run, self._stop, stall_s=STALL_S)

    def declare(self, topics: Sequence[Topic]) -> None:
        """Remember which topics are indexed: the brokers do not."""
        for topic in topics:
            if topic.is_indexed and topic.name not in self._indexed:
                self._db.put(b"d" + topic.name.encode(), b"indexed")
                self._indexed.add(topic.name)

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        self._follow_compacted(topic)

        def read(db: Rdict) -> Record | None:
            raw = db.get(_named(b"l", topic) + key)
            return None if raw is None else _decoded(topic, raw)

        return self._asked(read)

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        self._follow_compacted(topic)
        prefix = _named(b"l", topic)
        low = prefix if after is None else prefix + after + b"\0"

        def read(db: Rdict) -> list[Record]:
            return [_decoded(topic, raw) for _, raw in islice(scan_items(db, low, _beyond(prefix)), max(limit, 0))]

        return self._asked(read)

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None = None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        self._topics.partitions(topic)
        if topic not in self._indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        self._follow(topic)
        prefix = _named(b"k", topic) + _KEY_LENGTH.pack(len(key)) + key
        beyond = prefix + (_LAST if before is None else pack_offset(max(before, 0)))

        def read(db: Rdict) -> list[Record]:
            found = [db.get(entry) for entry in islice(scan_keys_back(db, prefix, beyond), max(limit, 0))]
            return [_decoded(topic, raw) for raw in reversed(found)]

        return self._asked(read)

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        self._topics.partitions(topic)
        if topic not in self._indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        self._follow(topic)
        prefix = _named(b"k", topic) + _KEY_LENGTH.pack(len(key)) + key
        low, high = prefix + pack_offset(max(start, 0)), prefix + _LAST + b"\xff"
        return self._asked(lambda db: [_decoded(topic, raw) for _, raw in islice(scan_items(db, low, high), max(limit, 0))])

    def kept(self) -> list[LocalProgress]:
        """How far each followed partition is; `group` is its topic."""
        return [
            LocalProgress(
                at.topic,
                at.partition,
                "followed",
                one.position,
                one.end,
                one.fresh_ms,
                max(0, one.position - one.start),
                problem=self._failure,
                remade=0 if number else self._remade,
            )
            for number, (at, one) in enumerate(list(self._read.items()))
        ]

    def close(self) -> None:
        """Stop following."""
        with self._lock:
            self._is_open = False
            self._stop.set()
            self._lock.notify_all()
        self._thread.join()
        if self._db is not _CLOSED:
            self._db.close()

    def _asked(self, read: Callable[[Rdict], T]) -> T:
        """What a question to the database gives. One that it cannot answer is the last one until everything is read anew."""
        if self._damage is None:
            try:
                return read(self._db)
            except Unavailable:
                raise
            except Exception as error:
                self._damaged(error.with_traceback(None))  # its frames hold the database
        raise Unavailable(f"what was read of topics is damaged, and is read anew: {self._damage or 'just now'}")

    def _damaged(self, error: Exception) -> None:
        with self._lock:
            if self._damage is None and self._is_open:
                _log.error("what was read of topics, in %s, is damaged, and is read anew: %s", self._path, error)
                self._damage = str(error)
                with contextlib.suppress(OSError):
                    _mark(self._path).touch()
                self._lag()

    def _follow_compacted(self, topic: str) -> None:
        if self._topics.cleanup(topic) != "compact":
            raise ValueError(f"topic {topic} is not compacted: only compacted topics keep the newest record of a key")
        self._follow(topic)

    def _follow(self, topic: str) -> None:
        """See to it that a topic is followed, and wait until it was once read to its end."""
        behind = self._behind.get(topic)
        if behind is not None and not behind and self._is_open:
            return
        deadline = time.monotonic() + self._settings.request_s
        with self._lock:
            if topic not in self._behind:
                self._begin(topic)
            while self._behind[topic]:
                if self._failure or not self._is_open:
                    raise Unavailable(self._failure or "the log is closed")
                if not self._lock.wait(deadline - time.monotonic()):
                    raise Unavailable(f"{topic} is still being read: {len(self._behind[topic])} partitions are not caught up")
            if not self._is_open:
                raise Unavailable("the log is closed")

    def _begin(self, topic: str) -> None:
        if not self._is_open:
            raise Unavailable("the log is closed")
        identity = self._topics.identity(topic).encode()
        if self._is_old or self._db.get(b"i" + topic.encode()) != identity:
            self._forget(topic)
            self._db.put(b"i" + topic.encode(), identity)
        partitions = [TopicPartition(topic, i) for i in range(self._topics.partitions(topic))]
        ends = self._admin.ends(partitions)
        for at in partitions:
            position = number(self._db.get(_position(topic, at.partition)), 0)
            self._read[at] = _Reading(position, position, max(ends[at], position))
            self._joining.append(place(at, position))
        self._behind[topic] = {at.partition for at in partitions}
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()

    def _forget(self, topic: str) -> None:
        for kind in (b"l", b"k", b"p"):
            prefix = _named(kind, topic)
            self._db.delete_range(prefix, _beyond(prefix))

    def _run(self) -> None:
        consumer = self._settings.reader(wait_ms=500)
        try:
            self._resume()
            looked_s = time.monotonic()
            while self._is_open:
                self._thread.beat()
                if self._damage is not None:
                    raise Unavailable(f"what was read of topics is damaged: {self._damage}")
                if self._joining:
                    with self._lock:
                        joining, self._joining = self._joining, []
                    consumer.incremental_assign(joining)
                messages = next_messages(consumer, _CHUNK, SLICE_S)
                if messages:
                    self._take(messages)
                if time.monotonic() - looked_s > _LOOK_S:
                    self._look()
                    looked_s = time.monotonic()
        except BaseException as error:
            with self._lock:
                self._failure = f"topics are not followed for a moment: {error}"
                self._lag()  # who asks is told, rather than shown what was true a while ago
                self._lock.notify_all()
            raise
        finally:
            consumer.close()

    def _resume(self) -> None:
        """After a failure, go on where the database says that it was."""
        with self._lock:
            if self._damage is not None:
                self._remake()
            if self._failure is None:
                return
            for at, one in self._read.items():
                one.position = number(self._db.get(_position(*at)), 0)
            self._joining = [place(at, one.position) for at, one in self._read.items()]
            self._lag()
            self._failure = None

    def _remake(self) -> None:
        """An empty database, once the reads that are under way have let go of the damaged one."""
        identities = {topic: self._topics.identity(topic) for topic in self._behind}
        closed, self._db = self._db, _CLOSED
        del closed
        destroy(self._path)
        self._db = _opened(self._path)
        for topic in self._indexed:
            self._db.put(b"d" + topic.encode(), b"indexed")
        for topic, identity in identities.items():
            self._db.put(b"i" + topic.encode(), identity.encode())
        for one in self._read.values():
            one.start, one.fresh_ms = 0, None
        self._damage = None
        self._remade += 1

    def _lag(self) -> None:
        """No topic is known to be read to its end."""
        self._behind = {topic: {at.partition for at in self._read if at.topic == topic} for topic in self._behind}

    def _look(self) -> None:
        """Compare with the ends. While the brokers do not answer, what was read keeps the age it has."""
        asked_ms = self._settings.clock_ms()
        with contextlib.suppress(Unavailable):
            for at, end in self._admin.ends(list(self._read)).items():
                one = self._read[at]
                one.end = max(end, one.position)
                if one.position >= end and one.fresh_ms is not None:
                    one.fresh_ms = asked_ms

    def _take(self, messages: Sequence[Message]) -> None:
        batch = WriteBatch(raw_mode=True)
        now_ms = self._settings.clock_ms()
        positions: dict[TopicPartition, int] = {}
        ends: list[TopicPartition] = []
        for message in messages:
            if is_end(message):
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                assert topic is not None
                assert partition is not None
                assert offset is not None
                ends.append(TopicPartition(topic, partition))
                positions[ends[-1]] = offset
            elif check_message(message):
                record = to_record(message)
                positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
                self._put(batch, record)
        for at, position in positions.items():
            batch.put(_position(*at), pack_offset(position))
        batch.put(_WRITTEN, pack_offset(now_ms))
        try:
            self._db.write(batch)
        except Exception as error:
            if "Corruption" in str(error):
                self._damaged(error)
            raise
        with self._lock:
            for at, position in positions.items():
                self._read[at].position = position
            for at in ends:
                self._read[at].fresh_ms = now_ms
                self._behind[at.topic].discard(at.partition)
            self._lock.notify_all()

    def _put(self, batch: WriteBatch, record: Record) -> None:
        topic = record.topic
        if record.key is None:
            return
        if topic in self._indexed:
            entry = _named(b"k", topic) + _KEY_LENGTH.pack(len(record.key)) + record.key
            batch.put(entry + _PLACE.pack(record.offset, record.partition), _encoded(record))
        if self._topics.cleanup(topic) == "compact":
            newest = _named(b"l", topic) + record.key
            if record.value is None:
                batch.delete(newest)
            else:
                batch.put(newest, _encoded(record))


class _Closed:
    """Stands for the database while there is none."""

    def __getattr__(self, name: str) -> Any:
        raise Unavailable("what was read of topics is read anew: try again")


_CLOSED: Any = _Closed()


def _begun(path: Path) -> tuple[Rdict, int | None, set[str]]:
    """The database, when it was last written, and which topics are indexed."""
    db = _opened(path)
    try:
        return db, _time_of(db.get(_WRITTEN)), {key[1:].decode() for key, _ in scan_items(db, b"d", b"e")}
    except Exception as error:
        why = str(error)
    del db  # like the error, which has just ended: while either is there, the database cannot be removed
    _log.warning("what was read of topics, in %s, cannot be read, and is read anew: %s", path, why)
    destroy(path)
    return _opened(path), None, set()


def _time_of(raw: bytes | None) -> int | None:
    return None if raw is None else number(raw, 0)


def _opened(path: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_keep_log_file_num(2)
    if _mark(path).exists():
        _log.warning("what was read of topics, in %s, was found damaged, and is read anew", path)
        destroy(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        return Rdict(str(path), options)
    except Exception as error:
        if "LOCK" in str(error) and "lock" in str(error).lower():
            raise CannotOpen(f"{path} is in use by another process: stop it, or give this one a directory of its own") from error
        # Whatever else RocksDB finds wrong with it: the brokers have it all.
        _log.warning("what was read of topics, in %s, cannot be opened, and is read anew: %s", path, error)
        destroy(path)
        path.mkdir(parents=True, exist_ok=True)
        return Rdict(str(path), options)


def _mark(path: Path) -> Path:
    return path / "damaged"


def _named(kind: bytes, topic: str) -> bytes:
    name = topic.encode()
    return kind + _LENGTH.pack(len(name)) + name


def _beyond(prefix: bytes) -> bytes:
    """The first key after all that begin so. No topic's name ends with the last byte there is."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def _position(topic: str, partition: int) -> bytes:
    return _named(b"p", topic) + _PARTITION.pack(partition)


def _encoded(record: Record) -> bytes:
    body = encode_body(Outgoing(record.topic, record.partition, record.key, record.value, record.headers))
    return (
        _PARTITION.pack(record.partition) + pack_head(record.offset, record.timestamp_ms, body.key_length, body.flags) + body.body
    )


def _decoded(topic: str, raw: bytes) -> Record:
    (partition,) = _PARTITION.unpack_from(raw)
    return decode(topic, partition, raw[_PARTITION.size :])
