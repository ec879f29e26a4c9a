"""What the embedded log owes beyond the contract: group commit, waking, retention, and errors a user understands."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from schemas.records import Record
from schemas.topics import Cleanup, Topic
from streams.engine.embedded.files import FORMAT_KEY, Files
from streams.engine.embedded.log import CannotOpen, EmbeddedLog
from streams.engine.log import Fenced, GroupMembership, Outgoing, StoreId, TopicPartition, Transaction, Unavailable
from streams.engine.scans import scan_keys, scan_values

ROOT = Path(__file__).parents[2]
FIRST = TopicPartition("t", 0)


class Silent:
    def assigned(self, partitions: frozenset[TopicPartition]) -> None: ...

    def revoked(self, partitions: frozenset[TopicPartition]) -> None: ...


def topic(cleanup: Cleanup = "keep", *, partitions: int = 1, retention_ms: int | None = None, is_indexed: bool = False) -> Topic:
    return Topic("t", "key", "tests", 1_000, (), partitions, cleanup, retention_ms, is_indexed=is_indexed)


def record(value: bytes = b"v", *, key: bytes = b"k", timestamp_ms: int | None = None) -> Outgoing:
    return Outgoing("t", 0, key, value, timestamp_ms=timestamp_ms)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    made = EmbeddedLog(tmp_path)
    yield made
    made.close()


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_an_idle_poll_wakes_at_once_and_costs_nothing(log: EmbeddedLog) -> None:
    """No polling interval is in the way of a record, and waiting uses no processor time."""
    log.create([topic()])
    follower = log.follow({FIRST: 0})
    arrived: list[float] = []
    used: list[float] = []

    def wait() -> None:
        before = time.thread_time()
        for _ in range(20):
            follower.poll(10, 10.0)
            arrived.append(time.perf_counter())
        used.append(time.thread_time() - before)

    thread = threading.Thread(target=wait)
    thread.start()
    delays = []
    for n in range(20):
        time.sleep(0.01)
        log.append([record()])
        returned = time.perf_counter()
        while len(arrived) <= n:
            time.sleep(0.0005)
        delays.append(arrived[n] - returned)
    thread.join()
    assert sorted(delays)[10] < 0.02
    assert used[0] < 0.2


def test_an_idle_member_wakes_when_it_is_given_partitions(log: EmbeddedLog) -> None:
    """The partitions of a member that left are taken over without waiting for a timeout."""
    log.create([topic(partitions=2)])
    first, second = (log.join("g", ["t"], Silent()) for _ in range(2))
    for member in (first, second):
        member.poll(1, 0)
    log.append([Outgoing("t", 0, b"k", b"v")])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second.poll, 10, 20.0)
        time.sleep(0.05)
        started = time.perf_counter()
        first.close()
        assert [r.value for r in waiting.result()] == [b"v"]
    assert time.perf_counter() - started < 5


def test_close_ends_waiting_polls(tmp_path: Path) -> None:
    """A worker that waits for records hears that the log is closed; so does whoever calls it later."""
    log = EmbeddedLog(tmp_path)
    log.create([topic()])
    member, follower = log.join("g", ["t"], Silent()), log.follow({FIRST: 0})
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(member.poll, 10, 20.0), pool.submit(follower.poll, 10, 20.0)]
        time.sleep(0.05)
        log.close()
        for future in waiting:
            with pytest.raises(Unavailable):
                future.result()
    with pytest.raises(Unavailable, match="closed"):
        log.append([record()])
    with pytest.raises(Unavailable, match="closed"):
        log.read(FIRST, 0, 1)
    log.close()


def test_workers_that_come_and_go_copy_each_record_once(log: EmbeddedLog) -> None:
    """Threads join, commit, are fenced and leave while others append: the copy of each partition is the partition."""
    copy = Topic("copy", "key", "tests", 1_000, (), 4)
    log.create([topic(partitions=4), copy])
    stop = threading.Event()
    fenced: list[int] = []

    def work(seed: int) -> None:
        random = Random(seed)
        while not stop.is_set():
            member = log.join("g", ["t"], Silent())
            for _ in range(random.randint(5, 40)):
                batch = member.poll(random.randint(1, 30), 0.005)
                copied = [Outgoing("copy", r.partition, r.key, r.value) for r in batch]
                positions = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in batch}
                try:
                    member.commit(Transaction(copied, {}, positions))
                except Fenced:
                    fenced.append(seed)
                    member.rewind()
            member.close()

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in workers:
        thread.start()
    for n in range(300):
        log.append([Outgoing("t", (n + i) % 4, b"k", b"%d/%d" % (n, i)) for i in range(10)])
    deadline = time.monotonic() + 30
    parts = [TopicPartition("t", index) for index in range(4)]
    while any(log.committed("g", part) < log.bounds(part)[1] for part in parts) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    for thread in workers:
        thread.join()
    assert fenced
    for part in parts:
        copied = log.read(TopicPartition("copy", part.partition), 0, 10_000)
        assert [r.value for r in copied] == [r.value for r in log.read(part, 0, 10_000)]
        assert len(copied) == 750


# --- writing ----------------------------------------------------------------------------------------------------------


def test_waiting_appends_share_one_sync(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten appends that queue behind a write are written together."""
    log.create([topic()])
    batches: list[int] = []
    write = log.writer._write

    def counted(jobs: list[object]) -> None:
        batches.append(len(jobs))
        write(jobs)  # type: ignore[arg-type]

    monkeypatch.setattr(log.writer, "_write", counted)
    with ThreadPoolExecutor(10) as pool:
        with log.writer.lock:
            futures = [pool.submit(log.append, [record(), record()]) for _ in range(10)]
            while len(log.writer._queue) < 10:
                time.sleep(0.001)
        offsets = sorted(offset for future in futures for offset in future.result())
    assert offsets == list(range(20))
    assert batches == [10]


