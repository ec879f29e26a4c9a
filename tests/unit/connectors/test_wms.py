"""WMS messages: what each type means, and what is said about each way a message can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from connectors.edge import MAX_BODY_BYTES
from connectors.wms import wire
from connectors.wms.translate import translate
from schemas import inventory, orders
from schemas.codec import Codec
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.inventory import Status
from schemas.records import FeedPosition, Record
from schemas.topics import ROUTES, WMS

TAKEN_MS = int(datetime(2026, 11, 2, 9, 20, tzinfo=UTC).timestamp()) * 1000
AT_MS = int(datetime(2026, 11, 2, 9, 14, 7, tzinfo=UTC).timestamp()) * 1000
RECEIVED: dict[str, Any] = {
    "event_id": "W-1029",
    "sequence": 1029,
    "type": "stock.received",
    "site": "DC1",
    "item": "SKU-1",
    "lot": None,
    "qty": "24",
    "uom": "EA",
    "status": "usable",
    "reference": {"po": "PO-7", "line": 1},
    "occurred_at": "2026-11-02T09:14:07Z",
}
PICK = {"order": "web:W1", "line": 2}
SHIPMENT: dict[str, Any] = {
    "event_id": "W-1030",
    "sequence": 1030,
    "type": "shipment.confirmed",
    "site": "DC1",
    "order": "web:W1",
    "shipment": "S-1",
    "carrier": "UPS",
    "tracking": "1Z",
    "occurred_at": "2026-11-02T09:14:07Z",
    "lines": [{"line": 1, "item": "SKU-1", "qty": "3"}, {"line": 2, "item": "SKU-2", "qty": 1, "lot": "L1", "uom": "CS"}],
}


def record(body: bytes) -> Record:
    return Record("raw.wms", 0, 77, TAKEN_MS, None, body)


def events(**changes: Any) -> list[Any]:
    body = {k: v for k, v in {**RECEIVED, **changes}.items() if v is not ...}
    return list(translate(record(json.dumps(body).encode())).events)


def refused(body: bytes) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        translate(record(body))
    return caught.value


def test_a_receipt_carries_everything() -> None:
    """The example of the documentation, field by field, with its place in the feed."""
    translation = translate(record(json.dumps(RECEIVED).encode()))
    assert translation.feed is not None
    assert translation.feed == FeedPosition(
        "wms", 1029, AT_MS, "W-1029", "7cf3d20aa027a599"
    )  # kept for long: no name of the code's in it
    assert translation.events == [
        inventory.StockReceived(
            event_id="wms:W-1029",
            source="wms",
            source_position=1029,
            occurred_at_ms=AT_MS,
            recorded_at_ms=TAKEN_MS,
            trace_id="raw.wms/0/77",
            item="SKU-1",
            site="DC1",
            lot=None,
            qty_milli=24_000,
            uom="EA",
            status=Status.USABLE,
            expires_on=None,
            document="PO-7",
            document_line=1,
        )
    ]


CASES: list[tuple[dict[str, Any], list[tuple[type[Any], dict[str, Any]]]]] = [
    (
        {"lot": "L1", "expires_on": "2026-12-01", "reference": ..., "uom": ...},
        [(inventory.StockReceived, {"lot": "L1", "expires_on": date(2026, 12, 1), "document": None, "uom": None})],
    ),
    (
        {"type": "stock.adjusted", "qty": "-2.5", "reason": "damage", "status": "held"},
        [(inventory.StockAdjusted, {"qty_milli": -2500, "reason": "damage", "status": Status.HELD})],
    ),
    ({"type": "stock.moved", "qty": 3, "to_site": "DC2"}, [(inventory.StockMoved, {"qty_milli": 3000, "to_site": "DC2"})]),
    ({"type": "stock.moved", "to_site": "DC1"}, []),
    (
        {"type": "stock.status_changed", "from_status": "usable", "to_status": "quality"},
        [(inventory.StockStatusChanged, {"from_status": Status.USABLE, "to_status": Status.QUALITY})],
    ),
    (
        {"type": "stock.status_changed", "from": "held", "to": "usable"},
        [(inventory.StockStatusChanged, {"from_status": Status.HELD, "to_status": Status.USABLE})],
    ),
    ({"type": "stock.snapshot", "qty": "0"}, [(inventory.StockCounted, {"qty_milli": 0})]),
    (
        {"type": "stock.snapshot", "lot": "L1", "expires_on": "2026-12-01"},
        [(inventory.StockCounted, {"lot": "L1", "expires_on": date(2026, 12, 1)})],
    ),
    ({"type": "pick.released", **PICK}, [(orders.PickReleased, {"order_id": "web:W1", "line": 2, "qty_milli": 24_000})]),
    (
        {"type": "pick.completed", **PICK},
        [
            (inventory.StockPicked, {"order_id": "web:W1", "line": 2, "substitute_for": None}),
            (orders.LinePicked, {"order_id": "web:W1", "line": 2, "qty_milli": 24_000}),
        ],
    ),
    (
        {"type": "pick.short", **PICK, "qty": "0", "qty_short": "5"},
        [
            (inventory.PickShorted, {"qty_milli": 0, "short_milli": 5000}),
            (orders.LineShorted, {"qty_milli": 0, "short_milli": 5000}),
        ],
    ),
    (
        {"type": "pick.substituted", **PICK, "qty": "4", "substitute_item": "SKU-9", "substitute_qty": "2", "lot": "L9"},
        [
            (inventory.DemandSubstituted, {"item": "SKU-1", "qty_milli": 4000, "substitute_item": "SKU-9", "lot": None}),
            (inventory.StockPicked, {"item": "SKU-9", "qty_milli": 2000, "substitute_for": "SKU-1", "lot": "L9", "uom": "EA"}),
            (orders.LineSubstituted, {"item": "SKU-1", "qty_milli": 4000, "substitute_item": "SKU-9", "substitute_milli": 2000}),
        ],
    ),
    ({"type": "stock.receipt_reversed"}, [(inventory.StockReceived, {"qty_milli": -24_000, "document": "PO-7"})]),
    ({"type": "return.received"}, [(inventory.StockReturned, {"order_id": None, "line": None})]),
    (
        {"type": "return.received", **PICK},
        [(inventory.StockReturned, {"order_id": "web:W1", "line": 2}), (orders.LineReturned, {"order_id": "web:W1", "line": 2})],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=lambda case: str(case.get("type")) if isinstance(case, dict) else "")
def test_each_type_means(changes: dict[str, Any], expected: list[tuple[type[Any], dict[str, Any]]]) -> None:
    """Each type becomes its events, for stock and for the order, under one event id."""
    found = events(**changes)
    assert [type(e) for e in found] == [cls for cls, _ in expected]
    for event, (_, fields) in zip(found, expected, strict=True):
        assert {name: getattr(event, name) for name in fields} == fields
        assert event.event_id == "wms:W-1029"
        assert WMS in ROUTES[type(event)].writers


def test_a_shipment_is_two_events_a_line() -> None:
    """Each line has an id of its own; the same line from two lots is two facts."""
    twice = [*SHIPMENT["lines"], {"line": 2, "item": "SKU-2", "qty": "1", "lot": "L2"}]
    translation = translate(record(json.dumps({**SHIPMENT, "lines": twice}).encode()))
    stock = [e for e in translation.events if isinstance(e, inventory.StockShipped)]
    lines = [e for e in translation.events if isinstance(e, orders.LineShipped)]
    assert [e.event_id for e in stock] == ["wms:W-1030/1", "wms:W-1030/2", "wms:W-1030/2.2"]
    assert [(e.event_id, e.item, e.qty_milli, e.lot) for e in stock] == [(e.event_id, e.item, e.qty_milli, e.lot) for e in lines]
    assert [(e.line, e.uom, e.carrier, e.tracking, e.shipment) for e in lines][1] == (2, "CS", "UPS", "1Z", "S-1")


def test_an_internal_move_is_heard_but_means_nothing() -> None:
    """A bin-to-bin move takes its place in the feed, so it leaves no gap."""
    translation = translate(record(json.dumps({**RECEIVED, "type": "stock.moved", "to_site": "DC1"}).encode()))
    assert translation.feed is not None
    assert translation.ignored == "moved within DC1: the position of the site is the same"


def test_a_second_warehouse_system_has_a_numbering_of_its_own() -> None:
    """`instance` keeps event ids and feeds of two systems apart."""
    translation = translate(record(json.dumps({**RECEIVED, "instance": "EU"}).encode()))
    assert translation.feed is not None
    assert replace(translation.feed, content="") == FeedPosition("wms:EU", 1029, AT_MS, "W-1029")
    assert translation.events[0].event_id == "wms:EU:W-1029"


def test_every_wire_type_is_translated() -> None:
    """The wire's types and the documented ones are the same, and every one of them has a case above."""
    documented = {*wire.TYPES}
    found = {
        literal
        for cls in vars(wire).values()
        if isinstance(cls, type) and issubclass(cls, BaseModel) and "type" in cls.model_fields
        for literal in cls.model_fields["type"].annotation.__args__  # type: ignore[union-attr]
    }
    tried = {str(changes.get("type", "stock.received")) for changes, _ in CASES} | {"shipment.confirmed"}
    assert documented == found == tried


