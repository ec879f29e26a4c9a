"""One round: a fresh world on fresh topics, each fault once while its business goes on, everything checked after each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from infra.chaos import checks
from infra.chaos.cluster import ChaosCluster, NoCluster
from infra.chaos.disk import SmallDisk
from infra.chaos.faults import FAULTS, FaultTargets
from infra.chaos.fleet import ChaosWorker, Fleet
from infra.chaos.history import BUSY, busy_days
from infra.chaos.proxy import Proxy
from infra.chaos.system_under_test import KafkaSystemUnderTest
from infra.simulation.course import SimulationRun, _View
from infra.simulation.erp import Database
from infra.simulation.facts import RawMessage
from infra.simulation.system_under_test import NeverRests, SystemUnderTest
from infra.simulation.world import HOUR_MS, SimulatedWorld
from tables.common.policy import Policy

PACE_S = 0.05
THE_END = "(end of the round)"
CHECKED = "I1 one fate, I2 nothing oversold, I3 tables = oracle, I4 versions rise, no open transaction"
CHECKED_LAST = "I3 tables = fold(log), each output once, I5 replay changes nothing, local rows = changelog, verify"


@dataclass(frozen=True, slots=True)
class FaultReport:
    """One fault. `seconds`: how long it lasted; `recovery_s`: from its end until nothing was left to do. `wrong`: what the checks
    found.
    """

    seed: int
    fault: str
    what: str
    seconds: float
    recovery_s: float
    messages: int
    checked: str = CHECKED
    wrong: tuple[str, ...] = ()


Told = Callable[[FaultReport], None]


@dataclass(slots=True)
class ChaosEnvironment:
    """Where rounds take place. `disk`: none if this machine gives none."""

    directory: Path
    cluster: ChaosCluster
    proxy: Proxy
    disk: SmallDisk | None
    told: Told
    is_over: Callable[[], bool]


class ChaosRun(SimulationRun):
    """The simulation's run, on processes and brokers. One fault a busy day."""

    def __init__(self, seed: int, ground: ChaosEnvironment, faults: Sequence[str]) -> None:
        self.ground = ground
        self.faults = list(faults)
        self.struck: list[FaultReport] = []
        self._now: FaultReport | None = None
        SimulationRun.__init__(self, seed)

    def new_system(self, dice: Random, policy: Policy) -> SystemUnderTest:
        """Fresh topics, two workers: one behind the proxy, one on the small disk."""
        ground, name = self.ground, f"chaos.{self.seed}"
        place = ground.directory / f"round-{self.seed}"
        cluster = ground.cluster
        system = KafkaSystemUnderTest(dice, policy, cluster.bootstrap, place, name)
        most = dice.choice((2, 8, 32, 200))
        second = ground.disk.directory if ground.disk is not None else place / "w2"
        is_static = dice.random() < 0.3
        workers = [
            ChaosWorker(system.settings(ground.proxy.bootstrap, place / "w1", most, is_static=is_static), place),
            ChaosWorker(system.settings(cluster.bootstrap, second / f"w2-{self.seed}", most, is_static=is_static), place),
        ]
        guest = ChaosWorker(system.settings(cluster.bootstrap, place / "guest", most), place)
        system.fleet = Fleet([*workers, guest])
        self.site = FaultTargets(dice, cluster, ground.proxy, system, workers, guest, workers[0], ground.disk, self.send_bad)
        for worker in workers:
            worker.start()
        return system

    def new_world(self) -> SimulatedWorld:
        """The world of the seed. It begins a little ahead of the brokers' clocks, which date what the engine itself notes."""
        start_ms = time.time_ns() // 1_000_000 + HOUR_MS
        return SimulatedWorld(self.seed, now_ms=start_ms, has_poison=False, erp=Database(now_ms=start_ms))

    def play(self) -> Iterable[Any]:
        """Busy days while there are faults to come, and time."""
        return busy_days(self.world, _View(self), lambda: not self.faults or self.ground.is_over())

    def take(self, step: Any) -> list[str]:
        """Deliver a step, with a fault on busy days, and see whether all is well."""
        wrong = [*SimulationRun.take(self, step), *self._seen()]
        if self._now is not None:
            struck = self._now
            self._now = None
            self._note(FaultReport(**{name: getattr(struck, name) for name in FaultReport.__slots__} | {"wrong": tuple(wrong)}))
        elif wrong:
            self._note(FaultReport(self.seed, step.label, "no fault", 0, 0, len(step.messages), wrong=tuple(wrong)))
        return wrong

    def deliver(self, step: Any) -> None:
        """Messages and requests come in at a steady pace; the fault strikes meanwhile."""
        self.system.tick()
        if step.label != BUSY:
            SimulationRun.deliver(self, step)
            return
        name = self.faults.pop(0)
        feeder = _Feeder(self, step)
        began = time.monotonic()
        self._now = FaultReport(self.seed, name, "it was not got to its end", 0, 0, len(step.messages))
        feeder.start()
        try:
            what = FAULTS[name](self.site)
        except AssertionError as error:
            raise NeverRests(str(error)) from error
        finally:
            self.ground.proxy.resume()
            feeder.join()
        ended = time.monotonic()
        for worker in self.site.workers:
            self._keep_up(worker, name)
        if feeder.failed is not None:
            raise NeverRests(f"senders gave up: {feeder.failed}")
        self._rest()
        done = time.monotonic()
        assert isinstance(self.system, KafkaSystemUnderTest)
        minded, self.system.minded = self.system.minded, []
        self._now = FaultReport(self.seed, name, "; ".join([what, *minded]), ended - began, done - ended, len(step.messages))

    def send_bad(self, messages: list[RawMessage]) -> None:
        """Messages the world does not know of."""
        for message in messages:
            self.said[message.topic, message.key, message.value] = message
        self.system.send(messages)

    def _rest(self) -> None:
        try:
            self.ground.cluster.await_whole()
            self.system.rest()
        except NoCluster as error:
            raise NeverRests(str(error)) from None

    def _keep_up(self, worker: ChaosWorker, fault: str) -> None:
        """A worker without room for its files may end, and is started again, as its supervisor would."""
        if fault == "disk-full" and worker.died() is not None:
            worker.start()

    def _seen(self) -> list[str]:
        """What the mirror saw in the log, and workers that ended by themselves."""
        assert isinstance(self.system, KafkaSystemUnderTest)
        wrong, self.system.log.wrong = self.system.log.wrong, []
        return [*wrong, *self.system.fleet.died()]

    def _seen_to(self) -> list[str]:
        """A fault sees itself to what it has made stand."""
        return []

    def _note(self, struck: FaultReport) -> None:
        self.struck.append(struck)
        self.ground.told(struck)

    # --- at the end of the round -----------------------------------------------------------------------------------------

    def at_the_end(self) -> list[str]:
        """I5 and the folds again, as in the simulation; then, with the workers gone, what each has kept on its disk."""
        assert isinstance(self.system, KafkaSystemUnderTest)
        wrong = SimulationRun.at_the_end(self)
        wrong += self.system.fleet.stop()
        wrong += checks.local_rows(self.system)
        wrong += checks.verified(self.system)
        return [*wrong, *self._seen()]

    def _folded_again(self) -> list[str]:
        assert isinstance(self.system, KafkaSystemUnderTest)
        return list(checks.folded_again(self.system))

    def go_on(self) -> list[FaultReport]:
        """The round. Its own end is a line of its own."""
        began = time.monotonic()
        report = self.go()
        if not any(struck.wrong for struck in self.struck):
            seconds = time.monotonic() - began
            seconds, what = time.monotonic() - began, f"{report.inputs:,} inputs"
            self._note(FaultReport(self.seed, THE_END, what, seconds, 0, report.messages, CHECKED_LAST, report.wrong))
        return self.struck

    def close(self) -> None:
        """End the workers, by their pids."""
        assert isinstance(self.system, KafkaSystemUnderTest)
        self.system.fleet.kill()
        self.system.close()


class _Feeder(threading.Thread):
    """Senders, while the main thread breaks things."""

    def __init__(self, run: ChaosRun, step: Any) -> None:
        super().__init__(name="chaos-feeder", daemon=True)
        self._run_ = run
        self._messages = list(step.messages)
        self._commands = list(step.commands)
        self._dice = Random(run.seed ^ len(self._messages))  # noqa: S311 - the pace of a load
        self.failed: Exception | None = None

    def run(self) -> None:
        """Everything, in order, with requests in between."""
        system = self._run_.system
        try:
            while self._messages or self._commands:
                count = self._dice.choice((1, 2, 3, 8))
                system.send(self._messages[:count])
                del self._messages[:count]
                if self._commands and (not self._messages or self._dice.random() < 0.2):
                    self._run_.ask(self._commands.pop(0))
                time.sleep(self._dice.uniform(0, 2 * PACE_S))
        except Exception as error:
            self.failed = error
