"""Rows of an order file as they stand. They go no further than `read` and `translate`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.edge import MAX_LINES
from connectors.files.layout import decoded
from schemas.errors import BadMessage

NEEDED = ("order", "customer", "placed_at", "line", "item", "qty")
OPTIONAL = ("requested_date", "uom", "unit_price", "currency", "partial", "backorder", "substitute")
MAX_FILE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class OrderRow:
    """A row of the file, `number` counted from 1 with the column names' row; `cells` by column name, blank ones left out."""

    number: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class OrderRows:
    """The rows of one order, and the same as a CSV text of their own."""

    order: str
    rows: list[OrderRow]
    text: bytes


def rows_of(data: bytes, encoding: str | None = None) -> tuple[list[str], list[OrderRow]]:
    """The columns and rows of a file. Raises `BadMessage` for what is not such a file."""
    if len(data) > MAX_FILE_BYTES:
        raise BadMessage(f"the file has {len(data)} bytes, more than {MAX_FILE_BYTES}", hint="send it in parts")
    text = decoded(data, encoding)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found = list(_numbered(reader))
    if not found:
        raise BadMessage("the file is empty", hint=f"its first row names the columns: {', '.join(NEEDED)}")
    columns = [name.strip().lower() for name in found[0][1]]
    _check_columns(columns)
    rows = []
    for number, cells in found[1:]:
        if len(cells) > len(columns):
            raise BadMessage(f"row {number} has {len(cells)} cells for {len(columns)} columns", hint="put quotes around commas")
        named = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
        if named:
            rows.append(OrderRow(number, named))
    return columns, rows


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            yield number, cells
    except csv.Error as error:
        raise BadMessage(f"row {number + 1} cannot be read: {error}", hint="check its quotes") from None


def _check_columns(columns: list[str]) -> None:
    known = (*NEEDED, *OPTIONAL)
    for name in columns:
        if name not in known:
            raise BadMessage(f"column {name[:60]!r} is not known", hint=f"name the columns {', '.join(known)}")
        if columns.count(name) > 1:
            raise BadMessage(f"column {name!r} is there twice", hint="name each column once")
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise BadMessage(f"column {missing[0]!r} is missing", hint=f"the first row names the columns: {', '.join(NEEDED)}")


def orders_of(data: bytes, encoding: str | None = None) -> list[OrderRows]:
    """The file's orders, in the order they first appear. Raises `BadMessage` for what is not such a file."""
    columns, rows = rows_of(data, encoding)
    by_order: dict[str, list[OrderRow]] = {}
    for row in rows:
        by_order.setdefault(row.cells.get("order", ""), []).append(row)
    return [OrderRows(order, found, _text(columns, found)) for order, found in by_order.items()]


def _text(columns: list[str], rows: list[OrderRow]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.cells.get(name, "") for name in columns] for row in rows[: MAX_LINES + 1])
    return out.getvalue().encode()
