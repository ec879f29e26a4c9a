"""The CRM takes signed notices, newest first; the marketplace's pages overlap and repeat, and lose nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from connectors.channels.marketplace.translate import translate
from infra.sandbox.crm import Crm
from infra.sandbox.marketplace import Marketplace, MarketplaceOptions
from infra.sandbox.store import MemoryStore
from schemas.records import Record
from tests.support.sandbox import NOW


def notice(sequence: int, status: str, order_id: str = "web:W1") -> bytes:
    fact = {"order_id": order_id, "sequence": sequence, "status": status, "channel": "web", "external_ref": "W1"}
    return json.dumps(fact | {"customer": "C-17", "at": "2026-11-23T09:00:00Z"}).encode()


def signature(body: bytes, secret: str = "s3", at_s: int = NOW // 1000) -> str:
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def test_the_newest_notice_of_an_order_counts() -> None:
    crm = Crm(MemoryStore(), "s3")
    for key, sequence, status, kept in (("a", 1, "accepted", True), ("b", 3, "shipped", True), ("c", 2, "released", False)):
        body = notice(sequence, status)
        answer = crm.notify(key, body, signature(body), NOW)
        assert (answer.status, answer.body) == (200, {"kept": kept})
        assert crm.notify(key, body, signature(body), NOW + 1_000) == answer
    state = crm.state()
    assert state["orders"]["web:W1"]["status"] == "shipped"
    assert (state["received"], state["late"], state["unsigned"]) == (3, 1, 0)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1,v1=",
        signature(notice(1, "accepted"), "other"),
        signature(notice(2, "x")),
        signature(notice(1, "accepted"), at_s=1),
    ],
)
def test_a_notice_without_a_fresh_signature_of_its_own_is_turned_away(header: str) -> None:
    crm = Crm(MemoryStore(), "s3")
    body = notice(1, "accepted")
    assert crm.notify("a", body, header, NOW).status == 401
    assert crm.state() == {"orders": {}, "received": 0, "late": 0, "unsigned": 1}
    assert crm.notify("a", body, signature(body), NOW).status == 200


def test_a_signed_notice_that_cannot_be_read_is_refused() -> None:
    body = b'{"order_id": 7}'
    assert Crm(MemoryStore(), "s3").notify("a", body, signature(body), NOW).status == 422


def purchase(n: int) -> dict[str, Any]:
    item = {"no": 1, "sku": "A", "quantity": 3, "price": {"amount": "12.50", "currency": "USD"}}
    return {"id": f"M-{n}", "buyer": {"account": "C-17"}, "ship_by": "2026-12-05", "partial_ok": True, "items": [item]}


def polled(market: Marketplace, now: int, cursor: str = "", limit: int = 3) -> tuple[list[dict[str, Any]], str]:
    entries: list[dict[str, Any]] = []
    while True:
        page = market.page(cursor, limit, now).body
        if not page["orders"]:
            return entries, cursor
        entries += page["orders"]
        cursor = page["next"]


def test_pages_overlap_and_show_everything() -> None:
    market = Marketplace(MemoryStore(), 1, MarketplaceOptions(resent=0.0, overlap=2))
    for n in range(7):
        assert market.place(purchase(n), NOW).status == 201
    assert market.place(purchase(1), NOW).status == 409
    entries, cursor = polled(market, NOW)
    assert [entry["id"] for entry in entries] == [f"M-{n}" for n in (0, 1, 2, 1, 2, 3, 4, 5, 4, 5, 6)]
    assert market.page(cursor, 3, NOW).body == {"orders": [], "next": cursor}
    assert market.cancel("M-3", "changed my mind", NOW).status == 200
    assert market.cancel("M-3", "again", NOW).status == 200
    assert market.cancel("M-99", "", NOW).status == 404
    entries, _ = polled(market, NOW, cursor)
    assert [entry["id"] for entry in entries] == ["M-5", "M-6", "M-3"]
    assert entries[-1]["reason"] == "changed my mind"
    assert market.page("x", 3, NOW).status == 400
    assert market.place({"no": "id"}, NOW).status == 422


def test_some_orders_come_again_on_later_pages() -> None:
    market = Marketplace(MemoryStore(), 1, MarketplaceOptions(resent=1.0, resend_ms=1_000, overlap=0))
    market.place(purchase(1), NOW)
    entries, cursor = polled(market, NOW)
    assert polled(market, NOW + 1_500, cursor)[0] == entries


def test_crossdock_reads_what_the_pages_show() -> None:
    market = Marketplace(MemoryStore(), 1)
    market.place(purchase(1), NOW)
    market.cancel("M-1", "changed my mind", NOW)
    entries = polled(market, NOW)[0]
    records = [Record("raw.channel.marketplace", 0, 0, NOW, None, json.dumps(entry).encode()) for entry in entries]
    events = [event for record in records for event in translate(record).events]
    assert [type(event).__name__ for event in events] == ["OrderPlaced", "OrderCancelRequested"]
