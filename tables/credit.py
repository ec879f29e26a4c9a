"""Credit: which of a customer's open orders may go on.

An order is granted if the customer is known, active and not on hold, and its amount and those granted before stay within the
limit. What is granted stays granted, whatever becomes of the customer, unless its own amount rises. What is held takes nothing
of the limit, and is granted, oldest first, as soon as it may. An order of amount 0 (none of its lines has a price) is judged
like any other, until it is closed.

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
from tables.amounts import EXACT, shown
from tables.customers import Account, Credit, Customer, CustomerTables, Waiting

STEP = 100
_NONE = Decimal(0)
_LAST = 2**62
_NO_ACCOUNT = Account(_NONE, _NONE, 0, 0)


def request_credit(t: CustomerTables, e: RequestCredit) -> Iterator[Any]:
    """Judge an order's amount and answer; what it gives back may let others go on."""
    held = t.credits.get((e.customer, e.order_id))
    if held is not None and e.revision <= held.revision:
        raise AlreadyApplied(f"{e.event_id}: order {e.order_id} has asked with revision {held.revision} already")
    before = t.accounts.get((e.customer,)) or _NO_ACCOUNT
    place = held.place if held else before.asked + 1
    new = Credit(e.revision, e.amount, False, "", "", "", "", (held.answer if held else 0) + 1, place, e.is_closed)
    stays = e.is_closed or (held is not None and held.is_granted and not held.is_closed and e.amount <= held.amount)
    others = _less(before.granted_amount, _taken(held))
    reason, sentence = ("", "") if stays or e.is_released else _verdict(t, e.customer, e.amount, others)
    new = _told(t, e.customer, new, reason, sentence)
    _keep(t, e.customer, e.order_id, held, new)
    yield _answer(t, e, e.customer, e.order_id, new)
    if t.accounts[(e.customer,)].granted_amount < before.granted_amount:
        yield from review(t, e.customer, e, is_whole=False)


def review_credit(t: CustomerTables, e: ReviewCredit) -> Iterator[Any]:
    """Go on where the last step ended."""
    yield from review(t, e.customer, e, is_whole=e.is_whole, after=e.after)


def review(t: CustomerTables, customer: str, cause: Event, *, is_whole: bool, after: int = 0) -> Iterator[Any]:
    """Judge held orders anew, oldest first, a bounded number. `is_whole`: all, for the customer's facts have changed."""
    place = after
    queue = t.waiting.range((customer, after + 1, ""), (customer, _LAST, ""))
    for key, _ in list(islice(queue, STEP)):
        if not is_whole and not _any_may_fit(t, customer):
            return
        _, place, order_id = key
        held = t.credits[(customer, order_id)]
        reason, sentence = _verdict(t, customer, held.amount, t.accounts[(customer,)].granted_amount)
        new = _told(t, customer, replace(held, answer=held.answer + 1), reason, sentence)
        if new != replace(held, answer=new.answer, sentence=new.sentence):  # the same in other words is no news
            _keep(t, customer, order_id, held, new)
            yield _answer(t, cause, customer, order_id, new)
    if next(t.waiting.range((customer, place + 1, ""), (customer, _LAST, "")), None) is not None and place != after:
        yield ReviewCredit(
            **_header(cause, f"credit:{customer}:review:{place}:{cause.trace_id}", place),
            customer=customer,
            after=place,
            is_whole=is_whole,
        )


def _verdict(t: CustomerTables, customer: str, amount: Decimal, granted: Decimal) -> tuple[str, str]:
    """Why an order of this amount is held, and in words; ("", "") if it is not."""
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
    if row.credit_limit is not None and not _fits(row, amount, granted):
        limit = f"{who} has a credit limit of {shown(row.credit_limit)}"
        return "credit_limit", f"{limit}; its orders that go on take {shown(granted)} of it, and this one is {shown(amount)}."
    return "", ""


def _fits(row: Customer, amount: Decimal, granted: Decimal) -> bool:
    return row.credit_limit is None or amount == 0 or _more(granted, amount) <= row.credit_limit


def _any_may_fit(t: CustomerTables, customer: str) -> bool:
    row = t.customers.get((customer,))
    least = next(t.waiting_by_amount.under(customer), None)
    if row is None or not row.is_active or row.credit_hold or least is None:
        return False
    return _fits(row, Decimal(least[0][1]), t.accounts[(customer,)].granted_amount)


def _told(t: CustomerTables, customer: str, credit: Credit, reason: str, sentence: str) -> Credit:
    row = t.customers.get((customer,))
    return replace(
        credit,
        is_granted=reason == "",
        reason=reason,
        sentence=sentence,
        terms=row.terms.strip() if row else "",
        price_list=row.price_list if row else "",
    )


def _keep(t: CustomerTables, customer: str, order_id: str, old: Credit | None, new: Credit) -> None:
    """The order's row, and with it the sums and the queue."""
    account = t.accounts.get((customer,)) or _NO_ACCOUNT
    was_held, is_held = old is not None and not old.is_granted, not new.is_granted
    t.accounts[(customer,)] = Account(
        open_amount=_more(_less(account.open_amount, old.amount if old else _NONE), new.amount),
        granted_amount=_more(_less(account.granted_amount, _taken(old)), _taken(new)),
        held=account.held + is_held - was_held,
        asked=account.asked + (old is None),
    )
    if old is not None and was_held:
        del t.waiting[(customer, old.place, order_id)]
        del t.waiting_by_amount[(customer, _units(old.amount), old.place, order_id)]
    if is_held:
        t.waiting[(customer, new.place, order_id)] = Waiting(new.amount)
        t.waiting_by_amount[(customer, _units(new.amount), new.place, order_id)] = Waiting(new.amount)
    t.credits[(customer, order_id)] = new


def _taken(credit: Credit | None) -> Decimal:
    return credit.amount if credit is not None and credit.is_granted else _NONE


def _units(amount: Decimal) -> int:
    """Not more than the amount, and small enough for a key."""
    return max(min(int(amount), _LAST), -_LAST)


def _more(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.add(a, b)


def _less(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.subtract(a, b)


def _answer(t: CustomerTables, cause: Event, customer: str, order_id: str, credit: Credit) -> CreditAnswered:
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
