"""Bad input: each gets its clear error, nothing is lost, and the rest goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.app import ITEM, Server, count, master

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """10,000 pieces of one item."""
    server = Server(tmp_path_factory.mktemp("bad") / "data")
    server.send("erp", master())
    server.send("wms", [count("10000", 1)])
    server.wait_for_stock(10_000)
    yield server
    assert server.client.get("/healthz").status_code == 200
    assert server.stop() == 0


def order(ref: str, qty: Any = "1", **line: Any) -> dict[str, Any]:
    return {"channel": "web", "external_ref": ref, "customer": "C", "lines": [{"line": 1, "item": ITEM, "qty": qty} | line]}


def refused(server: Server, path: str, status: int, content: bytes, headers: dict[str, str] | None = None) -> str:
    """A problem's sentence."""
    response = server.client.post(path, content=content, headers=JSON | (headers or {}))
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"qty": "-1"}, "above zero"),
        ({"qty": "0"}, "above zero"),
        ({"qty": "many"}, "not a plain decimal number"),
        ({"qty": 1.5}, "send it as text"),
        ({"qty": [1]}, "not a number"),
        ({"item": 7}, "not text"),
        ({"line": "one"}, "whole number"),
    ],
)
def test_an_order_with_a_wrong_line_is_refused_with_the_fields_name(server: Server, change: dict[str, Any], says: str) -> None:
    assert says in refused(server, "/v1/orders", 422, json.dumps(order("BAD", **change)).encode())


def test_an_order_with_a_wrong_head_is_refused(server: Server) -> None:
    for change, says in (
        ({"channel": "tv"}, "channel 'tv' is not known"),
        ({"channel": None}, "channel is missing"),
        ({"customer": None}, "customer"),
        ({"lines": []}, "no entries"),
        ({"placed_at": "1970-01-01T00:00:00Z"}, "before the year 2000"),
        ({"placed_at": "2190-01-01T00:00:00Z"}, "future"),
        ({"requested_date": "1970-01-01"}, "before the year 2000"),
    ):
        assert says in refused(server, "/v1/orders", 422, json.dumps(order("BAD") | change).encode()), change


def test_bodies_nobody_can_read(server: Server) -> None:
    for path in ("/v1/orders", "/v1/ingest/wms", "/v1/reservations"):
        keyed = {"Idempotency-Key": "k"}
        assert "deeply" in refused(server, path, 400, b"[" * 100_000 + b"]" * 100_000, keyed)
        assert "UTF-8" in refused(server, path, 400, b'{"a": "\xff"}', keyed)
        assert "not JSON" in refused(server, path, 400, b'{"a": ', keyed)
        assert "larger than" in refused(server, path, 413, b" " * 10_000_000, keyed)
    assert "erp, wms" in refused(server, "/v1/ingest/tms", 404, b"{}")


def test_reservations_that_cannot_be(server: Server) -> None:
    def ask(key: str, status: int, **change: Any) -> str:
        body = {"item": ITEM, "qty": 1, "channel": "web", "ttl_s": 60} | change
        return refused(server, "/v1/reservations", status, json.dumps(body).encode(), {"Idempotency-Key": key})

    assert "Idempotency-Key" in refused(
        server, "/v1/reservations", 400, json.dumps({"item": ITEM, "qty": 1, "channel": "web"}).encode()
    )
    assert "has not sent" in ask("a", 404, item="nonsense")
    assert "KG" in ask("b", 422, uom="KG")
    assert "whole" in ask("c", 422, qty="0.5")
    assert "qty" in ask("d", 422, qty="0.0001")
    assert "qty" in ask("e", 422, qty=-1)
    assert "ttl_s" in ask("f", 422, ttl_s=0)
    assert "ttl_s" in ask("g", 422, ttl_s="60")


