"""Rows kept on machines that do not own them, on a real broker: handed over both ways, followed, killed, damaged."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import Topic
from streams.engine.kafka.commits import CommitAnchor
from streams.engine.kafka.log import KafkaLog
from streams.engine.kafka.store import KafkaStore, Lease, Row, open_store, row_prefix
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.log import GroupMembership, LocalProgress, ReadableLog, StoreId, Transaction, Unavailable
from tests.support.kafka_worker import settings
from tests.support.log_harness import alone, fresh, member_of, settle, topic, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.kafka
MANY = 200
Open = Callable[[str], KafkaLog]


@pytest.fixture
def machine(broker: str, tmp_path: Path) -> Iterator[Open]:
    """A machine's log, by its name: again after it was closed, as it left its directory."""
    logs: list[KafkaLog] = []

    def opened(name: str) -> KafkaLog:
        logs.append(KafkaLog(settings(broker), tmp_path / name))
        return logs[-1]

    yield opened
    for log in logs:
        log.close()


class Group:
    """A group of one input of one partition, and the rows that it should have."""

    def __init__(self, log: KafkaLog) -> None:
        self.topic: Topic = topic("standby", 1)
        self.name = fresh("standby")
        self.store = StoreId(self.name, 0)
        self.rows: dict[bytes, bytes] = {}
        log.create([self.topic])

    def keep(self, log: KafkaLog) -> None:
        log.keep(self.name, [self.name], [self.topic.name])

    def write(self, member: GroupMembership, count: int, *, each: int = 10) -> None:
        """So many new rows, in commits of a few."""
        numbers = range(len(self.rows), len(self.rows) + count)
        for first in range(0, count, each):
            rows: list[tuple[bytes, bytes | None]] = [(b"%06d" % n, b"%d" % n) for n in numbers[first : first + each]]
            member.commit(Transaction(rows={self.store: rows}))
            self.rows.update({key: value for key, value in rows if value is not None})

    def require_shown(self, log: ReadableLog) -> None:
        """All rows, and no others."""
        until(lambda: self.seen(log) == self.rows)

    def seen(self, log: ReadableLog) -> dict[bytes, bytes] | None:
        try:
            return dict(log.store(self.store).range(b"", None))
        except Unavailable:
            return None

    def kept(self, log: ReadableLog) -> LocalProgress:
        (kept,) = log.kept()
        return kept


def test_a_failover_restores_only_what_is_missing(machine: Open) -> None:
    """The standby has followed: it takes over without reading the changelog again, and goes on following when it has lost it."""
    one, two = machine("one"), machine("two")
    group = Group(one)
    group.keep(two)
    member = alone(one, group.name, group.topic)
    group.write(member, MANY)
    group.require_shown(two)
    assert (group.kept(two).state, group.kept(two).restored) == ("followed", MANY)
    one.close()
    successor = alone(two, group.name, group.topic)
    assert (group.kept(two).state, group.kept(two).restored, group.kept(two).remaining) == ("owned", 0, 0)
    group.write(successor, 30)
    group.require_shown(two)
    successor.close()
    group.require_shown(two)
    back = machine("one")
    member = alone(back, group.name, group.topic)
    assert (group.kept(back).state, group.kept(back).restored) == ("owned", 30)
    group.write(member, 20)
    group.require_shown(two)
    assert (group.kept(two).state, group.kept(two).restored) == ("followed", 20)
    assert not group.kept(two).remaining


