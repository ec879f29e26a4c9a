"""Worker processes' reports: what their parent says of its health, and shows as measures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from streams.engine.worker import Counters
from streams.monitoring.local_rows import CatchingUp
from streams.monitoring.process_reports import HUNG_S, OLD_S, REPORT_FILE, ProcessReport, Reporter, Reports, hung
from streams.monitoring.worker_metrics import WorkMeasures

HERE = os.getpid()
ALL_HERE = ("8 partitions are here", True)
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A worker process's report, all well but for what is given."""

    def written(number: int, **other: object) -> None:
        well = ProcessReport(HERE, time.monotonic(), {}, *ALL_HERE, "")
        (tmp_path / str(number)).mkdir(exist_ok=True)
        (tmp_path / str(number) / REPORT_FILE).write_bytes(msgspec.json.encode(msgspec.structs.replace(well, **other)))

    return written


def reports(directory: Path, count: int = 1, pid: int = HERE) -> Reports:
    return Reports(lambda: dict.fromkeys(range(1, count + 1), pid), lambda number: directory / str(number))


def test_all_is_well_when_each_has_its_rows_and_works(tmp_path: Path, write: Write) -> None:
    write(1)
    write(2)
    assert reports(tmp_path, 2).told() == ("each has its rows and works", True)


@pytest.mark.parametrize(
    ("ailing", "says"),
    [
        ({"halted": {"order.inbox.v1/2": "no room"}}, "worker 2 has halted: order.inbox.v1/2: no room"),
        ({"rows": "3 of 8 partitions are being caught up", "are_rows_here": False}, "worker 2 catches up: 3 of 8 partitions"),
        ({"at_s": time.monotonic() - OLD_S - 60}, "worker 2 has not reported for"),
        ({"pid": HERE + 1}, "worker 2 is starting"),
    ],
)
def test_whoever_is_not_well_is_told_of(tmp_path: Path, write: Write, ailing: dict[str, object], says: str) -> None:
    write(1)
    write(2, **ailing)
    told, is_well = reports(tmp_path, 2).told()
    assert told.startswith(says)
    assert not is_well


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_who_has_written_no_report_is_starting(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / REPORT_FILE).write_bytes(content)
    assert reports(tmp_path).told() == ("worker 1 is starting", False)


def test_measures_are_shown_by_worker(tmp_path: Path) -> None:
    """Of each kind: under its own name, described once, and no more of one that has ended."""
    for number in (1, 2):
        measures = CollectorRegistry()
        Counter("done", "What was done", ["what"], registry=measures).labels("x").inc(number)
        Histogram("seconds", "How long", buckets=(1, 2), registry=measures).observe(1.5)
        directory = tmp_path / str(number)
        directory.mkdir()
        Reporter(directory, dict, lambda: ALL_HERE, measures).report()
    parent = CollectorRegistry()
    parent.register(reports(tmp_path, 2))
    text = generate_latest(parent).decode()
    assert text.count("# TYPE done_total counter") == 1
    assert 'done_total{what="x",worker="1"} 1.0' in text
    assert 'done_total{what="x",worker="2"} 2.0' in text
    assert 'seconds_bucket{le="2.0",worker="2"} 1.0' in text
    ended = CollectorRegistry()
    ended.register(reports(tmp_path, 2, pid=HERE + 1))
    assert generate_latest(ended) == b""


def test_a_reporter_goes_on_reporting_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the disk was full for a while."""
    monkeypatch.setattr("streams.monitoring.process_reports.PAUSE_S", 0.01)
    directory = tmp_path / "1"
    halted: dict[str, str] = {}
    reporter = Reporter(directory, lambda: halted, lambda: ALL_HERE, CollectorRegistry())
    reporter.start()  # there is no such directory
    time.sleep(0.05)
    directory.mkdir()
    seen = reports(tmp_path)
    until = time.monotonic() + 20
    while seen.told() != ("each has its rows and works", True):
        assert time.monotonic() < until
        time.sleep(0.01)
    halted["worker fold"] = "KeyError: x"
    while seen.told() != ("worker 1 has halted: worker fold: KeyError: x", False):
        assert time.monotonic() < until
        time.sleep(0.01)
    reporter.close()
    assert sorted(file.name for file in directory.iterdir()) == [REPORT_FILE]


def test_work_is_measured_as_it_is_when_asked() -> None:
    done = Counters()
    registry = CollectorRegistry()
    registry.register(WorkMeasures(lambda: done, lambda: CatchingUp(partitions=2, of=8, done=10, total=50)))
    done.inputs, done.busy_ms, done.fenced = 7, 1500, 1
    text = generate_latest(registry).decode()
    for line in (
        "crossdock_worker_records_total 7.0",
        "crossdock_worker_busy_seconds_total 1.5",
        "crossdock_worker_fenced_total 1.0",
        "crossdock_worker_partitions_behind 2.0",
        "crossdock_worker_changes_behind 40.0",
    ):
        assert line in text


def test_who_has_been_silent_for_long_hangs(tmp_path: Path, write: Write) -> None:
    """A process that runs anew is not taken for the one before it; one whose disk is full goes on."""
    long_ago = time.time() - HUNG_S - 1
    assert hung(tmp_path / "1", HERE) is None
    write(1, at_s=time.monotonic() - HUNG_S - 1)
    assert hung(tmp_path / "1", HERE) is None
    os.utime(tmp_path / "1" / REPORT_FILE, (long_ago, long_ago))
    assert hung(tmp_path / "1", HERE) == f"it has not reported for {HUNG_S + 1:.0f} s"
    assert hung(tmp_path / "1", HERE + 1) is None
    write(1)
    os.utime(tmp_path / "1" / REPORT_FILE, (long_ago, long_ago))
    assert hung(tmp_path / "1", HERE) is None


def test_who_has_no_room_for_a_report_still_shows_that_it_goes_on(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(1, at_s=time.monotonic() - HUNG_S - 1)
    file = tmp_path / "1" / REPORT_FILE
    os.utime(file, (0, 0))
    reporter = Reporter(tmp_path / "1", dict, lambda: ALL_HERE, CollectorRegistry())

    def no_room(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", no_room)
    assert hung(tmp_path / "1", HERE) is not None
    reporter.start()
    deadline = time.monotonic() + 20
    while hung(tmp_path / "1", HERE) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    reporter.close()
