"""What every log owes the members of a group: the other half of the contract suite (`test_log_contract.py`)."""

from __future__ import annotations

from collections import defaultdict

import pytest

from streams.engine.log import Fenced, GroupMembership, Outgoing, StoreId, TopicPartition, Transaction
from tests.support.log_harness import (
    Harness,
    alone,
    at,
    everything,
    fresh,
    member_of,
    numbered,
    settle,
    take,
    topic,
    until,
    values,
)

# --- members ----------------------------------------------------------------------------------------------------------


def test_poll_keeps_the_order_of_each_partition(harness: Harness) -> None:
    """Batches are bounded, each goes on where the last one ended, and every record comes once."""
    t = topic("order", 3)
    harness.log.create([t])
    for start in range(0, 30, 3):
        for partition in range(3):
            harness.log.append(numbered(t.name, partition, range(start, start + 3)))
    member = alone(harness.log, fresh("g"), t)
    by_partition = defaultdict(list)
    for record in take(member, 90, at_most=7):
        by_partition[record.partition].append(record.offset)
    assert by_partition == {partition: list(range(30)) for partition in range(3)}


def test_poll_sees_what_is_written_later(harness: Harness) -> None:
    """A member that has read everything gets what comes next."""
    t = topic("later", 2)
    harness.log.create([t])
    member = alone(harness.log, fresh("g"), t)
    assert member.poll(10, 0.0) == []
    harness.log.append(numbered(t.name, 1, [1]))
    assert values(take(member, 1)) == [b"1"]
    harness.log.append(numbered(t.name, 0, [2]))
    assert values(take(member, 1)) == [b"2"]


def test_rewind_reads_again_from_the_committed_position(harness: Harness) -> None:
    """What was committed does not come again, everything after it does."""
    t = topic("rewind", 1)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(10)))
    member = alone(harness.log, fresh("g"), t)
    take(member, 10)
    member.rewind()
    assert [record.offset for record in take(member, 10)] == list(range(10))
    member.commit(Transaction(positions={at(t): 4}))
    member.rewind()
    assert [record.offset for record in take(member, 6)] == list(range(4, 10))


def test_a_group_starts_at_the_start_of_the_log(harness: Harness) -> None:
    """A position never committed is the first kept offset; groups do not share positions."""
    t = topic("start", 2)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(3)))
    first = alone(harness.log, fresh("g"), t)
    first.commit(Transaction(positions={at(t): 3}))
    assert first.position(at(t)) == 3
    assert first.position(at(t, 1)) == 0
    second = alone(harness.log, fresh("g"), t)
    assert second.position(at(t)) == 0
    assert len(take(second, 3)) == 3


def test_commit_is_seen_whole_by_the_next_owner(harness: Harness) -> None:
    """Records, rows and position of a transaction are there together, also after the log was opened again."""
    inbox, out, group = topic("inbox", 2), topic("out", 2), fresh("g")
    harness.log.create([inbox, out])
    harness.log.append(numbered(inbox.name, 1, range(5)))
    member = alone(harness.log, group, inbox)
    rows: list[tuple[bytes, bytes | None]] = [(b"a", b"1"), (b"b", b"")]
    outgoing = [Outgoing(out.name, 0, b"k", b"one"), Outgoing(out.name, 1, b"k", b"two", (("h", b"x"),))]
    member.commit(Transaction(outgoing, {StoreId(group, 1): rows}, {at(inbox, 1): 3}))
    assert sorted(values(everything(harness.log, out.name, 2)), key=str) == [b"one", b"two"]
    assert member.store(StoreId(group, 1)).get(b"a") == b"1"
    for _ in range(2):
        harness.reopen()
        member = alone(harness.log, group, inbox)
        assert member.position(at(inbox, 1)) == 3
        assert list(member.store(StoreId(group, 1)).range(b"", None)) == rows
        assert list(member.store(StoreId(group, 0)).range(b"", None)) == []
        assert sorted(values(everything(harness.log, out.name, 2)), key=str) == [b"one", b"two"]
        assert values(take(member, 2)) == [b"3", b"4"]


