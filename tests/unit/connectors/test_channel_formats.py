"""The web shop's, the marketplace's and the file's orders: the same orders in other words, and what is said of bad ones."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.channels.formats import CSV, FORMATS, HEADER, MARKETPLACE, WEBSHOP, headers_of, translate
from connectors.channels.webshop.signature import is_signed, sign
from connectors.files.orders_csv.translate import report
from connectors.files.orders_csv.wire import orders_of
from schemas.errors import BadMessage
from schemas.orders import OrderCancelRequested, OrderPlaced, PlacedLine
from schemas.records import Record

TAKEN_MS = int(datetime(2026, 11, 2, 9, 20, tzinfo=UTC).timestamp()) * 1000
SHOP: dict[str, Any] = {
    "id": "W1001",
    "created_at": "2026-11-02T09:00:00Z",
    "customer": {"number": "C-17"},
    "currency": "usd",
    "deliver_by": "2026-11-05",
    "accept": {"partial": False},
    "line_items": [{"position": 1, "sku": "SKU-1", "quantity": 3, "unit": "EA", "price": "12.50"}],
}
MARKET: dict[str, Any] = {
    "id": "W1001",
    "purchased": "2026-11-02T09:00:00Z",
    "buyer": {"account": "C-17"},
    "ship_by": "2026-11-05",
    "partial_ok": False,
    "items": [{"no": 1, "sku": "SKU-1", "quantity": 3, "unit": "EA", "price": {"amount": "12.50", "currency": "USD"}}],
}
FILE = (
    "order;customer;placed_at;requested_date;line;item;qty;uom;unit_price;currency;partial\n"
    "W1001;C-17;2026-11-02T09:00:00Z;2026-11-05;1;SKU-1;3;EA;12.50;USD;no\n"
)


def record(body: Any, form: str, channel: str = "web") -> Record:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Record(f"raw.channel.{channel}", 0, 5, TAKEN_MS, None, data, headers_of(form))


@pytest.mark.parametrize(("body", "form"), [(SHOP, WEBSHOP), (MARKET, MARKETPLACE), (FILE, CSV)])
def test_every_format_says_the_same_order(body: Any, form: str) -> None:
    """Who, when, what, and that a resend has the same content: no format loses a field."""
    (order,) = translate(record(body, form)).events
    (again,) = translate(record(body, form)).events
    assert isinstance(order, OrderPlaced)
    assert (order.order_id, order.channel, order.external_ref, order.customer) == ("web:W1001", "web", "W1001", "C-17")
    assert (order.requested_on, order.allow_partial, order.allow_backorder) == (date(2026, 11, 5), False, True)
    assert order.occurred_at_ms == TAKEN_MS - 20 * 60_000
    assert order.lines == [PlacedLine(1, "SKU-1", 3000, "EA", Decimal("12.50"), "USD", None)]
    assert order.content_hash == again.content_hash


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({**SHOP, "status": "cancelled", "cancelled_at": "2026-11-02T09:10:00Z", "cancel_reason": "changed mind"}, WEBSHOP),
        ({"id": "W1001", "cancelled": "2026-11-02T09:10:00Z", "reason": "changed mind"}, MARKETPLACE),
    ],
)
def test_a_cancellation_is_one_change_however_often_it_comes(body: Any, form: str) -> None:
    """Shop and marketplace cancel whole orders, once."""
    (first,) = translate(record(body, form)).events
    assert isinstance(first, OrderCancelRequested)
    assert (first.order_id, first.line, first.reason) == ("web:W1001", None, "changed mind")
    assert first.event_id == "web:W1001!cancelled"
    assert first.occurred_at_ms == TAKEN_MS - 10 * 60_000


@pytest.mark.parametrize(
    ("body", "form", "said"),
    [
        ({**SHOP, "line_items": []}, WEBSHOP, "line_items has no entries"),
        ({**SHOP, "status": "lost"}, WEBSHOP, "status 'lost' is not known"),
        ({**SHOP, "line_items": SHOP["line_items"] * 2}, WEBSHOP, "line 1 is there twice"),
        ({**SHOP, "customer": {}}, WEBSHOP, "customer.number is missing"),
        ({**MARKET, "items": [{**MARKET["items"][0], "quantity": 0}]}, MARKETPLACE, "quantity 0 is not above zero"),
        ({**MARKET, "purchased": "2026-11-09T09:00:00Z"}, MARKETPLACE, "is in the future"),
        ({"id": "W1", "cancelled": "soon"}, MARKETPLACE, "cancelled 'soon' is not a timestamp"),
        (b"\xff", MARKETPLACE, "not UTF-8"),
        ("", CSV, "the file is empty"),
        ("order,customer\n", CSV, "column 'placed_at' is missing"),
        (FILE.replace("partial", "colour"), CSV, "column 'colour' is not known"),
        (FILE.replace(";3;", ";three;"), CSV, "qty 'three' is not a plain decimal number"),
        (FILE.replace(";1;SKU", ";one;SKU"), CSV, "line 'one' is not a whole number"),
        (FILE.replace(";no", ";perhaps"), CSV, "partial 'perhaps' is neither yes nor no"),
        (FILE.partition("\n")[0], CSV, "there is no row"),
    ],
)
def test_what_is_said_of_a_bad_one(body: Any, form: str, said: str) -> None:
    """One sentence, naming field and value, and what to do."""
    with pytest.raises(BadMessage) as error:
        translate(record(body, form))
    assert said in error.value.reason
    assert error.value.hint


def test_a_format_nobody_knows() -> None:
    """It is refused, not guessed."""
    with pytest.raises(BadMessage, match="format 'fax' is not known") as error:
        translate(Record("raw.channel.web", 0, 0, TAKEN_MS, None, b"{}", ((HEADER, b"fax"),)))
    assert all(name in error.value.hint for name in FORMATS)


@given(st.binary(max_size=60), st.sampled_from(sorted(FORMATS)))
def test_any_bytes_are_read_or_refused(data: bytes, form: str) -> None:
    """No input leaves a translator by another way."""
    try:
        translate(record(data, form))
    except BadMessage as error:
        assert error.reason


def test_a_signature_is_over_the_bytes_as_sent() -> None:
    """Another body, another secret or a cut signature is not signed; the example is RFC 4231's second case."""
    digest = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert base64.b64decode(sign(b"Jefe", b"what do ya want for nothing?")) == digest
    good = sign(b"secret", b'{"a": 1}')
    assert is_signed(b"secret", b'{"a": 1}', good)
    assert not is_signed(b"secret", b'{"a":1}', good)
    assert not is_signed(b"other", b'{"a": 1}', good)
    assert not is_signed(b"secret", b'{"a": 1}', good[:-2])
    assert not is_signed(b"secret", b'{"a": 1}', "ü")