def test_a_fenced_commit_does_not_disturb_its_batch(log: EmbeddedLog) -> None:
    """Others' appends in the same sync are written, the fenced commit is not, and no offset is left out."""
    log.create([topic()])
    member = log.join("g", ["t"], Silent())
    member.close()
    with ThreadPoolExecutor(3) as pool:
        with log.writer.lock:
            one = pool.submit(log.append, [record(b"1")])
            fenced = pool.submit(member.commit, Transaction(outgoing=[record(b"fenced")]))
            two = pool.submit(log.append, [record(b"2")])
            while len(log.writer._queue) < 3:
                time.sleep(0.001)
        with pytest.raises(Fenced):
            fenced.result()
        assert sorted(one.result() + two.result()) == [0, 1]
    assert sorted(r.value or b"" for r in log.read(FIRST, 0, 10)) == [b"1", b"2"]


def test_a_failed_write_takes_no_effect(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full, say: the caller hears `Unavailable`, and its records get the same offsets when they are written later."""
    log.create([topic("compact")])
    log.append([record(b"before")])
    member = log.join("g", ["t"], Silent())
    member.poll(1, 0)

    class Full:
        def write(self, *_: object) -> None:
            raise Exception("IO error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log.files(), "db", Full())
        with pytest.raises(Unavailable, match="No space left"):
            member.commit(Transaction([record(b"lost")], {StoreId("g", 0): [(b"a", b"1")]}, {FIRST: 1}))
    assert log.bounds(FIRST) == (0, 1)
    assert member.position(FIRST) == 0
    newest = log.latest("t", b"k")
    assert newest is not None
    assert newest.value == b"before"
    assert log.append([record(b"after")]) == [1]
    assert [r.value for r in log.read(FIRST, 0, 10)] == [b"after"]


def test_what_could_not_be_synced_is_not_shown(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether it is on disk: the log stops until it is opened again, and then has it whole or not at all."""
    log.create([topic("compact")])
    log.append([record(b"before")])

    def broken(_: Files, ends: object) -> None:
        raise Exception("IO error: fsync")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "sync", broken)
        with pytest.raises(Unavailable, match="start crossdock again"):
            log.append([record(b"doubtful")])
    assert log.bounds(FIRST)[1] == 1
    with pytest.raises(Unavailable):
        log.latest("t", b"k")
    with pytest.raises(Unavailable, match="start crossdock again"):
        log.append([record(b"after")])
    path = log.path
    log.close()
    again = EmbeddedLog(path)
    again.create([topic("compact")])
    newest = again.latest("t", b"k")
    assert newest is not None
    assert (newest.value, again.bounds(FIRST)[1]) in ((b"before", 1), (b"doubtful", 2))
    again.close()


