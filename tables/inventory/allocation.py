"""Allocation: giving units to order lines, never the same unit twice.

A line is covered from stock on hand where `lookahead` ATP allows it (promising it breaks no later day's promise): from one
site if one has enough, else from the fewest sites. What is left is backordered on the first day some site's expected stock
covers it. The sourcing rule's name is `fewest_parcels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from schemas.frozen import replace
from schemas.inventory import ReviewBackorders
from schemas.orders import LineAnswered, SiteGone, SitePart
from tables.common.calendars import to_date
from tables.common.policy import MAX_HORIZON_DAYS
from tables.inventory.atp import atp, first_day
from tables.inventory.demand_line import DemandLine
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger
from tables.inventory.safety_stock import Free, Safety, safety_of
from tables.inventory.site_position import USABLE, SitePosition, lowest
from tables.inventory.state import Demand, Item, Queued

REVIEWED_AT_ONCE = 200  # backorders looked at by one event: the rest follow in events of their own
NOTHING: Mapping[str, int] = {}
MAX_PERIODS = 400  # plans further off are counted on the last day
Place = tuple[int, int, str, int]  # in the queue of backorders: priority, placed at, order id, line
_LAST = 2**62


def candidates(ledger: ItemLedger, site: str | None, channel: str) -> Sequence[str]:
    """Sites a line may be sourced from: the one asked for, or those its channel may ship from that have the item."""
    if site is not None:
        return (site,)
    allowed = ledger.policy.channel(channel).sites
    return ledger.overview.sites if allowed is None else [s for s in allowed if s in ledger.overview.sites]


def channel_room(ledger: ItemLedger, channel: str, sites: Sequence[str], free: Free) -> int | None:
    """What a channel may still take of the item in all, or none if nothing limits it.

    min(ATP of its sites - sum of other channels' unconsumed floors, its cap - consumed). Consumed: open demand and holds.
    """
    policy = ledger.policy
    floors = {c: p.floor_milli for c, p in policy.channels.items() if p.floor_milli and c != channel}
    cap = policy.channel(channel).cap_milli
    if not floors and cap is None:
        return None
    consumed: dict[str, int] = {}
    for site in ledger.overview.sites:
        for name, qty in ledger.page(site).channels:
            consumed[name] = consumed.get(name, 0) + qty
    room = free.promise(sites)
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
    page: SitePosition, today: int, past_due_days: int | None, length: int = MAX_PERIODS
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


def earliest(ledger: ItemLedger, sites: Sequence[str], qty: int, safety_milli: int) -> tuple[str, int | None]:
    """The site and day whose expected stock first covers a quantity; no day if none does within the horizon."""
    safety = safety_of(ledger.policy, ledger.item, safety_milli, ledger.overview.sites)
    found = (
        _shared(ledger, sites, qty, safety) if safety.shared else [(_first_covering(ledger, x, qty, safety), x) for x in sites]
    )
    best = min([(day, site) for day, site in found if day is not None], default=None)
    if best is not None:
        return best[1], best[0]
    return (sites[0] if sites else ""), None


def _first_covering(ledger: ItemLedger, site: str, qty: int, safety: Safety) -> int | None:
    page, today, past_due = ledger.page(site), ledger.today(site), ledger.policy.site(site).past_due_days
    fence = ledger.policy.infinite_after_days
    if fence is None and not _is_expecting(page, today, past_due):
        # Without supply no later day is better.
        return today if lowest(page, today, past_due, safety.own.get(site, 0)) >= qty else None
    d = first_day(_series(ledger, site, safety)[:MAX_HORIZON_DAYS], qty, fence)
    return None if d is None else today + d


def _series(ledger: ItemLedger, site: str, safety: Safety) -> list[int]:
    page = ledger.page(site)
    supply, demand, expired = periods(page, ledger.today(site), ledger.policy.site(site).past_due_days)
    return atp("lookahead", page.on_hand[USABLE] - safety.own.get(site, 0), supply, demand, expired)


def _shared(ledger: ItemLedger, sites: Sequence[str], qty: int, safety: Safety) -> list[tuple[int | None, str]]:
    """The first day of each site where all together keep the safety stock: what one expects may free what another has."""
    every = sorted({*ledger.overview.sites, *sites})
    expecting = [x for x in every if _is_expecting(ledger.page(x), ledger.today(x), ledger.policy.site(x).past_due_days)]
    if ledger.policy.infinite_after_days is None and not expecting:
        free = ledger.free(sites, sum(safety.own.values()) + safety.shared)
        return [(ledger.today(site) if free.at(site) >= qty else None, site) for site in sites]
    series = {site: _series(ledger, site, safety) for site in every}
    fence = ledger.policy.infinite_after_days
    found: dict[str, int] = {}
    last = MAX_HORIZON_DAYS
    for d in range(MAX_HORIZON_DAYS):
        if d > last:
            break  # where it is a day earlier by its calendar, the day after may be as early
        free = Free({site: series[site][d] for site in every}, safety.shared)
        for site in sites:
            if site not in found and (free.at(site) >= qty or (fence is not None and d >= fence)):
                found[site] = d
                last = min(last, d + 1)
    return [(ledger.today(site) + found[site] if site in found else None, site) for site in sites]


def _is_expecting(page: SitePosition, today: int, past_due_days: int | None) -> bool:
    return any(entry.supply_milli and (entry.day >= today or past_due_days is not None) for entry in page.days)


def place(ledger: ItemLedger, item: Item, line: DemandLine, qty: int, avoid: str | None = None) -> None:
    """Cover a quantity more of a line and book it: from stock, and the rest on the first day that covers it.

    A site to `avoid` (it has just not found units it should have) gives only what no other site has.
    The line has no backorder booked; its own earlier parts stay as they are.
    """
    safety = item.safety_stock_milli
    sites = candidates(ledger, line.site, line.channel)
    free = ledger.free(sites, safety)
    room = channel_room(ledger, line.channel, sites, free)
    asked = min(qty, free.promise(sites))
    if room is not None:
        asked = min(asked, room)
    places = [(site, free.at(site)) for site in sites]
    found = choose([place for place in places if place[0] != avoid], asked)
    if avoid is not None:
        left = asked - sum([part.qty_milli for part in found])
        found = (*found, *choose([place for place in places if place[0] == avoid], left))
    rest = qty - sum([part.qty_milli for part in found])
    if rest and not line.allow_partial:
        found, rest = (), qty
    for part in found:
        ledger.want(part.site, line.need_day, line.channel, part.qty_milli)
    line.allot(found)
    if rest <= 0:
        return
    site, day = earliest(ledger, sites, rest, safety)
    if room is not None and rest > room - (qty - rest):
        day = None  # the channel's share decides, not the calendar: it is reviewed when the share frees up
    line.backordered_milli = rest
    line.backorder_site = site
    line.promised_day = None if day is None else max(day, line.need_day)
    ledger.backorder(site, line.promised_day, line.channel, rest)


def unbook_backorder(ledger: ItemLedger, line: DemandLine, qty: int | None = None) -> None:
    """Take a line's backorder, or so many units of it, out of the plans."""
    if line.backordered_milli:
        less = line.backordered_milli if qty is None else qty
        ledger.backorder(line.backorder_site, line.promised_day, line.channel, -less)
        line.backordered_milli -= less
    if not line.backordered_milli:
        line.backorder_site, line.promised_day = "", None


def unbook_parts(ledger: ItemLedger, line: DemandLine, keep: Mapping[str, int] = NOTHING) -> None:
    """Take a line's allocated parts out of the plans, but for units to `keep` by site."""
    kept = []
    for part in line.parts:
        units = min(part.qty_milli, keep.get(part.site, 0))
        ledger.want(part.site, line.need_day, line.channel, units - part.qty_milli)
        if units:
            kept.append(SitePart(part.site, units))
    line.parts = tuple(kept)


def book_parts(ledger: ItemLedger, line: DemandLine, parts: Mapping[str, int]) -> None:
    """Book units by site on the line's day."""
    for site, units in parts.items():
        ledger.want(site, line.need_day, line.channel, units)
    line.allot(tuple(SitePart(site, units) for site, units in sorted(parts.items())))


def give_back(ledger: ItemLedger, line: DemandLine, qty: int, keep: Mapping[str, int]) -> None:
    """Take so many allocated units out of the plans, those to `keep` by site last."""
    loose = {part.site: max(0, part.qty_milli - keep.get(part.site, 0)) for part in line.parts}
    for site, units in loose.items():
        least = min(units, qty)
        if least:
            take(ledger, line, least, site)
            qty -= least
    if qty:
        take(ledger, line, qty, "")


def take(ledger: ItemLedger, line: DemandLine, qty: int, first: str) -> None:
    """Less open: parts at site `first` go first (a pick there), then others, then the backorder. More than open is ignored."""
    left = []
    for part in line.parts if len(line.parts) < 2 else sorted(line.parts, key=lambda x: (x.site != first, x.site)):
        used = min(part.qty_milli, qty)
        if used:
            ledger.want(part.site, line.need_day, line.channel, -used)
            qty -= used
        if part.qty_milli > used:
            left.append(part if not used else SitePart(part.site, part.qty_milli - used))
    line.parts = tuple(left) if len(left) < 2 else tuple(sorted(left, key=lambda x: x.site))
    if qty and line.backordered_milli:
        unbook_backorder(ledger, line, min(qty, line.backordered_milli))


def write(ledger: ItemLedger, line: DemandLine) -> None:
    """Keep the line's row, and its place in the queue of backorders in step with it."""
    t, current = ledger.tables, line.held
    waited = current is not None and current.backordered_milli > 0
    waits = line.backordered_milli > 0
    if (
        current is not None
        and waited
        and (not waits or (current.priority, current.placed_at_ms) != (line.priority, line.placed_at_ms))
    ):
        del t.backorders[(ledger.item, current.priority, current.placed_at_ms, line.order_id, line.number)]
        ledger.overview = replace(ledger.overview, backorders=ledger.overview.backorders - 1)
        waited = False
    if waits and not waited:
        t.backorders[(ledger.item, line.priority, line.placed_at_ms, line.order_id, line.number)] = Queued(line.order_id)
        ledger.overview = replace(ledger.overview, backorders=ledger.overview.backorders + 1)
    line.held = t.demands[(ledger.item, line.order_id, line.number)] = line.row()


def answered(ledger: ItemLedger, item: Item, line: DemandLine, *, is_measured: bool = True) -> LineAnswered:
    """The line's next answer: allocated counts units picked and not shipped too (see `LineAnswered`)."""
    line.answer += 1
    event = ledger.event
    allocated = {part.site: part.qty_milli for part in line.parts}
    shipped = line.shipped()
    left = line.served() - shipped  # what the ERP says has shipped may still stand staged here
    for done in line.executed:
        staged = min(left, done.picked_milli - done.shipped_milli)
        if staged > 0:
            allocated[done.site] = allocated.get(done.site, 0) + staged
            left -= staged
    return LineAnswered(
        event_id=f"promise:{ledger.item}:{line.order_id}:{line.number}:{line.revision}:{line.answer}",
        source="promise",
        source_position=line.answer,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        order_id=line.order_id,
        line=line.number,
        revision=line.revision,
        answer=line.answer,
        item=ledger.item,
        uom=line.measured(item).base_uom if is_measured else "",
        wanted_milli=sum(allocated.values()) + line.backordered_milli + shipped,
        shipped_milli=shipped,
        allocated=[SitePart(site, units) for site, units in sorted(allocated.items())],
        backordered_milli=line.backordered_milli,
        promised_on=None if line.promised_day is None else to_date(line.promised_day),
        refused=line.refused,
        gone=[SiteGone(x.site, x.shipped_milli + x.substituted_milli, x.short_milli) for x in line.executed],
        backorder_site=line.backorder_site or None,
        pack_uom=line.measured(item).pack_uom if is_measured else item.pack_uom,
        pack_milli=line.measured(item).pack_milli if is_measured else item.pack_milli,
    )


def review(ledger: ItemLedger, item: Item, after: Place | None = None) -> Iterator[PromiseEmit]:
    """Look at the item's backorders again, most urgent first: stock or dates may have changed. Answers what changed.

    All that are looked at give up their claims first, so that none is blocked by a later one's. More than one event may look
    at follow in events of their own, as long as there is anything for them: `after` is where the last one left off.
    """
    if not ledger.overview.backorders:
        return
    queue = _queue(ledger, after)
    for line, _ in queue:
        unbook_backorder(ledger, line)
    for line, was in queue:
        place(ledger, item, line, was.backordered_milli)
    if any(channel.floor_milli for channel in ledger.policy.channels.values()):
        for line, _ in queue:  # claims renewed after a line was placed may take up the floor that was in its way
            if waiting := line.backordered_milli:
                unbook_backorder(ledger, line)
                place(ledger, item, line, waiting)
    any_changed = False
    for line, was in queue:
        if not line.is_as(was):
            any_changed = True
            yield answered(ledger, item, line)
            write(ledger, line)
    is_full = len(queue) == REVIEWED_AT_ONCE
    if is_full and (any_changed or any(ledger.available(site, item.safety_stock_milli) > 0 for site in ledger.overview.sites)):
        yield _go_on(ledger, queue[-1][1], queue[-1][0])


def _queue(ledger: ItemLedger, after: Place | None) -> list[tuple[DemandLine, Demand]]:
    """The next lines that wait, with their rows as they were."""
    t, found = ledger.tables, list[tuple[DemandLine, Demand]]()
    if after is None:
        waiting = t.backorders.under(ledger.item)
    else:
        priority, placed_at_ms, order_id, line = after
        waiting = t.backorders.range((ledger.item, priority, placed_at_ms, order_id, line + 1), (ledger.item, _LAST, 0, "", 0))
    for key, _ in waiting:
        was = t.demands[(ledger.item, key[3], key[4])]
        found.append((DemandLine(key[3], key[4], was), was))
        if len(found) == REVIEWED_AT_ONCE:
            break
    return found


def _go_on(ledger: ItemLedger, was: Demand, line: DemandLine) -> ReviewBackorders:
    event = ledger.event
    return ReviewBackorders(
        event_id=f"{event.event_id}+",
        source="promise",
        source_position=event.source_position,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        item=ledger.item,
        priority=was.priority,
        placed_at_ms=was.placed_at_ms,
        order_id=line.order_id,
        line=line.number,
    )