def test_a_file_is_reported_row_by_row() -> None:
    """A wrong row is named, its order's other rows say which, other orders are taken."""
    rows = [
        "order,customer,placed_at,line,item,qty",
        "A,C-1,2026-11-02T09:00:00Z,1,SKU-1,3",
        "B,C-1,2026-11-02T09:00:00Z,1,SKU-1,1",
        "A,C-1,2026-11-02T09:00:00Z,2,SKU-2,-4",
        "C,C-1,2026-11-02T09:00:00Z,1,SKU-1,1",
        "C,C-2,2026-11-02T09:00:00Z,2,SKU-1,1",
    ]
    whole = report("\r\n".join(rows).encode(), "raw.channel.edi", TAKEN_MS)
    orders, found = whole.orders, whole.rows
    assert [order.order for order in orders] == ["A", "B", "C"]
    said = [(row.number, row.order, row.line, row.outcome) for row in found]
    assert said == [
        (2, "A", "1", "left out"),
        (3, "B", "1", "taken"),
        (4, "A", "2", "refused"),
        (5, "C", "1", "refused"),
        (6, "C", "2", "refused"),
    ]
    assert "qty '-4' is not above zero" in found[2].reason
    assert "row 4" in found[0].reason
    assert "customer is 'C-1' in one row and 'C-2' in another" in found[3].reason


def test_each_order_of_a_file_is_a_text_of_its_own() -> None:
    """So each is one raw message, and translates to what the whole file says; quotes and separators survive."""
    cell = '"SKU ""x"", 1"'
    data = f"order,customer,placed_at,line,item,qty\nA,C-1,2026-11-02T09:00:00Z,1,{cell},3\n".encode()
    (order,) = orders_of(data)
    (event,) = translate(record(order.text, CSV, "edi")).events
    assert event.lines[0].item == 'SKU "x", 1'
