"""What crossdock posted to the ERP, recognised when the ERP's change feed shows it: it is not a word of the ERP's own."""

from __future__ import annotations

from schemas.frozen import replace
from tables.orders.state import ErpLine, OrderTables


def heard(t: OrderTables, order_id: str, order_no: str, line_no: int, current: ErpLine | None, new: ErpLine) -> ErpLine:
    """The ERP's new line, marked with the quantity it was told if that is what it shows now.

    Quantities are told one after the other and shown in that order, so one that is shown ends all waiting before it. What was
    not told is the ERP's own change.
    """
    told = t.told.get((order_id, line_no))
    order = t.orders.get((order_id,))
    if told is None or (order is not None and order.erp_order_no not in (None, order_no)):
        return new
    now = new.stands_milli()
    if current is not None and current.stands_milli() == now:
        own = current.own_milli if current.told_milli is not None else new.own_milli
        return replace(new, own_milli=own, told_milli=current.told_milli)
    for n, posted in enumerate(told.pending):
        if posted.qty_milli == now:
            t.told[order_id, line_no] = replace(told, shown_milli=now, pending=told.pending[n + 1 :])
            own, changed_at_ms = (current.own_milli, current.changed_at_ms) if current else (None, 0)
            return replace(new, own_milli=own, told_milli=now, changed_at_ms=changed_at_ms)
    if current is None and told.pending:
        # It is there because it was posted, and was changed before it was ever shown: the quantity posted first never will be.
        t.told[order_id, line_no] = replace(told, shown_milli=told.pending[0].qty_milli, pending=told.pending[1:])
    return replace(new, told_milli=None)
