"""Rows of any partition, whoever owns it, and how far groups are: what every log owes to views and to who watches it."""

from __future__ import annotations

from streams.engine.log import GroupMembership, Outgoing, ReadableLog, Store, StoreId, TopicPartition, Transaction, Unavailable
from tests.support.log_harness import Harness, alone, at, fresh, member_of, numbered, settle, take, topic, until, values

ROWS: list[tuple[bytes, bytes | None]] = [(b"a", b"1"), (b"b", b"2")]


def readable(log: ReadableLog, which: StoreId) -> Store | None:
    """The rows, or none while they are not caught up."""
    try:
        return log.store(which)
    except Unavailable:
        return None


def rows_of(log: ReadableLog, which: StoreId) -> list[tuple[bytes, bytes]]:
    store = until(lambda: readable(log, which))
    assert store is not None
    return list(store.range(b"", None))


def is_at_end(log: ReadableLog, group: str, member: GroupMembership, partition: TopicPartition) -> bool:
    """After the member was given the time to see to it."""
    assert member.poll(100, 0.1) == []
    position, end = log.progress(group, [partition])[partition]
    return position == end


def test_progress_is_positions_and_ends(harness: Harness) -> None:
    """In one call for all; where nothing was committed, the log's start."""
    log = harness.log
    t, group = topic("progress", 3), fresh("g")
    log.create([t])
    log.append([*numbered(t.name, 0, range(5)), *numbered(t.name, 1, range(2))])
    wanted = [at(t, index) for index in range(3)]
    assert log.progress(group, wanted) == {at(t, 0): (0, 5), at(t, 1): (0, 2), at(t, 2): (0, 0)}
    member = alone(log, group, t)
    take(member, 7)
    member.commit(Transaction(positions={at(t, 0): 3, at(t, 1): 2}))
    until(lambda: log.progress(group, wanted) == {at(t, 0): (3, 5), at(t, 1): (2, 2), at(t, 2): (0, 0)})
    assert log.progress(group, []) == {}
    assert log.committed(group, at(t, 0)) == 3


def test_at_rest_a_group_is_at_the_end(harness: Harness) -> None:
    """Also of partitions that other members' transactions wrote to; but never beyond a record that was not committed."""
    log = harness.log
    t, out, group = topic("rest-in", 1), topic("rest-out", 2), fresh("g")
    log.create([t, out])
    log.append(numbered(t.name, 0, [1]))
    writer, reader = alone(log, fresh("writer"), t), alone(log, group, out)
    take(writer, 1)
    writer.commit(Transaction([Outgoing(out.name, 0, b"k", b"1"), Outgoing(out.name, 1, b"k", b"2")], positions={at(t): 1}))
    found = take(reader, 2)
    reader.commit(Transaction(positions={at(out, 0): next(r.offset for r in found if r.partition == 0) + 1}))
    until(lambda: is_at_end(log, group, reader, at(out, 0)))
    position, end = log.progress(group, [at(out, 1)])[at(out, 1)]
    assert position == 0 < end
    reader.rewind()
    assert values(take(reader, 1)) == [b"2"]
    reader.commit(Transaction(positions={at(out, 1): 1}))
    until(lambda: is_at_end(log, group, reader, at(out, 1)))


def test_rows_of_any_partition_are_shown(harness: Harness) -> None:
    """Of partitions that a member of this process owns, and of those that nobody does any more."""
    log = harness.log
    t, group = topic("shown", 2), fresh("g")
    log.create([t])
    log.keep(group, [group], [t.name])
    assert rows_of(log, StoreId(group, 0)) == []
    member = alone(log, group, t)
    member.commit(Transaction(rows={StoreId(group, 0): ROWS, StoreId(group, 1): ROWS[:1]}))
    assert rows_of(log, StoreId(group, 0)) == ROWS
    store = until(lambda: readable(log, StoreId(group, 1)))
    assert store is not None
    assert (store.get(b"a"), store.get(b"b")) == (b"1", None)
    member.close()
    assert rows_of(log, StoreId(group, 0)) == ROWS
    again, owned = member_of(log, group, t)
    settle([(again, owned)], log, [t])
    again.commit(Transaction(rows={StoreId(group, 0): [(b"a", None)]}))
    assert rows_of(log, StoreId(group, 0)) == ROWS[1:]


def test_rows_are_shown_after_a_restart(harness: Harness) -> None:
    """Without any member."""
    log = harness.log
    t, group = topic("restart", 2), fresh("g")
    log.create([t])
    member = alone(log, group, t)
    member.commit(Transaction(rows={StoreId(group, 1): ROWS}))
    harness.reopen()
    harness.log.keep(group, [group], [t.name])
    assert rows_of(harness.log, StoreId(group, 1)) == ROWS
    assert all(kept.caught_up_ms and not kept.remaining for kept in harness.log.kept() if kept.partition == 1)


def test_a_missing_topic_is_a_finding(harness: Harness) -> None:
    log = harness.log
    there, missing = topic("there", 1), topic("missing", 1)
    log.create([there])
    assert log.findings([there]) == []
    (found,) = log.findings([there, missing])
    assert missing.name in found
    assert "missing" in found.removeprefix(f"topic {missing.name}")
