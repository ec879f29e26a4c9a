"""Demand: order lines' requests, and what the warehouse does for them.

One order's demand is counted once, whoever reports it: a line's request is absolute, and what was picked, shipped or substituted
is taken off it. A pick moves units from usable to staged and the line's demand with it; a shipment told before its pick
implies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import replace
from schemas.inventory import (
    DemandSubstituted,
    PickShorted,
    RequestAllocation,
    ReviewBackorders,
    StockPicked,
    StockShipped,
)
from schemas.operations import ExceptionNoted
from schemas.quantity import show
from tables.common.calendars import plan_day
from tables.common.policy import Policy
from tables.common.raise_exception import note
from tables.inventory.allocation import (
    answered,
    book_parts,
    give_back,
    place,
    review,
    take,
    unbook_backorder,
    unbook_parts,
    write,
)
from tables.inventory.demand_line import DemandLine
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, check_site, known_item, unknown_item
from tables.inventory.returns import match_returns
from tables.inventory.shipments import picked_more, ship
from tables.inventory.state import DISCONTINUED, ON_HOLD, Item, PromiseTables
from tables.inventory.stock_movements import OpenMovement, not_the_owner, opened
from tables.inventory.unconfirmed_shipments import await_posting, reported
from tables.inventory.units import convert, units_of

LineFact = StockPicked | PickShorted | DemandSubstituted | StockShipped


def request_allocation(p: Policy, t: PromiseTables, e: RequestAllocation) -> Iterator[PromiseEmit]:
    """Bring a line's promise to what is wanted now, and answer. Raises `NotYet` for an unknown item or site."""
    item = t.items.get((e.item,))
    if item is None:
        raise unknown_item(e.item, f"order {e.order_id} is promised")
    key = (e.item, e.order_id, e.line)
    current = t.demands.get(key)
    if current is not None and e.revision <= current.revision:
        raise AlreadyApplied
    if e.site is not None and e.wanted_milli:
        check_site(t, e.site, f"order {e.order_id}", e.item)
    ledger = ItemLedger(p, t, e.item, e)
    line = DemandLine(e.order_id, e.line, current)
    is_measured = True
    try:
        units = line.units or units_of(item)
        wanted = e.wanted_milli if e.is_firm and e.uom is None else convert(e.item, units, e.wanted_milli, e.uom)
    except Refused as error:
        is_measured = False
        _refuse(ledger, line, e, f"{error.reason}; {error.hint}")
    else:
        line.units = units
        keep = _instructed(line, e)
        _ask(ledger, line, e, wanted, keep)
        _serve_as_erp_says(ledger, line, e)
        _bring_to_wish(ledger, item, line, keep)
    yield answered(ledger, item, line, is_measured=is_measured)
    write(ledger, line)
    if current is not None:
        yield from review(ledger, item)
    yield from ledger.close(f"order {e.order_id} line {e.line}")


def _instructed(line: DemandLine, e: RequestAllocation) -> dict[str, int]:
    """Allocated units a warehouse has been told to ship and has not picked: they stay where they are."""
    if not e.instructed:
        return {}
    reported = {part.site: part.qty_milli for part in e.instructed}
    keep = {}
    for part in line.parts:
        done = line.at(part.site)
        taken = max(done.picked_milli, done.shipped_milli) + done.substituted_milli + done.short_milli
        units = min(part.qty_milli, reported.get(part.site, 0) - taken)
        if units > 0:
            keep[part.site] = units
    return keep


def _ask(ledger: ItemLedger, line: DemandLine, e: RequestAllocation, wanted: int, keep: Mapping[str, int]) -> None:
    """Take over the request's facts. Facts that decide where and when it is booked take it out of the plans first."""
    is_moved = (line.site, line.requested_on, line.channel) != (e.site, e.requested_on, e.channel)
    if is_moved:
        unbook_parts(ledger, line)
        unbook_backorder(ledger, line)
    if not line.parts and not line.backordered_milli:
        site = e.site or (ledger.overview.sites[0] if ledger.overview.sites else "")
        today = ledger.today(site)
        asked_for = plan_day(e.requested_on)
        line.need_day = today if asked_for is None else max(today, asked_for)
    line.revision = e.revision
    line.wanted_milli = wanted
    line.site = e.site
    line.requested_on = e.requested_on
    line.channel = e.channel
    if is_moved and keep:
        book_parts(ledger, line, keep)
    line.customer = e.customer
    line.priority = e.priority
    line.placed_at_ms = e.placed_at_ms
    line.is_firm = e.is_firm
    line.allow_partial = e.allow_partial or e.is_firm
    line.allow_backorder = e.allow_backorder or e.is_firm
    line.refused = None


