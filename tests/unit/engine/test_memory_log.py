"""The in-memory log fails on purpose: each fault does what it says, and the same seed gives the same run."""

from __future__ import annotations

import pytest

from schemas.topics import Topic
from streams.engine.log import Fenced, Outgoing, StoreId, TopicPartition, Transaction, Unavailable
from streams.engine.memory.log import Crash, LogFaults, MemoryLog, MemoryMember

INBOX = Topic("inbox", "key", "tests", 1_000, (), 3)
FIRST = TopicPartition("inbox", 0)
EVERYTHING = LogFaults(
    before_commit=0.05,
    after_commit=0.05,
    before_append=0.05,
    after_append=0.05,
    unavailable=0.1,
    reassign=0.1,
    small_batch=0.5,
    delay=0.4,
    interleave=True,
)


class Silent:
    def assigned(self, partitions: frozenset[TopicPartition]) -> None: ...

    def revoked(self, partitions: frozenset[TopicPartition]) -> None: ...


class Calls:
    """Writes down what a member is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, frozenset[TopicPartition]]] = []

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self.told.append(("assigned", partitions))

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.told.append(("revoked", partitions))


def numbered(count: int) -> list[Outgoing]:
    return [Outgoing("inbox", n % 3, b"k", b"%d" % n) for n in range(count)]


def log_with(faults: LogFaults, seed: int = 0) -> MemoryLog:
    log = MemoryLog(seed, faults)
    log.create([INBOX])
    return log


def run(seed: int, faults: LogFaults, steps: int = 300) -> tuple[list[str], MemoryLog]:
    """Two members fold a topic into a count of each partition, starting over after each crash. Returns what happened."""
    log = log_with(faults, seed)
    members = [log.join("g", ["inbox"], Silent()) for _ in range(2)]
    story = []
    for step in range(steps):
        try:
            if step % 5 == 0:
                log.append(numbered(4))
            story.append(f"{step}: {advance(members[step % 2])}")
        except Crash as crash:
            story.append(f"{step}: crash {crash.point}")
            log = log.reopen()
            members = [log.join("g", ["inbox"], Silent()) for _ in range(2)]
    return story, log


def advance(member: MemoryMember) -> str:
    batch = member.poll(20, 1.0)
    transaction = Transaction()
    for record in batch:
        partition = TopicPartition(record.topic, record.partition)
        transaction.positions[partition] = record.offset + 1
    for (_, index), position in transaction.positions.items():
        store = StoreId("g", index)
        count = int(member.store(store).get(b"count") or b"0") + sum(record.partition == index for record in batch)
        assert count == position
        transaction.rows[store] = [(b"count", b"%d" % count)]
    try:
        member.commit(transaction)
    except (Fenced, Unavailable) as error:
        member.rewind()
        return type(error).__name__
    return " ".join(record.trace_id for record in batch)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    """Everything that happened, and the log it left."""
    story, log = run(seed, EVERYTHING)
    again, log_again = run(seed, EVERYTHING)
    assert story == again
    assert [log.read(FIRST, 0, 1_000)] == [log_again.read(FIRST, 0, 1_000)]


def test_another_seed_gives_another_run() -> None:
    """Otherwise a thousand seeds would be one test."""
    assert len({tuple(run(seed, EVERYTHING)[0]) for seed in range(10)}) == 10


def test_every_fault_happens() -> None:
    """The dice reach all of them within a few seeds."""
    told = " ".join(line for seed in range(10) for line in run(seed, EVERYTHING)[0])
    for expected in (
        "crash before_commit",
        "crash after_commit",
        "crash before_append",
        "crash after_append",
        "Fenced",
        "Unavailable",
    ):
        assert expected in told


@pytest.mark.parametrize("seed", range(20))
def test_faults_lose_and_double_nothing(seed: int) -> None:
    """Once the faults end, rows are the fold of all records."""
    _, log = run(seed, EVERYTHING)
    log.faults = LogFaults()
    log = log.reopen()
    member = log.join("g", ["inbox"], Silent())
    while advance(member):
        pass
    for index in range(3):
        end = log.bounds(TopicPartition("inbox", index))[1]
        assert log.committed("g", TopicPartition("inbox", index)) == end
        assert log.store(StoreId("g", index)).get(b"count") == b"%d" % end


@pytest.mark.parametrize(("faults", "kept"), [(LogFaults(before_append=1.0), 0), (LogFaults(after_append=1.0), 1)])
def test_a_crash_of_an_append(faults: LogFaults, kept: int) -> None:
    """Before it the write is lost, after it it is kept; the caller cannot tell the two apart."""
    log = log_with(faults)
    with pytest.raises(Crash):
        log.append(numbered(1))
    assert log.reopen().bounds(FIRST) == (0, kept)


@pytest.mark.parametrize(("faults", "kept"), [(LogFaults(before_commit=1.0), 0), (LogFaults(after_commit=1.0), 1)])
def test_a_crash_of_a_commit(faults: LogFaults, kept: int) -> None:
    """Records, rows and position are lost or kept together."""
    log = log_with(faults)
    member = log.join("g", ["inbox"], Silent())
    member.poll(1, 0)
    with pytest.raises(Crash):
        member.commit(Transaction(numbered(1), {StoreId("g", 0): [(b"a", b"1")]}, {FIRST: 1}))
    log = log.reopen()
    assert log.bounds(FIRST) == (0, kept)
    assert log.committed("g", FIRST) == kept
    assert (log.store(StoreId("g", 0)).get(b"a") is not None) == bool(kept)


def test_unavailable_takes_no_effect() -> None:
    """The commit can be tried again as it is."""
    log = log_with(LogFaults(unavailable=1.0))
    member = log.join("g", ["inbox"], Silent())
    member.poll(1, 0)
    with pytest.raises(Unavailable):
        member.commit(Transaction(numbered(1), {}, {FIRST: 1}))
    assert log.bounds(FIRST) == (0, 0)
    log.faults = LogFaults()
    member.commit(Transaction(numbered(1), {}, {FIRST: 1}))
    assert log.committed("g", FIRST) == 1


def test_a_partition_lost_and_regained_is_fenced() -> None:
    """Another may have committed in between: the work done before is void, even though the partition is the member's again."""
    log = log_with(LogFaults())
    log.append(numbered(9))
    calls = Calls()
    member = log.join("g", ["inbox"], calls)
    batch = member.poll(9, 0)
    other = log.join("g", ["inbox"], Silent())
    other.poll(9, 0)
    moved = TopicPartition("inbox", 1)
    other.commit(Transaction(positions={moved: 2}))
    other.close()
    with pytest.raises(Fenced, match="inbox/1"):
        member.commit(Transaction(positions={moved: 3}))
    assert len(batch) == 9
    assert [record.offset for record in member.poll(9, 0)] == [2]
    assert calls.told[1:] == [("revoked", frozenset({moved})), ("assigned", frozenset({moved}))]


