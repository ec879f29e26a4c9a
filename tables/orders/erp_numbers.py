"""What a warehouse reports under the ERP's number: the order and line it means are looked up, then it is passed on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.errors import NotYet
from schemas.frozen import replace
from schemas.orders import ErpNumberReported
from schemas.reported import read, stock_items
from tables.orders.emits import OrderEmit
from tables.orders.state import OrderTables


def erp_number_reported(t: OrderTables, e: ErpNumberReported) -> Iterator[OrderEmit]:
    """Pass the report on to whom it concerns, with our order and line. Raises `NotYet` while the ERP's line has not come."""
    passed = t.passed_on.get((e.order_id, e.order_no))
    if passed is not None:
        yield replace(e, order_id=passed.to)
        return
    event = read(e.type, e.body)
    yield replace(event, order_id=e.order_id, line=_line(t, e, event))


def _line(t: OrderTables, e: ErpNumberReported, event: Any) -> int:
    """Our number of a line that is named by the ERP's, or already by ours."""
    number: int = event.line
    erp = t.erp_lines.get((e.order_id, e.order_no, number))
    if erp is not None and erp.line is not None:
        return erp.line
    if erp is None and (e.order_id, e.order_no) in t.erp_orders and (e.order_id, number) in t.placed:
        return number
    why = f"line {number} of the ERP's order {e.order_no} has not arrived; the warehouse's report waits for it"
    raise NotYet(why, items=stock_items(event))
