"""A worker process under chaos: translators and folds, each group in a thread, until told to stop by a line on standard input.

    python -m streams.chaos.worker SETTINGS_AS_JSON

Lines it takes: `at POINT NTH SIGNAL` (send itself a signal the nth time from now that a batch is there) and `say` (where it
stands, on standard error). End of input stops it, so that it never outlives who started it. It ends with 3 and a sentence if
a partition halts.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from prometheus_client import CollectorRegistry

from schemas.codec import Codec
from streams.chaos.points import name_inside
from streams.engine.flow import Fold
from streams.engine.kafka import KafkaLog, KafkaSettings
from streams.engine.log import Unavailable
from streams.engine.partition import Flow, PartitionHalted
from streams.engine.worker import Pace, StepReport, Worker
from streams.reports import Reporter
from streams.simulation.plant import all_flows
from tables.policy import Policy, SitePolicy

HALTED = 3
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker process is told. `sites`: who owns the stock, and in how many days past-due supply is expected.

    `clock_shift_ms`: how wrong this machine's clock is.
    """

    bootstrap: str
    directory: str
    group: str
    sites: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    most: int = 16
    clock_shift_ms: int = 0
    is_static: bool = False

    def policy(self) -> Policy:
        """The promise policy."""
        return Policy(sites={site: SitePolicy(owner, late) for site, (owner, late) in self.sites.items()})  # type: ignore[arg-type]

    def as_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def kafka_settings(bootstrap: str, *, is_static: bool = False) -> KafkaSettings:
    """Times short enough that a fault outlasts them."""
    return KafkaSettings(
        bootstrap,
        session_ms=3_000,
        heartbeat_ms=300,
        rebalance_ms=20_000,
        transaction_ms=6_000,
        request_s=10.0,
        is_static=is_static,
    )


def by_group(group: str, flows: list[Flow]) -> dict[str, list[Flow]]:
    """Translators in one group, folds in the other."""
    return {
        f"{group}.translate": [flow for flow in flows if not isinstance(flow, Fold)],
        f"{group}.fold": [flow for flow in flows if isinstance(flow, Fold)],
    }


class _Trap:
    """Signals this process at a point, when it has been told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._point, self._left, self._signal = "", 0, 0

    def set(self, point: str, nth: int, number: int) -> None:
        with self._lock:
            self._point, self._left, self._signal = point, nth, number

    def at(self, point: str) -> None:
        with self._lock:
            if point != self._point:
                return
            self._left -= 1
            if self._left > 0:
                return
            self._point = ""
        os.kill(os.getpid(), self._signal)


class _Talking(Worker):
    """Says what it waits for, for the report of who does not come to rest."""

    def step(self, timeout_s: float = 0.0) -> StepReport:
        try:
            return super().step(timeout_s)
        except Unavailable as error:
            print(f"unavailable: {error}", file=sys.stderr, flush=True)
            raise


def _say(workers: Mapping[str, Worker]) -> None:
    for group, worker in workers.items():
        counts = worker.counters
        places = ", ".join(f"{at.topic}/{at.partition} {position}" for at, position in sorted(counts.positions.items()))
        done = f"{counts.inputs} inputs, fenced {counts.fenced}, unavailable {counts.unavailable}"
        print(f"{group}: {done}; owns {places or 'nothing'}", file=sys.stderr, flush=True)
    faulthandler.dump_traceback()


def _work(
    log: KafkaLog, group: str, flows: list[Flow], most: int, trap: _Trap, stop: threading.Event, workers: dict[str, Worker]
) -> None:
    pace = Pace(max_batch=most, min_batch=min(most, 16), poll_s=0.1, backoff_s=(0.05, 1.0))
    worker = None
    while worker is None:
        try:
            worker = _Talking(log, flows, Codec(), group=group, pace=pace, rng=Random(), at=trap.at, on_halt=_halted)  # noqa: S311
        except Unavailable as error:
            print(f"waiting for the brokers: {error}", file=sys.stderr, flush=True)
            if stop.wait(RETRY_S):
                return
    workers[group] = worker
    worker.run(stop)
    worker.close()


def _halted(error: PartitionHalted) -> None:
    print(f"halted: {error}", file=sys.stderr, flush=True)
    os._exit(HALTED)


def _guarded(*arguments: object) -> None:
    """A thread that dies takes its process with it, loudly."""
    try:
        _work(*arguments)  # type: ignore[arg-type]
    except BaseException as error:
        try:
            print(f"died: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(1)


def _shift_clock(by_ms: int) -> None:
    """As on a machine whose clock is wrong: nobody in this process can know better."""
    real = time.time_ns
    time.time_ns = lambda: real() + by_ms * 1_000_000


def main(settings: WorkerSettings) -> None:
    """Run until told to stop."""
    if settings.clock_shift_ms:
        _shift_clock(settings.clock_shift_ms)
    trap, stop = _Trap(), threading.Event()
    workers: dict[str, Worker] = {}
    name_inside(trap.at)
    log = KafkaLog(kafka_settings(settings.bootstrap, is_static=settings.is_static), Path(settings.directory))
    threads = [
        threading.Thread(target=_guarded, args=(log, group, flows, settings.most, trap, stop, workers), name=group)
        for group, flows in by_group(settings.group, all_flows(settings.policy())).items()
    ]
    for thread in threads:
        thread.start()
    reporter = Reporter(Path(settings.directory), dict, lambda: ("", True), CollectorRegistry())
    reporter.start()
    for line in sys.stdin:
        match line.split():
            case ["at", point, nth, number]:
                trap.set(point, int(nth), int(number))
            case ["say"]:
                _say(workers)
    stop.set()
    for thread in threads:
        thread.join()
    reporter.close()
    log.close()


if __name__ == "__main__":
    main(WorkerSettings(**json.loads(sys.argv[1])))
