"""Outbound clients: what they send, and how each answer is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, TypeVar

import httpx
import pytest

from connectors.erp.client import ErpClient
from connectors.outbound import EndpointFailed, EndpointRefused
from connectors.transport import Connections
from connectors.webhooks.client import WebhookClient
from connectors.webhooks.signature import BadSignature, sign, verify
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
from tests.support.endpoints import Answer, Endpoint

T = TypeVar("T")
LINE = ObligedLine(1, "SKU-1", "DC1", 3_000, "EA", Decimal("12.50"), "USD")
ORDER = PostOrder("marketplace:A/1 ä", 2, "marketplace", "A/1 ä", "C-17", date(2026, 11, 5), 5, [LINE])
RELEASE = ReleaseOrder("web:W1", "C-17", 5, None, False, [LINE, ObligedLine(2, "SKU-2", "DC2", 1_500, "KG")])
WITHDRAWAL = WithdrawRelease("web:W1", [LINE, ObligedLine(2, "SKU-2", "DC2", 1_500, "KG")])
NOTICE = NotifyStatus("web:W1", 4, "shipped", "web", "W1", "C-17", 1_793_610_847_123)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def called(ask: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """One call by a client of its own."""

    async def run() -> T:
        async with httpx.AsyncClient(transport=Connections(), trust_env=False) as http:
            return await ask(http)

    return asyncio.run(run())


def post(endpoint: Endpoint, order: PostOrder = ORDER, timeout_s: float = 5) -> OrderPosted:
    return called(lambda http: ErpClient(http, endpoint.url + "/", timeout_s).post_order(order, "key 1"))


# --- what is sent ---------------------------------------------------------------------------------------------------------------


def test_an_order_is_put_whole_under_the_erps_code_of_its_channel(endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(201, {"order_no": "SO-900001", "revision": 2, "more": 1})
    assert post(endpoint) == OrderPosted("SO-900001")
    (call,) = endpoint.calls
    assert (call.method, call.path, call.key) == ("PUT", "/orders/MKT/A%2F1%20%C3%A4", "key 1")
    assert call.json == {
        "revision": 2,
        "customer": "C-17",
        "requested_date": "2026-11-05",
        "priority": 5,
        "lines": [{"line": 1, "item": "SKU-1", "site": "DC1", "qty": "3", "unit_price": "12.50", "currency": "USD"}],
    }


@pytest.mark.parametrize(("channel", "code"), [("web", "WEB"), ("edi", "EDI"), ("phone", "PHONE"), ("crm", "CRM")])
def test_channels_have_the_erps_codes(endpoint: Endpoint, channel: str, code: str) -> None:
    endpoint.respond = lambda request: Answer(200, {"order_no": "SO-1", "revision": 2})
    post(endpoint, PostOrder("o", 1, channel, "X", "C", None, 5, []))
    assert endpoint.calls[0].path == f"/orders/{code}/X"
    assert endpoint.calls[0].json["requested_date"] is None


def test_an_invoice_is_asked_for_by_order_number(endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(201, {"invoice_no": "INV-1"})
    invoice = RequestInvoice("web:W1", "SO-1", [LINE])
    assert called(lambda http: ErpClient(http, endpoint.url, 5).request_invoice(invoice, "k")) == InvoicePosted("INV-1")
    assert (endpoint.calls[0].path, endpoint.calls[0].json) == ("/orders/SO-1/invoices", {"lines": [{"line": 1, "qty": "3"}]})


def test_a_release_names_what_to_pick_where(endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(202)
    assert called(lambda http: WmsClient(http, endpoint.url, 5).release_order(RELEASE, "k")) == OrderReleased()
    assert endpoint.calls[0].path == "/releases"
    assert endpoint.calls[0].json == {
        "order": "web:W1",
        "customer": "C-17",
        "priority": 5,
        "requested_date": None,
        "substitute": False,
        "lines": [
            {"line": 1, "item": "SKU-1", "site": "DC1", "qty": "3", "uom": "EA"},
            {"line": 2, "item": "SKU-2", "site": "DC2", "qty": "1.5", "uom": "KG"},
        ],
    }


def withdraw(endpoint: Endpoint) -> ReleaseWithdrawn:
    return called(lambda http: WmsClient(http, endpoint.url, 5).withdraw_release(WITHDRAWAL, "k"))


@pytest.mark.parametrize(
    ("withdrawn", "milli"),
    [
        ([{"line": 1, "site": "DC1", "qty": "2"}, {"line": 2, "site": "DC2", "qty": "1.500"}], [2_000, 1_500]),
        ([{"line": 1, "site": "DC1", "qty": "0"}], [0, 0]),
        ([], [0, 0]),
    ],
)
def test_each_line_asked_back_is_answered_with_what_came_back(endpoint: Endpoint, withdrawn: Any, milli: list[int]) -> None:
    endpoint.respond = lambda request: Answer(200, {"withdrawn": withdrawn})
    assert [line.qty_milli for line in withdraw(endpoint).lines] == milli
    asked = [{"line": 1, "site": "DC1", "qty": "3"}, {"line": 2, "site": "DC2", "qty": "1.5"}]
    assert endpoint.calls[0].json == {"order": "web:W1", "lines": asked}


@pytest.mark.parametrize(
    "withdrawn",
    [
        [{"line": 1, "site": "DC1", "qty": "4"}],
        [{"line": 9, "site": "DC1", "qty": "1"}],
        [{"line": 1, "site": "DC1", "qty": "-1"}],
        [{"line": 1, "site": "DC1", "qty": "some"}],
        [{"line": 1, "site": "DC1"}],
        "none",
    ],
)
def test_a_withdrawal_of_what_nobody_asked_back_is_no_answer(endpoint: Endpoint, withdrawn: Any) -> None:
    endpoint.respond = lambda request: Answer(200, {"withdrawn": withdrawn})
    with pytest.raises(EndpointFailed):
        withdraw(endpoint)


def test_a_notice_is_signed_over_its_raw_body(endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(204, b"")
    hook = f"{endpoint.url}/notices?tenant=7"
    told = called(lambda http: WebhookClient(http, hook, 5, "top secret", lambda: 1_000_999).notify_status(NOTICE, "k"))
    assert told == StatusNotified()
    (call,) = endpoint.calls
    assert (call.method, call.path, call.key) == ("POST", "/notices?tenant=7", "k")
    assert call.json == {
        "order_id": "web:W1", "sequence": 4, "status": "shipped", "channel": "web", "external_ref": "W1", "customer": "C-17",
        "at": "2026-11-02T09:14:07.123Z",
    }  # fmt: skip
    verify("top secret", call.body, call.headers["x-crossdock-signature"], now_s=1_000)


# --- how answers are told apart -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_4xx_is_a_refusal_in_the_endpoints_words(endpoint: Endpoint, status: int) -> None:
    endpoint.respond = lambda request: Answer(status, {"reason": "customer C-17 is unknown"})
    with pytest.raises(EndpointRefused, match="customer C-17 is unknown") as refused:
        post(endpoint)
    assert refused.value.status == status


@pytest.mark.parametrize("status", [301, 401, 408, 425, 429, 500, 502, 503, 504, 204])
def test_what_says_nothing_about_the_request_is_a_failure(endpoint: Endpoint, status: int) -> None:
    endpoint.respond = lambda request: Answer(status, b"" if status in (204, 301) else b"<h1>later,\n please</h1>")
    with pytest.raises(EndpointFailed) as failed:
        post(endpoint)
    assert failed.value.status == status
    assert failed.value.reason


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"order_no": 7}', b"\xff\xfe"])
def test_an_answer_that_is_not_what_was_promised_is_a_failure(endpoint: Endpoint, body: bytes) -> None:
    endpoint.respond = lambda request: Answer(200, body)
    with pytest.raises(EndpointFailed, match="not what it promised"):
        post(endpoint)


def test_an_endless_answer_is_not_read_to_its_end(endpoint: Endpoint) -> None:
    endpoint.respond = lambda request: Answer(200, b'"' + b"x" * (1 << 20) + b'"')
    with pytest.raises(EndpointFailed, match="longer than"):
        post(endpoint)


def test_no_answer_in_time_is_a_failure(endpoint: Endpoint) -> None:
    endpoint.slow_s = 0.5
    with pytest.raises(EndpointFailed, match=r"no answer in 0\.1 s") as failed:
        post(endpoint, timeout_s=0.1)
    assert failed.value.status == 0


def test_a_lost_reply_and_a_dead_port_are_failures(endpoint: Endpoint) -> None:
    endpoint.lose = lambda request: True
    with pytest.raises(EndpointFailed, match="RemoteProtocolError"):
        post(endpoint)
    with pytest.raises(EndpointFailed, match="ConnectError"):
        called(lambda http: ErpClient(http, "http://127.0.0.1:9", 1).post_order(ORDER, "k"))


@pytest.mark.parametrize(
    ("status", "header", "ms"),
    [(503, "7", 7_000), (429, " 0 ", 0), (503, "soon", None), (503, "99999999999", 86_400_000), (500, "7", None)],
)
def test_retry_after_is_read_where_it_belongs(endpoint: Endpoint, status: int, header: str, ms: int | None) -> None:
    endpoint.respond = lambda request: Answer(status, {}, {"Retry-After": header})
    with pytest.raises(EndpointFailed) as failed:
        post(endpoint)
    assert failed.value.retry_after_ms == ms


def test_retry_after_may_be_a_date(endpoint: Endpoint) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    endpoint.respond = lambda request: Answer(503, {}, {"Retry-After": at})
    with pytest.raises(EndpointFailed) as failed:
        post(endpoint)
    assert failed.value.retry_after_ms is not None
    assert 25_000 < failed.value.retry_after_ms <= 30_000


# --- signatures -----------------------------------------------------------------------------------------------------------------


def test_a_signature_is_the_documented_one() -> None:
    digest = "b758bf26aabb35e5311bc10fd17ab6ad0881e9717e7d5fa7e233f3cea6868b45"  # HMAC-SHA256 of "1000.body" under "secret"
    assert sign("secret", b"body", 1_000) == f"t=1000,v1={digest}"


def test_a_signature_is_of_one_secret_one_body_and_one_instant() -> None:
    made = sign("secret", b"body", 1_000)
    verify("secret", b"body", made, 1_300)
    verify("secret", b"body", f"{made},v1=another", 700)
    for secret, body, header, now_s in (
        ("other", b"body", made, 1_000),
        ("secret", b"body ", made, 1_000),
        ("secret", b"body", made.replace("t=1000", "t=1001"), 1_000),
        ("secret", b"body", made, 1_301),
        ("secret", b"body", made, 699),
    ):
        with pytest.raises(BadSignature):
            verify(secret, body, header, now_s)


@pytest.mark.parametrize(
    "header", [None, "", "v1=ab", "t=1000", "t=,v1=ab", "t=1,t=2,v1=ab", "t=x,v1=é", "t=1000,v1=é", "a" * 2_000]
)
def test_what_is_no_signature_is_refused(header: str | None) -> None:
    with pytest.raises(BadSignature):
        verify("secret", b"body", header, 1_000)
