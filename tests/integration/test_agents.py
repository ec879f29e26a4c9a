"""Deliveries end to end: the fold, its clock and the agents over a log, against endpoints over HTTP that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import EndpointStatus, ObligationRaised, ObligationSettled
from schemas.obligations import NotifyStatus, to_json
from streams.agents.host import AgentHost, Leases
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.partitions import partition_of
from streams.engine.worker import Worker
from streams.flows.deliveries import deliveries_fold
from streams.flows.ticks import TickClock
from streams.queries.deliveries import is_unanswered
from streams.queries.published import Published
from streams.queries.table_views import TableView
from streams.runtime.agent_roster import roster
from streams.settings.sections import EndpointSettings
from tables.deliveries.state import EndpointPolicies
from tests.support.endpoints import Answer, Endpoint, Request

CODEC = Codec()
NAME = "portal"
QUICK = {"timeout_s": 0.3, "lease_s": 1.5, "retry_s": 0.05, "retry_most_s": 0.2, "pause_s": 0.1, "pause_most_s": 0.2}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Plant:
    """A log with the delivery fold and the clock running, and agents that come and go."""

    def __init__(self, directory: Path, url: str) -> None:
        self.settings = EndpointSettings.model_validate({"role": "notify", "url": url, "secret": "top secret", **QUICK})
        self.log = EmbeddedLog(directory)
        self.log.create(topics.DEFINED)
        self.fold = deliveries_fold(EndpointPolicies({NAME: self.settings.to_policy()}))
        self.tables = TableView(self.log, [self.fold])
        self.published = Published(self.log, CODEC)
        self.halted: list[str] = []
        self._stop = threading.Event()
        self._worker = Worker(self.log, [self.fold], CODEC)
        self._clock = TickClock(self.log, CODEC, now_ms, [self.fold])
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._work, self._tick)]
        for thread in self._threads:
            thread.start()
        self.host: AgentHost | None = None

    def _work(self) -> None:
        self._worker.run(self._stop)

    def _tick(self) -> None:
        while not self._stop.wait(0.02):
            self._clock.tick()

    def hire(self, endpoints: dict[str, EndpointSettings] | None = None) -> CollectorRegistry:
        """Agents at work; the registry they count in."""
        registry = CollectorRegistry()
        served = {NAME: self.settings} if endpoints is None else endpoints
        leases = Leases(1_500, lambda dispatch: is_unanswered(self.tables, dispatch))
        self.host = AgentHost(
            self.log,
            CODEC,
            lambda http: roster(served, http, now_ms),
            leases,
            clock_ms=now_ms,
            registry=registry,
            on_halt=self.halted.append,
        )
        self.host.start()
        return registry

    def dismiss(self) -> None:
        """The agents end."""
        assert self.host is not None
        self.host.stop()
        self.host = None

    def owe(self, order: str, number: int) -> None:
        """A notice to give."""
        notice = NotifyStatus(order, number, "accepted", "web", order, "C-1", 0)
        name = f"{order}/{number}"
        event = ObligationRaised(
            event_id=name, source="orders", source_position=number, occurred_at_ms=0, recorded_at_ms=now_ms(), trace_id=name,
            endpoint=NAME, aggregate=order, obligation_id=name, kind="notify_status", body=to_json(notice),
        )  # fmt: skip
        inbox, key = topics.DELIVERY_INBOX, NAME.encode()
        self.log.append([Outgoing(inbox.name, partition_of(key, inbox.partitions), key, CODEC.encode(event))])

    def status(self) -> EndpointStatus | None:
        return next(iter(self.published.endpoints()), None)

    def wait_until_settled(self, count: int, timeout_s: float = 15) -> EndpointStatus:
        until = time.monotonic() + timeout_s
        while True:
            status = self.status()
            if status is not None and status.done + status.refused == count:
                return status
            assert not self.halted, self.halted
            assert time.monotonic() < until, status
            time.sleep(0.01)

    def settled(self) -> list[ObligationSettled]:
        found = []
        for partition in range(topics.ORDER_INBOX.partitions):
            records = self.log.read(TopicPartition(topics.ORDER_INBOX.name, partition), 0, 10_000)
            found += [CODEC.decode(record.value or b"") for record in records]
        return found

    def settled_names(self, count: int) -> list[str]:
        """What was done. A view may show a commit's newest rows a moment before its records can be read."""
        until = time.monotonic() + 5
        while True:
            names = [s.obligation_id for s in self.settled() if s.outcome == "done"]
            if len(names) >= count or time.monotonic() > until:
                return names
            time.sleep(0.01)

    def close(self) -> None:
        if self.host is not None:
            self.dismiss()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._worker.close()
        self.log.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def system(tmp_path: Path, endpoint: Endpoint) -> Iterator[Plant]:
    system = Plant(tmp_path, endpoint.url)
    yield system
    system.close()


def sequences(endpoint: Endpoint) -> dict[str, list[int]]:
    """What each order's notices were, in the order they took effect."""
    found: dict[str, list[int]] = {}
    for request in endpoint.effects:
        found.setdefault(request.json["order_id"], []).append(request.json["sequence"])
    return found


