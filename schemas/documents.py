"""ERP documents: header and line rows as the change feed brings them, to the documents fold (inbox keyed by number)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from schemas.base import ErpRow, ErpRowsReview, ErpTableNews, Event


class SalesOrderRow(ErpRow, frozen=True, kw_only=True):
    """sales_order. `created_at`/`updated_at`: as the ERP writes them (UTC with Z, local wall clock without zone)."""

    order_no: str
    channel: str
    external_ref: str | None
    customer: str
    status: str
    requested_on: date | None
    priority: int
    created_at: str
    updated_at: str


class SalesOrderLineRow(ErpRow, frozen=True, kw_only=True):
    """sales_order_line."""

    order_no: str
    line_no: int
    item: str
    site: str
    ordered_milli: int
    allocated_milli: int
    shipped_milli: int
    invoiced_milli: int
    unit_price: Decimal | None
    line_status: str


class PurchaseOrderRow(ErpRow, frozen=True, kw_only=True):
    """purchase_order. `status`: OPEN PART CLOSED CANCEL."""

    po_no: str
    supplier: str
    status: str


class PurchaseOrderLineRow(ErpRow, frozen=True, kw_only=True):
    """purchase_order_line. `line_status`: O open, P part received, C closed, X cancelled."""

    po_no: str
    line_no: int
    item: str
    site: str
    ordered_milli: int
    received_milli: int
    expected_on: date | None
    line_status: str


class InvoiceRow(ErpRow, frozen=True, kw_only=True):
    """invoice. `status`: POSTED PAID VOID. It names the ERP's order number only."""

    invoice_no: str
    order_no: str
    status: str
    total: Decimal
    created_at: str


class InvoiceLineRow(ErpRow, frozen=True, kw_only=True):
    """invoice_line. It names its invoice only."""

    invoice_no: str
    line_no: int
    order_line_no: int
    item: str
    qty_milli: int
    unit_price: Decimal | None
    amount: Decimal


class ErpDocumentsNews(ErpTableNews, frozen=True, kw_only=True):
    """News of sales_order, purchase_order, invoice or their lines."""


class ReviewErpDocuments(ErpRowsReview, frozen=True, kw_only=True):
    """Go on with the rows of `document` and the documents behind it."""

    document: str


class InvoiceLineJoined(Event, frozen=True, kw_only=True):
    """The documents fold's note to itself: an invoice line with its header, on its way to the order it bills."""

    order_no: str
    invoice_no: str
    invoice_line: int
    order_line_no: int
    revision: int
    item: str
    qty_milli: int
    amount: Decimal
    posted_at_ms: int
    is_void: bool


class WarehouseReported(Event, frozen=True, kw_only=True):
    """A warehouse's report that names the order by the ERP's number. `type`, `body`: the event and its fields, as JSON."""

    order_no: str
    type: str
    body: str