def test_commits_need_not_have_everything(harness: Harness) -> None:
    """Records only, rows only, or nothing at all."""
    inbox, group = topic("parts", 1), fresh("g")
    harness.log.create([inbox])
    member = alone(harness.log, group, inbox)
    member.commit(Transaction())
    member.commit(Transaction(outgoing=numbered(inbox.name, 0, [1])))
    member.commit(Transaction(rows={StoreId(group, 0): [(b"a", b"1")]}))
    assert values(take(member, 1)) == [b"1"]
    assert member.store(StoreId(group, 0)).get(b"a") == b"1"


def test_a_commit_to_an_unknown_topic_changes_nothing(harness: Harness) -> None:
    """Neither the records that would fit nor the rows nor the position."""
    inbox, group = topic("unknown", 1), fresh("g")
    harness.log.create([inbox])
    harness.log.append(numbered(inbox.name, 0, range(3)))
    member = alone(harness.log, group, inbox)
    outgoing = [*numbered(inbox.name, 0, [9]), Outgoing("test.no-such-topic", 0, b"k", b"v")]
    with pytest.raises(KeyError):
        member.commit(Transaction(outgoing, {StoreId(group, 0): [(b"a", b"1")]}, {at(inbox): 2}))
    assert member.position(at(inbox)) == 0
    assert member.store(StoreId(group, 0)).get(b"a") is None
    assert len(everything(harness.log, inbox.name, 3)) == 3


# --- stores -----------------------------------------------------------------------------------------------------------


def test_store_ranges_are_in_byte_order_and_bounded(harness: Harness) -> None:
    """`low` belongs to a range, `high` does not; partitions and flows do not see each other's rows."""
    inbox, group = topic("range", 2), fresh("g")
    harness.log.create([inbox])
    member = alone(harness.log, group, inbox)
    keys = [b"", b"\x00", b"a", b"a\x00", b"aa", b"a\xff", b"b", b"\xff", b"\xff\xff"]
    rows: list[tuple[bytes, bytes | None]] = [(key, b"v" + key) for key in reversed(keys)]
    member.commit(Transaction(rows={StoreId(group, 0): rows, StoreId(group, 1): [(b"a", b"other")]}))
    store = member.store(StoreId(group, 0))
    assert [key for key, _ in store.range(b"", None)] == keys
    assert [key for key, _ in store.range(b"a", b"b")] == [b"a", b"a\x00", b"aa", b"a\xff"]
    for low in keys:
        for high in keys:
            assert list(store.range(low, high)) == [(key, b"v" + key) for key in keys if low <= key < high]
    assert list(member.store(StoreId(group, 1)).range(b"", None)) == [(b"a", b"other")]
    assert store.get(b"nothing") is None


def test_rows_are_replaced_and_removed(harness: Harness) -> None:
    """The last change of a key in a transaction counts; removing what is not there is no error."""
    inbox, group = topic("rows", 1), fresh("g")
    harness.log.create([inbox])
    member, store_id = alone(harness.log, group, inbox), StoreId(group, 0)
    member.commit(Transaction(rows={store_id: [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]}))
    changes: list[tuple[bytes, bytes | None]] = [(b"a", b"2"), (b"b", None), (b"x", None), (b"d", b"1"), (b"d", None)]
    member.commit(Transaction(rows={store_id: changes}))
    store = member.store(store_id)
    assert list(store.range(b"", None)) == [(b"a", b"2"), (b"c", b"1")]
    assert store.get(b"b") is None


def test_a_range_is_as_of_its_call(harness: Harness) -> None:
    """Changes committed while rows are being read are not seen by that reading."""
    inbox, group = topic("as-of", 1), fresh("g")
    harness.log.create([inbox])
    member, store_id = alone(harness.log, group, inbox), StoreId(group, 0)
    before: list[tuple[bytes, bytes | None]] = [(b"%02d" % n, b"old") for n in range(20)]
    member.commit(Transaction(rows={store_id: before}))
    reading = member.store(store_id).range(b"", None)
    first = next(reading)
    member.commit(Transaction(rows={store_id: [(b"05", None), (b"10", b"new"), (b"99", b"new")]}))
    assert [first, *reading] == before


# --- sharing a group --------------------------------------------------------------------------------------------------


def test_each_partition_has_one_owner(harness: Harness) -> None:
    """Members share all partitions; one that leaves gives its own to the others."""
    t, group = topic("shared", 4), fresh("g")
    harness.log.create([t])
    members = [member_of(harness.log, group, t)]
    settle(members, harness.log, [t])
    members.append(member_of(harness.log, group, t))
    settle(members, harness.log, [t])
    assert {len(owned.partitions) for _, owned in members} == {2}
    members.pop(0)[0].close()
    settle(members, harness.log, [t])


