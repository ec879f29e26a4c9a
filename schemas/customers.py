"""Customers: the ERP's master rows, what the CRM proposes, and what orders ask of credit (inbox keyed by customer)."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import ErpRow, ErpRowsReview, ErpTableNews, Event


class CustomerChanged(ErpRow, frozen=True, kw_only=True):
    """The customer master's row. `terms` as the ERP keeps it (blank-padded). `credit_limit` none: no limit set.

    `credit_currency`: the limit's, "" if the ERP does not say it.
    """

    customer: str
    name: str
    tax_id: str | None
    email: str | None
    credit_limit: Decimal | None
    credit_hold: bool
    terms: str
    price_list: str
    status: str
    credit_currency: str = ""


class ErpCustomersNews(ErpTableNews, frozen=True, kw_only=True):
    """News of customer."""


class ReviewErpCustomers(ErpRowsReview, frozen=True, kw_only=True):
    """Go on with `customer` and the customers behind it."""

    customer: str


class CustomerProposed(Event, frozen=True, kw_only=True):
    """What the CRM says of a customer: `facts` by field, as text. Contact and address are its to say, the rest is the ERP's."""

    customer: str
    facts: dict[str, str]


class CustomerLikeness(Event, frozen=True, kw_only=True):
    """The customers fold's note to itself, keyed by `likeness` (`tax:...`, `name:...`): a customer has it, or has it no more.

    `address`: normalised, "" if none is known; customers of one name at different addresses are not alike. `source_position`
    counts the customer's notes.
    """

    likeness: str
    customer: str
    name: str
    address: str
    is_gone: bool


class RequestCredit(Event, frozen=True, kw_only=True):
    """An order's open amount, absolute. `revision` rises with each change; answered by `CreditAnswered`.

    `is_closed`: nothing of the order is open any more, and its amount is 0; an open order without prices has amount 0 too.
    `is_released`: a person lets the order go on in spite of the customer's credit; it is granted, and counts.
    `currency`: the amount's, "" if nobody says it; of prices in several, all of them, joined by "+": then the amount is a plain
    sum, and nothing can be compared with it.
    """

    customer: str
    order_id: str
    revision: int
    amount: Decimal
    is_closed: bool = False
    is_released: bool = False
    currency: str = ""


class ReviewCredit(Event, frozen=True, kw_only=True):
    """The customers fold's note to itself: go on with the customer's held orders after the place `after`.

    `is_whole`: facts of the customer changed, so each held order is judged anew, not only those that may fit now.
    """

    customer: str
    after: int
    is_whole: bool
