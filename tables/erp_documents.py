"""A truncated table of the ERP's documents: its headers or lines are gone, as if each had been deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas import documents as rows
from schemas.errors import AlreadyApplied
from tables import invoice_documents, purchase_documents, sales_documents
from tables.documents import DocumentsTables
from tables.erp_rows import caused_by
from tables.erp_tables import HISTORY, began, check_table, gone, is_cut, next_rows, truncated
from tables.table import Table

Rule = Callable[[DocumentsTables, Any], Iterator[Any]]
_KINDS: dict[str, tuple[str, type[Any], tuple[str, ...], Rule]] = {
    "sales_order": ("sales_orders", rows.SalesOrderRow, ("order_no",), sales_documents.sales_order_changed),
    "sales_order_line": (
        "sales_order_lines",
        rows.SalesOrderLineRow,
        ("order_no", "line_no"),
        sales_documents.sales_order_line_changed,
    ),
    "purchase_order": ("purchase_orders", rows.PurchaseOrderRow, ("po_no",), purchase_documents.purchase_order_changed),
    "purchase_order_line": (
        "purchase_order_lines",
        rows.PurchaseOrderLineRow,
        ("po_no", "line_no"),
        purchase_documents.purchase_order_line_changed,
    ),
    "invoice": ("invoices", rows.InvoiceRow, ("invoice_no",), invoice_documents.invoice_changed),
    "invoice_line": ("invoice_lines", rows.InvoiceLineRow, ("invoice_no", "line_no"), invoice_documents.invoice_line_changed),
}


def erp_documents_news(t: DocumentsTables, e: rows.ErpDocumentsNews) -> Iterator[Any]:
    """Note the news; a truncated table's rows are worked off from the first on."""
    check_table(_KINDS, e)
    if e.what == HISTORY:
        began(t.erp_tables, _KINDS, e)
        return
    e = truncated(t.erp_tables, e)
    found, _ = next_rows(_table(t, e.table), "")
    if found:
        yield _review(e, found[0][0][0])


def review_erp_documents(t: DocumentsTables, e: rows.ReviewErpDocuments) -> Iterator[Any]:
    """Delete the next rows that are from before the truncation."""
    check_table(_KINDS, e)
    _, kind, names, rule = _KINDS[e.table]
    found, after = next_rows(_table(t, e.table), e.document)
    whole = t.erp_tables.get((e.table,))
    for key, row in found:
        if not row.is_deleted and is_cut(row.version, e, whole):
            try:
                yield from rule(t, gone(kind, e, row.version, whole, **dict(zip(names, key, strict=True))))
            except AlreadyApplied:
                continue
    if after is not None:
        yield _review(e, after)


def _table(t: DocumentsTables, name: str) -> Table[Any, Any]:
    found: Table[Any, Any] = getattr(t, _KINDS[name][0])
    return found


def _review(e: rows.ErpDocumentsNews | rows.ReviewErpDocuments, document: str) -> rows.ReviewErpDocuments:
    return rows.ReviewErpDocuments(
        **caused_by(e, f"erp:{e.table}:{e.what}:{e.source_position}:{document}"),
        table=e.table,
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        document=document,
    )
