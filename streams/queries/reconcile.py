"""Reconciliation: our tables against an extract of the ERP, row by row and column by column, and what follows from them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from connectors.erp.columns import TABLES, ErpTable
from connectors.erp.extract import ExtractTable, comparable, read_table, tables_in
from schemas.quantity import to_decimal
from schemas.topics import CUSTOMERS, DOCUMENTS, PROMISE
from streams.engine.verdict import Verdict
from tables.documents.purchase_orders import ENDED_ORDERS, OPEN_LINES

Key = tuple[Any, ...]
Rows = Callable[[str, str], Iterable[tuple[Key, Any]]]

KEPT_DIFFERENCES = 1_000
OPEN_SUPPLY, ON_HAND = "open supply", "on hand"


@dataclass(frozen=True, slots=True)
class TableDifference:
    """One value that is not the same. `column` is `*` where the whole row is missing on a side (none)."""

    table: str
    key: str
    column: str
    ours: str | None
    theirs: str | None


@dataclass(slots=True)
class TableReport:
    """What was compared of one table. `not_compared`: column -> rows in which it could not be."""

    table: str
    rows_theirs: int = 0
    rows_ours: int = 0
    rows_compared: int = 0
    fields_compared: int = 0
    differences: int = 0
    missing: int = 0
    unexpected: int = 0
    not_compared: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Reconciliation:
    """The whole comparison. `differences` holds the first ones; the tables count all of them.

    `not_compared`: a sentence for each table or column that could not be, though it was asked for.
    """

    tables: list[TableReport] = field(default_factory=list)
    differences: list[TableDifference] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    @property
    def difference_count(self) -> int:
        """How many differences there are in all."""
        return sum(table.differences for table in self.tables)

    @property
    def verdict(self) -> Verdict:
        """Whether our tables are the extract's: the same only if all of it was compared."""
        if self.difference_count:
            return Verdict.DIFFERENT
        return Verdict.UNKNOWN if self.not_compared else Verdict.SAME

    @property
    def is_equal(self) -> bool:
        """All that was asked for was compared, and nothing differs."""
        return self.verdict is Verdict.SAME


@dataclass(frozen=True, slots=True)
class _Ours:
    """Where a table's rows are kept: the ERP's columns in the order of our key, and column -> attribute of our row."""

    flow: str
    table: str
    key: tuple[str, ...]
    attributes: dict[str, str]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_OURS = {
    "site": _Ours(PROMISE, "sites", ("site_code",), _same("name", "timezone")),
    "item": _Ours(
        PROMISE,
        "items",
        ("item_no",),
        _same("description", "base_uom", "pack_uom", "lot_tracked", "shelf_life_days", "status", "hazmat_class", "updated_at")
        | {"pack_qty": "pack_milli", "safety_stock": "safety_stock_milli"},
    ),
    "item_price": _Ours(PROMISE, "prices", ("item_no", "price_list", "currency", "valid_from"), _same("unit_price", "valid_to")),
    "customer": _Ours(
        CUSTOMERS,
        "customers",
        ("customer_no",),
        _same("name", "tax_id", "email", "credit_limit", "credit_hold", "terms", "price_list", "status", "credit_currency"),
    ),
    "inventory_balance": _Ours(
        PROMISE,
        "erp_balances",
        ("item_no", "site_code"),
        _same("row_version", "updated_at")
        | {"on_hand": "on_hand_milli", "allocated": "allocated_milli", "on_order": "on_order_milli"},
    ),
    "sales_order": _Ours(
        DOCUMENTS,
        "sales_orders",
        ("order_no",),
        _same("channel", "external_ref", "status", "created_at", "updated_at", "priority")
        | {"customer_no": "customer", "requested_ship_date": "requested_on"},
    ),
    "sales_order_line": _Ours(
        DOCUMENTS,
        "sales_order_lines",
        ("order_no", "line_no"),
        _same("unit_price")
        | {"item_no": "item", "site_code": "site", "status": "line_status", "qty_ordered": "ordered_milli"}
        | {"qty_allocated": "allocated_milli", "qty_shipped": "shipped_milli", "qty_invoiced": "invoiced_milli"},
    ),
    "purchase_order": _Ours(DOCUMENTS, "purchase_orders", ("po_no",), _same("supplier", "status")),
    "purchase_order_line": _Ours(
        DOCUMENTS,
        "purchase_order_lines",
        ("po_no", "line_no"),
        {"item_no": "item", "site_code": "site", "qty_ordered": "ordered_milli", "qty_received": "received_milli"}
        | {"expected_date": "expected_on", "status": "line_status"},
    ),
    "invoice": _Ours(DOCUMENTS, "invoices", ("invoice_no",), _same("order_no", "status", "total", "created_at")),
    "invoice_line": _Ours(
        DOCUMENTS,
        "invoice_lines",
        ("invoice_no", "line_no"),
        _same("order_line_no", "unit_price", "amount") | {"item_no": "item", "qty": "qty_milli"},
    ),
}


