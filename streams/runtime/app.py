"""The wiring, in one place: settings -> log -> flows -> workers -> clock -> views -> API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from connectors.api.console.ports import Console, DemoControls
from connectors.api.ports import Ports
from schemas.codec import Codec
from streams.agents.file_notices import not_asked
from streams.agents.host import AgentHost, Host, Leases
from streams.agents.inbound import InboundSources
from streams.commands.api_commands import ExceptionCommands, OrderIntake, RawIntake, WebhookIntake
from streams.commands.clock_confirmation import ClockControl
from streams.commands.hold_counts import HoldCounts
from streams.commands.hold_release import HoldRelease
from streams.commands.interventions import Interventions
from streams.commands.request_reply import Requests
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.flow import Fold, Translator
from streams.engine.kafka.log import KafkaLog
from streams.engine.keeper import KeptThread, ThreadKeeper
from streams.engine.log import Fenced, ReadableLog, StoreFailed, Unavailable
from streams.engine.worker import Counters
from streams.flows.customers import customers_fold
from streams.flows.deliveries import deliveries_fold
from streams.flows.documents import documents
from streams.flows.exceptions import exceptions
from streams.flows.groups import ROLES, Role, by_group, group_of, role_of
from streams.flows.orders import orders_fold
from streams.flows.promise import promise_fold
from streams.flows.ticks import TickClock
from streams.flows.translators import translators
from streams.monitoring.dashboard import Dashboard
from streams.monitoring.health import HealthMonitor
from streams.monitoring.local_rows import CatchingUp, LocalRows, LocalViews
from streams.monitoring.machine import MB, Disk, MachineMonitor
from streams.monitoring.trusted_clock import TrustedClock
from streams.monitoring.warnings import Warnings
from streams.monitoring.worker_metrics import ThreadMeasures, WorkMeasures
from streams.queries.customers import CustomerReader
from streams.queries.deliveries import is_unanswered
from streams.queries.dropped_orders import DroppedOrders
from streams.queries.promise_view import PromiseView
from streams.queries.published import Published
from streams.queries.table_views import TableView
from streams.queries.unknown_fields import SourceReader
from streams.runtime.agent_roster import roster
from streams.runtime.open_log import kafka_settings
from streams.runtime.policy_history import note_policy
from streams.runtime.setting_names import SettingNames
from streams.runtime.worker_threads import GroupWorker
from streams.settings.sections import milliseconds
from streams.settings.settings import BadSettings, Settings
from tables.inventory.reservations import HELD

CLOCK_PAUSE_S = 0.25
TRIM_PAUSE_S = 60.0
STALL_S = 60.0
Check = Callable[[], tuple[str, bool]]
_log = structlog.get_logger(__name__)


def now_ms() -> int:
    """The wall clock. Rules never see it: it enters through events."""
    return time.time_ns() // 1_000_000


def all_flows(settings: Settings) -> list[Fold[Any] | Translator]:
    """Every flow, by the settings."""
    return [
        *translators(settings.channels, settings.erp.to_known()),
        documents,
        orders_fold(settings.to_order_policy(), settings.to_policy()),
        promise_fold(settings.to_policy(), settings.to_order_policy()),
        customers_fold(settings.order.credit_currency),
        deliveries_fold(settings.to_endpoint_policies()),
        exceptions,
    ]


def _looked(look: Check) -> tuple[str, bool]:
    try:
        return look()
    except Exception as error:  # not to be known is not to be well
        return f"not known: {type(error).__name__}: {error}", False


class App:
    """Everything that runs over one log. `ports` serve without it running; `start` does what the roles say, `stop` ends that.

    On the embedded log there is one process, and so all roles.
    """

    def __init__(
        self,
        settings: Settings,
        log: ReadableLog,
        clock_ms: Callable[[], int] | None = None,
        *,
        roles: Collection[Role] = ROLES,
        directory: Path | None = None,
    ) -> None:
        codec = Codec()
        trusted = log.clock if isinstance(log, EmbeddedLog | KafkaLog) else None
        self._trusted = trusted if isinstance(trusted, TrustedClock) and clock_ms is None else None
        clock_ms = clock_ms or self._trusted or now_ms
        self.settings = settings
        self.log = log
        self.roles = frozenset(roles)
        self.flows = all_flows(settings)
        self.published = Published(log, codec)
        self.tables = TableView(log, self.flows)
        self.registry = CollectorRegistry()
        self._codec = codec
        self._clock_ms = clock_ms
        self._group = group_of(is_kafka=settings.is_kafka)
        self._rows = LocalRows(log, self.flows, self._group, settings.kafka.standby)
        self.keeper = ThreadKeeper()
        self.keepers = [self.keeper, log.keeper] if isinstance(log, KafkaLog) else [self.keeper]
        self.registry.register(ThreadMeasures(self.keepers))
        self._clock_control = (
            ClockControl(self._trusted, log, codec, directory or settings.directory) if self._trusted is not None else None
        )
        self.machine = MachineMonitor(
            self._trusted,
            Disk(settings.directory, settings.disk.least_free_mb * MB),
            directory or settings.directory,
            self.keeper,
            self._clock_control.step if self._clock_control is not None else lambda state: None,
        )
        self._views = LocalViews(log, self.keeper)
        self._checks: dict[str, Check] = {}
        names = SettingNames(settings, self.tables)
        self.interventions = Interventions(log, self.flows, codec, clock_ms, settings.to_limits(), names.unknown)
        self.sources = SourceReader(log, self.flows, clock_ms)
        self.watch = HealthMonitor(
            log,
            self.flows,
            self._stopped,
            self.registry,
            paused=self.interventions.paused,
            group=self._group,
            clock_ms=clock_ms,
            more=self._more_checks,
            unknown=self.sources.totals,
            keeper=self.keeper,
        )
        self._clock = TickClock(log, codec, clock_ms, self.flows, self._group)
        self._requests = Requests(
            log,
            log,
            codec,
            clock_ms,
            settings.channels,
            holds=HoldCounts(settings.hold_total, clock_ms),
            alive=self._holds,
            keeper=self.keeper,
        )
        self.dashboard = Dashboard(
            log,
            codec,
            self.published,
            self.tables,
            self.watch,
            self.ailing,
            clock_ms,
            warned=Warnings(names.unknown, self.sources.unknown_fields).found,
            is_dense=not settings.is_kafka,
            keeper=self.keeper,
        )
        self._stop = threading.Event()
        self._ticking: list[KeptThread] = []
        self._halted: dict[str, str] = {}
        self.work = CollectorRegistry()
        seconds = Histogram("crossdock_batch_seconds", "From a batch's arrival to its commit", registry=self.work)
        self._hands = [
            GroupWorker(
                log,
                name,
                flows,
                codec,
                clock_ms=clock_ms,
                seconds=seconds,
                limits=settings.to_limits(),
                keeper=self.keeper,
            )
            for name, flows in by_group(self.flows, self._group).items()
            if not settings.is_kafka or role_of(flows[0]) in self.roles
        ]
        if self._hands:  # whoever has none may show those of its worker processes under the same names
            self.work.register(WorkMeasures(self.counters, self.catching_up))
            self.registry.register(self.work)
        # On Kafka several processes may have role act: a poll is then one of the leader's timers, and happens once.
        became = DroppedOrders(log, self.published, self.flows, self._group) if "serve" in self.roles else not_asked
        self._inbound = InboundSources(
            log,
            settings.doors(),
            self.registry,
            is_prompted=settings.is_kafka,
            became=became,
            codec=codec,
            keeper=self.keeper,
        )
        self._agents = self._hosted() if (settings.endpoint or settings.is_kafka) and "act" in self.roles else None
        self.ports = self._ports()

    def _hosted(self) -> Host:
        settings = self.settings
        longest_s = max((endpoint.lease_s for endpoint in settings.endpoint.values()), default=0.0)
        host: Callable[..., Host] = AgentHost
        if settings.is_kafka:
            from streams.agents.faust_host import FaustHost, Timer  # noqa: PLC0415 - Faust takes a while to load

            timers = [Timer("clock", CLOCK_PAUSE_S, self._clock.tick), *self._inbound.timers()]
            host = partial(FaustHost, kafka=kafka_settings(settings), timers=timers)
        try:
            return host(
                self.log,
                self._codec,
                lambda http: roster(settings.endpoint, http, self._clock_ms),
                Leases(milliseconds(longest_s), partial(is_unanswered, self.tables)),
                clock_ms=self._clock_ms,
                registry=self.registry,
                on_halt=partial(self._halt, "agents"),
                keeper=self.keeper,
            )
        except ValueError as error:
            raise BadSettings(f"kafka.clients: {error}.") from None

    def _holds(self) -> Iterator[tuple[str, str, int]]:
        """Reservations that are alive: channel, id and end."""
        for (_, reservation_id), row in self.tables.scan("promise", "reservations"):
            if row.state == HELD:
                yield row.channel, reservation_id, row.expires_at_ms

    def _ports(self) -> Ports:
        settings, log, clock_ms = self.settings, self.log, self._clock_ms
        return Ports(
            promises=PromiseView(
                self.published, self.tables, settings.to_policy(), clock_ms, self.watch.freshness, settings.channels
            ),
            reservations=self._requests,
            orders=OrderIntake(log, self.published, settings.channels, clock_ms),
            ingest=RawIntake(log, settings.channels),
            webhooks=WebhookIntake(log, settings.webhook_secrets()),
            holds=HoldRelease(log, self.published, self._codec, clock_ms),
            customers=CustomerReader(self.tables),
            exceptions=ExceptionCommands(log, self.published, self._codec, clock_ms),
            interventions=self.interventions,
            sources=self.sources,
            endpoints=self.published,
            tables=self.tables,
            health=self.watch,
            registry=self.registry,
            console=Console(self.dashboard),
            clock=self._clock_control,
            away=(Unavailable, StoreFailed),
            channels=settings.channels,
            most_requests=settings.http.requests,
            most_streams=settings.http.streams,
        )

    def offer(self, demo: DemoControls) -> None:
        """Give the live page buttons that break things. Before the API is made."""
        self.ports = replace(self.ports, console=Console(self.dashboard, demo))

    def check(self, name: str, look: Check) -> None:
        """One more thing that readiness depends on: what it says, and whether that is well."""
        self._checks[name] = look

    def _more_checks(self) -> dict[str, tuple[str, bool]]:
        found = {"threads": self._threads(), "disk": _looked(self.machine.disk), "clock": self.machine.clock()}
        found |= {name: _looked(look) for name, look in self._checks.items()}
        if isinstance(self.log, EmbeddedLog):
            found["log"] = (self.log.problem or "is written", self.log.problem is None)
        if self.settings.is_kafka:
            found |= (
                {"rows": self._rows.told(), "views": self._views.told()} if "serve" in self.roles else {"rows": self._rows.told()}
            )
        return found

    def start(self) -> None:
        """Do what the roles say, each part in a thread. Raises `Unavailable` if the log is away."""
        if "fold" in self.roles:
            # On Kafka it is noted where it ran: of what other machines decided by, nothing is known here.
            noted = self.log.path if isinstance(self.log, EmbeddedLog) else self.settings.data
            if changed := note_policy(noted, self.settings.to_policies()):
                _log.warning(changed)
        self.machine.start()
        if self.settings.is_kafka:
            self._rows.keep(self.roles)
        if "serve" in self.roles:
            self._requests.start()
            self.dashboard.start()
            if self.settings.is_kafka:
                self.watch.start()
                self._views.start()
        for hand in self._hands:
            hand.start()
        if "act" in self.roles:
            self._inbound.start()
            if not self.settings.is_kafka:  # where one of all processes keeps the time
                self._ticking = [
                    self.keeper.thread("clock", self._tick, self._stop, stall_s=STALL_S),
                    self.keeper.thread("trim", self._trim, self._stop),
                ]
                for thread in self._ticking:
                    thread.start()
            if self._agents is not None:
                self._agents.start()

    def look(self) -> None:
        """Keep what answers come from, and nothing else: for a process that asks and ends."""
        if self.settings.is_kafka:
            self._rows.keep(frozenset({"serve"}))

    def stop(self) -> None:
        """End all threads; what they were at is whole or not at all."""
        self._stop.set()
        self._views.close()
        self._inbound.stop()
        if self._agents is not None:
            self._agents.stop()
        for thread in self._ticking:
            thread.join()
        for hand in self._hands:
            hand.stop()
        self._requests.close()
        self.dashboard.close()
        self.watch.close()
        self.machine.close()
        self.interventions.close()

    def ailing(self) -> dict[str, str]:
        """All that a person has to know of: what has halted, and what is down for the moment."""
        looks = {"disk": _looked(self.machine.disk), "clock": self.machine.clock()}
        ill = {name: says for name, (says, is_well) in looks.items() if not is_well}
        if self._trusted is not None and not self._trusted.state().is_trusted:
            ill["clock"] = looks["clock"][0]
        return self._stopped() | self.down() | ill

    def down(self) -> dict[str, str]:
        """Threads that do not run, or hang, and workers that wait for the log: each by itself begun again or tried again."""
        found: dict[str, str] = {}
        for keeper in self.keepers:
            found |= keeper.down()
        for hand in self._hands:
            if why := hand.away():
                found.setdefault(f"worker {hand.group}", f"it waits for the log: {why}")
        return found

    def _threads(self) -> tuple[str, bool]:
        down = self.down()
        spared = {name for keeper in self.keepers for name in keeper.down(is_vital=False)}
        return "; ".join(f"{name}: {why}" for name, why in down.items()) or "all run", not down.keys() - spared

    def halted(self) -> dict[str, str]:
        """Why each thread that stopped by itself did, and each partition that was set aside."""
        found = dict(self._halted)
        for hand in self._hands:
            found |= hand.halted()
        return found

    def _stopped(self) -> dict[str, str]:
        """The same, and what stands in other processes, where this one has their rows."""
        found = self.halted()
        try:
            for halt in self.interventions.halted():
                found.setdefault(
                    halt.record.rpartition("/")[0],
                    f"{halt.flow} stands at {halt.record} ({halt.event}): {halt.reason}. {halt.exit}",
                )
        except (Unavailable, Fenced):
            pass  # said elsewhere: the rows are not here
        return found

    def counters(self) -> Counters:
        """What the workers of this process have done, all together."""
        total = Counters()
        for hand in self._hands:
            for name in ("inputs", "outputs", "rows", "batches", "busy_ms", "fenced", "unavailable"):
                setattr(total, name, getattr(total, name) + getattr(hand.counters, name))
        return total

    def catching_up(self) -> CatchingUp:
        """How much of the rows this process keeps is here."""
        return self._rows.catching_up()

    def rows_told(self) -> tuple[str, bool]:
        """The same in words, and whether all is here."""
        return self._rows.told()

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing waits to be read, but for paused sources, or a thread has halted. False if that takes longer."""
        until = time.monotonic() + timeout_s
        while not self.halted() and (self.watch.waiting() or any(hand.is_releasing for hand in self._hands)):
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def kill_worker(self, point: str) -> None:
        """Have a worker die at a named point of its next batch, as if it were killed there; another takes its place.

        For demonstrations and drills: what the batch had done is dropped, unless it died after its commit.
        """
        for hand in self._hands:
            hand.kill(point)

    def _tick(self) -> None:
        while not self._stop.wait(CLOCK_PAUSE_S):
            self.keeper.beat("clock")
            try:
                self._clock.tick()
            except Unavailable as error:
                _log.warning("the clock waits for the log", reason=str(error))

    def _trim(self) -> None:
        """Forget what is past its retention, a bounded part at a time."""
        while not self._stop.wait(TRIM_PAUSE_S):
            self.keeper.beat("trim")
            try:
                while isinstance(self.log, EmbeddedLog) and not self._stop.is_set() and self.log.trim(self._clock_ms()):
                    pass
            except Unavailable as error:
                _log.warning("forgetting waits for the log", reason=str(error))

    def _halt(self, name: str, reason: str) -> None:
        _log.error("halted", thread=name, reason=reason)
        self._halted[name] = reason
