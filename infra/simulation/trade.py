"""What happens where crossdock runs the orders: channels sell, people decide, systems fail, goods come in.

The warehouse and the ERP's order desk are the sandbox's; the rest of the ERP (master data, purchases, orders by phone) is the
simulated database, as in `history.py`. Small steps of time go between large ones, so that calls and ticks meet in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from infra.simulation import feeds
from infra.simulation.channel_people import Channels, ReservationRelease, Reserve
from infra.simulation.erp_people import BESIDE_RUNS, ErpUsers
from infra.simulation.facts import OrderFact, RawMessage
from infra.simulation.feeds import BASE
from infra.simulation.history import flood, repetitions, rubbish
from infra.simulation.systems import NAMES, Systems, Trouble
from infra.simulation.world import CHANNELS, HOUR_MS, MINUTE_MS, SimulatedWorld

SECOND_MS = 1_000
PAUSES_MS = (200, SECOND_MS, 5 * SECOND_MS, 30 * SECOND_MS, 5 * MINUTE_MS, 45 * MINUTE_MS, 9 * HOUR_MS)


@dataclass(frozen=True, slots=True)
class LetGo:
    """A person lets a held order go on in spite of a reason ("": all)."""

    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A person has an exhausted obligation tried again."""

    endpoint: str
    order_id: str
    obligation_id: str


Command = Reserve | ReservationRelease | LetGo | TryAgain


@dataclass(frozen=True, slots=True)
class OrderStep:
    """As `history.Step`. `beats`: so much time passes after it, bit by bit."""

    label: str
    now_ms: int
    messages: tuple[RawMessage, ...] = ()
    commands: tuple[Command, ...] = ()
    beats: tuple[int, ...] = ()


class ObservedByPeople(Protocol):
    """What the world's people see of the system under test."""

    def alive_reservations(self) -> list[tuple[str, str]]:
        """See `world.View`."""
        ...

    def held_orders(self) -> list[tuple[str, list[str]]]:
        """Orders held, with the reasons, in a fixed order."""
        ...

    def exhausted(self) -> list[TryAgain]:
        """Obligations given up, in a fixed order."""
        ...


