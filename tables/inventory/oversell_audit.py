"""Audit: the first event after which more of an item was promised at a site than there was or was expected, and what it was.

Works from the ledger alone, entry by entry, in memory that does not grow with it. Promised: dated demand of orders, and
reservations. Available: usable stock (none if it is below zero) and open supply. The ledger has no days: what was promised for a
day before its supply is the business of the exception `oversold`, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import assert_never

from schemas.frozen import Frozen, replace
from schemas.inventory import LedgerChange, LedgerEntry

PAIRED_MS = 15 * 60_000
"""Units taken away at one site and added at another by the same sort of correction within this time are the same units."""
REMEMBERED = 50
PROVED = "whether all that was promised ever exceeded usable stock and open supply together, after any event of the ledger"
NOT_PROVED = "whether what was promised for a day was there by that day: the exception `oversold` tells that, event by event"


class Cause(StrEnum):
    """Why more came to be promised than there was."""

    RACE = "race"
    LEAD_TIME_FENCE = "lead_time_fence"
    LATE_EVENT = "late_event"
    SHORT_PICK = "short_pick"
    MANUAL_EDIT = "manual_edit"
    WRONG_SITE = "wrong_site"
    COUNT = "count"
    STATUS_CHANGED = "status_changed"
    RECEIPT_REVERSED = "receipt_reversed"
    RECEIVED_UNUSABLE = "received_unusable"
    ERP_BALANCE = "erp_balance"
    SUPPLY_WITHDRAWN = "supply_withdrawn"
    UNPROMISED_PICK = "unpromised_pick"
    OTHER = "other"


OF_TYPE = {
    "PickShorted": Cause.SHORT_PICK,
    "StockAdjusted": Cause.MANUAL_EDIT,
    "StockCounted": Cause.COUNT,
    "StockMoved": Cause.WRONG_SITE,
    "StockStatusChanged": Cause.STATUS_CHANGED,
    "StockReceived": Cause.RECEIPT_REVERSED,
    "ErpBalanceChanged": Cause.ERP_BALANCE,
    "ReviewErpItems": Cause.ERP_BALANCE,
    "ErpItemsNews": Cause.ERP_BALANCE,
    "SupplyChanged": Cause.SUPPLY_WITHDRAWN,
    "StockPicked": Cause.UNPROMISED_PICK,
    "StockShipped": Cause.UNPROMISED_PICK,
}
"""What takes stock or supply away. Where promises grew instead it is a race, whatever the event."""
_CORRECTIONS = (Cause.MANUAL_EDIT, Cause.COUNT, Cause.RECEIPT_REVERSED)


def sentence(cause: Cause) -> str:  # noqa: PLR0912 - a sentence for each, and mypy sees that none is missing
    """The cause in words."""
    match cause:
        case Cause.RACE:
            return "a promise was given for units that were promised already"
        case Cause.LEAD_TIME_FENCE:
            return "a promise was given beyond the lead-time fence, where any quantity may be promised"
        case Cause.LATE_EVENT:
            return "it had happened before the last promise was given, and was heard of after it"
        case Cause.SHORT_PICK:
            return "the picker did not find units that should have been there"
        case Cause.MANUAL_EDIT:
            return "a correction by hand took units away"
        case Cause.WRONG_SITE:
            return "the units stand at another site"
        case Cause.COUNT:
            return "a count found less"
        case Cause.STATUS_CHANGED:
            return "units are usable no longer"
        case Cause.RECEIPT_REVERSED:
            return "a receipt was taken back"
        case Cause.RECEIVED_UNUSABLE:
            return "what was expected has come, but is not usable"
        case Cause.ERP_BALANCE:
            return "the ERP, which owns this stock, says there is less"
        case Cause.SUPPLY_WITHDRAWN:
            return "less is expected from a purchase or transfer line"
        case Cause.UNPROMISED_PICK:
            return "units that were promised to others were picked or shipped"
        case Cause.OTHER:
            return "see the event"
        case _ as never:
            assert_never(never)


class Oversale(Frozen, frozen=True):
    """A site where promised came to exceed available, by `short_milli` after the event `cause`. `kind` says why (see `Cause`).

    `taken_milli`: usable units the event took away. `ended_at_ms`: when it ended, if it has.
    """

    site: str
    kind: Cause
    cause: str
    cause_type: str
    source: str
    note: str
    occurred_at_ms: int
    recorded_at_ms: int
    promised_milli: int
    available_milli: int
    short_milli: int
    taken_milli: int
    ended_at_ms: int | None


class UnitsMoved(Frozen, frozen=True):
    """Units a correction added to a site."""

    site: str
    cause_type: str
    qty_milli: int
    occurred_at_ms: int


class AuditState(Frozen, frozen=True):
    """How far an audit has come: it goes on from here. `sums`: by site and measure.

    `promised_ms`: when a site last promised more.
    `first_gap`: the first event at which the ledger did not begin where it had ended, "" if there is none.
    """

    sums: dict[str, dict[str, int]]
    promised_ms: dict[str, int]
    open: list[Oversale]
    added: list[UnitsMoved]
    events: int = 0
    first_gap: str = ""
    is_over: bool = False


EMPTY = AuditState({}, {}, [], [])


class Audit:
    """Goes through a ledger from its first entry on. `add` returns what ended with the entry; `state.open` is what has not."""

    def __init__(
        self, site: str | None = None, at_ms: int | None = None, *, is_fenced: bool = False, state: AuditState = EMPTY
    ) -> None:
        self._site = site
        self._at_ms = at_ms
        self._is_fenced = is_fenced
        self._sums = {name: dict(held) for name, held in state.sums.items()}
        self._promised_ms = dict(state.promised_ms)
        self._open = {found.site: found for found in state.open}
        self._added = list(state.added)
        self._events = state.events
        self._gap = state.first_gap
        self.is_over = state.is_over

    @property
    def state(self) -> AuditState:
        """To go on from."""
        found = list(self._open.values())
        return AuditState(self._sums, self._promised_ms, found, self._added, self._events, self._gap, self.is_over)

    def add(self, entry: LedgerEntry) -> Iterator[Oversale]:
        """The next entry. After one recorded later than the instant asked for the audit is over."""
        if self.is_over or (self._at_ms is not None and entry.recorded_at_ms > self._at_ms):
            self.is_over = True
            return
        self._events += 1
        names = dict.fromkeys([change.site for change in entry.changes])
        for name in names:
            if self._site in (None, name):
                yield from self._of_site(name, entry)
        self._pair(entry)

    def _of_site(self, name: str, entry: LedgerEntry) -> Iterator[Oversale]:
        held = self._sums.setdefault(name, {})
        was_promised, was_available = _promised(held), _available(held)
        was_usable = held.get("on_hand.usable", 0)
        for change in entry.changes:
            if change.site == name:
                self._check(held, change, entry)
                held[change.measure] = held.get(change.measure, 0) + change.after_milli - change.before_milli
        promised, available = _promised(held), _available(held)
        known = self._open.get(name)
        if promised > available and known is None:
            taken = was_usable - held.get("on_hand.usable", 0)
            is_promise = promised > was_promised and available >= was_available
            kind = self._kind(name, entry, taken, is_promise=is_promise)
            self._open[name] = _oversale(name, kind, entry, (promised, available), taken)
        elif promised <= available and known is not None:
            yield replace(self._open.pop(name), ended_at_ms=entry.recorded_at_ms)
        if promised > was_promised:
            self._promised_ms[name] = max(self._promised_ms.get(name, 0), entry.recorded_at_ms)

    def _check(self, held: dict[str, int], change: LedgerChange, entry: LedgerEntry) -> None:
        """Sums that have no lots begin where they ended; else entries are missing, and nothing is proved."""
        is_sum = not change.measure.startswith("on_hand.")
        if is_sum and change.before_milli != held.get(change.measure, 0) and not self._gap:
            self._gap = entry.cause

    def _kind(self, name: str, entry: LedgerEntry, taken: int, *, is_promise: bool) -> Cause:
        if is_promise:
            return Cause.LEAD_TIME_FENCE if self._is_fenced else Cause.RACE
        kind = OF_TYPE.get(entry.cause_type, Cause.OTHER)
        if kind is Cause.RECEIPT_REVERSED and taken <= 0:
            return Cause.RECEIVED_UNUSABLE
        if kind in _CORRECTIONS and self._stands_elsewhere(name, entry, taken):
            return Cause.WRONG_SITE
        return Cause.LATE_EVENT if entry.occurred_at_ms < self._promised_ms.get(name, entry.occurred_at_ms) else kind

    def _stands_elsewhere(self, name: str, entry: LedgerEntry, taken: int) -> bool:
        return any(
            added.site != name and added.qty_milli == taken > 0 and _is_pair(added, entry.cause_type, entry.occurred_at_ms)
            for added in self._added
        )

    def _pair(self, entry: LedgerEntry) -> None:
        """What the same sort of correction adds elsewhere, it took away here."""
        if OF_TYPE.get(entry.cause_type) not in _CORRECTIONS:
            return
        for change in entry.changes:
            more = change.after_milli - change.before_milli
            if change.measure != "on_hand.usable" or more <= 0:
                continue
            added = UnitsMoved(change.site, entry.cause_type, more, entry.occurred_at_ms)
            self._added = [*self._added, added][-REMEMBERED:]
            for site, found in self._open.items():
                is_same = found.taken_milli == more and _is_pair(added, found.cause_type, found.occurred_at_ms)
                if site != added.site and is_same:
                    self._open[site] = replace(found, kind=Cause.WRONG_SITE)


def _is_pair(added: UnitsMoved, cause_type: str, occurred_at_ms: int) -> bool:
    return added.cause_type == cause_type and abs(added.occurred_at_ms - occurred_at_ms) <= PAIRED_MS


def _promised(held: dict[str, int]) -> int:
    return held.get("demand", 0) + held.get("reserved", 0)


def _available(held: dict[str, int]) -> int:
    return max(0, held.get("on_hand.usable", 0)) + held.get("supply", 0)


def _oversale(site: str, kind: Cause, entry: LedgerEntry, sums: tuple[int, int], taken: int) -> Oversale:
    promised, available = sums
    return Oversale(
        site=site,
        kind=kind,
        cause=entry.cause,
        cause_type=entry.cause_type,
        source=entry.source,
        note=entry.note,
        occurred_at_ms=entry.occurred_at_ms,
        recorded_at_ms=entry.recorded_at_ms,
        promised_milli=promised,
        available_milli=available,
        short_milli=promised - available,
        taken_milli=max(0, taken),
        ended_at_ms=None,
    )