def test_partitions_of_the_same_number_go_together(harness: Harness) -> None:
    """Co-partitioned topics of a group: a flow's rows belong to one partition number."""
    one, two, group = topic("one", 4), topic("two", 4), fresh("g")
    harness.log.create([one, two])
    members = [member_of(harness.log, group, one, two) for _ in range(2)]
    settle(members, harness.log, [one, two])
    for _, owned in members:
        assert {p.partition for p in owned.partitions if p.topic == one.name} == {
            p.partition for p in owned.partitions if p.topic == two.name
        }


def test_a_member_that_lost_a_partition_is_fenced(harness: Harness) -> None:
    """Nothing of its commit takes effect, and the new owner starts at the committed position with the committed rows."""
    inbox, out, group = topic("fence", 2), topic("fence-out", 1), fresh("g")
    harness.log.create([inbox, out])
    for partition in range(2):
        harness.log.append(numbered(inbox.name, partition, range(4)))
    old, old_owned = member_of(harness.log, group, inbox)
    settle([(old, old_owned)], harness.log, [inbox])
    for index in range(2):
        old.commit(Transaction(rows={StoreId(group, index): [(b"a", b"old")]}, positions={at(inbox, index): 1}))
    new, new_owned = member_of(harness.log, group, inbox)
    settle([(old, old_owned), (new, new_owned)], harness.log, [inbox])
    (lost,) = new_owned.partitions
    for transaction in (
        Transaction(outgoing=numbered(out.name, 0, [1]), positions={lost: 3}),
        Transaction(rows={StoreId(group, lost.partition): [(b"a", b"fenced")]}),
    ):
        with pytest.raises(Fenced):
            old.commit(transaction)
    assert everything(harness.log, out.name) == []
    assert new.position(lost) == 1
    assert new.store(StoreId(group, lost.partition)).get(b"a") == b"old"
    new.rewind()
    assert [record.offset for record in take(new, 3)] == [1, 2, 3]
    new.commit(Transaction(rows={StoreId(group, lost.partition): [(b"a", b"new")]}, positions={lost: 4}))
    (kept,) = old_owned.partitions
    old.commit(Transaction(positions={kept: 2}))
    assert old.position(kept) == 2


def test_a_member_that_left_is_fenced(harness: Harness) -> None:
    """Work that ends after `close` is dropped."""
    inbox, group = topic("left", 1), fresh("g")
    harness.log.create([inbox])
    member = alone(harness.log, group, inbox)
    member.close()
    with pytest.raises(Fenced):
        member.commit(Transaction(positions={at(inbox): 0}))


def test_no_record_is_lost_or_processed_twice(harness: Harness) -> None:
    """Members come and go while they copy a topic; the copy has each record once, in order."""
    inbox, out, group = topic("copied", 4), topic("copy", 4), fresh("g")
    harness.log.create([inbox, out])
    for partition in range(4):
        harness.log.append(numbered(inbox.name, partition, range(40)))
    members = [member_of(harness.log, group, inbox)]

    def step(member: GroupMembership) -> None:
        batch = member.poll(6, 0.01)
        copied = [Outgoing(out.name, record.partition, record.key, record.value) for record in batch]
        try:
            member.commit(Transaction(copied, {}, {TopicPartition(r.topic, r.partition): r.offset + 1 for r in batch}))
        except Fenced:
            member.rewind()

    def is_copied() -> bool:
        for member, _ in members:
            step(member)
        return all(members[0][0].position(at(inbox, index)) == 40 for index in range(4))

    step(members[0][0])
    members.append(member_of(harness.log, group, inbox))
    for _ in range(4):
        is_copied()
    members.append(member_of(harness.log, group, inbox))
    for _ in range(4):
        is_copied()
    members.pop(0)[0].close()
    until(is_copied)
    copied = everything(harness.log, out.name, 160)
    for partition in range(4):
        assert values([r for r in copied if r.partition == partition]) == [b"%d" % n for n in range(40)]


def test_groups_have_owners_of_their_own(harness: Harness) -> None:
    """Two groups read the same topic, each all of it."""
    t = topic("two-groups", 2)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(5)))
    for _ in range(2):
        assert len(take(alone(harness.log, fresh("g"), t), 5)) == 5
