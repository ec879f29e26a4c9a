"""What the promise fold answers and what the warehouse does, line by line. Each fact counts once, in any order of arrival.

The warehouse counts in its own units. A fact in a unit other than the base unit waits until the promise fold has named
that and what a pack holds, and is then converted exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import AlreadyApplied, NotYet, Refused
from schemas.frozen import replace
from schemas.operations import ExceptionNoted
from schemas.orders import (
    LineAnswered,
    LineExecution,
    LinePicked,
    LineReturned,
    LineShipped,
    LineShorted,
    LineSubstituted,
    PickReleased,
)
from schemas.quantity import MILLI, show
from tables.common.raise_exception import note
from tables.orders.emits import OrderEmit
from tables.orders.line_quantities import in_base
from tables.orders.lines import settle_line
from tables.orders.order_events import conclude, remember
from tables.orders.sites import check_site
from tables.orders.state import ExecutedLine, Line, LineAllocation, LineLot, LineUnit, OrderTables, ShipmentLineFact, Substitute
from tables.orders.warehouse_release import record


def line_answered(t: OrderTables, e: LineAnswered) -> Iterator[OrderEmit]:
    """The newest answer stands. The first one also tells the item's units."""
    key = (e.order_id, e.line)
    line = t.lines.get(key)
    if line is None:
        raise Refused(f"line {e.line} of order {e.order_id} was answered, but never asked for", hint="run crossdock verify")
    held = line.answer
    if e.item != line.item or (held and (e.revision, e.answer) <= (held.revision, held.answer)):
        raise AlreadyApplied
    unit = line.unit if line.unit.is_base or not e.uom else LineUnit(e.uom, True, e.pack_uom, e.pack_milli)
    allows_backorder = t.orders[(e.order_id,)].allow_backorder
    allocation = LineAllocation(
        revision=e.revision,
        answer=e.answer,
        wanted_milli=e.wanted_milli,
        shipped_milli=e.shipped_milli,
        allocated_milli=sum(part.qty_milli for part in e.allocated),
        backordered_milli=e.backordered_milli,
        promised_on=e.promised_on,
        refused=e.refused,
        parts=tuple(e.allocated),
        gone=tuple(e.gone),
        backorder_site=e.backorder_site,
    )
    short = sum(x.short_milli for x in e.gone) if (e.order_id,) in t.processes else line.executed.short_milli
    lost = 0 if allows_backorder else short
    line = _decline(replace(line, unit=unit, answer=allocation), line.unit.uom, e, lost)
    t.lines[key] = line
    yield from settle_line(t, e.order_id, e.line, e)
    yield from conclude(t, e.order_id, e)


def _decline(line: Line, old_uom: str | None, e: LineAnswered, lost: int) -> Line:
    """An answer below the request it answers: the rest is not to be had, and is not asked for again. Nothing at all is a
    refusal.
    """
    if line.wish is None or e.revision != line.revision or (e.refused is not None and e.wanted_milli == 0):
        return line
    asked = in_base(line.unit, line.wish.wanted_milli, line.wish.uom)
    ordered = in_base(line.unit, line.ordered_milli, old_uom)
    if asked is None or ordered is None or e.wanted_milli >= asked:
        return line
    return replace(line, declined_milli=max(0, ordered - lost - e.wanted_milli), declined_of_milli=ordered)


def pick_released(t: OrderTables, e: PickReleased) -> Iterator[OrderEmit]:
    """The line is on the warehouse floor."""
    _, done, qty = _applicable(t, e)
    yield from _apply(t, e, replace(done, released_milli=done.released_milli + qty))


def line_picked(t: OrderTables, e: LinePicked) -> Iterator[OrderEmit]:
    """Units were picked and staged."""
    _, done, qty = _applicable(t, e)
    record(t, e, qty, 0)
    yield from _apply(t, e, replace(done, picked_milli=done.picked_milli + qty))


def line_shorted(t: OrderTables, e: LineShorted) -> Iterator[OrderEmit]:
    """Units were not found. The promise fold puts them back to backorder, or they are cancelled if the order takes none."""
    line, done, qty = _applicable(t, e)
    short = _measure(line, e, e.short_milli)
    record(t, e, qty, short)
    after = replace(done, picked_milli=done.picked_milli + qty, short_milli=done.short_milli + short)
    yield from _apply(t, e, after)
    sentence = f"Line {e.line} of order {e.order_id}: {show(short)} of {e.item} were not found at {e.site}."
    yield note(e, "short_pick", f"short_pick:{e.order_id}:{e.line}", sentence, item=e.item, order_id=e.order_id)


def line_substituted(t: OrderTables, e: LineSubstituted) -> Iterator[OrderEmit]:
    """Another item serves a part of the line."""
    _, done, qty = _applicable(t, e)
    record(t, e, qty, 0)
    key = (e.order_id, e.line, e.substitute_item)
    other = t.substitutes.get(key) or _unknown(t, e)
    t.substitutes[key] = replace(
        other, served_milli=other.served_milli + qty, substitute_milli=other.substitute_milli + e.substitute_milli
    )
    after = replace(done, picked_milli=done.picked_milli + qty, substituted_milli=done.substituted_milli + qty)
    yield from _apply(t, e, after)
    yield from _note_substitute(t, e, e.substitute_item)


def _unknown(t: OrderTables, e: LineExecution) -> Substitute:
    """Another item of which nothing was heard before. An order nobody placed here says nothing against it."""
    placement = t.placements.get((e.order_id,))
    return Substitute(is_accepted=placement is None or placement.allow_substitute)


