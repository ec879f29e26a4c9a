"""Reconciliation finds every difference, and says what it could not compare."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.erp.columns import TABLES
from connectors.erp.extract import BadExtract, read_table, tables_in
from streams.queries.reconcile import Reconciliation, TableDifference, reconcile
from tables.common.row_version import Version
from tables.customers.state import Customer
from tables.documents.state import PurchaseOrder, PurchaseOrderLine
from tables.inventory.state import ErpBalance, Item, OpenSupply, PriceReference, Site

AT = Version(1, 2)
ITEM = {
    "item_no": "A",
    "description": "Gloves",
    "base_uom": "EA",
    "pack_uom": None,
    "pack_qty": "6.000",
    "lot_tracked": False,
    "shelf_life_days": 30,
    "status": "A",
    "safety_stock": "12.500",
    "updated_at": "2026-08-01T12:27:00.000000",
    "hazmat_class": None,
}


def item(number: str = "A", *, extra: dict[str, str] | None = None, is_deleted: bool = False, **changed: Any) -> Any:
    facts: dict[str, Any] = {
        "item": number,
        "version": AT,
        "is_deleted": is_deleted,
        "description": "Gloves",
        "text_version": AT,
        "text_wanted_from": None,
        "base_uom": "EA",
        "pack_uom": None,
        "pack_milli": 6_000,
        "lot_tracked": False,
        "shelf_life_days": 30,
        "status": "A",
        "safety_stock_milli": 12_500,
        "hazmat_class": None,
        "updated_at": "2026-08-01T12:27:00.000000",
        "extra": extra or {},
    }
    return (number,), Item(**(facts | changed))


class World:
    """Our rows, and an extract to compare them with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ours: dict[tuple[str, str], list[tuple[Any, Any]]] = {}

    def theirs(self, table: str, *rows: Any) -> World:
        (self.directory / f"{table}.json").write_text(json.dumps(list(rows)))
        return self

    def have(self, flow: str, table: str, *rows: tuple[Any, Any]) -> World:
        self.ours[(flow, table)] = list(rows)
        return self

    def rows(self, flow: str, table: str) -> Iterable[tuple[Any, Any]]:
        return self.ours.get((flow, table), [])

    def compare(self, *sites: str, without: tuple[str, ...] = ()) -> Reconciliation:
        """The tables that the extract has."""
        there = {path.stem for path in self.directory.glob("*.json")}
        return reconcile(self.rows, self.directory, sites, only=there, without=without)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_equal(world: World) -> None:
    found = world.theirs("item", ITEM).have("promise", "items", item()).compare()
    (table,) = found.tables
    assert found.is_equal
    assert (table.rows_theirs, table.rows_ours, table.rows_compared, table.fields_compared) == (1, 1, 1, 11)


@pytest.mark.parametrize(
    ("changed", "column", "ours", "theirs"),
    [
        ({"description": None}, "description", None, "Gloves"),
        ({"pack_milli": 6_001}, "pack_qty", "6.001", "6.000"),
        ({"pack_milli": None}, "pack_qty", None, "6.000"),
        ({"lot_tracked": True}, "lot_tracked", "True", "False"),
        ({"shelf_life_days": 31}, "shelf_life_days", "31", "30"),
        ({"status": "A "}, "status", "A ", "A"),
        ({"safety_stock_milli": 12_501}, "safety_stock", "12.501", "12.500"),
        ({"updated_at": "2026-08-01T12:27:00.000001"}, "updated_at", "2026-08-01T12:27:00.000001", ITEM["updated_at"]),
        ({"hazmat_class": "3"}, "hazmat_class", "3", None),
    ],
)
def test_each_different_value(world: World, changed: dict[str, Any], column: str, ours: str | None, theirs: str | None) -> None:
    found = world.theirs("item", ITEM).have("promise", "items", item(**changed)).compare()
    assert found.differences == [TableDifference("item", "A", column, ours, theirs)]
    assert not found.is_equal


