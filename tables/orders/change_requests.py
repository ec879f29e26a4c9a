"""Requests for change and what became of them: each has an outcome that its sender can read, and a refused one says what to do.

A request is settled when nothing can change its outcome any more: the promise fold has answered, and the warehouse has said what
it gives back. Until then it is pending.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Event
from schemas.frozen import replace
from schemas.orders import ChangeAnswered, ChangeOutcome, OrderCancelRequested, OrderQuantityChangeRequested
from schemas.quantity import show
from tables.common.raise_exception import note, several
from tables.orders.emits import OrderEmit
from tables.orders.line_quantities import in_base
from tables.orders.state import Line, OpenChange, OrderTables, RecentChanges

KEPT = 20
PENDING, DONE, IN_PART, REFUSED, EXPIRED = "pending", "done", "in_part", "refused", "expired"
_TOLD_OTHERWISE = ("release", "place")
"""Kinds of request of which people know: a person made it, or an exception of its own says it."""
_GONE = "What is picked or shipped goes on its way: refuse the delivery or send it back, and it is credited"
_NEW_ORDER = "Place a new order for what is wanted"
_WAITING = "The outcome follows here as soon as it is known"


def change_of(order_id: str, event_id: str) -> str:
    """The id of a request for change by the event it came as."""
    return event_id.removeprefix(f"{order_id}!")


def request_of(e: OrderCancelRequested | OrderQuantityChangeRequested) -> tuple[str, str, str]:
    """The request's id, its kind, and the other order id it was sent under, if it was."""
    change = change_of(e.asked_under or e.order_id, e.event_id)
    if isinstance(e, OrderQuantityChangeRequested):
        return change, "set_qty", e.asked_under
    return change, "cancel" if e.line is None else "cancel_line", e.asked_under


def answer(
    t: OrderTables,
    e: Event,
    order_id: str,
    change: str,
    kind: str,
    line: int | None,
    outcome: str,
    sentence: str,
    hint: str = "",
    *,
    under: str = "",
) -> Iterator[OrderEmit]:
    """The outcome of a request, as an event and in the order's answer; a person is told of one that was refused.

    `under`: another order id it can be read under, that of its sender.
    """
    at_ms = e.recorded_at_ms
    new = ChangeOutcome(change=change, kind=kind, line=line, outcome=outcome, sentence=sentence, hint=hint, at_ms=at_ms)
    current = t.recent_changes.get((order_id,)) or RecentChanges()
    others = tuple([row for row in current.outcomes if row.change != change])
    t.recent_changes[(order_id,)] = replace(current, outcomes=(*others, new)[-KEPT:])
    for name in [order_id, under] if under else [order_id]:
        yield ChangeAnswered(
            change=change,
            kind=kind,
            line=line,
            outcome=outcome,
            sentence=sentence,
            hint=hint,
            at_ms=at_ms,
            order_id=name,
            cause=e.event_id,
        )
    if outcome in (IN_PART, REFUSED, EXPIRED) and kind not in _TOLD_OTHERWISE:
        fingerprint = f"change_refused:{order_id}:{line or 0}"
        yield note(e, "change_refused", fingerprint, f"{sentence} {hint}.", order_id=order_id)


def refuse(t: OrderTables, e: Event, order_id: str, kind: str, line: int | None, sentence: str, hint: str) -> Iterator[OrderEmit]:
    """A request that cannot be carried out at all."""
    change, under = change_of(order_id, e.event_id), ""
    if isinstance(e, OrderCancelRequested | OrderQuantityChangeRequested):
        change, _, under = request_of(e)
    yield from answer(t, e, order_id, change, kind, line, REFUSED, sentence, hint, under=under)


def wanted_milli(t: OrderTables, order_id: str, line: int | None) -> int:
    """What is wanted of a line, or of all lines of the order."""
    if line is not None:
        row = t.lines.get((order_id, line))
        return row.wanted_milli if row is not None else 0
    return sum([row.wanted_milli for _, row in t.lines.under(order_id) if row.is_listed])


