"""The rows of one order to the event they mean, and the report on a file's rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from connectors.channels.orders import wire as orders
from connectors.channels.orders.translate import channel_of, placed
from connectors.edge import read
from connectors.files.layout import HEADER, PLAIN, UNDECLARED, Layout, layout_of
from connectors.files.orders_csv.wire import OrderRow, OrderRows, orders_of, rows_of
from schemas.errors import BadMessage
from schemas.records import Record, Translation

_ORDER_COLUMNS = ("customer", "placed_at", "requested_date", "partial", "backorder", "substitute")
_YES_NO = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}


def translate(record: Record) -> Translation:
    """The order the rows of one record are. Raises `BadMessage`."""
    _, rows = rows_of(record.value or b"")
    layout = next((layout_of(value) for name, value in record.headers if name == HEADER), PLAIN)
    return Translation([_order(rows, record, layout)])


def _order(rows: list[OrderRow], record: Record, layout: Layout) -> Any:
    """Raises `BadMessage`; a row that is wrong is named by its place among the rows."""
    items = tuple({row.cells["item"]: None for row in rows if "item" in row.cells})[:100]
    try:
        document = json.dumps(_document(rows, channel_of(record), layout)).encode()
        as_order = Record(record.topic, record.partition, record.offset, record.timestamp_ms, record.key, document)
        m = read(orders.ADAPTER, as_order, orders.TYPES)
        assert isinstance(m, orders.OrderDocument)
        return placed(m, record)
    except BadMessage as error:
        raise BadMessage(error.reason, hint=error.hint, items=items) from None


def _document(rows: list[OrderRow], channel: str, layout: Layout) -> dict[str, Any]:
    if not rows:
        raise BadMessage("there is no row", hint="send the rows of one order under the row of column names")
    first = rows[0].cells
    for row in rows[1:]:
        for name in ("order", *_ORDER_COLUMNS):
            if row.cells.get(name) != first.get(name):
                here, there = row.cells.get(name, ""), first.get(name, "")
                raise BadMessage(
                    f"{name} is {there!r} in one row and {here!r} in another", hint="give all rows of an order the same"
                )
    read_as = {"customer": lambda _, text: text, "placed_at": layout.instant, "requested_date": layout.day}
    document: dict[str, Any] = {name: as_it_is(name, first[name]) for name, as_it_is in read_as.items() if name in first}
    policy = {name: _yes_no(name, first[name]) for name in ("partial", "backorder", "substitute") if name in first}
    head = {"channel": channel, "external_ref": first.get("order", ""), "policy": policy}
    return {**head, **document, "lines": [_line(row, layout) for row in rows]}


def _line(row: OrderRow, layout: Layout) -> dict[str, Any]:
    line: dict[str, Any] = {
        name: row.cells[name] for name in ("item", "qty", "uom", "unit_price", "currency") if name in row.cells
    }
    for name in ("qty", "unit_price"):
        if name in line:
            line[name] = layout.number(name, line[name])
    number = row.cells.get("line", "")
    if not number.isascii() or not number.isdigit():
        raise BadMessage(f"line {number!r} is not a whole number", hint="number the lines of an order 1, 2, 3")
    return {**line, "line": int(number)}


def _yes_no(name: str, text: str) -> bool:
    if text.lower() not in _YES_NO:
        raise BadMessage(f"{name} {text!r} is neither yes nor no", hint="write yes or no")
    return _YES_NO[text.lower()]


@dataclass(frozen=True, slots=True)
class RowReport:
    """What became of a row. `outcome`: taken, refused (this row is wrong), left out (another row of its order is).

    Also sent: it is in the log, and has not become an order yet.
    """

    number: int
    order: str
    line: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileReport:
    """A file's orders, wrong ones included, with the ids of those that can be taken; how its cells are read; its rows."""

    orders: list[OrderRows]
    ids: dict[str, str]
    layout: Layout
    rows: list[RowReport]


def report(data: bytes, topic: str, at_ms: int, declared: Layout = UNDECLARED, encoding: str | None = None) -> FileReport:
    """What a file has. Raises `BadMessage` for what is not such a file."""
    found = orders_of(data, encoding)
    cells = (row.cells.get(name, "") for order in found for row in order.rows for name in ("qty", "unit_price"))
    layout = declared.shown_by(cells)
    ids: dict[str, str] = {}
    reports: list[RowReport] = []
    for order in found:
        record = Record(topic, 0, 0, at_ms, None, order.text)
        try:
            ids[order.order] = str(_order(order.rows, record, layout).order_id)
        except BadMessage as error:
            reports += _blamed(order, record, layout, f"{error.reason}; {error.hint}")
        else:
            reports += [_row(order, row, "taken", "") for row in order.rows]
    return FileReport(found, ids, layout, sorted(reports, key=lambda x: x.number))


def _blamed(order: OrderRows, record: Record, layout: Layout, reason: str) -> list[RowReport]:
    """The rows that are wrong by themselves; all of them if it is only together that they are."""
    wrong: dict[int, str] = {}
    for row in order.rows:
        try:
            _order([row], record, layout)
        except BadMessage as error:
            wrong[row.number] = f"{error.reason}; {error.hint}"
    if not wrong:
        return [_row(order, row, "refused", reason) for row in order.rows]
    others = f"row {min(wrong)} of the order is wrong"
    return [
        _row(order, row, "refused" if row.number in wrong else "left out", wrong.get(row.number, others)) for row in order.rows
    ]


def _row(order: OrderRows, row: OrderRow, outcome: str, reason: str) -> RowReport:
    return RowReport(row.number, order.order, row.cells.get("line", ""), outcome, reason)
