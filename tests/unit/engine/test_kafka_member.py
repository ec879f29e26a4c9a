"""A Kafka member without Kafka: whatever its brokers, its disk and its group do to it, it goes on once they let it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.records import Record
from streams.engine.kafka import member as kafka_member
from streams.engine.kafka.clients import KafkaSettings
from streams.engine.kafka.commits import MARK_KEY, CommitAnchor, mark_of, proof_by, proof_of
from streams.engine.kafka.member import KafkaMember, MemberPlace
from streams.engine.kafka.ownership import HOLDING, NEXT, IllegalTransition, MemberPartition, MemberPartitions, PartitionState
from streams.engine.kafka.process_name import DuplicateProcessWatch
from streams.engine.kafka.transaction import Changes, Uncertain
from streams.engine.log import Fenced, StoreId, TopicPartition, Transaction, Unavailable
from tests.support.log_harness import Owned

INPUT, CHANGELOG = "in", "g.changelog"
PARTITIONS = range(3)
indices = strategies.sampled_from(list(PARTITIONS))


class Store:
    """Rows, as far as a member looks at them."""

    def __init__(self) -> None:
        self.position = 0
        self.commits = 0
        self.proof = ""
        self.is_damaged = False
        self.fresh_ms: int | None = None


class Lease:
    """The right to change them."""

    is_held = True
    role = "restored"
    problem: str | None = None

    def hide(self) -> None:
        self.store.fresh_ms = None

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.store = world.stores.setdefault(index, Store())
        if self.store.is_damaged:
            self.store = world.stores[index] = Store()
        self.store.proof = world.changelogs.get(index, "")  # as it is once it is caught up
        self.store.commits = int(self.store.proof.partition(" ")[0] or 0)

    def apply(self, rows: object, position: int, *, anchor: CommitAnchor, commits: int) -> None:
        assert anchor.offset == position - 1
        assert commits == self.store.commits + 1
        if self.world.disk_fails:
            self.world.disk_fails = False
            self.store.is_damaged = True
            raise Unavailable("the store cannot be written")
        self.store.position, self.store.commits = position, commits
        self.store.proof = proof_of(commits, anchor)


class World:
    """The brokers and the disk. Flags make the next call fail that they are named for."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.proofs: dict[int, str] = {}
        self.changelogs: dict[int, str] = {}
        self.stores: dict[int, Store] = {}
        self.orders: list[Callable[[Any], None]] = []  # what the group tells the member in its next poll
        self.given: set[int] = set()
        self.taken: set[int] = set()
        self.disk_fails = self.answers_fail = self.client_ends = self.assigning_fails = self.restoring_stands = False
        self.ending = "ok"
        self.opened: set[int] = set()

    # --- the shelf
    def take(self, index: int, role: str) -> Lease:
        assert index not in self.opened, "its store was not given back"
        self.opened.add(index)
        return Lease(self, index)

    def give_back(self, index: int, lease: Lease) -> None:
        self.opened.remove(index)


class Client:
    """Stands in for confluent-kafka's consumer. Records of a partition are its offsets, without end."""

    world: World

    def __init__(self, config: object) -> None:
        self.reading: dict[int, int] = {}
        self.has_ended = False

    def subscribe(self, topics: object, **callbacks: Any) -> None:
        self.callbacks = callbacks

    def memberid(self) -> str:
        return "m"

    def incremental_assign(self, places: list[Place]) -> None:
        if places and self.world.assigning_fails:
            self.world.assigning_fails = False
            raise KafkaException(KafkaError(KafkaError._STATE))
        for one in places:
            assert one.partition not in self.reading, "it is assigned already"
            assert one.offset >= 0
            self.reading[one.partition] = one.offset

    def incremental_unassign(self, places: list[Place]) -> None:
        for one in places:
            del self.reading[one.partition]

    def seek(self, one: Place) -> None:
        self.reading[one.partition] = one.offset

    def committed(self, places: list[Place], timeout: float) -> list[Place]:
        if self.world.answers_fail:
            self.world.answers_fail = False
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [self.committed_at(p.topic, p.partition) for p in places]

    def committed_at(self, topic: str, index: int) -> Place:
        if topic == INPUT:
            return Place(topic, index, self.world.committed.get(index, -1001))
        proof = self.world.proofs.get(index)
        return Place(topic, index, -1001) if proof is None else Place(topic, index, 0, proof)

    def consume(self, count: int, timeout_s: float) -> list[Any]:
        if self.has_ended:
            return []
        if self.world.client_ends:
            self.world.client_ends, self.has_ended = False, True
            self.world.taken |= self.world.given
            return [message(None, None, error=KafkaError(KafkaError._FATAL))]
        orders, self.world.orders = self.world.orders, []
        for order in orders:
            order(self)
        found = []
        for index, offset in sorted(self.reading.items()):
            found.append(message(index, offset))
            self.reading[index] = offset + 1
        return found

    def close(self) -> None:
        """What it owned it lets go."""