def reconcile(
    rows: Rows,
    directory: Path,
    erp_sites: Collection[str] = (),
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> Reconciliation:
    """Compare our tables with an extract. `rows(flow, table)` gives all rows of a table of ours, of every partition.

    Compared are the ERP's own tables, the open supply behind our promises, and, at `erp_sites` (those whose stock is the ERP's),
    what is on hand. `only`: these tables alone (none: all). `without`: tables and columns (`table.column`) that need not be
    compared. Raises `connectors.erp.extract.BadExtract`.
    """
    known, unmapped = tables_in(directory)
    wanted = [name for name in TABLES if name not in without and (not only or name in only)]
    found = Reconciliation()
    found.not_compared += [f"table {name}: the extract has no {name}.json" for name in wanted if name not in known]
    if not only:
        others = (name for name in unmapped if name not in without)
        found.not_compared += [f"{name}.json: crossdock keeps no such table of the ERP" for name in others]
    for name in [name for name in known if name in wanted]:
        extract = read_table(directory, name)
        _Comparison(found, name).compare(extract, _ours(rows, name))
        if name == "purchase_order_line" and "purchase_order" in known:
            theirs = _open_supply(read_table(directory, "purchase_order"), extract)
            _Comparison(found, OPEN_SUPPLY).derived(theirs, _our_supply(rows))
        if name == "inventory_balance" and erp_sites:
            on_hand = {(r["item_no"], r["site_code"]): {"on_hand": r["on_hand"]} for r in extract.rows.values()}
            theirs = {key: row for key, row in on_hand.items() if key[1] in erp_sites and row["on_hand"] != 0}
            _Comparison(found, ON_HAND).derived(theirs, _our_stock(rows, erp_sites))
    for report in found.tables:
        for column, count in report.not_compared.items():
            if f"{report.table}.{column}" not in without:
                found.not_compared.append(_left_out(report, column, count))
    return found


def _left_out(report: TableReport, column: str, count: int) -> str:
    if column in TABLES[report.table].columns:
        return f"{report.table}.{column}: the extract has no such column"
    many = "1 row" if count == 1 else f"{count:,} rows"
    return f"{report.table}.{column}: its value was never sent for {many} of {report.rows_compared:,}"


def _ours(rows: Rows, name: str) -> Iterator[tuple[Key, dict[str, Any], dict[str, str]]]:
    """Our rows as (the ERP's key, known columns, unknown columns as JSON text)."""
    ours, table = _OURS[name], TABLES[name]
    for key, row in rows(ours.flow, ours.table):
        if row.is_deleted:
            continue
        values = dict(zip(ours.key, key, strict=True))
        for column, attribute in ours.attributes.items():
            value = getattr(row, attribute)
            if table.columns[column].is_optional and value == "":
                value = None  # a row says so of what the ERP does not say
            is_quantity = attribute.endswith("_milli") and value is not None
            values[column] = to_decimal(value) if is_quantity else comparable(table.columns[column], value)
        yield tuple(values[column.name] for column in table.key), values, row.extra


def _open_supply(headers: ExtractTable, lines: ExtractTable) -> dict[Key, dict[str, Any]]:
    """What the extract says is still to come, by (item, document, line)."""
    found: dict[Key, dict[str, Any]] = {}
    for (po_no, line_no), line in lines.rows.items():
        header = headers.rows.get((po_no,))
        rest = line["qty_ordered"] - line["qty_received"]
        if header and header["status"] not in ENDED_ORDERS and line["status"] in OPEN_LINES and rest > 0:
            expected = {"quantity": rest, "site": line["site_code"], "expected_on": line["expected_date"]}
            found[(line["item_no"], po_no, line_no)] = expected
    return found


def _our_supply(rows: Rows) -> dict[Key, dict[str, Any]]:
    found: dict[Key, dict[str, Any]] = {}
    for key, row in rows(PROMISE, "supplies"):
        rest = row.ordered_milli - row.erp_received_milli
        if row.is_open and rest > 0:
            found[key] = {"quantity": to_decimal(rest), "site": row.site, "expected_on": row.expected_on}
    return found


def _our_stock(rows: Rows, sites: Collection[str]) -> dict[Key, dict[str, Any]]:
    return {
        key: {"on_hand": to_decimal(row.usable_milli)}
        for key, row in rows(PROMISE, "stock")
        if key[1] in sites and row.usable_milli != 0
    }


class _Comparison:
    """Compares one table and writes down what it finds."""

    def __init__(self, found: Reconciliation, name: str) -> None:
        self.found = found
        self.report = TableReport(name)
        found.tables.append(self.report)

    def compare(self, theirs: ExtractTable, ours: Iterator[tuple[Key, dict[str, Any], dict[str, str]]]) -> None:
        """One of the ERP's tables."""
        self.report.rows_theirs = len(theirs.rows)
        seen: dict[Key, dict[str, Any]] = {}
        for key, row, extra in ours:
            if key in seen:
                if seen[key] != row:
                    self.differ(key, "*", "partitions disagree", None)
                continue
            seen[key] = row
            if key not in theirs.rows:
                self.report.unexpected += 1
                self.differ(key, "*", "a row", None)
                continue
            self.report.rows_compared += 1
            for column in theirs.columns:
                self.field(key, column, row[column], theirs.rows[key][column])
            self._unknown(key, theirs.unknown[key], extra)
        self.report.rows_ours = len(seen)
        self._missing(theirs.rows, seen)
        self._absent(theirs.table, theirs.columns, seen.values())

    def derived(self, theirs: dict[Key, dict[str, Any]], ours: dict[Key, dict[str, Any]]) -> None:
        """What follows from the ERP's tables."""
        self.report.rows_theirs, self.report.rows_ours = len(theirs), len(ours)
        for key, row in ours.items():
            if key not in theirs:
                self.report.unexpected += 1
                self.differ(key, "*", "a row", None)
                continue
            self.report.rows_compared += 1
            for column, value in row.items():
                self.field(key, column, value, theirs[key][column])
        self._missing(theirs, ours)

    def field(self, key: Key, column: str, ours: Any, theirs: Any) -> None:
        """One value."""
        self.report.fields_compared += 1
        if ours != theirs:
            self.differ(key, column, _show(ours), _show(theirs))

    def differ(self, key: Key, column: str, ours: str | None, theirs: str | None) -> None:
        """Write down a difference."""
        self.report.differences += 1
        if len(self.found.differences) < KEPT_DIFFERENCES:
            shown = "/".join(_show(part) or "" for part in key)
            self.found.differences.append(TableDifference(self.report.table, shown, column, ours, theirs))

    def _missing(self, theirs: Iterable[Key], ours: Collection[Key]) -> None:
        for key in theirs:
            if key not in ours:
                self.report.missing += 1
                self.differ(key, "*", None, "a row")

    def _absent(self, table: ErpTable, columns: tuple[str, ...], ours: Collection[dict[str, Any]]) -> None:
        """Columns of ours the extract does not have. An ERP without an optional one has sent no value of it."""
        for column, declared in table.columns.items():
            is_had = not declared.is_optional or any(row[column] is not None for row in ours)
            if column not in columns and is_had:
                self.report.not_compared[column] = self.report.rows_compared

    def _unknown(self, key: Key, theirs: dict[str, Any], extra: dict[str, str]) -> None:
        """Columns this version has no name for: compared by what they look like.

        A row without such a column has not been sent since the column was added: its default is in no record, so nothing
        can be said about it.
        """
        for column, value in theirs.items():
            if column not in extra:
                if value is None:
                    self.report.fields_compared += 1
                else:
                    self.report.not_compared[column] += 1
            elif _alike(json.loads(extra[column], parse_float=Decimal), value):
                self.report.fields_compared += 1
            else:
                self.report.fields_compared += 1
                self.differ(key, column, extra[column], json.dumps(value, default=str))


def _show(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _alike(ours: Any, theirs: Any) -> bool:
    """Whether a value of the feed and one of the extract can be the same, where nothing tells the column's type."""
    if isinstance(ours, bool) or isinstance(theirs, bool) or ours is None or theirs is None:
        return ours is theirs
    if ours == theirs:
        return True
    ours_number, theirs_number = _number(ours), _number(theirs)
    if theirs_number is not None:
        return ours_number == theirs_number or _is_precise(ours, theirs_number)
    their_instant = _instant(theirs)
    if their_instant is None:
        return False
    if isinstance(ours, int):
        micros = (their_instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return micros in (ours * 86_400_000_000, ours * 1_000, ours)
    return _instant(ours) == their_instant


def _is_precise(ours: Any, theirs: Decimal) -> bool:
    """Whether base64 of precise mode, with a scale of its own or that of the extract's text, is the number."""
    scale = -int(theirs.as_tuple().exponent)
    if isinstance(ours, dict):
        ours, scale = ours.get("value"), ours.get("scale")
    try:
        unscaled = int.from_bytes(b64decode(ours, validate=True), "big", signed=True)
        return bool(Decimal(f"{unscaled}E{-scale}") == theirs)
    except (TypeError, ValueError, ArithmeticError):
        return False


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, str | int | Decimal):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def _instant(value: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