def _refuse(ledger: ItemLedger, line: DemandLine, e: RequestAllocation, reason: str) -> None:
    """A request that means no quantity of the item: nothing is promised on it, and the order learns why."""
    _ask(ledger, line, e, line.served(), {})
    _shrink(ledger, line, line.allocated() + line.backordered_milli, {})
    line.refused = reason


def _serve_as_erp_says(ledger: ItemLedger, line: DemandLine, e: RequestAllocation) -> None:
    """What the ERP says has shipped needs no promise any more, once the stock's owner tells of it too (see
    `tables.inventory.unconfirmed_shipments`).
    """
    before = line.served()
    line.erp_shipped_milli = e.shipped_milli  # the newest word: the ERP corrects it, and its lines may be matched otherwise
    served = line.served() - before
    if served > 0:
        was_open = line.allocated() + line.backordered_milli
        take(ledger, line, served, line.site or "")
        await_posting(ledger, e, min(served, was_open), line.need_day)
    elif served < 0:
        reported(ledger, line.order_id, line.number, -served)


def _bring_to_wish(ledger: ItemLedger, item: Item, line: DemandLine, keep: Mapping[str, int]) -> None:
    target = max(0, line.wanted_milli - line.served())
    allocated = line.allocated()
    if target > 0 and line.held is None and (refusal := _not_sellable(item, line)) is not None:
        line.refused = refusal
        line.wanted_milli = line.served()
    elif target < allocated + line.backordered_milli:
        _shrink(ledger, line, allocated + line.backordered_milli - target, keep)
    elif target > allocated + line.backordered_milli:
        unbook_backorder(ledger, line)
        if not line.allow_partial:
            unbook_parts(ledger, line, keep)
        place(ledger, item, line, target - line.allocated())
        _refuse_backorder(ledger, item, line)


def _shrink(ledger: ItemLedger, line: DemandLine, by: int, keep: Mapping[str, int]) -> None:
    """Less wanted: what waits goes first, then what is allocated, and last what a warehouse was told to ship."""
    waiting = min(by, line.backordered_milli)
    if waiting:
        unbook_backorder(ledger, line, waiting)
    if by > waiting:
        give_back(ledger, line, by - waiting, keep)


def _not_sellable(item: Item, line: DemandLine) -> str | None:
    if line.is_firm:
        return None
    if item.is_deleted:
        return f"item {item.item} is no longer in the ERP's item master"
    return f"item {item.item} is on hold in the ERP" if item.status == ON_HOLD else None


def _refuse_backorder(ledger: ItemLedger, item: Item, line: DemandLine) -> None:
    """Where nothing may wait (the order does not want it, or the item is discontinued), what is not on hand is refused."""
    missing = line.backordered_milli
    if not missing or line.is_firm or (line.allow_backorder and item.status != DISCONTINUED):
        return
    unbook_backorder(ledger, line)
    on_hand = line.allocated()
    why = "is discontinued" if item.status == DISCONTINUED else "may not be backordered on this order"
    line.wanted_milli = line.served() + on_hand
    line.refused = (
        f"only {show(on_hand)} of {show(on_hand + missing)} {item.base_uom} of {item.item} can be promised, and it {why}"
    )


# --- execution -----------------------------------------------------------------------------------------------------------


def stock_picked(p: Policy, t: PromiseTables, e: StockPicked) -> Iterator[PromiseEmit]:
    """Usable to staged, and as much demand of the line with it: available stays what it was."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    _pick(o, t, e, line)
    write(o.ledger, line)
    yield from _review_if_freed(o, line)
    yield from o.ledger.close(f"picked for {e.order_id} line {e.line}")


def _opened(p: Policy, t: PromiseTables, e: LineFact) -> tuple[OpenMovement, DemandLine]:
    """Open the book for a fact about an order line, whose own units it is told in, and the line's page."""
    line = DemandLine(e.order_id, e.line, t.demands.get((e.item, e.order_id, e.line)))
    return opened(p, t, e, line), line


def _pick(o: OpenMovement, t: PromiseTables, e: StockPicked | PickShorted, line: DemandLine) -> None:
    ledger = o.ledger
    at_ms, event_id = e.occurred_at_ms, e.event_id
    ledger.move(e.site, "usable", o.lot, -o.qty, at_ms=at_ms, event_id=event_id)
    ledger.move(e.site, "staged", o.lot, o.qty, at_ms=at_ms, event_id=event_id)
    done, before = line.at(e.site), (line.served(), line.taken())
    line.execute(replace(done, picked_milli=done.picked_milli + o.qty))
    if done.shipped_milli > done.picked_milli:
        picked_more(ledger, line, e.site)
    _advance(ledger, line, before, e.site)


def _advance(ledger: ItemLedger, line: DemandLine, before: tuple[int, int], site: str) -> None:
    """More was executed: so much less is to be promised, or the ERP had told of it already."""
    served, taken = before
    if line.served() > served:
        take(ledger, line, line.served() - served, site)
    if line.erp_shipped_milli:
        reported(ledger, line.order_id, line.number, line.taken() - taken)


