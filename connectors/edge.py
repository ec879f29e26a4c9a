"""Reading a foreign JSON body: bounded, exact, and with one sentence for a person when it cannot be read.

pydantic parses (its parser bounds the nesting), nothing is coerced: text is text, a quantity or a price is text or a whole
number. Every way a body can be wrong becomes a `BadMessage` that names the field and the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from connectors.texts import ID_PATTERN, MAX_ID, unknown
from connectors.unknown_fields import as_unknown, model_in, taken_from
from schemas.bounds import EARLIEST, LATEST
from schemas.errors import BadMessage
from schemas.quantity import parse_milli
from schemas.records import Record, UnknownFields

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MAX_BODY_BYTES = 1 << 20
MAX_LINES = 1_000
DAY_MS = 86_400_000
MAX_LONG = 2**63 - 2  # what an Avro long and a table key hold, with room for a successor
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_BYTE_ORDER_MARK = "\ufeff"
_NO_YEAR = 1901  # 0001-01-01, 1753-01-01, 1899-12-30, 1900-01-01: where systems have no date
_INFINITE = frozenset({"infinity", "-infinity", "+infinity"})
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
_ITEM = re.compile(rb'"(?:item|substitute_item|sku)"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.){1,200}")')
_MAX_ITEMS = 100


class Wire(BaseModel):
    """A foreign JSON object: strict types. Fields we do not know are not part of it: `read_counting` tells of them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Header(TypedDict):
    """The fields of `schemas.base.Event`."""

    event_id: str
    source: str
    source_position: int
    occurred_at_ms: int
    recorded_at_ms: int
    trace_id: str


def refuse(reason: str, hint: str) -> PydanticCustomError:
    """What a validator raises: `reason` for a person, naming field and value, `hint` says what to do."""
    return PydanticCustomError("refused", "{reason}", {"reason": reason, "hint": hint})


def _number(value: Any, field: str) -> str | int:
    if isinstance(value, float):
        raise refuse(
            f"{field} {value} is a JSON number with a fraction", f'send it as text, like "{value}": it has to stay exact'
        )
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refuse(f"{field} {_show(value)} is not a number", 'send it as text, like "24" or "2.5"')
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise refuse(f"{field} {_show(value)} is not a plain decimal number", 'send digits, like "24" or "2.5"')
    return value


def _signed(value: Any, field: str) -> int:
    try:
        return parse_milli(_number(value, field), field)
    except BadMessage as error:
        raise refuse(error.reason, error.hint) from None


def _qty(value: Any, info: Any) -> int:
    milli = _signed(value, info.field_name)
    if milli <= 0:
        raise refuse(f"{info.field_name} {_show(value)} is not above zero", "send the quantity as a positive number of units")
    return milli


def _qty_or_zero(value: Any, info: Any) -> int:
    milli = _signed(value, info.field_name)
    if milli < 0:
        raise refuse(f"{info.field_name} {_show(value)} is negative", "send zero or a positive number of units")
    return milli


def _delta(value: Any, info: Any) -> int:
    milli = _signed(value, info.field_name)
    if milli == 0:
        raise refuse(
            f"{info.field_name} is zero, so nothing was adjusted", "send the signed difference, or do not send the event"
        )
    return milli


def _price(value: Any, info: Any) -> Decimal:
    price = Decimal(_number(value, info.field_name))
    if price < 0 or price >= 10**15:
        raise refuse(
            f"{info.field_name} {_show(value)} is out of range", 'send the price of one unit, zero or more, like "12.50"'
        )
    return price


def _instant(value: Any, info: Any) -> int:
    field = info.field_name
    hint = 'send it with its zone, like "2026-11-02T09:14:07Z"'
    if not isinstance(value, str):
        raise refuse(f"{field} {_show(value)} is not a timestamp", hint)
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise refuse(f"{field} {_show(value)} is not a timestamp", hint) from None
    if instant.tzinfo is None:
        raise refuse(f"{field} {_show(value)} has no time zone", hint)
    if instant.year < EARLIEST.year:
        raise refuse(f"{field} {_show(value)} is before the year 2000", "check the clock of the system that sent it")
    if instant.year > LATEST.year:
        raise refuse(f"{field} {_show(value)} is in the far future", "check the clock of the system that sent it")
    return (instant - _EPOCH) // _MS


