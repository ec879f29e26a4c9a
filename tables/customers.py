"""Customers: the ERP's master rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from schemas.customers import CustomerChanged
from tables.erp_rows import accept, merged_extra, unless_equal
from tables.table import Table
from tables.versions import Version


@dataclass(frozen=True, slots=True)
class Customer:
    """The customer master's row (see `schemas.customers.CustomerChanged`). A deleted customer keeps its last facts."""

    version: Version
    is_deleted: bool
    name: str
    tax_id: str | None
    email: str | None
    credit_limit: Decimal | None
    credit_hold: bool
    terms: str
    price_list: str
    status: str
    extra: dict[str, str]


@dataclass(slots=True)
class CustomerTables:
    """All tables of the customers fold."""

    customers: Table[tuple[str], Customer]  # customer


def customer_changed(t: CustomerTables, e: CustomerChanged) -> Iterator[Any]:
    """Keeps the customer's row, newest wins."""
    held = t.customers.get((e.customer,))
    row = Customer(
        version=accept(held, e),
        is_deleted=e.is_deleted,
        name=e.name,
        tax_id=e.tax_id,
        email=e.email,
        credit_limit=e.credit_limit,
        credit_hold=e.credit_hold,
        terms=e.terms,
        price_list=e.price_list,
        status=e.status,
        extra=merged_extra(held, e),
    )
    if e.is_deleted and held is not None:
        row = replace(held, version=row.version, is_deleted=True)
    unless_equal(held, row, e)
    t.customers[(e.customer,)] = row
    yield from ()
