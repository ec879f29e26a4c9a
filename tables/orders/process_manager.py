"""Running an order: after each event, whatever is due now is asked for; and the rules of the answers.

`advance` compares what should be true with what was asked, stage by stage. So it does not matter in which order events came,
and an event that changes nothing asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas.base import Event
from schemas.deliveries import ObligationRaised, ObligationSettled
from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import replace
from schemas.obligations import KIND_OF, NotifyStatus, answer_of
from schemas.orders import (
    CreditAnswered,
    ErpOrderLineChanged,
    InvoiceLinePosted,
    LineAnswered,
    LineExecution,
    OrderCancelRequested,
    OrderQuantityChangeRequested,
    OrderTick,
    PriceChecked,
    ReleaseHold,
)
from tables.orders.acceptance import REFUSALS, accept_substitutes, ask_credit, ask_prices, causes, decide, look_up_again
from tables.orders.change_requests import DONE, answer, change_of, refuse, settle_changes
from tables.orders.early_changes import BRING, EARLY, expire, take_up
from tables.orders.emits import OrderEmit
from tables.orders.erp_posting import forget_revision, post
from tables.orders.invoicing import bill, credit, unbill, uncredit
from tables.orders.lines import settle, settle_line
from tables.orders.milestones import reach
from tables.orders.order_events import conclude, remember
from tables.orders.process import OrderProcess, RunPolicy
from tables.orders.process_state import DeferredProcess, OrderDeadline, Task
from tables.orders.sla import keep_stages
from tables.orders.state import Order, OrderTables
from tables.orders.status import status_word
from tables.orders.warehouse_release import ask_counts, give_back, hand_over, take_back

Rule = Callable[[OrderTables, Any], Iterator[OrderEmit]]
_NOTICE = KIND_OF[NotifyStatus]
PUT_OFF_MS = 100
_PUT_OFF = "put_off"
_OF_ONE_LINE = (LineAnswered, PriceChecked, LineExecution, ErpOrderLineChanged, InvoiceLinePosted, OrderQuantityChangeRequested)
WORKED_AT_ONCE = 500  # a tick's work is bounded: what is left is still due at the next
_CREDIT_REASONS = frozenset({"unknown_customer", "credit_hold", "credit_limit", "credit_currency", "customer_inactive"})


def advancing(policy: RunPolicy, rule: Rule) -> Rule:
    """The rule, and then the order's process brought to what the rule has changed."""

    def then_advance(t: OrderTables, e: Any) -> Iterator[OrderEmit]:
        yield from rule(t, e)
        if type(e) is ObligationSettled and e.kind == _NOTICE:
            return  # a quarter of all events, and nothing depends on them
        is_taken_up = False
        if isinstance(e, BRING):
            for output in take_up(t, e.order_id, e):
                is_taken_up = True
                yield output
        order = t.orders.get((e.order_id,))
        if order is not None and order.is_large() and not is_taken_up and _is_of_one_line(e) and _is_put_off(t, e, order):
            return
        yield from advance(policy, t, e.order_id, e, e.recorded_at_ms)

    return then_advance


def _is_of_one_line(e: Event) -> bool:
    if isinstance(e, OrderCancelRequested):
        return e.line is not None
    return isinstance(e, _OF_ONE_LINE)


def _is_put_off(t: OrderTables, e: Event, order: Order) -> bool:
    """Count an event about one line of a large order: whether bringing the order on can wait for more of them.

    All lines are looked at then, so it is done once for as many events as there are lines to a quarter, or a moment after the
    first: what an order costs rises with its lines, not with their square.
    """
    key = (e.order_id,)  # type: ignore[attr-defined]
    current = t.put_offs.get(key)
    due_ms = current.due_ms if current is not None and current.events else e.recorded_at_ms + PUT_OFF_MS + order.line_count // 4
    events = current.events + 1 if current is not None else 1
    t.put_offs[key] = DeferredProcess(
        due_ms,
        events,
        current is not None and current.is_unmatched,
        e.event_id,
        e.source,
        e.source_position,
        e.occurred_at_ms,
        e.recorded_at_ms,
        e.trace_id,
    )
    if events == 1:
        t.deadlines[due_ms, _PUT_OFF, key[0]] = OrderDeadline(key[0])
    return events * 4 < order.line_count


