"""Documents, step by step: what the ERP's row was, what is told to whom."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.customers import CustomerChanged
from schemas.documents import (
    InvoiceLineJoined,
    InvoiceLineRow,
    InvoiceRow,
    PurchaseOrderLineRow,
    PurchaseOrderRow,
    SalesOrderLineRow,
    SalesOrderRow,
)
from schemas.errors import AlreadyApplied
from schemas.inventory import SupplyChanged
from schemas.orders import ErpOrderChanged, ErpOrderLineChanged, InvoiceLinePosted
from streams.flows.customers import customers
from streams.flows.documents import documents
from tables.common.table import in_memory
from tables.customers.state import CustomerTables
from tables.documents.sales_orders import channel_of
from tables.documents.state import DocumentsTables
from tests.support.erp_world import row_event

ORDER: dict[str, Any] = {"order_no": "SO1", "channel": "EDI", "external_ref": "850-1", "customer": "C1"}
LINE: dict[str, Any] = {"order_no": "SO1", "line_no": 10, "item": "A", "site": "DC1", "ordered_milli": 5_000}
BUY: dict[str, Any] = {"po_no": "P1", "supplier": "Acme", "status": "OPEN"}
BUY_LINE: dict[str, Any] = {"po_no": "P1", "line_no": 10, "item": "A", "site": "DC1", "ordered_milli": 9_000}
BILL: dict[str, Any] = {"invoice_no": "I1", "order_no": "SO1"}
BILL_LINE: dict[str, Any] = {"invoice_no": "I1", "line_no": 1, "order_line_no": 10, "item": "A", "qty_milli": 2_000}


class Fold:
    """The documents fold on dicts; its notes to itself are applied at once."""

    def __init__(self) -> None:
        self.t = in_memory(DocumentsTables)
        self.lsn = 0

    def tell(self, kind: Any, op: str = "u", **columns: Any) -> list[str]:
        self.lsn += 10
        return self.apply(row_event(kind, self.lsn, op=op, **columns))

    def apply(self, event: Any) -> list[str]:
        said = []
        for caused in list(documents.rules[type(event)](self.t, event)):
            said += self.apply(caused) if isinstance(caused, InvoiceLineJoined) else [short(caused)]
        return said


def short(e: Any) -> str:
    match e:
        case SupplyChanged():
            return f"supply {e.item} {e.document}/{e.line} #{e.revision}: {e.ordered_milli} {'open' if e.is_open else 'ended'}"
        case ErpOrderChanged():
            return f"order {e.order_id} ({e.order_no}) #{e.revision}: {'gone' if e.is_deleted else e.status}"
        case ErpOrderLineChanged():
            return f"line {e.order_id}/{e.line_no} #{e.revision}: {'gone' if e.is_deleted else f'{e.item} {e.ordered_milli}'}"
        case InvoiceLinePosted():
            return f"bill {e.order_id}/{e.order_line_no} #{e.revision}: {'void' if e.is_void else e.qty_milli}"
    raise AssertionError(e)


@pytest.fixture
def fold() -> Fold:
    return Fold()


def test_lines_wait_for_their_header(fold: Fold) -> None:
    assert fold.tell(SalesOrderLineRow, **LINE) == []
    assert fold.tell(InvoiceLineRow, **BILL_LINE) == []
    assert fold.tell(InvoiceRow, **BILL) == []
    assert fold.tell(SalesOrderRow, **ORDER) == [
        "order edi:850-1 (SO1) #1: OPEN",
        "line edi:850-1/10 #1: A 5000",
        "bill edi:850-1/10 #1: 2000",
    ]


def test_only_what_changed_is_told(fold: Fold) -> None:
    fold.tell(SalesOrderRow, **ORDER)
    fold.tell(SalesOrderLineRow, **LINE)
    assert fold.tell(SalesOrderRow, **ORDER, updated_at="later") == []
    assert fold.tell(SalesOrderLineRow, **LINE, extra={"note": '"x"'}) == []
    assert fold.tell(SalesOrderLineRow, **LINE | {"ordered_milli": 6_000}) == ["line edi:850-1/10 #2: A 6000"]
    assert fold.tell(SalesOrderRow, **ORDER, status="PART") == ["order edi:850-1 (SO1) #2: PART"]


def test_a_header_with_another_reference_takes_everything_along(fold: Fold) -> None:
    for kind, row in ((SalesOrderRow, ORDER), (SalesOrderLineRow, LINE), (InvoiceRow, BILL), (InvoiceLineRow, BILL_LINE)):
        fold.tell(kind, **row)
    assert fold.tell(SalesOrderRow, **ORDER | {"channel": "PHONE", "external_ref": None}) == [
        "line edi:850-1/10 #2: gone",
        "bill edi:850-1/10 #2: void",
        "order edi:850-1 (SO1) #2: gone",
        "order erp:SO1 (SO1) #3: OPEN",
        "line erp:SO1/10 #3: A 5000",
        "bill erp:SO1/10 #3: 2000",
    ]


def test_a_deleted_order_and_then_its_lines(fold: Fold) -> None:
    fold.tell(SalesOrderRow, **ORDER)
    fold.tell(SalesOrderLineRow, **LINE)
    assert fold.tell(SalesOrderRow, "d", order_no="SO1") == ["line edi:850-1/10 #2: gone", "order edi:850-1 (SO1) #2: gone"]
    assert fold.tell(SalesOrderLineRow, "d", order_no="SO1", line_no=10) == []
    assert fold.tell(SalesOrderRow, **ORDER) == ["order edi:850-1 (SO1) #3: OPEN"]


def test_repetitions_and_older_rows(fold: Fold) -> None:
    new, old = (row_event(SalesOrderRow, lsn, **ORDER, status=s) for lsn, s in ((50, "PART"), (40, "OPEN")))
    fold.apply(new)
    for event in (new, old, row_event(SalesOrderRow, 90, op="r", **ORDER)):
        with pytest.raises(AlreadyApplied):
            fold.apply(event)
    with pytest.raises(AlreadyApplied):  # an incremental read that confirms what is held
        fold.apply(row_event(SalesOrderRow, 60, op="i", **ORDER, status="PART"))
    assert fold.t.sales_orders[("SO1",)].status == "PART"


def test_supply_follows_its_line(fold: Fold) -> None:
    assert fold.tell(PurchaseOrderLineRow, **BUY_LINE) == []
    assert fold.tell(PurchaseOrderRow, **BUY) == ["supply A P1/10 #1: 9000 open"]
    assert fold.tell(PurchaseOrderRow, **BUY | {"status": "PART"}) == []
    assert fold.tell(PurchaseOrderLineRow, **BUY_LINE | {"item": "B"}) == [
        "supply A P1/10 #2: 0 ended",
        "supply B P1/10 #3: 9000 open",
    ]
    assert fold.tell(PurchaseOrderLineRow, **BUY_LINE | {"item": "B", "site": "DC2"}) == ["supply B P1/10 #4: 9000 open"]
    assert fold.tell(PurchaseOrderRow, **BUY | {"status": "CANCEL"}) == ["supply B P1/10 #5: 9000 ended"]
    assert fold.tell(PurchaseOrderLineRow, "d", po_no="P1", line_no=10) == ["supply B P1/10 #6: 0 ended"]


@pytest.mark.parametrize(("status", "is_open"), [("O", True), ("P", True), ("C", False), ("X", False)])
def test_open_purchase_lines(fold: Fold, status: str, is_open: bool) -> None:
    fold.tell(PurchaseOrderRow, **BUY)
    (said,) = fold.tell(PurchaseOrderLineRow, **BUY_LINE, line_status=status)
    assert said.endswith("open") is is_open


def test_an_invoice_voided_moved_and_deleted(fold: Fold) -> None:
    fold.tell(SalesOrderRow, **ORDER)
    fold.tell(SalesOrderRow, **ORDER | {"order_no": "SO2", "channel": "MKT", "external_ref": "M1"})
    fold.tell(InvoiceRow, **BILL)
    assert fold.tell(InvoiceLineRow, **BILL_LINE) == ["bill edi:850-1/10 #1: 2000"]
    assert fold.tell(InvoiceRow, **BILL, status="PAID") == []
    assert fold.tell(InvoiceRow, **BILL | {"order_no": "SO2"}) == [
        "bill edi:850-1/10 #2: void",
        "bill marketplace:M1/10 #1: 2000",
    ]
    assert fold.tell(InvoiceRow, **BILL | {"order_no": "SO2"}, status="VOID") == ["bill marketplace:M1/10 #2: void"]
    assert fold.tell(InvoiceRow, "d", invoice_no="I1") == []


@pytest.mark.parametrize(
    ("code", "name"), [("EDI", "edi"), ("WEB", "web"), ("MKT", "marketplace"), ("PHONE", "phone"), ("Fax ", "fax")]
)
def test_channels(code: str, name: str) -> None:
    assert channel_of(code) == name


def test_an_unknown_column_that_was_not_sent_keeps_its_value(fold: Fold) -> None:
    fold.tell(SalesOrderRow, **ORDER, extra={"memo": '"long"', "x": "1"})
    fold.tell(SalesOrderRow, **ORDER, status="PART", extra={"memo": '"__debezium_unavailable_value"', "x": "2"})
    assert fold.t.sales_orders[("SO1",)].extra == {"memo": '"long"', "x": "2"}


def test_customers_newest_wins() -> None:
    t = in_memory(CustomerTables)
    rule = customers.rules[CustomerChanged]
    list(rule(t, row_event(CustomerChanged, 20, customer="C1", name="new", terms="COD   ")))
    for lsn, op in ((10, "u"), (20, "u"), (5, "r")):
        with pytest.raises(AlreadyApplied):
            list(rule(t, row_event(CustomerChanged, lsn, op=op, customer="C1", name="old")))
    list(rule(t, row_event(CustomerChanged, 30, op="d", customer="C1")))
    row = t.customers[("C1",)]
    assert (row.is_deleted, row.name, row.terms) == (True, "new", "COD   ")
