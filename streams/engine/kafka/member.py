"""A worker's membership in a consumer group, and its transactions.

The group shares the partitions of its changelog topic: who owns changelog partition i owns partition i of every input topic
and the rows of store partition i. So topics stay co-partitioned under cooperative-sticky, and rows move with their inputs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from schemas.records import Record
from streams.engine.embedded.files import CannotOpen
from streams.engine.kafka.clients import KafkaSettings, asked, check_message, has_ended, place, places, raise_mapped, to_record
from streams.engine.kafka.commits import DELETED, MARK_KEY, Mark, anchor_at, new_mark, problem_of, proof_by
from streams.engine.kafka.end_positions import Ends
from streams.engine.kafka.followers import SLICE_S, next_messages
from streams.engine.kafka.ownership import HOLDING, MemberPartition, MemberPartitions, PartitionState
from streams.engine.kafka.process_name import DuplicateProcessWatch
from streams.engine.kafka.restore import Restorer
from streams.engine.kafka.store import KafkaRows
from streams.engine.kafka.stores import KafkaStores
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.kafka.transaction import Changes, Transactor, Uncertain, changes_of, check_rows
from streams.engine.log import Fenced, Listener, StoreId, TopicPartition, Transaction, Unavailable

_log = logging.getLogger(__name__)
_STIR_S = 10.0
"""How seldom a member asks its client whether that still lives."""
_REST_S = 1.0
"""How long nothing has come before a member commits that it has read to the end, and how seldom it does."""


@dataclass(frozen=True, slots=True)
class MemberPlace:
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
        seat: MemberPlace,
        stores: KafkaStores,
        listener: Listener,
        namesakes: DuplicateProcessWatch,
        low_of: Callable[[TopicPartition], int],
        on_close: Callable[[KafkaMember], None],
    ) -> None:
        self.seat = seat
        self._settings = settings
        self._topics = topics
        self._listener = listener
        self._namesakes = namesakes
        self._low_of = low_of
        self._on_close = on_close
        self._shelf = stores
        self._lock = RLock()
        self._is_open = True
        self._has_ended = False  # the client: another has to take its place
        self._partitions = MemberPartitions()
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
                except BaseException as error:
                    self.rewind()  # what was fetched with it is dropped
                    if isinstance(error, CannotOpen):  # nor will time help: others can have its partitions
                        self.close()
                    raise
            if found or left_s <= 0:
                return found

    def store(self, store: StoreId) -> KafkaRows:
        """The rows of an owned partition. Raises `Fenced` if it is not owned."""
        with self._lock:
            return KafkaRows(self._require(store.partition, f"the rows of {store.flow}/{store.partition}").lease.store, store)

    def commit(self, transaction: Transaction) -> None:
        """All of it, durably, or nothing. Raises `Fenced` or `Unavailable`, and `ValueError` for what no record holds."""
        with self._lock:
            self._topics.check(transaction.outgoing)
            touched = self._require_owned(transaction)
            rest = self._at_rest(transaction.positions)
            if not (transaction.outgoing or transaction.rows or transaction.positions or rest):
                return
            changed = changes_of(transaction)
            check_rows(self.seat.changelog, changed)
            marks = {index: new_mark(self._owned_at(index).lease.store.commits + 1, len(changed[index]) + 1) for index in changed}
            for index, mark in marks.items():
                changed[index].append((MARK_KEY, mark.packed()))
            offsets = [place(partition, position) for partition, position in [*transaction.positions.items(), *rest.items()]]
            # Every transaction commits an offset, also one without inputs: this is what the group's coordinator checks.
            offsets += self._fences(touched | {partition.partition for partition in rest}, marks)
            try:
                ends = self._transactor.run(transaction.outgoing, self.seat.changelog, changed, offsets, self._consumer)
            except Uncertain as error:
                raise (Fenced if error.is_fenced else Unavailable)(str(error)) from error
            finally:
                if self._transactor.is_ousted:
                    self._namesakes.ousted()
            self._busy_s = time.monotonic()
            for position in (transaction.positions, rest):
                for partition, offset in position.items():
                    self._owned_at(partition.partition).positions[partition] = offset
            self._apply(changed, ends)

    def position(self, partition: TopicPartition) -> int:
        """The committed position of a partition in this group: the log's start if none."""
        with self._lock:
            if not self._is_open:
                raise Unavailable("the member has left its group")
            there = self._partitions.get(partition.partition)
            known = None if there is None else there.positions.get(partition)
            return self._committed([partition])[partition] if known is None else known

    def rewind(self) -> None:
        """Read owned partitions again from their committed positions."""
        with self._lock:
            for partition in self._partitions.at(PartitionState.OWNED):
                partition.rewind()
                self._ends.forget(partition.inputs)

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
            for partition in self._partitions:
                self._partitions.lose(partition.index)
                self._let_go(partition)
        self._on_close(self)

    # --- ownership --------------------------------------------------------------------------------------------------------

    def _subscribed(self) -> Consumer:
        settings = self._settings
        config = {
            "client.id": self.seat.name,  # by which namesakes are known
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
        for partition in given:
            self._partitions.give(partition.partition, self._inputs(partition.partition))

    def _on_revoked(self, consumer: Consumer, taken: list[Place]) -> None:
        """Stop at once: when this returns, another may own them."""
        gone = [partition for one in taken if (partition := self._partitions.get(one.partition)) is not None]
        consumer.incremental_unassign(
            places(p for partition in gone if partition.stage is PartitionState.OWNED for p in partition.inputs)
        )
        for partition in gone:
            self._partitions.lose(partition.index)

    def _step(self, max_records: int, timeout_s: float) -> list[Record]:
        if self._has_ended:
            self._rejoin()
        self._stir()
        self._renew()
        self._seek()
        is_busy = bool(self._partitions.at(PartitionState.GIVEN, PartitionState.RESTORING, PartitionState.RESTARTING))
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
                self._has_ended = True
                self._namesakes.ousted()
                said = f"{self.seat.name} was taken for another member of group {self.seat.group}, and joins again"
                raise Unavailable(f"{said}: {message.error()}")

    def _rejoin(self) -> None:
        """Another client takes the seat: with nothing, until the group gives it something."""
        self._namesakes.require_alone(self._consumer.memberid())
        self._consumer.close()
        for partition in self._partitions:
            self._partitions.lose(partition.index)
        self._consumer = self._subscribed()
        self._has_ended = False

    def _renew(self) -> None:
        """Start over with what is void, from what the brokers say: a commit's end is not known, or a store is damaged."""
        transactor = self._transactor
        if transactor.is_ousted:
            self._namesakes.require_alone(self._consumer.memberid())
        if transactor.is_ousted or transactor.is_uncertain:
            is_void = transactor.is_uncertain
            transactor.renew()
            self._restart(self._partitions.at(*HOLDING) if is_void else [])
        self._restart([p for p in self._partitions.at(*HOLDING) if p.lease.store.is_damaged])

    def _restart(self, partitions: list[MemberPartition]) -> None:
        for partition in partitions:
            if partition.stage is PartitionState.OWNED:
                with suppress(KafkaException):  # the client has ended just now, which the next poll says
                    self._consumer.incremental_unassign(places(partition.inputs))
            self._partitions.restart(partition)

    def _is_wanted(self, topic: str | None, index: int | None) -> bool:
        partition = self._partitions.get(index)
        return partition is not None and partition.wants(topic)

    def _at_rest(self, busy: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Ends of owned partitions that can be committed, but for those that move anyway."""
        committed = {p: offset for owned in self._partitions.at(PartitionState.OWNED) for p, offset in owned.positions.items()}
        return {p: end for p, end in self._ends.at_rest(committed).items() if p not in busy}

    def _rest(self) -> None:
        """Commit that everything has been read. If it fails, the next one that succeeds does it."""
        self._busy_s = time.monotonic()
        if self._at_rest({}):
            with suppress(Fenced, Unavailable):
                self.commit(Transaction())

    def _take_changes(self, timeout_s: float) -> None:
        void = self._partitions.at(PartitionState.LOST, PartitionState.RESTARTING)
        told = frozenset(p for partition in void if partition.is_assigned for p in partition.inputs)
        for partition in void:
            self._let_go(partition)
        if told:
            self._listener.revoked(told)
        for partition in self._partitions.at(PartitionState.GIVEN):
            self._prepare(partition)
        if self._restorer.is_busy:
            for index in self._restorer.step(timeout_s):
                if (restored := self._partitions.get(index)) is not None:
                    restored.enter(PartitionState.READY)
        for partition in self._partitions.at(PartitionState.READY):
            if self._is_proved(partition):
                self._assign(partition)
        self._note_fresh()
        new = [partition for partition in self._partitions.at(PartitionState.OWNED) if not partition.is_assigned]
        for partition in new:
            partition.is_assigned = True
        if new:
            self._listener.assigned(frozenset(p for partition in new for p in partition.inputs))

    def _let_go(self, partition: MemberPartition) -> None:
        """Nothing of a lost or restarting partition is kept."""
        self._restorer.forget(partition.index)
        if (lease := partition.let_go()) is not None:
            self._shelf.give_back(partition.index, lease)
        self._ends.forget(partition.inputs)
        partition.is_assigned = False
        self._partitions.settle(partition)

    def _prepare(self, partition: MemberPartition) -> None:
        """Open a store and begin to catch it up. The positions first: asking for them waits for a predecessor's transaction."""
        changelog = self._changelog(partition.index)
        found = self._asked_committed([*partition.inputs, changelog])
        is_begun = any(found[p].offset >= 0 for p in partition.inputs)
        # Each transaction with positions commits one in the changelog, too.
        proof = found[changelog].metadata or "" if found[changelog].offset >= 0 else DELETED if is_begun else ""
        positions = {p: found[p].offset if found[p].offset >= 0 else self._low_of(p) for p in partition.inputs}
        lease = self._shelf.take(partition.index, "restored")
        try:
            self._restorer.begin(partition.index, lease)
        except BaseException:
            self._shelf.give_back(partition.index, lease)
            raise
        partition.restore(lease, positions, proof)

    def _is_proved(self, partition: MemberPartition) -> bool:
        """Whether its rows are those that belong to its positions. Others would be silently wrong: it is not worked on."""
        lease = partition.lease
        if lease.problem is None:
            store, seat = lease.store, self.seat
            lease.problem = problem_of(partition.proof, store.proof, store.commits, seat.changelog, partition.index, seat.group)
            if lease.problem is None:
                return True
            lease.hide()
            _log.error("nobody works on partition %s of group %s: %s", partition.index, seat.group, lease.problem)
        return False

    def _assign(self, partition: MemberPartition) -> None:
        try:
            self._consumer.incremental_assign([place(p, offset) for p, offset in partition.positions.items()])
        except KafkaException as error:  # it has ended just now, which the next poll says
            raise_mapped(error, f"taking on partition {partition.index} in group {self.seat.group}")
        partition.enter(PartitionState.OWNED)
        partition.lease.role = "owned"

    def _note_fresh(self) -> None:
        """Its owner has all of a store."""
        now_ms = self._settings.clock_ms()
        for partition in self._partitions.at(PartitionState.OWNED):
            if partition.lease.is_held:
                partition.lease.store.fresh_ms = now_ms

    def _apply(self, changed: Changes, ends: Mapping[int, int]) -> None:
        """Change the stores by what is committed. One that cannot be changed begins again; the others have theirs."""
        failure: Unavailable | None = None
        for index, changes in changed.items():
            partition = self._owned_at(index)
            *rows, (key, mark) = changes
            anchor = anchor_at(ends[index] - 1, key, mark)
            try:
                partition.lease.apply(rows, ends[index], anchor=anchor, commits=partition.lease.store.commits + 1)
            except Unavailable as error:
                self._restart([partition])
                failure = error
        if failure is not None:
            raise failure

    def _seek(self) -> None:
        for owned in self._partitions.at(PartitionState.OWNED):
            for partition, position in list(owned.seeks.items()):
                try:
                    self._consumer.seek(place(partition, position))
                except KafkaException:  # its fetcher has only just been started, or stops: in the next poll
                    continue
                del owned.seeks[partition]

    # --- what belongs to what -----------------------------------------------------------------------------------------------

    def _inputs(self, index: int) -> list[TopicPartition]:
        return [TopicPartition(topic, index) for topic, count in self.seat.topics.items() if index < count]

    def _changelog(self, index: int) -> TopicPartition:
        return TopicPartition(self.seat.changelog, index)

    def _fences(self, touched: set[int], marks: Mapping[int, Mark]) -> list[Place]:
        """Offsets of the changelog, with proofs: of what a transaction touches, or of anything that is owned."""
        owned = [self._owned_at(index) for index in sorted(touched)] or self._partitions.at(PartitionState.OWNED)[:1]
        if not owned:
            return [place(self._changelog(0), 0)]
        found = []
        for index, store in [(partition.index, partition.lease.store) for partition in owned]:
            mark = marks.get(index)
            proof = store.proof if mark is None else proof_by(mark)
            found.append(Place(self.seat.changelog, index, store.position, proof))
        return found

    def _committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions are committed, once no transaction is pending on them."""
        found = self._asked_committed(partitions)
        return {p: found[p].offset if found[p].offset >= 0 else self._low_of(p) for p in partitions}

    def _asked_committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Place]:
        found = asked(
            lambda: _stable(self._asking.committed(places(partitions), timeout=self._settings.request_s)),
            f"asking how far group {self.seat.group} is",
            self._settings.request_s,
        )
        return {TopicPartition(one.topic, one.partition): one for one in found}

    def _require_owned(self, transaction: Transaction) -> set[int]:
        """Which partition numbers a transaction touches. Raises `Fenced` if one is not the member's."""
        if not self._is_open:
            raise self._fenced("its membership")
        for at in transaction.positions:
            if at not in self._require(at.partition, name := f"{at.topic}/{at.partition}").inputs:
                raise self._fenced(name)
        for store in transaction.rows:
            self._require(store.partition, f"the rows of {store.flow}/{store.partition}")
        return {p.partition for p in transaction.positions} | {store.partition for store in transaction.rows}

    def _require(self, index: int, what: str) -> MemberPartition:
        partition = self._partitions.get(index)
        if partition is None or partition.stage is not PartitionState.OWNED:
            raise self._fenced(what)
        return partition

    def _owned_at(self, index: int) -> MemberPartition:
        return self._require(index, f"partition {index}")

    def _fenced(self, what: str) -> Fenced:
        return Fenced(f"a member of group {self.seat.group} no longer owns {what}: drop the batch and poll again")


def _stable(found: list[Place]) -> list[Place]:
    """Committed offsets, if all could be told."""
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return found
