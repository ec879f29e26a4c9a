"""A changelog that has lost commits: what its rows were made with is still in the group's positions, so nothing goes on wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.records import Record
from streams.engine.kafka.log import KafkaLog
from streams.engine.log import GroupMembership, StoreId, Transaction, Unavailable
from tests.support.kafka_worker import settings
from tests.support.log_harness import Owned, alone, at, everything, fresh, member_of, numbered, topic, until

pytestmark = pytest.mark.kafka
COMMITS = 3
Open = Callable[[], KafkaLog]


@pytest.fixture
def opened(broker: str, tmp_path: Path) -> Iterator[Open]:
    """A log of a machine that has no rows yet."""
    logs: list[KafkaLog] = []

    def machine() -> KafkaLog:
        logs.append(KafkaLog(settings(broker), tmp_path / f"machine-{len(logs)}"))
        return logs[-1]

    yield machine
    for log in logs:
        log.close()


class Changelog:
    """Of a group with two partitions, each with commits, and a broker's hand on them."""

    def __init__(self, broker: str, log: KafkaLog) -> None:
        self.admin = AdminClient({"bootstrap.servers": broker})
        self._broker = broker
        self.topic, self.group = topic("lost", 2), fresh("g")
        self.name = f"{self.group}.changelog"
        log.create([self.topic])
        log.append([*numbered(self.topic.name, 0, range(COMMITS)), *numbered(self.topic.name, 1, range(COMMITS))])
        member = alone(log, self.group, self.topic)
        for index in range(2):
            for n in range(1, COMMITS + 1):
                member.commit(Transaction(rows={StoreId("f", index): [(b"a", b"%d" % n)]}, positions={at(self.topic, index): n}))
        member.close()
        records = everything(log, self.name, 4 * COMMITS)  # a row and a mark, in two partitions
        self.records = [[record for record in records if record.partition == index] for index in range(2)]
        self.positions = self.committed()

    def committed(self) -> list[Place]:
        """What the group has committed there."""
        asking = Consumer({"bootstrap.servers": self._broker, "group.id": self.group})
        found = asking.committed([Place(self.name, index) for index in range(2)], timeout=10)
        asking.close()
        return found

    def set_positions(self, places: list[Place]) -> None:
        """As `kafka-consumer-groups.sh --reset-offsets` does."""
        (future,) = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group, places)]).values()
        future.result(10)

    def lose_records(self) -> None:
        """All of the first partition. The group's positions are still there."""
        self._clean("compact,delete")
        end = self.records[0][-1].offset + 2  # with its transaction's own mark
        (future,) = self.admin.delete_records([Place(self.name, 0, end)]).values()
        future.result(10)
        self._clean("compact")

    def lose_topic(self) -> None:
        """With it, the brokers forget the group's positions in it."""
        for future in self.admin.delete_topics([self.name]).values():
            future.result(10)
        until(lambda: self.name not in self.admin.list_topics(timeout=10).topics)

    def write(self, records: list[Record]) -> None:
        """Out of a copy."""
        producer = Producer({"bootstrap.servers": self._broker})
        for record in records:
            producer.produce(self.name, record.value, record.key, record.partition)
        assert producer.flush(10) == 0

    def _clean(self, policy: str) -> None:
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.name, incremental_configs=[entry])
        (future,) = self.admin.incremental_alter_configs([resource]).values()
        future.result(10)


def polled(member: GroupMembership, owned: Owned, wanted: set[int]) -> bool:
    with suppress(Unavailable):
        member.poll(10, 0.1)
    return {partition.partition for partition in owned.partitions} >= wanted


def work_on(log: KafkaLog, changelog: Changelog, wanted: set[int]) -> tuple[GroupMembership, Owned]:
    member, owned = member_of(log, changelog.group, changelog.topic)
    until(lambda: polled(member, owned, wanted))
    return member, owned


def problems(log: KafkaLog) -> dict[int, str]:
    return {kept.partition: kept.problem for kept in log.kept() if kept.problem}


@pytest.mark.parametrize("loss", ["records", "the end"])
def test_nobody_works_on_rows_that_miss_commits(opened: Open, broker: str, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    """The other partition goes on; this one does, too, once its records are back."""
    log = opened()
    changelog = Changelog(broker, log)
    if loss == "records":
        changelog.lose_records()
    else:  # brokers that were set up again from a copy
        changelog.lose_topic()
        opened().prepare(changelog.group, [changelog.topic.name])
        changelog.write([*changelog.records[0][:-2], *changelog.records[1]])
        changelog.set_positions(changelog.positions)
    for which in (log, opened()):  # one that had the rows, and one that never had any
        with caplog.at_level(logging.ERROR):
            caplog.clear()
            member, owned = work_on(which, changelog, {1})
            until(lambda: polled(member, owned, {0}) or problems(which))  # noqa: B023 - called here
            assert {partition.partition for partition in owned.partitions} == {1}
        assert f"{changelog.name}/0 has lost commits" in problems(which)[0]
        assert f"are of its commit {COMMITS}" in problems(which)[0]
        assert caplog.text.count("nobody works on partition 0") == 1
        assert member.position(at(changelog.topic, 1)) == COMMITS
        member.close()
    changelog.write(changelog.records[0] if loss == "records" else changelog.records[0][-2:])
    member, _ = work_on(opened(), changelog, {0, 1})
    assert member.store(StoreId("f", 0)).get(b"a") == b"%d" % COMMITS


def test_a_changelog_that_was_deleted_is_not_taken_for_a_new_group(opened: Open, broker: str) -> None:
    """The positions in the inputs are still there, and would be gone on from with no rows. A person can have just that."""
    changelog = Changelog(broker, opened())
    changelog.lose_topic()
    log = opened()
    member, owned = work_on(log, changelog, set())
    until(lambda: polled(member, owned, {0}) or len(problems(log)) == 2)
    assert not owned.partitions
    assert "are of a changelog of that name that was deleted" in problems(log)[0]
    member.close()
    changelog.set_positions([Place(changelog.name, index, 0) for index in range(2)])
    member, _ = work_on(log, changelog, {0, 1})
    assert member.store(StoreId("f", 0)).get(b"a") is None
    assert member.position(at(changelog.topic, 0)) == COMMITS
