"""CRM messages: what they become, and what is said about each way one can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.crm.translate import translate
from schemas.codec import Codec
from schemas.customers import CustomerProposed
from schemas.errors import BadMessage
from schemas.records import Record
from schemas.topics import CRM, ROUTES

TAKEN_MS = int(datetime(2026, 11, 2, 9, 20, tzinfo=UTC).timestamp()) * 1000
FACTS: dict[str, Any] = {"email": "ap@acme.example", "terms": "NET60"}
MESSAGE: dict[str, Any] = {"customer": "C-17", "changed_at": "2026-11-02T09:14:07Z", "sequence": 12, "facts": FACTS}


def record(body: bytes) -> Record:
    return Record("raw.crm", 0, 5, TAKEN_MS, None, body)


def body(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**MESSAGE, **changes}.items() if v is not ...}).encode()


def proposed(**changes: Any) -> CustomerProposed:
    (event,) = translate(record(body(**changes))).events
    assert isinstance(event, CustomerProposed)
    assert CRM in ROUTES[CustomerProposed].writers
    codec = Codec()
    assert codec.decode(codec.encode(event)) == event
    return event


def test_the_documented_example() -> None:
    assert proposed() == CustomerProposed(
        event_id="crm:C-17:12",
        source="crm",
        source_position=12,
        occurred_at_ms=int(datetime(2026, 11, 2, 9, 14, 7, tzinfo=UTC).timestamp()) * 1000,
        recorded_at_ms=TAKEN_MS,
        trace_id="raw.crm/0/5",
        customer="C-17",
        facts=FACTS,
    )


def test_values_come_as_text_and_fields_in_lower_case() -> None:
    facts = {" Email ": " a@b ", "credit_hold": False, "credit_limit": 500, "fax": None, "x-note.1": "line\nline"}
    shown = {"email": "a@b", "credit_hold": "false", "credit_limit": "500", "fax": "", "x-note.1": "line\nline"}
    assert proposed(facts=facts).facts == shown


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"customer": ...}, "customer is missing"),
        ({"customer": " "}, "customer is empty"),
        ({"customer": 17}, "customer 17 is not text"),
        ({"sequence": ...}, "sequence is missing"),
        ({"sequence": "12"}, "sequence '12' is not a whole number"),
        ({"sequence": -1}, "sequence -1 is too small"),
        ({"sequence": 2**63}, "is too large"),
        ({"changed_at": "2026-11-02T09:14:07"}, "has no time zone"),
        ({"changed_at": "2026-12-02T09:14:07Z"}, "is in the future"),
        ({"facts": ...}, "facts is missing"),
        ({"facts": {}}, "facts is not a JSON object with at least one field"),
        ({"facts": ["email"]}, "facts is not a JSON object"),
        ({"facts": {"": "x"}}, "facts has a field ''"),
        ({"facts": {"a|b": "x"}}, "facts has a field 'a|b'"),
        ({"facts": {"e" * 61: "x"}}, "facts has a field"),
        ({"facts": {"Email": "x", "email": "y"}}, "the field 'email' twice"),
        ({"facts": {"limit": 1.5}}, "facts.limit 1.5 is neither text nor"),
        ({"facts": {"address": {"street": "x"}}}, "facts.address {'street': 'x'} is neither text nor"),
        ({"facts": {"note": "x" * 1_001}}, "facts.note has 1001 characters"),
        ({"facts": {"note": "a\x00b"}}, "facts.note has characters that are not allowed"),
        ({"facts": {f"f{n}": "x" for n in range(51)}}, "facts has 51 fields, more than 50"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadMessage) as error:
        translate(record(body(**changes)))
    assert says in error.value.reason
    assert error.value.hint


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "the body is empty"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 5_000, "nested too deeply"),
        (b'{"facts": {"email": "\\ud800"}}', "not JSON"),
        (b" " * (1 << 20) + b"{}", "bytes, more than"),
    ],
)
def test_bodies_that_are_no_message(raw: bytes, says: str) -> None:
    with pytest.raises(BadMessage) as error:
        translate(record(raw))
    assert says in error.value.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(lambda value: body(facts=value)))
def test_anything_is_understood_or_refused(raw: bytes) -> None:
    """Whatever comes, the answer is an event that can be written, or a reason."""
    try:
        (event,) = translate(record(raw)).events
    except BadMessage as error:
        assert error.reason
        return
    codec = Codec()
    assert codec.decode(codec.encode(event)) == event
