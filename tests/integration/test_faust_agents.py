"""Agents on Faust and a real broker: killed, stopped past their session, wedged. Nothing is lost, each effect is there once."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.deliveries import DeliveryTick, ObligationRaised, ObligationSettled
from schemas.obligations import NotifyStatus, to_json
from streams.agents.dispatch_run import GRACE_S
from streams.agents.faust_app import COMMIT_S, FaustApp
from streams.agents.faust_host import FaustHost, Timer
from streams.engine.kafka.log import KafkaLog
from streams.engine.log import Fenced, Outgoing, TopicPartition, Unavailable
from streams.engine.partitions import partition_of
from streams.engine.worker import Worker
from streams.flows.deliveries import deliveries_fold
from tables.deliveries.state import EndpointPolicies
from tests.support.endpoints import Endpoint
from tests.support.faust_agents import CODEC, PATIENCE, dispatch, host, now_ms, portals, record_of, settings
from tests.support.kafka_broker import SCRIPTS
from tests.support.log_harness import fresh, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.kafka
INBOX = topics.DELIVERY_INBOX
_names = itertools.count()


class Plant:
    """The delivery fold at work on a broker, woken every so often, and an endpoint that counts what took effect."""

    def __init__(self, broker: str, directory: Path) -> None:
        self.broker = broker
        self.directory = directory
        self.endpoint = Endpoint()
        self.group = fresh("act")
        self.log = KafkaLog(settings(broker), directory / "fold")
        self.log.create(topics.DEFINED)
        policies = {name: portal.to_policy() for name, portal in portals(self.endpoint.url).items()}
        self._worker = Worker(self.log, [deliveries_fold(EndpointPolicies(policies))], CODEC, group=fresh("fold"))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._work, self._tick)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        self._worker.run(self._stop)

    def _tick(self) -> None:
        """What the clock does for the fold; here always, because who ticks is what some tests are about."""
        while not self._stop.wait(0.25):
            now = now_ms()
            tick = DeliveryTick(
                event_id=f"{now}", source=topics.CLOCK, source_position=now, occurred_at_ms=now, recorded_at_ms=now, trace_id="t"
            )  # fmt: skip
            self._append([Outgoing(INBOX.name, n, b"clock", CODEC.encode(tick)) for n in range(INBOX.partitions)])

    def _append(self, records: list[Outgoing]) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.log.append(records)
            except (Unavailable, Fenced):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return

    def owe(self, orders: int, notices: int, endpoints: list[str] | None = None) -> set[str]:
        """Notices of orders nobody has heard of, spread over endpoints; their names."""
        names = endpoints or [f"portal{n}" for n in range(8)]
        batch, owed = f"web:{next(_names)}", []
        for number, order in itertools.product(range(notices), range(orders)):
            endpoint, name = names[order % len(names)], f"{batch}-{order}/{number}"
            body = to_json(NotifyStatus(f"{batch}-{order}", number, "accepted", "web", batch, "C-1", 0))
            raised = ObligationRaised(
                event_id=name, source="orders", source_position=number, occurred_at_ms=0, recorded_at_ms=now_ms(), trace_id=name,
                endpoint=endpoint, aggregate=f"{batch}-{order}", obligation_id=name, kind="notify_status", body=body,
            )  # fmt: skip
            key = endpoint.encode()
            owed.append((name, Outgoing(INBOX.name, partition_of(key, INBOX.partitions), key, CODEC.encode(raised))))
        self._append([record for _, record in owed])
        return {name for name, _ in owed}

    def done(self, owed: set[str]) -> int:
        """How many of what is owed has taken effect."""
        return len({request.key for request in list(self.endpoint.effects)} & owed)

    def settled(self, owed: set[str]) -> list[ObligationSettled]:
        """What the orders were told of it."""
        found = []
        for n in range(topics.ORDER_INBOX.partitions):
            records = self.log.read(TopicPartition(topics.ORDER_INBOX.name, n), 0, 10_000)
            found += [CODEC.decode(record.value or b"") for record in records]
        return [event for event in found if event.obligation_id in owed]

    def check_all_told(self, owed: set[str], patience_s: float = 60) -> list[ObligationSettled]:
        """Each notice took effect once, those of an order in their order, and each order heard of each once: done."""
        wait(lambda: len(self.settled(owed)) >= len(owed), patience_s, lambda: f"{self.done(owed)} of {len(owed)} took effect")
        effects = [request for request in self.endpoint.effects if request.key in owed]
        assert Counter(request.key for request in effects) == Counter(owed)
        told: dict[str, list[int]] = {}
        for request in effects:
            told.setdefault(request.json["order_id"], []).append(request.json["sequence"])
        assert all(numbers == sorted(numbers) for numbers in told.values())
        settled = self.settled(owed)
        assert Counter((event.obligation_id, event.outcome) for event in settled) == Counter((name, "done") for name in owed)
        return settled

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._worker.close()
        self.log.close()
        self.endpoint.close()


def wait(is_so: Any, patience_s: float, say: Any = lambda: "") -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, say()
        time.sleep(0.05)


def emptied(broker: str) -> None:
    """No topic of ours: what other tests have left there is not for these agents."""
    admin = AdminClient({"bootstrap.servers": broker})
    names = {topic.name for topic in topics.DEFINED}
    there = names & set(admin.list_topics(timeout=10).topics)
    for future in (admin.delete_topics(list(there)) if there else {}).values():
        future.result(30)
    until(lambda: not names & set(admin.list_topics(timeout=10).topics))


@pytest.fixture(scope="module")
def system(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    emptied(broker)
    system = Plant(broker, tmp_path_factory.mktemp("faust"))
    yield system
    system.close()


class Process:
    """A process of agents; `ticks` counts how often its timer ran."""

    def __init__(self, system: Plant) -> None:
        directory = system.directory / f"act{next(_names)}"
        program = [sys.executable, "-m", "tests.support.faust_agents", system.broker, str(directory), system.endpoint.url]
        self.process = subprocess.Popen(
            [*program, system.group], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=lambda: self.said.extend(self._lines(self.process.stdout)), daemon=True),
            threading.Thread(target=lambda: self.errors.extend(self._lines(self.process.stderr)), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _lines(pipe: Any) -> Iterator[str]:
        for line in pipe:
            yield line.strip()

    @property
    def ticks(self) -> int:
        return self.said.count("tick")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Ask it to stop, and require that it does so in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0, self.errors
        for thread in self._threads:
            thread.join()
        assert self.said[-1] == "ended"
        assert not [word for word in self.said if word.startswith("halted")]

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(60)


@contextmanager
def processes(system: Plant, count: int) -> Iterator[list[Process]]:
    made = [Process(system) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            if one.process.poll() is None:
                one.kill()
            for pipe in (one.process.stdin, one.process.stdout, one.process.stderr):
                assert pipe is not None
                pipe.close()


def test_killed_agents_lose_nothing_and_their_timers_go_on_elsewhere(system: Plant) -> None:
    """kill -9 in the middle of calls, one process after the other; the last one does what is left."""
    system.endpoint.slow_s = 0.1
    with processes(system, 2) as both:
        wait(lambda: any(one.ticks for one in both), 60)
        owed = system.owe(orders=24, notices=4)
        wait(lambda: system.done(owed) > 10, 60)
        leader, other = sorted(both, key=lambda one: -one.ticks)
        leader.kill()
        assert system.done(owed) < len(owed)
        system.check_all_told(owed)
        wait(lambda: other.ticks > 0, 60)
        other.end()


def test_what_the_dead_had_in_hand_is_made_again_before_its_lease_runs_out(system: Plant) -> None:
    """Whoever gets a partition looks back at what is leased and not answered: the attempts stay the first ones."""
    system.endpoint.slow_s = 6.0
    with processes(system, 1) as (first,):
        owed = system.owe(orders=6, notices=2, endpoints=["patient"])
        wait(lambda: system.endpoint.at_once == 6, 60)
        time.sleep(2 * COMMIT_S)  # for Faust they are done with
        first.kill()
    assert system.done(owed) == 0
    system.endpoint.slow_s = 0.0
    with processes(system, 1) as (second,):
        settled = system.check_all_told(owed)
        second.end()
    assert {event.attempts for event in settled} == {1}


def test_stopped_past_their_session_and_continued_they_repeat_nothing_and_work_on(system: Plant) -> None:
    """SIGSTOP is a long pause of the machine: another has the partitions meanwhile, and the zombie finds its place again."""
    system.endpoint.slow_s = 0.1
    with processes(system, 1) as (zombie,):
        owed = system.owe(orders=16, notices=3)
        wait(lambda: system.done(owed) > 5, 60)
        zombie.signal(signal.SIGSTOP)
        with processes(system, 1) as (other,):
            system.check_all_told(owed)
            more = system.owe(orders=16, notices=3)
            zombie.signal(signal.SIGCONT)
            system.check_all_told(more)
            other.end()
        system.check_all_told(system.owe(orders=16, notices=1))
        zombie.end()


class Hosted:
    """Hosts of agents in this process; for each, how often its timer ran (`ticks`), and its crontab (`chimes`)."""

    def __init__(self, system: Plant, apps: list[FaustApp]) -> None:
        self.system = system
        self.apps = apps
        self.halted: list[str] = []
        self.ticks: Counter[int] = Counter()
        self.chimes: Counter[int] = Counter()
        self.hosts: list[FaustHost] = []
        self.registries: list[CollectorRegistry] = []

    def hire(self, tick: Any = None) -> FaustHost:
        system, n = self.system, len(self.hosts)

        def count() -> None:
            self.ticks[n] += 1
            if tick is not None:
                tick()

        timers = [
            Timer("tick", 0.2, count),
            Timer("chime", 60, lambda: self.chimes.update([n]), at="* * * * * */1", timezone="America/Chicago"),
        ]
        made, registry = host(system.log, settings(system.broker), system.endpoint.url, system.group, self.halted.append, timers)
        made.start()
        self.hosts.append(made)
        self.registries.append(registry)
        # One after the other: two Faust apps that start in one process at once, as no process of ours does, disturb each other.
        wait(lambda: len(self.apps) > n and self.apps[-1].consumer_generation_id > 0, 60)
        return made

    def lives(self, n: int) -> float:
        return self.registries[n].get_sample_value("crossdock_agent_lives_total") or 0


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> list[FaustApp]:
    """The Faust apps, as they are begun."""
    begun: list[FaustApp] = []

    def noted(self: FaustApp, *args: Any) -> None:
        original(self, *args)
        begun.append(self)

    original: Any = FaustApp.__init__
    monkeypatch.setattr(FaustApp, "__init__", noted)
    return begun


@pytest.fixture
def hosted(system: Plant, apps: list[FaustApp]) -> Iterator[Hosted]:
    system.endpoint.slow_s = 0.0
    hosted = Hosted(system, apps)
    yield hosted
    for one in hosted.hosts:
        one.stop()


def test_a_consumer_that_stops_delivering_is_found_and_replaced(system: Plant, hosted: Hosted, apps: list[FaustApp]) -> None:
    """Faust's known way to fail: a member in good standing that asks for records and gets none."""

    async def fetch_nothing(consumer: Any, *_: Any, **__: Any) -> dict[Any, Any]:
        with consumer._subscription.fetch_context():
            await asyncio.sleep(0.1)
        return {}

    hosted.hire()
    system.check_all_told(system.owe(orders=8, notices=1))
    (app,) = apps
    time.sleep(GRACE_S + 1)  # the look at earlier dispatches, which every life begins with, would find these too
    app.consumer._thread._fetch_records = fetch_nothing  # type: ignore[attr-defined]
    time.sleep(2)  # for a fetch under way to end
    system.check_all_told(system.owe(orders=8, notices=1))
    assert hosted.lives(0) == 2
    assert not hosted.halted


