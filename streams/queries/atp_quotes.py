"""What follows from a published ATP record: other policies, channels, sites and days, and whether a cart can be had.

The record holds every input of the formula, so any of these is worked out from it, as of now, by the functions the promise
fold itself decides with. Nothing is held by a quote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_field
from datetime import date, timedelta

from connectors.api.ports import AtpQuery, CheckAnswer, CheckLine, CheckPart, NotKnown, Quote, QuoteDay, SiteQuote
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.inventory import Atp, ChannelHold, DayNet, SiteAtp
from tables.common.calendars import day_at, to_date, to_day
from tables.common.policy import ATP_POLICIES, AtpPolicy, Policy
from tables.inventory.allocation import periods
from tables.inventory.atp import atp as atp_series
from tables.inventory.atp import projected as projected_series
from tables.inventory.atp_record import NOT_SOLD
from tables.inventory.safety_stock import CUMULATIVE, Free, free_on
from tables.inventory.site_position import SitePosition
from tables.inventory.state import DISCONTINUED, ON_HOLD, DayPlan, Item, Stock
from tables.inventory.units import to_base

NOT_SUPPLIED = NOT_SOLD | {DISCONTINUED}
"""Statuses of items of which no order waits for supply."""


def calculate(
    policy: str, opening: int, safety: int, supply: Sequence[int], demand: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The formula alone: (atp, projected). Raises `NotKnown` for an unknown policy."""
    return atp_series(_policy(policy), opening - safety, supply, demand), projected_series(opening - safety, supply, demand)


def _policy(name: str) -> AtpPolicy:
    for known in ATP_POLICIES:
        if known == name:
            return known
    raise NotKnown(f"There is no policy {name[:100]!r}. There are {', '.join(ATP_POLICIES)}.")


@dataclass(frozen=True, slots=True)
class _Site:
    """A site's series from its own today."""

    site: str
    today: int
    supply: list[int]
    demand: list[int]
    projected: list[int]
    atp: list[int]

    def at(self, day: int) -> int:
        """The index of a day, the nearest there is."""
        return min(max(day - self.today, 0), len(self.atp) - 1)


@dataclass(frozen=True, slots=True)
class _Series:
    """The series of all sites an item is at, of which `sites` were asked for; all together keep back `shared` safety stock."""

    policy: AtpPolicy
    every: dict[str, _Site]
    sites: list[str]
    shared: int

    def of(self, site: str) -> _Series:
        """One site's alone."""
        return replace_field(self, sites=[site])

    def asked(self) -> list[_Site]:
        """Those asked for."""
        return [self.every[site] for site in self.sites]

    def free(self, day: int) -> Free:
        """What sites can promise on a day."""
        at = {name: s.at(day) for name, s in self.every.items()}
        alone = {name: s.atp[at[name]] for name, s in self.every.items()}
        return free_on(self.policy, min(at.values(), default=0), alone, self.shared)


@dataclass(frozen=True, slots=True)
class _Share:
    """A channel's limits on an item: what others' floors keep back, and what its cap leaves (none: no cap)."""

    floors: int
    left: int | None

    def of(self, quantity: int) -> int:
        """atp_channel = min(atp - others' unconsumed floors, cap - consumed)."""
        quantity -= self.floors
        return quantity if self.left is None else min(quantity, self.left)


