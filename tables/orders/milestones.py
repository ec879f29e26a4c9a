"""An order's milestones: when each was reached first, how long after the one before, and whether that was in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.base import Event
from schemas.bounds import bounded_ms
from schemas.operations import ExceptionNoted
from schemas.orders import Milestone
from tables.common.raise_exception import note
from tables.orders.lifecycle import State
from tables.orders.state import Line, OrderTables, Reached

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class MilestoneDue:
    """A milestone and how long after the one before (the first: after the order was placed) it is due."""

    name: str
    sla_ms: int


STAGES = (
    MilestoneDue("order_accepted", 15 * MINUTE_MS),  # every line is answered, and at least one goes on; no check is left
    MilestoneDue("allocation_confirmed", 4 * HOUR_MS),  # every open line is allocated in full
    MilestoneDue("pick_released", 24 * HOUR_MS),
    MilestoneDue("shipment_posted", 24 * HOUR_MS),  # the first one
    MilestoneDue("invoice_generated", 24 * HOUR_MS),  # the first one
)
_ON_ACCEPTANCE = frozenset({"order_accepted", "allocation_confirmed"})  # not before the order's checks are done
_CLOSED = frozenset({State.CANCELLED, State.SHORT, State.REFUSED})


def reach(t: OrderTables, order_id: str, cause: Event) -> Iterator[Milestone | ExceptionNoted]:
    """The milestones the order has reached just now, by `cause`."""
    missing = [stage for stage in STAGES if (order_id, stage.name) not in t.milestones]
    if not missing:
        return
    lines = [line for _, line in t.lines.under(order_id) if line.is_listed]
    process = t.processes.get((order_id,))
    for stage in missing:
        if stage.name in _ON_ACCEPTANCE and process is not None and not process.is_accepted:
            continue
        if _is_reached(stage.name, lines):
            yield from _reached(t, order_id, stage, cause)


def _is_reached(name: str, lines: list[Line]) -> bool:
    if name == "order_accepted":
        is_answered = all(line.answer is not None or line.wish is None for line in lines)
        return is_answered and any(line.answer is not None and line.state not in _CLOSED for line in lines)
    if name == "allocation_confirmed":
        live = [line for line in lines if line.state not in _CLOSED]
        return bool(live) and all(line.picked_milli + line.allocated_milli >= line.wanted_milli for line in live)
    if name == "pick_released":
        return any(line.executed.released_milli > 0 or line.executed.picked_milli > 0 for line in lines)
    if name == "shipment_posted":
        return any(line.shipped_milli > 0 for line in lines)
    return any(line.invoiced_milli > 0 for line in lines)


def _reached(t: OrderTables, order_id: str, stage: MilestoneDue, cause: Event) -> Iterator[Milestone | ExceptionNoted]:
    at_ms = bounded_ms(cause.occurred_at_ms)
    earlier = []
    for other in STAGES[: STAGES.index(stage)]:
        row = t.milestones.get((order_id, other.name))
        earlier += [row.at_ms] if row else []
    since = max(0, at_ms - earlier[-1]) if earlier else None
    took = at_ms - t.orders[(order_id,)].placed_at_ms if since is None else since
    is_late = took > stage.sla_ms
    t.milestones[order_id, stage.name] = Reached(at_ms)
    yield Milestone(
        order_id=order_id,
        milestone=stage.name,
        at_ms=at_ms,
        since_previous_ms=since,
        sla_ms=stage.sla_ms,
        is_late=is_late,
        cause=cause.event_id,
    )
    if is_late:
        what = stage.name.replace("_", " ")
        sentence = f"Order {order_id}: {what} after {took // MINUTE_MS} minutes, due within {stage.sla_ms // MINUTE_MS}."
        yield note(cause, "late_milestone", f"late_milestone:{order_id}:{stage.name}", sentence, order_id=order_id)
