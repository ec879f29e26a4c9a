"""An order's lines, worked out of what its sources say: the channel's lines, the ERP's, execution, invoices, the answers.

`settle` recomputes lines from facts, stores what changed, and asks the promise fold for what is wanted differently now.
Which source has the last word on a quantity: the one that changed it last; the ERP's first confirmation outranks the order as
placed, a change by the channel outranks that confirmation. A cancellation by the channel is final; one by the ERP stands as
long as the ERP says so. Both leave what has been picked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from schemas.base import Event
from schemas.errors import BrokenInvariant
from schemas.inventory import RequestAllocation
from schemas.orders import SitePart
from schemas.quantity import MILLI
from tables.order_exceptions import conditions
from tables.order_states import Standing, State, path, state_of
from tables.orders import Answer, ErpLine, Line, Order, OrderTables, Placed, Unit, Wish

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


def settle(t: OrderTables, order_id: str, cause: Event, *, is_header_same: bool = False) -> Iterator[Any]:
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


def settle_line(t: OrderTables, order_id: str, number: int, cause: Event) -> Iterator[Any]:
    """Recompute one line; its match stands."""
    line = t.lines[order_id, number]
    order = t.orders[(order_id,)]
    yield from _settle(t, order_id, order, number, line.erp_line_no, is_listed=line.is_listed, cause=cause)


def settle_erp_line(t: OrderTables, order_id: str, order_no: str, erp_line_no: int, cause: Event) -> Iterator[Any]:
    """Recompute the line an ERP line is. One that is new to an order the channel placed has to be matched first."""
    key = (order_id, order_no, erp_line_no)
    erp = t.erp_lines[key]
    if erp.line is not None:
        yield from settle_line(t, order_id, erp.line, cause)
    elif (order_id,) in t.placements:
        yield from settle(t, order_id, cause, is_header_same=True)
    else:
        t.erp_lines[key] = replace(erp, line=erp_line_no)
        yield from _settle(t, order_id, t.orders[(order_id,)], erp_line_no, erp_line_no, is_listed=True, cause=cause)


@dataclass(frozen=True, slots=True)
class Sources:
    """All that one line is worked out of."""

    order: Order
    placed: Placed | None
    erp: ErpLine | None
    erp_line_no: int | None
    is_listed: bool
    substitutes_shipped_milli: int
    substitutes_returned_milli: int
    invoiced_milli: int
    instructed_milli: int = 0  # units warehouses were told to ship, and neither gave back nor missed
    committed_milli: int = 0  # the same, or what they took if that is more
    known_short_milli: int | None = None  # units not found, as the promise fold knows; none: as the warehouse told
    told_site: str | None = None  # the site the ERP was told

    def is_told(self) -> bool:
        """Whether the ERP only has what crossdock posted: then it says nothing of its own."""
        return self.placed is not None and self.erp is not None and self.erp.own_milli is None


def _settle(
    t: OrderTables, order_id: str, order: Order, number: int, erp_line_no: int | None, *, is_listed: bool, cause: Event
) -> Iterator[Any]:
    erp, invoiced = None, 0
    if erp_line_no is not None and order.erp_order_no is not None:
        erp = t.erp_lines[order_id, order.erp_order_no, erp_line_no]
        bills = t.invoice_lines.under(order_id, order.erp_order_no, erp_line_no)
        invoiced = sum(bill.qty_milli for _, bill in bills if not bill.is_void)
    others = [other for _, other in t.substitutes.under(order_id, number)]
    shipped = sum(other.serves(other.shipped_milli) for other in others)
    returned = sum(other.serves(other.returned_milli) for other in others)
    placed = t.placed.get((order_id, number))
    old = t.lines.get((order_id, number)) or Line()
    sources = Sources(order, placed, erp, erp_line_no, is_listed, shipped, returned, invoiced)
    instructed: list[SitePart] = []
    if (order_id,) in t.processes:
        sources, instructed = _run(t, order_id, number, old, sources)
    new, wishes = work_out(old, sources)
    if path(old.state, new.state) is None:
        raise BrokenInvariant(f"line {number} of {order_id} cannot go from {old.state} to {new.state}")
    if new != old:
        t.lines[order_id, number] = new
    for revision, wish in enumerate(wishes, old.revision + 1):
        yield _request(order_id, order, number, wish, revision, erp, instructed, cause)
    yield from conditions(order_id, number, old, new, cause)


def _run(t: OrderTables, order_id: str, number: int, line: Line, s: Sources) -> tuple[Sources, list[SitePart]]:
    """What an order's run adds to a line's sources: what other systems were told. And units instructed by site.

    Units not found count once the promise fold's answer has them: it takes them off the line by itself, so a wish that took them
    off before would take them off twice.
    """
    instructed, told_milli, committed = [], 0, 0
    shorts = {x.site: x.short_milli for x in line.answer.gone} if line.answer else {}
    for (_, _, site), handoff in t.handoffs.under(order_id, number):
        instructed.append(SitePart(site, handoff.instructed_milli - handoff.withdrawn_milli))
        known = replace(handoff, short_milli=shorts.get(site, 0))
        told_milli += max(0, known.instructed_milli - known.withdrawn_milli - known.short_milli)
        committed += known.committed_milli()
    told = t.told.get((order_id, number if s.erp_line_no is None else s.erp_line_no))
    run = replace(
        s,
        instructed_milli=told_milli,
        committed_milli=committed,
        known_short_milli=sum(shorts.values()),
        told_site=told.site if told else None,
    )
    return run, instructed


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A line's quantities before the promise fold is heard. `wish`: to be asked for; `kept`: picked, so no longer cancellable."""

    item: str
    site: str | None
    unit: Unit
    has_moved: bool
    ordered_milli: int
    desired_milli: int
    wish_milli: int
    kept_milli: int
    declined_milli: int
    picked_milli: int
    shipped_milli: int
    returned_milli: int
    cancelled_by: str | None


