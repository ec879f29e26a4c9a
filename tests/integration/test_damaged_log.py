"""Whatever becomes of its files, the embedded log has all that was acknowledged, or says aloud that it has not."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from schemas.operations import DeadLetter
from schemas.records import Record
from schemas.topics import ROUTES, Topic
from streams.cli import app
from streams.engine.embedded.files import Files
from streams.engine.embedded.log import CannotOpen, EmbeddedLog
from streams.engine.halts import PartitionDamaged, PartitionHalted
from streams.engine.log import DamagedLog, Outgoing, StoreId, TopicPartition, Transaction
from streams.settings.settings import BadSettings
from tests.support import toy_flows
from tests.support.app import Server, count, master

KEPT = Topic("kept", "key", "tests", 1_000, (), 2, is_indexed=True)
NEWEST = Topic("newest", "key", "tests", 1_000, (), 1, "compact")
FLOW = StoreId("flow", 0)
GROUP = "readers"
FIRST, SECOND = TopicPartition("kept", 0), TopicPartition("kept", 1)


class Silent:
    def assigned(self, partitions: frozenset[TopicPartition]) -> None: ...

    def revoked(self, partitions: frozenset[TopicPartition]) -> None: ...


def written(log: EmbeddedLog, numbers: range, random: Random) -> None:
    """Commits of records, rows and positions."""
    member = log.join(GROUP, [KEPT.name], Silent())
    for n in numbers:
        value = b"%d " % n + random.randbytes(random.randrange(200))
        member.poll(1, 0)
        member.commit(
            Transaction(
                [Outgoing("kept", n % 2, b"k%d" % (n % 7), value), Outgoing("newest", 0, b"k%d" % (n % 50), value)],
                {FLOW: [(b"row%05d" % n, value), (b"latest", value)]},
                {FIRST: n // 2},
            )
        )
    member.close()


def made(path: Path, seed: int = 1) -> EmbeddedLog:
    """A log with files of every kind: rows on disk, several of the write-ahead log, the last of them not flushed."""
    log = EmbeddedLog(path)
    log.create([KEPT, NEWEST])
    random = Random(seed)
    for at in range(0, 400, 100):
        written(log, range(at, at + 100), random)
        if at < 300:
            flushed(log)
    return log


def flushed(log: EmbeddedLog) -> None:
    """As RocksDB does it by itself when its buffers are full: all families at one moment. A flush by hand is of one alone."""
    log.files().meta.compact_range(b"", b"\xff" * 8)


def as_killed(path: Path, to: Path) -> Path:
    """The directory as it is now, while the log is open: what kill -9 leaves."""
    shutil.copytree(path, to)
    return to


Contents = dict[str, object]


def contents(log: EmbeddedLog) -> Contents:
    """Everything that can be read."""
    records: dict[str, list[Record]] = {}
    for at in (FIRST, SECOND, TopicPartition("newest", 0)):
        low, end = log.bounds(at)
        records[f"{at.topic}/{at.partition}"] = found = []
        while low < end and (page := log.read(at, low, 37)):
            found += page
            low = page[-1].offset + 1
    return {
        **records,
        "newest": log.scan("newest", None, 1_000),
        "by key": [log.by_key("kept", b"k%d" % n, 1_000) for n in range(7)],
        "rows": list(log.store(FLOW).range(b"", None)),
        "position": log.committed(GROUP, FIRST),
    }


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Contents]:
    """A killed log, and what it held."""
    base = tmp_path_factory.mktemp("log")
    log = made(base / "live")
    expected = contents(log)
    copy = as_killed(base / "live", base / "killed")
    log.close()
    return copy, expected


def flip(data: bytearray, random: Random) -> bytearray:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data


def zeroed(data: bytearray, random: Random) -> bytearray:
    at = random.randrange(len(data))
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    return data


def cut(data: bytearray, random: Random) -> bytearray:
    return data[: random.randrange(len(data))]


def gone(data: bytearray, random: Random) -> None:
    del data, random


DAMAGES: list[Callable[[bytearray, Random], bytearray | None]] = [flip, flip, flip, zeroed, cut, gone]


def damaged(path: Path, random: Random) -> str:
    """Damages one file of the log. Returns how."""
    files = sorted(file for kind in ("*.sst", "*.log", "MANIFEST-*", "CURRENT") for file in (path / "log").glob(kind))
    victim = random.choice([*files, path / "log.anchor"])
    damage = random.choice(DAMAGES)
    data = bytearray(victim.read_bytes())
    if not data:
        return "nothing"
    result = damage(data, random)
    if result is None:
        victim.unlink()
    else:
        victim.write_bytes(result)
    return f"{damage.__name__} {victim.name}"


@pytest.mark.parametrize("seed", range(50))
def test_damage_is_never_silent(killed: tuple[Path, Contents], tmp_path: Path, seed: int) -> None:
    """A random damage to a random file: all acknowledged data is read as it was, or opening or reading refuses."""
    source, expected = killed
    path = as_killed(source, tmp_path / "log")
    how = damaged(path, Random(seed))
    try:
        log = EmbeddedLog(path)
    except CannotOpen as error:
        assert "Restore" in str(error) or "in use" in str(error), how
        assert "--accept-loss" in str(error), how
        return
    try:
        found = contents(log)
    except DamagedLog as error:
        assert "restore" in str(error), how
        assert log.problem is not None, how
        return
    finally:
        log.close()
    assert found == expected, how


@pytest.mark.parametrize("seed", range(100, 120))
def test_there_is_always_a_way_out(killed: tuple[Path, Contents], tmp_path: Path, seed: int) -> None:
    """Accepting a loss opens any log, says what is lost, goes on above every offset that was given, and opens as usual then."""
    source, expected = killed
    path = as_killed(source, tmp_path / "log")
    how = damaged(path, Random(seed))
    log = EmbeddedLog(path, accept_loss=True)
    log.create([KEPT, NEWEST])
    found = contents(log)
    if not log.losses:
        assert found == expected, how
    assert log.append([Outgoing("kept", 0, b"k", b"v"), Outgoing("kept", 1, b"k", b"v")]) >= [200, 200], how
    log.close()
    log = EmbeddedLog(path)
    assert log.losses == []
    assert log.read(FIRST, log.bounds(FIRST)[1] - 1, 10)[0].value == b"v"
    contents(log)
    log.close()


def wals(path: Path) -> list[Path]:
    return sorted((path / "log").glob("*.log"))


def test_a_torn_last_write_is_forgiven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was being written when the power went was not acknowledged: half of it is dropped without a word."""
    log = made(tmp_path / "live")
    expected = contents(log)
    before = wals(tmp_path / "live")[-1].stat().st_size
    with monkeypatch.context() as patch:

        def power_goes(_: Files, ends: object) -> None:
            raise OSError("the power went")

        patch.setattr(Files, "sync", power_goes)
        with pytest.raises(Exception, match="power"):
            log.append([Outgoing("kept", 0, b"k", b"torn" * 100)])
    copy = as_killed(tmp_path / "live", tmp_path / "killed")
    log.close()
    size = wals(copy)[-1].stat().st_size
    assert size > before
    for left in (size - 1, before + 200, before + 3, before):
        torn = as_killed(copy, tmp_path / str(left))
        wal = wals(torn)[-1]
        wal.write_bytes(wal.read_bytes()[:left])
        with_garbage = as_killed(torn, tmp_path / f"{left} and garbage")
        wals(with_garbage)[-1].write_bytes(wal.read_bytes() + b"\xa5" * 300)
        for path in (torn, with_garbage):
            again = EmbeddedLog(path)
            assert contents(again) == expected
            assert again.append([Outgoing("kept", 0, b"k", b"v")]) == [200]
            again.close()


