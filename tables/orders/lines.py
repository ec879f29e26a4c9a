"""An order's lines, worked out of what its sources say: the channel's lines, the ERP's, execution, invoices, the answers.

`settle` recomputes lines from facts (`tables.orders.line_quantities`), stores what changed, and asks the promise fold for what is
wanted differently now.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Event
from schemas.errors import BrokenInvariant
from schemas.frozen import replace
from schemas.inventory import RequestAllocation
from schemas.orders import SitePart
from tables.orders.emits import OrderEmit
from tables.orders.lifecycle import path
from tables.orders.line_exceptions import conditions
from tables.orders.line_quantities import LineSources, work_out
from tables.orders.process_state import DeferredProcess
from tables.orders.returns import returned_milli
from tables.orders.state import ErpLine, InvoicedLine, Line, LineRequest, Order, OrderTables

ERP_EXTRA = 1_000_000
"""An ERP line that no channel line matches keeps its number; if a channel line has that number, this is added."""


def assign(t: OrderTables, order_id: str, erp_order_no: str | None) -> dict[int, int | None]:
    """The order's lines: each line's number and the ERP line it is. ERP lines match by item, first unmatched in line order."""
    lines: dict[int, int | None] = {}
    free: dict[str, list[int]] = {}
    for (_, number), placed in t.placed.under(order_id):
        lines[number] = None
        free.setdefault(placed.item, []).append(number)
    for numbers in free.values():
        numbers.reverse()
    extra = []
    if erp_order_no is not None:
        found = [(key[2], erp) for key, erp in t.erp_lines.under(order_id, erp_order_no)]
        found_items = {no: erp.first_item for no, erp in found}
        posted = {no for no, erp in found if (order_id, no) in t.told and no in free.get(erp.first_item, ())}
        for number in posted:  # crossdock gave it the line's own number
            lines[number] = number
            free[found_items[number]].remove(number)
        for erp_line_no, erp in found:
            if erp_line_no in posted:
                continue
            if free.get(erp.first_item):
                lines[free[erp.first_item].pop()] = erp_line_no
            else:
                extra.append(erp_line_no)
    for erp_line_no in extra:
        lines[erp_line_no + ERP_EXTRA if (order_id, erp_line_no) in t.placed else erp_line_no] = erp_line_no
    return lines


def settle(t: OrderTables, order_id: str, cause: Event, *, is_header_same: bool = False) -> Iterator[OrderEmit]:
    """Match all lines anew and recompute each; only those matched otherwise than before, if nothing else can have changed."""
    order = t.orders[(order_id,)]
    lines = assign(t, order_id, order.erp_order_no)
    matched = {(order.erp_order_no, erp_line_no): number for number, erp_line_no in lines.items() if erp_line_no is not None}
    for key, erp in list(t.erp_lines.under(order_id)):
        number = matched.get(key[1:])
        if erp.line != number:
            t.erp_lines[key] = replace(erp, line=number)
    held = {number: line.erp_line_no for (_, number), line in t.lines.under(order_id) if line.is_listed}
    for number in sorted(held.keys() - lines.keys()):
        yield from _settle(t, order_id, order, number, None, is_listed=False, cause=cause)
    for number, erp_line_no in lines.items():
        if is_header_same and number in held and held[number] == erp_line_no:
            continue
        yield from _settle(t, order_id, order, number, erp_line_no, is_listed=True, cause=cause)


def settle_line(t: OrderTables, order_id: str, number: int, cause: Event) -> Iterator[OrderEmit]:
    """Recompute one line; its match stands."""
    line = t.lines[order_id, number]
    order = t.orders[(order_id,)]
    yield from _settle(t, order_id, order, number, line.erp_line_no, is_listed=line.is_listed, cause=cause)


def settle_erp_line(t: OrderTables, order_id: str, order_no: str, erp_line_no: int, cause: Event) -> Iterator[OrderEmit]:
    """Recompute the line an ERP line is. One that is new to an order the channel placed has to be matched first."""
    key = (order_id, order_no, erp_line_no)
    erp = t.erp_lines[key]
    if erp.line is not None:
        yield from settle_line(t, order_id, erp.line, cause)
    elif (order_id,) in t.placements:
        if t.orders[(order_id,)].is_large():  # matching looks at all lines: once for many
            t.put_offs[(order_id,)] = replace(
                t.put_offs.get((order_id,)) or DeferredProcess(cause.recorded_at_ms), is_unmatched=True
            )
        else:
            yield from settle(t, order_id, cause, is_header_same=True)
    else:
        t.erp_lines[key] = replace(erp, line=erp_line_no)
        yield from _settle(t, order_id, t.orders[(order_id,)], erp_line_no, erp_line_no, is_listed=True, cause=cause)


def _settle(
    t: OrderTables, order_id: str, order: Order, number: int, erp_line_no: int | None, *, is_listed: bool, cause: Event
) -> Iterator[OrderEmit]:
    erp, invoiced = None, 0
    if erp_line_no is not None and order.erp_order_no is not None:
        erp = t.erp_lines[order_id, order.erp_order_no, erp_line_no]
        bills = t.invoice_lines.under(order_id, order.erp_order_no, erp_line_no)
        invoiced = _invoiced(t, order_id, number, [bill for _, bill in bills if not bill.is_void])
    others = [other for _, other in t.substitutes.under(order_id, number)]
    shipped = sum(other.serves(other.shipped_milli) for other in others)
    placed = t.placed.get((order_id, number))
    current = t.lines.get((order_id, number))
    if current is None:
        fresh = t.orders[(order_id,)]
        t.orders[(order_id,)] = replace(fresh, line_count=fresh.line_count + 1)
    old = current or Line()
    returned = returned_milli(t, order_id, number, old, max(0, erp.shipped_milli - shipped) if erp else 0)
    sources = LineSources(order, placed, erp, erp_line_no, is_listed, shipped, returned, invoiced)
    instructed: list[SitePart] = []
    if (order_id,) in t.processes:
        sources, instructed = _run(t, order_id, number, old, sources)
    new, requests = work_out(old, sources)
    if path(old.state, new.state) is None:
        raise BrokenInvariant(f"line {number} of {order_id} cannot go from {old.state} to {new.state}")
    if new != old:
        t.lines[order_id, number] = new
    for revision, request in enumerate(requests, old.revision + 1):
        yield _request(order_id, order, number, request, revision, erp, instructed, cause)
    yield from conditions(order_id, number, old, new, cause)


def _invoiced(t: OrderTables, order_id: str, number: int, bills: list[InvoicedLine]) -> int:
    """What bills say of a line: a substitute is billed as what it is, and counts by what it serves."""
    by_item: dict[str, int] = {}
    for bill in bills:
        by_item[bill.item] = by_item.get(bill.item, 0) + bill.qty_milli
    others = {item: t.substitutes.get((order_id, number, item)) for item in by_item}
    return sum([qty if (other := others[item]) is None else other.serves(qty) for item, qty in by_item.items()])


def _run(t: OrderTables, order_id: str, number: int, line: Line, s: LineSources) -> tuple[LineSources, list[SitePart]]:
    """What an order's run adds to a line's sources: what other systems were told. And units instructed by site.

    Units not found count once the promise fold's answer has them: it takes them off the line by itself, so a request that took
    them off before would take them off twice.
    """
    instructed, told_milli, committed = [], 0, 0
    shorts = {x.site: x.short_milli for x in line.answer.gone} if line.answer else {}
    for (_, _, site), handoff in t.handoffs.under(order_id, number):
        instructed.append(SitePart(site, handoff.instructed_milli - handoff.withdrawn_milli))
        known = replace(handoff, short_milli=shorts.get(site, 0))
        told_milli += max(0, known.instructed_milli - known.withdrawn_milli - known.short_milli)
        committed += known.committed_milli()
    posted = t.told.get((order_id, number if s.erp_line_no is None else s.erp_line_no))
    run = replace(
        s,
        instructed_milli=told_milli,
        committed_milli=committed,
        known_short_milli=sum(shorts.values()),
        told_site=posted.site if posted else None,
    )
    return run, instructed


def _request(
    order_id: str,
    order: Order,
    number: int,
    request: LineRequest,
    revision: int,
    erp: ErpLine | None,
    instructed: list[SitePart],
    cause: Event,
) -> RequestAllocation:
    return RequestAllocation(
        event_id=f"{order_id}/{number}/{revision}",
        source="orders",
        source_position=revision,
        occurred_at_ms=cause.occurred_at_ms,
        recorded_at_ms=cause.recorded_at_ms,
        trace_id=cause.trace_id,
        item=request.item,
        order_id=order_id,
        line=number,
        revision=revision,
        wanted_milli=request.wanted_milli,
        uom=request.uom,
        site=request.site,
        requested_on=request.requested_on,
        channel=order.channel,
        customer=order.customer,
        priority=request.priority,
        placed_at_ms=order.placed_at_ms,
        is_firm=request.is_firm,
        allow_partial=request.allow_partial,
        allow_backorder=request.allow_backorder,
        shipped_milli=request.shipped_milli,
        commit_position=erp.commit_position if erp else 0,
        instructed=instructed,
    )
