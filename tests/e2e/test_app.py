"""The whole of it over a real embedded log: HTTP in, decided by the folds, HTTP out."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.app import ITEM, Server, count, master, reserve


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """100 pieces of one item."""
    server = Server(tmp_path / "data")
    server.send("erp", master())
    server.send("wms", [count("100", 1)])
    server.wait_for_stock(100)
    yield server
    if server.process.poll() is None:
        server.kill()


def test_32_clients_fight_for_100_units_and_exactly_100_are_granted(server: Server) -> None:
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def fight(name: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
            for n in range(5):
                status = reserve(client, f"{name}-{n}").status_code
                with lock:
                    statuses[status] += 1

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(fight, range(32)))
    assert statuses == {201: 100, 409: 60}
    row = server.atp()
    assert (row["promise"], row["sites"][0]["reserved"], row["sites"][0]["on_hand"]["usable"]) == (0, 100, 100)
    explained = server.client.get(f"/v1/items/{ITEM}/explain").json()
    assert explained["adds_up"] is True


def test_the_same_key_is_the_same_request(server: Server) -> None:
    answers = [reserve(server.client, "k", 2) for _ in range(3)]
    assert {a.status_code for a in answers} == {201}
    assert len({a.text for a in answers}) == 1
    assert reserve(server.client, "k", 3).status_code == 422
    assert server.atp()["promise"] == 98
    location = answers[0].headers["location"]
    released = [server.client.delete(location) for _ in range(2)]
    assert [r.status_code for r in released] == [200, 200]
    assert server.atp()["promise"] == 100
    assert server.client.delete("/v1/reservations/nonsense").status_code == 404


def test_a_hold_expires_by_itself(server: Server) -> None:
    body = {"item": ITEM, "qty": 5, "channel": "web", "ttl_s": 1}
    assert server.client.post("/v1/reservations", json=body, headers={"Idempotency-Key": "brief"}).status_code == 201
    assert server.atp()["promise"] == 95
    server.wait_for_stock(100)


def test_a_cancellation_sent_before_its_order_tells_its_sender_what_becomes_of_it(server: Server) -> None:
    request = {"channel": "web", "external_ref": "E/1", "change": "cancel", "change_id": "c1", "reason": "not wanted"}
    sent = server.client.post("/v1/orders", json=request)
    assert (sent.status_code, sent.headers["location"]) == (202, "/v1/orders/web:E%2F1/changes/c1")
    said = _outcome(server, sent.headers["location"], "pending")
    assert "has not arrived" in said["sentence"]
    rows = server.client.get("/v1/exceptions").json()["exceptions"]
    assert [row["order_id"] for row in rows if row["code"] == "waiting"] == ["web:E/1"]
    lines = [{"line": 1, "item": ITEM, "qty": "2"}]
    order = {"channel": "web", "external_ref": "E/1", "customer": "C", "lines": lines}
    assert server.client.post("/v1/orders", json=order).status_code == 202
    assert "nothing of it is left" in _outcome(server, sent.headers["location"], "done")["sentence"]
    _until(server, "/v1/orders/web:E%2F1", "cancelled")


def _outcome(server: Server, location: str, outcome: str) -> dict[str, str]:
    until = time.monotonic() + 20
    while True:
        response = server.client.get(location)
        if response.status_code == 200 and response.json()["outcome"] == outcome:
            found: dict[str, str] = response.json()
            return found
        assert time.monotonic() < until, response.text
        time.sleep(0.02)


def test_an_order_goes_the_whole_way_and_can_be_cancelled(server: Server) -> None:
    lines = [{"line": 1, "item": ITEM, "qty": "2", "uom": "BX"}]
    response = server.client.post("/v1/orders", json={"channel": "web", "external_ref": "W/1", "customer": "C", "lines": lines})
    assert response.status_code == 202
    location = response.headers["location"]
    _until(server, location, "allocated")
    assert server.atp()["promise"] == 76
    assert server.client.post(f"{location}/cancel").status_code == 202
    _until(server, location, "cancelled")
    server.wait_for_stock(100)
    trace = server.client.get(f"{location}/trace").json()
    assert [event["type"] for event in trace["events"]][:2] == ["OrderPlaced", "LineAnswered"]


def _until(server: Server, location: str, status: str) -> None:
    until = time.monotonic() + 10
    while server.client.get(location).json().get("status") != status:
        assert time.monotonic() < until, server.client.get(location).text
        time.sleep(0.02)


@pytest.mark.parametrize("pause_s", [0.0, 0.004, 0.02])
def test_kill_9_while_a_request_waits_then_the_same_key_gets_one_grant(server: Server, pause_s: float) -> None:
    def ask() -> int:
        try:
            return reserve(server.client, "once", 7).status_code
        except httpx.HTTPError:
            return 0

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        time.sleep(pause_s)
        server.process.kill()
        assert answer.result() in {0, 201}
        server.kill()
    again = Server(server.directory)
    try:
        answers = [reserve(again.client, "once", 7) for _ in range(2)]
        assert [a.status_code for a in answers] == [201, 201]
        assert len({a.text for a in answers}) == 1
        assert again.atp()["promise"] == 93
    finally:
        assert again.stop() == 0


def test_garbage_is_kept_with_its_reason_and_the_item_is_suspect_until_it_is_replayed(server: Server) -> None:
    bad = json.loads(count("50", 2)) | {"qty": -5}
    server.send("wms", [json.dumps(bad).encode()])
    until = time.monotonic() + 10
    while not server.atp()["is_suspect"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    found = server.client.get("/v1/exceptions").json()["exceptions"]
    (letter,) = [row for row in found if row["code"] == "dead_letter"]
    assert "qty" in letter["sentence"]
    assert server.client.post(f"/v1/exceptions/{letter['fingerprint']}/assign", json={"person": "dana"}).status_code == 202
    replayed = server.client.post(f"/v1/exceptions/{letter['fingerprint']}/replay")
    assert replayed.json() == {"replayed": ["raw.wms/0/1"]}