def test_missing_and_unexpected_rows(world: World) -> None:
    """A row we hold as deleted is not there."""
    world.theirs("item", ITEM, ITEM | {"item_no": "B"})
    found = world.have("promise", "items", item("A", is_deleted=True), item("B"), item("C")).compare()
    (table,) = found.tables
    assert (table.missing, table.unexpected, table.rows_compared, found.difference_count) == (1, 1, 1, 2)
    assert found.differences == [
        TableDifference("item", "C", "*", "a row", None),
        TableDifference("item", "A", "*", None, "a row"),
    ]


def test_keys_of_several_columns_and_money(world: World) -> None:
    row = {"price_list": "STD", "item_no": "A", "currency": "USD", "unit_price": "1.5000", "valid_from": "2026-01-01"}
    world.theirs("item_price", row | {"valid_to": "9999-12-31"})
    key = ("A", "STD", "USD", date(2026, 1, 1))
    world.have("promise", "prices", (key, PriceReference(AT, False, Decimal("1.500000000"), date(9999, 12, 31), {})))
    assert world.compare().is_equal
    world.have("promise", "prices", (key, PriceReference(AT, False, Decimal("1.5001"), date(9999, 12, 30), {})))
    assert [(d.key, d.column) for d in world.compare().differences] == [
        ("STD/A/USD/2026-01-01", "unit_price"),
        ("STD/A/USD/2026-01-01", "valid_to"),
    ]


def test_instants_are_equal_in_any_zone(world: World) -> None:
    numbers = {"on_hand": 2.5, "allocated": 0, "on_order": "0", "row_version": 3}
    balance = {"site_code": "DC1", "item_no": "A", "updated_at": "2026-11-23T02:44:06.167754-06:00", **numbers}
    world.theirs("inventory_balance", balance)
    ours = ErpBalance(AT, False, 2_500, 0, 0, 3, "2026-11-23T08:44:06.167754Z", {})
    assert world.have("promise", "erp_balances", (("A", "DC1"), ours)).compare().is_equal


def test_sites_come_once_from_each_partition(world: World) -> None:
    world.theirs("site", {"site_code": "DC1", "name": "Reno", "timezone": "America/Los_Angeles"})
    ours = (("DC1",), Site(AT, False, "Reno", "America/Los_Angeles", {}))
    found = world.have("promise", "sites", ours, ours).compare()
    assert found.is_equal
    assert found.tables[0].rows_ours == 1
    other = (("DC1",), Site(AT, False, "Sparks", "America/Los_Angeles", {}))
    assert world.have("promise", "sites", ours, other).compare().differences[0].ours == "partitions disagree"


@pytest.mark.parametrize(
    ("ours", "theirs", "is_equal"),
    [
        ('"DE"', "DE", True),
        ('"DE"', "FR", False),
        ('"1.20"', "1.2", True),
        ("5", "5", True),
        ('"1.20"', "1.21", False),
        ("12.5", "12.50", True),
        ('"MDQ="', "12.340", True),
        ('"MDQ="', "12.341", False),
        ('{"scale": 1, "value": "ew=="}', "12.3", True),
        ('{"scale": "x", "value": "ew=="}', "12.3", False),
        ('"DE"', "12.3", False),
        ("20454", "2026-01-01", True),
        ("20454", "2026-01-02", False),
        ("1785587220000000", "2026-08-01T12:27:00", True),
        ("1785587220000", "2026-08-01T12:27:00.000000", True),
        ('"2026-08-01T12:27:00Z"', "2026-08-01T14:27:00+02:00", True),
        ("true", True, True),
        ("true", 1, False),
        ("null", None, True),
        ("null", "x", False),
        ("5", "soon", False),
        ('"soon"', "2026-08-01", False),
        ('{"a":1}', {"a": 1}, True),
        ("99999999999999999999", "2026-08-01", False),
    ],
)
def test_columns_we_do_not_know(world: World, ours: str, theirs: Any, is_equal: bool) -> None:
    found = world.theirs("item", ITEM | {"country": theirs}).have("promise", "items", item(extra={"country": ours})).compare()
    assert found.is_equal is is_equal
    assert found.tables[0].fields_compared == 12


