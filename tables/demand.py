"""Demand: order lines' wishes, and what the warehouse does for them.

One order's demand is counted once, whoever reports it: a line's wish is absolute, and what was picked, shipped or substituted is
taken off it. A pick moves units from usable to staged and the line's demand with it; a shipment told before its pick implies it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from schemas.errors import AlreadyApplied, NotYet
from schemas.inventory import (
    DemandSubstituted,
    PickShorted,
    RequestAllocation,
    ReviewBackorders,
    StockPicked,
    StockShipped,
)
from schemas.quantity import show
from tables.allocation import answer, place, review, take, unbook_backorder, unbook_parts, write
from tables.book import Book, known_item
from tables.calendars import to_day
from tables.inventory import Opened, not_the_owner, opened
from tables.policy import Policy
from tables.posting import await_posting
from tables.promise import Demand, Executed, Item, Movement, PromiseTables, Shipment
from tables.units import to_base

_UNASKED = Demand(0, 0, 0, None, None, "", "", 0, 0, False, True, True, 0, (), (), 0, 0, 0, "", None, None)


def request_allocation(p: Policy, t: PromiseTables, e: RequestAllocation) -> Iterator[Any]:
    """Bring a line's promise to what is wanted now, and answer."""
    item = t.items.get((e.item,))
    if item is None:
        raise NotYet(f"UnknownItem(item={e.item!r}): the ERP has not sent this item; order {e.order_id} is promised when it does")
    key = (e.item, e.order_id, e.line)
    held = t.demands.get(key)
    if held is not None and e.revision <= held.revision:
        raise AlreadyApplied
    book = Book(p, t, e.item, e)
    wanted = e.wanted_milli if e.is_firm and e.uom is None else to_base(item, e.wanted_milli, e.uom)
    d = _asked(book, held or _UNASKED, e, wanted)
    d = _serve_as_erp_says(book, d, e)
    d = _bring_to_wish(book, item, d, held)
    d = replace(d, answer=(held.answer if held else 0) + 1)
    write(book, e.order_id, e.line, d, held)
    yield answer(book, item, e.order_id, e.line, d)
    if held is not None:
        yield from review(book, item)
    yield from book.close(f"order {e.order_id} line {e.line}")


def _asked(book: Book, d: Demand, e: RequestAllocation, wanted: int) -> Demand:
    """The line with the wish's facts. Facts that decide where and when it is booked take it out of the plans first."""
    if (d.site, d.requested_on, d.channel) != (e.site, e.requested_on, e.channel):
        d = unbook_backorder(book, unbook_parts(book, d))
    if not d.parts:
        site = e.site or (book.overview.sites[0] if book.overview.sites else "")
        today = book.today(site)
        d = replace(d, need_day=today if e.requested_on is None else max(today, to_day(e.requested_on)))
    return replace(
        d,
        revision=e.revision,
        wanted_milli=wanted,
        site=e.site,
        requested_on=e.requested_on,
        channel=e.channel,
        customer=e.customer,
        priority=e.priority,
        placed_at_ms=e.placed_at_ms,
        is_firm=e.is_firm,
        allow_partial=e.allow_partial or e.is_firm,
        allow_backorder=e.allow_backorder or e.is_firm,
        refused=None,
    )


def _serve_as_erp_says(book: Book, d: Demand, e: RequestAllocation) -> Demand:
    """What the ERP says has shipped is wanted no more (the warehouse's own count wins where it is larger).

    At a site whose stock the ERP owns, its balance may tell of the same shipment later: until then the units stay wanted, or
    they would be promised again.
    """
    before = d.served_milli
    d = replace(d, erp_shipped_milli=max(d.erp_shipped_milli, e.shipped_milli))
    served = d.served_milli - before
    if served <= 0:
        return d
    opened_units = d.open_milli
    d = take(book, d, served, d.site or "")
    if e.site is not None and book.policy.site(e.site).physical_owner == "erp":
        await_posting(book, e, min(served, opened_units), d.need_day)
    return d


