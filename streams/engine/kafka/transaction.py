"""One transaction a commit: records, changelog and offsets, fenced by the group's generation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Place

from streams.engine.kafka.clients import FENCED, MAX_RECORD_BYTES, KafkaSettings, raise_mapped
from streams.engine.kafka.store import row_prefix
from streams.engine.log import Fenced, Outgoing, Transaction, Unavailable

_IDLE_MS = 10_000
"""librdkafka sends offsets without end, whatever the time-out, to a group coordinator that has gone, until a connection changes
its state (its issues 5456 and 5511). Idle ones do, by being closed.
"""
_OUSTED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
Changes = dict[int, list[tuple[bytes, bytes | None]]]


class Uncertain(Exception):
    """The brokers did not say whether a transaction took effect. Its member starts over from what they hold.

    `is_fenced`: they said no more than that the producer's time is over.
    """

    def __init__(self, why: str, *, is_fenced: bool = False) -> None:
        super().__init__(f"the end of a transaction is not known: {why}")
        self.is_fenced = is_fenced


class Transactor:
    """The transactional producer of one member. Its name is stable, so that its next life ends what this one left open.

    `is_uncertain`: the end of a transaction is not known. `is_ousted`: another producer has its name now, or the brokers have
    ended a transaction that took too long. In either case it serves again once it is renewed.
    """

    def __init__(self, settings: KafkaSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self.is_uncertain = self.is_ousted = False
        self._producer = self._started()

    def run(
        self, outgoing: Sequence[Outgoing], changelog: str, changed: Changes, offsets: list[Place], consumer: Consumer
    ) -> dict[int, int]:
        """Commit. Returns where each changed partition of the changelog goes on after its last record.

        Raises `Fenced` or `Unavailable` if nothing took effect, `Uncertain` if that is not known.
        """
        if self.is_uncertain or self.is_ousted:
            raise Unavailable("the last transaction did not end well: poll again first")
        ends: dict[int, int] = {}
        producer = self._producer
        try:
            producer.begin_transaction()
            self._produce(outgoing, changelog, changed, ends)
            # All of it is in the log before the offsets are pending: a successor that waits for these then sees the rows.
            if producer.flush(self._settings.request_s):
                raise Unavailable("the brokers did not take all records of a transaction in time")
            self._send_offsets(offsets, consumer)
        except KafkaException as error:
            self._abort(error)
            raise_mapped(error, "the transaction was aborted")
        except BaseException:
            self._abort()
            raise
        self.is_uncertain = True
        self._commit()
        if missing := changed.keys() - ends.keys():
            raise Uncertain(f"no offsets were told for the changelog partitions {sorted(missing)}")
        self.is_uncertain = False
        return ends

    def renew(self) -> None:
        """A new producer, which ends whatever this one left open. Raises `Unavailable`."""
        self.is_uncertain = True  # also if this fails: the former producer does nothing any more
        self.close()
        self._producer = self._started()
        self.is_uncertain = self.is_ousted = False

    def close(self) -> None:
        """Let the producer go."""
        # What it left open is aborted by its successor, or by the brokers in time. An ousted one fails otherwise.
        with suppress(KafkaException, SystemError):
            self._producer.close()

    def _started(self) -> Producer:
        producer = self._settings.producer(
            transactional_id=self._name,
            transaction_timeout_ms=self._settings.transaction_ms,
            connections_max_idle_ms=_IDLE_MS,
            linger_ms=1,
            compression_type="lz4",
        )
        try:
            producer.init_transactions(self._settings.request_s)
        except KafkaException as error:
            raise_mapped(error, f"starting transactions as {self._name}")
        return producer

    def _produce(self, outgoing: Sequence[Outgoing], changelog: str, changed: Changes, ends: dict[int, int]) -> None:
        """Hand all of it over, plain records by the short way: this is a good part of what a commit costs."""
        send, stamp_ms = self._producer.produce, self._settings.clock_ms()
        for out in outgoing:
            topic, index, key, value, headers, timestamp_ms = out
            if headers or timestamp_ms is not None:
                produce(self._producer, out, None, stamp_ms)
            else:
                try:
                    send(topic, value, key, index, timestamp=stamp_ms)
                except BufferError:
                    produce(self._producer, out, None, stamp_ms)
        for index, rows in changed.items():
            *others, last = rows
            for row_key, row in others:
                try:
                    send(changelog, row, row_key, index)
                except BufferError:
                    produce(self._producer, Outgoing(changelog, index, row_key, row))
            produce(self._producer, Outgoing(changelog, index, *last), _noting(ends))

    def _send_offsets(self, offsets: list[Place], consumer: Consumer) -> None:
        metadata = consumer.consumer_group_metadata()
        # A client that has lost its membership, but not told us yet, would send no generation, which the coordinator lets pass.
        if not consumer.memberid():
            raise Fenced("the group has gone on without this member: drop the batch and poll again")
        self._producer.send_offsets_to_transaction(offsets, metadata, self._settings.request_s)

    def _commit(self) -> None:
        deadline = time.monotonic() + self._settings.request_s
        while True:
            try:
                self._producer.commit_transaction(self._settings.request_s)
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.txn_requires_abort():
                    self.is_uncertain = False
                    self._abort(error)
                    raise_mapped(error, "the transaction was aborted")
                if not reason.retriable() or time.monotonic() > deadline:
                    self.is_ousted = reason.code() in _OUSTED
                    raise Uncertain(reason.str(), is_fenced=reason.code() in FENCED) from error

    def _abort(self, why: KafkaException | None = None) -> None:
        """Nothing of it takes effect: aborted now, or by the next producer of this name, or by the brokers in time."""
        if why is not None and why.args[0].code() in _OUSTED:
            self.is_ousted = True  # there is nothing to abort any more
            return
        try:
            self._producer.abort_transaction(self._settings.request_s)
        except KafkaException as error:
            if error.args[0].code() in _OUSTED:
                self.is_ousted = True
            elif error.args[0].code() != KafkaError._STATE:  # there was none to abort
                self.renew()


def produce(
    producer: Producer,
    out: Outgoing,
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    stamp_ms: int | None = None,
) -> None:
    """Hand a record to a producer, waiting while its queue is full. `stamp_ms`: its time if it has none of its own."""
    options: dict[str, object] = {}
    timestamp_ms = stamp_ms if out.timestamp_ms is None else out.timestamp_ms
    if timestamp_ms is not None:
        options["timestamp"] = timestamp_ms
    if out.headers:
        options["headers"] = list(out.headers)
    if on_delivery is not None:
        options["on_delivery"] = on_delivery
    while True:
        try:
            producer.produce(out.topic, out.value, out.key, out.partition, **options)  # type: ignore[arg-type]
            return
        except BufferError:
            producer.poll(0.01)


def _noting(ends: dict[int, int]) -> Callable[[KafkaError | None, Message], None]:
    def delivered(error: KafkaError | None, message: Message) -> None:
        index, offset = message.partition(), message.offset()
        if error is None and index is not None and offset is not None:
            ends[index] = offset + 1

    return delivered


def changes_of(transaction: Transaction) -> Changes:
    """The changed rows by partition number, the last change of each."""
    found: dict[int, dict[bytes, bytes | None]] = {}
    for store, rows in transaction.rows.items():
        if rows:
            prefix = row_prefix(store.flow)
            found.setdefault(store.partition, {}).update({prefix + key: value for key, value in rows})
    return {index: list(rows.items()) for index, rows in found.items()}


def check_rows(changelog: str, changed: Changes) -> None:
    """Raises `ValueError` for a row that no record holds: the brokers would refuse it however often it is sent."""
    for index, rows in changed.items():
        for key, row in rows:
            if len(key) + len(row or b"") > MAX_RECORD_BYTES:
                size = len(key) + len(row or b"")
                raise ValueError(f"a row of {size:,} bytes for {changelog}/{index}: a record takes {MAX_RECORD_BYTES:,}")
