"""A truncated customer master: its customers are gone, as if each had been deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.customers import CustomerChanged, ErpCustomersNews, ReviewErpCustomers
from schemas.errors import AlreadyApplied
from tables.customer_rules import customer_changed
from tables.customers import CustomerTables
from tables.erp_rows import caused_by
from tables.erp_tables import HISTORY, began, check_table, gone, is_cut, next_rows, truncated


def erp_customers_news(t: CustomerTables, e: ErpCustomersNews) -> Iterator[Any]:
    """Note the news; a truncated table's rows are worked off from the first on."""
    check_table(("customer",), e)
    if e.what == HISTORY:
        began(t.erp_tables, ("customer",), e)
        return
    e = truncated(t.erp_tables, e)
    found, _ = next_rows(t.customers, "")
    if found:
        yield _review(e, found[0][0][0])


def review_erp_customers(own: str, t: CustomerTables, e: ReviewErpCustomers) -> Iterator[Any]:
    """Delete the next customers that are from before the truncation. `own`: see `tables.credit`."""
    check_table(("customer",), e)
    found, after = next_rows(t.customers, e.customer)
    whole = t.erp_tables.get((e.table,))
    for key, row in found:
        if not row.is_deleted and is_cut(row.version, e, whole):
            try:
                yield from customer_changed(own, t, gone(CustomerChanged, e, row.version, whole, customer=key[0]))
            except AlreadyApplied:
                continue
    if after is not None:
        yield _review(e, after)


def _review(e: ErpCustomersNews | ReviewErpCustomers, customer: str) -> ReviewErpCustomers:
    return ReviewErpCustomers(
        **caused_by(e, f"erp:{e.table}:{e.what}:{e.source_position}:{customer}"),
        table=e.table,
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        customer=customer,
    )