def _take_up_put_off(t: OrderTables, order_id: str, cause: Event) -> Iterator[OrderEmit]:
    """A large order is brought on: what was left for that, of all its lines at once."""
    current = t.put_offs.get((order_id,))
    if current is not None:
        del t.put_offs[(order_id,)]
        if (current.due_ms, _PUT_OFF, order_id) in t.deadlines:
            del t.deadlines[current.due_ms, _PUT_OFF, order_id]
        if current.is_unmatched:
            yield from settle(t, order_id, cause, is_header_same=True)
    yield from reach(t, order_id, cause)


def advance(policy: RunPolicy, t: OrderTables, order_id: str, cause: Event, now_ms: int) -> Iterator[OrderEmit]:
    """Ask for all that is due of an order, if it is crossdock's to run."""
    order = t.orders.get((order_id,))
    if order is not None and order.is_large():
        yield from _take_up_put_off(t, order_id, cause)
    if policy.orders.erp is None or (order_id,) not in t.placements:
        return
    run = OrderProcess(policy, t, order_id, cause, max(now_ms, t.orders[(order_id,)].as_of_ms))
    before = run.process
    t.processes[(order_id,)] = run.process
    yield from ask_credit(run)
    yield from ask_prices(run)
    decide(run)
    yield from post(run)
    yield from hand_over(run)
    yield from ask_counts(run)
    yield from bill(run)
    yield from credit(run)
    yield from keep_stages(run)
    yield from settle_changes(t, order_id, cause)
    if run.process != before:
        t.processes[(order_id,)] = run.process
        yield from reach(t, order_id, cause)
    yield from _notify(run)


def _notify(run: OrderProcess) -> Iterator[ObligationRaised]:
    """Tell whoever wants to know that the order has another status."""
    status = status_word(run.t, run.order_id)
    if status is None or status == run.process.status:
        return
    sequence = run.process.notices + 1
    run.change(status=status, notices=sequence)
    order = run.t.orders[(run.order_id,)]
    run.t.processes[(run.order_id,)] = run.process
    for endpoint in run.policy.orders.notify:
        body = NotifyStatus(
            order_id=run.order_id,
            sequence=sequence,
            status=status,
            channel=order.channel,
            external_ref=order.external_ref,
            customer=order.customer,
            at_ms=run.cause.occurred_at_ms,
        )
        yield run.raised(endpoint, f"{run.order_id}/notify/{sequence}@{endpoint}", body, is_replaceable=True)


# --- rules ---------------------------------------------------------------------------------------------------------------


def credit_answered(t: OrderTables, e: CreditAnswered) -> Iterator[OrderEmit]:
    """The newest answer of the customers fold stands."""
    key = (e.order_id,)
    current = t.credits.get(key)
    if current is None or (e.revision, e.answer) <= (current.answered_revision, current.answer):
        raise AlreadyApplied
    t.credits[key] = replace(
        current,
        answered_revision=e.revision,
        answer=e.answer,
        good_for=current.amount if e.revision == current.revision else current.good_for,
        verdict=e.verdict,
        reason=e.reason,
        sentence=e.sentence,
        price_list=e.price_list,
        is_limited=e.is_limited,
    )
    yield from conclude(t, e.order_id, e)


def price_checked(t: OrderTables, e: PriceChecked) -> Iterator[OrderEmit]:
    """The answer to the newest question stands."""
    key = (e.order_id, e.line)
    current = t.price_checks.get(key)
    if current is None or e.revision != current.revision or current.is_match is not None:
        raise AlreadyApplied
    t.price_checks[key] = replace(current, is_match=e.is_match, reference=e.reference, listed_in=tuple(e.listed_in))
    yield from conclude(t, e.order_id, e)