@dataclass(slots=True)
class Quotes:
    """Quotes by a distributor's policy. `zone` gives a site's calendar, `now_ms` the time."""

    policy: Policy
    zone: Callable[[str], str]
    now_ms: Callable[[], int]

    def quote(self, row: Atp, query: AtpQuery) -> Quote:
        """The record seen as asked. Raises `NotKnown` for a site the item or the channel does not have, or a policy."""
        policy = _policy(query.policy or self.policy.atp_policy)
        sites = self.sites(row, query.site, query.channel)
        share = self.share(row, query.channel)
        every = self.all_series(row, sites, policy)
        first = to_day(query.start) if query.start else min((s.today for s in every.asked()), default=self._today(""))
        shown = range(first, first + (query.days or self.policy.horizon_days))
        days = [self._day(every, day, share, row.item_status) for day in shown]
        most = days[0].promise_milli
        quoted = [self._site_quote(every, s, shown, share, most, row.item_status) for s in every.asked()]
        return Quote(policy, query.channel, days[0].atp_milli, days[0].promise_milli, days, quoted)

    def sites(self, row: Atp, site: str | None, channel: str | None) -> list[SiteAtp]:
        """The item's sites that were asked for and the channel may ship from. Raises `NotKnown` if the one named is not there."""
        allowed = self.policy.channel(channel).sites if channel is not None else None
        sites = [s for s in row.sites if (site is None or s.site == site) and (allowed is None or s.site in allowed)]
        if site is not None and not sites:
            known = ", ".join(s.site for s in row.sites if allowed is None or s.site in allowed) or "none yet"
            whose = f" for channel {channel}" if allowed is not None else ""
            raise NotKnown(f"Item {row.item} has nothing at site {site[:100]!r}{whose}. Its sites: {known}.")
        return sites

    def share(self, row: Atp, channel: str | None) -> _Share:
        """What limits a channel's part of the item."""
        if channel is None:
            return _Share(0, None)
        consumed: dict[str, int] = {}
        for site in row.sites:
            for hold in site.channels:
                consumed[hold.channel] = consumed.get(hold.channel, 0) + hold.consumed_milli
        floors = sum(max(0, p.floor_milli - consumed.get(name, 0)) for name, p in self.policy.channels.items() if name != channel)
        cap = self.policy.channel(channel).cap_milli
        return _Share(floors, None if cap is None else max(0, cap - consumed.get(channel, 0)))

    def _today(self, site: str) -> int:
        return day_at(self.now_ms(), self.zone(site))

    def all_series(self, row: Atp, sites: Sequence[SiteAtp], policy: AtpPolicy) -> _Series:
        """The series of an item's sites as of now. Others than those asked for matter if they keep safety stock together."""
        needed = row.sites if row.shared_safety_milli else sites
        every = {site.site: self.series(site, policy) for site in needed}
        return _Series(policy, every, [site.site for site in sites], row.shared_safety_milli)

    def series(self, site: SiteAtp, policy: AtpPolicy) -> _Site:
        """A site's series as of now, its own safety stock taken off."""
        today = self._today(site.site)
        supply, demand, expired = periods(SitePosition(stock_of(site)), today, self.policy.site(site.site).past_due_days)
        opening = site.usable_milli - site.safety_milli
        return _Site(
            site.site,
            today,
            supply,
            demand,
            projected_series(opening, supply, demand, expired),
            atp_series(policy, opening, supply, demand, expired),
        )

    def _day(self, every: _Series, day: int, share: _Share, status: str) -> QuoteDay:
        at = [(s, s.at(day)) for s in every.asked()]
        free = every.free(day)
        return QuoteDay(
            day=to_date(day),
            supply_milli=sum(s.supply[i] for s, i in at if s.today + i == day),
            demand_milli=sum(s.demand[i] for s, i in at if s.today + i == day),
            projected_milli=sum(s.projected[i] for s, i in at) - free.kept(every.sites),
            atp_milli=share.of(free.atp(every.sites)),
            promise_milli=self._promise(every, day, share, status),
            is_unlimited=status not in NOT_SUPPLIED and self._is_beyond_fence(every.asked(), day),
        )

    def _promise(self, every: _Series, day: int, share: _Share, status: str) -> int:
        """What is promised on a day: nothing of what is not sold, and of what is discontinued nothing that supply is to bring."""
        if status in NOT_SUPPLIED:
            today = min((s.today for s in every.asked()), default=day)
            if status in NOT_SOLD or (day > today and every.policy not in CUMULATIVE):
                return 0
            day = min(day, today)
        return max(0, share.of(every.free(day).promise(every.sites)))

    def _is_beyond_fence(self, sites: Sequence[_Site], day: int) -> bool:
        fence = self.policy.infinite_after_days
        return fence is not None and any(day >= s.today + fence for s in sites)

    def _site_quote(self, every: _Series, s: _Site, shown: range, share: _Share, most: int, status: str) -> SiteQuote:
        own = every.of(s.site)
        days = [self._day(own, day, share, status) for day in shown]
        return SiteQuote(s.site, to_date(s.today), days[0].atp_milli, min(most, days[0].promise_milli), days)


def stock_of(site: SiteAtp) -> Stock:
    """A site's published inputs as the rules' row."""
    return Stock(
        usable_milli=site.usable_milli,
        held_milli=site.held_milli,
        quality_milli=site.quality_milli,
        damaged_milli=site.damaged_milli,
        staged_milli=site.staged_milli,
        demand_milli=site.demand_milli,
        reserved_milli=site.reserved_milli,
        backordered_milli=site.backordered_milli,
        supply_milli=sum(day.supply_milli for day in site.days),
        is_oversold=False,
        as_of_ms=0,
        days=tuple(DayPlan(to_day(d.day), d.supply_milli, d.demand_milli) for d in site.days),
        expiries=tuple((to_day(x.day), x.qty_milli) for x in site.expiries),
        channels=tuple((c.channel, c.consumed_milli) for c in site.channels),
        marks=(),
    )