def message(index: int | None, offset: int | None, error: KafkaError | None = None) -> Any:
    return SimpleNamespace(
        topic=lambda: INPUT,
        partition=lambda: index,
        offset=lambda: offset,
        error=lambda: error,
        headers=lambda: None,
        key=lambda: b"k",
        value=lambda: b"v",
        timestamp=lambda: (1, 0),
    )


class Restoring:
    """Stands in for the restorer: catches up in one step, unless it stands."""

    world: World

    def __init__(self, *told: object) -> None:
        self.begun: set[int] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self.begun)

    def begin(self, index: int, lease: Lease) -> None:
        assert index not in self.begun
        self.begun.add(index)

    def forget(self, index: int) -> None:
        self.begun.discard(index)

    def step(self, timeout_s: float) -> list[int]:
        if self.world.restoring_stands:
            return []
        done, self.begun = sorted(self.begun), set()
        return done

    def close(self) -> None:
        """Nothing is open."""


class Transacting:
    """Stands in for the transactional producer; `ending` says how the next transaction ends."""

    world: World

    def __init__(self, *told: object) -> None:
        self.is_uncertain = self.is_ousted = False

    def run(self, outgoing: object, changelog: str, changed: Changes, offsets: list[Place], consumer: object) -> dict[int, int]:
        assert not self.is_uncertain
        assert not self.is_ousted
        ending, self.world.ending = self.world.ending, "ok"
        if ending in {"ok", "uncertain, done"}:
            self.world.committed |= {at.partition: at.offset for at in offsets if at.topic == INPUT}
            self.world.proofs |= {at.partition: at.metadata or "" for at in offsets if at.topic == CHANGELOG}
            for index, rows in changed.items():
                ended = mark_of(rows[-1][1])
                assert ended is not None
                self.world.changelogs[index] = proof_by(ended)
        if ending.startswith("uncertain"):
            self.is_uncertain = True
            raise Uncertain("no answer")
        if ending == "ousted":
            self.is_ousted = True
            raise Fenced("another has the name")
        if ending != "ok":
            raise (Fenced if ending == "fenced" else Unavailable)(ending)
        assert any(at.topic == CHANGELOG for at in offsets), "nobody would be fenced"
        for rows in changed.values():
            key, mark = rows[-1]
            found = mark_of(mark)
            assert key == MARK_KEY
            assert found is not None
            assert found.records == len(rows)
        return {index: self.world.stores[index].position + len(rows) for index, rows in changed.items()}

    def renew(self) -> None:
        if self.world.ending == "renewal fails":
            self.world.ending = "ok"
            raise Unavailable("no broker answers")
        self.is_uncertain = self.is_ousted = False

    def close(self) -> None:
        """Nothing is open."""


def member_in(world: World, listener: Owned, patch: pytest.MonkeyPatch) -> KafkaMember:
    for fake, name in ((Client, "Consumer"), (Restoring, "Restorer"), (Transacting, "Transactor")):
        fake.world = world
        patch.setattr(kafka_member, name, fake)
    topics: Any = SimpleNamespace(check=lambda outgoing: None)
    seat = MemberPlace("g", {INPUT: len(PARTITIONS)}, CHANGELOG, "g.name.0")
    told: Any = world
    namesakes = DuplicateProcessWatch(seat.name, seat.group, 1.0, lambda group: [])
    settings = KafkaSettings("nowhere:1", request_s=0.0)
    return KafkaMember(settings, topics, seat, told, listener, namesakes, lambda at: 0, lambda member: None)


class Listening(Owned):
    """What is revoked begins anew at its committed position."""

    def __init__(self, machine: Driven) -> None:
        super().__init__()
        self.machine = machine

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        super().revoked(partitions)
        for at in partitions:
            self.machine.next.pop(at.partition, None)
        self.machine.batch = [r for r in self.machine.batch if TopicPartition(r.topic, r.partition) not in partitions]


