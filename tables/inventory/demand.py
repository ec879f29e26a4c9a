"""Demand: order lines' wishes, and what the warehouse does for them.

One order's demand is counted once, whoever reports it: a line's wish is absolute, and what was picked, shipped or substituted is
taken off it. A pick moves units from usable to staged and the line's demand with it; a shipment told before its pick implies it.
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
from tables.inventory.demand_line import LineBook
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import Book, check_site, known_item, unknown_item
from tables.inventory.returns import match_returns
from tables.inventory.shipments import picked_more, ship
from tables.inventory.state import DISCONTINUED, ON_HOLD, Item, PromiseTables
from tables.inventory.stock_movements import Opened, not_the_owner, opened
from tables.inventory.unconfirmed_shipments import await_posting, told
from tables.inventory.units import convert, units_of

LineFact = StockPicked | PickShorted | DemandSubstituted | StockShipped


def request_allocation(p: Policy, t: PromiseTables, e: RequestAllocation) -> Iterator[PromiseEmit]:
    """Bring a line's promise to what is wanted now, and answer. Raises `NotYet` for an unknown item or site."""
    item = t.items.get((e.item,))
    if item is None:
        raise unknown_item(e.item, f"order {e.order_id} is promised")
    key = (e.item, e.order_id, e.line)
    held = t.demands.get(key)
    if held is not None and e.revision <= held.revision:
        raise AlreadyApplied
    if e.site is not None and e.wanted_milli:
        check_site(t, e.site, f"order {e.order_id}", e.item)
    book = Book(p, t, e.item, e)
    line = LineBook(e.order_id, e.line, held)
    is_measured = True
    try:
        units = line.units or units_of(item)
        wanted = e.wanted_milli if e.is_firm and e.uom is None else convert(e.item, units, e.wanted_milli, e.uom)
    except Refused as error:
        is_measured = False
        _refuse(book, line, e, f"{error.reason}; {error.hint}")
    else:
        line.units = units
        keep = _instructed(line, e)
        _ask(book, line, e, wanted, keep)
        _serve_as_erp_says(book, line, e)
        _bring_to_wish(book, item, line, keep)
    yield answered(book, item, line, is_measured=is_measured)
    write(book, line)
    if held is not None:
        yield from review(book, item)
    yield from book.close(f"order {e.order_id} line {e.line}")


def _instructed(line: LineBook, e: RequestAllocation) -> dict[str, int]:
    """Allocated units a warehouse has been told to ship and has not picked: they stay where they are."""
    if not e.instructed:
        return {}
    told = {part.site: part.qty_milli for part in e.instructed}
    keep = {}
    for part in line.parts:
        done = line.at(part.site)
        taken = max(done.picked_milli, done.shipped_milli) + done.substituted_milli + done.short_milli
        units = min(part.qty_milli, told.get(part.site, 0) - taken)
        if units > 0:
            keep[part.site] = units
    return keep


def _ask(book: Book, line: LineBook, e: RequestAllocation, wanted: int, keep: Mapping[str, int]) -> None:
    """Take over the wish's facts. Facts that decide where and when it is booked take it out of the plans first."""
    is_moved = (line.site, line.requested_on, line.channel) != (e.site, e.requested_on, e.channel)
    if is_moved:
        unbook_parts(book, line)
        unbook_backorder(book, line)
    if not line.parts and not line.backordered_milli:
        site = e.site or (book.overview.sites[0] if book.overview.sites else "")
        today = book.today(site)
        asked_for = plan_day(e.requested_on)
        line.need_day = today if asked_for is None else max(today, asked_for)
    line.revision = e.revision
    line.wanted_milli = wanted
    line.site = e.site
    line.requested_on = e.requested_on
    line.channel = e.channel
    if is_moved and keep:
        book_parts(book, line, keep)
    line.customer = e.customer
    line.priority = e.priority
    line.placed_at_ms = e.placed_at_ms
    line.is_firm = e.is_firm
    line.allow_partial = e.allow_partial or e.is_firm
    line.allow_backorder = e.allow_backorder or e.is_firm
    line.refused = None