def _day(value: Any, info: Any) -> date | None:
    """A day; none for the dates and words that stand for "unknown" or "never"."""
    field = info.field_name
    if isinstance(value, str) and value.strip().lower() in _INFINITE:
        return None
    try:
        day = date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        day = None
    if day is None:
        raise refuse(f"{field} {_show(value)} is not a day", 'send it like "2026-11-05"')
    if day.year <= _NO_YEAR or day > LATEST:
        return None
    if day < EARLIEST:
        raise refuse(f"{field} {_show(value)} is before the year 2000", "check the system that sent it")
    return day


# What a field takes, for those who write documents. JSON Schema cannot say all of it; the rest is in words.
_POSITIVE = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 10**12},
        {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,3})?$"},
    ],
    "description": "Above zero, at most three decimals; text keeps it exact.",
    "examples": ["24", "2.5"],
}
_PRICE = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
        {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?$"},
    ],
    "examples": ["12.50"],
}
_INSTANT = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^2[01][0-9]{2}-",
    "description": "ISO 8601 with its zone, from 2000 on, at most a day ahead of now.",
    "examples": ["2026-11-02T09:14:07Z"],
}
_DAY = {
    "type": "string",
    "format": "date",
    "pattern": r"^2[01][0-9]{2}-",
    "description": "A day, from 2000 on.",
    "examples": ["2026-11-05"],
}

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ID, pattern=ID_PATTERN, strict=True)]
"""An id, or a name that is used as one: bounded, and with nothing in it that cannot be seen (`connectors.texts`)."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000, strict=True)]
Line = Annotated[int, Field(ge=1, le=2**31 - 1)]
Sequence = Annotated[int, Field(ge=0, le=MAX_LONG)]
Qty = Annotated[int, PlainValidator(_qty), WithJsonSchema(_POSITIVE)]
QtyOrZero = Annotated[int, PlainValidator(_qty_or_zero)]
Delta = Annotated[int, PlainValidator(_delta)]
Price = Annotated[Decimal, PlainValidator(_price), WithJsonSchema(_PRICE)]
Instant = Annotated[int, PlainValidator(_instant), WithJsonSchema(_INSTANT)]
Day = Annotated[date | None, PlainValidator(_day), WithJsonSchema(_DAY)]


def read(adapter: TypeAdapter[T], record: Record, tags: Iterable[str] = ()) -> T:
    """The record's body as its wire model. `tags`: the union's tags, which are not part of a field's path.

    Raises `BadMessage`: one sentence, what to do, and the items named as far as they can be read.
    """
    return _read(adapter, record, tags, "ignore")


def read_counting(
    adapter: TypeAdapter[M], record: Record, kind: Callable[[M], str], tags: Iterable[str] = ()
) -> tuple[M, UnknownFields | None]:
    """The same, and which of the body's fields nobody reads. `kind`: which of its source's messages it is."""
    message = _read(adapter, record, tags, "allow")
    found = taken_from(message)
    return message, as_unknown(kind(message), found) if found else None


def _read(adapter: TypeAdapter[T], record: Record, tags: Iterable[str], extra: Literal["ignore", "allow"]) -> T:
    body = record.value
    if not body:
        raise BadMessage("the body is empty", hint="send one JSON object a message")
    if len(body) > MAX_BODY_BYTES:
        raise BadMessage(
            f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}",
            hint="send smaller messages: one event or one order each",
            items=items_in(body),
        )
    try:
        text = body.decode()
        return adapter.validate_json(text[1:] if text[:1] == _BYTE_ORDER_MARK else text, extra=extra)
    except UnicodeDecodeError as error:
        raise BadMessage(
            f"the body is not UTF-8: byte 0x{body[error.start]:02x} at position {error.start}",
            hint="send JSON encoded as UTF-8",
            items=items_in(body),
        ) from None
    except ValidationError as error:
        reason, hint = _sentence(error, frozenset(tags))
        raise BadMessage(reason, hint=hint, items=items_in(body)) from None


def check_known(model: type[BaseModel], document: Any, path: tuple[int | str, ...] = ()) -> None:
    """Raises `BadMessage` for a field the model does not have, at any depth: for documents in a format of ours.

    Feeds of others may say more than we read; whoever writes our format and is not understood should hear of it.
    """
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        field = model.model_fields.get(name)
        if field is None:
            sentence = unknown("field", str(name), model.model_fields)
            raise BadMessage(f"{_path((*path, str(name)[:60]))} is not known", hint=sentence)
        inner = model_in(field.annotation)
        for place, entry in enumerate(value) if isinstance(value, list) else [(-1, value)]:
            if inner is not None:
                check_known(inner, entry, (*path, name) if place < 0 else (*path, name, place))


def check_not_ahead(at_ms: int, field: str, record: Record) -> None:
    """Raises `BadMessage` for an instant more than a day after the log took the record."""
    if at_ms > record.timestamp_ms + DAY_MS:
        raise BadMessage(
            f"{field} {_iso(at_ms)} is in the future: the message came at {_iso(record.timestamp_ms)}",
            hint="check the clock and the time zone of the system that sent it",
            items=items_in(record.value or b""),
        )


def items_in(body: bytes) -> tuple[str, ...]:
    """Items a body names, also one that is not valid JSON: at most 100, each once, in the order they appear."""
    found: dict[str, None] = {}
    for match in _ITEM.finditer(body[:MAX_BODY_BYTES]):
        try:
            name = str(json.loads(match[1])).strip()
            name.encode()
        except ValueError:
            continue
        if name.isprintable() and name:
            found[name] = None
        if len(found) == _MAX_ITEMS:
            break
    return tuple(found)


def _iso(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _sentence(error: ValidationError, tags: frozenset[str]) -> tuple[str, str]:
    """What is wrong first, and what to do about it."""
    first = error.errors(include_url=False)[0]
    kind, value, ctx = first["type"], first["input"], first.get("ctx", {})
    *parents, name = [part for part in first["loc"] if part not in tags] or ["the body"]
    field = _path((*parents, name))
    if kind == "refused":
        prefix = f"{_path(parents)}: " if parents else ""
        return prefix + ctx["reason"], ctx["hint"]
    if kind == "json_invalid":
        if "recursion" in ctx["error"]:
            return "the body is nested too deeply", "send one flat JSON object a message, as documented"
        return f"the body is not JSON: {ctx['error']}", "send one complete JSON object a message"
    sentences = {
        "missing": (f"{field} is missing", f"add {name} to the message"),
        "string_type": (f"{field} {_show(value)} is not text", f"send {name} in quotes"),
        "string_too_short": (f"{field} is empty", f"give {name} a value"),
        "string_too_long": (f"{field} has {len(str(value))} characters, too many", f"send at most {ctx.get('max_length')}"),
        "string_pattern_mismatch": (f"{field} {_show(value)} has characters that are not allowed", f"check {name} at its source"),
        "int_type": (f"{field} {_show(value)} is not a whole number", f"send {name} as a number like 7, without quotes"),
        "int_from_float": (f"{field} {_show(value)} is not a whole number", f"send {name} as a number like 7"),
        "bool_type": (f"{field} {_show(value)} is neither true nor false", f"send {name} as true or false"),
        "greater_than_equal": (f"{field} {_show(value)} is too small", f"send a {name} of {ctx.get('ge')} or more"),
        "less_than_equal": (f"{field} {_show(value)} is too large", f"send a {name} of {ctx.get('le')} or less"),
        "list_type": (f"{field} {_show(value)} is not a list", f"send {name} as a JSON array"),
        "too_short": (f"{field} has no entries", f"send at least one in {name}"),
        "too_long": (f"{field} has more than {ctx.get('max_length')} entries", "split it into several messages"),
        "enum": (f"{field} {_show(value)} is not known", f"send one of {ctx.get('expected')}"),
        "literal_error": (f"{field} {_show(value)} is not known", f"send one of {ctx.get('expected')}"),
        "union_tag_invalid": (f"{_tag(ctx)} {_show(ctx.get('tag'))} is not known", f"send one of {ctx.get('expected_tags')}"),
        "union_tag_not_found": (f"{_tag(ctx)} is missing or not text", f"say in {_tag(ctx)} what the message is"),
        "model_type": (
            f"{field} {_show(value)} is not a JSON object",
            "send one JSON object a message, not a list or a bare value",
        ),
        "dict_type": (
            f"{field} {_show(value)} is not a JSON object",
            "send one JSON object a message, not a list or a bare value",
        ),
        "model_attributes_type": (f"{field} {_show(value)} is not a JSON object", "send one JSON object a message"),
    }
    if kind in sentences:
        return sentences[kind]
    return f"{field} {_show(value)} is not acceptable: {first['msg']}", f"correct {name} and send the message again"


def _tag(ctx: dict[str, Any]) -> str:
    return str(ctx.get("discriminator", "type")).strip("'").removesuffix("()").lstrip("_")


def _path(parts: Iterable[int | str]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
