"""Any text may be an order's reference: what of it goes into headers and addresses arrives, and no text breaks a call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.erp.client import ErpClient
from connectors.outbound import MAX_KEY, CannotSend, key_header, path_part
from connectors.transport import Connections
from connectors.webhooks.client import WebhookClient
from connectors.wms.client import WmsClient
from schemas.obligations import NotifyStatus, ObligedLine, PostOrder, ReleaseOrder, RequestInvoice, WithdrawRelease
from tests.support.endpoints import Answer, Endpoint, Request

NASTY = ["\r\n", "\r\nX-Evil: 1", "\0", "\x1b[2J", "%", "%2F", "%%", "/", "//", "\\", "?", "#", ";", " ", "..", ".", "é", "ß",
         "Ж", "注文", "🙂", "\u202e", "\u0301", "\u2028", "\ufeff", "\x7f", "\x85", "~", "<script>", "{x}", "&"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(NASTY) | st.text(max_size=8), min_size=1, max_size=8).map("".join).filter(bool)
LONG = st.builds(lambda part, times: part * times, st.sampled_from(["a", "%", "é", "🙂", " "]), st.integers(200, 3_000))
SURROGATES = st.builds("{}{}{}".format, st.text(max_size=4), st.sampled_from(["\ud800", "\udfff", "\udc80"]), st.text(max_size=4))


@given(TEXTS | LONG | SURROGATES)
def test_a_key_is_a_legal_header_of_bounded_length(key: str) -> None:
    header = key_header(key)
    assert header.isascii()
    assert header.isprintable()
    assert header == header.strip()
    assert 0 < len(header) <= MAX_KEY
    if "%" not in key and key.isascii() and key.isprintable() and key == key.strip() and len(key) <= MAX_KEY:
        assert header == key


@given(TEXTS)
def test_a_key_that_is_not_cut_can_be_read_again(key: str) -> None:
    header = key_header(key)
    if "~" not in header:
        assert unquote(header) == key


@given(st.lists(TEXTS | LONG | SURROGATES, min_size=2, max_size=2, unique=True))
def test_two_keys_are_never_one_header(keys: list[str]) -> None:
    assert key_header(keys[0]) != key_header(keys[1])


def test_two_long_keys_that_begin_alike_stay_two() -> None:
    assert key_header("é" * 500 + "1") != key_header("é" * 500 + "2")


@given(TEXTS | LONG)
def test_a_part_of_a_path_is_one_part_and_can_be_read_again(text: str) -> None:
    part = path_part(text)
    assert "/" not in part
    assert unquote(part) == text
    assert httpx.URL(f"http://h/a/{part}/b").raw_path.count(b"/") == 3


@given(SURROGATES)
def test_a_lone_surrogate_is_no_text_and_is_told_so(text: str) -> None:
    with pytest.raises(CannotSend, match="not valid text"):
        path_part(text)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint(_answered)
    yield endpoint
    endpoint.close()


def _answered(request: Request) -> Answer:
    if request.path == "/withdrawals":
        return Answer(200, {"withdrawn": []})
    return Answer(200, {"order_no": "SO-1", "invoice_no": "INV-1"})


@settings(max_examples=60, deadline=None)
@given(text=TEXTS | LONG)
def test_every_call_is_made_and_arrives_whole_whatever_the_texts(endpoint: Endpoint, text: str) -> None:
    """Or is not made at all, because no server would take its address."""
    endpoint.calls.clear()
    line = [ObligedLine(1, text, text, 1_000, text)]
    key = f"web:{text}/post/1"

    async def all_calls() -> None:
        async with httpx.AsyncClient(transport=Connections(), trust_env=False) as http:
            erp, wms = ErpClient(http, endpoint.url, 5), WmsClient(http, endpoint.url, 5)
            hook = WebhookClient(http, endpoint.url + "/notices", 5, "secret", lambda: 1)
            await wms.release_order(ReleaseOrder(text, text, 5, None, False, line), f"1 {key}")
            await wms.withdraw_release(WithdrawRelease(text, line), f"2 {key}")
            await hook.notify_status(NotifyStatus(text, 1, "accepted", "web", text, text, 0), f"3 {key}")
            await erp.request_invoice(RequestInvoice(text, text, line), f"4 {key}")
            await erp.post_order(PostOrder(text, 1, text, text, text, date(2026, 1, 1), 5, line), f"5 {key}")

    try:
        asyncio.run(all_calls())
    except CannotSend as error:
        assert "servers take" in str(error)
        return
    release, _, notice, invoice, post = endpoint.calls
    assert [call.key for call in endpoint.calls] == [unquote(key_header(f"{n} {key}")) for n in range(1, 6)]
    assert (release.json["order"], notice.json["external_ref"]) == (text, text)
    assert [unquote(part) for part in urlsplit(invoice.path).path.split("/")] == ["", "orders", text, "invoices"]
    assert unquote(post.path.split("/")[3]) == text
