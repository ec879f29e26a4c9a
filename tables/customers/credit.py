"""Credit: which of a customer's open orders may go on.

An order is granted if the customer is known, active and not on hold, and its amount and those granted before stay within the
limit. What is granted stays granted, whatever becomes of the customer, unless its own amount rises. What is held takes nothing
of the limit, and is granted, oldest first, as soon as it may. An order of amount 0 (none of its lines has a price) is judged
like any other, until it is closed.

Amounts add up in one currency only. Where credit is limited, an order in another one than those that go on, or in several, cannot
be compared and is held; one that a person releases does not stand in the way of others. Nor is an order compared with a limit in
another currency: that is what the ERP says of the limit, else `own`, the currency the distributor keeps its limits in ("": it
does not say, and a limit is taken to be in the currency of the orders).

No event looks at all orders of a customer: sums are kept, held orders are reviewed in steps, and only if the least of them fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from schemas.base import Event
from schemas.customers import RequestCredit, ReviewCredit
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.orders import CreditAnswered
from schemas.topics import CUSTOMERS
from tables.common.money import EXACT, shown
from tables.customers.emits import CustomerEmit
from tables.customers.state import Account, CreditDecision, Customer, CustomerTables, Funds, QueuedOrder

STEP = 100
_NONE = Decimal(0)
_LAST = 2**62
_NO_ACCOUNT = Account(0, 0)
_NO_FUNDS = Funds(_NONE, _NONE, 0, 0)


def request_credit(own: str, t: CustomerTables, e: RequestCredit) -> Iterator[CustomerEmit]:
    """Judge an order's amount and answer; what it gives back may let others go on."""
    current = t.credits.get((e.customer, e.order_id))
    if current is not None and e.revision <= current.revision:
        raise AlreadyApplied(f"{e.event_id}: order {e.order_id} has asked with revision {current.revision} already")
    currency = current.currency if current else e.currency
    before = _funds(t, e.customer, currency)
    place = current.place if current else (t.accounts.get((e.customer,)) or _NO_ACCOUNT).asked + 1
    answer = current.answer + 1 if current else 1
    new = CreditDecision(e.revision, e.amount, False, "", "", "", "", answer, place, e.is_closed, e.currency, e.is_released)
    stays = e.is_closed or (current is not None and _is_no_more(current, e))
    _drop(t, e.customer, e.order_id, current)
    reason, sentence = ("", "") if stays or e.is_released else _verdict(own, t, e.customer, new)
    new = _told(t, e.customer, new, reason, sentence)
    _add(t, e.customer, e.order_id, new)
    yield _answer(t, e, e.customer, e.order_id, new)
    now = _funds(t, e.customer, currency)
    if now.granted_amount < before.granted_amount or now.counted < before.counted:
        yield from review(own, t, e.customer, e, is_whole=False)


def _is_no_more(current: CreditDecision, e: RequestCredit) -> bool:
    """Whether what is asked for was granted already."""
    is_same = current.currency == e.currency or e.amount == 0
    return current.is_granted and not current.is_closed and e.amount <= current.amount and is_same


def review_credit(own: str, t: CustomerTables, e: ReviewCredit) -> Iterator[CustomerEmit]:
    """Go on where the last step ended."""
    yield from review(own, t, e.customer, e, is_whole=e.is_whole, after=e.after)


def review(own: str, t: CustomerTables, customer: str, cause: Event, *, is_whole: bool, after: int = 0) -> Iterator[CustomerEmit]:
    """Judge held orders anew, oldest first, a bounded number. `is_whole`: all, for the customer's facts have changed."""
    place = after
    queue = t.waiting.range((customer, after + 1, ""), (customer, _LAST, ""))
    for key, _ in list(islice(queue, STEP)):
        if not is_whole and not _any_may_fit(own, t, customer):
            return
        _, place, order_id = key
        current = t.credits[(customer, order_id)]
        reason, sentence = _verdict(own, t, customer, current)
        new = _told(t, customer, replace(current, answer=current.answer + 1), reason, sentence)
        if new != replace(current, answer=new.answer, sentence=new.sentence):  # the same in other words is no news
            _drop(t, customer, order_id, current)
            _add(t, customer, order_id, new)
            yield _answer(t, cause, customer, order_id, new)
    if next(t.waiting.range((customer, place + 1, ""), (customer, _LAST, "")), None) is not None and place != after:
        yield ReviewCredit(
            **_header(cause, f"credit:{customer}:review:{place}:{cause.trace_id}", place),
            customer=customer,
            after=place,
            is_whole=is_whole,
        )


def _verdict(own: str, t: CustomerTables, customer: str, asked: CreditDecision) -> tuple[str, str]:
    """Why an order is held, and in words; ("", "") if it is not. It is not among those that go on."""
    row = t.customers.get((customer,))
    if row is None:
        return "unknown_customer", f"Customer {customer} is not known: the ERP has not sent it. The order goes on when it does."
    who = f"Customer {customer} ({row.name.strip()})"
    if row.is_deleted:
        return "customer_inactive", f"{who} was deleted in the ERP."
    if not row.is_active:
        return "customer_inactive", f"{who} has status {row.status.strip()!r} in the ERP, so it may not order."
    if row.credit_hold:
        return "credit_hold", f"{who} is on credit hold in the ERP."
    if row.credit_limit is None or asked.amount == 0:
        return "", ""
    kept_in = row.credit_currency or own
    limit = f"{who} has a credit limit of {' '.join([shown(row.credit_limit), kept_in]).strip()}"
    currency = asked.currency.replace("+", " and ")
    if currency != asked.currency:
        return "credit_currency", f"{limit}; the prices of this order are in {currency}, which do not add up."
    if kept_in not in ("", currency):
        return "credit_currency", f"{limit}; this order is {_in(currency)}: they cannot be compared."
    other = _another_currency(t, customer, asked.currency)
    if other is not None:
        theirs, mine = _in(other), _in(currency)
        return "credit_currency", f"{limit}; its orders that go on are {theirs} and this one is {mine}: they do not add up."
    granted = _funds(t, customer, asked.currency).granted_amount
    if not _fits(row, asked.amount, granted):
        amount = shown(asked.amount)
        return "credit_limit", f"{limit}; its orders that go on take {shown(granted)} of it, and this one is {amount}."
    return "", ""