def wrong(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**RECEIVED, **changes}.items() if v is not ...}).encode()


BAD: list[tuple[str, bytes, str, str]] = [
    ("no body", b"", "the body is empty", "one JSON object"),
    ("not JSON", b"<event/>", "the body is not JSON", "complete JSON object"),
    ("cut off", wrong()[:-5], "the body is not JSON", "complete JSON object"),
    ("an array", b"[]", "is not a JSON object", "not a list"),
    ("a number", b"7", "is not a JSON object", "not a list"),
    ("not UTF-8", wrong().replace(b"SKU", b"\xff"), "not UTF-8: byte 0xff at position", "encoded as UTF-8"),
    ("half a surrogate", wrong(item="X").replace(b'"X"', b'"\\ud800"'), "the body is not JSON", "complete JSON object"),
    ("too deep", b'{"item":"SKU-1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply", "flat JSON"),
    ("10 MB", wrong(reason="x" * 10_000_000), f"more than {MAX_BODY_BYTES}", "smaller messages"),
    ("unknown type", wrong(type="stock.teleported"), "type 'stock.teleported' is not known", "'stock.received'"),
    ("no type", wrong(type=...), "type is missing", "what the message is"),
    ("no item", wrong(item=...), "item is missing", "add item"),
    ("no sequence", wrong(sequence=...), "sequence is missing", "add sequence"),
    ("empty site", wrong(site=" "), "site is empty", "give site a value"),
    ("item of another type", wrong(item=42), "item 42 is not text", "in quotes"),
    ("item with control characters", wrong(item="a\x00b"), "characters that are not allowed", "check item"),
    ("long item", wrong(item="x" * 300), "item has 300 characters", "at most 200"),
    ("sequence as text", wrong(sequence="7"), "sequence '7' is not a whole number", "without quotes"),
    ("negative sequence", wrong(sequence=-1), "sequence -1 is too small", "0 or more"),
    ("huge sequence", wrong(sequence=10**30), "is too large", "or less"),
    ("fraction as a number", wrong(qty=1.5), "qty 1.5 is a JSON number with a fraction", 'like "1.5"'),
    ("a word as quantity", wrong(qty="two"), "qty 'two' is not a plain decimal number", 'like "24"'),
    ("exponent", wrong(qty="1e3"), "qty '1e3' is not a plain decimal number", 'like "24"'),
    ("true as quantity", wrong(qty=True), "qty True is not a number", 'like "24"'),
    ("too fine", wrong(qty="1.0001"), "more than three decimals", "0.001"),
    ("too much", wrong(qty=10**14), "out of range", "base units"),
    ("zero received", wrong(qty="0"), "qty '0' is not above zero", "positive"),
    ("negative received", wrong(qty="-3"), "qty '-3' is not above zero", "positive"),
    ("adjusted by nothing", wrong(type="stock.adjusted", qty=0), "nothing was adjusted", "signed difference"),
    ("negative count", wrong(type="stock.snapshot", qty=-1), "qty -1 is negative", "zero or a positive"),
    ("1970", wrong(occurred_at="1970-01-01T00:00:00Z"), "'1970-01-01T00:00:00Z' is before the year 2000", "check the clock"),
    ("no zone", wrong(occurred_at="2026-11-02T09:14:07"), "has no time zone", "with its zone"),
    ("epoch seconds", wrong(occurred_at=1793610847), "occurred_at 1793610847 is not a timestamp", "with its zone"),
    (
        "a snapshot from the future",
        wrong(type="stock.snapshot", occurred_at="2026-11-04T00:00:00Z"),
        "occurred_at 2026-11-04T00:00:00Z is in the future: the message came at 2026-11-02T09:20:00Z",
        "check the clock",
    ),
    ("far future", wrong(occurred_at="9999-12-31T23:59:59-14:00"), "is in the far future", "check the clock"),
    ("expired in 1970", wrong(expires_on="1970-01-01"), "expires_on '1970-01-01' is before the year 2000", "check the system"),
    ("no day", wrong(expires_on="soon"), "expires_on 'soon' is not a day", "2026-11-05"),
    ("unknown status", wrong(status="lost"), "status 'lost' is not known", "'usable'"),
    ("half a reference", wrong(reference={"po": "PO-7"}), "reference.line is missing", "add line"),
    ("same status", wrong(type="stock.status_changed", **{"from": "held", "to": "held"}), "both 'held'", "the one they have"),
    ("pick without line", wrong(type="pick.completed", order="web:1"), "line is missing", "add line"),
    ("short of nothing", wrong(type="pick.short", **PICK, qty_short="0"), "qty_short '0' is not above zero", "positive"),
    (
        "its own substitute",
        wrong(type="pick.substituted", **PICK, substitute_item="SKU-1", substitute_qty="1"),
        "substitute_item 'SKU-1' is the item ordered",
        "pick.completed",
    ),
    ("return without line", wrong(type="return.received", order="web:1"), "line is missing, but order is there", "both"),
    ("empty shipment", json.dumps({**SHIPMENT, "lines": []}).encode(), "lines has no entries", "at least one"),
    (
        "shipped a fraction",
        json.dumps({**SHIPMENT, "lines": [{"line": 1, "item": "SKU-1", "qty": 0.5}]}).encode(),
        "lines[0]: qty 0.5 is a JSON number with a fraction",
        'like "0.5"',
    ),
]


@pytest.mark.parametrize(("body", "reason", "hint"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_messages_say_what_is_wrong_and_what_to_do(body: bytes, reason: str, hint: str) -> None:
    """One short sentence naming field and value, and what to do about it."""
    error = refused(body)
    assert reason in error.reason
    assert hint in error.hint
    assert "\n" not in error.reason
    assert len(error.reason) < 200


@pytest.mark.parametrize("name", ["not UTF-8", "too deep", "10 MB", "cut off", "fraction as a number", "1970"])
def test_a_bad_message_names_its_items_where_they_can_be_read(name: str) -> None:
    """Their answers can be marked suspect until the message is replayed."""
    body = {case[0]: case[1] for case in BAD}[name]
    assert refused(body).items == (() if name == "not UTF-8" else ("SKU-1",))
    assert refused(json.dumps({**SHIPMENT, "order": ""}).encode()).items == ("SKU-1", "SKU-2")


def test_unknown_fields_and_a_byte_order_mark_do_no_harm() -> None:
    """A WMS may add fields at any time."""
    assert translate(record(b"\xef\xbb\xbf" + wrong(zone="A1"))).events == events()


GOOD_BODIES = [wrong(**changes) for changes, _ in CASES] + [json.dumps(SHIPMENT).encode()]


@given(
    st.sampled_from(GOOD_BODIES),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6), st.integers(0, 8)), min_size=1, max_size=4),
)
def test_whatever_comes_is_translated_and_encodable_or_refused_in_words(body: bytes, cuts: list[tuple[int, bytes, int]]) -> None:
    """Damaged messages never raise anything but `BadMessage`, and what passes can be written to the log."""
    for at, put, drop in cuts:
        body = body[:at] + put + body[at + drop :]
    try:
        found = translate(record(body)).events
    except BadMessage as error:
        assert error.reason
        assert error.hint
    else:
        for event in found:
            assert CODEC.decode(CODEC.encode(event)) == event


