"""The customers fold: the ERP's customer master, the CRM's contact facts, the credit of orders, and customers that are alike."""

from __future__ import annotations

from functools import partial

from schemas import customers as say
from schemas.topics import CUSTOMER_INBOX, CUSTOMERS
from streams.engine.flow import Fold
from tables.customers import credit, customer_events, customer_tables, duplicates
from tables.customers.state import CustomerTables


def customers_fold(credit_currency: str = "") -> Fold[CustomerTables]:
    """The fold of a distributor. `credit_currency`: of the ERP's credit limits, where a customer's row does not say it."""
    fold = Fold(CUSTOMERS, inbox=CUSTOMER_INBOX, tables=CustomerTables)
    fold.on(say.CustomerChanged)(partial(customer_tables.customer_changed, credit_currency))
    fold.on(say.ErpCustomersNews)(customer_tables.erp_customers_news)
    fold.on(say.ReviewErpCustomers)(partial(customer_tables.review_erp_customers, credit_currency))
    fold.on(say.CustomerProposed)(customer_events.customer_proposed)
    fold.on(say.CustomerLikeness)(duplicates.customer_likeness)
    fold.on(say.RequestCredit)(partial(credit.request_credit, credit_currency))
    fold.on(say.ReviewCredit)(partial(credit.review_credit, credit_currency))
    return fold


customers = customers_fold()
"""The fold of one whose credit limits say their currency, or are in that of the orders."""