def _in(currency: str) -> str:
    return f"in {currency}" if currency else "in a currency nobody says"


def _another_currency(t: CustomerTables, customer: str, currency: str) -> str | None:
    """One that orders which go on are in, but for those a person released."""
    for (_, other), funds in t.funds.under(customer):
        if other != currency and funds.counted:
            return other
    return None


def _fits(row: Customer, amount: Decimal, granted: Decimal) -> bool:
    return row.credit_limit is None or amount == 0 or _more(granted, amount) <= row.credit_limit


def _any_may_fit(own: str, t: CustomerTables, customer: str) -> bool:
    row = t.customers.get((customer,))
    if row is None or not row.is_active or row.credit_hold:
        return False
    kept_in = row.credit_currency or own
    for (_, currency), funds in t.funds.under(customer):
        if row.credit_limit is not None and kept_in not in ("", currency):
            continue
        least = next(t.waiting_by_amount.under(customer, currency), None)
        if least is None or not _fits(row, Decimal(least[0][2]), funds.granted_amount):
            continue
        if row.credit_limit is None or ("+" not in currency and _another_currency(t, customer, currency) is None):
            return True
    return False


def _told(t: CustomerTables, customer: str, credit: CreditDecision, reason: str, sentence: str) -> CreditDecision:
    row = t.customers.get((customer,))
    return replace(
        credit,
        is_granted=reason == "",
        reason=reason,
        sentence=sentence,
        terms=row.terms.strip() if row else "",
        price_list=row.price_list if row else "",
    )


def _funds(t: CustomerTables, customer: str, currency: str) -> Funds:
    return t.funds.get((customer, currency)) or _NO_FUNDS


def _drop(t: CustomerTables, customer: str, order_id: str, old: CreditDecision | None) -> None:
    """Take an order out of the sums and the queue."""
    if old is None:
        return
    _count(t, customer, old, -1)
    if not old.is_granted:
        del t.waiting[(customer, old.place, order_id)]
        del t.waiting_by_amount[(customer, old.currency, _units(old.amount), old.place, order_id)]


def _add(t: CustomerTables, customer: str, order_id: str, new: CreditDecision) -> None:
    """The order's row, and with it the sums and the queue."""
    _count(t, customer, new, 1)
    if not new.is_granted:
        t.waiting[(customer, new.place, order_id)] = QueuedOrder(new.amount)
        t.waiting_by_amount[(customer, new.currency, _units(new.amount), new.place, order_id)] = QueuedOrder(new.amount)
    t.credits[(customer, order_id)] = new


def _count(t: CustomerTables, customer: str, credit: CreditDecision, by: int) -> None:
    """An order more in the sums, or (by -1) one less."""
    account = t.accounts.get((customer,)) or _NO_ACCOUNT
    held = account.held + (0 if credit.is_granted else by)
    t.accounts[(customer,)] = Account(held, max(account.asked, credit.place))
    if credit.is_closed:
        return
    funds = _funds(t, customer, credit.currency)
    add = _more if by > 0 else _less
    is_counted = credit.is_granted and credit.amount != 0 and not credit.is_released
    row = Funds(
        add(funds.open_amount, credit.amount),
        add(funds.granted_amount, _taken(credit)),
        funds.orders + by,
        funds.counted + (by if is_counted else 0),
    )
    if row.orders:
        t.funds[(customer, credit.currency)] = row
    else:
        del t.funds[(customer, credit.currency)]


def _taken(credit: CreditDecision) -> Decimal:
    return credit.amount if credit.is_granted else _NONE


def _units(amount: Decimal) -> int:
    """Not more than the amount, and small enough for a key."""
    return max(min(int(amount), _LAST), -_LAST)


def _more(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.add(a, b)


def _less(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.subtract(a, b)


def _answer(t: CustomerTables, cause: Event, customer: str, order_id: str, credit: CreditDecision) -> CreditAnswered:
    row = t.customers.get((customer,))
    return CreditAnswered(
        **_header(cause, f"credit:{customer}:{order_id}:{credit.revision}:{credit.answer}", credit.answer),
        order_id=order_id,
        customer=customer,
        revision=credit.revision,
        answer=credit.answer,
        verdict="granted" if credit.is_granted else "held",
        reason=credit.reason,
        sentence=credit.sentence,
        terms=credit.terms,
        price_list=credit.price_list,
        is_limited=row is not None and row.credit_limit is not None,
    )


def _header(cause: Event, event_id: str, position: int) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "source": CUSTOMERS,
        "source_position": position,
        "occurred_at_ms": cause.occurred_at_ms,
        "recorded_at_ms": cause.recorded_at_ms,
        "trace_id": cause.trace_id,
    }
