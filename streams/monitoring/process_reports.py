"""How worker processes are: each tells it in a file, and their parent shows it as part of its own health and measures."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streams.engine.keeper import ThreadKeeper

REPORT_FILE = "report.json"
PAUSE_S = 2.0
OLD_S = 15.0
"""Who has not reported for so long seems to hang."""
HUNG_S = 60.0
"""Who has not reported for so long will not go on by itself."""
_log = structlog.get_logger(__name__)


class ProcessReport(msgspec.Struct, frozen=True):
    """A worker process at a moment of the machine's monotonic clock. `rows`: how far those it keeps are caught up."""

    pid: int
    at_s: float
    halted: dict[str, str]
    rows: str
    are_rows_here: bool
    measures: str


class Reporter:
    """Reports from a worker process, every so often from `start` to `close`."""

    def __init__(
        self,
        directory: Path,
        halted: Callable[[], Mapping[str, str]],
        rows: Callable[[], tuple[str, bool]],
        measures: CollectorRegistry,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._file = directory / REPORT_FILE
        self._halted = halted
        self._rows = rows
        self._measures = measures
        self._stopping = threading.Event()
        self._thread = (keeper or ThreadKeeper()).thread("report", self._run, self._stopping)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def report(self) -> None:
        """Write how it is now. Raises `OSError`."""
        rows, are_here = self._rows()
        measures = generate_latest(self._measures).decode()
        found = ProcessReport(os.getpid(), time.monotonic(), dict(self._halted()), rows, are_here, measures)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(found))
        fresh.replace(self._file)  # whoever reads sees a whole one

    def _run(self) -> None:
        is_told = False
        while True:
            self._thread.beat()
            try:
                self.report()
                is_told = False
            except OSError as error:  # a full disk stops the work elsewhere; it is not a reason to end here
                if not is_told:
                    _log.warning("a worker process cannot report how it is", file=str(self._file), reason=str(error))
                is_told = True
                with suppress(OSError):
                    self._file.touch()  # it goes on, and a full disk has room for that
            if self._stopping.wait(PAUSE_S):
                return


class Reports(Collector):
    """What a parent knows of its worker processes. `running`: the pid of each that runs, by its number."""

    def __init__(self, running: Callable[[], Mapping[int, int]], directory: Callable[[int], Path]) -> None:
        self._running = running
        self._directory = directory

    def told(self) -> tuple[str, bool]:
        """Whose work does not go on, and why; and whether all of it does."""
        found = [f"worker {number} {why}" for number, pid in self._running().items() if (why := self._ails(number, pid))]
        return "; ".join(found) or "each has its rows and works", not found

    def collect(self) -> Iterator[Metric]:
        """The measures of all that run, each with its number as the label `worker`."""
        families: dict[str, Metric] = {}
        for number, pid in self._running().items():
            report = self._report(number, pid)
            for family in text_string_to_metric_families(report.measures if report else ""):
                shown = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    shown.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
        yield from families.values()

    def _ails(self, number: int, pid: int) -> str | None:
        report = self._report(number, pid)
        if report is None:
            return "is starting"
        if report.halted:
            return "has halted: " + "; ".join(f"{name}: {why}" for name, why in report.halted.items())
        silent_s = time.monotonic() - report.at_s
        if silent_s > OLD_S:
            return f"has not reported for {silent_s:.0f} s"
        return None if report.are_rows_here else f"catches up: {report.rows}"

    def _report(self, number: int, pid: int) -> ProcessReport | None:
        return _report_of(self._directory(number), pid)


def hung(directory: Path, pid: int) -> str | None:
    """Why the process that reports in a directory will not go on; none if it does, or has not reported yet."""
    report = _report_of(directory, pid)
    if report is None:
        return None
    touched_s = (directory / REPORT_FILE).stat().st_mtime
    silent_s = min(time.monotonic() - report.at_s, time.time() - touched_s)  # either clock alone may be wrong about it
    return f"it has not reported for {silent_s:.0f} s" if silent_s > HUNG_S else None


def _report_of(directory: Path, pid: int) -> ProcessReport | None:
    """That of the process that runs now; none yet if it has not written any."""
    try:
        found = msgspec.json.decode((directory / REPORT_FILE).read_bytes(), type=ProcessReport)
    except (OSError, msgspec.DecodeError):  # DecodeError: of another version
        return None
    return found if found.pid == pid else None