def _bring_to_wish(book: Book, item: Item, d: Demand, held: Demand | None) -> Demand:
    target = max(0, d.wanted_milli - d.served_milli)
    if target > 0 and (refusal := _not_sellable(item, d)) is not None and held is None:
        return replace(d, refused=refusal, wanted_milli=d.served_milli)
    if target < d.open_milli:
        return _shrink(book, d, d.open_milli - target)
    if target == d.open_milli:
        return d
    missing = target - sum(part.qty_milli for part in d.parts)
    d = unbook_backorder(book, d)
    if not d.allow_partial:
        d = unbook_parts(book, d)
        missing = target
    return _without_backorder(book, place(book, item, d, missing), item)


def _shrink(book: Book, d: Demand, by: int) -> Demand:
    """Less wanted: what waits goes first, then what is allocated."""
    waiting = min(by, d.backordered_milli)
    kept = d.backordered_milli - waiting
    site, day = d.backorder_site, d.promised_day
    d = unbook_backorder(book, d)
    if kept:
        book.backorder(site, day, d.channel, kept)
        d = replace(d, backordered_milli=kept, backorder_site=site, promised_day=day)
    return take(book, d, by - waiting, "") if by > waiting else d


def _not_sellable(item: Item, d: Demand) -> str | None:
    if d.is_firm:
        return None
    if item.is_deleted:
        return f"item {item.item} is no longer in the ERP's item master"
    return f"item {item.item} is on hold in the ERP" if item.status == "H" else None


def _without_backorder(book: Book, d: Demand, item: Item) -> Demand:
    """Where nothing may wait (the order does not want it, or the item is discontinued), what is not on hand is refused."""
    if not d.backordered_milli or d.is_firm or (d.allow_backorder and item.status != "D"):
        return d
    had = d.backordered_milli
    d = unbook_backorder(book, d)
    on_hand = sum(part.qty_milli for part in d.parts)
    why = "is discontinued" if item.status == "D" else "may not be backordered on this order"
    return replace(
        d,
        wanted_milli=d.served_milli + on_hand,
        refused=f"only {show(on_hand)} of {show(on_hand + had)} {item.base_uom} of {item.item} can be promised, and it {why}",
    )


# --- execution -----------------------------------------------------------------------------------------------------------


def stock_picked(p: Policy, t: PromiseTables, e: StockPicked) -> Iterator[Any]:
    """Usable to staged, and as much demand of the line with it: available stays what it was."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    held = t.demands.get((e.item, e.order_id, e.line))
    d = _pick(o, t, e, held or _UNASKED)
    write(o.book, e.order_id, e.line, d, held)
    yield from o.book.close(f"picked for {e.order_id} line {e.line}")


def _pick(o: Opened, t: PromiseTables, e: StockPicked | PickShorted, d: Demand) -> Demand:
    book = o.book
    at_ms, event_id = e.occurred_at_ms, e.event_id
    book.move(e.site, "usable", o.lot, -o.qty, at_ms=at_ms, event_id=event_id)
    book.move(e.site, "staged", o.lot, o.qty, at_ms=at_ms, event_id=event_id)
    done = _executed(d, e.site)
    d_now = _with(d, replace(done, picked_milli=done.picked_milli + o.qty))
    if done.shipped_milli > done.picked_milli:
        _imply(book, t, e, done.picked_milli + o.qty)
    return take(book, d_now, d_now.served_milli - d.served_milli, e.site)


def _imply(book: Book, t: PromiseTables, e: StockPicked | PickShorted | StockShipped, picked: int) -> None:
    """Match picks to shipments, earliest shipment first: what the picks do not reach is picked by implication, when it shipped.

    So the outcome depends on what happened and when, not on the order in which it was told.
    """
    for key, row in list(t.shipments.under(book.item, e.order_id, e.line, e.site)):
        implied = max(0, row.qty_milli - picked)
        picked = max(0, picked - row.qty_milli)
        if implied != row.implied_milli:
            at_ms, event_id = key[4], key[5]
            book.amend(e.site, "usable", row.lot, -implied, at_ms=at_ms, event_id=event_id)
            book.amend(e.site, "staged", row.lot, implied - row.qty_milli, at_ms=at_ms, event_id=event_id)
            t.shipments[key] = replace(row, implied_milli=implied)


def pick_shorted(p: Policy, t: PromiseTables, e: PickShorted) -> Iterator[Any]:
    """Some was picked, some was not there: the stock is corrected, and what is missing waits for other stock or is given up."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    held = t.demands.get((e.item, e.order_id, e.line))
    short = to_base(o.item, e.short_milli, e.uom)
    o.book.move(e.site, "usable", o.lot, -short, at_ms=e.occurred_at_ms, event_id=e.event_id + "-")
    d = held or _UNASKED
    if o.qty:
        d = _pick(o, t, e, d)
    here = next((part.qty_milli for part in d.parts if part.site == e.site), 0)
    lost = min(short, here)
    if lost:
        d = take(o.book, d, lost, e.site)
        d = _replace_lost(o, d, lost)
    if d.revision:
        d = replace(d, answer=d.answer + 1)
        yield answer(o.book, o.item, e.order_id, e.line, d)
    write(o.book, e.order_id, e.line, d, held)
    yield from review(o.book, o.item)
    yield from o.book.close(f"short pick of {show(short)} for {e.order_id} line {e.line}")


