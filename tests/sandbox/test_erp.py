"""The ERP: takes an order once, changes it, bills what was ordered and no more, and says so in its change feed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from infra.sandbox.erp import ErpOptions, SandboxErp
from infra.sandbox.store import MemoryStore
from tests.support.sandbox import DAY_MS, MASTER, NOW, as_erp_event, bill, order


def an_erp(**options: Any) -> SandboxErp:
    return SandboxErp(MemoryStore(), MASTER, 1, ErpOptions(**options))


def put(erp: SandboxErp, key: str, body: dict[str, Any], now: int = NOW) -> tuple[int, dict[str, Any]]:
    answer = erp.put_order(key, "web", "W1", body, now)
    return answer.status, answer.body


def lines(erp: SandboxErp) -> dict[str, tuple[str, ...]]:
    found = erp.state()["orders"]["WEB/W1"]["lines"]
    return {n: (row["ordered"], row["shipped"], row["invoiced"], row["status"]) for n, row in found.items()}


def status(erp: SandboxErp) -> str:
    return str(erp.state()["orders"]["WEB/W1"]["status"])


def rows(messages: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [(m["value"]["source"]["table"], m["value"]["op"], *(m["value"]["after"].get(c) for c in columns)) for m in messages]


def test_an_order_is_taken_once_and_a_higher_revision_changes_it() -> None:
    erp = an_erp()
    taken = {"order_no": "SO-900001", "revision": 1}
    assert put(erp, "k1", order((1, "A", "3"))) == (201, taken)
    assert put(erp, "k2", order((1, "A", "9"))) == (200, taken)
    assert lines(erp) == {"1": ("3", "0", "0", "A")}
    assert put(erp, "k3", order((1, "A", "2"), (2, "B", "1.5"), revision=2)) == (200, taken | {"revision": 2})
    assert lines(erp) == {"1": ("2", "0", "0", "A"), "2": ("1.5", "0", "0", "A")}
    assert put(erp, "k4", order((1, "A", "9"))) == (200, taken | {"revision": 2})


def test_the_same_key_again_gets_the_first_answer() -> None:
    erp = an_erp()
    first = put(erp, "k1", order((1, "A", "3")))
    assert put(erp, "k1", order((1, "A", "7"), revision=2)) == first
    refused = put(erp, "k2", order((1, "A", "3"), customer="C-0", revision=2))
    assert refused == (422, {"reason": "Customer 'C-0' is not known."})
    assert put(erp, "k2", order((1, "A", "3"), revision=2)) == refused
    assert lines(erp) == {"1": ("3", "0", "0", "A")}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (order((1, "X", "3")), "item 'X' is not known"),
        (order((1, "A", "3"), customer="C-0"), "Customer 'C-0' is not known"),
        (order((1, "A", "0")), "No line of the order is left"),
        (order(), "No line of the order is left"),
        (order((1, "A", "1"), (1, "B", "1")), "there twice"),
        (order((1, "A", "1e3")), "not a number"),
        (order((1, "A", "-1")), "not a number"),
        (order((1, "A", "0.0001")), "not a number"),
        ({"revision": 1}, "not as agreed"),
        ([], "not as agreed"),
    ],
)
def test_what_it_does_not_know_it_refuses(body: Any, says: str) -> None:
    erp = an_erp()
    number, answer = put(erp, "k1", body)
    assert number == 422
    assert says in answer["reason"]
    assert erp.state()["orders"] == {}
    assert erp.advance(NOW + DAY_MS) == []


def test_a_line_of_nothing_may_be_anything() -> None:
    erp = an_erp()
    assert put(erp, "k1", order((1, "A", "3"), (2, "X", "0")))[0] == 201
    assert lines(erp) == {"1": ("3", "0", "0", "A")}


def test_an_order_shows_in_the_change_feed_after_a_while_opened_then_allocated() -> None:
    erp = an_erp(confirm_ms=1_000)
    put(erp, "k1", order((1, "A", "3")))
    assert erp.advance(NOW + 499) == []
    due = erp.next_due()
    assert due is not None
    assert NOW + 500 <= due <= NOW + 1_500
    messages = erp.advance(due)
    assert rows(messages, "status", "qty_ordered", "qty_allocated", "unit_price") == [
        ("sales_order", "c", "OPEN", None, None, None),
        ("sales_order_line", "c", "O", "3.000", "0.000", "2.5000"),
        ("sales_order_line", "u", "A", "3.000", "3.000", "2.5000"),
        ("sales_order", "u", "ALLOC", None, None, None),
    ]
    assert erp.advance(NOW + DAY_MS) == []


def test_a_line_without_a_price_gets_the_price_lists() -> None:
    erp = an_erp(confirm_ms=0)
    body = order((1, "A", "1"), (2, "B", "1"))
    for line in body["lines"]:
        line["unit_price"] = None
    put(erp, "k1", body)
    assert [price for table, op, price in rows(erp.advance(NOW), "unit_price") if (table, op) == ("sales_order_line", "c")] == [
        "12.5000",
        None,
    ]


def test_all_lines_at_nothing_cancel_the_order() -> None:
    erp = an_erp(confirm_ms=0)
    put(erp, "k1", order((1, "A", "3"), (2, "B", "1")))
    assert put(erp, "k2", order((1, "A", "0"), revision=2))[0] == 200
    assert status(erp) == "CANCEL"
    assert lines(erp) == {"1": ("3", "0", "0", "X"), "2": ("1", "0", "0", "X")}
    assert rows(erp.advance(NOW), "status")[-1] == ("sales_order", "u", "CANCEL")


def test_what_is_billed_has_shipped_and_the_order_is_done_when_all_is() -> None:
    erp = an_erp(confirm_ms=0)
    put(erp, "k1", order((1, "A", "3"), (2, "B", "1.5")))
    erp.advance(NOW)
    assert erp.post_invoice("i1", "SO-900001", bill((1, "1")), NOW).body == {"invoice_no": "INV-900001"}
    assert (status(erp), lines(erp)) == ("PART", {"1": ("3", "1", "1", "P"), "2": ("1.5", "0", "0", "A")})
    assert erp.post_invoice("i2", "SO-900001", bill((1, "2"), (2, "1.5")), NOW).status == 201
    assert (status(erp), lines(erp)) == ("INVOICED", {"1": ("3", "3", "3", "I"), "2": ("1.5", "1.5", "1.5", "I")})
    posted = rows(erp.advance(NOW), "qty", "unit_price", "amount", "total")
    assert [row for row in posted if row[0].startswith("invoice")] == [
        ("invoice_line", "c", "1.000", "2.5000", "2.50", None),
        ("invoice", "c", None, None, None, "2.50"),
        ("invoice_line", "c", "2.000", "2.5000", "5.00", None),
        ("invoice_line", "c", "1.500", "2.5000", "3.75", None),
        ("invoice", "c", None, None, None, "8.75"),
    ]


@pytest.mark.parametrize(
    ("number", "body", "says"),
    [
        ("SO-900001", bill((1, "3.001")), "3.001 would be more than the 3 ordered"),
        ("SO-900001", bill((1, "2"), (1, "2")), "4 would be more than the 3 ordered"),
        ("SO-900001", bill((2, "1")), "no line 2"),
        ("SO-900001", bill((1, "0")), "nothing to bill"),
        ("SO-900001", bill(), "nothing to bill"),
        ("SO-1", bill((1, "1")), "not known"),
    ],
)
def test_more_than_ordered_is_not_billed(number: str, body: Any, says: str) -> None:
    erp = an_erp(confirm_ms=0)
    put(erp, "k1", order((1, "A", "3")))
    erp.advance(NOW)
    answer = erp.post_invoice("i1", number, body, NOW)
    assert answer.status == 422
    assert says in answer.body["reason"]
    assert erp.state()["invoices"] == {}
    assert erp.advance(NOW + DAY_MS) == []


def test_what_has_shipped_stays_ordered() -> None:
    erp = an_erp()
    put(erp, "k1", order((1, "A", "3"), (2, "B", "1")))
    erp.post_invoice("i1", "SO-900001", bill((1, "2")), NOW)
    assert put(erp, "k2", order((1, "A", "1"), revision=2))[0] == 200
    assert (status(erp), lines(erp)) == ("INVOICED", {"1": ("2", "2", "2", "I"), "2": ("1", "0", "0", "X")})
    assert put(erp, "k3", order((1, "B", "4"), revision=3))[1]["reason"] == "Line 1: A has shipped, so it cannot become B."


def test_its_own_people_change_orders_each_seed_its_own_way() -> None:
    outcomes = set()
    for seed in range(40):
        erp = SandboxErp(MemoryStore(), MASTER, seed, ErpOptions(own_changes=1.0, confirm_ms=0, own_change_ms=100))
        put(erp, "k1", order((1, "A", "4")))
        erp.advance(NOW)
        (after,) = [row[2:] for row in rows(erp.advance(NOW + 1_000), "status", "requested_ship_date") if row[0] == "sales_order"]
        outcomes.add((after[0], after[1] - 20_792, lines(erp)["1"][0]))
        if after[0] == "CANCEL":
            assert "was cancelled here" in put(erp, "k2", order((1, "A", "1"), revision=2))[1]["reason"]
            assert put(erp, "k3", order((1, "A", "0"), revision=2))[0] == 200
    assert outcomes == {("CANCEL", 0, "4"), ("ALLOC", 0, "2"), ("ALLOC", 0, "5"), ("ALLOC", 1, "4")}


def test_the_feed_is_what_crossdock_reads_in_the_order_of_the_log() -> None:
    erp = an_erp(own_changes=0.5)
    for n in range(20):
        erp.put_order(f"k{n}", "edi", f"R{n}", order((1, "A", "3"), (7, "C", "2.211")), NOW + n)
        erp.post_invoice(f"i{n}", f"SO-{900_001 + n}", bill((1, "1"), (7, "2.211")), NOW + n)
        erp.put_order(f"l{n}", "edi", f"R{n}", order((1, "A", "2"), (8, "B", "1"), revision=2), NOW + n)
    messages = erp.advance(NOW + DAY_MS)
    events = [as_erp_event(message, NOW + DAY_MS) for message in messages]
    assert len({event.event_id for event in events}) == len(events) > 200
    assert {type(event).__name__ for event in events} == {"SalesOrderRow", "SalesOrderLineRow", "InvoiceRow", "InvoiceLineRow"}
    assert all(a < b for a, b in pairwise((e.commit_position, e.source_position) for e in events))
    assert min(event.commit_position for event in events) > 50_980_408  # the capture's last


def test_the_feed_has_the_columns_of_the_capture() -> None:
    erp = an_erp()
    put(erp, "k1", order((1, "A", "3")))
    erp.post_invoice("i1", "SO-900001", bill((1, "1")), NOW)
    found = {m["value"]["source"]["table"]: set(m["value"]["after"]) for m in erp.advance(NOW + DAY_MS)}
    assert found == {
        "sales_order": {
            *("order_no", "channel", "external_ref", "customer_no", "status", "requested_ship_date", "created_at"),
            *("updated_at", "priority"),
        },
        "sales_order_line": {
            *("order_no", "line_no", "item_no", "site_code", "qty_ordered", "qty_allocated", "qty_shipped", "qty_invoiced"),
            *("unit_price", "status"),
        },
        "invoice": {"invoice_no", "order_no", "status", "total", "created_at"},
        "invoice_line": {"invoice_no", "line_no", "order_line_no", "item_no", "qty", "unit_price", "amount"},
    }
