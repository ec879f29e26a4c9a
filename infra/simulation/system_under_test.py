"""The system under test: the real flows and workers on a log in memory that fails on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from infra.simulation.channel_people import ReservationRelease, Reserve
from infra.simulation.facts import RawMessage
from infra.simulation.person import Operator
from infra.simulation.world import CHANNELS
from schemas import topics
from schemas.base import Tick
from schemas.codec import Codec
from schemas.inventory import ReleaseReservation, ReserveStock
from streams.engine.limits import Limits, SourceLimit
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import Crash, LogFaults, MemoryLog
from streams.engine.partition import Flow, PartitionHalted
from streams.engine.partitions import partition_of
from streams.engine.worker import GROUP, Pace, Worker
from streams.flows.customers import customers
from streams.flows.deliveries import deliveries_fold
from streams.flows.documents import documents
from streams.flows.exceptions import exceptions
from streams.flows.orders import orders_fold
from streams.flows.promise import promise_fold
from streams.flows.translators import translators
from streams.monitoring.trusted_clock import TrustedClock
from tables.common.policy import EndpointPolicy, OrderPolicy, Policy
from tables.deliveries.state import EndpointPolicies

POINTS = ("before_apply", "after_apply", "before_commit", "after_commit")
STEPS_MS = tuple(sign * minutes * 60_000 for sign in (1, -1) for minutes in (2, 70, 30 * 60))
MOST_STEPS = 8_000
TURNS_BESIDE, TURNS_AGAIN = 0.4, 0.8
_NOT_RUN, _SERVED = OrderPolicy(), EndpointPolicy()
Flows = Callable[[Policy], list[Flow]]


def _alone() -> bool:
    return False


class NeverRests(Exception):
    """The workers went on and on: something makes work for itself."""


def all_flows(policy: Policy, orders: OrderPolicy = _NOT_RUN, endpoints: EndpointPolicy = _SERVED) -> list[Flow]:
    """Every flow there is. `orders`: how orders are run, which they are not by default; `endpoints`: how each is served."""
    deliveries = deliveries_fold(EndpointPolicies({}, endpoints))
    folds: list[Flow] = [promise_fold(policy, orders), orders_fold(orders, policy), documents, customers, deliveries, exceptions]
    return [*folds, *translators(CHANNELS)]


def all_topics() -> list[topics.Topic]:
    """Every topic there is, with the channels' own."""
    return [*topics.DEFINED, *(topics.raw_channel(name) for name in CHANNELS)]


