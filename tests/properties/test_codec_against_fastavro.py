"""The generated codec against fastavro: the same bytes, the same events, the same verdict on what is damaged."""

from __future__ import annotations

import io
import typing
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import avro_bytes
from schemas.avro_bytes import number, read_number
from schemas.avro_code import kind_of
from schemas.codec import Codec, schema_of
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.inventory import Atp, ItemChanged, PriceChanged, Status, StockReceived
from schemas.operations import DeadLetter
from tests.support.any_events import TYPES, instances
from tests.support.records import as_dict

CODEC = Codec()
SCHEMAS = {cls: fastavro.parse_schema(schema_of(cls)) for cls in TYPES}
STRICTER = ("more than 64 bits", "says neither that it is nor")
"""What we refuse and fastavro lets pass: numbers it cuts to 64 bits, branches of a union it counts from the end."""


def written(event: Any) -> bytes:
    """The event's Avro bytes by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMAS[type(event)], as_dict(event))
    return out.getvalue()


def rebuilt(hint: Any, value: Any) -> Any:
    """What fastavro read, with its records and enums as ours."""
    kind, inner = kind_of(hint)
    if kind == "record":
        hints = typing.get_type_hints(inner)
        return inner(**{name: rebuilt(hints[name], part) for name, part in value.items()})
    if kind == "list":
        return [rebuilt(inner, row) for row in value]
    return inner(value) if kind == "enum" else value


def read(cls: type[Any], data: bytes) -> Any:
    """The event by fastavro; none if it refuses, or does not read to the end."""
    stream = io.BytesIO(data)
    try:
        event = rebuilt(cls, fastavro.schemaless_reader(stream, SCHEMAS[cls], None))
    except (EOFError, ValueError, LookupError, TypeError, ArithmeticError):
        return None
    return event if stream.tell() == len(data) else None


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_bytes_and_events_are_fastavros(cls: type[Any]) -> None:
    @settings(max_examples=25)
    @given(instances(cls))
    def check(event: Any) -> None:
        data = CODEC.encode(event)
        assert data[5:] == written(event)
        back = CODEC.decode(data)
        assert type(back) is cls
        assert back == event
        assert repr(back) == repr(read(cls, data[5:]))

    check()


def agree(cls: type[Any], body: bytes) -> None:
    """Both refuse, or both read the same event."""
    theirs = read(cls, body)
    try:
        ours = CODEC.decode(CODEC._heads[cls] + body)
    except BadMessage as refusal:
        assert theirs is None or any(why in refusal.reason for why in STRICTER), (refusal.reason, theirs)
    else:
        assert repr(ours) == repr(theirs)


@settings(max_examples=500)
@given(st.sampled_from(TYPES), st.binary(max_size=200))
def test_garbage_is_judged_alike(cls: type[Any], body: bytes) -> None:
    agree(cls, body)


@settings(max_examples=1_000)
@given(st.data())
def test_damage_is_judged_alike(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(TYPES))
    body = bytearray(written(data.draw(instances(cls))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "change", "cut", "remove", "insert"])):
            case "flip":
                body[at] ^= 1 << data.draw(st.integers(0, 7))
            case "change":
                body[at] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 127, 128, 255]))
            case "cut":
                del body[at + 1 :]
            case "remove" if len(body) > 1:
                del body[at]
            case _:
                body[at:at] = data.draw(st.binary(min_size=1, max_size=12))
    agree(cls, bytes(body))


SAMPLES: dict[Any, Any] = {str: "text", int: 70_000, bool: True, bytes: b"raw", date: date(2026, 11, 23), Decimal: Decimal("1.5")}


def sample(hint: Any) -> Any:
    """One value of a type, nothing in it left empty."""
    kind, inner = kind_of(hint)
    if kind == "record":
        return inner(**{name: sample(h) for name, h in typing.get_type_hints(inner).items()})
    if kind == "enum":
        return next(iter(inner))
    if kind in ("list", "map"):
        return [sample(inner)] * 2 if kind == "list" else {"one": sample(inner), "two": sample(inner)}
    return sample(inner) if kind == "optional" else SAMPLES[hint]


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_every_cut_is_refused(cls: type[Any]) -> None:
    data = CODEC.encode(sample(cls))
    for size in range(len(data)):
        with pytest.raises(BadMessage):
            CODEC.decode(data[:size])


WRONG: dict[Any, list[Any]] = {
    str: [7, b"text", "\ud800", ["text"]],
    int: ["7", 7.0, Decimal(7), 2**63, -(2**63) - 1],
    bool: ["yes", 2],
    bytes: ["raw", [1]],
    date: ["2026-11-23", datetime(2026, 11, 23), 20_000],  # noqa: DTZ001
    Decimal: [1.5, "1.5", Decimal("1E-10"), Decimal("1E+29"), Decimal("NaN"), Decimal("-Infinity"), Decimal("1" * 39).scaleb(-9)],
}


def wrong(hint: Any) -> list[Any]:
    """Values no field of this type may hold."""
    kind, inner = kind_of(hint)
    if kind == "optional":
        return [value for value in wrong(inner) if value is not None] + [True] * (inner is int)
    if kind == "list":
        return [None, "text", (sample(inner),), {}, *([value] for value in wrong(inner))]
    if kind == "map":
        return [None, "text", [], {7: sample(inner)}, *({"key": value} for value in wrong(inner))]
    return [None, "?"] if kind in ("enum", "record") else [None, *WRONG[hint]]


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_what_does_not_fit_is_refused_and_the_field_named(cls: type[Any]) -> None:
    event = sample(cls)
    for name, hint in typing.get_type_hints(cls).items():
        for value in wrong(hint):
            with pytest.raises(ValueError, match=rf"^{cls.__name__}\.{name} is .* which its Avro type cannot hold: ."):
                CODEC.encode(replace(event, **{name: value}))


def longest(*parts: bytes) -> bytes:
    """A price change up to its `extra`, then these parts."""
    empty, full = (CODEC.encode(replace(sample(PriceChanged), extra=extra)) for extra in ({}, {"a": "b"}))
    at = next(n for n, (one, other) in enumerate(zip(empty, full, strict=False)) if one != other)
    return empty[:at] + b"".join(parts)


HOSTILE = {
    "more items than there are bytes": (longest(number(2**62)), "4611686018427387904 items in 0 bytes"),
    "a block of as many": (longest(number(-(2**63)), number(1)), "9223372036854775808 items in 0 bytes"),
    "a long text": (longest(number(1), number(2**63 - 1)), "it ends within a field"),
    "a text of less than nothing": (longest(number(1), number(-1)), "a length of -1"),
    "a text of much less than nothing": (longest(number(1), number(-(2**63))), "a length of -9223372036854775808"),
    "65 bits": (longest(b"\xff" * 9 + b"\x02"), "an integer of more than 64 bits"),
    "bits without end": (longest(b"\xff" * 10_000), "an integer of more than 64 bits"),
    "zeros without end": (longest(b"\x80" * 10_000), "an integer of more than 64 bits"),
    "bytes that are no text": (longest(number(1), b"\x04\xff\xfe"), "'utf-8' codec can't decode byte 0xff"),
}


@pytest.mark.parametrize(("data", "why"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_records_are_refused_at_once(data: bytes, why: str) -> None:
    with pytest.raises(BadMessage, match=f"does not decode: {why}"):
        CODEC.decode(data)


def altered(event: Any, old: bytes, new: bytes) -> bytes:
    data = CODEC.encode(event)
    assert data.count(old) == 1
    return data.replace(old, new)


def test_unknown_names_and_branches_are_refused() -> None:
    received = replace(sample(StockReceived), status=Status.USABLE, lot="LOT")
    for branch in (b"\1", b"\3", b"\4", b"\xff\xff\1"):
        with pytest.raises(BadMessage, match="says neither that it is nor that it is not"):
            CODEC.decode(altered(received, b"\2\6LOT", branch + b"\6LOT"))
    with pytest.raises(BadMessage, match="b'broken' is none of usable, held, "):
        CODEC.decode(altered(received, b"usable", b"broken"))


def test_a_day_the_calendar_does_not_have_is_refused() -> None:
    event = replace(sample(PriceChanged), valid_to=None, valid_from=date.max)
    for days in (3_000_000, -(2**40), 2**63 - 1):
        with pytest.raises(BadMessage, match="does not decode"):
            CODEC.decode(altered(event, number((date.max - date(1970, 1, 1)).days), number(days)))


def test_lists_in_several_blocks_and_sizes_are_read() -> None:
    """Other writers may cut a list into blocks, and give each one's size."""
    atp = replace(sample(Atp), suspects=["one", "two"])
    whole = CODEC.encode(atp)
    suspects = b"\4\6one\6two\0"
    assert whole.count(suspects) == 1
    for otherwise in (b"\2\6one\2\6two\0", b"\1\x08\6one\1\x08\6two\0", suspects[:-1] + b"\x80\0"):
        assert CODEC.decode(whole.replace(suspects, otherwise)) == atp


