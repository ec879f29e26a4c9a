"""The ERP's tables of documents as wholes: truncated ones, and headers and lines not read again by a new history of its database.

A row that is gone is deleted as any other. Until then an open line that was not read, or whose header was not, raises doubt about
its item: what it brings, or takes, may be no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas import documents as rows
from schemas.base import ErpRow, Event
from schemas.errors import AlreadyApplied
from schemas.inventory import ErpLineDoubted
from tables.common.cdc_rows import caused_by
from tables.common.cdc_tables import HISTORY, check_table, gone, is_gone, next_rows, noted
from tables.common.cdc_unread import count, counted, is_unread_row, start_count
from tables.common.table import Table
from tables.documents import invoices, purchase_orders, sales_orders
from tables.documents.emits import DocumentsEmit
from tables.documents.state import DocumentsTables, DoubtedLine

Rule = Callable[[DocumentsTables, Any], Iterator[DocumentsEmit]]
_KINDS: dict[str, tuple[str, type[ErpRow], tuple[str, ...], Rule]] = {
    "sales_order": ("sales_orders", rows.SalesOrderRow, ("order_no",), sales_orders.sales_order_changed),
    "sales_order_line": (
        "sales_order_lines",
        rows.SalesOrderLineRow,
        ("order_no", "line_no"),
        sales_orders.sales_order_line_changed,
    ),
    "purchase_order": ("purchase_orders", rows.PurchaseOrderRow, ("po_no",), purchase_orders.purchase_order_changed),
    "purchase_order_line": (
        "purchase_order_lines",
        rows.PurchaseOrderLineRow,
        ("po_no", "line_no"),
        purchase_orders.purchase_order_line_changed,
    ),
    "invoice": ("invoices", rows.InvoiceRow, ("invoice_no",), invoices.invoice_changed),
    "invoice_line": ("invoice_lines", rows.InvoiceLineRow, ("invoice_no", "line_no"), invoices.invoice_line_changed),
}
_HEADERS = {"purchase_order": "purchase_order_line", "sales_order": "sales_order_line"}
_LINES = {lines: header for header, lines in _HEADERS.items()}


def erp_documents_news(t: DocumentsTables, e: rows.ErpDocumentsNews) -> Iterator[DocumentsEmit]:
    """Note the news; a truncated table's rows are worked off from the first on."""
    check_table(_KINDS, e)
    for name in noted(t.erp_tables, _KINDS, e):
        found, _ = next_rows(_table(t, name), "")
        if e.what == HISTORY:
            start_count(t.erp_tables, name, found)
        if found:
            yield _review(e, name, found[0][0][0])


def review_erp_documents(t: DocumentsTables, e: rows.ReviewErpDocuments) -> Iterator[DocumentsEmit]:
    """Look at a table's next rows: count and doubt those not read again, delete those that are gone."""
    check_table(_KINDS, e)
    found, after = next_rows(_table(t, e.table), e.document)
    if e.what == HISTORY:
        yield from count(t.erp_tables, e, e.document, found, after)
        yield from _doubt(t, e, found)
    else:
        yield from _delete(t, e, found)
    if after is not None:
        yield _review(e, e.table, after)


def _delete(t: DocumentsTables, e: rows.ReviewErpDocuments, found: list[tuple[Any, Any]]) -> Iterator[DocumentsEmit]:
    _, kind, names, _ = _KINDS[e.table]
    rule = RULES[kind]
    table = t.erp_tables.get((e.table,))
    for key, row in found:
        if not row.is_deleted and is_gone(row.version, e, table):
            try:
                yield from rule(t, gone(kind, e, row.version, table, **dict(zip(names, key, strict=True))))
            except AlreadyApplied:
                continue


