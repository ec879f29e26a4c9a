"""ERP documents: headers and lines, each as the ERP has it, in the fold that joins them (keyed by document number).

A gone row stays, marked deleted, so that an older report of it cannot bring it back. `revision` counts what has been told
of the row to the folds it concerns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from schemas.frozen import Frozen
from tables.common.cdc_tables import CdcTable
from tables.common.row_version import Version
from tables.common.table import Table


class SalesOrder(Frozen, frozen=True):
    """sales_order (see `schemas.documents.SalesOrderRow`)."""

    version: Version
    is_deleted: bool
    revision: int
    channel: str
    external_ref: str | None
    customer: str
    status: str
    requested_on: date | None
    priority: int
    created_at: str
    updated_at: str
    extra: dict[str, str]


class SalesOrderLine(Frozen, frozen=True):
    """sales_order_line. `first_item`: what it began with, none if it was only ever heard to be gone; `most_milli`: the most ever
    ordered; `changed_at_ms`: when that quantity last changed, 0 if never.
    """

    version: Version
    is_deleted: bool
    revision: int
    item: str
    site: str
    ordered_milli: int
    allocated_milli: int
    shipped_milli: int
    invoiced_milli: int
    unit_price: Decimal | None
    line_status: str
    extra: dict[str, str]
    first_item: str | None = None
    most_milli: int = 0
    changed_at_ms: int = 0


class PurchaseOrder(Frozen, frozen=True):
    """purchase_order."""

    version: Version
    is_deleted: bool
    supplier: str
    status: str
    extra: dict[str, str]


class PurchaseOrderLine(Frozen, frozen=True):
    """purchase_order_line."""

    version: Version
    is_deleted: bool
    revision: int
    item: str
    site: str
    ordered_milli: int
    received_milli: int
    expected_on: date | None
    line_status: str
    extra: dict[str, str]


class Invoice(Frozen, frozen=True):
    """invoice."""

    version: Version
    is_deleted: bool
    order_no: str
    status: str
    total: Decimal
    created_at: str
    extra: dict[str, str]


class InvoiceLine(Frozen, frozen=True):
    """invoice_line."""

    version: Version
    is_deleted: bool
    revision: int
    order_line_no: int
    item: str
    qty_milli: int
    unit_price: Decimal | None
    amount: Decimal
    extra: dict[str, str]


class BilledLine(Frozen, frozen=True):
    """An invoice line with its header, at the order it bills. `joined`: the revision of the join it is from."""

    joined: int
    revision: int
    order_line_no: int
    item: str
    qty_milli: int
    amount: Decimal
    posted_at_ms: int
    is_void: bool


class DoubtedLine(Frozen, frozen=True):
    """An open line that the ERP's new snapshot has not read yet, as `item` was told."""

    item: str


@dataclass(slots=True)
class DocumentsTables:
    """All tables of the documents fold."""

    erp_tables: Table[tuple[str], CdcTable]  # the ERP's table
    sales_orders: Table[tuple[str], SalesOrder]  # order number
    sales_order_lines: Table[tuple[str, int], SalesOrderLine]  # order number, line
    purchase_orders: Table[tuple[str], PurchaseOrder]  # purchase order number
    purchase_order_lines: Table[tuple[str, int], PurchaseOrderLine]  # purchase order number, line
    invoices: Table[tuple[str], Invoice]  # invoice number
    invoice_lines: Table[tuple[str, int], InvoiceLine]  # invoice number, line
    doubted_lines: Table[tuple[str, str, int], DoubtedLine]  # document number, the ERP's table, line
    billed_lines: Table[tuple[str, str, int], BilledLine]  # order number, invoice number, line
