"""Invoices of the ERP: a line with its header goes on to the sales order the header names."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from schemas.base import Event
from schemas.documents import InvoiceLineJoined, InvoiceLineRow, InvoiceRow
from schemas.frozen import replace
from tables.common.cdc_rows import accept, caused_by, instant_ms, merged_extra, unless_equal
from tables.documents.emits import DocumentsEmit
from tables.documents.state import DocumentsTables, Invoice, InvoiceLine

VOID = "VOID"


class _Bill(NamedTuple):
    """What an invoice line means to a sales order."""

    order_no: str
    order_line_no: int
    item: str
    qty_milli: int
    amount: Decimal
    posted_at_ms: int
    is_void: bool


def _bill(header: Invoice | None, line: InvoiceLine | None) -> _Bill | None:
    if header is None or header.is_deleted or line is None or line.is_deleted:
        return None
    return _Bill(
        header.order_no,
        line.order_line_no,
        line.item,
        line.qty_milli,
        line.amount,
        instant_ms(header.created_at, 0),
        header.status == VOID,
    )


def invoice_changed(t: DocumentsTables, e: InvoiceRow) -> Iterator[DocumentsEmit]:
    """Keeps the header; sends its lines on to the order it names, and away from the one it named before."""
    current = t.invoices.get((e.invoice_no,))
    row = Invoice(
        accept(current, e, t.erp_tables.get(("invoice",))),
        e.is_deleted,
        e.order_no,
        e.status,
        e.total,
        e.created_at,
        merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.invoices[(e.invoice_no,)] = row
    for (invoice_no, line_no), line in list(t.invoice_lines.under(e.invoice_no)):
        yield from _note(t, e, (invoice_no, line_no), line, _bill(current, line), _bill(row, line))


def invoice_line_changed(t: DocumentsTables, e: InvoiceLineRow) -> Iterator[DocumentsEmit]:
    """Keeps the line; sends it on as soon as the header is there."""
    key = (e.invoice_no, e.line_no)
    current = t.invoice_lines.get(key)
    row = InvoiceLine(
        version=accept(current, e, t.erp_tables.get(("invoice_line",))),
        is_deleted=e.is_deleted,
        revision=current.revision if current else 0,
        order_line_no=e.order_line_no,
        item=e.item,
        qty_milli=e.qty_milli,
        unit_price=e.unit_price,
        amount=e.amount,
        extra=merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.invoice_lines[key] = row
    header = t.invoices.get((e.invoice_no,))
    yield from _note(t, e, key, row, _bill(header, current), _bill(header, row))


def _note(
    t: DocumentsTables, e: Event, key: tuple[str, int], line: InvoiceLine, before: _Bill | None, after: _Bill | None
) -> Iterator[InvoiceLineJoined]:
    if before == after:
        return
    revision = line.revision
    if before is not None and not before.is_void and (after is None or after.order_no != before.order_no):
        revision += 1
        yield _joined(e, key, revision, before._replace(is_void=True))
    if after is not None:
        revision += 1
        yield _joined(e, key, revision, after)
    t.invoice_lines[key] = replace(line, revision=revision)


def _joined(e: Event, key: tuple[str, int], revision: int, bill: _Bill) -> InvoiceLineJoined:
    invoice_no, line = key
    return InvoiceLineJoined(
        **caused_by(e, f"erp:invoice-line:{invoice_no}/{line}:{revision}"),
        order_no=bill.order_no,
        invoice_no=invoice_no,
        invoice_line=line,
        order_line_no=bill.order_line_no,
        revision=revision,
        item=bill.item,
        qty_milli=bill.qty_milli,
        amount=bill.amount,
        posted_at_ms=bill.posted_at_ms,
        is_void=bill.is_void,
    )
