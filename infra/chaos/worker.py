"""A worker process under chaos: translators and folds, each group in a thread, until told to stop by a line on standard input.

    python -m infra.chaos.worker SETTINGS_AS_JSON

Lines it takes: `at POINT NTH SIGNAL` (send itself a signal the nth time from now that a batch is there), `say` (where it stands,
on standard error), `clock MS` (its machine's clock is wrong by so much; it then leaves its clock's anchor), `die NUMBER` (a kept
thread dies). End of input stops it, so that it never outlives who started it. It ends with 3 and a sentence if a partition halts.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from prometheus_client import CollectorRegistry

from infra.chaos.points import name_inside
from infra.simulation.system_under_test import all_flows
from schemas.codec import Codec
from streams.engine.flow import Fold
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.keeper import Killed, ThreadKeeper
from streams.engine.limits import Limits, SourceLimit
from streams.engine.log import Unavailable
from streams.engine.partition import Flow, PartitionHalted
from streams.engine.worker import Pace, StepReport, Worker
from streams.monitoring.process_reports import Reporter
from streams.monitoring.trusted_clock import TrustedClock, anchor_in, keep_anchor
from tables.common.policy import Policy, SitePolicy

HALTED = 3
RETRY_S = 0.5
LIMITS = Limits(source=SourceLimit(100, share=0.0))
"""A few hundred bad messages are too many, whatever good ones come with them."""
DOWN_S = 3.0
"""A thread that has died is begun again after so long: longer than from one report to the next."""
SPARED = frozenset({"report", "kafka-keys"})
"""Threads that are not killed: who reports, and who begins with the first look-up by key, which no worker has."""


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
    """Says what it waits for, for the report of who does not come to rest. `beat`: it comes round."""

    beat: Callable[[], None]

    def step(self, timeout_s: float = 0.0) -> StepReport:
        self.beat()
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


@dataclass(slots=True)
class _Process:
    """What the threads of this process share."""

    log: KafkaLog
    most: int
    clock: TrustedClock
    keeper: ThreadKeeper = field(default_factory=lambda: ThreadKeeper((DOWN_S, 10 * DOWN_S)))
    trap: _Trap = field(default_factory=_Trap)
    stop: threading.Event = field(default_factory=threading.Event)
    workers: dict[str, Worker] = field(default_factory=dict)

    def down(self) -> dict[str, str]:
        """What does not run, as `crossdock run` reports it."""
        return self.keeper.down() | self.log.keeper.down()

    def kill_thread(self, number: int) -> None:
        """Have one of the kept threads die that run here."""
        kept = [(name, keeper) for keeper in (self.keeper, self.log.keeper) for name in keeper.names() if name not in SPARED]
        name, keeper = kept[number % len(kept)]
        keeper.kill(name)


def _work(process: _Process, group: str, flows: list[Flow]) -> None:
    log, most, stop = process.log, process.most, process.stop
    pace = Pace(max_batch=most, min_batch=min(most, 16), poll_s=0.1, backoff_s=(0.05, 1.0))
    worker = None
    while worker is None:
        try:
            worker = _Talking(
                log, flows, Codec(), group=group, pace=pace, limits=LIMITS, clock_ms=process.clock, rng=Random(),  # noqa: S311
                at=process.trap.at, on_halt=_halted,
            )  # fmt: skip
        except Unavailable as error:
            print(f"waiting for the brokers: {error}", file=sys.stderr, flush=True)
            if stop.wait(RETRY_S):
                return
    process.workers[group] = worker
    worker.beat = lambda: process.keeper.beat(thread_of(group))
    try:
        worker.run(stop)
    finally:
        worker.close()


def thread_of(group: str) -> str:
    """What the thread of a group is called."""
    return f"worker {group}"


def _halted(error: PartitionHalted) -> None:
    print(f"halted: {error}", file=sys.stderr, flush=True)
    os._exit(HALTED)


def _guarded(process: _Process, group: str, flows: list[Flow]) -> None:
    """A thread that dies takes its process with it, loudly, unless it was killed."""
    try:
        _work(process, group, flows)
    except Killed:
        raise
    except BaseException as error:
        try:
            print(f"died: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(1)


class _MachineClock:
    """As on a machine whose clock is wrong by `shift_ms`: nobody in this process can know better."""

    def __init__(self, shift_ms: int) -> None:
        self.shift_ms = shift_ms
        real = time.time_ns
        time.time_ns = lambda: real() + self.shift_ms * 1_000_000


def main(settings: WorkerSettings) -> None:
    """Run until told to stop."""
    machine, directory = _MachineClock(settings.clock_shift_ms), Path(settings.directory)
    clock = TrustedClock()
    clock.begin(anchor_in(directory), None)
    kafka = replace(kafka_settings(settings.bootstrap, is_static=settings.is_static), clock_ms=clock)
    process = _Process(KafkaLog(kafka, directory), settings.most, clock)
    process.log.keeper._backoff_s = (DOWN_S, 10 * DOWN_S)
    name_inside(process.trap.at)
    threads = [
        process.keeper.thread(thread_of(group), partial(_guarded, process, group, flows), process.stop)
        for group, flows in by_group(settings.group, all_flows(settings.policy())).items()
    ]
    for thread in threads:
        thread.start()
    reporter = Reporter(directory, process.down, lambda: ("", True), CollectorRegistry(), process.keeper)
    reporter.start()
    for line in sys.stdin:
        match line.split():
            case ["at", point, nth, number]:
                process.trap.set(point, int(nth), int(number))
            case ["say"]:
                _say(process.workers)
            case ["clock", shift_ms]:
                machine.shift_ms = int(shift_ms)
                keep_anchor(clock, directory)
            case ["die", number]:
                process.kill_thread(int(number))
    process.stop.set()
    for thread in threads:
        thread.join()
    reporter.close()
    process.log.close()


if __name__ == "__main__":
    main(WorkerSettings(**json.loads(sys.argv[1])))
