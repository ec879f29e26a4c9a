"""`crossdock bench outage`: orders of four channels at a steady rate, the WMS away for a while, everything drained afterwards.

A sandbox in a process of its own, crossdock with its API over an empty log beside it, in a directory of their own.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.bench.deliveries import EndpointLog, lost_or_doubled, read_deliveries
from infra.bench.parts import cpu_ms
from infra.demo.assembly import DemoAssembly
from infra.demo.channels import wishes
from infra.demo.day import DemoDay, Step
from infra.demo.invariants import check_all
from infra.demo.world import DemoPlan
from schemas.codec import Codec
from streams.runtime.api_server import bound
from streams.runtime.app import now_ms
from streams.settings.settings import Settings, load

SYSTEMS = ("--step-s", "0.5", "--stock", "100000", "--confirm-s", "0.5")
WMS = "wms"
SHOWN = 5


@dataclass(frozen=True, slots=True)
class OutageLoad:
    """`rate` orders a second for `seconds`, in whose middle the WMS is away for `outage_s`."""

    rate: float
    seconds: float
    outage_s: float
    seed: int = 1


@dataclass(slots=True)
class EndpointFigures:
    """What an endpoint was given, and how long from owed to done: of what was raised before, and during, the outage, in ms."""

    done: int = 0
    largest_backlog: int = 0
    p50_before_ms: int | None = None
    p99_before_ms: int | None = None
    p50_during_ms: int | None = None
    p99_during_ms: int | None = None


@dataclass(slots=True)
class OutageBench:
    """What was measured.

    `late_s`: by how much the last order came later than it should have. `drain_s`: from the WMS's return until the last of what
    was owed to it then was done. `overtaken_most`, `overtaken_p99`: by how many obligations raised later one was overtaken.
    `cpu_ms`: of each part, for an order. `wrong`: what was lost, doubled, out of its order's order, or an invariant broken.
    """

    orders: int = 0
    lines: int = 0
    orders_per_s: float = 0.0
    late_s: float = 0.0
    waiting_at_end: int = 0
    quiet_after_s: float = 0.0
    drain_s: float = 0.0
    overtaken_most: int = 0
    overtaken_p99: int = 0
    events: int = 0
    invariants: int = 0
    endpoints: dict[str, EndpointFigures] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def bench_outage(load_: OutageLoad, step: Step = lambda *_: None) -> OutageBench:
    """Measure. Raises `NoSandbox` if there is none, `RuntimeError` if something halts or it never becomes quiet."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as directory, contextlib.ExitStack() as stack:
        settings: Settings = load(data=Path(directory), log=f"embedded:{directory}", api="127.0.0.1:0")
        sock = stack.enter_context(bound(settings.api_host, settings.api_port))
        return _Outage(DemoAssembly(settings, sock, load_.seed, stack, SYSTEMS), load_, step).run()


