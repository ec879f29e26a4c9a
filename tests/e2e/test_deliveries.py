"""Orders of a channel reach the ERP and whoever is told of them, each word once and in order, though crossdock is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from connectors.webhooks.signature import verify
from schemas.codec import Codec
from streams.engine.verify import verify as verified
from streams.runtime.app import all_flows
from streams.runtime.open_log import opened_log
from streams.settings.settings import load
from tests.support.app import ITEM, Server, count, erp_row, master
from tests.support.endpoints import Answer, Endpoint, Request

ORDERS = 12
PREFIXES = ("W", "Müller-", "注文 ")
"""What orders' references begin with: what a header cannot hold among it."""
SETTINGS = """
[endpoint.erp]
role = "erp"
url = "{erp}"
window = 2
lease_s = 2
timeout_s = 1
[endpoint.portal]
role = "notify"
url = "{portal}"
secret = "a secret of ours"
window = 2
lease_s = 2
timeout_s = 1
"""


@pytest.fixture
def erp() -> Iterator[Endpoint]:
    numbers: dict[str, str] = {}

    def respond(request: Request) -> Answer:
        number = numbers.setdefault(request.path, f"SO-{len(numbers) + 1}")
        return Answer(201, {"order_no": number, "revision": request.json["revision"]})

    erp = Endpoint(respond)
    yield erp
    erp.close()


@pytest.fixture
def portal() -> Iterator[Endpoint]:
    portal = Endpoint()
    yield portal
    portal.close()


def place(server: Server, number: int, prefix: str = "W") -> None:
    order = {
        "channel": "web",
        "external_ref": f"{prefix}{number}",
        "customer": "C-1",
        "lines": [{"line": 1, "item": ITEM, "qty": "1"}],
    }
    response = server.client.post("/v1/orders", json=order)
    assert response.status_code == 202, response.text


def endpoints(server: Server) -> dict[str, dict[str, Any]]:
    return {row["endpoint"]: row for row in server.client.get("/v1/endpoints").json()["endpoints"]}


def wait_until_nothing_is_owed(server: Server, erp: Endpoint) -> dict[str, dict[str, Any]]:
    until = time.monotonic() + 30
    while True:
        rows = endpoints(server)
        if len(erp.effects) >= ORDERS and rows and all(row["waiting"] == 0 for row in rows.values()):
            return rows
        assert time.monotonic() < until, rows
        time.sleep(0.05)


def test_killed_twice_in_the_middle_of_it_nothing_is_lost_or_done_twice(
    tmp_path: Path, erp: Endpoint, portal: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crossdock.toml").write_text(SETTINGS.format(erp=erp.url, portal=portal.url))
    erp.slow_s = portal.slow_s = 0.05
    server = Server(tmp_path / "data")
    try:
        customer = {
            "customer_no": "C-1",
            "name": "One",
            "terms": "NET30 ",
            "price_list": "A",
            "status": "A",
            "credit_hold": False,
        }
        server.send("erp", [*master(), erp_row("customer", {"customer_no": "C-1"}, customer, 200)])
        server.send("wms", [count("100", 1)])
        server.wait_for_stock(100)
        for number in range(ORDERS):
            place(server, number, PREFIXES[number % len(PREFIXES)])
        for calls in (3, 8):
            until = time.monotonic() + 20
            while len(erp.calls) < calls:
                assert time.monotonic() < until, endpoints(server)
                time.sleep(0.005)
            server.kill()
            server = Server(tmp_path / "data")
        rows = wait_until_nothing_is_owed(server, erp)
        assert {name: row["circuit"] for name, row in rows.items()} == {"erp": "closed", "portal": "closed"}
        assert server.client.get("/metrics").text.count("crossdock_calls_total{") >= 1
    finally:
        if server.process.poll() is None:
            server.kill()
    refs = [f"{PREFIXES[n % len(PREFIXES)]}{n}" for n in range(ORDERS)]
    assert sorted(request.path for request in erp.effects) == sorted(f"/orders/WEB/{quote(ref)}" for ref in refs)
    told: dict[str, list[int]] = {}
    for request in portal.effects:
        verify("a secret of ours", request.body, request.headers["x-crossdock-signature"], int(time.time()))
        told.setdefault(request.json["order_id"], []).append(request.json["sequence"])
    assert set(told) == {f"web:{ref}" for ref in refs}
    assert all(sequences == sorted(set(sequences)) for sequences in told.values())
    monkeypatch.chdir(tmp_path)
    settings = load()
    with opened_log(settings, may_create=False) as log:
        assert verified(log, all_flows(settings), Codec()).is_same