def test_what_cannot_be_compared_is_said_and_never_called_equal(world: World) -> None:
    """A column nobody has sent us yet, a column the extract lacks."""
    theirs = {name: value for name, value in ITEM.items() if name != "hazmat_class"} | {"class": "X", "grade": None}
    found = world.theirs("item", theirs).have("promise", "items", item()).compare()
    assert not found.is_equal
    assert found.verdict == "unknown"
    assert found.tables[0].not_compared == {"class": 1, "hazmat_class": 1}
    assert found.tables[0].fields_compared == 11
    assert found.not_compared == [
        "item.class: its value was never sent for 1 row of 1",
        "item.hazmat_class: the extract has no such column",
    ]
    assert not world.compare(without=("item.class",)).is_equal
    assert world.compare(without=("item.class", "item.hazmat_class")).is_equal


def customer(**changed: Any) -> Customer:
    fields: dict[str, Any] = {
        "version": Version(1, 1),
        "is_deleted": False,
        "name": "Able",
        "tax_id": None,
        "email": None,
        "credit_limit": None,
        "credit_hold": False,
        "terms": "NET30 ",
        "price_list": "L1",
        "status": "A",
        "extra": {},
    }
    return Customer(**(fields | changed))


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("", {}, "same"),
        ("", {"credit_currency": None}, "same"),
        ("EUR", {"credit_currency": "EUR"}, "same"),
        ("EUR", {"credit_currency": "USD"}, "different"),
        ("EUR", {"credit_currency": None}, "different"),
        ("EUR", {}, "unknown"),
    ],
)
def test_a_column_that_not_every_erp_has(world: World, ours: str, theirs: dict[str, Any], verdict: str) -> None:
    """One without it has sent no value of it, so there is nothing to compare; values that were sent are compared."""
    row: dict[str, Any] = {"customer_no": "K1", "name": "Able", "terms": "NET30 ", "price_list": "L1", "status": "A"}
    row |= {"tax_id": None, "email": None, "credit_limit": None, "credit_hold": False}
    world.theirs("customer", row | theirs).have("customers", "customers", (("K1",), customer(credit_currency=ours)))
    assert world.compare().verdict == verdict


def test_a_table_that_the_extract_lacks_is_not_called_equal(world: World) -> None:
    """Nor is one that it has and crossdock does not; unless that was asked for."""
    world.theirs("item", ITEM).theirs("shipment", {"no": 1}).have("promise", "items", item())
    found = reconcile(world.rows, world.directory)
    assert found.verdict == "unknown"
    assert "table customer: the extract has no customer.json" in found.not_compared
    assert "shipment.json: crossdock keeps no such table of the ERP" in found.not_compared
    assert reconcile(world.rows, world.directory, only=("item",)).is_equal
    assert reconcile(world.rows, world.directory, only=("item", "customer")).not_compared == [
        "table customer: the extract has no customer.json"
    ]
    others = [name for name in TABLES if name != "item"]
    assert reconcile(world.rows, world.directory, without=(*others, "shipment")).is_equal
    world.have("promise", "items", item(description="Mittens"))
    assert reconcile(world.rows, world.directory).verdict == "different"