CODEC = Codec()


def test_a_shipment_names_each_line_and_lot_once() -> None:
    """Cartons of one line and lot add up; another lot, and another unit, is a fact of its own."""
    lines = [
        {"line": 1, "item": "A", "qty": "3"},
        {"line": 1, "item": "A", "qty": "4"},
        {"line": 1, "item": "A", "qty": "2", "lot": "L1"},
        {"line": 1, "item": "A", "qty": "1", "uom": "CS"},
        {"line": 2, "item": "B", "qty": "0"},
    ]
    body = json.dumps({**SHIPMENT, "lines": lines}).encode()
    stock = [e for e in translate(record(body)).events if isinstance(e, inventory.StockShipped)]
    assert [(e.event_id, e.line, e.lot, e.uom, e.qty_milli, e.part) for e in stock] == [
        ("wms:W-1030/1", 1, None, None, 7_000, 0),
        ("wms:W-1030/1.2", 1, "L1", None, 2_000, 0),
        ("wms:W-1030/1.3", 1, None, "CS", 1_000, 1),
        ("wms:W-1030/2", 2, None, None, 0, 0),
    ]


def test_a_receipt_can_be_taken_back() -> None:
    """It is received with a minus sign, so its purchase line expects the units again."""
    (event,) = events(type="stock.receipt_reversed", qty="3")
    assert (event.qty_milli, event.document, event.document_line) == (-3_000, "PO-7", 1)