def _replace_lost(o: Opened, d: Demand, lost: int) -> Demand:
    """Units that were not there: backordered again if the order allows it, else given up."""
    if not d.allow_backorder:
        return replace(d, wanted_milli=d.wanted_milli - lost)
    waiting = d.backordered_milli
    return place(o.book, o.item, unbook_backorder(o.book, d), waiting + lost)


def demand_substituted(p: Policy, t: PromiseTables, e: DemandSubstituted) -> Iterator[Any]:
    """Another item serves part of the line: this item's demand goes down by as much. Its stock does not move."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    seen = (e.item, e.site, "usable", "", e.occurred_at_ms, e.event_id)
    if seen in t.movements:
        raise AlreadyApplied
    t.movements[seen] = Movement(0)
    held = t.demands.get((e.item, e.order_id, e.line))
    d = held or _UNASKED
    before = d.served_milli
    d = replace(d, substituted_milli=d.substituted_milli + o.qty)
    d = take(o.book, d, d.served_milli - before, e.site)
    write(o.book, e.order_id, e.line, d, held)
    yield from review(o.book, o.item)
    yield from o.book.close(f"substituted by {e.substitute_item} for {e.order_id} line {e.line}")


def stock_shipped(p: Policy, t: PromiseTables, e: StockShipped) -> Iterator[Any]:
    """Staged units left. Units whose pick was not told are taken from usable stock, until it is."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    held = t.demands.get((e.item, e.order_id, e.line))
    d = held or _UNASKED
    done = _executed(d, e.site)
    o.book.move(e.site, "staged", o.lot, -o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id)
    t.shipments[(e.item, e.order_id, e.line, e.site, e.occurred_at_ms, e.event_id)] = Shipment(o.lot, o.qty, 0)
    if done.shipped_milli + o.qty > done.picked_milli:
        _imply(o.book, t, e, done.picked_milli)
    before = d.served_milli
    d = _with(d, replace(done, shipped_milli=done.shipped_milli + o.qty))
    d = take(o.book, d, d.served_milli - before, e.site)
    write(o.book, e.order_id, e.line, d, held)
    yield from o.book.close(f"shipped as {e.shipment} for {e.order_id} line {e.line}")


def review_backorders(p: Policy, t: PromiseTables, e: ReviewBackorders) -> Iterator[Any]:
    """Go on with the queue."""
    item = known_item(t, e.item)
    if item is not None:
        book = Book(p, t, e.item, e)
        yield from review(book, item)
        yield from book.close("backorders reviewed")


def _executed(d: Demand, site: str) -> Executed:
    return next((x for x in d.executed if x.site == site), Executed(site, 0, 0))


def _with(d: Demand, done: Executed) -> Demand:
    others = tuple(x for x in d.executed if x.site != done.site)
    return replace(d, executed=tuple(sorted((*others, done), key=lambda x: x.site)))