@dataclass(slots=True)
class SystemUnderTest:
    """A log, its workers and their mishaps, all from one seed.

    `beside`: what others do while workers work, one thing at a time; it returns whether there was any. `died` hears of crashes.
    """

    dice: Random
    policy: Policy
    codec: Codec
    faults: LogFaults
    crash: float
    workers_wanted: int
    flows: Flows = all_flows
    beside: Callable[[], bool] = _alone
    died: Callable[[], object] = _alone
    now_ms: int = 0
    skew_ms: int = 0
    clock_steps: int = 0
    crashes: int = 0
    unavailable: int = 0
    clock: TrustedClock = field(init=False)
    log: MemoryLog = field(init=False)
    limits: Limits = field(init=False)
    operator: Operator = field(init=False)
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = self._new_clock()
        self.log = MemoryLog(self.dice.randrange(2**32), self.faults, self.time_ms)
        self.log.create(all_topics())
        limit = SourceLimit(self.dice.choice((12, 30, 1_000)), self.dice.choice((0.1, 0.5)))
        self.limits = Limits(source=limit, release_batch=self.dice.choice((1, 4, 2_048)))
        self.operator = Operator(self)
        self._start()

    def _start(self) -> None:
        most = self.dice.choice((1, 3, 16, 200))
        self.workers = [
            Worker(
                self.log,
                self.flows(self.policy),
                self.codec,
                pace=Pace(max_batch=most, min_batch=min(most, 16), poll_s=0.0),
                limits=self.limits,
                clock_ms=self.time_ms,
                rng=self.dice,
                at=self._at,
            )
            for _ in range(self.workers_wanted)
        ]

    def _new_clock(self) -> TrustedClock:
        return TrustedClock(wall=lambda: self.now_ms + self.skew_ms, steady=lambda: self.now_ms, boot="one")

    def time_ms(self) -> int:
        """What the process takes the time to be, whatever the machine's clock says."""
        return self.clock()

    def step_clock(self, share: float) -> None:
        """The machine's clock is wrong for a while, now and then (until `right_clock`)."""
        if self.dice.random() < share:
            self.skew_ms = self.dice.choice(STEPS_MS)
            self.clock_steps += 1

    def right_clock(self) -> None:
        """The machine's clock is right."""
        self.skew_ms = 0

    def _at(self, point: str) -> None:
        if self.crash and self.dice.random() < self.crash:
            raise Crash(point)

    def die(self) -> None:
        """The process dies, and another one begins with what was durable."""
        self.crashes += 1
        self.log = self.log.reopen()
        self.operator.halted.clear()  # they are met again
        anchor, self.clock = self.clock.anchor(), self._new_clock()
        self.clock.begin(anchor, None)
        self._start()
        self.died()

    # --- input ---------------------------------------------------------------------------------------------------------

    def append(self, records: list[Outgoing]) -> None:
        """As a sender does: until it hears that the records are durable. A lost answer makes a repetition."""
        while True:
            try:
                self.log.append(records)
                return
            except Crash:
                self.die()
            except Unavailable:
                self.unavailable += 1

    def send(self, messages: Iterable[RawMessage]) -> None:
        """Raw messages, in order; the sender may see fit to send several at once."""
        batch: list[Outgoing] = []
        for message in messages:
            batch.append(self._raw(message))
            if self.dice.random() < 0.3:
                self.append(batch)
                batch = []
        if batch:
            self.append(batch)

    def _raw(self, message: RawMessage) -> Outgoing:
        partitions = self.log.partitions(message.topic)
        partition = partition_of(message.key, partitions) if message.key is not None else 0
        return Outgoing(message.topic, partition, message.key, message.value, message.headers)

    def command_event(self, event: Any) -> None:
        """A command of a person, as the API writes it."""
        route = topics.ROUTES[type(event)]
        key = str(getattr(event, route.key)).encode()
        partition = partition_of(key, route.topic.partitions)
        self.append([Outgoing(route.topic.name, partition, key, self.codec.encode(event))])

    def tick(self) -> None:
        """The clock strikes in every partition of the promise fold's inbox."""
        event = Tick(**self.header("clock", f"tick:{self.time_ms()}"))
        value, topic = self.codec.encode(event), topics.PROMISE_INBOX
        self.append([Outgoing(topic.name, index, b"clock", value) for index in range(topic.partitions)])

    def command(self, command: Reserve | ReservationRelease) -> None:
        """A request of a channel."""
        event: ReserveStock | ReleaseReservation
        name = request_id(command)
        header = self.header("api", f"api:{name}") | {"item": command.item, "request_id": name}
        if isinstance(command, ReservationRelease):
            event = ReleaseReservation(**header, reservation_id=command.reservation_id)
        else:
            event = ReserveStock(
                **header,
                body_hash="same",
                reservation_id=command.reservation_id,
                site=command.site,
                channel=command.channel,
                qty_milli=int(command.qty.scaleb(3)),
                uom=None,
                ttl_ms=command.ttl_ms,
            )
        self.command_event(event)

    def header(self, source: str, event_id: str) -> dict[str, Any]:
        """The fields every event has."""
        now_ms = self.time_ms()
        at_ms = {"occurred_at_ms": now_ms, "recorded_at_ms": now_ms}
        return {
            "event_id": event_id,
            "source": source,
            "source_position": now_ms,
            "trace_id": f"request/{event_id}",
            **at_ms,
        }

    # --- work ----------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Let the workers work until nothing is left to do."""
        for _ in range(MOST_STEPS):
            worker = self.dice.choice(self.workers)
            try:
                if self.beside is not _alone and self.dice.random() < TURNS_BESIDE:
                    self.beside()
                if worker.step().inputs == 0 and not any(w.is_releasing for w in self.workers):
                    if self.operator.act(self.unread()) is not False:
                        continue
                    if not self.beside():
                        return
                    while self.dice.random() < TURNS_AGAIN and self.beside():
                        pass
            except PartitionHalted as halt:
                self.operator.heard_of(halt)
            except Crash:
                self.die()
            except Unavailable:
                self.unavailable += 1
        raise NeverRests(f"the workers have not come to rest after {MOST_STEPS} batches")

    def unread(self) -> list[TopicPartition]:
        """Inputs that are not all read and committed."""
        return [at for at in _INPUTS if not self._is_read(at)]

    def _is_read(self, at: TopicPartition) -> bool:
        end = self.log.bounds(at)[1]
        return end == 0 or self.log.committed(GROUP, at) >= end

    def inputs(self) -> list[TopicPartition]:
        """Every partition a flow reads."""
        return list(_INPUTS)


_INPUTS = tuple(
    TopicPartition(topic.name, index)
    for topic in all_topics()
    if topic.is_raw or topic.is_inbox
    for index in range(topic.partitions)
)


def request_id(command: Reserve | ReservationRelease) -> str:
    """The key a command is sent under."""
    return f"release {command.reservation_id}" if isinstance(command, ReservationRelease) else command.reservation_id
