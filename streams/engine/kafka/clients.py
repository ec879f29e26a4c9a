"""What all Kafka clients share: how they are set up, how their errors are told, and how a message becomes a record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from schemas.records import Headers, Record
from streams.engine.log import Fenced, Outgoing, TopicPartition, Unavailable

T = TypeVar("T")
MAX_RECORD_BYTES = 8 * 1024 * 1024
_OVERHEAD = 512  # what librdkafka counts for a record beside its bytes, amply

FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
# What brokers say of a partition or group while they hand it over, or have only just made it.
_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._TRANSPORT,
        KafkaError._UNKNOWN_PARTITION,  # what librdkafka remembers of a partition that had no leader for a moment
    }
)
# Errors of a consumer that time does not heal: everything else librdkafka tries again by itself.
_HOPELESS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._FATAL,
    }
)

_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_AWAY = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._MSG_TIMED_OUT})
_REFUSAL_S = 60.0
READERS = "crossdock-reader"
"""The group named by consumers that are in none."""

_LOGGER = logging.getLogger("librdkafka")
_LOGGER.addHandler(logging.NullHandler())  # errors come back from the calls they make fail; who wants more listens to this


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach the brokers, and the times that decide how fast a failure is noticed.

    `clients` goes to every client as it is (security). `request_s`: how long a call waits for the brokers before it is
    `Unavailable`. `rebalance_ms`: how long a member may take from one poll to the next, and so how long the others wait for it
    in a rebalance; also how long one waits for the answer to its JoinGroup, which a broker that freezes or loses the group may
    never give. A transaction that its worker left open hides later records of its partitions for up to `transaction_ms`.
    `replication`: of topics that are made (-1: what the brokers have as their default). `clock_ms`: what records are stamped with
    and how old rows are is told by.
    """

    bootstrap: str
    clients: Mapping[str, str] = field(default_factory=dict)
    session_ms: int = 10_000
    heartbeat_ms: int = 1_000
    rebalance_ms: int = 60_000
    transaction_ms: int = 15_000
    request_s: float = 20.0
    is_static: bool = False
    replication: int = -1
    clock_ms: Callable[[], int] = field(default=_wall_ms, compare=False)

    def of_any(self) -> dict[str, Any]:
        """What every client gets."""
        return {
            "bootstrap.servers": self.bootstrap,
            "reconnect.backoff.max.ms": 2_000,
            "logger": _LOGGER,
            "error_cb": _heard,
            **self.clients,
        }

    def of_consumers(self, group: str) -> dict[str, Any]:
        """What every consumer gets: it sees committed records only, and commits nothing by itself."""
        return {
            **self.of_any(),
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
            "fetch.message.max.bytes": MAX_RECORD_BYTES,
        }

    def reader(self, *, wait_ms: int = 100) -> Consumer:
        """A consumer outside any group that says when it has reached the end of a partition."""
        return Consumer({**self.of_consumers(READERS), "enable.partition.eof": True, "fetch.wait.max.ms": wait_ms})

    def producer(self, **more: Any) -> Producer:
        """An idempotent producer. `more`: further properties, with _ for the dots."""
        # Without a logger: confluent-kafka calls it with a fatal error pending, and the call that the error ends (a fenced
        # producer's, of a zombie) would raise SystemError.
        common = {name: value for name, value in self.of_any().items() if name != "logger"}
        return Producer(
            {
                **common,
                "log_level": 0,
                "enable.idempotence": True,
                "acks": "all",
                # With more, librdkafka takes a batch that failed as written once a later one was: where a producer is new to a
                # partition, the brokers let the later one pass, and the first is lost without a word.
                "max.in.flight.requests.per.connection": 1,
                "message.max.bytes": MAX_RECORD_BYTES + _OVERHEAD,
                "queue.buffering.max.messages": 1_000_000,
                **{name.replace("_", "."): value for name, value in more.items()},
            }
        )


_refusal = (-_REFUSAL_S, "")  # when a broker last did not let a client of this process in, and why


def _heard(error: KafkaError) -> None:
    """Errors of the connection come back from the calls they make fail, but only as "failed": here is why."""
    global _refusal  # noqa: PLW0603 - told by librdkafka, of any client
    if error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL} or "SSL routines" in error.str():
        _refusal = (time.monotonic(), error.str().partition(" (after ")[0])


def said_of(error: KafkaError) -> str:
    """An error in words, with what to do about it where that is known."""
    if error.code() in _DENIED:
        return f"{error.str()} This user may not do that: `crossdock topics --acls` shows what each role has to be allowed."
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return (
            f"{error.str()} A topic takes smaller records than crossdock writes: `crossdock doctor` says which, and what to set."
        )
    when_s, why = _refusal
    if error.code() in _AWAY and time.monotonic() - when_s < _REFUSAL_S:
        return f"the brokers do not let this user in ({why}): look at the user, password and certificates in kafka.clients"
    return error.str()


def raise_mapped(error: KafkaException, what: str) -> NoReturn:
    """`Fenced` or `Unavailable`, which the callers of a log know."""
    reason = error.args[0]
    if reason.code() in FENCED:
        raise Fenced(f"{what}: {reason.str()}; drop the batch and poll again") from error
    raise Unavailable(f"{what}: {said_of(reason)}") from error


def asked(call: Callable[[], T], what: str, patience_s: float, client: Consumer | AdminClient | None = None) -> T:
    """What a question to the brokers gives, asked again while a partition or group has only just found its broker.

    `client`: who asks; it learns anew who leads what before it asks again, which librdkafka does not do by itself for
    questions about offsets. Raises `Fenced` or `Unavailable`.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise_mapped(error, what)
        time.sleep(0.05)
        if client is not None:
            with suppress(KafkaException):
                client.list_topics(timeout=patience_s)


def check_message(message: Message) -> bool:
    """Whether a polled message is a record. Raises `Unavailable` for an error that time does not heal."""
    error = message.error()
    if error is None:
        return True
    if error.fatal() or error.code() in _HOPELESS:
        raise Unavailable(f"reading {message.topic() or 'from Kafka'}: {said_of(error)}")
    return False


def has_ended(message: Message) -> bool:
    """Whether a polled message says that its client will do nothing any more, whatever comes: another one has to be made."""
    error = message.error()
    # What `fatal()` does not say of an error that comes as a message.
    return error is not None and error.code() == KafkaError._FATAL


def is_end(message: Message) -> bool:
    """Whether a polled message says that its partition has been read to its end, which is its offset."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def to_record(message: Message) -> Record:
    """A message as a record."""
    found = cast("list[tuple[str, bytes | str | None]] | None", message.headers())
    headers: Headers = tuple([(name, _bytes(value)) for name, value in found]) if found else ()
    topic, partition, offset, key, value = message.topic(), message.partition(), message.offset(), message.key(), message.value()
    assert topic is not None and partition is not None and offset is not None
    assert not isinstance(key, str) and not isinstance(value, str)  # no deserializer is set
    return Record(topic, partition, offset, message.timestamp()[1], key, value, headers)


def place(partition: TopicPartition, offset: int | None = None) -> Place:
    """A partition as confluent-kafka names it."""
    return Place(partition.topic, partition.partition) if offset is None else Place(partition.topic, partition.partition, offset)


def places(partitions: Iterable[TopicPartition]) -> list[Place]:
    """Partitions as confluent-kafka names them."""
    return [place(partition) for partition in partitions]


def size_of(record: Outgoing) -> int:
    """How many bytes a record takes of what a message may have."""
    return sum(len(part or b"") for part in (record.key, record.value)) + sum(len(k) * 4 + len(v) + 16 for k, v in record.headers)


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