def test_a_crash_of_faust_begins_a_new_life_and_calls_in_flight_go_on(
    system: Plant, hosted: Hosted, apps: list[FaustApp]
) -> None:
    system.endpoint.slow_s = 0.5
    hosted.hire()
    owed = system.owe(orders=4, notices=2, endpoints=["patient"])
    wait(lambda: system.endpoint.at_once > 0, 60)
    (app,) = apps
    crash = app.crash(RuntimeError("as if its producer had failed"))
    app.loop.call_soon_threadsafe(lambda: app.add_future(crash))
    settled = system.check_all_told(owed)
    assert {event.attempts for event in settled} == {1}
    assert len([call for call in system.endpoint.calls if call.key in owed]) == len(owed)
    wait(lambda: hosted.lives(0) == 2, 60)
    assert not hosted.halted


def test_an_event_loop_that_hung_finds_its_place_again(system: Plant, hosted: Hosted, apps: list[FaustApp]) -> None:
    """Its client goes on saying that all is well, from a thread of its own: that it asks for nothing gives it away."""
    hosted.hire()
    system.check_all_told(system.owe(orders=8, notices=1))
    hangs = threading.Event()
    apps[0].loop.call_soon_threadsafe(hangs.wait)
    try:
        hosted.hire()
        system.check_all_told(system.owe(orders=8, notices=1))
        wait(lambda: hosted.ticks[1] > 0, 60)
    finally:
        hangs.set()
    hosted.hosts[1].stop()
    system.check_all_told(system.owe(orders=8, notices=1))