class Driven(RuleBasedStateMachine):
    """A worker that does what `Worker` does: whatever fails, it drops its batch, rewinds, and polls again."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.world = World()
        self.listener = Listening(self)
        self.member = member_in(self.world, self.listener, self.patch)
        self.batch: list[Record] = []
        self.next: dict[int, int] = {}
        self.must_rewind = False

    @initialize()
    def begin(self) -> None:
        self.gives(set(PARTITIONS))

    def gives(self, wanted: Iterable[int]) -> None:
        new = set(wanted) - self.world.given
        self.world.given |= new
        self.world.orders.append(lambda client: client.callbacks["on_assign"](client, [Place(CHANGELOG, i) for i in sorted(new)]))

    @rule(index=indices)
    def is_given(self, index: int) -> None:
        if index not in self.world.given:
            self.gives({index})

    @rule(index=indices)
    def is_taken(self, index: int) -> None:
        if index in self.world.given:
            self.world.given.discard(index)
            self.world.orders.append(lambda client: client.callbacks["on_revoke"](client, [Place(CHANGELOG, index)]))
            # Another works on it meanwhile.
            self.world.orders.append(lambda client: self.another_commits(index))

    def another_commits(self, index: int) -> None:
        self.world.committed[index] = self.world.committed.get(index, 0) + 3
        self.world.proofs.setdefault(index, self.world.changelogs.get(index, ""))

    @rule(what=strategies.sampled_from(["disk_fails", "answers_fail", "client_ends", "assigning_fails"]))
    def something_fails(self, what: str) -> None:
        setattr(self.world, what, True)

    @rule(stands=strategies.booleans())
    def restoring_stands(self, stands: bool) -> None:
        self.world.restoring_stands = stands

    @rule(ending=strategies.sampled_from(["uncertain", "uncertain, done", "fenced", "ousted", "unavailable", "renewal fails"]))
    def the_next_commit_ends(self, ending: str) -> None:
        self.world.ending = ending

    @rule(index=indices)
    def a_store_is_damaged(self, index: int) -> None:
        if index in self.world.stores:
            self.world.stores[index].is_damaged = True

    @rule()
    def polls(self) -> None:
        try:
            if self.must_rewind:
                self.member.rewind()
                self.must_rewind = False
            self.batch = self.member.poll(100, 0.0)
        except Unavailable:
            self.drop()
            return
        finally:
            self.after_poll()
        assert {r.partition for r in self.batch} <= {at.partition for at in self.listener.partitions}
        for record in self.batch:
            wanted = self.next.get(record.partition, self.world.committed.get(record.partition, 0))
            assert record.offset == wanted, "a record was left out, or came twice"
            self.next[record.partition] = record.offset + 1

    def after_poll(self) -> None:
        """A client that has ended is out of its group: the next one is given partitions anew."""
        for index in self.world.taken & self.world.given:
            self.world.given.discard(index)
        if self.world.taken:
            self.world.taken = set()
            self.world.orders.clear()
            self.gives(set(PARTITIONS))

    @precondition(lambda self: self.batch)
    @rule(changes=strategies.booleans())
    def commits(self, changes: bool) -> None:
        positions = {TopicPartition(INPUT, r.partition): r.offset + 1 for r in self.batch}
        row: tuple[bytes, bytes | None] = (b"k", b"v")
        rows = {StoreId("f", at.partition): [row] for at in positions} if changes else {}
        self.batch = []
        try:
            self.member.commit(Transaction(positions=positions, rows=rows))
        except (Fenced, Unavailable):
            self.drop()
        else:
            assert all(self.world.committed[at.partition] == offset for at, offset in positions.items())

    def drop(self) -> None:
        self.batch = []
        self.next.clear()
        self.must_rewind = True

    @invariant()
    def positions_are_the_committed_ones(self) -> None:
        """Of what the listener owns, as far as the member is certain."""
        if self.must_rewind or self.world.orders or self.world.answers_fail:
            return
        for at in self.listener.partitions:
            if not self.batch:
                assert self.member.position(at) == self.world.committed.get(at.partition, 0)

    def teardown(self) -> None:
        """Nothing fails any more: it owns what it is given, and goes on with it."""
        world = self.world
        world.disk_fails = world.answers_fail = world.assigning_fails = world.client_ends = world.restoring_stands = False
        world.ending = "ok"
        self.drop()
        for _ in range(6):
            self.polls()
        owned = {at.partition for at in self.listener.partitions}
        assert owned == world.given
        assert {record.partition for record in self.batch} == owned
        if self.batch:
            self.commits(True)
        assert not self.must_rewind
        self.member.close()
        assert not world.opened
        self.patch.undo()


Driven.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestDriven = Driven.TestCase


@pytest.fixture
def driven() -> Iterable[Driven]:
    machine = Driven()
    machine.begin()
    machine.polls()
    machine.polls()
    yield machine
    machine.patch.undo()


@pytest.mark.parametrize("cause", ["uncertain", "damaged"])
def test_a_timeout_while_starting_over_parks_nobody(driven: Driven, cause: str) -> None:
    """The brokers do not say in time how far the group is: they are asked again."""
    assert driven.listener.partitions
    if cause == "uncertain":
        driven.world.ending = "uncertain"
        driven.commits(True)
    else:
        driven.world.stores[1].is_damaged = True
    for _ in range(3):
        driven.world.answers_fail = True
        with pytest.raises(Unavailable):
            driven.member.poll(10, 0.0)
        driven.member.rewind()
    driven.teardown()


def test_only_what_is_damaged_starts_over(driven: Driven) -> None:
    driven.world.stores[1].is_damaged = True
    told: list[frozenset[TopicPartition]] = []
    revoked = driven.listener.revoked

    def telling(partitions: frozenset[TopicPartition]) -> None:
        told.append(partitions)
        revoked(partitions)

    driven.patch.setattr(driven.listener, "revoked", telling)
    driven.polls()
    assert told == [frozenset({TopicPartition(INPUT, 1)})]
    driven.teardown()


@pytest.mark.parametrize("loss", ["the last commit", "all", "the topic"])
def test_a_changelog_that_lost_commits_stops_its_partition_with_a_sentence(
    driven: Driven, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its positions belong to rows that nobody has any more. The others go on, and so does it once the topic is back."""
    world = driven.world
    for _ in range(2):
        driven.polls()
        driven.commits(True)
    whole, proofs = dict(world.changelogs), dict(world.proofs)
    world.changelogs[1] = "1 00" if loss == "the last commit" else ""
    if loss == "the topic":
        del world.proofs[1]  # the brokers forget positions in it, too
    world.stores[1].is_damaged = True
    for _ in range(4):
        driven.polls()
    assert {at.partition for at in driven.listener.partitions} == {0, 2}
    assert {record.partition for record in driven.batch} == {0, 2}
    assert "g.changelog/1 has lost commits" in caplog.text
    assert len(caplog.records) == 1
    world.changelogs, world.proofs = whole, proofs
    world.ending = "uncertain, done"
    driven.commits(False)  # everything starts over
    driven.teardown()


