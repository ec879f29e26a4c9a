"""The WMS: works what is released and not withdrawn, and tells each step with a number of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from infra.sandbox.master import Master
from infra.sandbox.store import MemoryStore
from infra.sandbox.wms import SandboxWms, WmsOptions
from tests.support.sandbox import MASTER, NOW, as_wms_events, book, release, told, withdrawal, withdrawn, worked

CALM: dict[str, Any] = {"short": 0.0, "substituted": 0.0, "split": 0.0, "returned": 0.0}


def a_wms(master: Master = MASTER, seed: int = 1, **options: Any) -> SandboxWms:
    wms = SandboxWms(MemoryStore(), master, seed, WmsOptions(**CALM | options))
    wms.announce(NOW)
    wms.advance(NOW)
    return wms


def test_it_announces_its_stock_once() -> None:
    wms = SandboxWms(MemoryStore(), MASTER, 1, WmsOptions(stock_milli=2_211))
    wms.announce(NOW)
    wms.announce(NOW)
    messages = wms.advance(NOW)
    assert [(m["sequence"], m["event_id"], m["site"], m["item"], m["qty"]) for m in messages] == [
        (n, f"W-{n}", site, item, "2.211") for n, (site, item) in enumerate(MASTER.places, 1)
    ]


def test_a_release_is_picked_and_shipped_step_by_step() -> None:
    wms = a_wms(start_ms=1_000, pick_ms=1_000, ship_ms=10_000)
    assert wms.release("k1", release((1, "A", "3"), (2, "C", "2.211")), NOW).status == 202
    assert told(wms, NOW + 499) == []
    assert sorted(told(wms, NOW + 1_500)) == [("pick.released", 1, "3"), ("pick.released", 2, "2.211")]
    assert sorted(told(wms, NOW + 3_000)) == [("pick.completed", 1, "3"), ("pick.completed", 2, "2.211")]
    (message,) = worked(wms, NOW + 18_000)
    assert message["type"] == "shipment.confirmed"
    assert [(line["line"], line["item"], line["qty"], line["uom"]) for line in message["lines"]] == [
        (1, "A", "3", "EA"),
        (2, "C", "2.211", "KG"),
    ]
    assert message["carrier"]
    assert message["tracking"]
    assert wms.next_due() is None
    assert wms.state()["stock"]["DC1/A"] == "497"
    assert book(wms) == dict.fromkeys(("released", "picked", "shipped"), Decimal("5.211"))


def test_the_same_key_again_releases_nothing_more() -> None:
    wms = a_wms()
    assert wms.release("k1", release((1, "A", "3")), NOW) == wms.release("k1", release((1, "A", "3")), NOW)
    assert book(wms)["released"] == 3
    assert wms.release("k2", release((1, "A", "2")), NOW).status == 202
    assert book(wms)["released"] == 5


def test_a_withdrawal_gives_back_what_is_not_picked() -> None:
    wms = a_wms()
    wms.release("k1", release((1, "A", "3")), NOW)
    wms.release("k2", release((1, "A", "2")), NOW)
    first = wms.withdraw("k3", withdrawal((1, "4"), (9, "1")))
    assert withdrawn(first) == ["4", "0"]
    assert wms.withdraw("k3", withdrawal((1, "4"), (9, "1"))) == first
    assert [step for step in told(wms) if step[0] == "pick.completed"] == [("pick.completed", 1, "1")]
    assert withdrawn(wms.withdraw("k4", withdrawal((1, "4")))) == ["0"]
    assert book(wms) == {"released": 5, "withdrawn": 4, "picked": 1, "shipped": 1}


def test_what_is_withdrawn_in_full_is_never_told_of() -> None:
    wms = a_wms()
    wms.release("k1", release((1, "A", "3")), NOW)
    assert withdrawn(wms.withdraw("k2", withdrawal((1, "3")))) == ["3"]
    assert told(wms) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (release((1, "X", "1")), "Item 'X' is not known"),
        (release((1, "A", "0")), "nothing to pick"),
        (release((1, "A", "1"), (2, "A", "x")), "not a number"),
        (release(), "no lines"),
        ({"order": "web:W1", "lines": [{"line": 1, "item": "A", "site": "DC9", "qty": "1"}]}, "Site 'DC9' is not known"),
        ({"order": "a\nb", "lines": []}, "not as agreed"),
        ("x", "not as agreed"),
    ],
)
def test_what_it_cannot_pick_it_refuses_whole(body: Any, says: str) -> None:
    wms = a_wms()
    answer = wms.release("k1", body, NOW)
    assert answer.status == 422
    assert says in answer.body["reason"]
    assert told(wms) == []


def test_what_is_not_there_is_short_and_then_counted() -> None:
    wms = a_wms(stock_milli=2_000)
    wms.release("k1", release((1, "A", "3")), NOW)
    messages = worked(wms)
    assert [(m["type"], m.get("qty"), m.get("qty_short")) for m in messages] == [
        ("pick.released", "3", None),
        ("pick.short", "2", "1"),
        ("stock.snapshot", "0", None),
        ("shipment.confirmed", None, None),
    ]
    assert messages[1]["occurred_at"] < messages[2]["occurred_at"]
    assert wms.receive({"site": "DC1", "item": "A", "qty": "5"}, NOW).status == 200
    wms.release("k2", release((1, "A", "1")), NOW)
    assert [step[0] for step in told(wms)] == [
        "stock.received",
        "pick.released",
        "pick.completed",
        "shipment.confirmed",
    ]
    assert wms.state()["stock"]["DC1/A"] == "4"


def test_a_short_pick_strikes_off_what_was_not_found() -> None:
    wms = a_wms(short=1.0)
    wms.release("k1", release((1, "A", "3")), NOW)
    (pick,) = [m for m in worked(wms) if m["type"] == "pick.short"]
    assert int(pick["qty"]) + int(pick["qty_short"]) == 3
    assert wms.state()["stock"]["DC1/A"] == "497"


def test_something_else_of_the_same_unit_is_picked_where_that_is_allowed() -> None:
    wms = a_wms(substituted=1.0)
    wms.release("k1", release((1, "A", "3")), NOW)
    assert [step[0] for step in told(wms)] == ["pick.released", "pick.completed", "shipment.confirmed"]
    wms.release("k2", release((2, "A", "3"), (3, "C", "1"), substitute=True), NOW)
    messages = worked(wms)
    (pick,) = [m for m in messages if m["type"] == "pick.substituted"]
    assert (pick["line"], pick["item"], pick["substitute_item"], pick["substitute_qty"]) == (2, "A", "B", "3")
    shipped = [line for m in messages if m["type"] == "shipment.confirmed" for line in m["lines"]]
    assert sorted((line["line"], line["item"], line["qty"]) for line in shipped) == [(2, "B", "3"), (3, "C", "1")]
    assert wms.state()["stock"]["DC1/B"] == "497"


def test_a_pick_may_take_two_goes() -> None:
    wms = a_wms(split=1.0, pick_ms=1_000, ship_ms=0)
    wms.release("k1", release((1, "A", "5")), NOW)
    assert told(wms) == [
        ("pick.released", 1, "5"),
        ("pick.completed", 1, "2"),
        ("shipment.confirmed", None, None),
        ("pick.completed", 1, "3"),
        ("shipment.confirmed", None, None),
    ]


def test_some_comes_back() -> None:
    wms = a_wms(returned=1.0)
    wms.release("k1", release((1, "A", "3")), NOW)
    messages = worked(wms)
    assert (messages[-1]["type"], messages[-1]["line"], messages[-1]["qty"]) == ("return.received", 1, "1")


def test_crossdock_reads_every_kind_of_event() -> None:
    wms = SandboxWms(MemoryStore(), MASTER, 3, WmsOptions(short=0.3, substituted=0.3, split=0.3, returned=0.5))
    wms.announce(NOW)
    now, messages = NOW, list[dict[str, Any]]()
    for n in range(40):
        wms.release(f"k{n}", release((1, "A", "3"), (2, "C", "2.211"), order_id=f"web:W{n}", substitute=True), now)
        wms.receive({"site": "DC1", "item": "B", "qty": "5"}, now)
        now += 500
        messages += wms.advance(now)
    messages += worked(wms)
    assert {m["type"] for m in messages} == {
        *("stock.snapshot", "stock.received", "pick.released", "pick.completed", "pick.short", "pick.substituted"),
        *("shipment.confirmed", "return.received"),
    }
    assert all(as_wms_events(message, now) for message in messages)
    assert [m["sequence"] for m in messages] == list(range(1, len(messages) + 1))