def _watched(name: str) -> Rule:
    """The rule about a table's row, and what follows from it for rows that were not read."""
    table_name, _, names, rule = _KINDS[name]

    def changed(t: DocumentsTables, e: Any) -> Iterator[DocumentsEmit]:
        table = t.erp_tables.get((name,))
        if table is None or not table.older:
            yield from rule(t, e)
            return
        key = tuple([getattr(e, part) for part in names])
        yield from counted(t.erp_tables, name, getattr(t, table_name), key, e, rule(t, e))
        if name in _HEADERS:
            yield from _settle(t, e, name, key)
        elif name in _LINES:
            yield from _reconsider(t, e, name, key)

    return changed


RULES: dict[type[Any], Rule] = {kind: _watched(name) for name, (_, kind, _, _) in _KINDS.items()}


def _doubt(t: DocumentsTables, e: rows.ReviewErpDocuments, found: list[tuple[Any, Any]]) -> Iterator[DocumentsEmit]:
    """A step's lines, or the lines of a step's headers."""
    if e.table in _LINES:
        for key, _ in found:
            yield from _reconsider(t, e, e.table, key)
    elif e.table in _HEADERS:
        table = t.erp_tables.get((e.table,))
        for (document,) in [key for key, row in found if is_unread_row(row, table)]:
            for key, _ in list(_table(t, _HEADERS[e.table]).under(document)):
                yield from _reconsider(t, e, _HEADERS[e.table], key)


def _settle(t: DocumentsTables, e: Event, header: str, key: tuple[Any, ...]) -> Iterator[DocumentsEmit]:
    """A header is known again: look at those of its lines that raise doubt."""
    for document, _, line in [doubted for doubted, _ in t.doubted_lines.under(key[0], _HEADERS[header])]:
        yield from _reconsider(t, e, _HEADERS[header], (document, line))


def _reconsider(t: DocumentsTables, e: Event, name: str, key: tuple[Any, ...]) -> Iterator[DocumentsEmit]:
    """Tell a line's item if the line raises doubt now, or raises it no more."""
    at = (key[0], name, key[1])
    current = t.doubted_lines.get(at)
    item = _doubted_item(t, name, key)
    if current is not None and current.item != item:
        del t.doubted_lines[at]
        yield _told(e, at, current.item, is_doubted=False)
    if item is not None and (current is None or current.item != item):
        t.doubted_lines[at] = DoubtedLine(item)
        yield _told(e, at, item, is_doubted=True)


def _doubted_item(t: DocumentsTables, name: str, key: tuple[Any, ...]) -> str | None:
    """The item of a line if that is open, and it or its header is unread."""
    header_name = _LINES[name]
    header: Any = _table(t, header_name).get((key[0],))
    line: Any = _table(t, name).get(key)
    if line is None or line.is_deleted:
        return None
    if not is_unread_row(line, t.erp_tables.get((name,))) and not is_unread_row(header, t.erp_tables.get((header_name,))):
        return None
    is_open = purchase_orders.is_expected if name == "purchase_order_line" else sales_orders.is_demanded
    return str(line.item) if is_open(header, line) else None


def _told(e: Event, at: tuple[str, str, int], item: str, *, is_doubted: bool) -> ErpLineDoubted:
    document, name, line = at
    event_id = f"erp:doubt:{name}/{document}/{line}:{is_doubted:d}:{e.event_id}"
    return ErpLineDoubted(**caused_by(e, event_id), item=item, line=f"{name}/{document}/{line}", is_doubted=is_doubted)


def _table(t: DocumentsTables, name: str) -> Table[Any, Any]:
    found: Table[Any, Any] = getattr(t, _KINDS[name][0])
    return found


def _review(e: rows.ErpDocumentsNews | rows.ReviewErpDocuments, table: str, document: str) -> rows.ReviewErpDocuments:
    return rows.ReviewErpDocuments(
        **caused_by(e, f"erp:{table}:{e.what}:{e.source_position}:{e.part}:{document}"),
        table=table,
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        part=e.part,
        document=document,
    )
