"""The customers fold: the ERP's customer master, the CRM's contact facts, the credit of orders, and customers that are alike."""

from __future__ import annotations

from schemas import customers as say
from schemas.topics import CUSTOMER_INBOX, CUSTOMERS
from streams.engine.flow import Fold
from tables import credit, customer_rules, duplicates, erp_customers
from tables.customers import CustomerTables

customers = Fold(CUSTOMERS, inbox=CUSTOMER_INBOX, tables=CustomerTables)

customers.on(say.CustomerChanged)(customer_rules.customer_changed)
customers.on(say.ErpCustomersNews)(erp_customers.erp_customers_news)
customers.on(say.ReviewErpCustomers)(erp_customers.review_erp_customers)
customers.on(say.CustomerProposed)(customer_rules.customer_proposed)
customers.on(say.CustomerLikeness)(duplicates.customer_likeness)
customers.on(say.RequestCredit)(credit.request_credit)
customers.on(say.ReviewCredit)(credit.review_credit)
