"""Rules about a customer itself: the ERP's row changes, the CRM says something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.customers import CustomerChanged, CustomerProposed
from schemas.frozen import replace
from tables.common.cdc_rows import accept, merged_extra, unless_equal
from tables.customers.credit import review
from tables.customers.crm_facts import keep_facts, note_conflicts
from tables.customers.duplicates import note_likenesses
from tables.customers.emits import CustomerEmit
from tables.customers.state import Customer, CustomerTables


def customer_changed(own: str, t: CustomerTables, e: CustomerChanged) -> Iterator[CustomerEmit]:
    """Keeps the customer's row, newest wins; held orders, conflicts and likenesses are looked at with it.

    `own`: see `tables.customers.credit`.
    """
    current = t.customers.get((e.customer,))
    row = Customer(
        version=accept(current, e, t.erp_tables.get(("customer",))),
        is_deleted=e.is_deleted,
        name=e.name,
        tax_id=e.tax_id,
        email=e.email,
        credit_limit=e.credit_limit,
        credit_hold=e.credit_hold,
        terms=e.terms,
        price_list=e.price_list,
        status=e.status,
        extra=merged_extra(current, e),
        credit_currency=e.credit_currency,
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.customers[(e.customer,)] = row
    if current is None or _credit(current) != _credit(row):
        yield from review(own, t, e.customer, e, is_whole=True)
    yield from note_conflicts(t, e.customer, e)
    yield from note_likenesses(t, e.customer, e)


def customer_proposed(t: CustomerTables, e: CustomerProposed) -> Iterator[CustomerEmit]:
    """Keeps what is the CRM's to say, and tells where it contradicts the ERP."""
    keep_facts(t, e)
    yield from note_conflicts(t, e.customer, e)
    yield from note_likenesses(t, e.customer, e)


def _credit(row: Customer) -> tuple[Any, ...]:
    return row.is_deleted, row.status, row.credit_hold, row.credit_limit, row.credit_currency, row.terms, row.price_list
