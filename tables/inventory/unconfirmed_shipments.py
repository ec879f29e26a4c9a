"""Posting: the ERP says that units of a line have shipped, and whoever owns the stock has not said so yet.

Two feeds tell of one shipment, the ERP's order line and the stock's owner: the WMS, or where there is none the ERP's own balance.
If the owner is first, nothing is amiss. If the order line is first, its units stay wanted until the owner has told of them,
or they would be promised again: until the WMS reports the line's pick or shipment or counts the position, or the ERP's balance
has come as far as that commit. After an hour the ERP is believed, and a person told.
"""

from __future__ import annotations

from schemas.frozen import replace
from schemas.inventory import RequestAllocation
from schemas.operations import ExceptionNoted
from tables.common.raise_exception import note
from tables.inventory.item_ledger import ItemLedger
from tables.inventory.state import Marker, Unposted

POSTING_MS = 3_600_000
_FOREVER_MS = 2**62
_MARKER = Marker()
Key = tuple[str, str, int, str, int]


def await_posting(ledger: ItemLedger, e: RequestAllocation, qty: int, day: int) -> None:
    """Units shipped by the ERP's order line stay wanted on their day, unless the stock's owner must have told of them by now."""
    if e.site is None or qty <= 0 or _is_posted(ledger, e, e.site):
        return
    key = (e.item, e.order_id, e.line, e.site, e.commit_position)
    current = ledger.tables.unposted.get(key)
    ledger.want(e.site, day, e.channel, qty)
    _keep(ledger, key, current, Unposted(qty + (current.qty_milli if current else 0), day, e.channel, e.occurred_at_ms))
    ledger.deadline(max(ledger.now_ms, e.occurred_at_ms) + POSTING_MS, "posting", e.site)


def _is_posted(ledger: ItemLedger, e: RequestAllocation, site: str) -> bool:
    if ledger.policy.site(site).physical_owner == "wms":
        return e.occurred_at_ms + POSTING_MS <= ledger.now_ms  # history: the warehouse told of it long ago, or never will
    balance = ledger.tables.erp_balances.get((e.item, site))
    return balance is None or balance.version.commit_position >= e.commit_position or e.commit_position <= 0


def posted(ledger: ItemLedger, site: str, commit_position: int) -> None:
    """The ERP's balance has come this far: shipments up to here are in it, and wanted no more."""
    found = ledger.tables.unposted_commits.range((ledger.item, site, -1, "", 0), (ledger.item, site, commit_position + 1, "", 0))
    for _, _, commit, order_id, line in [key for key, _ in found]:
        key = (ledger.item, order_id, line, site, commit)
        row = ledger.tables.unposted[key]
        _release(ledger, key, row, row.qty_milli)


def counted(ledger: ItemLedger, site: str, at_ms: int) -> None:
    """The warehouse counted the position: what had shipped by then is not in the count."""
    for key, row in _shipped_by(ledger, site, at_ms):
        _release(ledger, key, row, row.qty_milli)


def reported(ledger: ItemLedger, order_id: str, line: int, qty: int) -> None:
    """The warehouse told of so many units of a line (or the ERP took them back)."""
    if qty <= 0:
        return
    for key, row in list(ledger.tables.unposted.under(ledger.item, order_id, line)):
        units = min(qty, row.qty_milli)
        _release(ledger, key, row, units)
        qty -= units
        if not qty:
            return


def _shipped_by(ledger: ItemLedger, site: str, at_ms: int) -> list[tuple[Key, Unposted]]:
    """What had shipped from the site by an instant and waits for its owner's word."""
    found = ledger.tables.unposted_times.range(
        (ledger.item, site, -_FOREVER_MS, "", 0, 0), (ledger.item, site, at_ms + 1, "", 0, 0)
    )
    keys: list[Key] = [(ledger.item, key[3], key[4], site, key[5]) for key, _ in found]
    return [(key, ledger.tables.unposted[key]) for key in keys]


def _keep(ledger: ItemLedger, key: Key, old: Unposted | None, new: Unposted | None) -> None:
    """A row with its places in the indexes, by commit and by instant."""
    t = ledger.tables
    item, order_id, line, site, commit = key
    if old is not None and (new is None or new.shipped_at_ms != old.shipped_at_ms):
        del t.unposted_times[(item, site, old.shipped_at_ms, order_id, line, commit)]
    if new is None:
        del t.unposted[key]
        del t.unposted_commits[(item, site, commit, order_id, line)]
        return
    if old is None:
        t.unposted_commits[(item, site, commit, order_id, line)] = _MARKER
    if old is None or new.shipped_at_ms != old.shipped_at_ms:
        t.unposted_times[(item, site, new.shipped_at_ms, order_id, line, commit)] = _MARKER
    t.unposted[key] = new


def _release(ledger: ItemLedger, key: Key, row: Unposted, qty: int) -> None:
    ledger.want(key[3], row.day, row.channel, -qty)
    left = None if qty == row.qty_milli else replace(row, qty_milli=row.qty_milli - qty)
    _keep(ledger, key, row, left)


def posting_overdue(ledger: ItemLedger, site: str) -> ExceptionNoted | None:
    """Shipments the stock's owner has not told of within the hour: the ERP is believed, and a person told."""
    due = _shipped_by(ledger, site, ledger.now_ms - POSTING_MS)
    if not due:
        return None
    for key, row in due:
        _release(ledger, key, row, row.qty_milli)
    orders = ", ".join(sorted({key[1] for key, _ in due}))
    owner = "the warehouse" if ledger.policy.site(site).physical_owner == "wms" else "its own balance"
    sentence = f"the ERP says units of {ledger.item} left {site} for {orders}, but {owner} has not shown it within the hour"
    return note(ledger.event, "reconciliation_difference", f"posting:{ledger.item}:{site}", sentence, item=ledger.item)
