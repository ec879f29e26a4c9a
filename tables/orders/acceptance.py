"""May the order go on: the customer's credit, the lines' prices, and what a person has to decide."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from schemas.bounds import bounded_ms
from schemas.customers import RequestCredit
from schemas.frozen import replace
from schemas.inventory import CheckPrice
from schemas.quantity import MILLI, show
from tables.common.calendars import to_date
from tables.common.money import EXACT, MOST
from tables.common.raise_exception import several
from tables.orders.erp_posting import differs
from tables.orders.lifecycle import State
from tables.orders.process import CLOSED, OrderProcess, is_current
from tables.orders.process_state import CreditCheck, PriceCheck
from tables.orders.state import ChannelLine, Line, Substitute

NOTHING = Decimal(0)
CENTS = Decimal("0.0001")
DAY_MS = 86_400_000
REFUSALS = {
    "post_order": "erp_refused",
    "release_order": "wms_refused",
    "request_invoice": "invoice_refused",
    "request_credit_note": "credit_refused",
}
BILLING = ("invoice_refused", "credit_refused")
"""The reason a person finds, by the kind of obligation that was refused."""


def ask_credit(run: OrderProcess) -> Iterator[RequestCredit]:
    """Tell the customers fold the open amount, if it is another one than it was told."""
    current = run.t.credits.get((run.order_id,))
    live = run.live()
    if current is None and not live:
        return
    open_lines = [(number, line) for number, line in live if not _is_settled(line)]
    amount = sum((_amount(run, number, line) for number, line in open_lines), NOTHING)
    currency = _currency(run, open_lines) if amount or current is None else current.currency
    released = current.released_amount if current else None
    # A person let go what stood then: more than that, or the order opened again, is asked anew.
    is_more = released is not None and current is not None and (amount > released or currency != current.currency)
    released = None if is_more or not open_lines else released
    if current is None:
        credit = CreditCheck(1, amount, currency=currency)
    elif _is_news(current, amount, currency, is_closed=not open_lines, is_released=released is not None):
        credit = replace(
            current,
            revision=current.revision + 1,
            amount=amount,
            is_closed=not open_lines,
            released_amount=released,
            is_released=released is not None,
            currency=currency,
            good_for=current.good_for if currency == current.currency else None,
        )
    else:
        return
    run.t.credits[(run.order_id,)] = credit
    yield _request_credit(run, credit)


def _is_news(current: CreditCheck, amount: Decimal, currency: str, *, is_closed: bool, is_released: bool) -> bool:
    asked = (current.amount, current.currency, current.is_closed, current.is_released)
    return asked != (amount, currency, is_closed, is_released)


def _request_credit(run: OrderProcess, credit: CreditCheck) -> RequestCredit:
    cause = run.cause
    return RequestCredit(
        event_id=f"{run.order_id}/credit/{credit.revision}",
        source="orders",
        source_position=credit.revision,
        occurred_at_ms=cause.occurred_at_ms,
        recorded_at_ms=cause.recorded_at_ms,
        trace_id=cause.trace_id,
        customer=run.t.placements[(run.order_id,)].customer,
        order_id=run.order_id,
        revision=credit.revision,
        amount=credit.amount,
        is_closed=credit.is_closed,
        is_released=credit.is_released,
        currency=credit.currency,
    )


def _is_settled(line: Line) -> bool:
    return line.shipped_milli >= line.wanted_milli and line.invoiced_milli >= line.shipped_milli > 0


def _amount(run: OrderProcess, number: int, line: Line) -> Decimal:
    """The line's price for what is wanted of it: its own, or where it says none, the price list's."""
    placed = run.t.placed.get((run.order_id, number))
    if placed is None:
        return NOTHING
    price = placed.unit_price
    if price is None:
        check = run.t.price_checks.get((run.order_id, number))
        price = check.reference if check is not None else None
    if price is None:
        return NOTHING
    amount = EXACT.divide(EXACT.multiply(price, Decimal(line.wanted_milli)), Decimal(units_milli(placed, line)))
    return EXACT.quantize(max(min(amount, MOST), -MOST), CENTS)


def _currency(run: OrderProcess, lines: list[tuple[int, Line]]) -> str:
    """The currency of what lines amount to; of several, all of them."""
    found = set()
    for number, line in lines:
        placed = run.t.placed.get((run.order_id, number))
        if placed is not None and _amount(run, number, line):
            check = run.t.price_checks.get((run.order_id, number))
            is_listed_in_one = check is not None and check.reference is not None and len(check.listed_in) == 1
            listed = check.listed_in[0] if check is not None and is_listed_in_one else ""
            found.add(placed.currency or listed)
    return "+".join(sorted([currency or "none" for currency in found])) if len(found) > 1 else "".join(found)


def units_milli(placed: ChannelLine, line: Line) -> int:
    """Thousandths of the line's present unit in one of the unit it was placed, and priced, in."""
    is_pack = line.unit.is_base and placed.uom not in (None, line.unit.uom) and placed.uom == line.unit.pack_uom
    return line.unit.pack_milli or MILLI if is_pack else MILLI