def work_out(old: Line, s: Sources) -> tuple[Line, list[Wish]]:
    """The line as the sources have it now, and the wishes to send for it, in order."""
    r = _reckon(old, s)
    answer = old.answer if old.item == r.item else None
    wishes = _wishes(old, s, r, answer)
    revision = old.revision + len(wishes)
    is_current = answer is not None and answer.revision == revision
    is_refused = is_current and _is_refusal(r, answer)
    wanted, allocated, backordered = _stand(r, answer, is_current=is_current)
    standing = Standing(
        wanted_milli=wanted,
        allocated_milli=allocated,
        backordered_milli=backordered,
        released_milli=old.executed.released_milli,
        picked_milli=r.picked_milli,
        shipped_milli=r.shipped_milli,
        short_milli=old.executed.short_milli,
        substituted_milli=old.executed.substituted_milli,
        returned_milli=r.returned_milli,
        is_answered=answer is not None,
        is_cancelled=r.cancelled_by is not None,
        is_refused=is_refused,
    )
    state = state_of(standing)
    refused = answer.refused if answer and is_current else None
    line = Line(
        item=r.item,
        site=r.site,
        unit=r.unit,
        erp_line_no=s.erp_line_no,
        is_listed=s.is_listed,
        has_moved=r.has_moved,
        state=state,
        revision=revision,
        wish=wishes[-1] if wishes else old.wish,
        answer=answer,
        declined_milli=r.declined_milli,
        declined_of_milli=old.declined_of_milli,
        executed=old.executed,
        ordered_milli=r.ordered_milli,
        desired_milli=r.desired_milli,
        wanted_milli=wanted,
        allocated_milli=allocated,
        backordered_milli=backordered,
        picked_milli=r.picked_milli,
        shipped_milli=r.shipped_milli,
        returned_milli=r.returned_milli,
        invoiced_milli=s.invoiced_milli,
        reason=refused or r.cancelled_by or _shortfall(r, state),
    )
    return line, wishes


