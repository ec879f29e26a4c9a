"""What every source says about one distributor's family of items, orders and customers, as its messages come.

Families share no name but the systems they come from, so that what becomes of one says nothing of another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from connectors.channels.formats import CSV, MARKETPLACE, WEBSHOP, headers_of
from schemas import topics
from schemas.records import Headers

DAY_0 = (date(2026, 11, 2) - date(1970, 1, 1)).days
CHANNELS = ("web", "marketplace", "edi")


@dataclass(frozen=True, slots=True)
class Said:
    """A raw message: `body` is its JSON, or the text of a file."""

    topic: str
    key: bytes | None
    body: Any
    headers: Headers = ()

    @property
    def value(self) -> bytes:
        """The bytes."""
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def conversation(family: str, lsn: int) -> list[Said]:
    """The master data, stock, orders and their execution, in an order in which they can happen."""
    return [
        *_master(family, lsn),
        *_stock(family),
        *_orders(family, lsn + 40),
        *_execution(family),
        Said(topics.RAW_CRM.name, f"{family}-C".encode(), _contact(family)),
        *_changes(family),
        *_documents(family, lsn + 60),
    ]


def _row(table: str, key: dict[str, Any], row: dict[str, Any], lsn: int, op: str = "c") -> Said:
    source = {
        "version": "3.3.0.Final",
        "connector": "postgresql",
        "name": "erp",
        "snapshot": "false",
        "db": "erp",
        "schema": "public",
        "table": table,
        "lsn": lsn,
        "txId": lsn,
        "sequence": f'["{lsn - 1}","{lsn}"]',
        "ts_ms": 1_793_600_000_000,
    }
    value = {"before": None, "after": row, "source": source, "op": op, "ts_ms": 1_793_600_000_100, "transaction": None}
    return Said(topics.RAW_ERP[table].name, json.dumps(key).encode(), value)


def _master(f: str, lsn: int) -> list[Said]:
    item = {
        "description": "A thing",
        "base_uom": "EA",
        "pack_uom": "BX",
        "pack_qty": "12.000",
        "lot_tracked": False,
        "shelf_life_days": 30,
        "status": "A",
        "safety_stock": "2.000",
        "updated_at": 1_785_587_220_000_000,
        "hazmat_class": None,
    }
    customer = {
        "customer_no": f"{f}-C",
        "name": f"{f} and Sons",
        "tax_id": None,
        "email": "a@example.com",
        "credit_limit": {"scale": 2, "value": "D0JA"},
        "credit_hold": False,
        "terms": "NET30 ",
        "price_list": f"{f}L",
        "status": "A",
    }
    price = {"price_list": f"{f}L", "item_no": f"{f}-1", "currency": "USD", "unit_price": "12.5000", "valid_to": DAY_0 + 900}
    balance = {
        "on_hand": "80.000",
        "allocated": "0.000",
        "on_order": "0.000",
        "row_version": 1,
        "updated_at": "2026-11-02T09:00:00Z",
    }
    line = {"site_code": f"{f}DC", "qty_ordered": "50.000", "qty_received": "0.000", "expected_date": DAY_0 + 6, "status": "O"}
    po = f"{f}PO"
    return [
        _row("site", {"site_code": f"{f}DC"}, {"site_code": f"{f}DC", "name": "One", "timezone": "America/Chicago"}, lsn),
        _row("item", {"item_no": f"{f}-1"}, {"item_no": f"{f}-1", **item}, lsn + 1),
        _row("item", {"item_no": f"{f}-2"}, {"item_no": f"{f}-2", **item}, lsn + 2),
        _row("customer", {"customer_no": f"{f}-C"}, customer, lsn + 3),
        _row("item_price", {}, {**price, "valid_from": DAY_0 - 100}, lsn + 4),
        _row("inventory_balance", {}, {"site_code": f"{f}DC", "item_no": f"{f}-1", **balance}, lsn + 5),
        _row("purchase_order", {"po_no": po}, {"po_no": po, "supplier": "Acme", "status": "OPEN"}, lsn + 6),
        _row("purchase_order_line", {}, {"po_no": po, "line_no": 1, "item_no": f"{f}-1", **line}, lsn + 7),
    ]


class _Warehouse:
    def __init__(self, family: str) -> None:
        self.family = family
        self.sequence = 0

    def say(self, kind: str, **body: Any) -> Said:
        self.sequence += 1
        n = self.sequence
        head = {
            "event_id": f"{self.family}-W{n}",
            "sequence": n,
            "instance": f"{self.family}-WMS",
            "type": kind,
            "site": f"{self.family}DC",
            "occurred_at": f"2026-11-02T10:{n // 60:02d}:{n % 60:02d}Z",
        }
        return Said(topics.RAW_WMS.name, None, head | body)


def _stock(f: str) -> list[Said]:
    w = _Warehouse(f)
    item, other = {"item": f"{f}-1", "uom": "EA"}, {"item": f"{f}-2", "uom": "EA"}
    return [
        w.say("stock.received", **item, lot=None, qty="60", status="usable", reference={"po": f"{f}PO", "line": 1}),
        w.say("stock.received", **other, lot="L1", qty="40", status="usable", expires_on="2026-12-20"),
        w.say("stock.adjusted", **item, qty="-2", reason="cycle count"),
        w.say("stock.status_changed", **item, qty="3", from_status="usable", to_status="held"),
        w.say("stock.snapshot", **item, qty="57", status="usable"),
    ]


def _orders(f: str, lsn: int) -> list[Said]:
    line = {"line": 1, "item": f"{f}-1", "qty": "5", "uom": "EA", "unit_price": "12.50", "currency": "USD"}
    own = {
        "channel": "web",
        "external_ref": f"{f}-W1",
        "customer": f"{f}-C",
        "placed_at": "2026-11-02T10:30:00Z",
        "requested_date": "2026-11-05",
        "policy": {"partial": True, "backorder": True, "substitute": True},
        "lines": [line, {"line": 2, "item": f"{f}-2", "qty": "1", "uom": "BX"}],
    }
    shop = {
        "id": f"{f}-S1",
        "status": "open",
        "created_at": "2026-11-02T10:31:00-05:00",
        "customer": {"number": f"{f}-C"},
        "currency": "USD",
        "line_items": [{"position": 1, "sku": f"{f}-1", "quantity": "2", "price": "12.50"}],
    }
    market = {
        "id": f"{f}-M1",
        "purchased": "2026-11-02T10:32:00Z",
        "buyer": {"account": f"{f}-C"},
        "items": [{"no": 1, "sku": f"{f}-2", "quantity": 3, "price": {"amount": "12.50", "currency": "USD"}}],
    }
    file = f"order,customer,placed_at,line,item,qty\n{f}-E1,{f}-C,2026-11-02T10:33:00Z,1,{f}-1,4\n"
    head = {
        "order_no": f"{f}SO",
        "channel": "PHONE",
        "external_ref": f"{f}-P1",
        "customer_no": f"{f}-C",
        "status": "OPEN",
        "requested_ship_date": DAY_0 + 1,
        "created_at": "2026-11-02T10:34:00Z",
        "updated_at": 1_793_600_000_000,
        "priority": 5,
    }
    erp_line = {
        "qty_ordered": "6.000",
        "qty_allocated": "0.000",
        "qty_shipped": "0.000",
        "qty_invoiced": "0.000",
        "unit_price": None,
    }
    return [
        Said("raw.channel.web", f"{f}-W1".encode(), own),
        Said("raw.channel.web", f"{f}-S1".encode(), shop, headers_of(WEBSHOP)),
        Said("raw.channel.marketplace", f"{f}-M1".encode(), market, headers_of(MARKETPLACE)),
        Said("raw.channel.edi", f"{f}-E1".encode(), file, headers_of(CSV)),
        _row("sales_order", {"order_no": f"{f}SO"}, head, lsn),
        _row(
            "sales_order_line",
            {"order_no": f"{f}SO", "line_no": 10},
            {"order_no": f"{f}SO", "line_no": 10, "item_no": f"{f}-1", "site_code": f"{f}DC", **erp_line, "status": "O"},
            lsn + 1,
        ),
    ]


def _execution(f: str) -> list[Said]:
    w = _Warehouse(f)
    w.sequence = 5
    order = {"order": f"web:{f}-W1", "line": 1}
    item = {"item": f"{f}-1", "uom": "EA"}
    shop = {"order": f"web:{f}-S1", "line": 1}
    shipped = {"line": 1, "item": f"{f}-1", "qty": "4", "lot": None}
    instead = {"substitute_item": f"{f}-2", "substitute_qty": "1", "lot": "L1"}
    parcel = {"order": f"web:{f}-W1", "shipment": f"{f}-SH1", "carrier": "UPS", "tracking": "1Z1"}
    return [
        w.say("pick.released", **item, **order, qty="5"),
        w.say("pick.short", **item, **order, qty="4", qty_short="1"),
        w.say("shipment.confirmed", **parcel, lines=[shipped]),
        w.say("pick.substituted", **item, **shop, **instead, qty="1"),
        w.say("pick.completed", **item, **shop, qty="1"),
        w.say("return.received", **item, **order, qty="1"),
        w.say("stock.moved", **item, qty="1", to_site=f"{f}DC"),
    ]


def _changes(f: str) -> list[Said]:
    order = {"channel": "web", "external_ref": f"{f}-W1", "changed_at": "2026-11-02T12:00:00Z"}
    return [
        Said("raw.channel.web", f"{f}-W1".encode(), {**order, "change": "set_qty", "line": 2, "qty": "6"}),
        Said(
            "raw.channel.marketplace",
            f"{f}-M1".encode(),
            {"id": f"{f}-M1", "cancelled": "2026-11-02T12:01:00Z"},
            headers_of(MARKETPLACE),
        ),
    ]


def _contact(f: str) -> dict[str, Any]:
    return {"customer": f"{f}-C", "changed_at": "2026-11-02T11:00:00Z", "sequence": 1, "facts": {"phone": "555 0100"}}


def _documents(f: str, lsn: int) -> list[Said]:
    invoice = {
        "invoice_no": f"{f}INV",
        "order_no": f"{f}SO",
        "status": "POSTED",
        "total": "25.00",
        "created_at": "2026-11-02T13:00:00Z",
    }
    line = {"order_line_no": 10, "item_no": f"{f}-1", "qty": "2.000", "unit_price": "12.5000", "amount": "25.00"}
    return [
        _row("invoice", {"invoice_no": f"{f}INV"}, invoice, lsn),
        _row("invoice_line", {}, {"invoice_no": f"{f}INV", "line_no": 1, **line}, lsn + 1),
    ]
