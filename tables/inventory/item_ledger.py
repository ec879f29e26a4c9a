"""The book of one item: what one event changes about its stock, plans and promises, kept in step and written down.

A rule opens the book, moves units and books plans, and closes it: sums, ledger and exceptions follow from that, so no rule can
change a number without its ledger line. A balance moves by `move` and `count` alone; both are exact for any order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.base import Event
from schemas.bounds import MAX_SUM_MILLI, bounded_ms
from schemas.errors import AlreadyApplied, NotYet, Refused
from schemas.frozen import replace
from schemas.inventory import LedgerChange, LedgerEntry, SourceMark
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.quantity import show
from tables.common.calendars import day_at, day_end_ms
from tables.common.policy import Policy
from tables.common.position_ranges import covers, widened
from tables.common.raise_exception import cleared, note
from tables.common.row_version import CLOCK_MS
from tables.inventory.safety_stock import Free, safety_of
from tables.inventory.site_position import DAMAGED, HELD, INDEX, QUALITY, STAGED, STATUSES, USABLE, SitePosition, lowest, missing
from tables.inventory.state import Balance, Item, ItemDeadline, LotExpiry, Movement, Overview, PromiseTables, Stock

_MEASURES = tuple(f"on_hand.{status}" for status in STATUSES)
_NO_BALANCE = Balance(0, -1, -1, -1, -1, 0, None)
_NO_STOCK = Stock(0, 0, 0, 0, 0, 0, 0, 0, 0, False, 0, (), (), (), ())
_NOTHING = Overview(0, (), 0, (), ())
_FOREVER_MS = 2**62
_OWN_SOURCES = frozenset({"api", "clock", "engine", "orders", "promise"})  # no feed whose freshness anybody asks for


class ItemLedger:
    """One event's changes to one item. Open it with the event, close it once; see `tables.inventory.stock_movements` for its
    use.
    """

    __slots__ = ("changes", "event", "held", "item", "now_ms", "overview", "pages", "policy", "tables")

    def __init__(self, policy: Policy, tables: PromiseTables, item: str, event: Event) -> None:
        self.policy = policy
        self.tables = tables
        self.item = item
        self.event = event
        self.held = self.overview = tables.overviews.get((item,)) or _NOTHING
        self.now_ms = bounded_ms(max(event.recorded_at_ms, self.overview.as_of_ms))
        self.pages: dict[str, SitePosition] = {}
        self.changes: list[LedgerChange] = []

    # --- looking ---------------------------------------------------------------------------------------------------------

    def page(self, site: str) -> SitePosition:
        """A site's page."""
        page = self.pages.get(site)
        if page is None:
            row = self.tables.stock.get((self.item, site)) or _NO_STOCK
            self.now_ms = max(self.now_ms, row.as_of_ms)
            page = self.pages[site] = SitePosition(row)
        return page

    def known_page(self, site: str) -> SitePosition:
        """A site's page, for a change: from now on the item is known there."""
        sites = self.overview.sites
        if site not in sites:
            self.overview = replace(self.overview, sites=tuple(sorted((*sites, site))))
        return self.page(site)

    def zone(self, site: str) -> str:
        """The site's calendar."""
        return zone_of(self.policy, self.tables, site)

    def today(self, site: str) -> int:
        """The day it is at the site."""
        return day_at(self.now_ms, self.zone(site))

    def available(self, site: str, safety_milli: int) -> int:
        """What can be promised there today, signed."""
        return self.free((site,), safety_milli).at(site)

    def free(self, sites: Sequence[str], safety_milli: int) -> Free:
        """What sites can promise today (and all others, if the item's safety stock is kept by all together)."""
        safety = safety_of(self.policy, self.item, safety_milli, self.overview.sites)
        alone = {}
        for site in sorted({*self.overview.sites, *sites}) if safety.shared else sites:
            policy = self.policy.site(site)
            own = safety.own.get(site, 0)
            alone[site] = lowest(self.page(site), self.today(site), policy.past_due_days, own)
        return Free(alone, safety.shared)

    # --- stock -----------------------------------------------------------------------------------------------------------

    def move(
        self, site: str, status: str, lot: str, delta: int, *, at_ms: int, event_id: str, expires_day: int | None = None
    ) -> None:
        """Move units in (or out, if negative) at an instant. A count after that instant has them already: nothing moves.

        Raises `AlreadyApplied` for a movement remembered, `Refused` for one from before all that is remembered.
        """
        key = (self.item, site, status, lot)
        at_ms = bounded_ms(at_ms)
        table = self.tables.balances
        current = table.get(key) or _NO_BALANCE
        movement = (self.item, site, status, lot, at_ms, event_id)
        if at_ms <= current.newest_ms and movement in self.tables.movements:
            raise AlreadyApplied
        if at_ms <= current.floor_ms and covers(current.forgotten, self.event.source, self.event.source_position):
            raise Refused(
                f"{self.event.event_id} is from before the movements remembered of {self.item} at {site} ({status})",
                hint="send a stock.snapshot of the position: it replaces what came before",
            )
        self.tables.movements[movement] = Movement(delta, self.event.source, self.event.source_position)
        applied = delta if at_ms > current.counted_at_ms else 0
        expires = current.expires_day if current.expires_day is not None else self._expiry(lot, expires_day)
        row = Balance(
            current.on_hand_milli + applied,
            current.counted_at_ms,
            current.counted_position,
            current.floor_ms,
            current.newest_ms if current.newest_ms > at_ms else at_ms,
            current.movements + 1,
            expires,
            current.forgotten,
        )
        if row.movements > 2 * self.policy.remembered_movements:
            row = self._forget(key, row)
        table[key] = row
        self._on_hand(site, status, lot, current, row)

    def amend(self, site: str, status: str, lot: str, before: int, after: int, *, at_ms: int, event_id: str) -> None:
        """A movement of an earlier event, which moved `before`, is known better now."""
        if before == after:
            return
        at_ms = bounded_ms(at_ms)
        key = (self.item, site, status, lot)
        current = self.tables.balances.get(key) or _NO_BALANCE
        row = current
        movement = (self.item, site, status, lot, at_ms, event_id)
        was = self.tables.movements.get(movement)
        if was is not None:
            self.tables.movements[movement] = replace(was, delta_milli=after)
        elif at_ms > current.floor_ms:
            self.tables.movements[movement] = Movement(after, self.event.source, self.event.source_position)
            row = replace(current, movements=current.movements + 1, newest_ms=max(current.newest_ms, at_ms))
        if at_ms > current.counted_at_ms:
            row = replace(row, on_hand_milli=current.on_hand_milli + after - before)
        if row.movements > 2 * self.policy.remembered_movements:
            row = self._forget(key, row)
        self.tables.balances[key] = row
        self._on_hand(site, status, lot, current, row)

    def count(self, site: str, status: str, lot: str, qty: int, *, at_ms: int, position: int) -> None:
        """The balance was exactly `qty` at an instant; movements after it are applied again.

        Raises `AlreadyApplied` for a count not newer than the last, `Refused` if movements after it are no longer remembered.
        """
        key = (self.item, site, status, lot)
        at_ms = bounded_ms(at_ms)
        current = self.tables.balances.get(key) or _NO_BALANCE
        if (at_ms, position) <= (current.counted_at_ms, current.counted_position):
            raise AlreadyApplied
        if at_ms < current.floor_ms:
            raise Refused(
                f"the count of {self.item} at {site} ({status}) is older than the movements remembered",
                hint="count the position again",
            )
        later = sum(m.delta_milli for _, m in self.tables.movements.range((*key, at_ms + 1, ""), (*key, _FOREVER_MS, "")))
        expires = current.expires_day if current.expires_day is not None else self._expiry(lot, None)
        row = replace(current, on_hand_milli=qty + later, counted_at_ms=at_ms, counted_position=position, expires_day=expires)
        self.tables.balances[key] = row
        self._on_hand(site, status, lot, current, row)

    def name_expiry(self, lot: str, day: int | None, at_ms: int) -> bool:
        """A fact names a lot's last day: the newest word counts, wherever units of the lot stand. Whether it does."""
        if not lot or day is None:
            return False
        lots, key = self.tables.lots, (self.item, lot)
        named = LotExpiry(day, bounded_ms(at_ms), self.event.source_position)
        current = lots.get(key)
        if current is not None and (named.told_at_ms, named.told_position) <= (current.told_at_ms, current.told_position):
            return False
        lots[key] = named
        if current is None or current.expires_day != day:
            for site in self.overview.sites:
                self._date_lot(site, lot, day)
        return True

    def _date_lot(self, site: str, lot: str, day: int) -> None:
        for status in STATUSES:
            key = (self.item, site, status, lot)
            row = self.tables.balances.get(key)
            if row is None or row.expires_day == day:
                continue
            self.tables.balances[key] = replace(row, expires_day=day)
            if status == "usable" and row.on_hand_milli:
                page = self.page(site)
                if row.expires_day is not None:
                    page.expire(row.expires_day, -row.on_hand_milli)
                page.expire(day, row.on_hand_milli)
                self.deadline(day_end_ms(day, self.zone(site)), "roll", site)

    def _expiry(self, lot: str, otherwise: int | None) -> int | None:
        """The lot's last day as it was named."""
        named = self.tables.lots.get((self.item, lot)) if lot else None
        return otherwise if named is None else named.expires_day

    def set_on_hand(self, site: str, qty: int) -> None:
        """The ERP owns this site's stock and says what it is."""
        key = (self.item, site, "usable", "")
        current = self.tables.balances.get(key) or _NO_BALANCE
        row = replace(current, on_hand_milli=qty, expires_day=None)
        self.tables.balances[key] = row
        self._on_hand(site, "usable", "", current, row)

    def _on_hand(self, site: str, status: str, lot: str, before: Balance, after: Balance) -> None:
        page = self.known_page(site)
        delta = after.on_hand_milli - before.on_hand_milli
        if status == "usable" and after.expires_day is not None:
            expiring = after.on_hand_milli if before.expires_day is None else delta
            if expiring:
                page.expire(after.expires_day, expiring)
                self.deadline(day_end_ms(after.expires_day, self.zone(site)), "roll", site)
        if delta:
            index = INDEX[status]
            page.on_hand[index] += delta
            self.changes.append(LedgerChange(site, _MEASURES[index], lot or None, before.on_hand_milli, after.on_hand_milli))

    def _forget(self, key: tuple[str, str, str, str], row: Balance) -> Balance:
        """Drop the oldest of a balance's remembered movements; of one instant, those their feeds numbered lowest."""
        found = [(k[4], m.position, k[5], m.source) for k, m in self.tables.movements.under(*key)]
        found.sort()
        oldest = found[: -self.policy.remembered_movements]
        for at_ms, _, event_id, _ in oldest:
            del self.tables.movements[(*key, at_ms, event_id)]
        forgotten = widened(row.forgotten, [(source, position) for _, position, _, source in oldest])
        floor_ms = max(row.floor_ms, oldest[-1][0])
        return replace(row, floor_ms=floor_ms, movements=row.movements - len(oldest), forgotten=forgotten)

    # --- plans -----------------------------------------------------------------------------------------------------------

    def expect(self, site: str, day: int, qty: int) -> None:
        """Book (or unbook, if negative) supply on a day."""
        page = self.known_page(site)
        page.plan(day, qty, 0)
        page.supply += qty
        if qty > 0:
            # The day it becomes today's supply, and the day it becomes past due: the number is another one on both.
            self.deadline(day_end_ms(day - 1, self.zone(site)), "roll", site)
            self.deadline(day_end_ms(day, self.zone(site)), "roll", site)

    def want(self, site: str, day: int, channel: str, qty: int) -> None:
        """Book (or unbook) an order's demand on a day."""
        page = self.known_page(site)
        page.plan(day, 0, qty)
        page.demand += qty
        page.consume(channel, qty)

    def hold(self, site: str, day: int, channel: str, qty: int) -> None:
        """Book (or unbook) a reservation on a day."""
        page = self.known_page(site)
        page.plan(day, 0, qty)
        page.reserved += qty
        page.consume(channel, qty)

    def backorder(self, site: str, day: int | None, channel: str, qty: int) -> None:
        """Book (or unbook) what waits for stock: on its promise day, if there is one."""
        if not site:
            return
        page = self.known_page(site)
        page.backordered += qty
        if day is not None:
            self.want(site, day, channel, qty)

    def deadline(self, due_ms: int, what: str, id_: str) -> None:
        """See to it that a Tick at or after `due_ms` looks at this again (see `tables.inventory.timers`)."""
        key = (bounded_ms(due_ms), what, self.item, id_)
        if key not in self.tables.deadlines:
            self.tables.deadlines[key] = ItemDeadline(self.item)

    def roll(self, site: str) -> None:
        """A day has passed at the site: what counts as past due or expired is worked out anew."""
        page = self.page(site)
        page.is_rolled = True
        today = self.today(site)
        if self.policy.site(site).past_due_days is not None and any(d.supply_milli and d.day < today for d in page.days):
            self.deadline(day_end_ms(today, self.zone(site)), "roll", site)  # tomorrow it is expected a day later again

    # --- closing ---------------------------------------------------------------------------------------------------------

    def close(self, text: str = "") -> Iterator[LedgerEntry | ExceptionNoted | ExceptionCleared]:
        """Write the pages and mark the source; yield the ledger entry and the exceptions that follow. `text`: why, in words."""
        event = self.event
        notes: list[ExceptionNoted | ExceptionCleared] = []
        is_written = False
        for site, page in self.pages.items():
            row = page.row
            if self._is_changed(page) or (row is _NO_STOCK and site in self.overview.sites):
                is_written = True
                self._check_sums(site, page)
                self._book_changes(site, page)
                short = missing(page, self.today(site), self.policy.site(site).past_due_days) if page.days else 0
                is_oversold = short > 0
                if is_oversold != row.is_oversold:
                    notes.append(self._oversold(site, short))
                self.tables.stock[(self.item, site)] = page.closed(is_oversold, self.now_ms, marked(row.marks, event))
        if not is_written:
            held = self.overview
            self.overview = replace(held, as_of_ms=self.now_ms, marks=marked(held.marks, event))
        if self.overview is not self.held:
            self.tables.overviews[(self.item,)] = self.overview
        if self.changes:
            yield LedgerEntry(
                item=self.item,
                cause=event.event_id,
                cause_type=type(event).__name__,
                source=event.source,
                occurred_at_ms=event.occurred_at_ms,
                recorded_at_ms=event.recorded_at_ms,
                trace_id=event.trace_id,
                note=text,
                changes=self.changes,
            )
            notes += [self._negative(change) for change in self.changes if _crosses_zero(change)]
        yield from notes

    def _check_sums(self, site: str, page: SitePosition) -> None:
        """Raises `Refused` where sums leave what a position can hold."""
        most = max(page.demand, page.reserved, page.backordered, page.supply, *page.on_hand)
        least = min(page.demand, page.reserved, page.backordered, page.supply, *page.on_hand)
        if most > MAX_SUM_MILLI or least < -MAX_SUM_MILLI:
            total = show(most if most > MAX_SUM_MILLI else least)
            raise Refused(
                f"{self.event.event_id} brings {self.item} at {site} to {total}, which is out of range",
                hint="correct the quantity at its source; a count (stock.snapshot) replaces what was wrong before",
            )

    def _is_changed(self, page: SitePosition) -> bool:
        row = page.row
        hand = page.on_hand
        return (
            page.is_rolled
            or page.days is not row.days
            or hand[USABLE] != row.usable_milli
            or hand[STAGED] != row.staged_milli
            or page.backordered != row.backordered_milli
            or page.channels is not row.channels
            or page.expiries is not row.expiries
            or hand[HELD] != row.held_milli
            or hand[QUALITY] != row.quality_milli
            or hand[DAMAGED] != row.damaged_milli
        )

    def _book_changes(self, site: str, page: SitePosition) -> None:
        row, changes = page.row, self.changes
        if page.demand != row.demand_milli:
            changes.append(LedgerChange(site, "demand", None, row.demand_milli, page.demand))
        if page.reserved != row.reserved_milli:
            changes.append(LedgerChange(site, "reserved", None, row.reserved_milli, page.reserved))
        if page.backordered != row.backordered_milli:
            changes.append(LedgerChange(site, "backordered", None, row.backordered_milli, page.backordered))
        if page.supply != row.supply_milli:
            changes.append(LedgerChange(site, "supply", None, row.supply_milli, page.supply))

    def _oversold(self, site: str, short: int) -> ExceptionNoted | ExceptionCleared:
        fingerprint = f"oversold:{self.item}:{site}"
        if not short:
            return cleared(self.event, fingerprint)
        sentence = f"{self.item} at {site} is promised {show(short)} more than there is or will be, since {self.event.event_id}"
        return note(self.event, "oversold", fingerprint, sentence, item=self.item)

    def _negative(self, change: LedgerChange) -> ExceptionNoted | ExceptionCleared:
        status = change.measure.removeprefix("on_hand.")
        fingerprint = f"negative:{self.item}:{change.site}:{status}:{change.lot or ''}"
        if change.after_milli >= 0:
            return cleared(self.event, fingerprint)
        sentence = f"{self.item} at {change.site} ({status}) went to {show(change.after_milli)} by {self.event.event_id}"
        return note(self.event, "negative_balance", fingerprint, sentence, item=self.item)