def release_hold(policy: RunPolicy, t: OrderTables, e: ReleaseHold) -> Iterator[OrderEmit]:
    """A person lets the order go on: what was refused is tried again, what stands against it is overridden."""
    process, change = t.processes.get((e.order_id,)), change_of(e.order_id, e.event_id)
    if (e.order_id,) not in t.orders:
        raise Refused(f"order {e.order_id} is not known, so nothing of it is held", hint="list the orders that are held")
    remember(t, e.order_id, e)
    if process is None:
        sentence = f"Order {e.order_id} is not held here: crossdock does not run it."
        yield from refuse(t, e, e.order_id, "release", None, sentence, "See in the ERP what it waits for")
        return
    run = OrderProcess(policy, t, e.order_id, e, e.recorded_at_ms)
    refused = [reason for reason, _ in process.refusals if e.reason in ("", reason)]
    standing = [reason for reason in causes(run) if e.reason in ("", reason)]
    if not refused and not standing:
        sentence = f"Order {e.order_id} is not held for {e.reason or 'anything'}."
        hint = f"It is held for {', '.join(process.holds)}" if process.holds else "There is nothing to release"
        yield from refuse(t, e, e.order_id, "release", None, sentence, hint)
        return
    for kind, reason in REFUSALS.items():
        task = t.tasks.get((e.order_id, kind))
        if reason in refused and task is not None:
            t.tasks[e.order_id, kind] = replace(task, is_refused=False)
            if kind == "request_invoice":
                unbill(t, e.order_id, task)
            elif kind == "request_credit_note":
                uncredit(t, e.order_id, task)
    _release_credit(t, e.order_id, standing)
    if "price_missing" in standing or "price_currency" in standing:
        look_up_again(run)
    if "substitution" in standing:
        accept_substitutes(run)
    t.processes[(e.order_id,)] = replace(
        process,
        refusals=tuple(row for row in process.refusals if row[0] not in refused),
        overridden=tuple(sorted({*process.overridden, *standing} - _CREDIT_REASONS - {"substitution"})),
    )
    sentence = f"Order {e.order_id} goes on in spite of {', '.join([*refused, *standing])}: released by {e.person}."
    yield from answer(t, e, e.order_id, change, "release", None, DONE, sentence)
    yield from conclude(t, e.order_id, e)


def _release_credit(t: OrderTables, order_id: str, standing: list[str]) -> None:
    """The customers fold is told that a person lets it go on, and answers; up to this amount."""
    if not _CREDIT_REASONS.isdisjoint(standing):
        credit = t.credits[(order_id,)]
        t.credits[(order_id,)] = replace(credit, released_amount=credit.amount)


def obligation_settled(t: OrderTables, e: ObligationSettled) -> Iterator[OrderEmit]:
    """What became of what was asked of another system. Of an exhausted obligation the delivery fold tells people; it may still be
    settled later.
    """
    task = t.tasks.get((e.order_id, e.kind))
    if (e.order_id,) not in t.orders:
        raise Refused(f"{e.obligation_id} was settled, but never asked for", hint="run crossdock verify")
    if task is None or e.outcome == "exhausted":
        return  # a notice, on which nothing depends; or it is still to be done
    if task.obligation_id != e.obligation_id or not task.is_waiting:
        raise AlreadyApplied
    is_refused = e.outcome == "refused"
    t.tasks[e.order_id, e.kind] = replace(task, is_waiting=False, is_refused=is_refused)
    lines = _take_up(t, e, task, is_refused=is_refused)
    if is_refused and e.kind in REFUSALS:
        process = t.processes[(e.order_id,)]
        t.processes[(e.order_id,)] = replace(process, refusals=(*process.refusals, (REFUSALS[e.kind], e.answer)))
    for number in sorted(lines):
        yield from settle_line(t, e.order_id, number, e)
    yield from conclude(t, e.order_id, e)


def _take_up(t: OrderTables, e: ObligationSettled, task: Task, *, is_refused: bool) -> set[int]:
    """Change what is known of the other system. Returns the lines to be worked out again."""
    if e.kind == "withdraw_release":
        return give_back(t, e.order_id, task, None if is_refused else answer_of(e.kind, e.answer))
    if is_refused and e.kind == "release_order":
        return take_back(t, e.order_id, task)
    if is_refused and e.kind == "post_order":
        forget_revision(t, e.order_id, task.number)
    return set()


def order_tick(policy: RunPolicy, t: OrderTables, e: OrderTick) -> Iterator[OrderEmit]:
    """Work off what is due."""
    due = []
    for key, _ in t.deadlines.range((-(2**62), "", ""), (e.occurred_at_ms + 1, "", "")):
        due.append(key)
        if len(due) == WORKED_AT_ONCE:
            break
    for key in due:
        del t.deadlines[key]
    waited = {key[2] for key in due if key[1].startswith(EARLY)}
    for order_id in sorted({key[2] for key in due}):
        if order_id in waited:
            yield from expire(t, order_id, e, e.occurred_at_ms)
        current = t.put_offs.get((order_id,))
        yield from advance(
            policy, t, order_id, _newest(current) if current is not None and current.events else e, e.occurred_at_ms
        )


def _newest(current: DeferredProcess) -> Event:
    """The event that a large order is brought on for."""
    return Event(
        event_id=current.event_id,
        source=current.source,
        source_position=current.source_position,
        occurred_at_ms=current.occurred_at_ms,
        recorded_at_ms=current.recorded_at_ms,
        trace_id=current.trace_id,
    )