class _Outage:
    """One run."""

    def __init__(self, stage: DemoAssembly, load_: OutageLoad, step: Step) -> None:
        self._stage = stage
        self._load = load_
        self._step = step
        self._day: DemoDay = stage.day(step)
        self._down_ms = self._up_ms = 0
        self._found = OutageBench()

    def run(self) -> OutageBench:
        """Get ready, order, wait until it is quiet, look at what happened."""
        stage, found = self._stage, self._found
        self._day.ingest()
        self._day.open_warehouse()
        before, events = cpu_ms(stage.sandbox.pid), stage.app.counters().inputs
        began = time.monotonic()
        self._order()
        ended = time.monotonic()
        found.orders_per_s = round(found.orders / (ended - began), 1)
        found.late_s = round(max(0.0, ended - began - self._load.seconds), 1)
        found.waiting_at_end = stage.app.watch.waiting()
        self._day.wait_until_quiet()
        found.quiet_after_s = round(time.monotonic() - ended, 1)
        spent = cpu_ms(stage.sandbox.pid)
        spent.subtract(before)
        found.cpu_ms = {part: round(ms / found.orders, 2) for part, ms in spent.most_common() if ms >= found.orders / 20}
        found.events = stage.app.counters().inputs - events
        self._look_back()
        return found

    # --- ordering --------------------------------------------------------------------------------------------------------

    def _order(self) -> None:
        plan, found = self._plan(), self._found
        turns = self._turns()
        due = next(turns, None)
        began = time.monotonic()
        for wish in wishes(plan, now_ms):
            if wish.kind == "order":
                at = began + found.orders / self._load.rate
                while due is not None and began + due[0] <= max(at, time.monotonic()):
                    self._sleep(began + due[0])
                    due[1]()
                    due = next(turns, None)
                self._sleep(at)
                found.orders += 1
                found.lines += len(wish.body["lines"])
                self._step("orders", found.orders, plan.orders)
            self._stage.doors.bring(wish)
        self._stage.doors.flush()
        for at_s, turn in ([due] if due else []) + list(turns):
            self._sleep(began + at_s)
            turn()
        self._sleep(began + self._load.seconds)

    def _turns(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """When the WMS goes and comes, in seconds from the start."""
        if self._load.outage_s:
            start_s = (self._load.seconds - self._load.outage_s) / 2
            yield start_s, self._down
            yield start_s + self._load.outage_s, self._up

    def _down(self) -> None:
        self._stage.sandbox.control(WMS, down=True)
        self._down_ms = now_ms()

    def _up(self) -> None:
        self._stage.sandbox.control(WMS, down=False)
        self._up_ms = now_ms()

    def _plan(self) -> DemoPlan:
        """Of customers with all the credit in the world: an order that is held is no load."""
        plan = self._day.plan(self._load.seed, round(self._load.rate * self._load.seconds), 0)
        rows = self._stage.app.tables.scan("customers", "customers")
        free = {
            key[0]: row.price_list for key, row in rows if not row.is_deleted and row.credit_limit is None and not row.credit_hold
        }
        return replace(plan, customers=free or plan.customers, duplicate_rate=0.0)

    def _sleep(self, until: float) -> None:
        for name, why in self._stage.app.halted().items():
            raise RuntimeError(f"the {name} has halted: {why}")
        time.sleep(max(0.0, until - time.monotonic()))

    # --- what happened ---------------------------------------------------------------------------------------------------

    def _look_back(self) -> None:
        found, app = self._found, self._stage.app
        logs = read_deliveries(app.log, Codec())
        for name, log in sorted(logs.items()):
            found.endpoints[name] = self._figures(log)
            found.wrong += [f"{name} never settled {one}" for one in log.lost()[:SHOWN]]
            found.wrong += [f"{name} settled {one} twice" for one in log.twice[:SHOWN]]
            found.wrong += [f"{name} settled {one} before an older one of its order" for one in log.out_of_order()[:SHOWN]]
        wms = logs.get(WMS, EndpointLog())
        found.wrong += lost_or_doubled(wms, self._stage.sandbox.state(WMS))[:SHOWN]
        found.drain_s = wms.drained_ms(self._up_ms) / 1000 if self._up_ms else 0.0
        overtaken = wms.overtaken() or [0]
        found.overtaken_most, found.overtaken_p99 = overtaken[-1], overtaken[len(overtaken) * 99 // 100]
        invariants = check_all(app, self._stage.sandbox)
        found.invariants = len(invariants)
        found.wrong += [f"{i.name}: {violation}" for i in invariants for violation in i.violations]

    def _figures(self, log: EndpointLog) -> EndpointFigures:
        figures = EndpointFigures(log.settled, log.largest_backlog())
        end_ms = self._down_ms or now_ms()
        if before := log.latencies_ms(0, end_ms):
            figures.p50_before_ms, figures.p99_before_ms = before[len(before) // 2], before[len(before) * 99 // 100]
        if during := log.latencies_ms(end_ms, self._up_ms):
            figures.p50_during_ms, figures.p99_during_ms = during[len(during) // 2], during[len(during) * 99 // 100]
        return figures
