"""What the order waits for, until when, and what people have to know of it. Late is an exception, never silence."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.bounds import bounded_ms
from schemas.frozen import Frozen
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.quantity import show
from tables.common.calendars import to_day
from tables.common.raise_exception import cleared, note, several
from tables.orders.acceptance import DAY_MS, words
from tables.orders.invoicing import unbilled
from tables.orders.process import OrderProcess, is_current
from tables.orders.process_state import OpenException, OrderDeadline, Wait
from tables.orders.state import Line
from tables.orders.warehouse_release import handoffs, release_again_ms

LATE = {
    "check": ("late_check", "Order {order}: no answer yet to what was asked before it can go on."),
    "confirm": ("late_acknowledgement", "Order {order} was posted to the ERP, and its change feed has not shown it yet."),
    "release": ("late_release", "Order {order} was released, and the warehouse has not begun with it."),
    "ship": ("late_shipment_confirmation", "Order {order}: units have not shipped yet."),
    "invoice": ("late_invoice", "Order {order}: shipped units were to be invoiced, and the ERP's invoice has not come yet."),
    "backorder": ("late_backorder", "Order {order}: the day its backorder was promised for is over."),
}
"""By what is waited for: the exception when it takes too long."""
_CREDIT = "credit_hold"
_HELD = {
    "price_mismatch": "price_mismatch",
    "price_missing": "price_missing",
    "price_currency": "price_currency",
    "credit_currency": "credit_currency",
    "substitution": "substitution",
    "erp_refused": "erp_refused",
    "wms_refused": "wms_refused",
    "erp_hold": "erp_hold",
    "erp_deleted": "erp_deleted",
}


class PlannedWait(Frozen, frozen=True):
    """A wait as it should stand: from now for so long, or until an instant. `mark` as in `Wait`."""

    mark: int
    takes_ms: int | None = None
    until_ms: int | None = None


def keep_stages(run: OrderProcess) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """Bring waits, deadlines and exceptions to how things are."""
    wanted = _waits(run)
    t, order_id = run.t, run.order_id
    late = []
    for (_, what), held in list(t.waits.under(order_id)):
        now = wanted.get(what)
        if now is None or now.mark != held.mark or (now.until_ms is not None and bounded_ms(now.until_ms) != held.due_ms):
            del t.waits[order_id, what]
            if (held.due_ms, what, order_id) in t.deadlines:
                del t.deadlines[held.due_ms, what, order_id]
    for what, now in wanted.items():
        wait = t.waits.get((order_id, what))
        if wait is None:
            due = bounded_ms(now.until_ms if now.until_ms is not None else run.now_ms + (now.takes_ms or 0))
            wait = t.waits[order_id, what] = Wait(due, now.mark)
            if due > run.now_ms:
                t.deadlines[due, what, order_id] = OrderDeadline(order_id)
        if wait.due_ms <= run.now_ms and what in LATE:
            late.append(what)
    yield from _note(run, late)


def _waits(run: OrderProcess) -> dict[str, PlannedWait]:
    p = run.policy.orders
    live = run.live()
    found: dict[str, PlannedWait] = {}
    if live and (run.process.decision == "checking" or not all(is_current(line) for _, line in live)):
        found["check"] = PlannedWait(0, p.check_ms)
    post = run.task("post_order")
    if post is not None and _is_unconfirmed(run, live):
        found["confirm"] = PlannedWait(post.number, p.confirm_ms)
    release = run.task("release_order")
    if release is not None and any(_is_untouched(run, number, line) for number, line in run.lines):
        found["release"] = PlannedWait(release.number, p.release_ms)
    going = [line for _, line in live if line.wanted_milli > line.shipped_milli + line.backordered_milli]
    if going and run.process.is_accepted and run.order.erp_order_no is not None:
        found["ship"] = PlannedWait(release.number if release else 0, p.ship_ms)
    if run.process.bill_at_ms is not None:
        found["bill"] = PlannedWait(run.process.bill_at_ms, until_ms=run.process.bill_at_ms)
    invoice = run.task("request_invoice")
    if invoice is not None and not invoice.is_refused and (invoice.is_waiting or _is_uninvoiced(run)):
        found["invoice"] = PlannedWait(invoice.number, p.invoice_ms)
    again_ms = min(release_again_ms(run), default=None)
    if again_ms is not None:
        found["again"] = PlannedWait(again_ms, until_ms=again_ms)
    days = [line.answer.promised_on for _, line in live if line.backordered_milli and line.answer and line.answer.promised_on]
    if days:
        first = to_day(min(days))
        found["backorder"] = PlannedWait(first, until_ms=(first + 1) * DAY_MS)
    return found


def _is_unconfirmed(run: OrderProcess, live: list[tuple[int, Line]]) -> bool:
    post = run.task("post_order")
    if post is not None and post.is_waiting:
        return True
    if any(told.pending for _, told in run.t.told.under(run.order_id)):
        return True
    return bool(live) and run.order.erp_order_no is None and not run.process.holds


def _is_untouched(run: OrderProcess, number: int, line: Line) -> bool:
    """Whether the warehouse was told of units it has said nothing of yet."""
    sites = handoffs(run, number).values()
    told = sum(row.instructed_milli - row.withdrawn_milli for row in sites)
    done = line.executed
    return told > max(done.released_milli, done.picked_milli, done.shipped_milli) + done.short_milli


def _is_uninvoiced(run: OrderProcess) -> bool:
    """Whether the ERP was asked to bill units of which it has shown no invoice yet."""
    billed = [(run.t.billed.get((run.order_id, number)), line) for number, line in run.lines]
    return any(row is not None and row.requested_milli > line.invoiced_milli for row, line in billed)


# --- exceptions ----------------------------------------------------------------------------------------------------------


def _note(run: OrderProcess, late: list[str]) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """Note exceptions that have come up, or read otherwise now, and clear those that are over."""
    t, order_id = run.t, run.order_id
    wanted = {f"{code}:{order_id}": (code, sentence) for code, sentence in _concerns(run, late)}
    for reason in run.process.holds:
        wanted[f"held:{reason}:{order_id}"] = (_HELD.get(reason, _CREDIT), words(run, reason))
    for (_, fingerprint), _ in list(t.concerns.under(order_id)):
        if fingerprint not in wanted:
            del t.concerns[order_id, fingerprint]
            yield cleared(run.cause, fingerprint)
    for fingerprint, (code, sentence) in sorted(wanted.items()):
        current = t.concerns.get((order_id, fingerprint))
        if current is None or current.sentence != sentence:
            t.concerns[order_id, fingerprint] = OpenException(sentence)
            yield note(run.cause, code, fingerprint, sentence, order_id=order_id)


def _concerns(run: OrderProcess, late: list[str]) -> Iterator[tuple[str, str]]:
    order_id = run.order_id
    for what in late:
        code, sentence = LATE[what]
        yield code, sentence.format(order=order_id)
    refused = dict(run.process.refusals).get("invoice_refused")
    if refused is not None:
        yield "invoice_refused", f"Order {order_id}: the ERP refuses to bill what has shipped: {refused}"
    refused = dict(run.process.refusals).get("credit_refused")
    if refused is not None:
        yield "credit_refused", f"Order {order_id}: the ERP refuses to credit what came back: {refused}"
    undated = [
        f"{show(line.backordered_milli)} of {line.item}"
        for _, line in run.live()
        if line.backordered_milli and is_current(line) and line.answer and line.answer.promised_on is None
    ]
    if undated:
        yield "backorder_undated", f"Order {order_id} waits for {several(undated)}, and no supply covers it."
    if not run.is_waiting("post_order") and not any(told.pending for _, told in run.t.told.under(order_id)):
        over = [f"{show(units)} of {line.item}" for _, line, _, units in unbilled(run) if units]
        if over:
            yield "not_billable", f"Order {order_id}: {several(over)} shipped beyond what the ERP has on the order."