# --- carts -----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cart:
    """Lines wanted together: a line that can be had leaves less for those after it."""

    quotes: Quotes
    channel: str | None
    rows: Mapping[str, Atp | None]
    items: Mapping[str, Item | None]
    taken: dict[str, list[CheckPart]] = field(default_factory=dict)

    def check(self, line: CheckLine) -> CheckAnswer:
        """What the line can have, after those before it."""
        row, item = self.rows.get(line.item), self.items.get(line.item)
        if row is None or item is None:
            return _refused(line, f"item {line.item} is not known: the ERP has not sent it")
        if item.is_deleted or item.status == ON_HOLD:
            return _refused(line, f"item {line.item} is {'deleted' if item.is_deleted else 'on hold'} in the ERP")
        try:
            qty = to_base(item, line.qty_milli, line.uom)
        except BadMessage as error:
            return _refused(line, f"{error.reason}; {error.hint}")
        try:
            return self._answer(line, self._with_taken(row), qty)
        except NotKnown as error:
            return _refused(line, str(error))

    def _with_taken(self, row: Atp) -> Atp:
        """The record as if the lines before had been ordered."""
        parts = self.taken.get(row.item)
        if not parts:
            return row
        sites = []
        for site in row.sites:
            book = SitePosition(stock_of(site))
            for part in parts:
                if part.site == site.site:
                    book.plan(to_day(part.day), 0, part.qty_milli)
                    book.consume(self.channel or "", part.qty_milli)
            sites.append(_published(site, book))
        return replace(row, sites=sites)

    def _answer(self, line: CheckLine, row: Atp, qty: int) -> CheckAnswer:
        every = self.quotes.all_series(row, self.quotes.sites(row, line.site, self.channel), "lookahead")
        share = self.quotes.share(row, self.channel)
        first = min((s.today for s in every.asked()), default=0)
        wanted = max(first, to_day(line.day)) if line.day else first
        is_supplied = row.item_status not in NOT_SUPPLIED
        until = wanted + self.quotes.policy.horizon_days - 1 if is_supplied else first
        free = max(0, share.of(every.free(min(wanted, until)).promise(every.sites)))
        fence = self.quotes.policy.infinite_after_days if is_supplied else None
        parts, promised = self._steps(every, share, wanted, qty, until=until, fence=fence)
        is_available = free >= qty
        if is_available:
            self.taken.setdefault(line.item, []).extend(parts)
        reason = None if is_available else "not all of it can be promised by then" if promised else "no supply covers it"
        return CheckAnswer(line.item, row.uom, qty, is_available, min(free, qty), promised, parts, reason)

    def _steps(
        self, every: _Series, share: _Share, wanted: int, qty: int, *, until: int, fence: int | None
    ) -> tuple[list[CheckPart], date | None]:
        """(day, site, quantity) steps from the day wanted on, and the day that covers all of it; fewest parcels first.

        What comes after the day `until` does not count; from the lead-time `fence` on any quantity can be had.
        """
        parts: list[CheckPart] = []
        given: dict[str, int] = {}
        for day in range(wanted, max(wanted, until) + 1):
            there = every.free(min(day, until))
            room = max(0, share.of(there.promise(every.sites)))
            more = min(qty, room) - sum(given.values())
            free = [(max(0, there.at(site)) - given.get(site, 0), site) for site in every.sites]
            for units, site in sorted(free, key=lambda f: (-f[0], f[1])):
                used = min(units, more)
                if used > 0:
                    parts.append(CheckPart(site, to_date(day), used))
                    given[site] = given.get(site, 0) + used
                    more -= used
            if sum(given.values()) >= qty:
                return parts, to_date(day)
        if fence is None or not every.sites:
            return parts, None
        return parts, max(to_date(wanted), to_date(every.asked()[0].today) + timedelta(days=fence))


def _refused(line: CheckLine, reason: str) -> CheckAnswer:
    return CheckAnswer(line.item, line.uom, line.qty_milli, False, 0, None, [], reason)


def _published(site: SiteAtp, book: SitePosition) -> SiteAtp:
    return replace(
        site,
        days=[DayNet(to_date(d.day), d.supply_milli, d.demand_milli) for d in book.days],
        channels=[ChannelHold(channel, qty) for channel, qty in book.channels],
    )