def _reckon(old: Line, s: Sources) -> Reckoning:
    item = s.erp.item if s.erp else s.placed.item if s.placed else old.item
    unit = old.unit if old.item == item else Unit()
    is_pending = _is_pending(unit, s, item)
    if not unit.is_base:
        unit = Unit(uom=s.placed.uom) if is_pending and s.placed else Unit()
    by_erp = s.erp.shipped_milli if s.erp else 0
    shipped = 0 if is_pending else max(old.executed.shipped_milli + s.substitutes_shipped_milli, by_erp)
    picked = max(old.executed.picked_milli, shipped)
    asked, most = _asked(unit, s, is_pending=is_pending) if s.is_listed else (old.ordered_milli, old.ordered_milli)
    held = max(picked, s.committed_milli)
    ordered = max(asked, min(max(most, s.instructed_milli), held))
    kept = min(ordered, held)
    cancelled_by = _cancelled_by(s)
    is_declined = old.declined_of_milli == ordered and old.item == item and _is_ours(s)  # what the ERP takes is not declined
    declined = old.declined_milli if is_declined else 0
    short = old.executed.short_milli if s.known_short_milli is None else s.known_short_milli
    lost = 0 if s.order.allow_backorder else short
    desired = 0 if cancelled_by else max(0, asked - declined - lost)
    return Reckoning(
        item=item,
        site=_site(old, s),
        unit=unit,
        has_moved=old.has_moved or old.item not in ("", item),
        ordered_milli=ordered,
        desired_milli=desired,
        wish_milli=max(0 if cancelled_by else ordered - declined - lost, kept),
        kept_milli=kept,
        declined_milli=declined,
        picked_milli=picked,
        shipped_milli=shipped,
        returned_milli=old.executed.returned_milli + s.substitutes_returned_milli,
        cancelled_by=cancelled_by,
    )


def _is_pending(unit: Unit, s: Sources, item: str) -> bool:
    """Whether the line still stands in the unit it was placed in, because nobody has said yet how much that is."""
    if unit.is_base or s.placed is None or s.placed.uom is None:
        return False
    return s.placed.item == item


def _asked(unit: Unit, s: Sources, *, is_pending: bool) -> tuple[int, int]:
    """The quantity that counts, and the most that was ever asked for."""
    if s.placed is None:
        return (s.erp.last_word_milli(), s.erp.most_milli) if s.erp else (0, 0)
    if is_pending:
        return s.placed.qty_milli, s.placed.most_milli
    placed, most = (in_base(unit, qty, s.placed.uom) for qty in (s.placed.qty_milli, s.placed.most_milli))
    if s.erp is None or (s.is_told() and placed is not None):
        return placed or 0, most or 0
    if placed is None or (s.erp.changed_at_ms or 1) >= s.placed.changed_at_ms:
        return s.erp.last_word_milli(), max(s.erp.most_milli, most or 0)
    return placed, max(s.erp.most_milli, most or 0)


def in_base(unit: Unit, qty_milli: int, uom: str | None) -> int | None:
    """A quantity in the line's base unit, rounded down; none if the unit is not known to hold so and so much."""
    if uom is None or (unit.is_base and uom == unit.uom):
        return qty_milli
    if unit.is_base and uom == unit.pack_uom and unit.pack_milli:
        return qty_milli * unit.pack_milli // MILLI
    return None


def _cancelled_by(s: Sources) -> str | None:
    if s.order.cancel_reason is not None:
        return s.order.cancel_reason or "cancelled by the channel"
    if s.placed is not None and s.placed.cancel_reason is not None:
        return s.placed.cancel_reason or "cancelled by the channel"
    if is_cancelled_by_erp(s.order, s.erp):
        return "cancelled in the ERP"
    return None if s.is_listed else "no source has the line any more"


def is_cancelled_by_erp(order: Order, erp: ErpLine | None) -> bool:
    """Whether the ERP has cancelled a line, and not because it was told to."""
    if erp is None or erp.told_milli == 0:
        return False
    return order.is_erp_cancelled or erp.is_deleted or erp.line_status == "X"


def _is_ours(s: Sources) -> bool:
    return s.erp is None or s.is_told()


def _site(old: Line, s: Sources) -> str | None:
    """The site asked for. What the ERP says is one of its own only if it is not the one it was told."""
    if s.erp is None or (s.placed is not None and s.erp.site == s.told_site):
        return s.placed.site if s.placed else old.site
    return s.erp.site


