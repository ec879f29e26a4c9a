"""A worker's membership in a consumer group, and its transactions.

The group shares the partitions of its changelog topic: who owns changelog partition i owns partition i of every input topic
and the rows of store partition i. So topics stay co-partitioned under cooperative-sticky, and rows move with their inputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from schemas.records import Record
from streams.engine.kafka_clients import KafkaSettings, asked, check_message, has_ended, place, places, raise_mapped, to_record
from streams.engine.kafka_ends import Ends
from streams.engine.kafka_follow import SLICE_S, next_messages
from streams.engine.kafka_restore import Restorer
from streams.engine.kafka_shelf import KafkaShelf
from streams.engine.kafka_store import KafkaRows, Lease
from streams.engine.kafka_topics import KafkaTopics
from streams.engine.kafka_transaction import Transactor, Uncertain
from streams.engine.log import Fenced, Listener, StoreId, TopicPartition, Transaction, Unavailable

_STIR_S = 10.0
"""How seldom a member asks its client whether that still lives."""
_REST_S = 1.0
"""How long nothing has come before a member commits that it has read to the end, and how seldom it does."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a member sits: its group's topics and changelog, and its own name (stable over restarts)."""

    group: str
    topics: Mapping[str, int]
    changelog: str
    name: str


class KafkaMember:
    """Used by one thread at a time; `close` may come from another."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: KafkaTopics,
        seat: Seat,
        shelf: KafkaShelf,
        listener: Listener,
        low_of: Callable[[TopicPartition], int],
        on_close: Callable[[KafkaMember], None],
    ) -> None:
        self.seat = seat
        self._settings = settings
        self._topics = topics
        self._listener = listener
        self._low_of = low_of
        self._on_close = on_close
        self._shelf = shelf
        self._lock = RLock()
        self._is_open = True
        self._must_renew = False
        self._must_rejoin = False
        self._leases: dict[int, Lease] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._owned: set[int] = set()  # told to the listener
        self._assigned: set[int] = set()  # whose inputs are being fetched
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._seeks: dict[TopicPartition, int] = {}
        self._ends = Ends()
        self._busy_s = self._stirred_s = time.monotonic()
        self._restorer = Restorer(settings, seat.changelog)
        self._transactor = Transactor(settings, seat.name)
        self._consumer = self._subscribed()
        # On the member's own connection a question would wait behind its JoinGroup, and that for the other members.
        self._asking = Consumer(settings.of_consumers(seat.group))

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records of owned partitions. Waits up to `timeout_s` for the first one. Raises `Unavailable` once closed."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            with self._lock:
                if not self._is_open:
                    raise Unavailable("the member has left its group")
                try:
                    found = self._step(max_records, min(left_s, SLICE_S))
                    if not found and time.monotonic() - self._busy_s > _REST_S:
                        self._rest()
                except BaseException:
                    self.rewind()  # what was fetched with it is dropped
                    raise
            if found or left_s <= 0:
                return found

    def store(self, store: StoreId) -> KafkaRows:
        """The rows of an owned partition. Raises `Fenced` if it is not owned."""
        with self._lock:
            if store.partition not in self._owned:
                raise self._fenced(f"the rows of {store.flow}/{store.partition}")
            return KafkaRows(self._leases[store.partition].store, store)

    def commit(self, transaction: Transaction) -> None:
        """All of the transaction, durably, or nothing. Raises `Fenced` or `Unavailable`."""
        with self._lock:
            self._topics.check(transaction.outgoing)
            touched = self._require_owned(transaction)
            rest = self._at_rest(transaction.positions)
            if not (transaction.outgoing or transaction.rows or transaction.positions or rest):
                return
            fences = touched or {min(self._owned, default=0)}
            offsets = [place(partition, position) for partition, position in transaction.positions.items()]
            # Every transaction commits an offset, also one without inputs: this is what the group's coordinator checks.
            offsets += [place(self._changelog(i), self._changelog_position(i)) for i in sorted(fences)]
            offsets += [place(partition, position) for partition, position in rest.items()]
            try:
                changed, ends = self._transactor.run(transaction, self.seat.changelog, offsets, self._consumer)
            except Uncertain as error:
                self._must_renew = True
                raise (Fenced if error.is_fenced else Unavailable)(str(error)) from error
            self._busy_s = time.monotonic()
            self._positions.update(transaction.positions)
            self._positions.update(rest)
            try:
                for index, rows in changed.items():
                    self._leases[index].apply(rows, ends[index])
            except Unavailable:
                self._must_renew = True
                raise

    def position(self, partition: TopicPartition) -> int:
        """The committed position of a partition in this group: the log's start if none."""
        with self._lock:
            if not self._is_open:
                raise Unavailable("the member has left its group")
            held = self._positions.get(partition)
            return self._committed([partition])[partition] if held is None else held

    def rewind(self) -> None:
        """Read owned partitions again from their committed positions."""
        with self._lock:
            self._seeks = {p: self._positions[p] for index in self._assigned for p in self._inputs(index)}
            self._ends.forget(self._seeks)

    def close(self) -> None:
        """Leave the group: a waiting `poll` ends, partitions go to the others."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            self._consumer.close()
            self._asking.close()
            self._restorer.close()
            self._transactor.close()
            self._drop(set(self._leases))
        self._on_close(self)

    # --- ownership --------------------------------------------------------------------------------------------------------

    def _subscribed(self) -> Consumer:
        settings = self._settings
        config = {
            **settings.of_consumers(self.seat.group),
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": settings.session_ms,
            "heartbeat.interval.ms": settings.heartbeat_ms,
            "max.poll.interval.ms": max(settings.rebalance_ms, settings.session_ms),  # librdkafka takes no less
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
        }
        if settings.is_static:
            config["group.instance.id"] = self.seat.name
        consumer = Consumer(config)
        consumer.subscribe(
            [self.seat.changelog], on_assign=self._on_assigned, on_revoke=self._on_revoked, on_lost=self._on_revoked
        )
        return consumer

    def _on_assigned(self, consumer: Consumer, given: list[Place]) -> None:
        """Take note, and let `_step` catch the stores up first: inputs are assigned only then."""
        consumer.incremental_assign([])
        self._gained |= {partition.partition for partition in given}

    def _on_revoked(self, consumer: Consumer, taken: list[Place]) -> None:
        """Stop at once: when this returns, another may own them."""
        gone = {partition.partition for partition in taken}
        consumer.incremental_unassign(places(p for index in gone & self._assigned for p in self._inputs(index)))
        self._assigned -= gone
        self._gained -= gone
        self._lost |= gone

    def _step(self, max_records: int, timeout_s: float) -> list[Record]:
        if self._must_rejoin:
            self._rejoin()
        self._stir()
        if self._must_renew or any(lease.store.is_damaged for lease in self._leases.values()):
            self._renew()
        self._seek()
        is_busy = bool(self._gained or self._restorer.is_busy)
        messages = next_messages(self._consumer, max_records, 0.0 if is_busy else timeout_s)
        told = [message for message in messages if message.error() is not None]
        self._require_client(told)
        self._take_changes(timeout_s)
        self._note_fresh()
        for message in told:
            if not check_message(message) and self._is_wanted(message.topic(), message.partition()):
                self._ends.note(message)
        records = map(to_record, [message for message in messages if message.error() is None] if told else messages)
        found = [record for record in records if self._is_wanted(record.topic, record.partition)]
        if found:
            self._ends.hand_out(found)
            self._busy_s = time.monotonic()
        return found

    def _stir(self) -> None:
        """Ask the client now and then for what its own thread answers at once, whatever the brokers do.

        If that thread has locked itself up for good (ADR 0013), polling would find nothing for ever and say nothing. This call
        then never returns, holding the interpreter: the process stands still, and whoever watches it starts it again.
        """
        now_s = time.monotonic()
        if now_s - self._stirred_s > _STIR_S:
            self._stirred_s = now_s
            self._consumer.memberid()

    def _require_client(self, messages: Sequence[Message]) -> None:
        """Raises `Unavailable` if the client has ended. Brokers have a static member's end once another has its name, which
        may have been its own request to join, sent again because the answer was late.
        """
        for message in messages:
            if has_ended(message):
                self._must_rejoin = True
                said = f"{self.seat.name} was taken for another member of group {self.seat.group}, and joins again"
                raise Unavailable(f"{said}: {message.error()}")

    def _rejoin(self) -> None:
        """Another client takes the seat: with nothing, until the group gives it something."""
        self._consumer.close()
        self._lost |= set(self._leases)
        for told in (self._gained, self._assigned, self._seeks):
            told.clear()
        self._consumer = self._subscribed()
        self._must_rejoin = False

    def _is_wanted(self, topic: str | None, index: int | None) -> bool:
        return index in self._owned and not (self._seeks and (topic, index) in self._seeks)

    def _at_rest(self, busy: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Ends of owned partitions that can be committed, but for those that move anyway."""
        ends = self._ends.at_rest(self._positions)
        return {p: end for p, end in ends.items() if p not in busy and p.partition in self._owned - self._lost}

    def _rest(self) -> None:
        """Commit that everything has been read. If it fails, the next one that succeeds does it."""
        self._busy_s = time.monotonic()
        if self._at_rest({}):
            with suppress(Fenced, Unavailable):
                self.commit(Transaction())

    def _take_changes(self, timeout_s: float) -> None:
        if self._lost:
            gone, self._lost = self._lost, set()
            told = self._partitions(gone & self._owned)
            self._drop(gone)
            if told:
                self._listener.revoked(told)
        for index in sorted(self._gained):
            self._prepare(index)
            self._gained.discard(index)
        if self._restorer.is_busy:
            ready = self._restorer.step(timeout_s)
            for index in ready:
                if index in self._assigned:
                    self._seeks |= {p: self._positions[p] for p in self._inputs(index)}
                else:
                    self._assign(index)
                self._assigned.add(index)
                self._owned.add(index)
                self._leases[index].role = "owned"
            self._note_fresh()
            if ready:
                self._listener.assigned(self._partitions(set(ready)))

    def _assign(self, index: int) -> None:
        try:
            self._consumer.incremental_assign([place(p, self._positions[p]) for p in self._inputs(index)])
        except KafkaException as error:  # it has ended just now, which the next poll says
            self._must_renew = True  # what else is caught up would be forgotten
            raise_mapped(error, f"taking on partition {index} in group {self.seat.group}")

    def _prepare(self, index: int) -> None:
        """Open a store and begin to catch it up. The positions first: asking for them waits for a predecessor's transaction."""
        self._positions |= self._committed(self._inputs(index), also=[self._changelog(index)])
        if index not in self._leases:
            self._leases[index] = self._shelf.take(index, "restored")
        self._restorer.begin(index, self._leases[index])

    def _drop(self, indices: set[int]) -> None:
        for index in indices:
            self._owned.discard(index)
            self._restorer.forget(index)
            lease = self._leases.pop(index, None)
            if lease is not None:
                self._shelf.give_back(index, lease)
            self._ends.forget(self._inputs(index))
            for partition in self._inputs(index):
                self._positions.pop(partition, None)
                self._seeks.pop(partition, None)

    def _note_fresh(self) -> None:
        """Its owner has all of a store."""
        now_ms = time.time_ns() // 1_000_000
        for index in self._owned:
            lease = self._leases[index]
            if lease.is_held:
                lease.store.fresh_ms = now_ms

    def _renew(self) -> None:
        """Start over with what is owned, from what the brokers say: a commit's end is not known, or a store is damaged."""
        self._transactor.renew()
        again = set(self._leases) - self._lost  # also what is still being caught up
        self._lost |= again
        self._gained |= again
        self._must_renew = False

    def _seek(self) -> None:
        for partition, position in list(self._seeks.items()):
            try:
                self._consumer.seek(place(partition, position))
            except KafkaException:  # its fetcher has only just been started, or stops: in the next poll
                continue
            del self._seeks[partition]

    # --- what belongs to what -----------------------------------------------------------------------------------------------

    def _inputs(self, index: int) -> list[TopicPartition]:
        return [TopicPartition(topic, index) for topic, count in self.seat.topics.items() if index < count]

    def _partitions(self, indices: set[int]) -> frozenset[TopicPartition]:
        return frozenset(partition for index in indices for partition in self._inputs(index))

    def _changelog(self, index: int) -> TopicPartition:
        return TopicPartition(self.seat.changelog, index)

    def _changelog_position(self, index: int) -> int:
        return self._leases[index].store.position if index in self._leases else 0

    def _committed(self, partitions: Sequence[TopicPartition], also: Sequence[TopicPartition] = ()) -> dict[TopicPartition, int]:
        """Where partitions are committed, once no transaction is pending on them and on `also`."""
        found = asked(
            lambda: _stable(self._asking.committed(places([*partitions, *also]), timeout=self._settings.request_s)),
            f"asking how far group {self.seat.group} is",
            self._settings.request_s,
        )
        offsets = {TopicPartition(one.topic, one.partition): one.offset for one in found}
        return {p: offsets[p] if offsets[p] >= 0 else self._low_of(p) for p in partitions}

    def _require_owned(self, transaction: Transaction) -> set[int]:
        """Which partition numbers a transaction touches. Raises `Fenced` if one is not the member's."""
        if not self._is_open:
            raise self._fenced("its membership")
        valid = self._owned - self._lost
        for partition in transaction.positions:
            if partition.topic not in self.seat.topics or partition.partition not in valid:
                raise self._fenced(f"{partition.topic}/{partition.partition}")
        for store in transaction.rows:
            if store.partition not in valid:
                raise self._fenced(f"the rows of {store.flow}/{store.partition}")
        return {p.partition for p in transaction.positions} | {store.partition for store in transaction.rows}

    def _fenced(self, what: str) -> Fenced:
        return Fenced(f"a member of group {self.seat.group} no longer owns {what}: drop the batch and poll again")


def _stable(found: list[Place]) -> list[Place]:
    """Committed offsets, if all could be told."""
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return found
