"""An order's public status, worked out of its lines."""

from __future__ import annotations

from schemas.orders import LineStatus, OrderStatus, SubstituteStatus
from tables.orders.lifecycle import LineTally, status_of
from tables.orders.process_state import Process
from tables.orders.references import others
from tables.orders.state import ExecutedLine, Line, Order, OrderTables, Substitute

_NOTHING_DONE = ExecutedLine()


def order_status(t: OrderTables, order_id: str, version: int) -> OrderStatus | None:
    """The order as everybody may see it; none while neither the channel nor the ERP has sent its header."""
    order = t.orders.get((order_id,))
    if order is None:
        return None
    lines = _lines(t, order_id)
    process = t.processes.get((order_id,))
    recent = t.recent_changes.get((order_id,))
    return OrderStatus(
        order_id=order_id,
        version=version,
        as_of_ms=order.as_of_ms,
        status=_status(order, [line for _, line in lines], process),
        channel=order.channel,
        external_ref=order.external_ref,
        customer=order.customer,
        placed_at_ms=order.placed_at_ms,
        requested_on=order.requested_on,
        erp_order_nos=[no for (_, no), erp in t.erp_orders.under(order_id) if not erp.is_deleted],
        lines=[_line_status(t, order_id, number, line) for number, line in lines],
        decision=process.decision if process else "",
        holds=list(process.holds) if process else [],
        changes=list(recent.outcomes) if recent else [],
        same_reference=others(t, order_id),
    )


def status_word(t: OrderTables, order_id: str) -> str | None:
    """The status alone, which is asked for after every event."""
    order = t.orders.get((order_id,))
    if order is None:
        return None
    return _status(order, [line for _, line in _lines(t, order_id)], t.processes.get((order_id,)))


def _lines(t: OrderTables, order_id: str) -> list[tuple[int, Line]]:
    """The lines anybody has heard of."""
    return [(number, line) for (_, number), line in t.lines.under(order_id) if line.is_listed or line.executed != _NOTHING_DONE]


def _status(order: Order, lines: list[Line], process: Process | None) -> str:
    tallies = [
        LineTally(
            x.state,
            wanted_milli=x.wanted_milli,
            allocated_milli=x.allocated_milli,
            picked_milli=x.picked_milli,
            shipped_milli=x.shipped_milli,
            invoiced_milli=x.invoiced_milli,
        )
        for x in lines
    ]
    is_cancelled = order.is_erp_cancelled or order.cancel_reason is not None
    is_held = process.decision == "held" if process else order.is_held
    return status_of(tallies, is_held=is_held, is_cancelled=is_cancelled)


def _line_status(t: OrderTables, order_id: str, number: int, line: Line) -> LineStatus:
    return LineStatus(
        line=number,
        item=line.item,
        uom=line.unit.uom,
        state=line.state.value,
        ordered_milli=line.ordered_milli,
        cancelled_milli=line.ordered_milli - line.wanted_milli,
        allocated_milli=line.allocated_milli,
        backordered_milli=line.backordered_milli,
        picked_milli=line.picked_milli,
        shipped_milli=line.shipped_milli,
        short_milli=line.executed.short_milli,
        substituted_milli=line.executed.substituted_milli,
        returned_milli=line.returned_milli,
        invoiced_milli=line.invoiced_milli,
        promised_on=line.answer.promised_on if line.answer and line.backordered_milli else None,
        reason=line.reason,
        substitutes=[_substitute(key[2], row) for key, row in t.substitutes.under(order_id, number)] if _has_others(line) else [],
    )


def _has_others(line: Line) -> bool:
    done = line.executed
    return done.substituted_milli > 0 or line.shipped_milli > done.shipped_milli or line.returned_milli > done.returned_milli


def _substitute(item: str, row: Substitute) -> SubstituteStatus:
    return SubstituteStatus(
        item=item,
        qty_milli=max(row.substitute_milli, row.shipped_milli),
        serves_milli=max(row.served_milli, row.serves(row.shipped_milli)),
        shipped_milli=row.shipped_milli,
        returned_milli=row.returned_milli,
        is_accepted=row.is_accepted,
    )
