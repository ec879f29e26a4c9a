"""The customers fold: the ERP's customer master."""

from __future__ import annotations

from schemas.customers import CustomerChanged
from schemas.topics import CUSTOMER_INBOX, CUSTOMERS
from streams.engine.flow import Fold
from tables.customers import CustomerTables, customer_changed

customers = Fold(CUSTOMERS, inbox=CUSTOMER_INBOX, tables=CustomerTables)

customers.on(CustomerChanged)(customer_changed)
