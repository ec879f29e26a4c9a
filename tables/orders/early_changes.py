"""Requests for change that cannot be carried out yet: kept with the order they name, tried again when something comes, and ended.

A request waits for its order to arrive, or for the promise fold to name the units of its line. Its sender reads that it waits,
then what became of it; one that has waited too long has expired, and changes nothing when its order comes after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas.base import Event
from schemas.errors import AlreadyApplied, NotYet, Refused
from schemas.frozen import replace
from schemas.orders import (
    ErpOrderChanged,
    ErpOrderLineChanged,
    LineAnswered,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
)
from tables.common.raise_exception import cleared, note
from tables.orders.change_requests import EXPIRED, PENDING, REFUSED, answer, request_of
from tables.orders.emits import OrderEmit
from tables.orders.order_events import order_cancel_requested, order_quantity_change_requested
from tables.orders.process_state import OrderDeadline
from tables.orders.state import EarlyChange, OrderTables, RecentChanges

Request = OrderCancelRequested | OrderQuantityChangeRequested
Rule = Callable[[OrderTables, Any], Iterator[OrderEmit]]
MOST_EARLY = 100
"""Requests that may wait for one order; the next one is refused."""
EARLY = "early "
"""What the deadlines of such requests begin with."""
BRING = (OrderPlaced, ErpOrderChanged, ErpOrderLineChanged, LineAnswered)
"""Events after which requests that wait are tried again."""
_AGAIN = "Send it again once that has come, with the reference the order was placed under and a unit of its line"


def keeping(rule: Rule, wait_ms: int) -> Rule:
    """The rule of a request, which is kept if it cannot be carried out yet, and whose sender reads why if it is refused.

    A rule has changed nothing when it says either.
    """

    def then_keep(t: OrderTables, e: Any) -> Iterator[OrderEmit]:
        try:
            yield from rule(t, e)
        except NotYet as error:
            yield from _keep(t, e, error.reason, wait_ms)
        except Refused as error:
            if _has_ended(t, e):
                raise AlreadyApplied(f"{e.event_id} has its outcome") from error
            yield from _refused(t, e, error)

    return then_keep


def _keep(t: OrderTables, e: Request, reason: str, wait_ms: int) -> Iterator[OrderEmit]:
    key = (e.order_id, e.event_id)
    if key in t.early_changes:
        raise AlreadyApplied(f"{e.event_id} waits already")
    change, kind, under = request_of(e)
    current = t.recent_changes.get((e.order_id,)) or RecentChanges()
    if current.early >= MOST_EARLY:
        sentence = f"{current.early} requests wait for order {e.order_id} already; this one is not kept."
        yield from answer(t, e, e.order_id, change, kind, e.line, REFUSED, sentence, _AGAIN, under=under)
        return
    due_ms = min(e.recorded_at_ms + wait_ms, 2**62)  # a clock far off is not a reason to fail
    if isinstance(e, OrderCancelRequested):
        t.early_changes[key] = EarlyChange(due_ms, reason, cancel=e)
    else:
        t.early_changes[key] = EarlyChange(due_ms, reason, quantity=e)
    t.recent_changes[(e.order_id,)] = replace(current, early=current.early + 1)
    t.deadlines[due_ms, EARLY + e.event_id, e.order_id] = OrderDeadline(e.order_id)
    yield note(e, "waiting", _fingerprint(e.order_id), f"{_sentence(reason)}.", order_id=e.order_id)
    hint = "The outcome follows here as soon as it is known, at the latest when the request expires"
    yield from answer(t, e, e.order_id, change, kind, e.line, PENDING, f"{_sentence(reason)}.", hint, under=under)


def take_up(t: OrderTables, order_id: str, cause: Event) -> Iterator[OrderEmit]:
    """Try requests that wait again, oldest first. Yields nothing if there is none."""
    current = t.recent_changes.get((order_id,))
    if current is None or not current.early:
        return
    waiting = [(row.request(), key, row) for key, row in t.early_changes.under(order_id)]
    for request, key, row in sorted(waiting, key=_since):
        now = replace(request, recorded_at_ms=max(request.recorded_at_ms, cause.recorded_at_ms))
        rule: Rule = order_cancel_requested if isinstance(now, OrderCancelRequested) else order_quantity_change_requested
        try:
            found = list(rule(t, now))
        except NotYet:
            continue
        except AlreadyApplied:
            found = []
        except Refused as error:
            found = list(_refused(t, now, error))
        yield from found
        yield from _let_go(t, key, row, now)


def expire(t: OrderTables, order_id: str, cause: Event, now_ms: int) -> Iterator[OrderEmit]:
    """End requests that have waited too long."""
    for key, row in list(t.early_changes.under(order_id)):
        if row.due_ms > now_ms:
            continue
        request = replace(row.request(), recorded_at_ms=now_ms)
        change, kind, under = request_of(request)
        sentence = f"{_sentence(row.reason.partition(';')[0])}, and the request has expired: it changes nothing any more."
        yield from answer(t, request, order_id, change, kind, request.line, EXPIRED, sentence, _AGAIN, under=under)
        yield from _let_go(t, key, row, request)


def _refused(t: OrderTables, e: Request, error: Refused) -> Iterator[OrderEmit]:
    change, kind, under = request_of(e)
    yield from answer(
        t, e, e.order_id, change, kind, e.line, REFUSED, f"{_sentence(error.reason)}.", _sentence(error.hint), under=under
    )


def _has_ended(t: OrderTables, e: Request) -> bool:
    """Whether its outcome has been told: one sent again long after, when it is forgotten among the facts, keeps it."""
    current = t.recent_changes.get((e.order_id,)) or RecentChanges()
    change = request_of(e)[0]
    return any(row.change == change and row.outcome != PENDING for row in current.outcomes)


def _since(x: tuple[Request, tuple[str, str], EarlyChange]) -> tuple[int, int, str]:
    return x[0].recorded_at_ms, x[0].source_position, x[0].event_id


def _let_go(t: OrderTables, key: tuple[str, str], row: EarlyChange, e: Event) -> Iterator[OrderEmit]:
    del t.early_changes[key]
    due = (row.due_ms, EARLY + key[1], key[0])
    if due in t.deadlines:
        del t.deadlines[due]
    current = t.recent_changes[(key[0],)]
    t.recent_changes[(key[0],)] = replace(current, early=current.early - 1)
    if current.early == 1:
        yield cleared(e, _fingerprint(key[0]))


def _fingerprint(order_id: str) -> str:
    return f"waiting:change:{order_id}"


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]