class OrderWorld(SimulatedWorld):
    """A world with prices people pay, and customers with limits that matter."""

    def price_row(self, item: str) -> dict[str, Any]:
        """A price reference."""
        return SimulatedWorld.price_row(self, item) | {
            "unit_price": (Decimal(self.random.randint(4, 120)) / 4).quantize(Decimal("0.0001"))
        }

    def customer_row(self, customer: str) -> dict[str, Any]:
        """A customer with one limit or another, or none."""
        limit = self.random.choice((None, None, Decimal(150), Decimal("600.5"), Decimal(3000)))
        return SimulatedWorld.customer_row(self, customer) | {"credit_limit": limit, "credit_hold": self.random.random() < 0.1}


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """The year's business, from one seed."""

    world: OrderWorld
    systems: Systems
    seen: ObservedByPeople

    def play(self) -> Iterator[OrderStep]:
        """Steps, one at a time, as in `history.play`."""
        w = self.world
        office, shops = ErpUsers(w, BESIDE_RUNS), Channels(w)
        self.systems.wms.announce(w.now_ms)
        yield self._step("load", w.interleave(w.erp.snapshot()))
        acts: tuple[tuple[str, int, Callable[[], list[RawMessage]]], ...] = (
            ("office", 3, office.day),
            ("sell", 7, self._sell),
            ("change", 4, shops.change),
            ("sell and change", 3, lambda: w.interleave([*self._sell(), *shops.change()])),
            ("goods", 3, self._receive),
            ("trouble", 4, self._trouble),
            ("nothing", 2, list),
            ("rush", 3, lambda: self._rush(office, shops)),
            ("rubbish", 1, lambda: rubbish(w)),
            ("flood", 1, lambda: w.interleave([*flood(w), *self._sell()])),
        )
        for _ in range(w.random.randint(8, 13)):
            w.now_ms += w.random.choice(
                (200, SECOND_MS, 5 * SECOND_MS, 30 * SECOND_MS, 5 * MINUTE_MS, 45 * MINUTE_MS, 9 * HOUR_MS)
            )
            w.erp.now_ms = w.now_ms
            label, _, act = w.random.choices(acts, [weight for _, weight, _ in acts])[0]
            messages = act()
            yield self._step(label, messages, self._people(shops))
        rest, w.heard = w.erp.stream[w.heard :], len(w.erp.stream)
        yield self._step("rest", w.interleave(rest))

    def _step(self, label: str, messages: list[RawMessage], commands: Sequence[Command] = ()) -> OrderStep:
        w = self.world
        self.systems.learn()
        repeated = repetitions(w, messages)
        w.delivered.extend(repeated)
        beats = [w.random.choice((100, 600, 2 * SECOND_MS, 9 * SECOND_MS, 40 * SECOND_MS)) for _ in range(w.random.randint(1, 4))]
        return OrderStep(label, w.now_ms, tuple(repeated), tuple(commands), tuple(beats))

    def _sell(self) -> list[RawMessage]:
        orders = [self._order() for _ in range(self.world.random.randint(1, 3))]
        return self.world.interleave([message for order in orders for message in order])

    def _order(self) -> list[RawMessage]:
        """An order at the prices people see, now and then at one they would like; some are sent twice."""
        w, dice = self.world, self.world.random
        channel, ref = dice.choice(CHANNELS), f"X{w.number()}"
        kinds = [dice.choice(w.items) for _ in range(dice.randint(1, 3))]
        units = [kind.pack if dice.random() < 0.2 else BASE for kind in kinds]
        lines = []
        for number, (kind, unit) in enumerate(zip(kinds, units, strict=True), 1):
            qty = w.some(kind, 1, 9) if unit is BASE else unit.size * dice.randint(1, 2)
            wanted = feeds.wanted(number, kind.item, qty, dice.choice(w.sites) if dice.random() < 0.2 else None)
            lines.append(replace(wanted, price=self._price(kind.item)))
        requested = None if dice.random() < 0.6 else w.day(dice.randint(0, 3))
        order_id, customer = f"{channel}:{ref}", f"C-{dice.choice((0, 0, 0, 1, 1, 2))}"
        fact = OrderFact(order_id, customer, requested, dice.random() < 0.7, dice.random() < 0.7, tuple(lines))
        w.sold(channel, ref, fact, units)
        return [feeds.placed(channel, ref, w.now_ms, fact, units)] * dice.choice((1, 1, 1, 2))

    def _price(self, item: str) -> Decimal:
        prices = [row for key, row in sorted(self.world.erp.rows["item_price"].items()) if key[1] == item]
        price: Decimal = prices[-1]["unit_price"]
        return price * 2 if self.world.random.random() < 0.06 else price

    def _receive(self) -> list[RawMessage]:
        """Goods come into the warehouse, without a word to the ERP."""
        w, dice = self.world, self.world.random
        for _ in range(dice.randint(1, 4)):
            kind, site = dice.choice(w.items), dice.choice(w.wms_sites)
            qty = feeds.plain(w.some(kind, 1, 20))
            self.systems.wms.receive({"site": site, "item": kind.item, "qty": qty}, w.now_ms)
        return []

    def _trouble(self) -> list[RawMessage]:
        """Another weather for one or two of the systems."""
        w, dice = self.world, self.world.random
        for name in dice.sample(NAMES, dice.randint(1, 2)):
            down_ms = dice.choice((0, 0, 3 * SECOND_MS, MINUTE_MS, 20 * MINUTE_MS))
            broken = set(dice.sample(sorted(w.orders), 1)) if w.orders and dice.random() < 0.4 else set()
            slow, lost, doubled, repeated, late = (dice.choice((0.0, 0.0, 0.2, 0.5)) for _ in range(5))
            self.systems.trouble[name] = Trouble(w.now_ms + down_ms, slow, lost, doubled, repeated, late, broken)
        return []

    def _rush(self, office: ErpUsers, shops: Channels) -> list[RawMessage]:
        self._receive()
        self._trouble()
        return self.world.interleave([*office.day(), *shops.change(), *self._sell()])

    def _people(self, shops: Channels) -> list[Command]:
        """Carts; orders let go; what was given up tried again."""
        dice = self.world.random
        found: list[Command] = [*shops.carts(self.seen.alive_reservations())] if dice.random() < 0.3 else []
        for order_id, holds in self.seen.held_orders():
            if dice.random() < 0.2:
                found.append(LetGo(order_id, dice.choice(("", *holds))))
        found += [again for again in self.seen.exhausted() if dice.random() < 0.2]
        return found