def ask_prices(run: OrderProcess) -> Iterator[CheckPrice]:
    """Have each priced line compared with the customer's price list, once that is known.

    A line without a price is priced by it, if the customer has a credit limit: leaving it out would let any amount pass.
    """
    credit = run.t.credits.get((run.order_id,))
    if credit is None or not credit.price_list:
        return
    for number, line in run.live():
        placed = run.t.placed.get((run.order_id, number))
        if placed is None or (placed.unit_price is None and not credit.is_limited):
            continue
        current = run.t.price_checks.get((run.order_id, number))
        if current is not None and (current.price_list, current.unit_price) == (credit.price_list, placed.unit_price):
            continue
        listed_in = current.listed_in if current is not None and current.is_in_another_currency() else ()
        check = PriceCheck(current.revision + 1 if current else 1, credit.price_list, placed.unit_price, listed_in=listed_in)
        run.t.price_checks[run.order_id, number] = check
        yield _check_price(run, number, line, placed, check)


def _check_price(run: OrderProcess, number: int, line: Line, placed: ChannelLine, check: PriceCheck) -> CheckPrice:
    cause = run.cause
    return CheckPrice(
        event_id=f"{run.order_id}/{number}/price/{check.revision}",
        source="orders",
        source_position=check.revision,
        occurred_at_ms=cause.occurred_at_ms,
        recorded_at_ms=cause.recorded_at_ms,
        trace_id=cause.trace_id,
        item=placed.item,
        order_id=run.order_id,
        line=number,
        revision=check.revision,
        price_list=check.price_list,
        unit_price=NOTHING if check.unit_price is None else check.unit_price,
        is_unpriced=check.unit_price is None,
        currency=placed.currency or "",
        uom=placed.uom,
        day=to_date(bounded_ms(run.order.placed_at_ms) // DAY_MS),
    )


def decide(run: OrderProcess) -> None:
    """The order's decision, and the reasons it is held for."""
    live = run.live()
    refusals = tuple(refusal for refusal in run.process.refusals if _stands(run, refusal[0], live))
    if len(refusals) < len(run.process.refusals):
        _forget_refused(run, {reason for reason, _ in refusals})
    standing = [*causes(run)] if live else []
    overridden = tuple(reason for reason in run.process.overridden if reason in standing)
    refused = [reason for reason, _ in refusals if reason not in BILLING]
    holds = tuple(sorted({*refused, *(reason for reason in standing if reason not in overridden)}))
    if live and _is_pending(run, live):
        decision = "checking"
    elif holds:
        decision = "held"
    else:
        decision = "accepted" if live or run.process.is_accepted else _ended(run)
    is_accepted = run.process.is_accepted or decision == "accepted"
    run.change(decision=decision, holds=holds, refusals=refusals, overridden=overridden, is_accepted=is_accepted)


def _stands(run: OrderProcess, refusal: str, live: list[tuple[int, Line]]) -> bool:
    """Whether what was refused is still wanted."""
    if refusal == "erp_refused":
        return differs(run) or not all(is_current(line) for _, line in run.lines if line.wish is not None)
    return refusal in BILLING or bool(live)


def _forget_refused(run: OrderProcess, standing: set[str]) -> None:
    """What was refused is not wanted any more; should it be wanted again, it is asked again."""
    for kind, reason in REFUSALS.items():
        task = run.task(kind)
        if task is not None and task.is_refused and reason not in standing:
            run.t.tasks[run.order_id, kind] = replace(task, is_refused=False)


def _ended(run: OrderProcess) -> str:
    """The decision on an order that ended before it was accepted."""
    return "refused" if run.lines and all(line.state is State.REFUSED for _, line in run.lines) else "checking"


def causes(run: OrderProcess) -> Iterator[str]:
    """Reasons to hold the order that stand for as long as things are so."""
    credit = run.t.credits.get((run.order_id,))
    if credit is not None and credit.verdict == "held":
        yield credit.reason
    checks = run.t.price_checks.under(run.order_id)
    lines = dict(run.lines)
    live = [row for (_, number), row in checks if number in lines and lines[number].state not in CLOSED]
    if any(row.is_match is False and not row.is_in_another_currency() for row in live):
        yield "price_mismatch"
    if any(row.is_in_another_currency() for row in live):
        yield "price_currency"
    if next(_unpriced(run), None) is not None:
        yield "price_missing"
    if next(disputed(run), None) is not None:
        yield "substitution"
    if run.order.is_held:
        yield "erp_hold"
    if run.process.was_in_erp and run.order.erp_order_no is None:
        yield "erp_deleted"


def _unpriced(run: OrderProcess) -> Iterator[tuple[int, Line]]:
    """Lines of a customer with a credit limit that have no price, and for which the price list has none."""
    credit = run.t.credits.get((run.order_id,))
    if credit is None or not credit.is_limited:
        return
    for number, line in run.live():
        placed = run.t.placed.get((run.order_id, number))
        if placed is not None and placed.unit_price is None:
            check = run.t.price_checks.get((run.order_id, number))
            is_asked = check is not None and (check.is_match is not None or check.revision > 1)  # asked again: missing until then
            if not credit.price_list or (check is not None and is_asked and check.reference is None):
                yield number, line


def disputed(run: OrderProcess) -> Iterator[tuple[int, str, Substitute]]:
    """Substitutes that the order does not allow and nobody has accepted: line, item, what is known of it."""
    for number, line in run.lines:
        if line.executed.substituted_milli or line.shipped_milli > line.executed.shipped_milli:
            for key, other in run.t.substitutes.under(run.order_id, number):
                if other.is_disputed():
                    yield number, key[2], other


def accept_substitutes(run: OrderProcess) -> None:
    """A person accepts what went out instead."""
    for number, item, other in list(disputed(run)):
        run.t.substitutes[run.order_id, number, item] = replace(other, is_accepted=True)


def look_up_again(run: OrderProcess) -> None:
    """Prices that were missing are asked for once more: somebody may have added them."""
    foreign = [number for (_, number), row in run.t.price_checks.under(run.order_id) if row.is_in_another_currency()]
    for number in [*foreign, *[number for number, _ in _unpriced(run)]]:
        current = run.t.price_checks.get((run.order_id, number))
        if current is not None:
            run.t.price_checks[run.order_id, number] = replace(current, price_list="")


def _is_pending(run: OrderProcess, live: list[tuple[int, Line]]) -> bool:
    """Whether an answer is missing without which the order may not go on."""
    credit = run.t.credits.get((run.order_id,))
    if credit is None or credit.good_for is None or credit.amount > credit.good_for:
        return True
    if any(line.answer is None and line.wish is not None for _, line in run.lines):
        return True
    checks = [run.t.price_checks.get((run.order_id, number)) for number, _ in live]
    return any(check is not None and check.is_match is None for check in checks)


def words(run: OrderProcess, reason: str) -> str:
    """Why the order is held, as a sentence."""
    order_id = run.order_id
    told = dict(run.process.refusals).get(reason)
    if reason == "price_mismatch":
        found = [(number, row) for (_, number), row in run.t.price_checks.under(order_id) if row.is_match is False]
        rows = [(number, row) for number, row in found if not row.is_in_another_currency()]
        parts = [
            f"line {n}: {row.unit_price} against {'no price' if row.reference is None else row.reference}" for n, row in rows
        ]
        return f"Order {order_id} is held: prices differ from price list {rows[0][1].price_list} ({several(parts)})."
    if reason == "price_currency":
        return _foreign(run)
    if reason == "price_missing":
        items = several([f"line {number}: {line.item}" for number, line in _unpriced(run)])
        current = run.t.credits[(order_id,)]
        source = f"price list {current.price_list}" if current.price_list else "no price list"
        return f"Order {order_id} is held: it says no price, and {source} has one, for {items}."
    if reason == "substitution":
        rows_ = [
            f"{show(max(x.substitute_milli, x.shipped_milli))} of {item} for {run.t.lines[order_id, number].item} (line {number})"
            for number, item, x in disputed(run)
        ]
        return (
            f"Order {order_id} is held, and not billed: the warehouse took {several(rows_)}, and the order takes no substitute."
        )
    if reason == "erp_refused":
        return f"Order {order_id} is held: the ERP refuses it: {told}"
    if reason == "wms_refused":
        return f"Order {order_id} is held: the warehouse system refuses its release: {told}"
    if reason == "erp_hold":
        return f"Order {order_id} is on hold in the ERP."
    if reason == "erp_deleted":
        return f"Order {order_id} is held: it was deleted in the ERP."
    credit = run.t.credits[(order_id,)]
    return f"Order {order_id} is held: {credit.sentence or reason}"


def _foreign(run: OrderProcess) -> str:
    found = [(number, row) for (_, number), row in run.t.price_checks.under(run.order_id) if row.is_in_another_currency()]
    parts = []
    for number, row in found:
        placed = run.t.placed[run.order_id, number]
        said = f"{placed.item} in {placed.currency}" if placed.currency else f"{placed.item}, its currency unsaid"
        parts.append(f"line {number}: {said}, listed in {several(list(row.listed_in))}")
    price_list = found[0][1].price_list
    return f"Order {run.order_id} is held: its prices cannot be compared with price list {price_list} ({several(parts)})."
