"""Rounds on one cluster, until the time is up. Everything started and mounted is ended and unmounted, whatever happens."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.chaos.cluster import ChaosCluster
from infra.chaos.course import ChaosEnvironment, ChaosRun, FaultReport, Told
from infra.chaos.disk import SmallDisk, why_no_disk
from infra.chaos.faults import FAULTS, IN_A_CLUSTER, ON_A_DISK
from infra.chaos.proxy import Proxy

GONE_S = 60.0
CLEAN_LOOKS = 10
"""So often no topic must show: any broker may answer, and one may be behind the others."""


@dataclass(slots=True)
class ChaosReport:
    """What was done. `left_out`: faults that this machine cannot have, and why."""

    seed: int
    brokers: int
    rounds: int = 0
    seconds: float = 0.0
    struck: list[FaultReport] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def survived(self) -> int:
        """Faults after which everything held."""
        return sum(1 for one in self.struck if one.fault in FAULTS and not one.wrong)

    @property
    def failed(self) -> list[FaultReport]:
        """Where something did not hold."""
        return [one for one in self.struck if one.wrong]


def chaos(
    seed: int,
    *,
    minutes: float | None = None,
    faults: Sequence[str] | None = None,
    brokers: int = 3,
    told: Told = lambda struck: None,
    began: Callable[[str], None] = lambda what: None,
) -> ChaosReport:
    """Rounds from `seed` on (seed, seed + 1, ...), at least one whole one; each strikes every fault once, in an order of its
    own. The first round in which something does not hold is the last one. Without `minutes`: one round.

    Raises `NoCluster` if there are no brokers to be had, `KeyError` for a fault that is not known.
    """
    report = ChaosReport(seed, brokers)
    wanted = _possible(list(faults or FAULTS), brokers, report.left_out)
    started = time.monotonic()
    until = started + 60 * (minutes or 0)
    with _ground(brokers, told, began, needs_disk=bool(ON_A_DISK & set(wanted)), left_out=report.left_out) as ground:
        wanted = [name for name in wanted if name not in ON_A_DISK or ground.disk is not None]
        while not report.failed and (report.rounds == 0 or time.monotonic() < until):
            number = seed + report.rounds
            if report.rounds:
                ground.is_over = lambda: time.monotonic() > until
            began(f"round {report.rounds + 1}, seed {number}")
            report.struck += _round(number, ground, wanted)
            report.rounds += 1
    report.seconds = time.monotonic() - started
    return report


def _possible(names: list[str], brokers: int, left_out: dict[str, str]) -> list[str]:
    found = []
    for name in names:
        if name not in FAULTS:
            raise KeyError(f"there is no fault {name}; there are: {', '.join(FAULTS)}")
        if name in IN_A_CLUSTER and brokers < 2:
            left_out[name] = "it needs more than one broker"
        elif name in ON_A_DISK and (why := why_no_disk()) is not None:
            left_out[name] = why
        else:
            found.append(name)
    return found


def _round(seed: int, ground: ChaosEnvironment, names: Sequence[str]) -> list[FaultReport]:
    order = list(names)
    Random(seed).shuffle(order)  # noqa: S311 - a seeded order
    run = ChaosRun(seed, ground, order)
    try:
        return run.go_on()
    finally:
        run.close()
        _forget(ground, run)


def _forget(ground: ChaosEnvironment, run: ChaosRun) -> None:
    """The next round begins with no topics, no groups, no files."""
    for worker in run.site.system.fleet.workers:
        shutil.rmtree(worker.directory, ignore_errors=True)
    admin = AdminClient({"bootstrap.servers": ground.cluster.bootstrap, "log_level": 0})
    deadline = time.monotonic() + GONE_S
    clean = 0
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            names = [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]
            clean = 0 if names else clean + 1
            if clean > CLEAN_LOOKS:
                return
            for future in (admin.delete_topics(names, operation_timeout=10) if names else {}).values():
                with suppress(KafkaException):
                    future.result(20)
        time.sleep(0.2)


@contextmanager
def _ground(
    brokers: int, told: Told, began: Callable[[str], None], *, needs_disk: bool, left_out: dict[str, str]
) -> Iterator[ChaosEnvironment]:
    directory = Path(tempfile.mkdtemp(prefix="crossdock-chaos-"))
    disk = cluster = proxy = None
    try:
        if needs_disk:
            disk = SmallDisk(directory / "disk")
            if disk.why_not is not None:
                left_out |= dict.fromkeys(ON_A_DISK, disk.why_not)
                disk = None
        began(f"starting {brokers} brokers")
        cluster = ChaosCluster(directory / "kafka", brokers)
        proxy = Proxy(cluster.proxied)
        yield ChaosEnvironment(directory, cluster, proxy, disk, told, lambda: False)
    finally:
        if proxy is not None:
            proxy.close()
        if cluster is not None:
            cluster.close()
        if disk is not None:
            disk.close()
        shutil.rmtree(directory, ignore_errors=True)
