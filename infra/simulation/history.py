"""What happens in the simulated world, step by step, and how badly it is delivered.

The history is generated while it is played: the warehouse picks what the system under test has allocated. The same seed and
the same answers give the same history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infra.simulation import feeds
from infra.simulation.channel_people import Channels, ReservationRelease, Reserve
from infra.simulation.erp_people import ErpUsers
from infra.simulation.facts import RawMessage
from infra.simulation.strays import Strays
from infra.simulation.warehouse_people import WarehousePeople
from infra.simulation.world import HOUR_MS, MINUTE_MS, SimulatedWorld, SystemView

GARBAGE = (b"", b"{", b"\xff\xfe\x00", b"[]", b'"text"', b'{"type":"stock.received"}', b'{"op":"z"}', b"[" * 3000)
OFTEN_NEXT = {"in packs": "repacked", "repacked": "pick"}  # a chain that chance alone makes too seldom
GARBAGE_TOPICS = ("raw.wms", "raw.channel.web", "raw.erp.item", "raw.erp.sales_order_line")


@dataclass(frozen=True, slots=True)
class SimulationStep:
    """What is delivered before the system is left to come to rest. The clock strikes `now_ms` first."""

    label: str
    now_ms: int
    messages: tuple[RawMessage, ...] = ()
    commands: tuple[Reserve | ReservationRelease, ...] = ()


def play(world: SimulatedWorld, view: SystemView) -> Iterator[SimulationStep]:
    """Steps, one at a time: the system under test is at rest whenever the next one is asked for."""
    office, floor, shops, strays = ErpUsers(world), WarehousePeople(world), Channels(world), Strays(world)
    load, opening = world.interleave(world.erp.snapshot()), floor.opening()
    if world.random.random() < 0.2:
        load, opening = opening, load  # the warehouse is heard before anybody knows its items
    yield _step(world, "load", load)
    yield _step(world, "opening", opening)
    acts: tuple[tuple[str, int, Callable[[], list[RawMessage]]], ...] = (
        ("office", 4, office.day),
        ("stock", 3, floor.stock),
        ("sell", 5, shops.sell),
        ("sell and stock", 2, lambda: world.interleave([*shops.sell(), *floor.stock()])),
        ("change", 2, shops.change),
        ("pick", 5, lambda: floor.pick(view.open_lines())),
        ("ship", 4, floor.ship),
        ("rush", 4, lambda: _rush(world, view, office, floor, shops)),
        ("rubbish", 1, lambda: world.interleave([*rubbish(world), *floor.stock()])),
        ("strays", 3, lambda: world.interleave([*strays.warehouse(), *floor.stock()])),
        ("stray orders", 1, lambda: world.interleave([*strays.orders(), *shops.sell()])),
        ("begun anew", 1, office.begin_anew),
        ("truncated", 1, office.empty),
        ("known at last", 2, strays.known_at_last),
        ("in packs", 2, lambda: world.interleave([*strays.in_packs(), *floor.stock()])),
        ("repacked", 2, strays.repacked),
        ("flood", 1, lambda: world.interleave([*flood(world), *shops.sell(), *floor.stock()])),
    )
    by_label = {label: act for label, _, act in acts}
    label = ""
    for _ in range(world.random.randint(9, 14)):
        world.now_ms += world.random.choice((1, 3, 20, 45, 9 * 60, 26 * 60)) * MINUTE_MS
        world.erp.now_ms = world.now_ms
        drawn = world.random.choices(acts, [weight for _, weight, _ in acts])[0][0]
        label = OFTEN_NEXT[label] if label in OFTEN_NEXT and world.random.random() < 0.7 else drawn
        messages = by_label[label]()
        commands = shops.carts(view.alive_reservations()) if world.random.random() < 0.5 else ()
        yield _step(world, label, messages, commands)
    world.now_ms += 36 * HOUR_MS
    rest, world.heard = world.erp.stream[world.heard :], len(world.erp.stream)
    yield _step(world, "rest", world.interleave(rest))


def _step(
    world: SimulatedWorld, label: str, messages: Sequence[RawMessage], commands: Sequence[Reserve | ReservationRelease] = ()
) -> SimulationStep:
    repeated = repetitions(world, list(messages))
    world.delivered.extend(repeated)
    return SimulationStep(label, world.now_ms, tuple(repeated), tuple(commands))


def repetitions(world: SimulatedWorld, messages: list[RawMessage]) -> list[RawMessage]:
    """Every sender is entitled to say a thing again: at once, or much later."""
    dice = world.random
    good = [index for index, message in enumerate(messages) if message.fate != "dead-lettered"]
    if good and dice.random() < 0.4:
        for index in sorted(dice.sample(good, min(len(good), 3)), reverse=True):
            messages.insert(dice.randint(index + 1, len(messages)), messages[index])
    older = [message for message in world.delivered[-60:] if message.fate != "dead-lettered"]
    if older and dice.random() < 0.3:
        messages.extend(dice.sample(older, min(len(older), 3)))
    return messages


def _rush(world: SimulatedWorld, view: SystemView, office: ErpUsers, floor: WarehousePeople, shops: Channels) -> list[RawMessage]:
    """Everything at once: cancellations race picks, shipments overtake them, the ERP tells its own story of the same orders."""
    done = [*floor.pick(view.open_lines()), *floor.ship(), *floor.stock()]
    return world.interleave([*office.day(), *shops.change(), *shops.sell(), *world.disorder(done)])


def rubbish(world: SimulatedWorld) -> list[RawMessage]:
    """Bytes that mean nothing."""
    dice = world.random
    return [feeds.garbage(dice.choice(GARBAGE_TOPICS), dice.choice(GARBAGE)) for _ in range(dice.randint(1, 2))]


def flood(world: SimulatedWorld) -> list[RawMessage]:
    """A feed that says nothing anybody can read, again and again: a bad deploy of theirs."""
    dice = world.random
    world.met["burst of garbage"] += 1
    topic, kinds = dice.choice(GARBAGE_TOPICS), dice.sample(GARBAGE[1:], 2)
    return [feeds.garbage(topic, dice.choice(kinds)) for _ in range(dice.choice((50, 50, 100, 400)))]
