"""One column's value from the feed, exactly, under each setting of the connector that keeps it exact."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from connectors.erp.columns import Column, Kind
from connectors.erp.wire import UNAVAILABLE, Logical
from connectors.erp.zones import zone_name
from connectors.texts import MAX_ID, is_id
from schemas.bounds import MAX_LINE
from schemas.errors import BadMessage

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local wall clock has no zone
EPOCH_DAY = date(1970, 1, 1).toordinal()
HINT_DECIMAL = "set the connector's decimal.handling.mode to string, or to precise with the converter's decimal.format=BASE64"
HINT_TIME = "set the connector's time.precision.mode to adaptive, or switch value.converter.schemas.enable on"
MAX_TEXT = 10_000
MAX_SCALE, MAX_DIGITS = 9, 29  # decimal(38, 9) on our topics
INFINITY = "infinity"
_WRAPPED_INFINITY = -2_147_472_692
"""`infinity` as a date: 2^31 - 1 days since 2000, counted from 1970 in 32 bits."""
_LAST_DAY = date.max.toordinal()
_FIRST_MICROS = (datetime(1, 1, 1) - EPOCH) // timedelta(microseconds=1)  # noqa: DTZ001 - a local wall clock has no zone
_LAST_MICROS = (datetime(9999, 12, 31) - EPOCH) // timedelta(microseconds=1)  # noqa: DTZ001
_BEFORE_YEAR_1 = re.compile(r"-|.*\bBC$", re.IGNORECASE)
_PAST_YEAR_9999 = re.compile(r"\+?[0-9]{5,}-")
_INT64 = range(-(2**63), 2**63)
_NO_SCHEMA = Logical()
_MICROS = {
    "io.debezium.time.MicroTimestamp": (1, 1),
    "io.debezium.time.Timestamp": (1000, 1),
    "io.debezium.time.NanoTimestamp": (1, 1000),
    "org.apache.kafka.connect.data.Timestamp": (1000, 1),
}


def read_value(column: Column, value: Any, logical: Logical | None = None) -> Any:
    """A column's value: `str`, `int`, `bool`, `Decimal`, `date`, or none. Timestamps are ISO text, local ones with six decimals.

    Raises `BadMessage` naming the column.
    """
    if value is None:
        if not column.is_nullable:
            raise BadMessage(f"{column.name} is null, but the ERP declares it NOT NULL", hint="compare the ERP's table with ours")
        return None
    return _READERS[column.kind](column, value, logical or _NO_SCHEMA)


def read_unknown(value: Any, logical: Logical | None) -> str:
    """The value of a column we do not know, as JSON text; what a schema tells apart is written readably."""
    readable = value
    if logical is not None and value is not None:
        try:
            if logical.scale is not None or isinstance(value, dict):
                readable = format(_numeric(Column("", Kind.NUMERIC, logical.scale), value, logical), "f")
            elif logical.name in _MICROS:
                readable = _timestamp(Column("", Kind.TIMESTAMP), value, logical)
            elif logical.name in ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date"):
                readable = _date(Column("", Kind.DATE), value, logical).isoformat()
        except BadMessage:
            readable = value
    try:
        return orjson.dumps(readable).decode()
    except orjson.JSONEncodeError:  # an integer beyond 64 bits
        return orjson.dumps(str(readable)).decode()


def _text(column: Column, value: Any, logical: Logical) -> str:
    if not isinstance(value, str):
        raise _wrong(column, value, "text")
    if value == UNAVAILABLE:
        raise BadMessage(
            f"{column.name} was not sent: the database kept the unchanged long value out of the change ({UNAVAILABLE})",
            hint="set REPLICA IDENTITY FULL on the table, then send the row again",
        )
    if len(value) > MAX_TEXT:
        raise _wrong(column, value, f"a text of at most {MAX_TEXT:,} characters (it has {len(value):,})")
    return value


def _code(column: Column, value: Any, logical: Logical) -> str:
    code = _text(column, value, logical).strip()
    if code and not is_id(code):
        raise _wrong(column, value, f"a code of at most {MAX_ID} characters, all of which can be seen", "correct it in the ERP")
    return code


def _zone(column: Column, value: Any, logical: Logical) -> str:
    return zone_name(_text(column, value, logical))


def _integer(column: Column, value: Any, logical: Logical) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise _wrong(column, value, "an integer of 64 bits")
    if column.name.endswith("line_no") and not 0 <= value <= MAX_LINE:
        raise _wrong(column, value, f"a line number from 0 to {MAX_LINE}")
    return value


def _boolean(column: Column, value: Any, logical: Logical) -> bool:
    if not isinstance(value, bool):
        raise _wrong(column, value, "true or false")
    return value


def _date(column: Column, value: Any, logical: Logical) -> date:
    if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
        if value == _WRAPPED_INFINITY:
            return date.max
        return date.fromordinal(min(max(EPOCH_DAY + value, 1), _LAST_DAY))
    if isinstance(value, str):
        end = _end_of_time(value)
        if end:
            return date.max if end == INFINITY else date.min
        try:
            return date.fromisoformat(value.strip().removesuffix("Z"))
        except ValueError:
            pass
    raise _wrong(column, value, "a day: a count of days since 1970-01-01, or an ISO date, from year 1 to 9999")


def _timestamp(column: Column, value: Any, logical: Logical) -> str:
    try:
        if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
            by_kind = (1000, 1) if column.kind is Kind.TIMESTAMP_MS else (1, 1)
            times, per = _MICROS.get(logical.name, by_kind)
            micros = value * times // per
            if not _FIRST_MICROS <= micros <= _LAST_MICROS:
                return INFINITY if micros > 0 else f"-{INFINITY}"
            return (EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
        if isinstance(value, str):
            if end := _end_of_time(value):
                return end
            return datetime.fromisoformat(value).replace(tzinfo=None).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        pass
    raise BadMessage(f"{column.name} {str(value)[:40]!r} is not a timestamp between the years 1 and 9999", hint=HINT_TIME)


def _zoned(column: Column, value: Any, logical: Logical) -> str:
    if isinstance(value, str):
        if end := _end_of_time(value):
            return end
        try:
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None and instant.astimezone(UTC):
                return value
        except (ValueError, OverflowError):
            pass
    raise _wrong(column, value, "ISO text of an instant with its zone, like 2026-11-23T08:43:51.401678Z")


def _end_of_time(text: str) -> str:
    """`infinity` or `-infinity` for what PostgreSQL calls that and for years no calendar here has; "" for any other text."""
    word = text.strip().lower().removeprefix("+")
    if word in (INFINITY, f"-{INFINITY}"):
        return word
    if _PAST_YEAR_9999.match(text):
        return INFINITY
    return f"-{INFINITY}" if _BEFORE_YEAR_1.match(text.strip()) else ""


def _numeric(column: Column, value: Any, logical: Logical) -> Decimal:
    if isinstance(value, float) or logical.type in ("double", "float"):
        raise BadMessage(f"{column.name} {value!r} came as a floating-point number: it may have lost digits", hint=HINT_DECIMAL)
    if isinstance(value, dict):
        number = _variable(column, value)
    elif isinstance(value, str):
        number = _from_text(column, value, logical)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value) if value in _INT64 else None
    else:
        number = None
    if number is None or not number.is_finite():
        raise _wrong(column, value, "a decimal number", HINT_DECIMAL)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if exponent < -MAX_SCALE:
        if any(digits[exponent + MAX_SCALE :]):
            raise _wrong(column, value, f"a number with at most {MAX_SCALE} decimals")
        number = Decimal((sign, digits[: exponent + MAX_SCALE], -MAX_SCALE))
    if number.adjusted() >= MAX_DIGITS:
        raise _wrong(column, value, f"a number below 10^{MAX_DIGITS}")
    return number


def _from_text(column: Column, text: str, logical: Logical) -> Decimal | None:
    """Decimal text, or under type `bytes` the base64 of precise mode: never told from the text itself ("1234" is both)."""
    if logical.type == "bytes":
        scale = logical.scale if logical.scale is not None else column.scale
        return _unscaled_or_none(text, scale or 0)
    try:
        return Decimal(text) if len(text) <= 200 else None
    except InvalidOperation:
        return None


def _unscaled(text: str, scale: int) -> Decimal:
    raw = base64.b64decode(text, validate=True)
    if not 0 < len(raw) <= 32:
        raise ValueError
    return Decimal(f"{int.from_bytes(raw, 'big', signed=True)}E{-scale}")  # exact, where scaleb would round


def _unscaled_or_none(text: str, scale: int) -> Decimal | None:
    try:
        return _unscaled(text, scale) if -100 <= scale <= 100 else None
    except (binascii.Error, ValueError):
        return None


def _variable(column: Column, struct: dict[str, Any]) -> Decimal | None:
    """`io.debezium.data.VariableScaleDecimal`: a numeric without a declared scale in precise mode."""
    scale, value = struct.get("scale"), struct.get("value")
    if not isinstance(scale, int) or isinstance(scale, bool) or not isinstance(value, str):
        return None
    return _unscaled_or_none(value, scale)


def _wrong(column: Column, value: Any, wanted: str, hint: str = "") -> BadMessage:
    return BadMessage(
        f"{column.name} {str(value)[:40]!r} is not {wanted}",
        hint=hint or "compare the ERP's column with connectors/erp/columns.py",
    )


_READERS: dict[Kind, Callable[[Column, Any, Logical], Any]] = {
    Kind.TEXT: _text,
    Kind.CODE: _code,
    Kind.ZONE: _zone,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.NUMERIC: _numeric,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMP_MS: _timestamp,
    Kind.TIMESTAMPTZ: _zoned,
}