def zone_of(policy: Policy, tables: PromiseTables, site: str) -> str:
    """A site's calendar: the configured zone, else the ERP's, else UTC."""
    chosen = policy.site(site).timezone
    if chosen is not None:
        return chosen
    row = tables.sites.get((site,))
    return row.timezone if row is not None else "UTC"


def _crosses_zero(change: LedgerChange) -> bool:
    return (change.before_milli < 0) != (change.after_milli < 0) and change.measure.startswith("on_hand.")


def marked(held: tuple[SourceMark, ...], event: Event) -> tuple[SourceMark, ...]:
    """The marks with an event's: a source is marked by the furthest it has been heard, our own flows are not."""
    source = event.source
    if source in _OWN_SOURCES:
        return held
    mark = SourceMark(source, event.source_position, event.occurred_at_ms, event.recorded_at_ms)
    for n, old in enumerate(held):
        if old.source == source:
            return held if furthest(old, mark) is old else (*held[:n], mark, *held[n + 1 :])
    return (*held, mark)


def furthest(old: SourceMark, mark: SourceMark) -> SourceMark:
    """Which of two marks of one source to keep: the higher, unless the lower is so much younger that its positions began anew."""
    if old.position == mark.position:
        return mark
    low, high = (old, mark) if old.position < mark.position else (mark, old)
    is_anew = low.occurred_at_ms > high.occurred_at_ms + CLOCK_MS and low.recorded_at_ms >= high.recorded_at_ms
    return low if is_anew else high


def known_item(tables: PromiseTables, item: str) -> Item | None:
    """The item's master row, if the ERP has it (a deleted one is not known)."""
    row = tables.items.get((item,))
    return None if row is None or row.is_deleted else row


def check_site(tables: PromiseTables, site: str, event_id: str, item: str) -> None:
    """Raises `NotYet` for a site the ERP, which owns them, has not sent (or has deleted): nothing is made there until it does."""
    if not is_known_site(tables, site):
        raise NotYet(
            f"UnknownSite(site={site!r}): the ERP has not sent this site; {event_id} is applied when it does",
            f"site:{site}",
            items=(item,),
        )


def unknown_item(item: str, what: str) -> NotYet:
    """Why an event about the numbers of an item that the ERP has not sent waits. `what`: what becomes of it when it does."""
    return NotYet(f"UnknownItem(item={item!r}): the ERP has not sent this item; {what} when it does", items=(item,))


def is_known_site(tables: PromiseTables, site: str) -> bool:
    """Whether the ERP has sent the site, and has it still."""
    row = tables.sites.get((site,))
    return row is not None and not row.is_deleted