def test_a_shorter_log_is_refused_with_what_is_missing(killed: tuple[Path, Contents], tmp_path: Path) -> None:
    """And accepted only when that is asked for; what is lost is named, and its offsets are not given again."""
    source, _ = killed
    path = as_killed(source, tmp_path / "log")
    wal = wals(path)[-1]
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
    before = {file: file.read_bytes() for file in (path / "log").iterdir()}
    with pytest.raises(CannotOpen, match=r"ends \d+ commits before what .*kept/0: offsets \d+ to 199") as refused:
        EmbeddedLog(path)
    assert {file: file.read_bytes() for file in (path / "log").iterdir()} == before  # nothing is touched, for a better rescue
    missing = int(re.findall(r"kept/0: offsets (\d+) to", str(refused.value))[0])
    log = EmbeddedLog(path, accept_loss=True)
    assert any(f"kept/0: offsets {missing} to 199" in loss for loss in log.losses)
    assert log.bounds(FIRST) == (0, 200)
    assert [record.offset for record in log.read(FIRST, 0, 1_000)] == list(range(missing))
    assert log.append([Outgoing("kept", 0, b"k", b"after")]) == [200]
    assert [r.offset for r in log.read(FIRST, missing - 1, 1_000)] == [missing - 1, 200]
    follower = log.follow({FIRST: 0})
    assert len(follower.poll(1_000, 1.0)) == missing + 1
    rows = dict(log.store(FLOW).range(b"", None))
    assert len(rows) == 1 + sum(len(log.read(at, 0, 1_000)) for at in (FIRST, SECOND)) - 1  # rows and records are of one commit
    log.close()


