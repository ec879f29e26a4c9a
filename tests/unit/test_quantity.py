"""Quantities: what is read, what is refused, and that nothing is rounded on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadMessage
from schemas.quantity import MAX_MILLI, parse_milli, show, to_decimal

READ: list[tuple[Any, int]] = [
    ("24", 24_000),
    ("2.211", 2_211),
    ("2.2110000", 2_211),
    ("-0.5", -500),
    ("+7", 7_000),
    (".5", 500),
    ("24.", 24_000),
    ("00000000000000000024", 24_000),
    ("-0", 0),
    ("1000000000000", MAX_MILLI),
    (24, 24_000),
    (-24, -24_000),
    (Decimal("12.500"), 12_500),
    (Decimal("1E+3"), 1_000_000),
    (Decimal("0e999999999"), 0),
]
REFUSED: list[tuple[Any, str]] = [
    (True, "not a number"),
    (2.5, "not a number"),
    (None, "not a number"),
    ([1], "not a number"),
    (b"24", "not a number"),
    ("", "not a number"),
    ("-", "not a number"),
    (".", "not a number"),
    (" 24", "not a number"),
    ("24\n", "not a number"),
    ("1e3", "not a number"),
    ("1e999999999", "not a number"),
    ("1_000", "not a number"),
    ("1,000", "not a number"),
    ("٢٤", "not a number"),
    ("²", "not a number"),
    ("NaN", "not a number"),
    ("Infinity", "not a number"),
    ("9" * 1_000_000, "not a number"),
    (Decimal("NaN"), "not a number"),
    (Decimal("sNaN"), "not a number"),
    (Decimal("-Infinity"), "not a number"),
    ("0.0001", "more than three decimals"),
    ("1.0000000000000000000000000000001", "more than three decimals"),
    (Decimal("1e-999999999"), "more than three decimals"),
    ("1000000000000.001", "out of range"),
    ("-1000000000001", "out of range"),
    ("9" * 17, "out of range"),
    ("9" * 40, "out of range"),
    (10**5_000, "out of range"),
    (Decimal("1e999999999"), "out of range"),
    (Decimal("1" * 50), "out of range"),
]


@pytest.mark.parametrize(("text", "milli"), READ, ids=[repr(text) for text, _ in READ])
def test_a_number_is_read_exactly(text: Any, milli: int) -> None:
    assert parse_milli(text) == milli


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[f"{number}-{why}" for number, (_, why) in enumerate(REFUSED)])
def test_what_is_no_quantity_is_refused_in_one_short_sentence_that_names_the_field(text: Any, why: str) -> None:
    with pytest.raises(BadMessage, match=why) as caught:
        parse_milli(text, "short_qty")
    assert caught.value.reason.startswith("short_qty ")
    assert len(caught.value.reason) < 120
    assert caught.value.hint


@given(st.integers(-MAX_MILLI, MAX_MILLI))
def test_what_is_shown_is_read_back(milli: int) -> None:
    assert parse_milli(show(milli)) == milli
    assert parse_milli(to_decimal(milli)) == milli
    assert "e" not in show(milli).lower()


@given(st.text() | st.text("0123456789.+-eE_ ", max_size=12))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    """And what is read agrees with the decimal the text spells."""
    try:
        milli = parse_milli(text)
    except BadMessage:
        return
    assert Decimal(text) * 1000 == milli


@given(st.decimals() | st.floats() | st.integers() | st.booleans() | st.none())
def test_any_value_is_a_quantity_or_refused(value: Any) -> None:
    try:
        milli = parse_milli(value)
    except BadMessage:
        return
    assert not isinstance(value, bool | float)
    assert Decimal(value) * 1000 == milli
