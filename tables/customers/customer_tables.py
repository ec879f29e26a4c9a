"""The ERP's customer master as a whole: truncated, or read anew: customers of before are gone, as if each had been deleted."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.customers import CustomerChanged, ErpCustomersNews, ReviewErpCustomers
from schemas.errors import AlreadyApplied
from tables.common.cdc_rows import caused_by
from tables.common.cdc_tables import HISTORY, check_table, gone, is_gone, next_rows, noted
from tables.common.cdc_unread import count, counted, start_count
from tables.customers.customer_events import customer_changed as customer_kept
from tables.customers.emits import CustomerEmit
from tables.customers.state import CustomerTables


def customer_changed(own: str, t: CustomerTables, e: CustomerChanged) -> Iterator[CustomerEmit]:
    """The ERP's row of a customer changed. `own`: see `tables.customers.credit`."""
    yield from counted(t.erp_tables, "customer", t.customers, (e.customer,), e, customer_kept(own, t, e))


def erp_customers_news(t: CustomerTables, e: ErpCustomersNews) -> Iterator[CustomerEmit]:
    """Note the news; a truncated table's rows are worked off from the first on."""
    check_table(("customer",), e)
    noted(t.erp_tables, ("customer",), e)
    found, _ = next_rows(t.customers, "")
    if e.what == HISTORY:
        start_count(t.erp_tables, "customer", found)
    if found:
        yield _review(e, found[0][0][0])


def review_erp_customers(own: str, t: CustomerTables, e: ReviewErpCustomers) -> Iterator[CustomerEmit]:
    """Look at the next customers: count those not read again, delete those that are gone.

    `own`: see `tables.customers.credit`.
    """
    check_table(("customer",), e)
    found, after = next_rows(t.customers, e.customer)
    table = t.erp_tables.get((e.table,))
    if e.what == HISTORY:
        yield from count(t.erp_tables, e, e.customer, found, after)
    for key, row in found:
        if e.what != HISTORY and not row.is_deleted and is_gone(row.version, e, table):
            try:
                yield from customer_changed(own, t, gone(CustomerChanged, e, row.version, table, customer=key[0]))
            except AlreadyApplied:
                continue
    if after is not None:
        yield _review(e, after)


def _review(e: ErpCustomersNews | ReviewErpCustomers, customer: str) -> ReviewErpCustomers:
    return ReviewErpCustomers(
        **caused_by(e, f"erp:customer:{e.what}:{e.source_position}:{e.part}:{customer}"),
        table="customer",
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        part=e.part,
        customer=customer,
    )