def _review_if_freed(o: OpenMovement, line: DemandLine) -> Iterator[PromiseEmit]:
    """A pick or a shipment frees nothing, unless it took other units than the line was allocated, or makes room under a cap."""
    is_capped = o.ledger.policy.channel(line.channel).cap_milli is not None
    if is_capped or any(page.may_free() for page in o.ledger.pages.values()):
        yield from review(o.ledger, o.item)


def pick_shorted(p: Policy, t: PromiseTables, e: PickShorted) -> Iterator[PromiseEmit]:
    """Some was picked, some was not there: the stock is corrected, and what is missing waits for other stock or is given up."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    short = convert(e.item, line.measured(o.item), e.short_milli, e.uom)
    o.ledger.move(e.site, "usable", o.lot, -short, at_ms=e.occurred_at_ms, event_id=e.event_id + "-")
    if o.qty:
        _pick(o, t, e, line)
    done = line.at(e.site)
    line.execute(replace(done, short_milli=done.short_milli + short))
    here = sum([part.qty_milli for part in line.parts if part.site == e.site])
    _replace_lost(o, line, min(short, here), e.site)
    if line.revision:
        yield answered(o.ledger, o.item, line)
    write(o.ledger, line)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"short pick of {show(short)} for {e.order_id} line {e.line}")


def _replace_lost(o: OpenMovement, line: DemandLine, lost: int, site: str) -> None:
    """Units that were not there: from another site at once if it has them, else backordered, or given up if the order says so."""
    if not lost:
        return
    take(o.ledger, line, lost, site)
    if line.allow_backorder:
        waiting = line.backordered_milli
        unbook_backorder(o.ledger, line)
        place(o.ledger, o.item, line, waiting + lost, avoid=site)
    else:
        line.wanted_milli -= lost


def demand_substituted(p: Policy, t: PromiseTables, e: DemandSubstituted) -> Iterator[PromiseEmit]:
    """Another item serves part of the line: this item's demand goes down by as much. Its stock does not move."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    o.ledger.move(e.site, "usable", "", 0, at_ms=e.occurred_at_ms, event_id=e.event_id)  # so that it is known again
    before = line.served(), line.taken()
    line.substituted_milli += o.qty
    done = line.at(e.site)
    line.execute(replace(done, substituted_milli=done.substituted_milli + o.qty))
    _advance(o.ledger, line, before, e.site)
    write(o.ledger, line)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"substituted by {e.substitute_item} for {e.order_id} line {e.line}")


def stock_shipped(p: Policy, t: PromiseTables, e: StockShipped) -> Iterator[PromiseEmit]:
    """Staged units left. Units whose pick was not told are taken from usable stock, until it is.

    A line of a shipment is one fact: told again it changes nothing, told otherwise the newest message counts, and is noted.
    """
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    before = line.served(), line.taken()
    old, new = ship(o.ledger, line, e, o.lot, o.qty)
    _advance(o.ledger, line, before, e.site)
    if line.served() < before[0] and _is_open_again(o, line):
        yield answered(o.ledger, o.item, line)
    write(o.ledger, line)
    yield from _review_if_freed(o, line)
    if old is not None and old != new:
        yield _corrected(e, old, new)
    yield from match_returns(o.ledger, e.order_id, e.line)
    yield from o.ledger.close(f"shipped as {e.shipment} for {e.order_id} line {e.line}")


def _is_open_again(o: OpenMovement, line: DemandLine) -> bool:
    """Less has left than was said: what is still wanted of it is promised again. Whether there is any."""
    missing = line.wanted_milli - line.served() - line.allocated() - line.backordered_milli
    if missing <= 0 or not line.revision or line.refused is not None:
        return False
    waiting = line.backordered_milli
    unbook_backorder(o.ledger, line)
    place(o.ledger, o.item, line, waiting + missing)
    return True


def _corrected(e: StockShipped, old: int, new: int) -> ExceptionNoted:
    sentence = (
        f"Shipment {e.shipment}, line {e.line} of order {e.order_id}: the warehouse now says {show(new)} of {e.item} have left,"
        f" not {show(old)}; the newest message ({e.event_id}) counts"
    )
    fingerprint = f"shipment_corrected:{e.order_id}:{e.line}:{e.shipment}"
    return note(e, "shipment_corrected", fingerprint, sentence, item=e.item, order_id=e.order_id)


def review_backorders(p: Policy, t: PromiseTables, e: ReviewBackorders) -> Iterator[PromiseEmit]:
    """Go on with the queue."""
    item = known_item(t, e.item)
    if item is not None:
        ledger = ItemLedger(p, t, e.item, e)
        yield from review(ledger, item, (e.priority, e.placed_at_ms, e.order_id, e.line))
        yield from ledger.close("backorders reviewed")
