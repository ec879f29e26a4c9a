"""What every log owes its users (`streams/engine/log.py`): one suite, each implementation. Its other half is about groups.

Only the protocol is used, and assignment may come in the background: so the helpers poll until it has come.
Offsets of committed records are only ever compared, never counted: a log may use up offsets for its own marks.
"""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from schemas.records import Record
from streams.engine.log import Outgoing, Transaction, Unavailable
from tests.support.log_harness import (
    POLL_S,
    Harness,
    alone,
    at,
    everything,
    fresh,
    numbered,
    take,
    topic,
    until,
    values,
)

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
    until(lambda: follower.poll(1, 0.01) == [] and follower.position(at(t)) == harness.log.bounds(at(t))[1])
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
        assert values(harness.reader.by_key_from(t.name, b"a", 2, 0)) == [b"a0", b"a1"]
        assert values(harness.reader.by_key_from(t.name, b"a", 100, last[1].offset)) == [b"a9", b"a10"]
        assert harness.reader.by_key_from(t.name, b"a", 100, last[2].offset + 1) == []
        assert values(harness.reader.by_key_from(t.name, b"", 100, 0)) == [b"e"]
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