@pytest.mark.parametrize("which", range(4))
def test_any_missing_file_of_the_write_ahead_log_is_noticed(killed: tuple[Path, Contents], tmp_path: Path, which: int) -> None:
    """Those between others too, whatever was already flushed."""
    source, expected = killed
    path = as_killed(source, tmp_path / "log")
    there = wals(path)
    there[which % len(there)].unlink()
    try:
        log = EmbeddedLog(path)
    except CannotOpen:
        return
    assert contents(log) == expected
    log.close()


def test_a_manifest_that_lost_its_end_is_noticed(killed: tuple[Path, Contents], tmp_path: Path) -> None:
    """RocksDB takes that for an earlier state, and would delete what it does not know."""
    source, _ = killed
    for less in (1, 20, 200):
        path = as_killed(source, tmp_path / str(less))
        manifest = next((path / "log").glob("MANIFEST-*"))
        manifest.write_bytes(manifest.read_bytes()[:-less])
        with pytest.raises(CannotOpen, match=r"damaged.*Restore"):
            EmbeddedLog(path)


def test_a_log_that_is_gone_is_not_begun_anew(killed: tuple[Path, Contents], tmp_path: Path) -> None:
    """Unless that is accepted: then offsets begin above all that were given."""
    source, _ = killed
    path = as_killed(source, tmp_path / "log")
    shutil.rmtree(path / "log")
    with pytest.raises(CannotOpen, match=r"gone, and \d+ commits were acknowledged"):
        EmbeddedLog(path)
    log = EmbeddedLog(path, accept_loss=True)
    log.create([NEWEST, KEPT])  # in another order, so under other numbers
    assert log.losses
    assert min(log.append([Outgoing("kept", 0, b"k", b"v"), Outgoing("newest", 0, b"k", b"v")])) >= 400
    log.close()
    shutil.rmtree(path / "log")
    log = EmbeddedLog(path, accept_loss=True)
    log.create([NEWEST, KEPT])
    assert log.append([Outgoing("kept", 1, b"k", b"v")]) >= [401]
    log.close()


def test_a_log_without_its_anchor_is_refused(killed: tuple[Path, Contents], tmp_path: Path) -> None:
    """Nobody can tell whether it is whole."""
    source, expected = killed
    path = as_killed(source, tmp_path / "log")
    (path / "log.anchor").unlink()
    for _ in range(2):
        with pytest.raises(CannotOpen, match=r"log\.anchor is missing|log\.anchor is damaged"):
            EmbeddedLog(path)
    log = EmbeddedLog(path, accept_loss=True)
    assert contents(log) == expected
    log.close()
    EmbeddedLog(path).close()


def test_an_older_backup_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    """The log of one day with the anchor of another is refused; both of one day are as good as they were."""
    log = made(tmp_path / "live")
    expected = contents(log)
    backup = as_killed(tmp_path / "live", tmp_path / "backup")
    written(log, range(400, 420), Random(2))
    log.close()
    shutil.rmtree(tmp_path / "live" / "log")
    shutil.copytree(backup / "log", tmp_path / "live" / "log")
    with pytest.raises(CannotOpen, match=r"2[01] commits before"):
        EmbeddedLog(tmp_path / "live")
    shutil.copy(backup / "log.anchor", tmp_path / "live" / "log.anchor")
    log = EmbeddedLog(tmp_path / "live")
    assert contents(log) == expected
    log.close()


