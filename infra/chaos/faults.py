"""The faults. Each strikes while messages come in, and leaves everything running again when it returns.

A fault says what it did in a few words; dice decide whom it hits, when and how long.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGSTOP

from infra.chaos.cluster import ChaosCluster
from infra.chaos.disk import SmallDisk
from infra.chaos.fleet import ChaosWorker
from infra.chaos.points import INSIDE, OUTSIDE
from infra.chaos.proxy import Proxy
from infra.chaos.system_under_test import KafkaSystemUnderTest
from infra.chaos.worker import LIMITS
from infra.simulation import feeds
from infra.simulation.facts import RawMessage
from infra.simulation.history import GARBAGE, GARBAGE_TOPICS
from infra.simulation.world import HOUR_MS
from schemas.topics import source_of
from streams.monitoring.trusted_clock import ANCHOR_FILE, ClockPolicy

SESSION_S = 3.0
TRANSACTION_S = 6.0
POINT_S = 20.0
SHIFTS_MS = (-40 * 24 * HOUR_MS, -HOUR_MS, HOUR_MS, 4 * 24 * HOUR_MS, 400 * 24 * HOUR_MS)


@dataclass(slots=True)
class FaultTargets:
    """All that can be broken. `behind_proxy` and `on_disk`: the worker that reaches the brokers through the proxy, and the one
    that lives on the small disk (none: this machine gives none). `guest` comes and goes. `send_bad` sends what is not a message.
    """

    dice: Random
    cluster: ChaosCluster
    proxy: Proxy
    system: KafkaSystemUnderTest
    workers: list[ChaosWorker]
    guest: ChaosWorker
    behind_proxy: ChaosWorker
    disk: SmallDisk | None
    send_bad: Callable[[list[RawMessage]], None]

    def worker(self) -> ChaosWorker:
        """One of the workers."""
        return self.dice.choice(self.workers)

    def broker(self) -> int:
        """One of the brokers."""
        return self.dice.randint(1, self.cluster.brokers)

    def wait(self, low_s: float, high_s: float) -> float:
        """Let some time pass."""
        seconds = self.dice.uniform(low_s, high_s)
        time.sleep(seconds)
        return seconds

    def a_point(self) -> tuple[str, int]:
        """A point of a batch to come."""
        return self.dice.choice((*OUTSIDE, *INSIDE)), self.dice.randint(1, 4)


def kill_at_point(site: FaultTargets) -> str:
    """Kill -9 of a worker at a named point of a batch."""
    worker, (point, nth) = site.worker(), site.a_point()
    worker.tell(point, nth, SIGKILL)
    if not worker.await_signalled(POINT_S, SIGKILL):
        point = "no batch came, at a random moment"
    worker.kill()
    away_s = site.wait(0, 0.1) if site.dice.random() < 0.5 else site.wait(SESSION_S, SESSION_S + 2)
    worker.start()
    return f"{worker.directory.name} at {point}, back after {away_s:.1f} s"


def kill(site: FaultTargets) -> str:
    """Kill -9 of a worker at a random moment, twice."""
    said = []
    for _ in range(2):
        worker = site.worker()
        site.wait(0.2, 1.5)
        worker.kill()
        said.append(f"{worker.directory.name}, back after {site.wait(0, SESSION_S + 1):.1f} s")
        worker.start()
    return "; ".join(said)


def kill_all(site: FaultTargets) -> str:
    """Kill -9 of all workers at once."""
    site.wait(0.2, 2)
    for worker in site.workers:
        worker.kill()
    away_s = site.wait(0, 2)
    for worker in site.workers:
        worker.start()
    return f"all at once, back after {away_s:.1f} s"


def freeze(site: FaultTargets) -> str:
    """SIGSTOP of a worker past its session, sometimes past its transaction; then SIGCONT: a zombie."""
    worker, (point, nth) = site.worker(), site.a_point()
    worker.tell(point, nth, SIGSTOP)
    if not worker.await_signalled(POINT_S, SIGSTOP):
        point = "a random moment"
        worker.freeze()
    stood_s = site.wait(*site.dice.choice(((SESSION_S + 1, SESSION_S + 2), (TRANSACTION_S + 1, TRANSACTION_S + 2))))
    worker.thaw()
    return f"{worker.directory.name} at {point} for {stood_s:.1f} s"


def storm(site: FaultTargets) -> str:
    """A worker joins and leaves, again and again, by itself or killed."""
    said = []
    for _ in range(4):
        site.guest.start()
        site.wait(1.5, 3.5)
        is_killed = site.dice.random() < 0.5
        (site.guest.kill if is_killed else site.guest.stop)()
        said.append("killed" if is_killed else "left")
        site.wait(0, 0.5)
    return f"a third worker joined, and {', '.join(said)}"


def damage(site: FaultTargets) -> str:
    """A worker is killed, and files of its stores are damaged while it is down."""
    worker = site.worker()
    site.wait(0.5, 1.5)
    worker.kill()
    stores = sorted(path.parent for path in (worker.directory / "stores").rglob("CURRENT"))
    said = []
    for store in site.dice.sample(stores, min(3, len(stores))):
        how = site.dice.choice(sorted(_DAMAGES))
        _DAMAGES[how](store, site.dice)
        said.append(f"{store.parent.name}/{store.name} {how}")
    worker.start()
    return f"{worker.directory.name}: {', '.join(said) or 'it had no stores'}"


def _gone(store: Path, dice: Random) -> None:
    del dice
    shutil.rmtree(store)


def _blank(store: Path, dice: Random) -> None:
    """The first lines of every file are zeros."""
    del dice
    for file in [path for path in store.iterdir() if path.is_file()]:
        with file.open("r+b") as opened:
            opened.write(b"\0" * min(4096, file.stat().st_size))


def _cut(store: Path, dice: Random) -> None:
    """A file has lost its end."""
    files = sorted(path for path in store.iterdir() if path.is_file() and path.stat().st_size)
    file = dice.choice(files)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def _rotten(store: Path, dice: Random, kinds: Collection[str] = (".sst", ".log")) -> None:
    """Some bytes of the data files are others."""
    for file in [path for path in sorted(store.iterdir()) if path.suffix in kinds and path.stat().st_size]:
        size = min(file.stat().st_size, 1 << 20)
        with file.open("r+b") as opened:
            for _ in range(8):
                opened.seek(dice.randrange(size))
                opened.write(dice.randbytes(1))


_DAMAGES: dict[str, Callable[[Path, Random], None]] = {"gone": _gone, "blank": _blank, "cut": _cut, "rotten": _rotten}


def rot(site: FaultTargets) -> str:
    """Bytes of a running worker's rows become others: it learns of it where it reads them, and makes the store again."""
    worker = site.worker()
    worker.kill()  # what its rows were written to is then, once it is back, in files that can rot
    worker.start()
    site.wait(3, 5)
    stores = sorted({path.parent for path in (worker.directory / "stores").rglob("*.sst")})
    said = []
    for store in site.dice.sample(stores, min(4, len(stores))):
        with suppress(OSError):  # files come and go while it runs
            _rotten(store, site.dice, {".sst"})
            said.append(f"{store.parent.name}/{store.name}")
    site.wait(0.5, 2)
    return f"{worker.directory.name}: {', '.join(said) or 'it had no files of rows'}"