def _wishes(line: Line, s: Sources, r: Reckoning, answer: Answer | None) -> list[Wish]:
    """What to ask of the promise fold, if that differs from what it was asked and from how its answer stands."""
    old, wanted = line.wish, r.wish_milli
    reported = _reported(line, s)
    wish = Wish(
        item=r.item,
        wanted_milli=wanted,
        uom=None if r.unit.is_base else r.unit.uom,
        site=r.site,
        requested_on=s.order.requested_on,
        priority=s.order.priority,
        is_firm=not _is_ours(s),
        allow_partial=s.order.allow_partial,
        allow_backorder=s.order.allow_backorder,
        # The new item's demand knows nothing of what shipped under the old one.
        shipped_milli=max(reported, r.shipped_milli) if r.has_moved else reported,
    )
    if old is None:
        # A channel's line is asked for even if it is cancelled by now: the answer names the units the warehouse may report in.
        return [wish] if wanted > 0 or s.placed is not None else []
    if old.item != wish.item:
        withdrawn = [replace(old, wanted_milli=0)] if old.wanted_milli > 0 else []
        return [*withdrawn, wish] if wanted > 0 else withdrawn
    if wanted == 0:
        return [wish] if old.wanted_milli > 0 else []
    stands = answer.wanted_milli if answer and answer.revision == line.revision else None
    is_same = wanted == _now(r.unit, old) or (wanted == stands and r.unit.is_base)
    return [] if is_same and _terms(old) == _terms(wish) else [wish]


def _reported(line: Line, s: Sources) -> int:
    """What the ERP says has shipped, unless it says so because it was told what the warehouse shipped."""
    if s.erp is None:
        return 0
    is_echo = s.known_short_milli is not None and s.erp.shipped_milli <= line.executed.shipped_milli + s.substitutes_shipped_milli
    return 0 if is_echo else s.erp.shipped_milli


def _terms(wish: Wish) -> tuple[Any, ...]:
    return (
        wish.site,
        wish.requested_on,
        wish.priority,
        wish.is_firm,
        wish.allow_partial,
        wish.allow_backorder,
        wish.shipped_milli,
    )


def _now(unit: Unit, wish: Wish) -> int | None:
    """What a wish asked for, in the unit the line stands in now."""
    return wish.wanted_milli if wish.uom is None or wish.uom == unit.uom else in_base(unit, wish.wanted_milli, wish.uom)


def _stand(r: Reckoning, answer: Answer | None, *, is_current: bool) -> tuple[int, int, int]:
    """Wanted, allocated and backordered by the newest answer. One for an older wish still tells where units are."""
    if answer is None or _is_refusal(r, answer):
        return r.wish_milli, 0, 0
    wanted = r.wish_milli
    if is_current:
        # A cancellation that lost the race against a pick is answered with what stays.
        wanted = max(min(r.ordered_milli, answer.wanted_milli), r.kept_milli)
    open_milli = max(0, wanted - r.picked_milli)
    allocated = min(max(0, answer.allocated_milli + answer.shipped_milli - r.picked_milli), open_milli)
    return wanted, allocated, min(answer.backordered_milli, open_milli - allocated)


def _is_refusal(r: Reckoning, answer: Answer | None) -> bool:
    """Nothing of the line is to be had. What the warehouse picked all the same goes on; then only the rest is not."""
    return answer is not None and answer.refused is not None and answer.wanted_milli == 0 and r.picked_milli == 0


def _shortfall(r: Reckoning, state: State) -> str | None:
    if state is State.SHORT:
        return "the units were not found, and the order takes no backorder"
    return "not all of it is available, and the order takes no backorder" if r.declined_milli else None


def _request(
    order_id: str,
    order: Order,
    number: int,
    wish: Wish,
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
        item=wish.item,
        order_id=order_id,
        line=number,
        revision=revision,
        wanted_milli=wish.wanted_milli,
        uom=wish.uom,
        site=wish.site,
        requested_on=wish.requested_on,
        channel=order.channel,
        customer=order.customer,
        priority=wish.priority,
        placed_at_ms=order.placed_at_ms,
        is_firm=wish.is_firm,
        allow_partial=wish.allow_partial,
        allow_backorder=wish.allow_backorder,
        shipped_milli=wish.shipped_milli,
        commit_position=erp.commit_position if erp else 0,
        instructed=instructed,
    )
