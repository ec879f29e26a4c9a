"""The ATP record: an item's promise with every input of the formula, so that any reader works out any policy from it."""

from __future__ import annotations

from schemas.inventory import Atp, ChannelHold, DayNet, Expiry, SiteAtp, SourceMark
from tables.common.calendars import day_at, to_date
from tables.common.policy import AtpPolicy, Policy
from tables.inventory.allocation import periods
from tables.inventory.atp import atp
from tables.inventory.item_ledger import furthest, zone_of
from tables.inventory.safety_stock import Free, Safety, safety_of
from tables.inventory.site_position import SitePosition, lowest
from tables.inventory.state import ON_HOLD, Item, Overview, PromiseTables, Stock

NOT_SOLD = frozenset({"unknown", "deleted", ON_HOLD})
"""Statuses of items of which nobody is granted anything, so nothing of them is promised. Their signed ATP is what it would be."""


def publish_atp(p: Policy, t: PromiseTables, item: str, version: int) -> Atp | None:
    """The item's record as of the last event. None for an item nothing is known of."""
    master = t.items.get((item,))
    overview = t.overviews.get((item,))
    if master is None and overview is None:
        return None
    overview = overview or Overview(0, (), 0, (), ())
    safety = master.safety_stock_milli if master is not None and not master.is_deleted else 0
    rows = [(site, t.stock[(item, site)]) for site in overview.sites]
    as_of_ms = max([overview.as_of_ms, *[row.as_of_ms for _, row in rows]])
    kept = safety_of(p, item, safety, overview.sites)
    days = {site: day_at(as_of_ms, zone_of(p, t, site)) for site in overview.sites}
    free = Free({site: today_atp(p, site, row, kept.own[site], days[site]) for site, row in rows}, kept.shared)
    status = item_status(master)
    is_sold = status not in NOT_SOLD
    sites = [_site(site, row, free, kept, days[site], is_sold=is_sold) for site, row in rows]
    return Atp(
        item=item,
        version=version,
        as_of_ms=as_of_ms,
        policy=p.atp_policy,
        uom=master.base_uom if master is not None else "",
        item_status=status,
        safety_stock_milli=safety,
        atp_milli=free.atp(overview.sites),
        promise_milli=free.promise(overview.sites) if is_sold else 0,
        sites=sites,
        marks=_furthest([overview.marks, *[row.marks for _, row in rows]]),
        suspects=[*overview.suspects, *_below_zero(rows)],
        safety_policy=p.safety_stock,
        shared_safety_milli=kept.shared,
    )


def item_status(master: Item | None) -> str:
    """The ERP's status of an item, "deleted" for one that has left its item master, "unknown" for one that it has not sent."""
    if master is None:
        return "unknown"
    return "deleted" if master.is_deleted else master.status


def _below_zero(rows: list[tuple[str, Stock]]) -> list[str]:
    """Balances that cannot be: less than nothing of a status at a site."""
    return [f"negative:{site}:{name}" for site, row in rows for name, qty in _balances(row) if qty < 0]


def _balances(row: Stock) -> list[tuple[str, int]]:
    return [
        ("usable", row.usable_milli),
        ("held", row.held_milli),
        ("quality", row.quality_milli),
        ("damaged", row.damaged_milli),
        ("staged", row.staged_milli),
    ]


def _furthest(marks: list[tuple[SourceMark, ...]]) -> list[SourceMark]:
    """Each source's furthest mark."""
    found: dict[str, SourceMark] = {}
    for some in marks:
        for mark in some:
            current = found.get(mark.source)
            found[mark.source] = mark if current is None else furthest(current, mark)
    return list(found.values())


def _site(site: str, row: Stock, free: Free, kept: Safety, today: int, *, is_sold: bool) -> SiteAtp:
    value = free.at(site)
    return SiteAtp(
        site,
        to_date(today),
        row.usable_milli,
        row.held_milli,
        row.quality_milli,
        row.damaged_milli,
        row.staged_milli,
        row.demand_milli,
        row.reserved_milli,
        row.backordered_milli,
        value,
        value if value > 0 and is_sold else 0,
        [DayNet(to_date(d.day), d.supply_milli, d.demand_milli) for d in row.days],
        [Expiry(to_date(day), qty) for day, qty in row.expiries],
        [ChannelHold(channel, qty) for channel, qty in row.channels],
        kept.own[site],
        free.kept((site,)),
    )


def today_atp(p: Policy, site: str, row: Stock, safety: int, today: int) -> int:
    """ATP of today by the default policy, `safety` kept back there."""
    if p.atp_policy == "lookahead":
        return lowest(SitePosition(row), today, p.site(site).past_due_days, safety)
    return series(p.atp_policy, row, safety, today, p.site(site).past_due_days, 1)[0]


def series(policy: AtpPolicy, row: Stock, safety: int, today: int, past_due_days: int | None, days: int) -> list[int]:
    """ATP of each of the next days by any policy. Plans past the last day shown still count (see `periods`)."""
    supply, demand, expired = periods(SitePosition(row), today, past_due_days)
    return atp(policy, row.usable_milli - safety, supply, demand, expired)[:days]


def is_oversold_today(site: SiteAtp) -> bool:
    """Whether a site promises more today than is usable there (safety stock kept back) or expected in by today: never true.

    Supply that is past due is expected today only where the site's policy says so; here it counts either way.
    """
    expected = sum([entry.supply_milli for entry in site.days if entry.day <= site.today])
    return site.promise_milli > max(0, site.usable_milli - site.safety_milli + expected)