def copied_directory(site: FaultTargets) -> str:
    """A worker is killed, its directory is copied, and both come up: with names of their own, and the rows that were there."""
    worker = site.worker()
    site.wait(0.5, 1.5)
    worker.kill()
    shutil.rmtree(site.guest.directory, ignore_errors=True)
    shutil.copytree(worker.directory, site.guest.directory)
    worker.start()
    site.guest.start()
    ran_s = site.wait(SESSION_S + 2, SESSION_S + 5)
    names = [(one.directory / "name").read_text().split()[0] for one in (worker, site.guest)]
    died = site.guest.died() or worker.died()
    site.guest.stop()
    assert len(set(names)) == len(names), f"a copied directory kept its name {names[0]}"
    assert died is None, died
    return f"{worker.directory.name} and its copy ran for {ran_s:.1f} s"


def thread(site: FaultTargets) -> str:
    """A kept thread of a worker dies: the worker says so and is not ready, until the thread has been begun again."""
    worker = site.worker()
    worker.await_told(ready=True)
    site.wait(0, 1)
    worker.kill_thread(site.dice.randrange(100))
    said = worker.await_told(ready=False)
    worker.await_told(ready=True)
    return f"{worker.directory.name}: {said}"


def garbage(site: FaultTargets) -> str:
    """A feed sends a few hundred messages nobody can read: its source is paused, all else goes on, a person resumes it."""
    topic, most = site.dice.choice(GARBAGE_TOPICS), LIMITS.source.dead_letters
    source = str(source_of(topic))
    count = site.dice.randint(2, 4) * most + site.dice.randint(10, most // 2)
    site.send_bad([feeds.garbage(topic, site.dice.choice(GARBAGE)) for _ in range(count)])
    person = site.system.person()
    try:
        ended: set[str] = set()
        while True:
            site.system.rest(until=lambda: any(pause.record not in ended for pause in person.paused()))
            paused = [pause for pause in person.paused() if pause.record not in ended]
            if not paused:
                break
            assert [pause.source for pause in paused] == [source], f"{count} bad messages in {topic} paused {paused}"
            site.system.rest(but_for=source)
            assert not site.system.is_done(), f"{source} is paused, and was read on"
            person.resume(source, "chaos", "the feed is right again")
            ended.add(paused[0].record)
    finally:
        person.close()
    assert len(ended) >= count // most - 1, f"{count} bad messages in {topic} paused {source} {len(ended)} times"
    return f"{count} bad messages in {topic}, {source} paused and resumed {len(ended)} times"


def disk_full(site: FaultTargets) -> str:
    """The disk under a worker's files is full for a while."""
    assert site.disk is not None
    site.wait(0.3, 1)
    site.disk.fill()
    full_s = site.wait(3, 6)
    site.disk.free()
    return f"for {full_s:.1f} s"


def stall(site: FaultTargets) -> str:
    """The network between a worker and the brokers stands still, both ways or for answers only; then goes on."""
    ways = site.dice.choice(((), ("answers",), ("requests",)))
    site.wait(0.2, 1)
    site.proxy.stall(*ways)
    stood_s = site.wait(*site.dice.choice(((1, 2), (SESSION_S + 1, SESSION_S + 3), (TRANSACTION_S + 4, TRANSACTION_S + 6))))
    site.proxy.resume()
    return f"{' and '.join(ways) or 'all'} for {stood_s:.1f} s"


def cut(site: FaultTargets) -> str:
    """Every connection of a worker to the brokers is cut, a few times."""
    times = site.dice.randint(2, 5)
    for _ in range(times):
        site.wait(0.2, 1.2)
        site.proxy.cut()
    return f"{times} times"


def broker_kill(site: FaultTargets) -> str:
    """Kill -9 of a broker, which comes back."""
    number = site.broker()
    site.wait(0.2, 1)
    site.cluster.kill(number)
    away_s = site.wait(0.5, 4)
    site.cluster.start(number)
    return f"broker {number}, back after {away_s:.1f} s"


def broker_freeze(site: FaultTargets) -> str:
    """A broker stands still until the others have gone on without it, then goes on itself."""
    number = site.broker()
    site.wait(0.2, 1)
    site.cluster.freeze(number)
    stood_s = site.wait(6, 9)
    site.cluster.thaw(number)
    return f"broker {number} for {stood_s:.1f} s"


def leader_change(site: FaultTargets) -> str:
    """A broker workers its partitions over and ends; once it is back, preferred leaders take over again."""
    number = site.broker()
    site.wait(0.2, 1)
    site.cluster.stop(number)
    site.cluster.start(number)
    site.cluster.await_whole()
    site.cluster.await_preferred()
    return f"away from broker {number} and back"


def clock(site: FaultTargets) -> str:
    """A worker's clock steps while it runs, which it does not believe, and is wrong from then on; what ticks goes back, too.

    After a restart it still goes by the time before, unless nothing is left to know that from.
    """
    worker, shift_ms, most_ms = site.worker(), site.dice.choice(SHIFTS_MS), ClockPolicy().bound_ms
    off_ms = worker.clock_off_ms(shift_ms)
    assert abs(off_ms) <= most_ms, f"{worker.directory.name} believes a step of {shift_ms} ms: its time is wrong by {off_ms} ms"
    site.system.tick_at(site.system.now_ms + off_ms)
    worker.stop()
    is_new = site.dice.random() < 0.5
    if is_new:
        (worker.directory / ANCHOR_FILE).unlink()
    worker.start(shift_ms)
    off_ms = worker.clock_off_ms(shift_ms)
    assert is_new or abs(off_ms) <= most_ms, f"started again, {worker.directory.name} is wrong by {off_ms} ms"
    back_ms = site.dice.randint(1, 5 * HOUR_MS)
    site.system.tick_at(site.system.now_ms - back_ms)
    site.wait(1, 2)
    went = "believed, as by a new machine" if is_new else "not believed"
    return f"{worker.directory.name} by {shift_ms / HOUR_MS:+,.0f} h, {went}; a tick from {back_ms / HOUR_MS:.1f} h ago"


Strike = Callable[[FaultTargets], str]
FAULTS: dict[str, Strike] = {
    "kill-point": kill_at_point,
    "kill": kill,
    "kill-all": kill_all,
    "freeze": freeze,
    "storm": storm,
    "damage": damage,
    "rot": rot,
    "copied-directory": copied_directory,
    "thread": thread,
    "garbage": garbage,
    "disk-full": disk_full,
    "stall": stall,
    "cut": cut,
    "broker-kill": broker_kill,
    "broker-freeze": broker_freeze,
    "leader-change": leader_change,
    "clock": clock,
}
"""By name, as `--faults` takes them."""
ON_A_DISK = frozenset({"disk-full"})
IN_A_CLUSTER = frozenset({"leader-change"})
