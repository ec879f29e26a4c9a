"""Allocation: giving units to order lines, never the same unit twice.

A line is covered from stock on hand where `lookahead` ATP allows it (promising it breaks no later day's promise): from one
site if one has enough, else from the fewest sites. What is left is backordered on the first day some site's expected stock
covers it. The sourcing rule's name is `fewest_parcels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from schemas.inventory import ReviewBackorders
from schemas.orders import LineAnswered, SitePart
from tables.atp import atp, first_day
from tables.book import USABLE, Book, SiteBook
from tables.calendars import to_date
from tables.policy import MAX_HORIZON_DAYS
from tables.promise import Demand, Item, Queued

SOURCING = "fewest_parcels"
REVIEWED_AT_ONCE = 200  # backorders looked at by one event: the rest follow in events of their own
MAX_PERIODS = 400  # plans further off are counted on the last day


def candidates(book: Book, site: str | None, channel: str) -> Sequence[str]:
    """Sites a line may be sourced from: the one asked for, or those its channel may ship from that have the item."""
    if site is not None:
        return (site,)
    allowed = book.policy.channel(channel).sites
    return book.overview.sites if allowed is None else [s for s in allowed if s in book.overview.sites]


def channel_room(book: Book, channel: str, sites: Sequence[str], safety_milli: int) -> int | None:
    """What a channel may still take of the item in all, or none if nothing limits it.

    min(ATP of its sites - sum of other channels' unconsumed floors, its cap - consumed). Consumed: open demand and holds.
    """
    policy = book.policy
    floors = {c: p.floor_milli for c, p in policy.channels.items() if p.floor_milli and c != channel}
    cap = policy.channel(channel).cap_milli
    if not floors and cap is None:
        return None
    consumed: dict[str, int] = {}
    for site in book.overview.sites:
        for name, qty in book.page(site).channels:
            consumed[name] = consumed.get(name, 0) + qty
    room = sum(max(0, book.available(site, safety_milli)) for site in sites)
    room -= sum(max(0, floor - consumed.get(c, 0)) for c, floor in floors.items())
    if cap is not None:
        room = min(room, cap - consumed.get(channel, 0))
    return max(0, room)


def choose(free: Sequence[tuple[str, int]], qty: int) -> tuple[SitePart, ...]:
    """`fewest_parcels`: the site with the most free units if it has enough, else the largest first until covered."""
    parts = []
    for site, units in sorted(free, key=lambda s: (-s[1], s[0])):
        taken = min(units, qty)
        if taken > 0:
            parts.append(SitePart(site, taken))
            qty -= taken
    return tuple(parts)


def periods(
    page: SiteBook, today: int, past_due_days: int | None, length: int = MAX_PERIODS
) -> tuple[list[int], list[int], list[int]]:
    """A site's supply, demand and expired units by day from today: past-due demand is wanted today, supply by the policy.

    Demand past the last day counts on it, supply past it does not: what is not seen coming is not promised.
    """
    supply, demand, expired = [0] * length, [0] * length, [0] * length
    for entry in page.days:
        demand[min(max(entry.day - today, 0), length - 1)] += entry.demand_milli
        due = entry.day - today
        if due < 0 and past_due_days is not None:
            due = past_due_days
        if 0 <= due < length:
            supply[due] += entry.supply_milli
    for last_day, qty in page.expiries:
        for d in range(max(last_day + 1 - today, 0), length):
            expired[d] += qty
    return supply, demand, expired


def earliest(book: Book, sites: Sequence[str], qty: int, safety_milli: int) -> tuple[str, int | None]:
    """The site and day whose expected stock first covers a quantity; no day if none does within the horizon."""
    best: tuple[int, str] | None = None
    for site in sites:
        page, today = book.page(site), book.today(site)
        supply, demand, expired = periods(page, today, book.policy.site(site).past_due_days)
        series = atp("lookahead", page.hand[USABLE] - safety_milli, supply, demand, expired)
        d = first_day(series[:MAX_HORIZON_DAYS], qty, book.policy.infinite_after_days)
        if d is not None and (best is None or (today + d, site) < best):
            best = (today + d, site)
    if best is not None:
        return best[1], best[0]
    return (sites[0] if sites else ""), None


def place(book: Book, item: Item, d: Demand, qty: int) -> Demand:
    """Cover a quantity more of a line and book it: from stock, and the rest on the first day that covers it.

    The line's own earlier parts stay as they are.
    """
    safety = item.safety_stock_milli
    sites = candidates(book, d.site, d.channel)
    room = channel_room(book, d.channel, sites, safety)
    found = choose([(site, book.available(site, safety)) for site in sites], qty if room is None else min(qty, room))
    rest = qty - sum(part.qty_milli for part in found)
    if rest and not d.allow_partial:
        found, rest = (), qty
    parts = {part.site: part.qty_milli for part in d.parts}
    for part in found:
        parts[part.site] = parts.get(part.site, 0) + part.qty_milli
        book.want(part.site, d.need_day, d.channel, part.qty_milli)
    d = replace(d, parts=tuple(SitePart(site, units) for site, units in sorted(parts.items())))
    if rest <= 0:
        return replace(d, backordered_milli=0, backorder_site="", promised_day=None)
    site, day = earliest(book, sites, rest, safety)
    if room is not None and rest > room - sum(part.qty_milli for part in found):
        day = None  # the channel's share decides, not the calendar: it is reviewed when the share frees up
    day = None if day is None else max(day, d.need_day)
    book.backorder(site, day, d.channel, rest)
    return replace(d, backordered_milli=rest, backorder_site=site, promised_day=day)


def unbook_backorder(book: Book, d: Demand) -> Demand:
    """Take a line's backorder out of the plans."""
    if d.backordered_milli:
        book.backorder(d.backorder_site, d.promised_day, d.channel, -d.backordered_milli)
    return replace(d, backordered_milli=0, backorder_site="", promised_day=None)


def unbook_parts(book: Book, d: Demand) -> Demand:
    """Take a line's allocated parts out of the plans."""
    for part in d.parts:
        book.want(part.site, d.need_day, d.channel, -part.qty_milli)
    return replace(d, parts=())


def take(book: Book, d: Demand, qty: int, first: str) -> Demand:
    """Less open: parts at site `first` go first (a pick there), then others, then the backorder. More than open is ignored."""
    parts = []
    for part in sorted(d.parts, key=lambda x: (x.site != first, x.site)):
        used = min(part.qty_milli, qty)
        if used:
            book.want(part.site, d.need_day, d.channel, -used)
            qty -= used
        if part.qty_milli > used:
            parts.append(SitePart(part.site, part.qty_milli - used))
    waiting = d.backordered_milli
    if qty and waiting:
        d = unbook_backorder_by(book, d, min(qty, waiting))
    return replace(d, parts=tuple(sorted(parts, key=lambda x: x.site)))


def unbook_backorder_by(book: Book, d: Demand, qty: int) -> Demand:
    """Less backordered, same site and day."""
    left = d.backordered_milli - qty
    book.backorder(d.backorder_site, d.promised_day, d.channel, -qty)
    if left:
        return replace(d, backordered_milli=left)
    return replace(d, backordered_milli=0, backorder_site="", promised_day=None)


def write(book: Book, order_id: str, line: int, d: Demand, held: Demand | None) -> None:
    """Keep the line's row, and its place in the queue of backorders in step with it."""
    t = book.tables
    t.demands[(book.item, order_id, line)] = d
    waited = held is not None and held.backordered_milli > 0
    waits = d.backordered_milli > 0
    if held is not None and waited and (not waits or (held.priority, held.placed_at_ms) != (d.priority, d.placed_at_ms)):
        del t.backorders[(book.item, held.priority, held.placed_at_ms, order_id, line)]
        book.overview = replace(book.overview, backorders=book.overview.backorders - 1)
        waited = False
    if waits and not waited:
        t.backorders[(book.item, d.priority, d.placed_at_ms, order_id, line)] = Queued(order_id)
        book.overview = replace(book.overview, backorders=book.overview.backorders + 1)


def answer(book: Book, item: Item, order_id: str, line: int, d: Demand) -> LineAnswered:
    """The line's answer as it stands: allocated counts units picked and not shipped too (see `LineAnswered`)."""
    event = book.event
    allocated = {part.site: part.qty_milli for part in d.parts}
    for done in d.executed:
        staged = max(0, done.picked_milli - done.shipped_milli)
        if staged:
            allocated[done.site] = allocated.get(done.site, 0) + staged
    return LineAnswered(
        event_id=f"promise:{book.item}:{order_id}:{line}:{d.revision}:{d.answer}",
        source="promise",
        source_position=d.answer,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        order_id=order_id,
        line=line,
        revision=d.revision,
        answer=d.answer,
        item=book.item,
        uom=item.base_uom,
        wanted_milli=sum(allocated.values()) + d.backordered_milli + d.shipped_milli,
        shipped_milli=d.shipped_milli,
        allocated=[SitePart(site, units) for site, units in sorted(allocated.items())],
        backordered_milli=d.backordered_milli,
        promised_on=None if d.promised_day is None else to_date(d.promised_day),
        refused=d.refused,
        pack_uom=item.pack_uom,
        pack_milli=item.pack_milli,
    )


def review(book: Book, item: Item) -> Iterator[Any]:
    """Look at the item's backorders again, most urgent first: stock or dates may have changed. Answers what changed.

    All that are looked at give up their claims first, so that none is blocked by a later one's.
    """
    if not book.overview.backorders:
        return
    t = book.tables
    queue = []
    for key, _ in t.backorders.under(book.item):
        queue.append((key[3], key[4]))
        if len(queue) == REVIEWED_AT_ONCE:
            break
    before = [t.demands[(book.item, order_id, line)] for order_id, line in queue]
    released = [unbook_backorder(book, d) for d in before]
    any_allocated = False
    for (order_id, line), was, free in zip(queue, before, released, strict=True):
        now = place(book, item, free, was.backordered_milli)
        if now == was:
            continue
        any_allocated |= now.backordered_milli < was.backordered_milli
        now = replace(now, answer=was.answer + 1)
        write(book, order_id, line, now, was)
        yield answer(book, item, order_id, line, now)
    if any_allocated and book.overview.backorders and len(queue) == REVIEWED_AT_ONCE:
        yield _go_on(book)


def _go_on(book: Book) -> ReviewBackorders:
    event = book.event
    return ReviewBackorders(
        event_id=f"{event.event_id}+",
        source="promise",
        source_position=event.source_position,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        item=book.item,
    )