def _note_substitute(t: OrderTables, e: LineExecution, item: str) -> Iterator[ExceptionNoted]:
    """A person hears of one that is not allowed. Where the order is run, it is a hold as well (see
    `tables.orders.acceptance`).
    """
    if (e.order_id,) not in t.processes and t.substitutes[e.order_id, e.line, item].is_disputed():
        ordered = t.lines[e.order_id, e.line].item
        sentence = f"Line {e.line} of order {e.order_id}: {item} goes out for {ordered}, though the order takes no substitute."
        yield note(e, "substitution", f"substitution:{e.order_id}:{e.line}:{item}", sentence, item=item, order_id=e.order_id)


def line_shipped(t: OrderTables, e: LineShipped) -> Iterator[OrderEmit]:
    """Units left. Those of another item count for the line by the ratio of their substitution.

    A shipment's line is one fact, whatever the number of its messages: the newest quantity counts (see
    `tables.inventory.shipments`).
    """
    line, done, qty = _applicable(t, e)
    is_own = _is_own(t, e, line)
    more = _more_shipped(t, e, qty if is_own else e.qty_milli)
    if is_own:
        record(t, e, more, 0)
        done = replace(done, shipped_milli=done.shipped_milli + more)
    else:
        key = (e.order_id, e.line, e.item)
        other = t.substitutes.get(key) or _unknown(t, e)
        t.substitutes[key] = replace(other, shipped_milli=other.shipped_milli + more)
    lot = t.lots.get((e.order_id, e.line, e.item, e.lot or "")) or LineLot()
    t.lots[e.order_id, e.line, e.item, e.lot or ""] = replace(lot, shipped_milli=lot.shipped_milli + more)
    yield from _apply(t, e, done)
    if not is_own:
        yield from _note_substitute(t, e, e.item)


def _more_shipped(t: OrderTables, e: LineShipped, qty: int) -> int:
    """By how much a message changes what is known of its line of the shipment."""
    key = (e.order_id, e.line, e.site, e.shipment, e.item, e.lot or "", e.part)
    current = t.shipment_lines.get(key)
    if current is not None and (e.occurred_at_ms, e.source_position) <= (current.told_at_ms, current.told_position):
        raise AlreadyApplied
    t.shipment_lines[key] = ShipmentLineFact(qty, e.occurred_at_ms, e.source_position)
    return qty - (current.qty_milli if current else 0)


def line_returned(t: OrderTables, e: LineReturned) -> Iterator[OrderEmit]:
    """Units came back. No more than had left counts, in all and of a lot (see `tables.orders.returns`)."""
    line, done, qty = _applicable(t, e)
    is_own = _is_own(t, e, line)
    lot = t.lots.get((e.order_id, e.line, e.item, e.lot or "")) or LineLot()
    more = qty if is_own else e.qty_milli
    t.lots[e.order_id, e.line, e.item, e.lot or ""] = replace(lot, returned_milli=lot.returned_milli + more)
    if is_own:
        done = replace(done, returned_milli=done.returned_milli + qty)
    else:
        key = (e.order_id, e.line, e.item)
        other = t.substitutes.get(key) or _unknown(t, e)
        t.substitutes[key] = replace(other, returned_milli=other.returned_milli + e.qty_milli)
    yield from _apply(t, e, done)


def _is_own(t: OrderTables, e: LineExecution, line: Line) -> bool:
    """Whether the item is the line's, by any number it has had."""
    placed = t.placed.get((e.order_id, e.line))
    return e.item == line.item or (placed is not None and e.item == placed.item)


def _applicable(t: OrderTables, e: LineExecution) -> tuple[Line, ExecutedLine, int]:
    line = t.lines.get((e.order_id, e.line))
    if line is None or (e.order_id,) not in t.orders:
        raise NotYet(f"line {e.line} of order {e.order_id} has not arrived; {type(e).__name__} waits for it")
    if (e.order_id, e.event_id) in t.seen:
        raise AlreadyApplied
    check_site(t, e.site, e.event_id)
    return line, line.executed, _measure(line, e, e.qty_milli)


def _measure(line: Line, e: LineExecution, qty_milli: int) -> int:
    """The quantity in the line's base unit. Raises `NotYet` while that is unknown, `Refused` for a unit it does not have."""
    unit = line.unit
    if unit.is_base and e.uom not in (None, unit.uom) and e.item not in ("", line.item):
        return qty_milli  # a substitute's own unit: its substitution gives the ratio
    if unit.is_base:
        base = in_base(unit, qty_milli, e.uom)
        if base is None or (e.uom not in (None, unit.uom) and qty_milli * (unit.pack_milli or 0) % MILLI):
            what = f"{show(qty_milli)} {e.uom} of {e.item} on line {e.line} of order {e.order_id}"
            raise Refused(f"{what} are not an exact number of {unit.uom}", hint=f"send the quantity in {unit.uom}")
        return base
    if e.uom is None and unit.uom is None:
        return qty_milli
    raise NotYet(f"the base unit of {line.item} is not known yet; {type(e).__name__} waits for the promise fold's answer")


def _apply(t: OrderTables, e: LineExecution, executed: ExecutedLine) -> Iterator[OrderEmit]:
    key = (e.order_id, e.line)
    remember(t, e.order_id, e)
    t.lines[key] = replace(t.lines[key], executed=executed)
    yield from settle_line(t, e.order_id, e.line, e)
    yield from conclude(t, e.order_id, e)
