"""The legacy ERP's tables as its feed carries them: columns, types, and the defaults a record may have been written without.

`ADD COLUMN ... DEFAULT` rewrites no row and emits no event, and no record tells the default: a record older than the
column takes it from here. A column that is not here travels as JSON text in the event's `extra`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a column holds. `CODE` names something, without the blanks `char(n)` puts behind it; `ZONE` is a time zone.

    `TIMESTAMP` is local wall clock without zone, in microseconds, `TIMESTAMP_MS` in milliseconds.
    """

    TEXT = "text"
    CODE = "code"
    ZONE = "zone"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    NUMERIC = "numeric"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMP_MS = "timestamp(3)"
    TIMESTAMPTZ = "timestamptz"


BLANKS: dict[Kind, Any] = {
    Kind.TEXT: "",
    Kind.CODE: "",
    Kind.ZONE: "",
    Kind.INTEGER: 0,
    Kind.BOOLEAN: False,
    Kind.NUMERIC: Decimal(0),
    Kind.TIMESTAMP: "",
    Kind.TIMESTAMP_MS: "",
    Kind.TIMESTAMPTZ: "",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `scale`: decimals of a numeric, none if it has no fixed scale. `default`: for records without the column.

    `is_optional`: not every ERP has it.
    """

    name: str
    kind: Kind
    scale: int | None = None
    is_nullable: bool = False
    default: Any = None
    is_optional: bool = False

    @property
    def is_required(self) -> bool:
        """A record without the column cannot be read."""
        return not self.is_nullable and self.default is None

    @property
    def blank(self) -> Any:
        """What stands for the value where a row is gone."""
        return None if self.is_nullable else BLANKS.get(self.kind)


@dataclass(frozen=True, slots=True)
class ErpTable:
    """A table, its primary key and its other columns. `item`: the column that names the item a row is about."""

    name: str
    key: tuple[Column, ...]
    others: tuple[Column, ...]
    item: str | None = None
    columns: dict[str, Column] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {c.name: c for c in (*self.key, *self.others)})


def _text(name: str, default: str | None = None) -> Column:
    return Column(name, Kind.TEXT, default=default)


def _code(name: str, default: str | None = None) -> Column:
    return Column(name, Kind.CODE, default=default)


def _code_or_null(name: str, *, is_optional: bool = False) -> Column:
    return Column(name, Kind.CODE, is_nullable=True, is_optional=is_optional)


def _text_or_null(name: str) -> Column:
    return Column(name, Kind.TEXT, is_nullable=True)


def _integer(name: str, default: int | None = None) -> Column:
    return Column(name, Kind.INTEGER, default=default)


def _flag(name: str) -> Column:
    return Column(name, Kind.BOOLEAN, default=False)


def _numeric(name: str, scale: int = 3, default: str | None = None) -> Column:
    return Column(name, Kind.NUMERIC, scale, default=None if default is None else Decimal(default))


def _numeric_or_null(name: str, scale: int | None) -> Column:
    return Column(name, Kind.NUMERIC, scale, is_nullable=True)


def _date(name: str) -> Column:
    return Column(name, Kind.DATE)


def _date_or_null(name: str) -> Column:
    return Column(name, Kind.DATE, is_nullable=True)


def _zoned(name: str) -> Column:
    return Column(name, Kind.TIMESTAMPTZ)


_DEFINED = (
    ErpTable("site", (_code("site_code"),), (_text("name"), Column("timezone", Kind.ZONE))),
    ErpTable(
        "item",
        (_code("item_no"),),
        (
            _text_or_null("description"),
            _code("base_uom"),
            _code_or_null("pack_uom"),
            _numeric_or_null("pack_qty", 3),
            _flag("lot_tracked"),
            Column("shelf_life_days", Kind.INTEGER, is_nullable=True),
            _code("status", "A"),
            _numeric("safety_stock", default="0"),
            Column("updated_at", Kind.TIMESTAMP),
            _text_or_null("hazmat_class"),  # added later, without a default
        ),
        item="item_no",
    ),
    ErpTable(
        "item_price",
        (_code("price_list"), _code("item_no"), _code("currency"), _date("valid_from")),
        (_numeric("unit_price", 4), _date_or_null("valid_to")),
        item="item_no",
    ),
    ErpTable(
        "customer",
        (_code("customer_no"),),
        (
            _text("name"),
            _text_or_null("tax_id"),
            _text_or_null("email"),
            _numeric_or_null("credit_limit", None),
            _flag("credit_hold"),
            _text("terms", "NET30 "),  # char(6): blank-padded
            _code("price_list"),
            _code("status", "A"),
            _code_or_null("credit_currency", is_optional=True),  # of ERPs that keep limits in several
        ),
    ),
    ErpTable(
        "inventory_balance",
        (_code("site_code"), _code("item_no")),
        (
            _numeric("on_hand", default="0"),
            _numeric("allocated", default="0"),
            _numeric("on_order", default="0"),
            _integer("row_version", 1),
            _zoned("updated_at"),
        ),
        item="item_no",
    ),
    ErpTable(
        "sales_order",
        (_code("order_no"),),
        (
            _code("channel"),
            _code_or_null("external_ref"),
            _code("customer_no"),
            _code("status"),
            _date_or_null("requested_ship_date"),
            _zoned("created_at"),
            Column("updated_at", Kind.TIMESTAMP_MS),
            _integer("priority", 5),  # added later: NOT NULL DEFAULT 5
        ),
    ),
    ErpTable(
        "sales_order_line",
        (_code("order_no"), _integer("line_no")),
        (
            _code("item_no"),
            _code("site_code"),
            _numeric("qty_ordered"),
            _numeric("qty_allocated", default="0"),
            _numeric("qty_shipped", default="0"),
            _numeric("qty_invoiced", default="0"),
            _numeric_or_null("unit_price", 4),
            _code("status", "O"),
        ),
        item="item_no",
    ),
    ErpTable("purchase_order", (_code("po_no"),), (_code("supplier"), _code("status"))),
    ErpTable(
        "purchase_order_line",
        (_code("po_no"), _integer("line_no")),
        (
            _code("item_no"),
            _code("site_code"),
            _numeric("qty_ordered"),
            _numeric("qty_received", default="0"),
            _date_or_null("expected_date"),
            _code("status", "O"),
        ),
        item="item_no",
    ),
    ErpTable(
        "invoice",
        (_code("invoice_no"),),
        (_code("order_no"), _code("status"), _numeric("total", 2), _zoned("created_at")),
    ),
    ErpTable(
        "invoice_line",
        (_code("invoice_no"), _integer("line_no")),
        (
            _integer("order_line_no"),
            _code("item_no"),
            _numeric("qty"),
            _numeric_or_null("unit_price", 4),
            _numeric("amount", 2),
        ),
        item="item_no",
    ),
)

TABLES: dict[str, ErpTable] = {table.name: table for table in _DEFINED}
