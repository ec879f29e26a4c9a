"""Customers: the ERP's master rows (inbox keyed by customer)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from schemas.base import ErpRow


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerChanged(ErpRow):
    """The customer master's row. `terms` as the ERP keeps it (blank-padded). `credit_limit` none: no limit set."""

    customer: str
    name: str
    tax_id: str | None
    email: str | None
    credit_limit: Decimal | None
    credit_hold: bool
    terms: str
    price_list: str
    status: str
