"""A simulation in which crossdock runs the orders: with agents, systems that fail, and time that passes in small steps.

As `run.SimulationRun`, and besides: after each step some beats of time, in which calls go out, arrive, are lost and come back;
at the end the systems are well again, and everything owed is seen to its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from random import Random
from typing import Any

from infra.simulation import invariants
from infra.simulation.agents import SimulatedAgents
from infra.simulation.channel_people import ReservationRelease, Reserve
from infra.simulation.course import SimulationRun
from infra.simulation.facts import Fact, RawMessage
from infra.simulation.observe import CommittedState
from infra.simulation.order_agreement import Agreement
from infra.simulation.system_under_test import NeverRests, all_flows, request_id
from infra.simulation.systems import Systems
from infra.simulation.trade import Command, LetGo, OrderHistory, OrderStep, OrderWorld, TryAgain
from infra.simulation.world import HOUR_MS, SimulatedWorld
from schemas import topics
from schemas.deliveries import RetryObligation
from schemas.orders import ReleaseHold
from streams.commands.hold_release import GIVEN_UP
from streams.engine.log import Unavailable
from streams.engine.memory.log import Crash
from streams.engine.partition import PartitionHalted
from streams.flows.ticks import TickClock
from tables.common.policy import EndpointPolicy, OrderPolicy
from tables.deliveries.state import DeliveryTables
from tables.orders.state import OrderTables

MOST_TURNS = 200
KILLS = 0.06
SOON_MS = 5_000


class Conducted(SimulationRun):
    """One simulation in which crossdock runs the orders."""

    def __post_init__(self) -> None:
        dice = Random(self.seed ^ 0xA6E47)  # noqa: S311 - seeded mishaps
        orders = OrderPolicy(erp="erp", wms="wms", notify=("crm", "portal"), invoice_pause_ms=dice.choice((0, 1_000, 60_000)))
        endpoints = EndpointPolicy(
            window=dice.choice((1, 2, 8)), attempts=dice.choice((2, 5)), open_after=dice.choice((2, 5)),
            lease_ms=dice.choice((10_000, 30_000)),
        )  # fmt: skip
        self.flows = partial(all_flows, orders=orders, endpoints=endpoints)
        self.rates = (0.0, 0.003, 0.01)
        SimulationRun.__post_init__(self)
        self.dice = dice
        self.systems = Systems(self.world, dice)
        self.agency = SimulatedAgents(lambda: self.system.log, self.system.codec, self.systems, dice)
        self.agreement = Agreement(self.systems, self.oracle)
        self.clock = self._new_clock()
        self.system.beside, self.system.died = self._beside, self._died
        self.excused = 0

    def new_world(self) -> SimulatedWorld:
        """The world of the seed."""
        return OrderWorld(self.seed)

    def play(self) -> Iterable[Any]:
        """Its history."""
        assert isinstance(self.world, OrderWorld)
        return OrderHistory(self.world, self.systems, self).play()

    def close(self) -> None:
        """End the agents."""
        self.agency.close()

    # --- what the world's people see -------------------------------------------------------------------------------------

    def alive_reservations(self) -> list[tuple[str, str]]:
        """See `trade.Seen`."""
        return self.committed.alive_reservations()

    def held_orders(self) -> list[tuple[str, list[str]]]:
        """See `trade.Seen`."""
        return [(s.order_id, s.holds) for _, s in sorted(self.committed.order_status().items()) if s.decision == "held"]

    def exhausted(self) -> list[TryAgain]:
        """See `trade.Seen`."""
        found = []
        for fingerprint, row in sorted(self.committed.exceptions().items()):
            if row.code in GIVEN_UP and row.state != "cleared":
                _, endpoint, obligation_id = fingerprint.split(":", 2)
                found.append(TryAgain(endpoint, row.order_id or "", obligation_id))
        return found

    # --- time and others -------------------------------------------------------------------------------------------------

    def _new_clock(self) -> TickClock:
        system = self.system
        return TickClock(system.log, system.codec, system.time_ms, self.flows(system.policy))

    def _died(self) -> None:
        """The process with the workers was the one with the agents and the clock."""
        self.clock = self._new_clock()
        self.agency.kill()

    def _beside(self) -> bool:
        """What systems and agents do while workers work."""
        told = self.systems.advance()
        if told:
            self._say(told)
            return True
        return self.agency.act()

    def _say(self, messages: Iterable[RawMessage]) -> None:
        messages = list(messages)
        for message in messages:
            self.said[message.topic, message.key, message.value] = message
        self.system.send(messages)

    def _is_now(self, now_ms: int) -> None:
        self.system.now_ms = self.oracle.now_ms = self.world.now_ms = self.world.erp.now_ms = now_ms

    def _beat(self, now_ms: int) -> None:
        """It is later: the clock strikes, and everybody works until nothing is left to do now."""
        self._is_now(now_ms)
        if self.dice.random() < KILLS:
            self.agency.kill()
        for _ in range(3):
            try:
                struck = self.clock.tick()
            except Crash:
                self.system.die()
                continue
            except Unavailable:
                continue
            self.system.rest()
            if not struck:
                return

    # --- a step ----------------------------------------------------------------------------------------------------------

    def take(self, step: OrderStep) -> list[str]:
        """Deliver a step, let its beats pass, and see whether all is well."""
        try:
            self._is_now(step.now_ms)
            self.system.step_clock(0.1)
            self.system.tick()
            self._say(step.messages)
            for command in step.commands:
                self._command(command)
            self.system.rest()
            wrong = self.acknowledge()
            for pause_ms in step.beats:
                self._beat(self.system.now_ms + pause_ms)
        except (NeverRests, PartitionHalted) as error:
            return [str(error)]
        finally:
            self.system.right_clock()
        return [*wrong, *self.check(self.tell())]

    def _command(self, command: Command) -> None:
        system = self.system
        if isinstance(command, Reserve | ReservationRelease):
            if isinstance(command, Reserve):
                self.asked[request_id(command)] = command
            system.command(command)
            return
        header = system.header("api", f"command {self.world.number()}")
        if isinstance(command, LetGo):
            self.agreement.let_go.add(command.order_id)
            event = ReleaseHold(**header, order_id=command.order_id, reason=command.reason, person="Ann", note="it is fine")
            system.command_event(event)
        else:
            again = RetryObligation(
                **header, endpoint=command.endpoint, aggregate=command.order_id, obligation_id=command.obligation_id
            )
            system.command_event(again)

    def check(self, told: list[Fact]) -> list[str]:
        """Everything that is wrong now."""
        return [*SimulationRun.check(self, told), *self.agreement.at_rest(self.committed)]

    def refused_by_right(self) -> int:
        """Orders a person let go that were not held any more."""
        letters = self.committed.records(topics.DEAD_LETTERS)
        return sum(1 for letter in letters if letter.flow == topics.ORDERS and "is not held" in letter.reason)

    # --- the end ---------------------------------------------------------------------------------------------------------

    def settle(self) -> list[str]:
        """Systems are well again, people try again what was given up, and everything owed comes to its end."""
        self.systems.heal()
        for again in self.exhausted():
            if self.dice.random() < 0.8:
                self._command(again)
        if not (self._until_quiet() and self._until_quiet(36 * HOUR_MS)):
            return [f"after {MOST_TURNS} turns something is still due: {self._next_due(self.committed)}"]
        wrong = self.acknowledge()
        return [*wrong, *self.check(self.tell()), *self.agreement.at_the_end(self.committed)]

    def _until_quiet(self, pause_ms: int = 0) -> bool:
        self._beat(self.system.now_ms + pause_ms)
        for _ in range(MOST_TURNS):
            due_ms = self._next_due(self.committed)
            if due_ms is None:
                return True
            self._beat(max(due_ms, self.system.now_ms + 1))
        return False

    def _next_due(self, system: CommittedState) -> int | None:
        """When something is due next that will happen by itself: not what people are told if it is late."""
        now_ms = self.system.now_ms
        due = [at for at in (self.systems.next_due(), self.agency.next_due()) if at is not None]
        for deliveries in system.tables(topics.DELIVERIES, DeliveryTables):
            due += [key[0] for key, _ in deliveries.deadlines.under() if key[1] != "forget"]
        for orders in system.tables(topics.ORDERS, OrderTables):
            due += [key[0] for key, _ in orders.deadlines.under() if key[1] == "bill" or key[0] <= now_ms + SOON_MS]
        return min(due, default=None)

    def at_the_end(self) -> list[str]:
        """As any simulation; and nobody else has noticed that everything was sent again."""
        before = self._states()
        wrong = SimulationRun.at_the_end(self)
        return [*wrong, *invariants.compare("after everything was sent again, the state of", before, self._states())]

    def _states(self) -> dict[str, str]:
        systems = self.systems
        states = {"erp": systems.erp.state(), "wms": systems.wms.state()}
        return {name: str(state) for name, state in (states | {n: crm.state() for n, crm in systems.told.items()}).items()}