def begin(t: OrderTables, e: Event, order_id: str, change: str, row: OpenChange) -> Iterator[OrderEmit]:
    """A request was taken: it is settled now if that can be said already, else it is pending."""
    t.open_changes[order_id, change] = row
    current = t.recent_changes.get((order_id,)) or RecentChanges()
    t.recent_changes[(order_id,)] = replace(current, pending=current.pending + 1)
    if not _is_settled(t, order_id, row):
        sentence = f"{_what(row)} of order {order_id} is under way."
        yield from answer(t, e, order_id, change, row.kind, row.line, PENDING, sentence, _WAITING, under=row.under)


def settle_changes(t: OrderTables, order_id: str, e: Event) -> Iterator[OrderEmit]:
    """Answer requests whose outcome is known by now."""
    current = t.recent_changes.get((order_id,))
    if current is None or not current.pending:
        return
    for (_, change), row in list(t.open_changes.under(order_id)):
        if _is_settled(t, order_id, row):
            del t.open_changes[order_id, change]
            now = t.recent_changes[(order_id,)]
            t.recent_changes[(order_id,)] = replace(now, pending=now.pending - 1)
            outcome, sentence, hint = _outcome(t, order_id, row)
            yield from answer(t, e, order_id, change, row.kind, row.line, outcome, sentence, hint, under=row.under)


def _lines(t: OrderTables, order_id: str, row: OpenChange) -> list[tuple[int, Line]]:
    if row.line is not None:
        line = t.lines.get((order_id, row.line))
        return [] if line is None else [(row.line, line)]
    return [(number, line) for (_, number), line in t.lines.under(order_id) if line.is_listed]


def _is_settled(t: OrderTables, order_id: str, row: OpenChange) -> bool:
    """Whether nothing that is under way can change what became of it."""
    withdrawal = t.tasks.get((order_id, "withdraw_release"))
    if withdrawal is not None and withdrawal.is_waiting:
        return False
    for number, line in _lines(t, order_id, row):
        if line.wish is not None and (line.answer is None or line.answer.revision != line.revision) and line.wish.wanted_milli:
            return False
        sites = [site for _, site in t.handoffs.under(order_id, number)]
        taken = sum([site.taken_milli() for site in sites])
        if sum([site.committed_milli() for site in sites]) > max(line.desired_milli, taken):
            return False  # the warehouse is still to be asked to give units back
    return True


def _what(row: OpenChange) -> str:
    if row.kind == "cancel":
        return "The cancellation"
    name = {"cancel_line": "The cancellation", "add_line": "The addition"}.get(row.kind, "The change")
    return f"{name} of line {row.line}"


def _outcome(t: OrderTables, order_id: str, row: OpenChange) -> tuple[str, str, str]:
    lines = _lines(t, order_id, row)
    if row.kind in ("cancel", "cancel_line"):
        kept = [f"{show(line.wanted_milli)} of {line.item} (line {number})" for number, line in lines if line.wanted_milli]
        if not kept:
            return DONE, f"{_what(row)} of order {order_id} is done: nothing of it is left to ship.", ""
        left = sum([line.wanted_milli for _, line in lines])
        sentence = f"{_what(row)} of order {order_id} comes too late for {several(kept)}."
        return REFUSED if left >= row.before_milli else IN_PART, sentence, _GONE
    number, line = lines[0]
    asked = in_base(line.unit, row.qty_milli, row.uom)
    now = f"{show(line.wanted_milli)} of {line.item}"
    if asked is None or asked == line.wanted_milli:
        return DONE, f"Line {number} of order {order_id} is {now} now.", ""
    is_same = line.wanted_milli == row.before_milli
    if line.wanted_milli > asked:
        sentence = f"Line {number} of order {order_id} cannot become {show(asked)}: {now} are picked or shipped."
        return REFUSED if is_same else IN_PART, sentence, _GONE
    why = line.reason or "more is not to be had"
    sentence = f"Line {number} of order {order_id} cannot become {show(asked)}, it is {now}: {why}."
    return REFUSED if is_same else IN_PART, sentence, _NEW_ORDER