def test_long_texts_lists_and_maps_come_back() -> None:
    letter = replace(sample(DeadLetter), value=bytes(100_000), reason="ä" * 9_000, items=["x" * 300] * 9_000)
    assert CODEC.decode(CODEC.encode(letter)) == letter
    item = replace(sample(ItemChanged), description="d" * 9_000, extra={str(n): "v" * n for n in range(300)})
    assert CODEC.decode(CODEC.encode(item)) == item
    assert CODEC.encode(item)[5:] == written(item)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**28), max_value=10**28))
@example(Decimal("-0"))
@example(Decimal("-0.000000128"))
@example(Decimal("1E+28"))
@example(Decimal("0E+5000"))
def test_decimals_are_written_as_fastavro_does(amount: Decimal) -> None:
    event = replace(sample(PriceChanged), unit_price=amount)
    assert CODEC.encode(event)[5:] == written(event)
    assert CODEC.decode(CODEC.encode(event)) == event


def test_numbers_of_every_length_come_back() -> None:
    """Also from the shortcuts: small ones, and instants whose last bytes were seen before."""
    avro_bytes.UPPERS.clear()
    event = sample(PriceChanged)
    for n in {sign * (1 << bits) + more for bits in range(63) for more in (-2, -1, 0, 1) for sign in (1, -1)}:
        assert read_number(number(n), 0) == (n, len(number(n)))
        for _ in range(2):
            seen = replace(event, occurred_at_ms=n, source_position=n, recorded_at_ms=n ^ 1)
            assert CODEC.decode(CODEC.encode(seen)) == seen
    assert avro_bytes.UPPERS


def test_what_is_remembered_of_instants_is_bounded() -> None:
    event = sample(PriceChanged)
    for n in range(5_000):
        later = replace(event, occurred_at_ms=1_793_620_800_000 + n * 8_192)
        assert CODEC.decode(CODEC.encode(later)) == later
    assert 0 < len(avro_bytes.UPPERS) <= 4_096
