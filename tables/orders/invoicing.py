"""Billing: the ERP is asked to invoice units that have shipped, and only those, each once. A return does not unbill them."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.deliveries import ObligationRaised
from schemas.frozen import replace
from schemas.obligations import ObligedLine, RequestCreditNote, RequestInvoice
from tables.orders.process import OrderProcess
from tables.orders.process_state import RequestedInvoice, Task, TaskLine
from tables.orders.returns import of_own, of_substitute
from tables.orders.state import Line, OrderTables


def shipped_milli(run: OrderProcess, number: int, line: Line) -> int:
    """Units of a line the warehouse says have left, substitutes by what they serve."""
    others = run.t.substitutes.under(run.order_id, number)
    return line.executed.shipped_milli + sum(other.serves(other.shipped_milli) for _, other in others)


def unbilled(run: OrderProcess) -> list[tuple[int, Line, int, int]]:
    """Lines with units that shipped and were not asked to be billed: (number, line, what the ERP can bill, what it cannot)."""
    found = []
    for number, line in run.lines:
        shipped = shipped_milli(run, number, line)
        current = run.t.billed.get((run.order_id, number))
        asked = max(current.requested_milli if current else 0, line.invoiced_milli)
        if shipped > asked:
            erp = run.erp_line(line)
            most = max(asked, erp.ordered_milli) if erp is not None else asked
            found.append((number, line, min(shipped, most) - asked, max(0, shipped - most)))
    return found


def bill(run: OrderProcess) -> Iterator[ObligationRaised]:
    """Ask for an invoice of what has shipped, a moment after the first of it, so that one invoice bills it all."""
    endpoint = run.policy.orders.erp
    assert endpoint is not None
    last = run.task("request_invoice")
    if last is not None and (last.is_waiting or last.is_refused):
        return
    if "substitution" in run.process.holds:  # nobody has accepted yet what went out
        run.change(bill_at_ms=None)
        return
    due = [(number, line, units) for number, line, units, _ in unbilled(run) if units]
    if not due or run.order.erp_order_no is None:
        run.change(bill_at_ms=None)
        return
    if run.process.bill_at_ms is None:
        run.change(bill_at_ms=run.now_ms + run.policy.orders.invoice_pause_ms)
    if run.process.bill_at_ms is None or run.now_ms < run.process.bill_at_ms:
        return
    rows = [row for number, line, units in due for row in _parts(run, number, line, units)]
    for number, line, units in due:
        current = run.t.billed.get((run.order_id, number))
        before = max(current.requested_milli if current else 0, line.invoiced_milli)
        run.t.billed[run.order_id, number] = RequestedInvoice(before + units)
    run.change(bill_at_ms=None)
    lines = [_obliged(run, row) for row in rows]
    yield run.begin(endpoint, RequestInvoice(run.order_id, run.order.erp_order_no, lines), tuple(rows))


def _parts(run: OrderProcess, number: int, line: Line, units: int) -> Iterator[TaskLine]:
    """Units of a line as the items they left as: a substitute is billed as what it is, whole units of the line at a time."""
    for key, other in list(run.t.substitutes.under(run.order_id, number)):
        fresh = other.shipped_milli - other.billed_milli
        served = other.serves(other.shipped_milli) - other.serves(other.billed_milli)
        if 0 < served <= units:
            run.t.substitutes[key] = replace(other, billed_milli=other.shipped_milli)
            units -= served
            yield TaskLine(number, "", served, key[2], fresh)
    if units > 0:
        yield TaskLine(number, "", units)


def _obliged(run: OrderProcess, row: TaskLine) -> ObligedLine:
    """A line to bill or to credit. A substitute costs what was agreed for the units it serves."""
    line = run.t.lines[run.order_id, row.line]
    erp = run.erp_line(line)
    assert line.erp_line_no is not None
    return ObligedLine(
        line=line.erp_line_no,
        item=line.item,
        site=erp.site if erp else "",
        qty_milli=row.qty_milli,
        uom=line.unit.uom or "",
        substitute=row.item or None,
        substitute_milli=row.item_milli,
    )


def unbill(t: OrderTables, order_id: str, task: Task) -> None:
    """The ERP refused to bill this, and a person lets it be asked again."""
    for row in task.lines:
        current = t.billed[order_id, row.line]
        t.billed[order_id, row.line] = RequestedInvoice(current.requested_milli - row.qty_milli)
        if row.item:
            other = t.substitutes[order_id, row.line, row.item]
            t.substitutes[order_id, row.line, row.item] = replace(other, billed_milli=other.billed_milli - row.item_milli)


# --- credit for what came back -------------------------------------------------------------------------------------------


def credit(run: OrderProcess) -> Iterator[ObligationRaised]:
    """Ask for a credit note for units that were billed and came back, each once."""
    endpoint = run.policy.orders.erp
    assert endpoint is not None
    last = run.task("request_credit_note")
    if run.order.erp_order_no is None or (last is not None and (last.is_waiting or last.is_refused)):
        return
    rows = [row for number, line in run.lines if line.returned_milli for row in _returned_parts(run, number, line)]
    if not rows:
        return
    for row in rows:
        _credited(run.t, run.order_id, row, 1)
    lines = [_obliged(run, row) for row in rows]
    yield run.begin(endpoint, RequestCreditNote(run.order_id, run.order.erp_order_no, lines), tuple(rows))


def _returned_parts(run: OrderProcess, number: int, line: Line) -> Iterator[TaskLine]:
    """Units of a line that came back and are not credited yet, by item, no more than were billed."""
    t, order_id = run.t, run.order_id
    if line.erp_line_no is None:
        return
    current = t.credited.get((order_id, number))
    own = current.requested_milli if current else 0
    others = [(key[2], other) for key, other in t.substitutes.under(order_id, number)]
    room = line.invoiced_milli - own - sum([other.serves(other.credited_milli) for _, other in others])
    due = min(of_own(t, order_id, number, line) - own, room)
    if due > 0:
        yield TaskLine(number, "", due)
        room -= due
    for item, other in others:
        back = of_substitute(t, order_id, number, item)
        served = other.serves(back) - other.serves(other.credited_milli)
        if 0 < served <= room:
            yield TaskLine(number, "", served, item, back - other.credited_milli)
            room -= served


def _credited(t: OrderTables, order_id: str, row: TaskLine, sign: int) -> None:
    if row.item:
        other = t.substitutes[order_id, row.line, row.item]
        credited = other.credited_milli + sign * row.item_milli
        t.substitutes[order_id, row.line, row.item] = replace(other, credited_milli=credited)
        return
    current = t.credited.get((order_id, row.line))
    t.credited[order_id, row.line] = RequestedInvoice((current.requested_milli if current else 0) + sign * row.qty_milli)


def uncredit(t: OrderTables, order_id: str, task: Task) -> None:
    """The ERP refused to credit this, and a person lets it be asked again."""
    for row in task.lines:
        _credited(t, order_id, row, -1)
