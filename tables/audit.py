"""Audit: the first event after which more of an item was promised at a site than there was or was expected, and what it was.

Works from the ledger alone. Promised: open demand of orders and reservations. Available: usable stock (none if it is below zero)
and open supply. Days play no part: what was promised for a day before its supply is the business of the exception `oversold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.frozen import Frozen
from schemas.inventory import LedgerEntry

_CAUSES = {
    "PickShorted": "short_pick",
    "StockAdjusted": "manual_edit",
    "StockCounted": "count",
    "StockMoved": "moved_away",
    "StockStatusChanged": "status_changed",
    "StockReceived": "receipt_reversed",
    "ErpBalanceChanged": "erp_balance",
    "SupplyChanged": "supply_withdrawn",
    "StockPicked": "unpromised_pick",
    "StockShipped": "unpromised_pick",
    "RequestAllocation": "over_promised",
    "ReserveStock": "over_promised",
}


class Oversale(Frozen, frozen=True):
    """A site where promised came to exceed available, by `short_milli` after `cause`. `kind` says what sort of event that was:
    `late_event` if it happened before another that was heard earlier, else by its type. `until_ms`: when it ended, if it has.
    """

    site: str
    kind: str
    cause: str
    cause_type: str
    source: str
    note: str
    occurred_at_ms: int
    recorded_at_ms: int
    promised_milli: int
    available_milli: int
    short_milli: int
    until_ms: int | None


def oversales(entries: Iterable[LedgerEntry], site: str | None = None, at_ms: int | None = None) -> Iterator[Oversale]:
    """Each time a site came to promise more than it had, in the order of the ledger, as of an instant (all of it if none)."""
    sums: dict[str, dict[str, int]] = {}
    newest: dict[str, int] = {}
    open_: dict[str, Oversale] = {}
    done: list[Oversale] = []
    for entry in entries:
        if at_ms is not None and entry.recorded_at_ms > at_ms:
            break
        for name in dict.fromkeys([change.site for change in entry.changes if site in (None, change.site)]):
            held = sums.setdefault(name, {})
            for change in entry.changes:
                if change.site == name:
                    held[change.measure] = held.get(change.measure, 0) + change.after_milli - change.before_milli
            promised = held.get("demand", 0) + held.get("reserved", 0)
            available = max(0, held.get("on_hand.usable", 0)) + held.get("supply", 0)
            before = open_.get(name)
            if promised > available and before is None:
                is_late = entry.occurred_at_ms < newest.get(name, entry.occurred_at_ms)
                open_[name] = _oversale(name, entry, promised, available, is_late=is_late)
            elif promised <= available and before is not None:
                done.append(_ended(open_.pop(name), entry.recorded_at_ms))
            newest[name] = max(newest.get(name, 0), entry.occurred_at_ms)
    yield from sorted([*done, *open_.values()], key=lambda found: (found.recorded_at_ms, found.site))


def _oversale(site: str, entry: LedgerEntry, promised: int, available: int, *, is_late: bool) -> Oversale:
    kind = _CAUSES.get(entry.cause_type, "other")
    return Oversale(
        site=site,
        kind="late_event" if is_late and kind != "over_promised" else kind,
        cause=entry.cause,
        cause_type=entry.cause_type,
        source=entry.source,
        note=entry.note,
        occurred_at_ms=entry.occurred_at_ms,
        recorded_at_ms=entry.recorded_at_ms,
        promised_milli=promised,
        available_milli=available,
        short_milli=promised - available,
        until_ms=None,
    )


def _ended(found: Oversale, at_ms: int) -> Oversale:
    return Oversale(
        found.site,
        found.kind,
        found.cause,
        found.cause_type,
        found.source,
        found.note,
        found.occurred_at_ms,
        found.recorded_at_ms,
        found.promised_milli,
        found.available_milli,
        found.short_milli,
        at_ms,
    )
