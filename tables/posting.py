"""Posting: the ERP says that units of a line have shipped, and whoever owns the stock has not said so yet.

Two feeds tell of one shipment, the ERP's order line and the stock's owner: the WMS, or where there is none the ERP's own balance.
If the owner is first, nothing is amiss. If the order line is first, its units stay wanted until the owner has told of them,
or they would be promised again: until the WMS reports the line's pick or shipment or counts the position, or the ERP's balance
has come as far as that commit. After an hour the ERP is believed, and a person told.
"""

from __future__ import annotations

from schemas.inventory import RequestAllocation
from schemas.operations import ExceptionNoted
from tables.book import Book
from tables.notes import note
from tables.promise import Unposted

POSTING_MS = 3_600_000
Key = tuple[str, str, int, str, int]


def await_posting(book: Book, e: RequestAllocation, qty: int, day: int) -> None:
    """Units shipped by the ERP's order line stay wanted on their day, unless the stock's owner must have told of them by now."""
    if e.site is None or qty <= 0 or _is_posted(book, e, e.site):
        return
    key = (e.item, e.site, e.commit_position, e.order_id, e.line)
    held = book.tables.unposted.get(key)
    book.want(e.site, day, e.channel, qty)
    book.tables.unposted[key] = Unposted(qty + (held.qty_milli if held else 0), day, e.channel, e.occurred_at_ms)
    book.deadline(max(book.now_ms, e.occurred_at_ms) + POSTING_MS, "posting", e.site)


def _is_posted(book: Book, e: RequestAllocation, site: str) -> bool:
    if book.policy.site(site).physical_owner == "wms":
        return e.occurred_at_ms + POSTING_MS <= book.now_ms  # history: the warehouse told of it long ago, or never will
    balance = book.tables.erp_balances.get((e.item, site))
    return balance is None or balance.version.commit_position >= e.commit_position or e.commit_position <= 0


def posted(book: Book, site: str, commit_position: int) -> None:
    """The ERP's balance has come this far: shipments up to here are in it, and wanted no more."""
    for key, row in list(book.tables.unposted.under(book.item, site)):
        if key[2] <= commit_position:
            _release(book, key, row, row.qty_milli)


def counted(book: Book, site: str, at_ms: int) -> None:
    """The warehouse counted the position: what had shipped by then is not in the count."""
    for key, row in list(book.tables.unposted.under(book.item, site)):
        if row.shipped_at_ms <= at_ms:
            _release(book, key, row, row.qty_milli)


def told(book: Book, order_id: str, line: int, qty: int) -> None:
    """The warehouse told of so many units of a line (or the ERP took them back)."""
    for key, row in list(book.tables.unposted.under(book.item)):
        if qty > 0 and (key[3], key[4]) == (order_id, line):
            units = min(qty, row.qty_milli)
            _release(book, key, row, units)
            qty -= units


def _release(book: Book, key: Key, row: Unposted, qty: int) -> None:
    book.want(key[1], row.day, row.channel, -qty)
    if qty == row.qty_milli:
        del book.tables.unposted[key]
    else:
        book.tables.unposted[key] = Unposted(row.qty_milli - qty, row.day, row.channel, row.shipped_at_ms)


def posting_overdue(book: Book, site: str) -> ExceptionNoted | None:
    """Shipments the stock's owner has not told of within the hour: the ERP is believed, and a person told."""
    due = [(k, r) for k, r in book.tables.unposted.under(book.item, site) if r.shipped_at_ms + POSTING_MS <= book.now_ms]
    if not due:
        return None
    for key, row in due:
        _release(book, key, row, row.qty_milli)
    orders = ", ".join(sorted({key[3] for key, _ in due}))
    owner = "the warehouse" if book.policy.site(site).physical_owner == "wms" else "its own balance"
    sentence = f"the ERP says units of {book.item} left {site} for {orders}, but {owner} has not shown it within the hour"
    return note(book.event, "reconciliation_difference", f"posting:{book.item}:{site}", sentence, item=book.item)
