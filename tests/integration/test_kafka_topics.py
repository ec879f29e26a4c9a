"""What the Kafka log makes on the brokers, and what it does with what it finds there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from schemas.records import Record
from schemas.topics import DAY_MS, Topic
from streams.engine.embedded.files import CannotOpen
from streams.engine.kafka import member as kafka_member
from streams.engine.kafka.clients import MAX_RECORD_BYTES, KafkaSettings
from streams.engine.kafka.log import KafkaLog
from streams.engine.kafka.store import KafkaStore
from streams.engine.log import Fenced, GroupMembership, Outgoing, StoreId, Transaction, Unavailable
from tests.support.kafka_worker import settings
from tests.support.log_harness import alone, at, everything, fresh, member_of, numbered, settle, take, topic, until, values

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(broker: str, tmp_path: Path) -> Iterator[KafkaLog]:
    made = KafkaLog(settings(broker), tmp_path / "log")
    yield made
    made.close()


def config_of(broker: str, name: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": broker})
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
    return {entry.name: entry.value for entry in future.result(10).values()}


def deleting(days: int, name: str | None = None) -> Topic:
    return replace(topic("delete", 1, "delete", name=name), retention_ms=days * DAY_MS)


def test_topics_are_kept_as_declared(log: KafkaLog, broker: str) -> None:
    """Retention is taken over when the declaration changes; partitions and cleanup never change."""
    kept, compacted, deleted = topic("keep", 1), topic("compact", 2, "compact"), deleting(7)
    log.create([kept, compacted, deleted])
    assert config_of(broker, kept.name)["retention.ms"] == "-1"
    assert config_of(broker, compacted.name)["cleanup.policy"] == "compact"
    assert config_of(broker, deleted.name)["retention.ms"] == str(7 * DAY_MS)
    log.create([kept, compacted, deleting(3, deleted.name)])
    until(lambda: config_of(broker, deleted.name)["retention.ms"] == str(3 * DAY_MS))
    with pytest.raises(ValueError, match="cleanup=delete, not keep"):
        log.create([topic("delete", 1, name=deleted.name)])


def test_the_changelog_is_compacted_and_grows_with_the_inputs(log: KafkaLog, broker: str) -> None:
    """A wider input is added to a group: rows and positions stay, the new partitions get an owner."""
    narrow, wide, group = topic("narrow", 1), topic("wide", 3), fresh("g")
    log.create([narrow, wide])
    member = alone(log, group, narrow)
    member.commit(Transaction(rows={StoreId(group, 0): [(b"a", b"1")]}, positions={at(narrow): 0}))
    member.close()
    assert config_of(broker, f"{group}.changelog")["cleanup.policy"] == "compact"
    assert log.partitions(f"{group}.changelog") == 1
    member, owned = member_of(log, group, narrow, wide)
    settle([(member, owned)], log, [narrow, wide])
    assert log.partitions(f"{group}.changelog") == 3
    assert member.store(StoreId(group, 0)).get(b"a") == b"1"


def test_a_record_that_is_too_large_stops_the_whole_call(log: KafkaLog) -> None:
    """Before anything of it is written."""
    t = topic("large", 1)
    log.create([t])
    with pytest.raises(ValueError, match="at most"):
        log.append([*numbered(t.name, 0, [1]), Outgoing(t.name, 0, b"k", bytes(MAX_RECORD_BYTES + 1))])
    assert log.bounds(at(t)) == (0, 0)


def test_a_row_that_is_too_large_is_refused_at_once(log: KafkaLog) -> None:
    """The brokers would not take it however often it was sent. Nothing of the transaction takes effect; the next one does."""
    t, group = topic("large-row", 1), fresh("g")
    log.create([t])
    member = alone(log, group, t)
    store = StoreId(group, 0)
    large = Transaction(numbered(t.name, 0, [1]), {store: [(b"a", bytes(MAX_RECORD_BYTES))]}, {at(t): 0})
    with pytest.raises(ValueError, match=r"a row of 8,388,6\d\d bytes for .*changelog/0: a record takes 8,388,608"):
        member.commit(large)
    assert log.bounds(at(t)) == (0, 0)
    most = bytes(MAX_RECORD_BYTES - 64)
    member.commit(Transaction(rows={store: [(b"a", most)]}))
    assert member.store(store).get(b"a") == most


def test_a_topic_that_takes_less_is_named_until_it_takes_more(log: KafkaLog, broker: str) -> None:
    """Somebody has lowered its max.message.bytes: writing waits, says why, and goes on once that is put right."""
    t, group = topic("small", 1), fresh("g")
    log.create([t])
    member = alone(log, group, t)
    admin = AdminClient({"bootstrap.servers": broker})

    def takes(most: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
        (future,) = admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, t.name, incremental_configs=[entry])]
        ).values()
        future.result(10)
        until(lambda: config_of(broker, t.name)["max.message.bytes"] == str(most))

    takes(1_000)
    transaction = Transaction([Outgoing(t.name, 0, b"k", os.urandom(5_000))], {StoreId(group, 0): [(b"a", b"1")]})
    for attempt in (lambda: member.commit(transaction), lambda: log.append(transaction.outgoing)):
        with pytest.raises(Unavailable, match="`crossdock doctor` says which, and what to set"):
            attempt()
    takes(9_000_000)

    def goes_on() -> bool:
        try:
            member.rewind()
            member.poll(1, 0.1)
            member.commit(transaction)
            log.append(transaction.outgoing)
        except Unavailable:  # once: the refused record has left a gap in the producer's sequence
            return False
        return True

    until(goes_on)
    assert member.store(StoreId(group, 0)).get(b"a") == b"1"


def test_many_records_in_one_transaction_and_one_append(log: KafkaLog) -> None:
    """More than one request holds."""
    t, group = topic("many", 1), fresh("g")
    log.create([t])
    assert log.append(numbered(t.name, 0, range(20_000))) == list(range(20_000))
    member = alone(log, group, t)
    rows: list[tuple[bytes, bytes | None]] = [(b"%05d" % n, b"v") for n in range(20_000)]
    member.commit(Transaction(numbered(t.name, 0, range(20_000, 40_000)), {StoreId(group, 0): rows}, {at(t): 20_000}))
    found: list[Record] = []
    while page := log.read(at(t), found[-1].offset + 1 if found else 0, 50_000):
        found += page
    assert values(found) == [b"%d" % n for n in range(40_000)]
    assert list(member.store(StoreId(group, 0)).range(b"", None)) == rows


def test_a_store_that_cannot_be_written_is_caught_up(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction took effect, but its rows are not on disk: the member starts over from what the brokers have."""
    t, group = topic("unwritten", 1), fresh("g")
    log.create([t])
    log.append(numbered(t.name, 0, range(4)))
    member, owned = member_of(log, group, t)
    settle([(member, owned)], log, [t])
    with monkeypatch.context() as patch:
        patch.setattr("streams.engine.kafka.store.KafkaStore.apply", no_room)
        with pytest.raises(Unavailable, match="no room"):
            member.commit(Transaction(rows={StoreId(group, 0): [(b"a", b"1")]}, positions={at(t): 3}))
    member.rewind()
    assert values(take(member, 1)) == [b"3"]
    assert member.position(at(t)) == 3
    assert member.store(StoreId(group, 0)).get(b"a") == b"1"


