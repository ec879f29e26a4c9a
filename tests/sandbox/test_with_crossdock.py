"""The sandbox and crossdock, a process each: our clients are understood there, and what it tells is understood here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from connectors.erp.client import ErpClient
from connectors.outbound import EndpointRefused
from connectors.transport import Connections
from connectors.webhooks.client import WebhookClient
from connectors.wms.client import WmsClient
from schemas.obligations import (
    InvoicePosted,
    NotifyStatus,
    ObligedLine,
    OrderPosted,
    OrderReleased,
    PostOrder,
    ReleaseOrder,
    ReleaseWithdrawn,
    RequestInvoice,
    StatusNotified,
    WithdrawRelease,
)
from tests.support.app import ITEM, Server, master
from tests.support.sandbox_service import Sandbox, an_extract, wait_for

T = TypeVar("T")
LINES = [ObligedLine(1, ITEM, "DC1", 3_000, "EA", Decimal("12.50"), "USD")]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path / "sandbox", an_extract(tmp_path / "extract", items=(ITEM,)))
    yield sandbox
    sandbox.end()


def called(work: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """What the work answers, given an HTTP client."""

    async def run() -> T:
        async with httpx.AsyncClient(transport=Connections(), trust_env=False) as http:
            return await work(http)

    return asyncio.run(run())


@pytest.mark.parametrize("ref", ["W1", "PO 7/8%25?#", "..", "Müller-1", "注文 1", " a  b ", "/" * 30, "é" * 190])
def test_our_clients_are_understood(sandbox: Sandbox, ref: str) -> None:
    order_id = f"web:{ref}"
    post = PostOrder(order_id, 1, "web", ref, "C-17", date(2026, 12, 5), 5, LINES)

    async def work(http: httpx.AsyncClient) -> list[Any]:
        erp, wms = ErpClient(http, f"{sandbox.url}/erp", 10), WmsClient(http, f"{sandbox.url}/wms", 10)
        crm = WebhookClient(http, f"{sandbox.url}/crm/notices", 10, "sandbox-crm", lambda: time.time_ns() // 1_000_000)
        return [
            await erp.post_order(post, f"{order_id}/post"),
            await erp.post_order(post, f"{order_id}/post"),
            await wms.release_order(ReleaseOrder(order_id, "C-17", 5, None, False, LINES), f"{order_id}/release"),
            await wms.withdraw_release(WithdrawRelease(order_id, LINES), f"{order_id}/withdraw"),
            await erp.request_invoice(RequestInvoice(order_id, "SO-900001", LINES), f"{order_id}/bill"),
            await crm.notify_status(
                NotifyStatus(order_id, 1, "accepted", "web", ref, "C-17", 1_795_423_454_630), f"{order_id}/tell"
            ),
        ]

    posted = OrderPosted("SO-900001")
    withdrawn = ReleaseWithdrawn(LINES)
    assert called(work) == [posted, posted, OrderReleased(), withdrawn, InvoicePosted("INV-900001"), StatusNotified()]
    assert list(sandbox.state("erp")["orders"]) == [f"WEB/{ref}"]


def test_a_refusal_says_why(sandbox: Sandbox) -> None:
    order = PostOrder("web:W1", 1, "web", "W1", "nobody", None, 5, LINES)
    with pytest.raises(EndpointRefused, match="Customer 'nobody' is not known"):
        called(lambda http: ErpClient(http, f"{sandbox.url}/erp", 10).post_order(order, "p1"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    yield server
    server.stop()


def test_an_order_is_followed_to_its_invoice(sandbox: Sandbox, server: Server) -> None:
    server.send("erp", master())
    assert sandbox.client.post("/control", json={"crossdock": server.url}).status_code == 200
    server.wait_for_stock(50)
    request = {"channel": "web", "external_ref": "W1", "customer": "C-17", "lines": [{"line": 1, "item": ITEM, "qty": "3"}]}
    assert server.client.post("/v1/orders", json=request).status_code == 202

    def reaches(status: str) -> None:
        wait_for(lambda: server.client.get("/v1/orders/web:W1").json().get("status") == status)

    reaches("allocated")
    line = {"line": 1, "item": ITEM, "site": "DC1", "qty": "3"}
    body = {"revision": 1, "customer": "C-17", "lines": [line | {"unit_price": "12.50"}]}
    assert sandbox.call("PUT", "/erp/orders/web/W1", "p1", body).status_code == 201
    assert sandbox.call("POST", "/wms/releases", "r1", {"order": "web:W1", "lines": [line]}).status_code == 202
    reaches("shipped")
    bill = {"lines": [{"line": 1, "qty": "3"}]}
    assert sandbox.call("POST", "/erp/orders/SO-900001/invoices", "i1", bill).status_code == 201

    reaches("invoiced")
    server.wait_for_stock(47)
    assert server.client.get("/v1/exceptions").json()["exceptions"] == []
