"""The customers fold: the ERP's customer master, the CRM's contact facts, the credit of orders, and customers that are alike."""

from __future__ import annotations

from functools import partial

from schemas import customers as say
from schemas.topics import CUSTOMER_INBOX, CUSTOMERS
from streams.engine.flow import Fold
from tables import credit, customer_rules, duplicates, erp_customers
from tables.customers import CustomerTables


def customers_fold(credit_currency: str = "") -> Fold[CustomerTables]:
    """The fold of a distributor. `credit_currency`: of the ERP's credit limits, where a customer's row does not say it."""
    fold = Fold(CUSTOMERS, inbox=CUSTOMER_INBOX, tables=CustomerTables)
    fold.on(say.CustomerChanged)(partial(erp_customers.customer_changed, credit_currency))
    fold.on(say.ErpCustomersNews)(erp_customers.erp_customers_news)
    fold.on(say.ReviewErpCustomers)(partial(erp_customers.review_erp_customers, credit_currency))
    fold.on(say.CustomerProposed)(customer_rules.customer_proposed)
    fold.on(say.CustomerLikeness)(duplicates.customer_likeness)
    fold.on(say.RequestCredit)(partial(credit.request_credit, credit_currency))
    fold.on(say.ReviewCredit)(partial(credit.review_credit, credit_currency))
    return fold


customers = customers_fold()
"""The fold of one whose credit limits say their currency, or are in that of the orders."""
