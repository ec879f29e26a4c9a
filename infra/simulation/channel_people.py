"""The simulated sales channels: orders and their changes, carts that hold stock for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from infra.simulation import feeds
from infra.simulation.facts import ChangeFact, OrderFact, RawMessage
from infra.simulation.feeds import BASE
from infra.simulation.world import CHANNELS, MINUTE_MS, SimulatedWorld


@dataclass(frozen=True, slots=True)
class Reserve:
    """A channel wants units held for a while."""

    reservation_id: str
    item: str
    site: str | None
    channel: str
    qty: Decimal
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class ReservationRelease:
    """A channel gives a reservation back."""

    reservation_id: str
    item: str


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels."""

    world: SimulatedWorld

    def sell(self) -> list[RawMessage]:
        """New orders, some of them sent twice."""
        orders = [self._order() for _ in range(self.world.random.randint(2, 5))]
        return self.world.interleave([message for order in orders for message in order])

    def _order(self) -> list[RawMessage]:
        w, dice = self.world, self.world.random
        channel, ref = dice.choice(CHANNELS), f"X{w.number()}"
        kinds = [dice.choice(w.items) for _ in range(dice.randint(1, 3))]
        units = [kind.pack if dice.random() < 0.2 else BASE for kind in kinds]
        sized = [w.some(k, 1, 9) if u is BASE else u.size * dice.randint(1, 2) for k, u in zip(kinds, units, strict=True)]
        sites = [dice.choice(w.sites) if dice.random() < 0.2 else None for _ in kinds]
        lines = tuple(
            feeds.wanted(number, kind.item, qty, site)
            for number, (kind, qty, site) in enumerate(zip(kinds, sized, sites, strict=True), 1)
        )
        requested = None if dice.random() < 0.3 else w.day(dice.randint(0, 5))
        if dice.random() < 0.08:
            requested = dice.choice((date.min, date.max))
            w.met["order for a day that means none"] += 1
        order_id = f"{channel}:{ref}"
        fact = OrderFact(order_id, f"C-{dice.randint(0, 1)}", requested, dice.random() < 0.7, dice.random() < 0.7, lines)
        w.sold(channel, ref, fact, units)
        return [feeds.placed(channel, ref, w.now_ms, fact, units)] * dice.choice((1, 1, 1, 2))

    def change(self) -> list[RawMessage]:
        """Cancellations and other quantities, of orders that are not cancelled yet."""
        w, dice, found = self.world, self.world.random, []
        alive = [order_id for order_id in w.orders if order_id not in w.cancelled]
        for order_id in dice.sample(alive, min(len(alive), dice.randint(1, 3))):
            channel, ref, order = w.orders[order_id]
            line, kind = dice.choice(order.lines), dice.choice(("cancel", "cancel_line", "set_qty", "set_qty"))
            if kind == "set_qty":
                wanted = w.some(next(k for k in w.items if k.item == line.item), 1, 12)
                fact = ChangeFact(f"CH{w.number()}", order_id, kind, w.now_ms, line.line, wanted)
            else:
                fact = ChangeFact(f"CH{w.number()}", order_id, kind, w.now_ms, line.line if kind == "cancel_line" else None)
                w.cancelled.add(order_id)
            found.append(feeds.changed(channel, ref, fact))
        return found

    def carts(self, alive: list[tuple[str, str]]) -> list[Reserve | ReservationRelease]:
        """Carts take and give back."""
        w, dice = self.world, self.world.random
        found: list[Reserve | ReservationRelease] = [
            ReservationRelease(reservation, item) for reservation, item in alive if dice.random() < 0.2
        ]
        for _ in range(dice.randint(1, 3)):
            kind, site = dice.choice(w.items), dice.choice((None, *w.sites))
            ttl_ms = dice.choice((2, 15, 60)) * MINUTE_MS
            found.append(Reserve(f"R{w.number()}", kind.item, site, dice.choice(CHANNELS), w.some(kind, 1, 9), ttl_ms))
        return found
