"""What every log owes its users (`streams/engine/log.py`): one suite, each implementation.

Only the protocol is used, and assignment may come in the background: so the helpers poll until it has come.
Offsets of committed records are only ever compared, never counted: a log may use up offsets for its own marks.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from itertools import pairwise

import pytest

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.log import Fenced, Log, Member, Outgoing, StoreId, TopicPartition, Transaction, Unavailable
from tests.contracts.harness import POLL_S, Harness, Owned, everything, fresh, numbered, settle, take, topic, until


def at(t: Topic, partition: int = 0) -> TopicPartition:
    return TopicPartition(t.name, partition)


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def member_of(log: Log, group: str, *topics: Topic) -> tuple[Member, Owned]:
    owned = Owned()
    return log.join(group, [t.name for t in topics], owned), owned


def alone(log: Log, group: str, *topics: Topic) -> Member:
    """The only member of a group, owner of everything, nothing read yet."""
    member, owned = member_of(log, group, *topics)
    settle([(member, owned)], log, topics)
    member.rewind()
    return member


# --- topics -----------------------------------------------------------------------------------------------------------


def test_create_is_idempotent(harness: Harness) -> None:
    """Creating a topic again keeps its records."""
    t = topic("again", 2)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 1, [1]))
    harness.log.create([t])
    assert harness.log.partitions(t.name) == 2
    assert values(everything(harness.log, t.name)) == [b"1"]


def test_create_refuses_another_partition_count(harness: Harness) -> None:
    """Keys would move between partitions."""
    t = topic("count", 2)
    harness.log.create([t])
    with pytest.raises(ValueError, match=r"partitions"):
        harness.log.create([topic("count", 3, name=t.name)])
    assert harness.log.partitions(t.name) == 2


def test_create_refuses_another_cleanup(harness: Harness) -> None:
    """Records that were not compacted as they came have no newest one known."""
    t = topic("cleanup", 1)
    harness.log.create([t])
    with pytest.raises(ValueError, match=r"cleanup"):
        harness.log.create([topic("cleanup", 1, "compact", name=t.name)])


def test_unknown_topic_names_the_known_ones(harness: Harness) -> None:
    """The error helps to find a typing mistake."""
    t = topic("known", 1)
    harness.log.create([t])
    with pytest.raises(KeyError, match=t.name):
        harness.log.partitions("test.no-such-topic")
    with pytest.raises(KeyError, match=r"no-such-topic"):
        harness.log.append([Outgoing("test.no-such-topic", 0, b"k", b"v")])


# --- records ----------------------------------------------------------------------------------------------------------


def test_append_gives_contiguous_offsets_in_each_partition(harness: Harness) -> None:
    """Offsets begin at 0 and are returned in the order of the records."""
    t = topic("offsets", 2)
    harness.log.create([t])
    assert harness.log.bounds(at(t)) == (0, 0)
    assert harness.log.append([]) == []
    mixed = [*numbered(t.name, 0, [0, 1]), *numbered(t.name, 1, [2]), *numbered(t.name, 0, [3])]
    assert harness.log.append(mixed) == [0, 1, 0, 2]
    assert harness.log.append(numbered(t.name, 1, [4, 5])) == [1, 2]
    assert harness.log.bounds(at(t)) == (0, 3)
    assert harness.log.bounds(at(t, 1)) == (0, 3)


def test_append_is_all_or_none(harness: Harness) -> None:
    """One record for a topic that does not exist, and nothing of the call is written."""
    t = topic("all", 1)
    harness.log.create([t])
    with pytest.raises(KeyError):
        harness.log.append([*numbered(t.name, 0, [1]), Outgoing("test.no-such-topic", 0, b"k", b"v")])
    assert harness.log.bounds(at(t)) == (0, 0)


def test_read_starts_at_any_offset(harness: Harness) -> None:
    """And stops at the limit or the end."""
    t = topic("read", 2)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(20)))
    harness.log.append(numbered(t.name, 1, range(100, 103)))
    for start in (0, 1, 7, 19):
        found = harness.log.read(at(t), start, 5)
        assert [record.offset for record in found] == list(range(start, min(start + 5, 20)))
        assert values(found) == [b"%d" % n for n in range(start, min(start + 5, 20))]
    assert harness.log.read(at(t), 20, 5) == []
    assert len(harness.log.read(at(t), 0, 100)) == 20


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k", b"v", ()),
        (None, b"v", ()),
        (b"k", None, ()),
        (None, None, ()),
        (b"", b"", ()),
        (b"k", b"", (("empty", b""), ("twice", b"1"), ("twice", b"2"), ("ü", bytes(range(256))))),
        (None, None, (("reason", b"deleted"),)),
        (b"k" * 300, bytes(1_000_000), (("h", b"x" * 70_000),)),
    ],
    ids=["plain", "no key", "no value", "neither", "empty", "headers", "headers only", "large"],
)
def test_a_record_comes_back_as_it_was(
    harness: Harness, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    """Nothing and empty are different things; headers keep order and repetitions."""
    t = topic("same", 1)
    harness.log.create([t])
    offset = harness.log.append([Outgoing(t.name, 0, key, value, headers, 1_234_567)])[0]
    expected = Record(t.name, 0, offset, 1_234_567, key, value, headers)
    assert harness.log.read(at(t), 0, 10) == [expected]
    assert take(harness.log.follow({at(t): 0}), 1) == [expected]


def test_the_log_gives_a_timestamp(harness: Harness) -> None:
    """A record without one gets the time the log took it."""
    t = topic("time", 1)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, [1]))
    assert harness.log.read(at(t), 0, 1)[0].timestamp_ms > 0


def test_append_from_several_threads(harness: Harness) -> None:
    """Every acknowledged record is at the offset that was returned for it, and no offset is given twice."""
    t = topic("threads", 2)
    harness.log.create([t])
    acknowledged: dict[tuple[int, int], bytes] = {}

    def write(writer: int) -> None:
        for n in range(25):
            pair = [Outgoing(t.name, n % 2, b"k", b"%d/%d/%d" % (writer, n, i)) for i in range(2)]
            for record, offset in zip(pair, harness.log.append(pair), strict=True):
                assert record.value is not None
                acknowledged[record.partition, offset] = record.value

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(acknowledged) == 6 * 25 * 2
    assert {(r.partition, r.offset): r.value for r in everything(harness.log, t.name)} == acknowledged
    for index in range(2):
        assert harness.log.bounds(at(t, index))[1] == sum(partition == index for partition, _ in acknowledged)


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
    assert sorted(values(everything(harness.log, out.name)), key=str) == [b"one", b"two"]
    assert member.store(StoreId(group, 1)).get(b"a") == b"1"
    for _ in range(2):
        harness.reopen()
        member = alone(harness.log, group, inbox)
        assert member.position(at(inbox, 1)) == 3
        assert list(member.store(StoreId(group, 1)).range(b"", None)) == rows
        assert list(member.store(StoreId(group, 0)).range(b"", None)) == []
        assert sorted(values(everything(harness.log, out.name)), key=str) == [b"one", b"two"]
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
    assert len(everything(harness.log, inbox.name)) == 3


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

    def step(member: Member) -> None:
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
    for partition in range(4):
        expected = [b"%d" % n for n in range(40)]
        assert values([r for r in everything(harness.log, out.name) if r.partition == partition]) == expected


def test_groups_have_owners_of_their_own(harness: Harness) -> None:
    """Two groups read the same topic, each all of it."""
    t = topic("two-groups", 2)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(5)))
    for _ in range(2):
        assert len(take(alone(harness.log, fresh("g"), t), 5)) == 5


# --- followers and readers --------------------------------------------------------------------------------------------


def test_a_follower_starts_where_it_is_told_and_tails(harness: Harness) -> None:
    """It sees appended and committed records alike, each partition in order."""
    t, group = topic("tail", 2), fresh("g")
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, range(10)))
    harness.log.append(numbered(t.name, 1, range(3)))
    follower = harness.log.follow({at(t): 6})
    assert [(record.partition, record.offset) for record in take(follower, 4)] == [(0, 6), (0, 7), (0, 8), (0, 9)]
    member = alone(harness.log, group, t)
    member.commit(Transaction(outgoing=numbered(t.name, 0, [10, 11])))
    later = take(follower, 2, at_most=1)
    assert values(later) == [b"10", b"11"]
    assert all(a.offset < b.offset for a, b in pairwise(later))
    follower.close()


def test_the_newest_record_of_a_key(harness: Harness) -> None:
    """A compacted topic answers with the newest record of a key, until it is removed; also after reopening."""
    t, group = topic("compact", 2, "compact"), fresh("g")
    harness.log.create([t])
    harness.log.append([Outgoing(t.name, 0, b"a", b"1"), Outgoing(t.name, 1, b"b", b"1"), Outgoing(t.name, 0, b"a", b"2")])
    member = alone(harness.log, group, t)
    member.commit(Transaction(outgoing=[Outgoing(t.name, 1, b"b", b"2"), Outgoing(t.name, 0, b"c", b"1")]))
    member.commit(Transaction(outgoing=[Outgoing(t.name, 0, b"c", None)]))
    for _ in range(2):
        until(lambda: [r.value for r in harness.reader.scan(t.name, None, 10)] == [b"2", b"2"])
        newest = harness.reader.latest(t.name, b"a")
        assert newest is not None
        assert (newest.key, newest.value, newest.partition) == (b"a", b"2", 0)
        assert harness.reader.latest(t.name, b"c") is None
        assert harness.reader.latest(t.name, b"never") is None
        harness.reopen()


def test_readers_refuse_topics_that_are_not_kept_so(harness: Harness) -> None:
    """Only compacted topics have newest records (of keys: a record needs one), only indexed ones an index."""
    plain, compacted = topic("plain", 1), topic("needs-key", 1, "compact")
    harness.log.create([plain, compacted])
    with pytest.raises(ValueError, match="compacted"):
        harness.log.append([Outgoing(compacted.name, 0, None, b"v")])
    with pytest.raises(ValueError, match="compacted"):
        harness.reader.latest(plain.name, b"k")
    with pytest.raises(ValueError, match="compacted"):
        harness.reader.scan(plain.name, None, 1)
    with pytest.raises(ValueError, match="indexed"):
        harness.reader.by_key(plain.name, b"k", 1)


def test_scan_pages_in_key_order(harness: Harness) -> None:
    """`after` is the last key of the page before; removed keys are left out."""
    t = topic("scan", 3, "compact")
    harness.log.create([t])
    keys = sorted([b"%d" % n for n in range(25)] + [b"\x00", b"\xff\xff"])
    harness.log.append([Outgoing(t.name, n % 3, key, b"v" + key) for n, key in enumerate(keys)])
    harness.log.append([Outgoing(t.name, keys.index(b"7") % 3, b"7", None)])
    until(lambda: harness.reader.latest(t.name, b"7") is None and harness.reader.latest(t.name, keys[-1]) is not None)
    found: list[bytes] = []
    after = None
    while page := harness.reader.scan(t.name, after, 4):
        assert len(page) <= 4
        assert all(record.key is not None and record.value == b"v" + record.key for record in page)
        found += [record.key for record in page if record.key is not None]
        after = found[-1]
    assert found == [key for key in keys if key != b"7"]


def test_a_compacted_topic_keeps_the_newest_record_of_each_key(harness: Harness) -> None:
    """A reader from the start gets at least those, in order."""
    t = topic("kept", 1, "compact")
    harness.log.create([t])
    harness.log.append([Outgoing(t.name, 0, b"k%d" % (n % 3), b"%d" % n) for n in range(30)])
    first, end = harness.log.bounds(at(t))
    assert 0 <= first < end == 30
    found = everything(harness.log, t.name)
    assert values(found)[-3:] == [b"27", b"28", b"29"]
    assert found[0].offset == first
    follower = harness.log.follow({at(t): 0})
    assert values(take(follower, len(found)))[-3:] == [b"27", b"28", b"29"]


def test_by_key_reads_an_index_backwards(harness: Harness) -> None:
    """The last records of one key, oldest first; `before` pages back. Keys that begin alike are not mixed up."""
    t, group = topic("indexed", 2, is_indexed=True), fresh("g")
    harness.log.create([t])
    for n in range(10):
        harness.log.append([Outgoing(t.name, 0, b"a", b"a%d" % n), Outgoing(t.name, 0, b"ab", b"ab%d" % n)])
    alone(harness.log, group, t).commit(Transaction(outgoing=[Outgoing(t.name, 0, b"a", b"a10"), Outgoing(t.name, 1, b"", b"e")]))
    for _ in range(2):
        until(lambda: len(harness.reader.by_key(t.name, b"a", 100)) == 11)
        last = harness.reader.by_key(t.name, b"a", 3)
        assert values(last) == [b"a8", b"a9", b"a10"]
        assert values(harness.reader.by_key(t.name, b"a", 2, before=last[0].offset)) == [b"a6", b"a7"]
        assert values(harness.reader.by_key(t.name, b"ab", 100)) == [b"ab%d" % n for n in range(10)]
        assert values(harness.reader.by_key(t.name, b"", 100)) == [b"e"]
        assert harness.reader.by_key(t.name, b"a", 100, before=0) == []
        assert harness.reader.by_key(t.name, b"b", 100) == []
        harness.reopen()


def test_what_is_closed_reads_no_more(harness: Harness) -> None:
    """A thread that still polls hears it, instead of waiting for records for ever."""
    t = topic("closed", 1)
    harness.log.create([t])
    harness.log.append(numbered(t.name, 0, [1]))
    member, follower = alone(harness.log, fresh("g"), t), harness.log.follow({at(t): 0})
    for reader in (member, follower):
        reader.close()
        with pytest.raises(Unavailable):
            reader.poll(1, POLL_S)
    left = harness.log
    harness.reopen()
    with pytest.raises(Unavailable):
        left.append(numbered(t.name, 0, [2]))
    assert values(everything(harness.log, t.name)) == [b"1"]


# --- opening again ----------------------------------------------------------------------------------------------------


def test_opening_again_keeps_everything(harness: Harness) -> None:
    """Topics, records and offsets go on; nothing is written twice."""
    t = topic("reopen", 2)
    harness.log.create([t])
    for start in (0, 5, 10):
        assert harness.log.append(numbered(t.name, 1, range(start, start + 5))) == list(range(start, start + 5))
        harness.reopen()
        assert harness.log.partitions(t.name) == 2
        assert harness.log.bounds(at(t, 1)) == (0, start + 5)
    assert values(everything(harness.log, t.name)) == [b"%d" % n for n in range(15)]
