"""The canonical event of each table's row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.base import ErpRow
from schemas.customers import CustomerChanged
from schemas.documents import (
    InvoiceLineRow,
    InvoiceRow,
    PurchaseOrderLineRow,
    PurchaseOrderRow,
    SalesOrderLineRow,
    SalesOrderRow,
)
from schemas.inventory import ErpBalanceChanged, ItemChanged, PriceChanged, SiteChanged
from schemas.quantity import parse_milli

Row = dict[str, Any]
Builder = Callable[[Row, dict[str, Any]], ErpRow]


def _milli(row: Row, column: str) -> int:
    return parse_milli(row[column], column)


def _site(row: Row, common: dict[str, Any]) -> SiteChanged:
    return SiteChanged(**common, site=row["site_code"], name=row["name"], timezone=row["timezone"])


def _item(row: Row, common: dict[str, Any]) -> ItemChanged:
    return ItemChanged(
        **common,
        item=row["item_no"],
        description=row["description"],
        description_is_unavailable=row.get("description_is_unavailable", False),
        base_uom=row["base_uom"],
        pack_uom=row["pack_uom"],
        pack_milli=None if row["pack_qty"] is None else _milli(row, "pack_qty"),
        lot_tracked=row["lot_tracked"],
        shelf_life_days=row["shelf_life_days"],
        status=row["status"],
        safety_stock_milli=_milli(row, "safety_stock"),
        hazmat_class=row["hazmat_class"],
        updated_at=row["updated_at"],
        renumbered_from=row.get("renumbered_from"),
    )


def _price(row: Row, common: dict[str, Any]) -> PriceChanged:
    return PriceChanged(
        **common,
        item=row["item_no"],
        price_list=row["price_list"],
        currency=row["currency"],
        valid_from=row["valid_from"],
        unit_price=row["unit_price"],
        valid_to=row["valid_to"],
    )


def _customer(row: Row, common: dict[str, Any]) -> CustomerChanged:
    return CustomerChanged(
        **common,
        customer=row["customer_no"],
        name=row["name"],
        tax_id=row["tax_id"],
        email=row["email"],
        credit_limit=row["credit_limit"],
        credit_hold=row["credit_hold"],
        terms=row["terms"],
        price_list=row["price_list"],
        status=row["status"],
        credit_currency=(row["credit_currency"] or "").upper(),
    )


def _balance(row: Row, common: dict[str, Any]) -> ErpBalanceChanged:
    return ErpBalanceChanged(
        **common,
        item=row["item_no"],
        site=row["site_code"],
        on_hand_milli=_milli(row, "on_hand"),
        allocated_milli=_milli(row, "allocated"),
        on_order_milli=_milli(row, "on_order"),
        row_version=row["row_version"],
        updated_at=row["updated_at"],
    )


def _sales_order(row: Row, common: dict[str, Any]) -> SalesOrderRow:
    return SalesOrderRow(
        **common,
        order_no=row["order_no"],
        channel=row["channel"],
        external_ref=row["external_ref"],
        customer=row["customer_no"],
        status=row["status"],
        requested_on=row["requested_ship_date"],
        priority=row["priority"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _sales_order_line(row: Row, common: dict[str, Any]) -> SalesOrderLineRow:
    return SalesOrderLineRow(
        **common,
        order_no=row["order_no"],
        line_no=row["line_no"],
        item=row["item_no"],
        site=row["site_code"],
        ordered_milli=_milli(row, "qty_ordered"),
        allocated_milli=_milli(row, "qty_allocated"),
        shipped_milli=_milli(row, "qty_shipped"),
        invoiced_milli=_milli(row, "qty_invoiced"),
        unit_price=row["unit_price"],
        line_status=row["status"],
    )


def _purchase_order(row: Row, common: dict[str, Any]) -> PurchaseOrderRow:
    return PurchaseOrderRow(**common, po_no=row["po_no"], supplier=row["supplier"], status=row["status"])


def _purchase_order_line(row: Row, common: dict[str, Any]) -> PurchaseOrderLineRow:
    return PurchaseOrderLineRow(
        **common,
        po_no=row["po_no"],
        line_no=row["line_no"],
        item=row["item_no"],
        site=row["site_code"],
        ordered_milli=_milli(row, "qty_ordered"),
        received_milli=_milli(row, "qty_received"),
        expected_on=row["expected_date"],
        line_status=row["status"],
    )


def _invoice(row: Row, common: dict[str, Any]) -> InvoiceRow:
    return InvoiceRow(
        **common,
        invoice_no=row["invoice_no"],
        order_no=row["order_no"],
        status=row["status"],
        total=row["total"],
        created_at=row["created_at"],
    )


def _invoice_line(row: Row, common: dict[str, Any]) -> InvoiceLineRow:
    return InvoiceLineRow(
        **common,
        invoice_no=row["invoice_no"],
        line_no=row["line_no"],
        order_line_no=row["order_line_no"],
        item=row["item_no"],
        qty_milli=_milli(row, "qty"),
        unit_price=row["unit_price"],
        amount=row["amount"],
    )


BUILDERS: dict[str, Builder] = {
    "site": _site,
    "item": _item,
    "item_price": _price,
    "customer": _customer,
    "inventory_balance": _balance,
    "sales_order": _sales_order,
    "sales_order_line": _sales_order_line,
    "purchase_order": _purchase_order,
    "purchase_order_line": _purchase_order_line,
    "invoice": _invoice,
    "invoice_line": _invoice_line,
}