def check_all_told(system: Plant, endpoint: Endpoint, orders: int, notices: int) -> None:
    """Every notice took effect once, in its order, and its order heard of it once."""
    status = system.wait_until_settled(orders * notices)
    assert sequences(endpoint) == {f"web:W{n}": list(range(notices)) for n in range(orders)}
    names = system.settled_names(orders * notices)
    assert sorted(names) == sorted(f"web:W{n}/{k}" for n in range(orders) for k in range(notices))
    assert (status.circuit, status.waiting, status.in_flight, status.exhausted) == ("closed", 0, 0, 0)


def owe_all(system: Plant, orders: int, notices: int) -> None:
    for number in range(notices):
        for order in range(orders):
            system.owe(f"web:W{order}", number)


def test_what_is_owed_is_delivered_signed_in_order_and_within_the_window(system: Plant, endpoint: Endpoint) -> None:
    endpoint.slow_s = 0.01
    registry = system.hire()
    owe_all(system, orders=20, notices=3)
    check_all_told(system, endpoint, 20, 3)
    assert 1 < endpoint.most_at_once <= system.settings.window
    assert len(endpoint.calls) == 60
    labels = {"endpoint": NAME, "outcome": "done"}
    assert registry.get_sample_value("crossdock_calls_total", labels) == 60
    outcomes = ("done", "refused", "failed")  # a busy machine may have let an attempt run out of time
    counted = [registry.get_sample_value("crossdock_calls_total", labels | {"outcome": o}) or 0 for o in outcomes]
    assert registry.get_sample_value("crossdock_call_seconds_count", {"endpoint": NAME}) == sum(counted)


def test_what_the_endpoint_refuses_is_told_and_the_next_goes_on(system: Plant, endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(422, {"reason": "no"}) if request.key.endswith("/0") else Answer(200)
    system.hire()
    owe_all(system, orders=3, notices=2)
    status = system.wait_until_settled(6)
    assert (status.done, status.refused) == (3, 3)
    assert {s.answer for s in system.settled() if s.outcome == "refused"} == {"no"}


def test_an_endpoint_that_was_down_gets_its_queue_when_it_returns(system: Plant, endpoint: Endpoint) -> None:
    endpoint.is_down = True
    system.hire()
    owe_all(system, orders=30, notices=2)
    until = time.monotonic() + 10
    while (status := system.status()) is None or status.circuit == "closed":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert status.last_error == "503 down for maintenance"
    time.sleep(0.5)
    calls_while_down = len(endpoint.calls)
    endpoint.is_down = False
    check_all_told(system, endpoint, 30, 2)
    assert calls_while_down < 30


def test_lost_replies_and_slow_answers_repeat_nothing(system: Plant, endpoint: Endpoint) -> None:
    seen: set[str] = set()
    lock = threading.Lock()

    def lose_first(request: Request) -> bool:
        with lock:
            is_first = request.key not in seen
            seen.add(request.key)
        if is_first and request.key.endswith("/1"):
            time.sleep(0.5)  # longer than the client waits
        return is_first and request.key.endswith("/0")

    endpoint.lose = lose_first
    system.hire()
    owe_all(system, orders=4, notices=3)
    check_all_told(system, endpoint, 4, 3)
    assert len(endpoint.calls) == 4 * 3 + 4 * 2


def test_agents_that_are_stopped_and_begun_again_lose_nothing_and_repeat_only_what_the_key_absorbs(
    system: Plant, endpoint: Endpoint
) -> None:
    endpoint.slow_s = 0.02
    system.hire()
    owe_all(system, orders=20, notices=3)
    for _ in range(5):
        time.sleep(0.1)
        system.dismiss()
        system.hire()
    check_all_told(system, endpoint, 20, 3)


def test_agents_that_were_away_go_on_with_what_is_still_leased(system: Plant, endpoint: Endpoint) -> None:
    owe_all(system, orders=3, notices=1)
    until = time.monotonic() + 5
    while (status := system.status()) is None or status.in_flight < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    system.hire()
    check_all_told(system, endpoint, 3, 1)
    system.dismiss()
    calls = len(endpoint.calls)
    system.hire()
    system.owe("web:W0", 1)
    system.wait_until_settled(4)
    assert len(endpoint.calls) == calls + 1, "what is answered is not made again"


def test_an_endpoint_nobody_serves_is_told_of(system: Plant) -> None:
    system.hire({"another": system.settings})
    owe_all(system, orders=1, notices=1)
    until = time.monotonic() + 5
    while (status := system.status()) is None or status.circuit == "closed":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert status.last_error == "there is no [endpoint.portal] in the settings"


def test_agents_wait_for_a_log_that_cannot_take_their_answers(system: Plant, endpoint: Endpoint) -> None:
    append, failures = system.log.append, iter([True, True])

    def stubborn(records: list[Outgoing]) -> list[int]:
        if threading.current_thread() not in (threading.main_thread(), *system._threads) and next(failures, False):
            raise Unavailable("not now")
        return append(records)

    system.log.append = stubborn  # type: ignore[assignment,method-assign]
    system.hire()
    owe_all(system, orders=1, notices=1)
    check_all_told(system, endpoint, 1, 1)
    assert len(endpoint.calls) == 1
    assert next(failures, None) is None
