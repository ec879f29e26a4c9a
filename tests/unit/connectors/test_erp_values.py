"""One column's value from the ERP's feed, under each setting of the connector."""

from __future__ import annotations

import base64
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

import pytest

from connectors.erp import zones
from connectors.erp.columns import TABLES, Column, Kind
from connectors.erp.values import read_unknown, read_value
from connectors.erp.wire import Logical
from schemas.errors import BadMessage


def b64(unscaled: int) -> str:
    return base64.b64encode(unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)).decode()


QTY = Column("on_hand", Kind.NUMERIC, 3)
LIMIT = Column("credit_limit", Kind.NUMERIC, None, is_nullable=True)
BYTES = Logical("bytes")
DECIMAL = Logical("bytes", "org.apache.kafka.connect.data.Decimal", {"scale": "2"})


@pytest.mark.parametrize(
    ("column", "value", "logical", "expected"),
    [
        (QTY, "12.500", None, "12.5"),
        (QTY, "-0.001", None, "-0.001"),
        (QTY, "24", None, "24"),  # too short to be base64
        (QTY, 24, None, "24"),
        (QTY, b64(12_500), BYTES, "12.5"),
        (QTY, b64(-2_211), BYTES, "-2.211"),
        (QTY, b64(0), BYTES, "0"),
        (QTY, "1234", None, "1234"),  # never told from the text itself
        (QTY, "1234", BYTES, "-2658.824"),
        (QTY, "1234", Logical("string"), "1234"),
        (QTY, b64(1_250), DECIMAL, "12.5"),  # the schema's scale wins
        (QTY, b64(10**30), BYTES, str(10**27)),
        (QTY, "12345678901234567890123456789.123456789", None, "12345678901234567890123456789.123456789"),
        (QTY, "1.0000000000000", None, "1"),
        (LIMIT, "5000", None, "5000"),
        (LIMIT, "1500.5", None, "1500.5"),
        (LIMIT, {"scale": 1, "value": b64(15_005)}, None, "1500.5"),
        (LIMIT, {"scale": 0, "value": b64(-5)}, None, "-5"),
        (LIMIT, {"scale": -3, "value": b64(5)}, None, "5000"),
    ],
)
def test_decimals_in_every_exact_mode(column: Column, value: Any, logical: Logical | None, expected: str) -> None:
    assert read_value(column, value, logical) == Decimal(expected)


@pytest.mark.parametrize(
    ("column", "value", "logical"),
    [
        (QTY, 12.5, None),
        (QTY, 12.0, None),
        (QTY, 12, Logical("double")),
        (QTY, "NaN", None),
        (LIMIT, "Infinity", None),
        (LIMIT, "-Infinity", None),
        (QTY, "twelve", None),
        (QTY, "", None),
        (QTY, True, None),
        (QTY, [1], None),
        (QTY, {"scale": 2}, None),
        (QTY, {"scale": True, "value": "AQ=="}, None),
        (LIMIT, {"scale": 10**9, "value": "AQ=="}, None),
        (LIMIT, {"scale": 20, "value": "AQ=="}, None),
        (LIMIT, "1e999999999", None),
        (LIMIT, "0.0000000001", None),
        (QTY, "!!!!", DECIMAL),
        (QTY, 10**40, None),
        (QTY, None, None),
    ],
)
def test_numbers_that_are_refused(column: Column, value: Any, logical: Logical | None) -> None:
    with pytest.raises(BadMessage) as caught:
        read_value(column, value, logical)
    assert column.name in caught.value.reason
    assert caught.value.hint


DAY = Column("valid_from", Kind.DATE)
LOCAL = Column("updated_at", Kind.TIMESTAMP)
LOCAL_MS = Column("updated_at", Kind.TIMESTAMP_MS)
ZONED = Column("created_at", Kind.TIMESTAMPTZ)


