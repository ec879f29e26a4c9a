"""Billing: the ERP is asked to invoice units that have shipped, and only those, each once. A return does not unbill them."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.deliveries import ObligationRaised
from schemas.obligations import ObligedLine, RequestInvoice
from tables.order_context import Run
from tables.order_process import Billed, Task, TaskLine
from tables.orders import Line, OrderTables


def shipped_milli(run: Run, number: int, line: Line) -> int:
    """Units of a line the warehouse says have left, substitutes by what they serve."""
    others = run.t.substitutes.under(run.order_id, number)
    return line.executed.shipped_milli + sum(other.serves(other.shipped_milli) for _, other in others)


def unbilled(run: Run) -> list[tuple[int, Line, int, int]]:
    """Lines with units that shipped and were not asked to be billed: (number, line, what the ERP can bill, what it cannot)."""
    found = []
    for number, line in run.lines:
        shipped = shipped_milli(run, number, line)
        held = run.t.billed.get((run.order_id, number))
        asked = max(held.requested_milli if held else 0, line.invoiced_milli)
        if shipped > asked:
            erp = run.erp_line(line)
            most = max(asked, erp.ordered_milli) if erp is not None else asked
            found.append((number, line, min(shipped, most) - asked, max(0, shipped - most)))
    return found


def bill(run: Run) -> Iterator[ObligationRaised]:
    """Ask for an invoice of what has shipped, a moment after the first of it, so that one invoice bills it all."""
    endpoint = run.policy.orders.erp
    assert endpoint is not None
    last = run.task("request_invoice")
    if last is not None and (last.is_waiting or last.is_refused):
        return
    due = [(number, line, units) for number, line, units, _ in unbilled(run) if units]
    if not due or run.order.erp_order_no is None:
        run.change(bill_at_ms=None)
        return
    if run.process.bill_at_ms is None:
        run.change(bill_at_ms=run.now_ms + run.policy.orders.invoice_pause_ms)
    if run.process.bill_at_ms is None or run.now_ms < run.process.bill_at_ms:
        return
    for number, line, units in due:
        held = run.t.billed.get((run.order_id, number))
        before = max(held.requested_milli if held else 0, line.invoiced_milli)
        run.t.billed[run.order_id, number] = Billed(before + units)
    run.change(bill_at_ms=None)
    lines = [_obliged(run, line, units) for _, line, units in due]
    rows = tuple(TaskLine(number, "", units) for number, _, units in due)
    yield run.begin(endpoint, RequestInvoice(run.order_id, run.order.erp_order_no, lines), rows)


def _obliged(run: Run, line: Line, units: int) -> ObligedLine:
    erp = run.erp_line(line)
    assert line.erp_line_no is not None
    return ObligedLine(line.erp_line_no, line.item, erp.site if erp else "", units, line.unit.uom or "")


def unbill(t: OrderTables, order_id: str, task: Task) -> None:
    """The ERP refused to bill this, and a person lets it be asked again."""
    for row in task.lines:
        held = t.billed[order_id, row.line]
        t.billed[order_id, row.line] = Billed(held.requested_milli - row.qty_milli)
