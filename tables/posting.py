"""Posting: at a site whose stock the ERP owns, a shipment and the balance it lowers are told by two rows, one maybe first.

If the balance comes first, less is promised for a moment, which harms nobody. If the order line comes first, its units stay
wanted until the balance has come as far: both carry the position of their commit.
"""

from __future__ import annotations

from schemas.inventory import RequestAllocation
from schemas.operations import ExceptionNoted
from tables.book import Book
from tables.notes import note
from tables.promise import Unposted

POSTING_MS = 3_600_000


def await_posting(book: Book, e: RequestAllocation, qty: int, day: int) -> None:
    """Units shipped by the ERP's order line stay wanted on their day, unless its balance has come as far already."""
    assert e.site is not None
    balance = book.tables.erp_balances.get((e.item, e.site))
    if qty <= 0 or balance is None or balance.version.commit_position >= e.commit_position or e.commit_position <= 0:
        return
    key = (e.item, e.site, e.commit_position, e.order_id, e.line)
    held = book.tables.unposted.get(key)
    book.want(e.site, day, e.channel, qty)
    book.tables.unposted[key] = Unposted(qty + (held.qty_milli if held else 0), day, e.channel)
    book.deadline(book.now_ms + POSTING_MS, "posting", e.site)


def posted(book: Book, site: str, commit_position: int) -> None:
    """The ERP's balance has come this far: shipments up to here are in it, and wanted no more."""
    for key, row in list(book.tables.unposted.under(book.item, site)):
        if key[2] <= commit_position:
            book.want(site, row.day, row.channel, -row.qty_milli)
            del book.tables.unposted[key]


def posting_overdue(book: Book, site: str) -> ExceptionNoted | None:
    """A shipment without its balance change: after a while the balance is believed, and a person told."""
    waiting = list(book.tables.unposted.under(book.item, site))
    if not waiting:
        return None
    posted(book, site, max(key[2] for key, _ in waiting))
    orders = ", ".join(sorted({key[3] for key, _ in waiting}))
    sentence = f"the ERP says units of {book.item} left {site} for {orders}, but its balance did not change within the hour"
    fingerprint = f"posting:{book.item}:{site}"
    return note(book.event, "reconciliation_difference", fingerprint, sentence, item=book.item)
