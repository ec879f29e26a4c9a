"""Workers in threads: one that dies is replaced, one that cannot go on says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from prometheus_client import Histogram

from schemas.codec import Codec
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Log, Unavailable
from streams.engine.partition import Flow, Limits, PartitionHalted
from streams.engine.worker import Counters, Worker

AGAIN_S = (0.2, 5.0)
_log = structlog.get_logger(__name__)


class WorkerKilled(Exception):
    """The worker died at a point, because it was told to."""


class GroupWorker:
    """One worker of a group in a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        log: Log,
        group: str,
        flows: Sequence[Flow],
        codec: Codec,
        *,
        clock_ms: Callable[[], int],
        seconds: Histogram,
        limits: Limits | None = None,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self.group = group
        self.counters = Counters()
        self._log = log
        self._flows = tuple(flows)
        self._codec = codec
        self._clock_ms = clock_ms
        self._seconds = seconds
        self._limits = limits
        self._worker: Worker | None = None
        self._stop = threading.Event()
        self._thread = (keeper or ThreadKeeper()).thread(f"worker {group}", self._run, self._stop)
        self._away_for: str | None = None
        self._kill_at: str | None = None

    def start(self) -> None:
        """Join the group and work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at hand, and leave the group."""
        self._stop.set()
        self._thread.join()

    def away(self) -> str | None:
        """Why it waits for the log; none if it does not."""
        return self._away_for

    @property
    def is_releasing(self) -> bool:
        """Whether events that waited are still to be applied, though nothing is left to read."""
        worker = self._worker
        return worker is not None and worker.is_releasing

    def halted(self) -> dict[str, str]:
        """Why each partition that was set aside was."""
        worker = self._worker
        aside = list(worker.halted.items()) if worker is not None else []
        return {f"{at.topic}/{at.partition}": str(why) for at, why in aside}

    def kill(self, point: str) -> None:
        """Have the worker die at a named point of its next batch."""
        self._kill_at = point

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._worker = self._hired()
                failures = 0
                self._worker.run(self._stop)
            except WorkerKilled as death:
                _log.warning("the worker was killed, another takes its place", group=self.group, point=str(death))
            except Unavailable as error:
                self._away(error)
                shortest, longest = AGAIN_S
                self._stop.wait(min(longest, shortest * 2.0 ** min(failures, 30)))
                failures += 1
            finally:
                worker, self._worker = self._worker, None
                if worker is not None:
                    worker.close()  # the embedded log knows no session time-out: the dead have to be buried

    def _hired(self) -> Worker:
        """A worker, which goes on with the counters of the one before."""
        worker = Worker(
            self._log,
            self._flows,
            self._codec,
            group=self.group,
            limits=self._limits,
            clock_ms=self._clock_ms,
            at=self._measured(),
            on_halt=_told,
            on_away=self._away,
            on_back=self._back,
        )
        self.counters = worker.counters = replace(self.counters, positions={})
        return worker

    def _away(self, error: Unavailable) -> None:
        self._away_for = str(error)
        _log.warning("a worker waits for the log", group=self.group, reason=str(error))

    def _back(self) -> None:
        self._away_for = None

    def _measured(self) -> Callable[[str], None]:
        began = 0.0

        def at(point: str) -> None:
            nonlocal began
            if point == self._kill_at:
                self._kill_at = None
                raise WorkerKilled(point)
            if point == "before_apply":
                began = time.perf_counter()
            elif point == "after_commit":
                self._seconds.observe(time.perf_counter() - began)
                self._thread.beat()

        return at


def _told(error: PartitionHalted) -> None:
    _log.error("a partition is set aside", partition=f"{error.partition.topic}/{error.partition.partition}", reason=str(error))