def test_a_dead_process_can_do_nothing() -> None:
    """After `reopen` the old members and followers are refused."""
    log = log_with(LogFaults())
    member, follower = log.join("g", ["inbox"], Silent()), log.follow({FIRST: 0})
    log.reopen()
    for call in (lambda: member.poll(1, 0), lambda: follower.poll(1, 0), lambda: member.commit(Transaction())):
        with pytest.raises(Unavailable):
            call()


def test_delays_keep_the_order_and_end() -> None:
    """Hidden records come later, never out of order."""
    log = log_with(LogFaults(delay=0.9, interleave=True, small_batch=0.5), seed=3)
    log.append(numbered(60))
    member = log.join("g", ["inbox"], Silent())
    polls = [member.poll(20, 0) for _ in range(400)]
    for index in range(3):
        assert [r.offset for batch in polls for r in batch if r.partition == index] == list(range(20))
    assert [] in polls[:50]


def test_the_clock_gives_the_timestamps() -> None:
    """No other time gets into a run."""
    now = iter(range(100, 200))
    log = MemoryLog(clock_ms=lambda: next(now))
    log.create([INBOX])
    log.append(numbered(3))
    assert [log.read(TopicPartition("inbox", index), 0, 1)[0].timestamp_ms for index in range(3)] == [100, 101, 102]
