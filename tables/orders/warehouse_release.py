"""The warehouse's part: what it is told to ship, what it is asked to give back, and what it says it did.

One obligation at a time. What is released follows from the promise fold's answer, site by site: units allocated there, picked,
shipped or found missing, less those the warehouse was told of before. What is withdrawn follows from what is no longer desired;
what a withdrawal does not bring back, ships.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.deliveries import ObligationRaised
from schemas.frozen import replace
from schemas.obligations import ObligedLine, ReleaseOrder, ReleaseWithdrawn, RequestCount, WithdrawRelease
from schemas.orders import LineExecution, LinePicked, LineShipped, LineShorted, LineSubstituted
from tables.orders.process import OrderProcess, is_current
from tables.orders.process_state import Handoff, Task, TaskLine
from tables.orders.state import Line, OrderTables


def record(t: OrderTables, e: LineExecution, qty: int, short: int) -> None:
    """What the warehouse did for a line of an order crossdock runs. Shipments: of its own item."""
    if (e.order_id,) not in t.processes:
        return
    key = (e.order_id, e.line, e.site)
    current = t.handoffs.get(key) or Handoff()
    match e:
        case LinePicked():
            current = replace(current, picked_milli=current.picked_milli + qty)
        case LineShorted():
            short_at_ms = current.short_at_ms if qty else max(current.short_at_ms, e.recorded_at_ms)
            shorted = current.short_milli + short
            current = replace(current, picked_milli=current.picked_milli + qty, short_milli=shorted, short_at_ms=short_at_ms)
        case LineSubstituted():
            current = replace(current, substituted_milli=current.substituted_milli + qty)
        case LineShipped():
            current = replace(current, shipped_milli=current.shipped_milli + qty)
        case _:
            return
    t.handoffs[key] = current


def handoffs(run: OrderProcess, number: int) -> dict[str, Handoff]:
    """A line's handoffs by site."""
    return {site: row for (_, _, site), row in run.t.handoffs.under(run.order_id, number)}


def hand_over(run: OrderProcess) -> Iterator[ObligationRaised]:
    """The warehouse's next obligation: give back what is not desired any more, else ship what may be shipped."""
    endpoint = run.policy.orders.wms
    if endpoint is None or run.is_waiting("release_order", "withdraw_release"):
        return
    back = _surplus(run)
    if back:
        body = WithdrawRelease(run.order_id, [_obliged(run, row) for row in back])
        yield run.begin(endpoint, body, back)
        return
    rows = _releasable(run)
    if rows:
        for row in rows:
            _instruct(run.t, run.order_id, row, row.qty_milli)
        placement = run.t.placements[(run.order_id,)]
        body_out = ReleaseOrder(
            order_id=run.order_id,
            customer=placement.customer,
            priority=run.order.priority,
            requested_on=run.order.requested_on,
            allow_substitute=placement.allow_substitute,
            lines=[_obliged(run, row) for row in rows],
        )
        yield run.begin(endpoint, body_out, rows)


def _obliged(run: OrderProcess, row: TaskLine) -> ObligedLine:
    line = run.t.lines[run.order_id, row.line]
    return ObligedLine(row.line, line.item, row.site, row.qty_milli, line.unit.uom or "")


def _instruct(t: OrderTables, order_id: str, row: TaskLine, qty: int) -> None:
    key = (order_id, row.line, row.site)
    current = t.handoffs.get(key) or Handoff()
    t.handoffs[key] = replace(current, instructed_milli=current.instructed_milli + qty)


def ask_counts(run: OrderProcess) -> Iterator[ObligationRaised]:
    """Have a warehouse count what it did not find, once for each time: its books or its shelf are wrong."""
    endpoint = run.policy.orders.wms
    if endpoint is None:
        return
    for number, line in run.lines:
        if line.executed.short_milli:
            for site, row in handoffs(run, number).items():
                if row.short_milli > row.counted_milli:
                    run.t.handoffs[run.order_id, number, site] = replace(row, counted_milli=row.short_milli)
                    body = RequestCount(run.order_id, site, line.item)
                    yield run.raised(endpoint, f"{run.order_id}/count/{number}/{site}/{row.short_milli}", body)