def test_channels_and_sites_that_nobody_has(server: Server) -> None:
    """Whatever names one is refused, with what was probably meant: the number would be right for nobody."""
    line = {"item": ITEM, "qty": 1}
    held = line | {"ttl_s": 60, "channel": "web"}
    asked: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("GET", f"/v1/atp/{ITEM}", {"params": {"channel": "wbe"}}, 422, "web"),
        ("GET", f"/v1/atp/{ITEM}", {"params": {"site": "DC-1"}}, 404, "DC1"),
        ("GET", f"/v1/items/{ITEM}/audit", {"params": {"site": "DC-1"}}, 404, "DC1"),
        ("POST", "/v1/atp/check", {"json": {"lines": [line], "channel": "wbe"}}, 422, "web"),
        ("POST", "/v1/atp/check", {"json": {"lines": [line, line | {"site": "DC-1"}]}}, 404, "DC1"),
        ("POST", "/v1/reservations", {"json": held | {"channel": "wbe"}, "headers": {"Idempotency-Key": "h"}}, 422, "web"),
        ("POST", "/v1/reservations", {"json": held | {"site": "DC-1"}, "headers": {"Idempotency-Key": "i"}}, 404, "DC1"),
        ("POST", "/v1/orders", {"json": order("MIS") | {"channel": "wbe"}}, 422, "web"),
        ("GET", "/v1/orders/wbe:W1", {}, 404, "web"),
        ("GET", "/v1/orders/wbe:W1/trace", {}, 404, "web"),
        ("GET", "/v1/orders/wbe:W1/changes", {}, 404, "web"),
        ("POST", "/v1/ingest/wbe", {"json": {}}, 404, "web"),
    ]
    for method, path, more, status, meant in asked:
        response = server.client.request(method, path, **more)
        assert response.status_code == status, (path, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert f"id you mean {meant}?" in response.json()["detail"].replace("'", ""), response.text


def test_an_order_of_500_lines_is_an_order(server: Server) -> None:
    lines = [{"line": n, "item": ITEM, "qty": "2"} for n in range(1, 501)]
    response = server.client.post("/v1/orders", json=order("LONG") | {"lines": lines})
    assert response.status_code == 202
    _until(server, "web:LONG", lambda row: row["status"] == "allocated" and len(row["lines"]) == 500)


def test_an_order_of_an_unknown_item_waits_for_it_and_people_are_told(server: Server) -> None:
    assert server.client.post("/v1/orders", json=order("EARLY", item="LATER")).status_code == 202
    _told(server, "waiting", "LATER")


def test_an_order_in_an_unknown_unit_is_told(server: Server) -> None:
    assert server.client.post("/v1/orders", json=order("UNIT", uom="KG")).status_code == 202
    _until(server, "web:UNIT", lambda row: row["status"] == "refused")
    (line,) = server.client.get("/v1/orders/web:UNIT").json()["lines"]
    assert line["state"] == "refused" and "has no unit KG" in line["reason"]
    _told(server, "line_refused", "has no unit KG")


def test_a_fraction_of_a_piece_is_refused_with_its_reason(server: Server) -> None:
    assert server.client.post("/v1/orders", json=order("HALF", qty="2.5")).status_code == 202
    _until(server, "web:HALF", lambda row: row["status"] == "refused")
    (line,) = server.client.get("/v1/orders/web:HALF").json()["lines"]
    assert "comes whole" in line["reason"] and line["ordered"] == 2.5


def test_warehouse_events_that_cannot_be_are_kept_with_their_reason(server: Server) -> None:
    good = json.loads(count("10000", 2))
    for n, (change, says) in enumerate(
        [
            ({"occurred_at": "1970-01-01T00:00:00Z"}, "before the year 2000"),
            ({"occurred_at": "2199-01-01T00:00:00Z"}, "in the future"),
            ({"qty": 1.5}, "qty 1.5"),
            ({"type": "stock.teleported"}, "stock.teleported"),
            ({"item": None}, "item"),
        ]
    ):
        server.send("wms", [json.dumps(good | {"event_id": f"X{n}", "sequence": 2 + n} | change).encode()])
        _told(server, "dead_letter", says)


def test_what_names_a_unit_or_a_site_nobody_has_sent_waits(server: Server) -> None:
    """It makes no stock; it is shown, and taken when the ERP sends what it names."""
    good = json.loads(count("10000", 2))
    for n, (change, says) in enumerate([({"uom": "KG"}, "has no unit KG"), ({"site": "DC-1"}, "UnknownSite(site='DC-1')")]):
        server.send("wms", [json.dumps(good | {"event_id": f"Y{n}", "sequence": 20 + n} | change).encode()])
        _told(server, "waiting", says)
    answer = server.client.get(f"/v1/atp/{ITEM}").json()
    assert "DC-1" not in [site["site"] for site in answer["sites"]]
    answer = server.client.post(
        "/v1/reservations",
        json={"item": ITEM, "qty": "1", "channel": "web", "ttl_s": 60, "site": "DC-1"},
        headers={"Idempotency-Key": "nowhere"},
    )
    assert answer.status_code == 404 and "has not sent site DC-1" in answer.json()["detail"]


def test_a_gap_in_the_feed_is_told_and_closes_when_it_is_filled(server: Server) -> None:
    end = json.loads(count("10000", 1_000, "2026-01-03T09:00:00Z"))
    server.send("wms", [json.dumps(end).encode()])
    _told(server, "sequence_gap", "")


def _told(server: Server, code: str, says: str) -> None:
    until = time.monotonic() + 10
    while True:
        rows = server.client.get(f"/v1/exceptions?state=all&code={code}&limit=1000").json()["exceptions"]
        if any(says in row["sentence"] for row in rows):
            return
        assert time.monotonic() < until, (code, says, [row["sentence"] for row in rows])
        time.sleep(0.05)


def _until(server: Server, order_id: str, is_so: Any) -> None:
    until = time.monotonic() + 20
    while (response := server.client.get(f"/v1/orders/{order_id}")).status_code != 200 or not is_so(response.json()):
        assert time.monotonic() < until, server.client.get(f"/v1/orders/{order_id}").text[:500]
        time.sleep(0.05)
