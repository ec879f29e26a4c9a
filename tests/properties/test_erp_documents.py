"""Headers and lines in any order, moved, voided, deleted and made again: what was told last is what the documents say."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Event
from schemas.documents import (
    InvoiceLineRow,
    InvoiceRow,
    PurchaseOrderLineRow,
    PurchaseOrderRow,
    SalesOrderLineRow,
    SalesOrderRow,
)
from schemas.frozen import fields
from schemas.inventory import SupplyChanged
from schemas.orders import ErpOrderChanged, ErpOrderLineChanged, InvoiceLinePosted
from schemas.topics import ROUTES
from streams.flows.documents import documents
from tables.common.table import in_memory
from tables.documents.state import DocumentsTables
from tests.support.erp_world import World, deliver

ORDERS, REFERENCES = ("SO1", "SO2"), ("R1", "R2", None)


def history(random: Random, steps: int) -> World:
    world = World(random)
    for _ in range(steps):
        order, line = random.choice(ORDERS), random.randrange(1, 3)
        qty = random.randrange(1, 4) * 1000
        match random.randrange(9):
            case 0:
                reference, channel = random.choice(REFERENCES), random.choice(("WEB", "EDI"))
                world.put(SalesOrderRow, order_no=order, channel=channel, external_ref=reference, status=random.choice("AB"))
            case 1:
                world.put(SalesOrderLineRow, order_no=order, line_no=line, item=random.choice("XY"), ordered_milli=qty)
            case 2:
                world.put(PurchaseOrderRow, po_no="P1", supplier="Acme", status=random.choice(("OPEN", "PART", "CANCEL")))
            case 3:
                columns: dict[str, Any] = {
                    "item": random.choice("XY"),
                    "site": random.choice("12"),
                    "line_status": random.choice("OPCX"),
                }
                world.put(PurchaseOrderLineRow, po_no="P1", line_no=line, ordered_milli=qty, **columns)
            case 4:
                world.put(InvoiceRow, invoice_no="I1", order_no=order, status=random.choice(("POSTED", "PAID", "VOID")))
            case 5:
                world.put(InvoiceLineRow, invoice_no="I1", line_no=line, order_line_no=1, item="X", qty_milli=qty)
            case 6 if world.rows:
                kind, key = random.choice(list(world.rows))
                world.read(kind, *key)
            case _ if world.rows and random.random() < 0.6:
                kind, key = random.choice(list(world.rows))
                world.delete(kind, *key)
    return world


def rows_of(world: World, kind: type[Any]) -> dict[Any, dict[str, Any]]:
    return {at[1]: row for at, row in world.rows.items() if at[0] is kind}


def order_id(world: World, order_no: str) -> str | None:
    header = rows_of(world, SalesOrderRow).get((order_no,))
    if header is None:
        return None
    channel = str(header["channel"]).lower()
    return f"{channel}:{header['external_ref']}" if header["external_ref"] else f"erp:{order_no}"


class Told:
    """The newest word on each thing, and whether words came in the order of their revisions."""

    def __init__(self) -> None:
        self.newest: dict[tuple[Any, ...], Any] = {}

    def hear(self, e: Any) -> None:
        match e:
            case SupplyChanged():
                key: tuple[Any, ...] = ("supply", e.item, e.document, e.line)
            case ErpOrderChanged():
                key = ("order", e.order_id, e.order_no)
            case ErpOrderLineChanged():
                key = ("line", e.order_id, e.order_no, e.line_no)
            case InvoiceLinePosted():
                key = ("bill", e.order_id, e.order_no, e.invoice_no, e.invoice_line)
            case _:
                raise AssertionError(e)
        before = self.newest.get(key)
        assert before is None or before.revision < e.revision
        assert before is None or content(before) != content(e), "told twice what had not changed"
        self.newest[key] = e

    def standing(self) -> dict[tuple[Any, ...], Any]:
        return {key: said(e) for key, e in self.newest.items() if said(e) is not None}


def content(e: Any) -> dict[str, Any]:
    """What an event says, apart from which event it is."""
    about = {f.name for f in fields(Event)} | {"revision", "commit_position"}
    return {f.name: getattr(e, f.name) for f in fields(e) if f.name not in about}


def said(e: Any) -> Any:
    """What stands after an event; none if nothing does."""
    match e:
        case SupplyChanged():
            return (e.site, e.ordered_milli) if e.is_open else None
        case ErpOrderChanged():
            return None if e.is_deleted else (e.channel, e.status)
        case ErpOrderLineChanged():
            return None if e.is_deleted else (e.item, e.ordered_milli)
        case _:
            return None if e.is_void else e.qty_milli


def expected(world: World) -> dict[tuple[Any, ...], Any]:
    found: dict[tuple[Any, ...], Any] = {}
    for (no,), row in rows_of(world, SalesOrderRow).items():
        found[("order", order_id(world, no), no)] = (row["channel"].lower(), row["status"])
    for (no, line), row in rows_of(world, SalesOrderLineRow).items():
        if order_id(world, no):
            found[("line", order_id(world, no), no, line)] = (row["item"], row["ordered_milli"])
    purchase = rows_of(world, PurchaseOrderRow).get(("P1",))
    for (no, line), row in rows_of(world, PurchaseOrderLineRow).items():
        if purchase and purchase["status"] != "CANCEL" and row["line_status"] in "OP":
            found[("supply", row["item"], no, line)] = (row["site"], row["ordered_milli"])
    invoice = rows_of(world, InvoiceRow).get(("I1",))
    for (no, line), row in rows_of(world, InvoiceLineRow).items():
        if invoice and invoice["status"] != "VOID" and order_id(world, invoice["order_no"]):
            found[("bill", order_id(world, invoice["order_no"]), invoice["order_no"], no, line)] = row["qty_milli"]
    return found


@settings(max_examples=500)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_what_was_told_last_is_what_the_documents_say(seed: int, steps: int) -> None:
    random = Random(seed)
    world = history(random, steps)
    t = in_memory(DocumentsTables)
    told = Told()

    def apply(event: Any) -> list[Any]:
        caused = list(documents.rules[type(event)](t, event))
        for e in caused:
            if type(e) not in documents.rules:
                told.hear(e)
        return [e for e in caused if type(e) in documents.rules]

    deliver(world, apply, lambda e: str(getattr(e, ROUTES[type(e)].key)), random)
    assert told.standing() == expected(world)