def test_partitions_move_to_and_fro_while_they_are_written(machine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines that keep everything share a group, and one comes and goes: each has every row, and reads each but once."""
    read: list[str] = []
    restoring = Lease.restore

    def restore(lease: Lease, rows: list[Row], position: int, **more: Any) -> None:
        read.extend(part for part in lease.store.path.parts if part in {"one", "two"} for _ in rows)
        restoring(lease, rows, position, **more)

    monkeypatch.setattr(Lease, "restore", restore)
    one, two = machine("one"), machine("two")
    group = Group(one)
    group.topic = topic("to-and-fro", 4)
    one.create([group.topic])
    group.keep(one)
    group.keep(two)
    wanted: set[tuple[bytes, bytes]] = set()
    stores = [StoreId(group.name, index) for index in range(4)]

    def seen(log: KafkaLog) -> set[tuple[bytes, bytes]] | None:
        try:
            return {row for store in stores for row in log.store(store).range(b"", None)}
        except Unavailable:
            return None

    first, owned = member_of(one, group.name, group.topic)
    for turn in range(3):
        settle([(first, owned)], one, [group.topic])
        other, others = member_of(two, group.name, group.topic)
        settle([(first, owned), (other, others)], one, [group.topic])
        for member, mine in ((first, owned), (other, others)):
            for index in {partition.partition for partition in mine.partitions}:
                row = b"%d.%d" % (turn, index), b"%d" % len(wanted)
                member.commit(Transaction(rows={stores[index]: [row]}))
                wanted.add(row)
        until(lambda: seen(one) == wanted)
        until(lambda: seen(two) == wanted)
        other.close()
    assert len(wanted) == len(read) == 12  # each row by the one that has not written it


def test_a_serve_only_process_shows_rows_and_their_age(machine: Open) -> None:
    """It is not a member of anything. What it does not keep, or has not got yet, it does not show."""
    writer, reader = machine("writer"), machine("reader")
    group = Group(writer)
    with pytest.raises(Unavailable, match="are not kept by this process"):
        reader.store(group.store)
    group.keep(reader)
    with pytest.raises(KeyError, match="has 1 partitions"):
        reader.store(StoreId(group.name, 1))
    member = alone(writer, group.name, group.topic)
    group.write(member, 20)
    group.require_shown(reader)
    seen_ms = group.kept(reader).caught_up_ms
    assert seen_ms is not None
    until(lambda: (group.kept(reader).caught_up_ms or 0) > seen_ms)  # at rest it stays young
    group.keep(reader)  # again: nothing happens
    group.write(member, 1)
    group.require_shown(reader)
    reader.close()
    with pytest.raises(Unavailable, match="closed"):
        reader.store(group.store)


def test_two_groups_are_kept_apart(machine: Open) -> None:
    """Each from its own changelog, also where their rows have the same keys."""
    writer, reader = machine("writer"), machine("reader")
    one, two = Group(writer), Group(writer)
    for group, count in ((one, 5), (two, 7)):
        group.keep(reader)
        member = alone(writer, group.name, group.topic)
        group.write(member, count)
        member.close()
    one.require_shown(reader)
    two.require_shown(reader)
    assert {(kept.group, kept.restored) for kept in reader.kept()} == {(one.name, 5), (two.name, 7)}


def test_a_killed_follower_goes_on_where_it_was(machine: Open, broker: str, tmp_path: Path) -> None:
    """kill -9 while it follows. Its rows are those of some commit, and it reads on from there."""
    writer = machine("writer")
    group = Group(writer)
    member = alone(writer, group.name, group.topic)
    group.write(member, MANY)
    arguments = [broker, str(tmp_path / "there"), group.name, group.topic.name]
    follower = subprocess.Popen(
        [sys.executable, "-m", "tests.support.kafka_follower", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "caught up\n"
        group.write(member, 50, each=1)
    finally:
        follower.kill()
        follower.communicate()
    group.write(member, 10)
    there = machine("there")
    group.keep(there)
    group.require_shown(there)
    assert group.kept(there).restored <= 60


@pytest.mark.parametrize("damage", ["torn", "ahead", "other history"])
def test_a_damaged_standby_is_made_again(
    machine: Open, broker: str, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On disk, while it was not running; or with rows that the changelog has lost, though it grew past them."""
    one, two = machine("one"), machine("two")
    group = Group(one)
    group.keep(two)
    group.write(alone(one, group.name, group.topic), MANY)
    group.require_shown(two)
    two.close()
    path = tmp_path / "two" / "stores" / group.name / "0"
    if damage == "torn":
        for file in [*path.glob("*.sst"), *path.glob("*.log")]:
            file.write_bytes(b"\0" * file.stat().st_size)
        (path / "CURRENT").write_text("MANIFEST-000000\n")
    else:
        store = open_store(path, KafkaTopics(settings(broker)).identity(f"{group.name}.changelog"))
        more = 1_000 if damage == "ahead" else 0
        store.apply([(row_prefix(group.name) + b"never", b"was")], store.position + more, anchor=other_history(store))
        store.close()
    two = machine("two")
    group.keep(two)
    group.require_shown(two)
    assert group.kept(two).restored == MANY
    assert "is made again from its changelog" in caplog.text
    assert group.kept(two).remade == 1


def other_history(store: KafkaStore) -> CommitAnchor:
    """The last record in a store, as if it had been another one."""
    assert store.anchor is not None
    return CommitAnchor(store.anchor.offset, bytes(16))


def test_a_store_that_fails_while_it_is_followed_is_made_again(machine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are turned away meanwhile; the follower goes on."""
    one, two = machine("one"), machine("two")
    group = Group(one)
    group.keep(two)
    member = alone(one, group.name, group.topic)
    group.write(member, MANY)
    group.require_shown(two)
    failing = threading.Event()
    applying = KafkaStore.apply

    def apply(store: KafkaStore, *arguments: object, **options: object) -> None:
        if "two" in store.path.parts and not failing.is_set():
            failing.set()
            raise store.damaged(OSError("no space left on device"))
        applying(store, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(KafkaStore, "apply", apply)
        group.write(member, 10)
        until(failing.is_set)
        group.require_shown(two)
    assert group.kept(two).restored >= MANY


def test_a_reader_never_sees_half_a_commit(machine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the follower reads the changelog in pieces smaller than a commit, and the store goes from hand to hand."""
    monkeypatch.setattr("streams.engine.kafka.standby.CHUNK", 7)
    monkeypatch.setattr("streams.engine.kafka.restore.CHUNK", 7)
    one, two = machine("one"), machine("two")
    group = Group(one)
    group.keep(two)
    member = alone(one, group.name, group.topic)
    keys = [b"%02d" % n for n in range(25)]
    member.commit(Transaction(rows={group.store: [(key, b"0") for key in keys]}))
    until(lambda: len(group.seen(two) or ()) == len(keys))
    halves: list[dict[bytes, bytes]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = group.seen(two)
            if found is not None and (len(set(found.values())) != 1 or len(found) != len(keys)):
                halves.append(found)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        for turn in range(1, 30):
            member.commit(Transaction(rows={group.store: [(key, b"%d" % turn) for key in keys]}))
        one.close()
        successor, owned = member_of(two, group.name, group.topic)
        settle([(successor, owned)], two, [group.topic])
        for turn in range(30, 40):
            successor.commit(Transaction(rows={group.store: [(key, b"%d" % turn) for key in keys]}))
        until(lambda: (group.seen(two) or {}).get(keys[0]) == b"39")
    finally:
        stop.set()
        reading.join(30)
    assert halves == []
