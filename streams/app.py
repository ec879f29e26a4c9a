"""The wiring, in one place: settings -> log -> flows -> workers -> clock -> views -> API."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from connectors.api.console.ports import Console, DemoControls
from connectors.api.ports import Ports
from schemas import topics
from schemas.codec import Codec
from schemas.topics import Topic
from streams.agents.host import AgentHost, Leases
from streams.agents.inbound import Inbound
from streams.agents.roster import roster
from streams.clock import Clock
from streams.customer_view import CustomerReader
from streams.customers import customers
from streams.deliveries import deliveries_fold, is_unanswered
from streams.documents import documents
from streams.engine.embedded import CannotOpen, EmbeddedLog
from streams.engine.flow import Fold, Translator
from streams.engine.log import Unavailable
from streams.engine.partition import PartitionHalted
from streams.engine.worker import Counters, Worker
from streams.exceptions import exceptions
from streams.folded_with import note_policy
from streams.intake import ExceptionDesk, OrderIntake, RawIntake, WebhookIntake
from streams.order_desk import HoldDesk
from streams.orders import orders_fold
from streams.promise import promise_fold
from streams.pulse import Pulse
from streams.requests import Requests
from streams.setting_parts import milliseconds
from streams.settings import BadSettings, Settings
from streams.translators import translators
from streams.views import PromiseView, Published, ReadableLog, TableView
from streams.watch import Watch

CLOCK_PAUSE_S = 0.25
TRIM_PAUSE_S = 60.0
_log = structlog.get_logger(__name__)


def _told(error: PartitionHalted) -> None:
    _log.error("a partition is set aside", partition=f"{error.partition.topic}/{error.partition.partition}", reason=str(error))


class WorkerKilled(Exception):
    """The worker died at a point, because it was told to."""


def now_ms() -> int:
    """The wall clock. Rules never see it: it enters through events."""
    return time.time_ns() // 1_000_000


def all_flows(settings: Settings) -> list[Fold[Any] | Translator]:
    """Every flow, by the settings."""
    return [
        *translators(settings.channels),
        documents,
        orders_fold(settings.to_order_policy(), settings.to_policy()),
        promise_fold(settings.to_policy(), settings.to_order_policy()),
        customers,
        deliveries_fold(settings.to_endpoint_policies()),
        exceptions,
    ]


def all_topics(settings: Settings) -> list[Topic]:
    """Every topic, those of the channels included."""
    return [*topics.DEFINED, *(topics.raw_channel(name) for name in settings.channels)]


@contextlib.contextmanager
def opened_log(settings: Settings, *, may_create: bool) -> Iterator[EmbeddedLog]:
    """The log of the settings. Raises `BadSettings` if there is none and none may be made, or another process holds it."""
    directory = settings.directory
    if not may_create and not (directory / "log").is_dir():
        raise BadSettings(f"There is no log in {directory}. Make one with crossdock demo, run or ingest, or name it with --data.")
    try:
        log = EmbeddedLog(directory)
    except (CannotOpen, OSError) as error:
        raise BadSettings(str(error)) from None
    try:
        log.create(all_topics(settings))
        yield log
    except ValueError as error:
        raise BadSettings(str(error)) from None
    finally:
        log.close()


class App:
    """Everything that runs over one log. `ports` serve without it running; `start` works the log off, `stop` ends that."""

    def __init__(self, settings: Settings, log: ReadableLog, clock_ms: Callable[[], int] = now_ms) -> None:
        codec = Codec()
        self.settings = settings
        self.log = log
        self.flows = all_flows(settings)
        self.published = Published(log, codec)
        self.tables = TableView(log, self.flows)
        self.registry = CollectorRegistry()
        self.watch = Watch(log, self.flows, self.halted, self.registry)
        self._codec = codec
        self._clock = Clock(log, codec, clock_ms, self.flows)
        self._clock_ms = clock_ms
        self._requests = Requests(log, log, codec, clock_ms)
        self.pulse = Pulse(log, codec, self.published, self.tables, self.watch, self.halted, clock_ms)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._halted: dict[str, str] = {}
        self._kill_at: str | None = None
        self._batch_seconds = Histogram("crossdock_batch_seconds", "From a batch's arrival to its commit", registry=self.registry)
        self._inbound = Inbound(log, settings.doors(), self.registry)
        self._agents = self._hosted() if settings.endpoint else None
        self.ports = self._ports()

    def _hosted(self) -> AgentHost:
        settings = self.settings
        longest_s = max(endpoint.lease_s for endpoint in settings.endpoint.values())
        return AgentHost(
            self.log,
            self._codec,
            lambda http: roster(settings.endpoint, http, self._clock_ms),
            Leases(milliseconds(longest_s), partial(is_unanswered, self.tables)),
            clock_ms=self._clock_ms,
            registry=self.registry,
            on_halt=partial(self._halt, "agents"),
        )

    def _ports(self) -> Ports:
        settings, log, clock_ms = self.settings, self.log, self._clock_ms
        return Ports(
            promises=PromiseView(self.published, self.tables, settings.to_policy(), clock_ms, self.watch.freshness),
            reservations=self._requests,
            orders=OrderIntake(log, self.published, settings.channels, clock_ms),
            ingest=RawIntake(log, settings.channels),
            webhooks=WebhookIntake(log, settings.webhook_secrets()),
            holds=HoldDesk(log, self.published, self._codec, clock_ms),
            customers=CustomerReader(self.tables),
            exceptions=ExceptionDesk(log, self.published, self._codec, clock_ms),
            endpoints=self.published,
            tables=self.tables,
            health=self.watch,
            registry=self.registry,
            console=Console(self.pulse),
        )

    def offer(self, demo: DemoControls) -> None:
        """Give the live page buttons that break things. Before the API is made."""
        self.ports = replace(self.ports, console=Console(self.pulse, demo))

    def start(self) -> None:
        """Run the worker, the clock and the answers to requests, each in a thread."""
        if isinstance(self.log, EmbeddedLog) and (changed := note_policy(self.log.path, self.settings.to_policies())):
            _log.warning(changed)
        self._requests.start()
        self._inbound.start()
        self.pulse.start()
        self.worker = self._hired()
        for name, run in (("worker", self._work), ("clock", self._tick)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        if self._agents is not None:
            self._agents.start()

    def stop(self) -> None:
        """End all threads; what they were at is whole or not at all."""
        self._stop.set()
        self._inbound.stop()
        if self._agents is not None:
            self._agents.stop()
        for thread in self._threads:
            thread.join()
        if self._threads:
            self._threads.clear()
            self.worker.close()
        self._requests.close()
        self.pulse.close()

    def halted(self) -> dict[str, str]:
        """Why each thread that stopped by itself did, and each partition that was set aside."""
        aside = list(self.worker.halted.items()) if self._threads else []
        return self._halted | {f"{at.topic}/{at.partition}": str(why) for at, why in aside}

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing waits to be read, or a thread has halted. False if that takes longer."""
        until = time.monotonic() + timeout_s
        while not self.halted() and self.watch.waiting():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def kill_worker(self, point: str) -> None:
        """Have the worker die at a named point of its next batch, as if it were killed there; another takes its place.

        For demonstrations and drills: what the batch had done is dropped, unless it died after its commit.
        """
        self._kill_at = point

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
                self._batch_seconds.observe(time.perf_counter() - began)

        return at

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.worker.run(self._stop)
            except WorkerKilled as death:
                _log.warning("the worker was killed, another takes its place", point=str(death))
                self.worker.close()  # the embedded log knows no session time-out: the dead have to be buried
                self.worker = self._hired(replace(self.worker.counters, positions={}))
            except Exception as error:
                _log.exception("the worker has stopped")
                self._halt("worker", f"{type(error).__name__}: {error}")
                return

    def _hired(self, counters: Counters | None = None) -> Worker:
        """A worker, which goes on with another's counters."""
        worker = Worker(self.log, self.flows, self._codec, clock_ms=self._clock_ms, at=self._measured(), on_halt=_told)
        if counters is not None:
            worker.counters = counters
        return worker

    def _tick(self) -> None:
        trimmed_at = time.monotonic()
        while not self._stop.wait(CLOCK_PAUSE_S):
            try:
                self._clock.tick()
                if time.monotonic() - trimmed_at > TRIM_PAUSE_S:
                    trimmed_at = time.monotonic()
                    self._trim()
            except Unavailable as error:
                _log.warning("the clock waits for the log", reason=str(error))
            except Exception as error:
                _log.exception("the clock has stopped")
                self._halt("clock", f"{type(error).__name__}: {error}")
                return

    def _trim(self) -> None:
        """Forget what is past its retention, a bounded part at a time."""
        if isinstance(self.log, EmbeddedLog):
            while not self._stop.is_set() and self.log.trim(self._clock_ms()):
                pass

    def _halt(self, name: str, reason: str) -> None:
        _log.error("halted", thread=name, reason=reason)
        self._halted[name] = reason
