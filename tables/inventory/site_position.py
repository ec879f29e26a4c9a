"""One site's page of the book: the sums of `tables.inventory.state.Stock`, open for change, and what they promise today."""

from __future__ import annotations

from typing import TypeVar

from schemas.inventory import SourceMark
from tables.inventory.state import DayPlan, Stock

K = TypeVar("K")

USABLE, HELD, QUALITY, DAMAGED, STAGED = range(5)
STATUSES = ("usable", "held", "quality", "damaged", "staged")
INDEX = {status: index for index, status in enumerate(STATUSES)}


class SitePosition:
    """One site's page of the book: the sums of `tables.inventory.state.Stock`, open for change."""

    __slots__ = ("backordered", "channels", "days", "demand", "expiries", "is_rolled", "on_hand", "reserved", "row", "supply")

    def __init__(self, row: Stock) -> None:
        self.row = row
        self.is_rolled = False
        self.on_hand = [row.usable_milli, row.held_milli, row.quality_milli, row.damaged_milli, row.staged_milli]
        self.demand = row.demand_milli
        self.reserved = row.reserved_milli
        self.backordered = row.backordered_milli
        self.supply = row.supply_milli
        self.days: tuple[DayPlan, ...] = row.days
        self.expiries = row.expiries
        self.channels = row.channels

    def plan(self, day: int, supply: int, demand: int) -> None:
        """Add to what is expected in and wanted out on a day."""
        out = []
        is_placed = False
        for entry in self.days:
            if entry.day == day:
                is_placed = True
                entry = DayPlan(day, entry.supply_milli + supply, entry.demand_milli + demand)  # noqa: PLW2901 - the sum replaces it
                if entry.supply_milli == 0 and entry.demand_milli == 0:
                    continue
            elif entry.day > day and not is_placed:
                is_placed = True
                out.append(DayPlan(day, supply, demand))
            out.append(entry)
        if not is_placed:
            out.append(DayPlan(day, supply, demand))
        self.days = tuple(out)

    def consume(self, channel: str, delta: int) -> None:
        """Add to what a channel has taken here."""
        self.channels = _add(self.channels, channel, delta)

    def expire(self, day: int, delta: int) -> None:
        """Add to the usable units whose last day this is."""
        self.expiries = _add(self.expiries, day, delta)

    def may_free(self) -> bool:
        """Whether what was picked or shipped may leave more to promise here than before, or less to wait for.

        It leaves as much if as much left usable stock as left the plans: a pick of what was allocated here. Where lots expire
        it also matters which were taken.
        """
        row = self.row
        left = self.on_hand[USABLE] - self.demand - row.usable_milli + row.demand_milli
        return left > 0 or self.backordered != row.backordered_milli or bool(self.expiries or row.expiries)

    def closed(self, is_oversold: bool, as_of_ms: int, marks: tuple[SourceMark, ...]) -> Stock:
        """The page as a row."""
        hand = self.on_hand
        return Stock(
            hand[0],
            hand[1],
            hand[2],
            hand[3],
            hand[4],
            self.demand,
            self.reserved,
            self.backordered,
            self.supply,
            is_oversold,
            as_of_ms,
            self.days,
            self.expiries,
            self.channels,
            marks,
        )


def _add(pairs: tuple[tuple[K, int], ...], key: K, delta: int) -> tuple[tuple[K, int], ...]:
    """A small sorted map with one value changed; zeros leave it."""
    held = dict(pairs)
    value = held.pop(key, 0) + delta
    if value:
        held[key] = value
    return tuple(sorted(held.items()))


def lowest(page: SitePosition, today: int, past_due_days: int | None, reserve: int) -> int:
    """ATP of today by `lookahead`, over all that is known: the least stock ever expected, `reserve` (safety stock) kept back."""
    running = page.on_hand[USABLE] - reserve
    if not page.days and not page.expiries:
        return running
    if page.expiries or (past_due_days is not None and page.days[0].day < today):
        return _lowest_dated(page, today, past_due_days, running)
    low: int | None = None
    for entry in page.days:
        if entry.day <= today:
            running -= entry.demand_milli
            if entry.day == today:
                running += entry.supply_milli
        else:
            if low is None or running < low:
                low = running
            running += entry.supply_milli - entry.demand_milli
    return running if low is None or running < low else low


def missing(page: SitePosition, today: int, past_due_days: int | None) -> int:
    """By how much promises that are due on some day exceed what there will be by then. Stock below zero is not a promise."""
    if lowest(page, today, past_due_days, 0) >= 0 or not any(entry.demand_milli for entry in page.days):
        return 0
    return max(0, -_lowest_dated(page, today, past_due_days, page.on_hand[USABLE], wants_today=False))


def _lowest_dated(page: SitePosition, today: int, past_due_days: int | None, opening: int, *, wants_today: bool = True) -> int:
    nets: dict[int, int] = {today: 0}
    wanted = (
        {today} if wants_today else set()
    )  # only a day that wants something can be broken (tables.inventory.atp.lookahead_perishable)
    for entry in page.days:
        day = max(entry.day, today)
        if entry.demand_milli:
            wanted.add(day)
        nets[day] = nets.get(day, 0) - entry.demand_milli
        due = entry.day if entry.day >= today else None if past_due_days is None else today + past_due_days
        if due is not None:
            nets[due] = nets.get(due, 0) + entry.supply_milli
    for last_day, qty in page.expiries:
        gone = max(last_day + 1, today)
        nets[gone] = nets.get(gone, 0) - qty
    running = opening
    low: int | None = None
    for day, net in sorted(nets.items()):
        running += net
        if day in wanted and (low is None or running < low):
            low = running
    assert low is not None
    return low