def test_a_spare_that_had_nothing_to_do_for_long_takes_over(system: Plant, hosted: Hosted, apps: list[FaustApp]) -> None:
    """aiokafka sends a member without partitions away for its idleness, for good. One process ticks."""
    for _ in range(topics.DISPATCH.partitions + 1):
        hosted.hire()
    wait(lambda: sorted(len(app.owned()) for app in apps) == [0, 1, 1, 1, 1], 60)
    ticks, chimes = hosted.ticks.copy(), hosted.chimes.copy()
    time.sleep(PATIENCE.away_s + 2)
    assert set(hosted.ticks - ticks) == set(hosted.chimes - chimes) == {n for n, app in enumerate(apps) if app.is_leader()}
    (spare,) = (n for n, app in enumerate(apps) if not app.owned())
    assert hosted.lives(spare) == 1
    for n, one in enumerate(hosted.hosts):
        if n != spare:
            one.stop()
    system.check_all_told(system.owe(orders=8, notices=1))
    assert hosted.lives(spare) == 1


def test_what_is_undone_is_not_acted_on_what_is_garbled_is_passed_over_and_any_compression_is_read(
    system: Plant, hosted: Hosted
) -> None:
    """A dispatch in a transaction that was aborted was never made. Nobody answers here: no fold knows of these."""
    hosted.hire()
    system.check_all_told(system.owe(orders=8, notices=1))
    undone = Producer({"bootstrap.servers": system.broker, "transactional.id": fresh("undone")})
    undone.init_transactions()
    undone.begin_transaction()
    sent = record_of(dispatch("undone", "portal1"))
    undone.produce(sent.topic, sent.value, sent.key, sent.partition)
    undone.flush()
    time.sleep(1.5)  # it is on the broker: whoever reads uncommitted records has it
    undone.abort_transaction()
    kinds = ["none", "gzip", "snappy", "lz4", "zstd"]
    for kind in kinds:
        producer = Producer({"bootstrap.servers": system.broker, "compression.type": kind})
        made = record_of(dispatch(f"made-{kind}" + "x" * 500, "portal1"))
        producer.produce(made.topic, b"not one of ours" * 50, made.key, made.partition)
        producer.produce(made.topic, made.value, made.key, made.partition)
        producer.flush()
    wait(lambda: len([r for r in system.endpoint.calls if r.key.startswith("made-")]) == len(kinds), 60)
    assert "undone" not in {request.key for request in system.endpoint.calls}


