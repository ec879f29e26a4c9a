"""What happens meanwhile: a busy day after the other, everything at once, from the simulation's people."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from infra.simulation.channel_people import Channels, ReservationRelease, Reserve
from infra.simulation.erp_people import ErpUsers
from infra.simulation.facts import RawMessage
from infra.simulation.history import SimulationStep, repetitions, rubbish
from infra.simulation.warehouse_people import WarehousePeople
from infra.simulation.world import HOUR_MS, MINUTE_MS, SimulatedWorld, SystemView

BUSY = "busy"
OFFICE_DAYS, SALES, STOCK_EVENTS = 2, 4, 5


def busy_days(world: SimulatedWorld, view: SystemView, is_over: Callable[[], bool]) -> Iterator[SimulationStep]:
    """The load, the opening, busy days until it is over, the rest. The system is at rest whenever the next is asked for."""
    office, floor, shops = ErpUsers(world), WarehousePeople(world), Channels(world)
    yield _step(world, "load", list(world.interleave(world.erp.snapshot())))
    yield _step(world, "opening", list(floor.opening()))
    while not is_over():
        world.now_ms += world.random.choice((1, 3, 20, 45, 9 * 60)) * MINUTE_MS
        world.erp.now_ms = world.now_ms
        done = [*floor.pick(view.open_lines()), *floor.ship()]
        for _ in range(STOCK_EVENTS):
            done += floor.stock()
        told = [message for _ in range(OFFICE_DAYS) for message in office.day()]
        sold = [message for _ in range(SALES) for message in shops.sell()]
        wrong = rubbish(world) if world.random.random() < 0.3 else []
        messages = world.interleave([*told, *shops.change(), *sold, *world.disorder(done), *wrong])
        yield _step(world, BUSY, messages, tuple(shops.carts(view.alive_reservations())))
    world.now_ms += 36 * HOUR_MS
    rest, world.heard = world.erp.stream[world.heard :], len(world.erp.stream)
    yield _step(world, "rest", world.interleave(rest))


def _step(
    world: SimulatedWorld, label: str, messages: list[RawMessage], commands: tuple[Reserve | ReservationRelease, ...] = ()
) -> SimulationStep:
    repeated = repetitions(world, messages)
    world.delivered.extend(repeated)
    return SimulationStep(label, world.now_ms, tuple(repeated), commands)