# --- withdrawing ---------------------------------------------------------------------------------------------------------


def _surplus(run: OrderProcess) -> tuple[TaskLine, ...]:
    """Units warehouses may still take beyond what is desired of their line."""
    rows = []
    for (_, number), line in run.t.lines.under(run.order_id):
        sites = handoffs(run, number)
        if not sites or not line.unit.is_base:
            continue
        committed = sum(row.committed_milli() for row in sites.values())
        taken = sum(row.taken_milli() for row in sites.values())
        surplus = committed - max(line.desired_milli, taken)
        for site in sorted(sites, reverse=True):
            units = min(surplus, sites[site].open_milli())
            if units > 0:
                rows.append(TaskLine(number, site, units))
                surplus -= units
    return tuple(rows)


def give_back(t: OrderTables, order_id: str, task: Task, answer: ReleaseWithdrawn | None) -> set[int]:
    """The warehouse has answered a withdrawal (none: it gives nothing back). Returns the lines concerned."""
    given: dict[tuple[int, str], int] = {}
    for back in answer.lines if answer else ():
        given[back.line, back.site] = given.get((back.line, back.site), 0) + back.qty_milli
    for row in task.lines:
        key = (order_id, row.line, row.site)
        units = max(0, min(row.qty_milli, given.get((row.line, row.site), 0)))
        current = t.handoffs[key]
        current = replace(current, withdrawn_milli=current.withdrawn_milli + units)
        if units < row.qty_milli:
            current = replace(current, sure_milli=current.instructed_milli - current.withdrawn_milli)
        t.handoffs[key] = current
    return {row.line for row in task.lines}


def take_back(t: OrderTables, order_id: str, task: Task) -> set[int]:
    """The warehouse has refused a release: it was told nothing. Returns the lines concerned."""
    for row in task.lines:
        _instruct(t, order_id, row, -row.qty_milli)
    return {row.line for row in task.lines}


# --- releasing -----------------------------------------------------------------------------------------------------------


def _releasable(run: OrderProcess) -> tuple[TaskLine, ...]:
    if run.process.decision != "accepted":
        return ()
    live = run.live()
    if not run.order.allow_partial and not all(_is_covered(line) for _, line in live):
        return ()
    return tuple(row for number, line in live for row in _line_releases(run, number, line))


def _is_covered(line: Line) -> bool:
    return is_current(line) and line.picked_milli + line.allocated_milli >= line.wanted_milli


def _line_releases(run: OrderProcess, number: int, line: Line) -> Iterator[TaskLine]:
    """Units allocated at warehouses that they were not told of, as far as they are desired and the ERP has confirmed them."""
    erp, allocation = run.erp_line(line), line.answer
    if allocation is None or not is_current(line) or not line.unit.is_base:
        return  # while a request is under way, units may be on their way to another site
    confirmed = 0 if erp is None or run.order.is_erp_cancelled else erp.stands_milli()
    sites = handoffs(run, number)
    committed = max(line.picked_milli, sum(row.committed_milli() for row in sites.values()))
    room = min(line.desired_milli, confirmed) - committed
    gone = {row.site: row.shipped_milli + row.short_milli for row in allocation.gone}
    for part in allocation.parts:
        if run.policy.sites.site(part.site).physical_owner != "wms":
            continue
        current = sites.get(part.site) or Handoff()
        if run.now_ms < _rests_until_ms(run, current):
            continue
        told = current.instructed_milli - current.withdrawn_milli
        units = min(room, part.qty_milli, part.qty_milli + gone.get(part.site, 0) - told)
        if units > 0:
            yield TaskLine(number, part.site, units)
            room -= units


def _rests_until_ms(run: OrderProcess, current: Handoff) -> int:
    """A warehouse that found nothing is not sent again at once: what is promised may have yet to arrive."""
    return current.short_at_ms + run.policy.orders.short_pause_ms if current.short_at_ms else 0


def release_again_ms(run: OrderProcess) -> Iterator[int]:
    """When warehouses that found nothing may be sent again."""
    for number, line in run.live():
        if line.allocated_milli:
            yield from (at for row in handoffs(run, number).values() if (at := _rests_until_ms(run, row)) > run.now_ms)