def test_open_supply(world: World) -> None:
    """Supply behind promises: the rest of open lines of open orders, by item and line."""
    header = {"po_no": "P1", "supplier": "Acme", "status": "PART"}
    line = {"po_no": "P1", "item_no": "A", "site_code": "DC1", "expected_date": "2026-12-01", "qty_received": "40.000"}
    lines = [line | {"line_no": n, "qty_ordered": "100.000", "status": s} for n, s in ((10, "P"), (20, "C"), (30, "O"))]
    world.theirs("purchase_order", header).theirs("purchase_order_line", *lines)
    world.have("documents", "purchase_orders", (("P1",), PurchaseOrder(AT, False, "Acme", "PART", {})))
    rows = [
        (("P1", n), PurchaseOrderLine(AT, False, 1, "A", "DC1", 100_000, 40_000, date(2026, 12, 1), s, {}))
        for n, s in ((10, "P"), (20, "C"), (30, "O"))
    ]
    world.have("documents", "purchase_order_lines", *rows)
    good = OpenSupply(1, "DC1", "Acme", 100_000, 40_000, 60_000, date(2026, 12, 1), True)
    late = OpenSupply(1, "DC1", "Acme", 100_000, 40_000, 0, date(2026, 12, 2), True)
    closed = OpenSupply(1, "DC1", "Acme", 100_000, 100_000, 0, None, False)
    world.have("promise", "supplies", (("A", "P1", 10), good), (("A", "P1", 20), closed), (("A", "P1", 30), good))
    assert world.compare().is_equal
    world.have("promise", "supplies", (("A", "P1", 10), late), (("A", "P1", 20), good))
    assert {(d.key, d.column) for d in world.compare().differences} == {
        ("A/P1/10", "expected_on"),
        ("A/P1/20", "*"),
        ("A/P1/30", "*"),
    }


class _Stock:
    def __init__(self, usable_milli: int) -> None:
        self.usable_milli = usable_milli


def test_stock_of_sites_the_erp_owns(world: World) -> None:
    balance = {"item_no": "A", "allocated": "0", "on_order": "0", "row_version": 1, "updated_at": "2026-01-01T00:00:00Z"}
    world.theirs("inventory_balance", *(balance | {"site_code": s, "on_hand": "5.000"} for s in ("DC1", "EU1")))
    ours = ErpBalance(AT, False, 5_000, 0, 0, 1, "2026-01-01T00:00:00Z", {})
    world.have("promise", "erp_balances", (("A", "DC1"), ours), (("A", "EU1"), ours))
    world.have("promise", "stock", (("A", "DC1"), _Stock(7_000)), (("A", "EU1"), _Stock(5_000)), (("B", "EU1"), _Stock(0)))
    assert world.compare("EU1").is_equal
    assert [table.table for table in world.compare().tables] == ["inventory_balance"]
    assert world.compare("EU1", "DC1").differences == [TableDifference("on hand", "A/DC1", "on_hand", "7", "5.000")]


def test_differences_are_counted_beyond_those_kept(world: World) -> None:
    world.theirs("item").have("promise", "items", *(item(f"I{n}") for n in range(1_200)))
    found = world.compare()
    assert (found.difference_count, len(found.differences)) == (1_200, 1_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("{}", "not a JSON array"),
        ("[1]", "not a JSON array"),
        ('[{"item_no": NaN}]', "no JSON number"),
        ('[{"base_uom": "EA"}]', "key column item_no is missing"),
        (json.dumps([ITEM, {"item_no": "B"}]), "row 2: column 'description' is missing"),
        (json.dumps([ITEM, ITEM]), "row 2: the key ('A',) is there twice"),
        (json.dumps([ITEM | {"pack_qty": "six"}]), "row 1: pack_qty 'six' is not a decimal number"),
        (json.dumps([ITEM | {"base_uom": None}]), "row 1: base_uom is null"),
    ],
)
def test_extracts_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "item.json").write_text(text)
    with pytest.raises(BadExtract, match=r"item\.json") as caught:
        read_table(tmp_path, "item")
    assert words in str(caught.value)


def test_directories_that_are_no_extract(tmp_path: Path) -> None:
    with pytest.raises(BadExtract, match="is not a directory"):
        tables_in(tmp_path / "nowhere")
    with pytest.raises(BadExtract, match="holds no table of the ERP"):
        tables_in(tmp_path)
    (tmp_path / "audit.json").write_text("[]")
    (tmp_path / "item.json").write_text("[]")
    assert tables_in(tmp_path) == (["item"], ["audit"])