def test_a_timer_that_fails_is_told_of_and_the_agents_go_on(system: Plant, hosted: Hosted) -> None:
    """A log that cannot serve is waited for; a defect is told as long as it lasts, and the timer tried again."""
    failures: list[Exception] = [Unavailable("not now"), ValueError("a defect")]

    def fail() -> None:
        if len(failures) > 1:
            raise failures.pop(0)
        if failures:
            raise failures[0]

    keeper = hosted.hire(fail)._keeper
    wait(lambda: "timer tick" in keeper.down(), 60)
    assert keeper.down()["timer tick"] == "ValueError: a defect"
    system.check_all_told(system.owe(orders=8, notices=1))
    assert "timer tick" in keeper.down()
    failures.clear()
    wait(lambda: not keeper.down(), 60)
    assert not hosted.halted
    assert hosted.lives(0) == 1


def test_a_broker_that_goes_and_comes_back_takes_nothing_with_it(tmp_path: Path, apps: list[FaustApp]) -> None:
    directory = tmp_path / "broker"
    start, stop = [SCRIPTS / "start.sh", directory], [SCRIPTS / "stop.sh", directory]
    began = subprocess.run(start, capture_output=True, text=True, check=True, timeout=120)
    try:
        system = Plant(began.stdout.strip(), tmp_path)
        hosted = Hosted(system, apps)
        system.endpoint.slow_s = 0.1
        hosted.hire()
        owed = system.owe(orders=24, notices=4)
        wait(lambda: system.done(owed) > 5, 60)
        subprocess.run(stop, capture_output=True, check=True, timeout=60)
        time.sleep(4)
        subprocess.run(start, capture_output=True, check=True, timeout=120)
        system.check_all_told(owed | system.owe(orders=8, notices=2), 120)
        assert not hosted.halted
        hosted.hosts[0].stop()
        system.close()
    finally:
        subprocess.run(stop, capture_output=True, check=False, timeout=60)