def test_what_is_not_bytes_is_refused_and_the_log_goes_on(log: EmbeddedLog) -> None:
    """A defect of one caller is nobody else's."""
    log.create([topic()])
    member = log.join("g", ["t"], Silent())
    member.poll(1, 0)
    with pytest.raises(TypeError):
        log.append([record("text")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes"):
        member.commit(Transaction(rows={StoreId("g", 0): [(b"a", 1)]}))  # type: ignore[list-item]
    assert log.append([record()]) == [0]


def test_create_refuses_to_keep_records_in_another_way(log: EmbeddedLog) -> None:
    """A topic that was not compacted has no index of newest records; retention may change."""
    log.create([topic("delete", retention_ms=10)])
    log.create([topic("delete", retention_ms=20)])
    with pytest.raises(ValueError, match="cleanup=delete, not compact"):
        log.create([topic("compact")])


# --- retention --------------------------------------------------------------------------------------------------------


def trimmed(log: EmbeddedLog, now_ms: int) -> list[Record]:
    while log.trim(now_ms):
        pass
    return log.read(FIRST, 0, 100)


def test_trim_deletes_what_is_older_than_the_retention(tmp_path: Path) -> None:
    """Offsets go on where they were, also when everything was deleted and the log opened again."""
    log = EmbeddedLog(tmp_path)
    log.create([topic("delete", retention_ms=100)])
    log.append([record(b"%d" % n, timestamp_ms=1_000 + n * 10) for n in range(10)])
    assert [r.value for r in trimmed(log, 1_150)] == [b"%d" % n for n in range(5, 10)]
    assert log.bounds(FIRST) == (5, 10)
    assert log.read(FIRST, 2, 1)[0].offset == 5
    assert trimmed(log, 9_000) == []
    log.close()
    log = EmbeddedLog(tmp_path)
    assert log.bounds(FIRST) == (10, 10)
    assert log.append([record()]) == [10]
    log.close()


def test_trim_waits_for_every_group_that_ever_joined(tmp_path: Path) -> None:
    """Also for one that has committed nothing yet, and after a restart."""
    log = EmbeddedLog(tmp_path)
    log.create([topic("delete", retention_ms=100)])
    log.append([record(timestamp_ms=0) for _ in range(10)])
    log.join("slow", ["t"], Silent())
    fast = log.join("fast", ["t"], Silent())
    fast.poll(1, 0)
    fast.commit(Transaction(positions={FIRST: 8}))
    log.close()
    log = EmbeddedLog(tmp_path)
    assert len(trimmed(log, 9_000)) == 10
    slow = log.join("slow", ["t"], Silent())
    slow.poll(1, 0)
    slow.commit(Transaction(positions={FIRST: 3}))
    assert [r.offset for r in trimmed(log, 9_000)] == list(range(3, 10))
    slow.commit(Transaction(positions={FIRST: 9}))
    assert [r.offset for r in trimmed(log, 9_000)] == [8, 9]
    assert log.committed("new", FIRST) == 8
    log.close()


def test_trim_takes_index_entries_along(log: EmbeddedLog) -> None:
    """And leaves topics that keep their records alone."""
    log.create([topic("delete", retention_ms=100, is_indexed=True)])
    log.append([record(b"%d" % n, timestamp_ms=n * 100) for n in range(4)])
    trimmed(log, 250)
    assert [r.value for r in log.by_key("t", b"k", 10)] == [b"2", b"3"]
    assert len(list(scan_keys(log.files().bykey, b"\0\1", b"\0\2"))) == 2


def test_a_lookup_does_not_pass_by_what_was_trimmed(log: EmbeddedLog) -> None:
    """However many entries of other keys were deleted around it: RocksDB keeps a mark for each until it compacts."""
    log.create([topic("delete", retention_ms=100, is_indexed=True)])
    names = [b"%016x" % Random(n).getrandbits(64) for n in range(30_000)]
    log.append([record(key=name, timestamp_ms=0) for name in names])
    log.append([record(b"live", key=names[0])])
    while log.trim(9_000):
        pass
    took = []
    for name in names[:50]:
        began = time.perf_counter()
        found = log.by_key("t", name, 10)
        took.append(time.perf_counter() - began)
        assert [r.value for r in found] == ([b"live"] if name == names[0] else [])
    assert sorted(took)[25] < 0.002  # it took 30 ms


def test_trimming_looks_for_what_to_delete_without_the_write_lock(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes waits for the write alone; a group that joins meanwhile loses nothing."""
    log.create([topic("delete", retention_ms=100)])
    log.append([record(timestamp_ms=0) for _ in range(10)])
    joined: list[GroupMembership] = []

    def looked(*args: object) -> Iterator[bytes]:
        with ThreadPoolExecutor(1) as pool:  # another thread can have the lock
            joined.append(pool.submit(log.join, "late", ["t"], Silent()).result(5))
        return scan_values(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("streams.engine.embedded.trim.scan_values", looked)
        assert log.trim(9_000) == 0
    assert len(joined[0].poll(100, 0)) == 10


@pytest.mark.parametrize("what", ["trim", "create"])
def test_a_failed_sync_stops_the_writer_whatever_was_written(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Retention and topics too: nobody knows what of it is on disk, so nothing is acknowledged after it."""
    log.create([topic("delete", retention_ms=100)])
    log.append([record(timestamp_ms=0)])

    def broken(_: Files, ends: object = ()) -> None:
        raise Exception("IO error: fsync")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "sync", broken)
        with pytest.raises(Unavailable, match="could not be synced"):
            if what == "trim":
                log.trim(9_000)
            else:
                log.create([topic("delete", retention_ms=200)])
    assert "could not be synced" in (log.problem or "")
    assert log.bounds(FIRST) == (0, 1)
    with pytest.raises(Unavailable, match="could not be synced"):
        log.append([record()])


def test_who_is_interrupted_while_waiting_holds_up_nobody(log: EmbeddedLog) -> None:
    """Its job leaves the queue, and another leads."""
    log.create([topic()])

    class Interrupted(BaseException):
        pass

    class Turn:
        def wait(self) -> None:
            raise Interrupted

        def set(self) -> None: ...

    with ThreadPoolExecutor(2) as pool:
        with log.writer.lock:
            first = pool.submit(log.append, [record(b"1")])
            while not log.writer._queue:
                time.sleep(0.001)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("streams.engine.embedded.writer.threading.Event", Turn)
                with pytest.raises(Interrupted):
                    log.append([record(b"interrupted")])
            second = pool.submit(log.append, [record(b"2")])
        assert sorted(first.result(5) + second.result(5)) == [0, 1]
    assert {r.value for r in log.read(FIRST, 0, 10)} == {b"1", b"2"}


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_directory_in_use_by_another_process(tmp_path: Path) -> None:
    """The message names the directory and says what to do."""
    path = repr(str(tmp_path))
    hold = f"import sys; from streams.engine.embedded.log import EmbeddedLog; l = EmbeddedLog({path}); print(); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(CannotOpen, match=rf"{tmp_path}.* in use .*another process.*stop it"):
            EmbeddedLog(tmp_path)
        process.communicate()
    EmbeddedLog(tmp_path).close()


def filled(path: Path) -> Path:
    log = EmbeddedLog(path)
    log.create([topic()])
    log.append([record(bytes(1000)) for _ in range(100)])
    log.close()
    return path / "log"


@pytest.mark.parametrize("what", ["CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("is_missing", [True, False])
def test_a_damaged_directory_is_refused(tmp_path: Path, what: str, is_missing: bool) -> None:
    """Whatever file is lost or garbled: never an empty log in its place."""
    inside = filled(tmp_path)
    victim = max(inside.glob(what), key=lambda path: path.stat().st_size)
    if is_missing:
        victim.unlink()
    else:
        victim.write_bytes(b"garbage\n" * 20)
    with pytest.raises(CannotOpen, match=r"damaged.*Restore"):
        EmbeddedLog(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A log of a later version is not touched."""
    filled(tmp_path)
    log = EmbeddedLog(tmp_path)
    log.files().meta.put(FORMAT_KEY, b"99")
    log.close()
    with pytest.raises(CannotOpen, match=r"format 99, this version reads 2"):
        EmbeddedLog(tmp_path)
    with pytest.raises(CannotOpen, match=r"format 99"):
        EmbeddedLog(tmp_path)


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    """A file of that name is in the way."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotOpen, match="cannot be used"):
        EmbeddedLog(tmp_path / "file")