def test_a_store_that_fails_while_it_is_restored_is_made_again(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    t, group = topic("unrestored", 1), fresh("g")
    log.create([t])
    member = alone(log, group, t)
    member.commit(Transaction(rows={StoreId(group, 0): [(b"a", b"1")]}))
    member.close()
    applying = KafkaStore.apply
    failed: list[Unavailable] = []

    def apply(store: KafkaStore, *arguments: object, **options: object) -> None:
        if not failed:
            failed.append(store.damaged(OSError("no space left on device")))
            raise failed[0]
        applying(store, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(KafkaStore, "apply", apply)
    stores = log._shelf(group, {t.name: 1})
    stores.take(0, "followed").store.wipe()
    member, owned = member_of(log, group, t)
    until(lambda: owned.partitions or polled(member))
    assert failed
    assert member.store(StoreId(group, 0)).get(b"a") == b"1"


def polled(member: GroupMembership) -> bool:
    """Like a worker: it comes back after a failure."""
    with suppress(Unavailable):
        member.poll(10, 0.1)
    return False


def no_room(*args: object, **more: object) -> None:
    raise Unavailable("no room")


def test_a_directory_belongs_to_one_process(log: KafkaLog, broker: str, tmp_path: Path) -> None:
    """Its name in the cluster would be taken twice, and each would end the other's transactions."""
    t = topic("one-process", 1)
    log.create([t])
    with pytest.raises(CannotOpen, match="in use"):
        KafkaLog(settings(broker), tmp_path / "log")
    log.append(numbered(t.name, 0, [1]))
    assert values(everything(log, t.name)) == [b"1"]


def test_a_static_member_comes_back_to_what_it_had(broker: str, tmp_path: Path) -> None:
    """A restart within the session moves nothing: the others do not take its partitions meanwhile."""
    t, group = topic("static", 4), fresh("g")
    static = replace(settings(broker), session_ms=20_000, is_static=True)
    log, other_log = KafkaLog(static, tmp_path / "one"), KafkaLog(static, tmp_path / "two")
    log.create([t])
    member, owned = member_of(log, group, t)
    settle([(member, owned)], log, [t])
    other, others = member_of(other_log, group, t)
    settle([(member, owned), (other, others)], log, [t])
    had, held = owned.partitions, others.partitions
    log.close()
    log = KafkaLog(static, tmp_path / "one")
    member, owned = member_of(log, group, t)
    settle([(member, owned), (other, others)], log, [t])
    assert (owned.partitions, others.partitions) == (had, held)
    member.commit(Transaction(positions={min(had): 0}))
    log.close()
    other_log.close()


def test_a_static_member_that_is_taken_for_another_joins_again(broker: str, tmp_path: Path) -> None:
    """A broker that answers late has it ask twice, and then takes its first self for a stranger: its client ends for good."""
    t, group = topic("taken", 2), fresh("g")
    static = replace(settings(broker), is_static=True)
    log = KafkaLog(static, tmp_path / "one")
    log.create([t])
    log.append([Outgoing(t.name, 0, b"k", b"first")])
    member, owned = member_of(log, group, t)
    seen: list[bytes | None] = []
    until(lambda: is_well(member, seen) and seen)
    (name,) = names_in(broker, group)
    other = Consumer({"bootstrap.servers": broker, "group.id": group, "group.instance.id": name} | COOPERATIVE)
    other.subscribe([f"{group}.changelog"])
    until(lambda: other.poll(0.1) is None and not is_well(member, seen))
    other.close()
    until(lambda: is_well(member, seen) and owned.partitions == {at(t, 0), at(t, 1)})
    log.append([Outgoing(t.name, 0, b"k", b"second")])
    until(lambda: is_well(member, seen) and b"second" in seen)
    assert seen == [b"first", b"first", b"second"], "what was not committed comes again"
    member.commit(Transaction(positions={at(t, 0): 2}))
    log.close()


class EndsAtOnce:
    """A client that ends while the first partition is handed to it, as one may that was taken for another."""

    def __init__(self, client: Consumer) -> None:
        self.client, self.refused = client, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def incremental_assign(self, places: list[Place]) -> None:
        if places and not self.refused:
            self.refused += 1
            raise KafkaException(KafkaError(KafkaError._FATAL, "ended"))
        self.client.incremental_assign(places)


def test_a_client_that_ends_while_it_is_given_partitions_loses_none(
    log: KafkaLog, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    t, group = topic("ends", 3), fresh("g")
    log.create([t])
    log.append([Outgoing(t.name, index, b"k", b"%d" % index) for index in range(3)])
    clients: list[EndsAtOnce] = []

    def first_ends(config: dict[str, Any]) -> Any:
        client = Consumer(config)
        if config.get("partition.assignment.strategy") is None or clients:
            return client
        clients.append(EndsAtOnce(client))
        return clients[0]

    monkeypatch.setattr(kafka_member, "Consumer", first_ends)
    member, owned = member_of(log, group, t)
    seen: list[bytes | None] = []
    until(lambda: is_well(member, seen) and len(seen) == 3)
    assert (clients[0].refused, sorted(seen, key=str)) == (1, [b"0", b"1", b"2"])
    assert owned.partitions == {at(t, 0), at(t, 1), at(t, 2)}


class Asked:
    """A client that counts how often its own thread is asked for something."""

    def __init__(self, client: Consumer) -> None:
        self.client, self.count = client, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def memberid(self) -> str | None:
        self.count += 1
        return self.client.memberid()


def test_a_member_asks_its_client_whether_it_lives_also_when_nothing_comes(
    log: KafkaLog, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has locked itself up polls with nothing, for ever; asked, it never answers, and that can be seen."""
    monkeypatch.setattr(kafka_member, "_STIR_S", 0.0)
    clients: list[Asked] = []

    def counted(config: dict[str, Any]) -> Any:
        clients.append(Asked(Consumer(config)))
        return clients[-1]

    monkeypatch.setattr(kafka_member, "Consumer", counted)
    t = topic("asked", 1)
    log.create([t])
    member, _ = member_of(log, fresh("g"), t)
    for _ in range(3):
        assert member.poll(10, 0.1) == []
    assert clients[0].count >= 3


COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6_000}


def names_in(broker: str, group: str) -> set[str | None]:
    admin = AdminClient({"bootstrap.servers": broker})
    found = admin.describe_consumer_groups([group])[group].result(20)
    return {member.group_instance_id for member in found.members}


def is_well(member: GroupMembership, seen: list[bytes | None]) -> bool:
    try:
        seen += values(member.poll(10, 0.1))
    except Unavailable:
        return False
    return True


def test_a_member_that_is_away_for_too_long_is_not_waited_for(broker: str, tmp_path: Path) -> None:
    """Its session lives: its client's own threads keep it. What ends its membership is `rebalance_ms`."""
    t, group = topic("away", 2), fresh("g")
    impatient = replace(settings(broker), rebalance_ms=4_000)
    log, other_log = KafkaLog(impatient, tmp_path / "one"), KafkaLog(impatient, tmp_path / "two")
    log.create([t])
    member, owned = member_of(log, group, t)
    settle([(member, owned)], log, [t])
    other, others = member_of(other_log, group, t)
    until(lambda: other.poll(1, 0.1) == [] and others.partitions == {at(t, 0), at(t, 1)})
    with pytest.raises(Fenced):
        member.commit(Transaction(positions={at(t, 0): 0}))
    log.close()
    other_log.close()


def test_findings_say_what_is_wrong_on_the_brokers(log: KafkaLog, broker: str) -> None:
    """And what to do; nothing of what is as declared."""
    fine, kept, compacted, deleted = topic("fine", 2), topic("keep", 2), topic("compact", 1, "compact"), deleting(7)
    log.create([fine])
    small = {"max.message.bytes": "1000"}
    wrong = [
        NewTopic(kept.name, 3, 1, config={"retention.ms": "1000"}),
        NewTopic(compacted.name, 1, 1, config={"cleanup.policy": "delete", **small}),
        NewTopic(deleted.name, 1, 1, config={"retention.ms": str(DAY_MS), "min.insync.replicas": "2"}),
    ]
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.create_topics(wrong).values():
        future.result(10)
    until(lambda: len(log.findings([fine, kept, compacted, deleted])) >= 7)
    found = log.findings([fine, kept, compacted, deleted])
    assert not [finding for finding in found if fine.name in finding]
    for name, *words in [
        (kept.name, "3 partitions, not 2", "retention.ms=-1"),
        (compacted.name, "cleanup.policy=delete, it has to be compact", "max.message.bytes="),
        (deleted.name, "set retention.ms", "min.insync.replicas=2 but 1 replicas"),
    ]:
        said = " ".join(finding for finding in found if name in finding)
        assert not [word for word in words if word not in said], said


def test_no_broker_is_unavailable(tmp_path: Path) -> None:
    """Within the time that was given, with the address named."""
    log = KafkaLog(KafkaSettings("127.0.0.1:1", request_s=0.5), tmp_path)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        log.create([topic("nowhere", 1)])
    log.close()


def test_two_processes_that_have_one_name_do_not_fight_for_ever(log: KafkaLog, broker: str, tmp_path: Path) -> None:
    """A disk was copied, whole: one of the two stops with a sentence, the other goes on."""
    group, t = fresh("g"), topic("namesakes", 2)
    log.create([t])
    copy = tmp_path / "copy"
    copy.mkdir()
    name = (tmp_path / "log" / "name").read_text().split()[0]
    (copy / "name").write_text(f"{name} ")
    (copy / "name").write_text(f"{name} {(copy / 'name').stat().st_ino}")
    double = KafkaLog(settings(broker), copy)
    members = {which: member_of(which, group, t)[0] for which in (log, double)}
    stopped: dict[KafkaLog, CannotOpen] = {}
    commits = dict.fromkeys(members, 0)

    def goes_on() -> bool:
        for which, member in members.items():
            if which in stopped:
                continue
            try:
                member.poll(10, 0.1)
                member.commit(Transaction(outgoing=numbered(t.name, 0, [commits[which]])))
                commits[which] = commits[which] + 1 if stopped else 0
            except CannotOpen as error:
                stopped[which] = error
            except (Fenced, Unavailable):
                member.rewind()
        return bool(stopped) and max(commits.values()) >= 5

    until(goes_on)
    (error,) = stopped.values()
    assert f"has the name {group}.{name}.0, too" in str(error)
    assert "delete the file `name`" in str(error)
    double.close()


def test_a_copied_directory_is_another_process(log: KafkaLog, broker: str, tmp_path: Path) -> None:
    """It has a name of its own, and the rows that were in it: both work."""
    group, t = fresh("g"), topic("copied", 2)
    log.create([t])
    member = alone(log, group, t)
    for index in range(2):
        member.commit(Transaction(rows={StoreId(group, index): [(b"a", b"1")]}, positions={at(t, index): 0}))
    member.close()
    shutil.copytree(tmp_path / "log" / "stores", tmp_path / "copy" / "stores")
    shutil.copy(tmp_path / "log" / "name", tmp_path / "copy" / "name")
    copy = KafkaLog(settings(broker), tmp_path / "copy")
    members = [member_of(which, group, t) for which in (log, copy)]
    settle(members, log, [t])
    for member, owned in members:
        (mine,) = owned.partitions
        for n in range(3):
            member.commit(Transaction(rows={StoreId(group, mine.partition): [(b"b", b"%d" % n)]}))
        assert dict(member.store(StoreId(group, mine.partition)).range(b"", None)) == {b"a": b"1", b"b": b"2"}
    assert [kept.restored for kept in copy.kept() if kept.state == "owned"] == [0]
    copy.close()