def _refuse(book: Book, line: LineBook, e: RequestAllocation, reason: str) -> None:
    """A wish that means no quantity of the item: nothing is promised on it, and the order learns why."""
    _ask(book, line, e, line.served(), {})
    _shrink(book, line, line.allocated() + line.backordered_milli, {})
    line.refused = reason


def _serve_as_erp_says(book: Book, line: LineBook, e: RequestAllocation) -> None:
    """What the ERP says has shipped needs no promise any more, once the stock's owner tells of it too (see
    `tables.inventory.unconfirmed_shipments`).
    """
    before = line.served()
    line.erp_shipped_milli = e.shipped_milli  # the newest word: the ERP corrects it, and its lines may be matched otherwise
    served = line.served() - before
    if served > 0:
        was_open = line.allocated() + line.backordered_milli
        take(book, line, served, line.site or "")
        await_posting(book, e, min(served, was_open), line.need_day)
    elif served < 0:
        told(book, line.order_id, line.number, -served)


def _bring_to_wish(book: Book, item: Item, line: LineBook, keep: Mapping[str, int]) -> None:
    target = max(0, line.wanted_milli - line.served())
    allocated = line.allocated()
    if target > 0 and line.held is None and (refusal := _not_sellable(item, line)) is not None:
        line.refused = refusal
        line.wanted_milli = line.served()
    elif target < allocated + line.backordered_milli:
        _shrink(book, line, allocated + line.backordered_milli - target, keep)
    elif target > allocated + line.backordered_milli:
        unbook_backorder(book, line)
        if not line.allow_partial:
            unbook_parts(book, line, keep)
        place(book, item, line, target - line.allocated())
        _refuse_backorder(book, item, line)


def _shrink(book: Book, line: LineBook, by: int, keep: Mapping[str, int]) -> None:
    """Less wanted: what waits goes first, then what is allocated, and last what a warehouse was told to ship."""
    waiting = min(by, line.backordered_milli)
    if waiting:
        unbook_backorder(book, line, waiting)
    if by > waiting:
        give_back(book, line, by - waiting, keep)


def _not_sellable(item: Item, line: LineBook) -> str | None:
    if line.is_firm:
        return None
    if item.is_deleted:
        return f"item {item.item} is no longer in the ERP's item master"
    return f"item {item.item} is on hold in the ERP" if item.status == ON_HOLD else None


def _refuse_backorder(book: Book, item: Item, line: LineBook) -> None:
    """Where nothing may wait (the order does not want it, or the item is discontinued), what is not on hand is refused."""
    missing = line.backordered_milli
    if not missing or line.is_firm or (line.allow_backorder and item.status != DISCONTINUED):
        return
    unbook_backorder(book, line)
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
    write(o.book, line)
    yield from _review_if_freed(o, line)
    yield from o.book.close(f"picked for {e.order_id} line {e.line}")


def _opened(p: Policy, t: PromiseTables, e: LineFact) -> tuple[Opened, LineBook]:
    """Open the book for a fact about an order line, whose own units it is told in, and the line's page."""
    line = LineBook(e.order_id, e.line, t.demands.get((e.item, e.order_id, e.line)))
    return opened(p, t, e, line), line


def _pick(o: Opened, t: PromiseTables, e: StockPicked | PickShorted, line: LineBook) -> None:
    book = o.book
    at_ms, event_id = e.occurred_at_ms, e.event_id
    book.move(e.site, "usable", o.lot, -o.qty, at_ms=at_ms, event_id=event_id)
    book.move(e.site, "staged", o.lot, o.qty, at_ms=at_ms, event_id=event_id)
    done, before = line.at(e.site), (line.served(), line.taken())
    line.execute(replace(done, picked_milli=done.picked_milli + o.qty))
    if done.shipped_milli > done.picked_milli:
        picked_more(book, line, e.site)
    _advance(book, line, before, e.site)


def _advance(book: Book, line: LineBook, before: tuple[int, int], site: str) -> None:
    """More was executed: so much less is to be promised, or the ERP had told of it already."""
    served, taken = before
    if line.served() > served:
        take(book, line, line.served() - served, site)
    if line.erp_shipped_milli:
        told(book, line.order_id, line.number, line.taken() - taken)