def test_what_a_person_has_set_is_gone_on_with(driven: Driven) -> None:
    """Whoever resets a group's positions leaves no proof: nobody is stopped by what he knows."""
    driven.polls()
    driven.commits(True)
    driven.world.changelogs[1], driven.world.proofs[1] = "", ""
    driven.world.stores[1].is_damaged = True
    driven.teardown()


# --- the stages alone


def partition_at(stage: PartitionState) -> MemberPartition:
    partition = MemberPartition(0, [TopicPartition(INPUT, 0)])
    partition.stage = stage
    return partition


def test_every_stage_has_its_next_ones() -> None:
    """Each is reached, and from each there is a way out but from the last one."""
    assert set(NEXT) == set(PartitionState)
    assert {stage for found in NEXT.values() for stage in found} | {PartitionState.GIVEN} == set(PartitionState)
    assert [stage for stage in PartitionState if not NEXT[stage]] == [PartitionState.GONE]
    assert all(
        PartitionState.LOST in NEXT[stage] for stage in PartitionState if stage not in {PartitionState.LOST, PartitionState.GONE}
    )
    assert all(PartitionState.RESTARTING in NEXT[stage] for stage in HOLDING)


@pytest.mark.parametrize("stage", PartitionState)
@pytest.mark.parametrize("wanted", PartitionState)
def test_no_stage_follows_but_those(stage: PartitionState, wanted: PartitionState) -> None:
    partition = partition_at(stage)
    if wanted in NEXT[stage]:
        partition.enter(wanted)
        assert partition.stage is wanted
    else:
        with pytest.raises(IllegalTransition, match=f"is {stage}, and cannot become {wanted}"):
            partition.enter(wanted)
        assert partition.stage is stage


def test_rows_are_let_go_only_after_they_are_void() -> None:
    for stage in HOLDING:
        with pytest.raises(Exception, match="needs its rows"):
            partition_at(stage).let_go()
    with pytest.raises(Exception, match="has no rows while it is given"):
        _ = partition_at(PartitionState.GIVEN).lease


def test_given_and_lost_and_given_again() -> None:
    partitions = MemberPartitions()
    partitions.lose(0)
    partitions.give(0, [])
    with pytest.raises(IllegalTransition):
        partitions.give(0, [])
    partitions.lose(0)
    partitions.lose(0)
    partitions.give(0, [])
    (found,) = partitions.at(PartitionState.RESTARTING)
    partitions.settle(found)
    assert partitions.at(PartitionState.GIVEN) == [found]
    partitions.restart(found)
    assert found.stage is PartitionState.GIVEN
    partitions.lose(0)
    partitions.settle(found)
    assert list(partitions) == []