@pytest.mark.parametrize(
    ("column", "value", "logical", "expected"),
    [
        (DAY, 0, None, date(1970, 1, 1)),
        (DAY, 2932896, None, date(9999, 12, 31)),
        (DAY, -1, None, date(1969, 12, 31)),
        (DAY, "2026-08-01", None, date(2026, 8, 1)),
        (DAY, "2026-08-01Z", None, date(2026, 8, 1)),
        (LOCAL, 1785587220000001, None, "2026-08-01T12:27:00.000001"),
        (LOCAL_MS, 1795401833808, None, "2026-11-23T02:43:53.808000"),
        (LOCAL, 1795401833808, Logical("int64", "org.apache.kafka.connect.data.Timestamp"), "2026-11-23T02:43:53.808000"),
        (LOCAL, 1795401833808, Logical("int64", "io.debezium.time.Timestamp"), "2026-11-23T02:43:53.808000"),
        (LOCAL_MS, 1795401833808001, Logical("int64", "io.debezium.time.MicroTimestamp"), "2026-11-23T02:43:53.808001"),
        (LOCAL, 1795401833808001999, Logical("int64", "io.debezium.time.NanoTimestamp"), "2026-11-23T02:43:53.808001"),
        (LOCAL, "2026-08-01T12:27:00Z", None, "2026-08-01T12:27:00.000000"),
        (ZONED, "2026-11-23T08:43:51.401678Z", None, "2026-11-23T08:43:51.401678Z"),
        (ZONED, "2026-11-23T08:43:51+01:00", None, "2026-11-23T08:43:51+01:00"),
    ],
)
def test_days_and_instants(column: Column, value: Any, logical: Logical | None, expected: Any) -> None:
    assert read_value(column, value, logical) == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (DAY, True),
        (DAY, 1.5),
        (DAY, "tomorrow"),
        (LOCAL, 10**40),
        (LOCAL, "noon"),
        (LOCAL, False),
        (ZONED, 1795401833808),
        (ZONED, "2026-11-23T08:43:51"),
        (ZONED, "soon"),
    ],
)
def test_days_and_instants_that_are_refused(column: Column, value: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        read_value(column, value)
    assert column.name in caught.value.reason


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (DAY, 2_147_494_604, date.max),
        (DAY, -2_147_472_692, date.max),  # the same, counted in 32 bits
        (DAY, -2_147_472_691, date.min),
        (DAY, 2_932_897, date.max),
        (DAY, 106_751_991_167, date.max),
        (DAY, "infinity", date.max),
        (DAY, "-infinity", date.min),
        (DAY, "+999999999-12-31", date.max),
        (DAY, "0044-03-15 BC", date.min),
        (LOCAL, 9_223_372_036_825_200_000, "infinity"),
        (LOCAL, -9_223_372_036_832_400_000, "-infinity"),
        (LOCAL, "infinity", "infinity"),
        (LOCAL, "+292278994-08-16T23:00:00", "infinity"),
        (ZONED, "infinity", "infinity"),
        (ZONED, "-Infinity", "-infinity"),
        (ZONED, "+292278994-08-16T23:00:00Z", "infinity"),
        (ZONED, "-290308-12-21T19:59:27.6Z", "-infinity"),
    ],
)
def test_infinity_in_all_its_forms(column: Column, value: Any, expected: Any) -> None:
    """What PostgreSQL calls `infinity` is the end of the calendar, however the connector writes it."""
    assert read_value(column, value) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("America/Chicago ", "America/Chicago"),
        ("america/chicago", "America/Chicago"),
        ("Central Standard Time", "America/Chicago"),
        ("W. Europe Standard Time  ", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("Mars/Phobos ", "Mars/Phobos"),
    ],
)
def test_time_zones_by_other_names(given: str, expected: str) -> None:
    assert read_value(TABLES["site"].columns["timezone"], given) == expected


def test_windows_names_mean_zones_that_exist() -> None:
    assert not [name for name in zones._WINDOWS.values() if name not in available_timezones()]


def test_codes_are_the_same_whatever_their_padding() -> None:
    assert read_value(TABLES["item"].columns["item_no"], "PAD-1     ") == "PAD-1"
    assert read_value(TABLES["customer"].columns["terms"], "COD   ") == "COD   "


@pytest.mark.parametrize(
    ("value", "logical", "text"),
    [
        (b64(120), DECIMAL, '"1.20"'),
        (0, Logical("int32", "io.debezium.time.Date"), '"1970-01-01"'),
        (0, Logical("int64", "io.debezium.time.MicroTimestamp"), '"1970-01-01T00:00:00.000000"'),
        ("%%", DECIMAL, '"%%"'),
        ({"a": [1]}, None, '{"a":[1]}'),
        ({"a": [1]}, Logical("struct"), '{"a":[1]}'),
        (10**30, None, '"1000000000000000000000000000000"'),
        (None, DECIMAL, "null"),
    ],
)
def test_unknown_columns_are_kept_readable(value: Any, logical: Logical | None, text: str) -> None:
    assert read_unknown(value, logical) == text


@pytest.mark.parametrize("code", ["A\x1b[2J", "A\u202eB", "A\nB", "x" * 201, "A\x00"])
def test_a_code_that_no_key_should_hold_is_refused(code: str) -> None:
    """Whatever is in it becomes a key, a path and a name on a screen."""
    with pytest.raises(BadMessage) as caught:
        read_value(Column("item_no", Kind.CODE), code)
    assert "item_no" in caught.value.reason
    assert read_value(Column("item_no", Kind.CODE), "Müller/1 ") == "Müller/1"


def test_a_text_is_bounded() -> None:
    assert read_value(Column("description", Kind.TEXT), "line\nline\x1b") == "line\nline\x1b"  # shown with care, kept as it is
    with pytest.raises(BadMessage):
        read_value(Column("description", Kind.TEXT), "x" * 10_001)
