"""Channel orders and changes: identity, resends, and what is said about each way a message can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.channels.orders.translate import translate
from schemas.codec import Codec
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.orders import OrderCancelRequested, OrderPlaced, OrderQuantityChangeRequested, PlacedLine
from schemas.records import Record
from schemas.topics import CHANNEL, ROUTES

TAKEN_MS = int(datetime(2026, 11, 2, 9, 20, tzinfo=UTC).timestamp()) * 1000
LINE: dict[str, Any] = {"line": 1, "item": "SKU-1", "qty": "3", "uom": "EA", "unit_price": "12.50", "currency": "USD"}
ORDER: dict[str, Any] = {
    "channel": "web",
    "external_ref": "W1001",
    "customer": "C-17",
    "placed_at": "2026-11-02T09:00:00Z",
    "requested_date": "2026-11-05",
    "policy": {"partial": True, "backorder": True, "substitute": False},
    "lines": [LINE],
}
CHANGE = {"channel": "web", "external_ref": "W1001"}
CODEC = Codec()


def record(body: bytes, topic: str = "raw.channel.web", offset: int = 5, taken_ms: int = TAKEN_MS) -> Record:
    return Record(topic, 0, offset, taken_ms, b"W1001", body)


def body(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**ORDER, **changes}.items() if v is not ...}).encode()


def placed(**changes: Any) -> OrderPlaced:
    (event,) = translate(record(body(**changes))).events
    assert isinstance(event, OrderPlaced)
    return event


def changed(offset: int = 5, taken_ms: int = TAKEN_MS, **fields: Any) -> Any:
    (event,) = translate(record(json.dumps({**CHANGE, **fields}).encode(), offset=offset, taken_ms=taken_ms)).events
    assert CHANNEL in ROUTES[type(event)].writers
    return event


def test_an_order_carries_everything() -> None:
    """The example of the documentation, field by field."""
    order = placed()
    assert order == OrderPlaced(
        event_id=f"web:W1001#{order.content_hash}",
        source="web",
        source_position=5,
        occurred_at_ms=TAKEN_MS - 20 * 60_000,
        recorded_at_ms=TAKEN_MS,
        trace_id="raw.channel.web/0/5",
        order_id="web:W1001",
        channel="web",
        external_ref="W1001",
        customer="C-17",
        requested_on=date(2026, 11, 5),
        priority=5,
        allow_partial=True,
        allow_backorder=True,
        allow_substitute=False,
        content_hash=order.content_hash,
        lines=[PlacedLine(1, "SKU-1", 3000, "EA", Decimal("12.50"), "USD", None)],
    )
    assert CODEC.decode(CODEC.encode(order)) == order


def test_what_is_not_said_has_a_default() -> None:
    """Partial and backorder are allowed, a substitute is not; unit and price may be missing."""
    order = placed(policy=..., requested_date=None, lines=[{"line": 7, "item": "SKU-1", "qty": 2}])
    assert (order.allow_partial, order.allow_backorder, order.allow_substitute, order.priority) == (True, True, False, 5)
    assert order.lines == [PlacedLine(7, "SKU-1", 2000, None, None, None, None)]


SAME: list[dict[str, Any]] = [
    {},
    {"channel": "WEB"},
    {"lines": [LINE | {"qty": 3}]},
    {"lines": [LINE | {"qty": "3.000"}]},
    {"lines": [LINE | {"unit_price": "12.5"}]},
    {"lines": [LINE | {"currency": "usd"}]},
    {"placed_at": "2026-11-02T09:01:00Z"},
    {"note": "gift wrap"},
]
OTHER: list[dict[str, Any]] = [
    {"customer": "C-18"},
    {"requested_date": "2026-11-06"},
    {"policy": {"partial": False}},
    {"priority": 1},
    {"lines": [LINE | {"qty": "4"}]},
    {"lines": [LINE | {"unit_price": "12.51"}]},
    {"lines": [LINE | {"uom": "CS"}]},
    {"lines": [LINE | {"site": "DC1"}]},
    {"lines": [LINE, LINE | {"line": 2}]},
]


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_a_resend_is_the_same_event(changes: dict[str, Any]) -> None:
    """However it is written, the same content has the same hash and the same event id."""
    assert placed(**changes).content_hash == placed().content_hash
    assert placed(**changes).event_id == placed().event_id


@pytest.mark.parametrize("changes", OTHER, ids=str)
def test_a_contradicting_resend_is_told_by_its_hash(changes: dict[str, Any]) -> None:
    """The order id is the same, the content is not."""
    assert placed(**changes).content_hash != placed().content_hash
    assert placed(**changes).order_id == placed().order_id


def test_lines_are_in_order_whatever_order_they_came_in() -> None:
    """Line order is presentation, not content."""
    two = [LINE, LINE | {"line": 2, "item": "SKU-2"}]
    assert placed(lines=two[::-1]) == placed(lines=two)


def test_a_big_order_is_fine() -> None:
    """500 lines pass, and so do 1,000."""
    for n in (500, 1_000):
        assert len(placed(lines=[LINE | {"line": i} for i in range(1, n + 1)]).lines) == n


def test_changes() -> None:
    """Cancel, cancel a line, set a quantity."""
    cancel = changed(change="cancel", reason="changed their mind", changed_at="2026-11-02T09:10:00Z")
    assert isinstance(cancel, OrderCancelRequested)
    assert (cancel.order_id, cancel.line, cancel.reason) == ("web:W1001", None, "changed their mind")
    assert cancel.occurred_at_ms == TAKEN_MS - 10 * 60_000
    line = changed(change="cancel_line", line=2)
    assert isinstance(line, OrderCancelRequested)
    assert (line.line, line.occurred_at_ms) == (2, TAKEN_MS)
    quantity = changed(change="set_qty", line=2, qty="1.5", uom="KG")
    assert isinstance(quantity, OrderQuantityChangeRequested)
    assert (quantity.line, quantity.qty_milli, quantity.uom) == (2, 1500, "KG")


def test_a_change_is_told_from_a_resend() -> None:
    """By its own id if it has one, else by its content; when and where it was taken does not matter."""
    fields: dict[str, Any] = {"change": "set_qty", "line": 1, "qty": "2"}
    again = changed(offset=9, taken_ms=TAKEN_MS + 5, **fields)
    assert again.event_id == changed(**fields).event_id
    assert again != changed(**fields)
    assert changed(**fields | {"qty": "3"}).event_id != again.event_id
    assert changed(**fields, changed_at="2026-11-02T09:10:00Z").event_id != again.event_id
    assert changed(**fields, change_id="A").event_id == "web:W1001!A"
    assert changed(**fields, change_id="B").event_id == "web:W1001!B"


BAD: list[tuple[str, bytes, str, str]] = [
    ("not UTF-8", body().replace(b"C-17", b"\xff"), "not UTF-8: byte 0xff", "encoded as UTF-8"),
    ("cut off", body()[:100], "the body is not JSON", "complete JSON object"),
    ("an array of orders", b"[" + body() + b"]", "is not a JSON object", "not a list"),
    ("too deep", body(x=1).replace(b'"x": 1', b'"x":' + b"[" * 9_999 + b"]" * 9_999), "nested too deeply", "flat JSON"),
    ("10 MB", body(note="x" * 10_000_000), "more than 1048576", "smaller messages"),
    ("no channel", body(channel=...), "channel is missing", "add channel"),
    ("another channel", body(channel="edi"), "channel 'edi' came on the topic of channel 'web'", "its own source"),
    ("no reference", body(external_ref=...), "external_ref is missing", "add external_ref"),
    ("empty reference", body(external_ref=""), "external_ref is empty", "give external_ref a value"),
    ("reference as a number", body(external_ref=1001), "external_ref 1001 is not text", "in quotes"),
    ("empty customer", body(customer=" "), "customer is empty", "give customer a value"),
    ("no customer", body(customer=None), "customer None is not text", "in quotes"),
    ("no lines", body(lines=[]), "lines has no entries", "at least one"),
    ("lines missing", body(lines=...), "lines is missing", "add lines"),
    ("1,001 lines", body(lines=[LINE | {"line": i} for i in range(1, 1_002)]), "more than 1000 entries", "several messages"),
    ("a line twice", body(lines=[LINE, LINE | {"item": "SKU-2"}]), "line 1 is there twice: 'SKU-1' and 'SKU-2'", "1, 2, 3"),
    ("line zero", body(lines=[LINE | {"line": 0}]), "lines[0].line 0 is too small", "1 or more"),
    ("negative order quantity", body(lines=[LINE | {"qty": "-1"}]), "lines[0]: qty '-1' is not above zero", "positive"),
    ("zero order quantity", body(lines=[LINE | {"qty": 0}]), "lines[0]: qty 0 is not above zero", "positive"),
    ("fraction as a number", body(lines=[LINE | {"qty": 2.5}]), "qty 2.5 is a JSON number with a fraction", 'like "2.5"'),
    ("price as a number", body(lines=[LINE | {"unit_price": 12.5}]), "unit_price 12.5 is a JSON number", 'like "12.5"'),
    ("negative price", body(lines=[LINE | {"unit_price": "-1"}]), "unit_price '-1' is out of range", "zero or more"),
    ("price too fine", body(lines=[LINE | {"unit_price": "0.0000000001"}]), "is not a plain decimal", "send digits"),
    ("no currency", body(lines=[LINE | {"currency": "US"}]), "lines[0].currency 'US'", "check currency"),
    ("requested in 1970", body(requested_date="1970-01-01"), "requested_date '1970-01-01' is before the year 2000", "check"),
    ("placed in 1970", body(placed_at="1970-01-01T00:00:00Z"), "is before the year 2000", "check the clock"),
    ("placed tomorrow", body(placed_at="2026-11-04T00:00:00Z"), "placed_at 2026-11-04T00:00:00Z is in the future", "clock"),
    ("policy in words", body(policy={"partial": "yes"}), "policy.partial 'yes' is neither true nor false", "true or false"),
    ("priority in words", body(priority="high"), "priority 'high' is not a whole number", "as a number"),
    ("unknown change", json.dumps({**CHANGE, "change": "upgrade"}).encode(), "change 'upgrade' is not known", "'cancel'"),
    ("change of no line", json.dumps({**CHANGE, "change": "cancel_line"}).encode(), "line is missing", "add line"),
    ("set to nothing", json.dumps({**CHANGE, "change": "set_qty", "line": 1, "qty": 0}).encode(), "not above zero", "positive"),
]


@pytest.mark.parametrize(("raw", "reason", "hint"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_messages_say_what_is_wrong_and_what_to_do(raw: bytes, reason: str, hint: str) -> None:
    """One short sentence naming field and value, and what to do about it."""
    with pytest.raises(BadMessage) as caught:
        translate(record(raw))
    assert reason in caught.value.reason
    assert hint in caught.value.hint
    assert "\n" not in caught.value.reason
    assert len(caught.value.reason) < 200
    assert set(caught.value.items) <= {"SKU-1", "SKU-2"}


@given(
    st.sampled_from([body(), json.dumps({**CHANGE, "change": "set_qty", "line": 1, "qty": "2"}).encode()]),
    st.lists(st.tuples(st.integers(0, 350), st.binary(max_size=6), st.integers(0, 8)), min_size=1, max_size=4),
)
def test_whatever_comes_is_translated_and_encodable_or_refused_in_words(raw: bytes, cuts: list[tuple[int, bytes, int]]) -> None:
    """Damaged messages never raise anything but `BadMessage`, and what passes can be written to the log."""
    for at, put, drop in cuts:
        raw = raw[:at] + put + raw[at + drop :]
    try:
        (event,) = translate(record(raw)).events
    except BadMessage as error:
        assert error.reason
        assert error.hint
    else:
        assert CODEC.decode(CODEC.encode(event)) == replace(event)