def _review_if_freed(o: Opened, line: LineBook) -> Iterator[PromiseEmit]:
    """A pick or a shipment frees nothing, unless it took other units than the line was allocated, or makes room under a cap."""
    is_capped = o.book.policy.channel(line.channel).cap_milli is not None
    if is_capped or any(page.may_free() for page in o.book.pages.values()):
        yield from review(o.book, o.item)


def pick_shorted(p: Policy, t: PromiseTables, e: PickShorted) -> Iterator[PromiseEmit]:
    """Some was picked, some was not there: the stock is corrected, and what is missing waits for other stock or is given up."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    short = convert(e.item, line.measured(o.item), e.short_milli, e.uom)
    o.book.move(e.site, "usable", o.lot, -short, at_ms=e.occurred_at_ms, event_id=e.event_id + "-")
    if o.qty:
        _pick(o, t, e, line)
    done = line.at(e.site)
    line.execute(replace(done, short_milli=done.short_milli + short))
    here = sum([part.qty_milli for part in line.parts if part.site == e.site])
    _replace_lost(o, line, min(short, here), e.site)
    if line.revision:
        yield answered(o.book, o.item, line)
    write(o.book, line)
    yield from review(o.book, o.item)
    yield from o.book.close(f"short pick of {show(short)} for {e.order_id} line {e.line}")


def _replace_lost(o: Opened, line: LineBook, lost: int, site: str) -> None:
    """Units that were not there: from another site at once if it has them, else backordered, or given up if the order says so."""
    if not lost:
        return
    take(o.book, line, lost, site)
    if line.allow_backorder:
        waiting = line.backordered_milli
        unbook_backorder(o.book, line)
        place(o.book, o.item, line, waiting + lost, avoid=site)
    else:
        line.wanted_milli -= lost


def demand_substituted(p: Policy, t: PromiseTables, e: DemandSubstituted) -> Iterator[PromiseEmit]:
    """Another item serves part of the line: this item's demand goes down by as much. Its stock does not move."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    o.book.move(e.site, "usable", "", 0, at_ms=e.occurred_at_ms, event_id=e.event_id)  # so that it is known again
    before = line.served(), line.taken()
    line.substituted_milli += o.qty
    done = line.at(e.site)
    line.execute(replace(done, substituted_milli=done.substituted_milli + o.qty))
    _advance(o.book, line, before, e.site)
    write(o.book, line)
    yield from review(o.book, o.item)
    yield from o.book.close(f"substituted by {e.substitute_item} for {e.order_id} line {e.line}")


def stock_shipped(p: Policy, t: PromiseTables, e: StockShipped) -> Iterator[PromiseEmit]:
    """Staged units left. Units whose pick was not told are taken from usable stock, until it is.

    A line of a shipment is one fact: told again it changes nothing, told otherwise the newest message counts, and is noted.
    """
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o, line = _opened(p, t, e)
    before = line.served(), line.taken()
    old, new = ship(o.book, line, e, o.lot, o.qty)
    _advance(o.book, line, before, e.site)
    if line.served() < before[0] and _is_open_again(o, line):
        yield answered(o.book, o.item, line)
    write(o.book, line)
    yield from _review_if_freed(o, line)
    if old is not None and old != new:
        yield _corrected(e, old, new)
    yield from match_returns(o.book, e.order_id, e.line)
    yield from o.book.close(f"shipped as {e.shipment} for {e.order_id} line {e.line}")


def _is_open_again(o: Opened, line: LineBook) -> bool:
    """Less has left than was said: what is still wanted of it is promised again. Whether there is any."""
    missing = line.wanted_milli - line.served() - line.allocated() - line.backordered_milli
    if missing <= 0 or not line.revision or line.refused is not None:
        return False
    waiting = line.backordered_milli
    unbook_backorder(o.book, line)
    place(o.book, o.item, line, waiting + missing)
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
        book = Book(p, t, e.item, e)
        yield from review(book, item, (e.priority, e.placed_at_ms, e.order_id, e.line))
        yield from book.close("backorders reviewed")