def test_damaged_records_stop_their_partition_only(tmp_path: Path) -> None:
    """A member reads what is before the damage, is told of it once, with the file, and goes on with other partitions."""
    log = EmbeddedLog(tmp_path)
    log.create([KEPT])
    for n in range(2_000):
        log.append([Outgoing("kept", 0, b"k", Random(n).randbytes(200))]) if n % 20 == 0 else None
    log.append([Outgoing("kept", 0, b"k", Random(n).randbytes(200)) for n in range(5_000)])
    flushed(log)
    log.append([Outgoing("kept", 1, b"k", b"%d" % n) for n in range(100)])
    log.close()
    victim = max((tmp_path / "log").glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    victim.write_bytes(data)
    log = EmbeddedLog(tmp_path)
    member = log.join("g", ["kept"], Silent())
    counts, errors = {0: 0, 1: 0}, []
    for _ in range(200):
        try:
            for record in member.poll(100, 0):
                counts[record.partition] += 1
        except DamagedLog as error:
            errors.append(error)
    assert counts[1] == 100
    assert 0 < counts[0] < 5_100
    assert [error.partition for error in errors] == [FIRST]
    assert victim.name in str(errors[0])
    assert victim.name in (log.problem or "")
    follower = log.follow({FIRST: counts[0]})
    for _ in range(2):  # who does not set it aside is told every time
        with pytest.raises(DamagedLog):
            follower.poll(5_000, 0)
    log.close()


def test_damaged_rows_stop_their_partition_and_no_event_is_blamed(tmp_path: Path) -> None:
    """The worker sets aside what reads them and says which file; no event becomes a dead letter, and the others go on."""
    log = EmbeddedLog(tmp_path)
    log.create(toy_flows.ALL_TOPICS)
    items = [f"SKU-{n}" for n in range(2_000)]
    log.append([toy_flows.to_inbox(toy_flows.item_changed(item)) for item in items])
    worker = toy_flows.new_worker(log)
    toy_flows.drain(worker)
    worker.close()
    flushed(log)
    (name,) = [file["name"] for file in log.files().db.live_files() if b"promise" in file["start_key"] + file["end_key"]]
    log.close()
    victim = tmp_path / "log" / name.lstrip("/")
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 16
    victim.write_bytes(data)
    log = EmbeddedLog(tmp_path)
    log.append([toy_flows.to_inbox(toy_flows.received(item, f"W-{item}")) for item in items])
    worker = toy_flows.new_worker(log)
    for _ in range(40):
        with contextlib.suppress(PartitionHalted):
            worker.step()
    halts = list(worker.halted.values())
    assert 0 < len(halts) < toy_flows.PARTITIONS
    assert all(isinstance(halt, PartitionDamaged) for halt in halts)
    assert all(victim.name in str(halt) and "crossdock skip" not in str(halt) for halt in halts)
    behind = {at for at, (position, end) in log.progress("crossdock", parts()).items() if position < end}
    assert behind == set(worker.halted)
    assert log.read(TopicPartition(ROUTES[DeadLetter].topic.name, 0), 0, 10) == []
    worker.close()
    log.close()


def parts() -> list[TopicPartition]:
    return [TopicPartition(toy_flows.INBOX, index) for index in range(toy_flows.PARTITIONS)]


def test_what_an_operator_sees(tmp_path: Path) -> None:
    """The doctor says what is wrong; run refuses with the sentence, and with --accept-loss serves and says what was lost."""
    directory = tmp_path / "data"
    server = Server(directory)
    server.send("erp", master())
    server.send("wms", [count("100", 1)])
    server.wait_for_stock(100)
    assert server.client.get("/readyz").json()["checks"]["log"] == "is written"
    server.kill()
    wal = wals(directory)[-1]
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
    doctor = CliRunner().invoke(app, ["doctor", "--data", str(directory)])
    assert doctor.exit_code != 0
    assert "--accept-loss" in doctor.stdout.replace("\n", " ")
    refused = CliRunner().invoke(app, ["run", "--data", str(directory), "--api", "127.0.0.1:0"])
    assert isinstance(refused.exception, BadSettings)
    assert "commits before what was acknowledged" in str(refused.exception)
    assert re.search(r"\S+/\d+: offsets \d+ to \d+", str(refused.exception))
    server = Server(directory, 0, "--accept-loss")
    server.process.send_signal(signal.SIGINT)
    said = server.process.communicate(timeout=60)[1].decode()
    assert "commits are lost" in said
    assert re.search(r"\S+/\d+: offsets \d+ to \d+", said)
    server = Server(directory)
    server.send("wms", [count("100", 2)])
    assert server.stop() == 0
