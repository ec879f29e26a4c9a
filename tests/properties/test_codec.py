"""The codec: what is written is read back, and nothing that comes in makes it fail in any other way than `BadMessage`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Tick
from schemas.codec import Codec, schema_of
from schemas.errors import BadMessage
from schemas.frozen import Frozen, replace
from schemas.inventory import ItemChanged, Status
from schemas.topics import ROUTES
from tests.support.any_events import TYPES, instances

CODEC = Codec()


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_every_event_comes_back_as_it_was(cls: type[Any]) -> None:
    @settings(max_examples=25)
    @given(instances(cls))
    def check(event: Any) -> None:
        back = CODEC.decode(CODEC.encode(event))
        assert back == event
        assert repr(back).count("<Status.") == repr(event).count("<Status.")
        assert CODEC.encode(back) == CODEC.encode(event)

    check()


def decoded(data: bytes) -> Any:
    """The event, or none for what is refused properly."""
    try:
        return CODEC.decode(data)
    except BadMessage as refusal:
        assert refusal.reason
        assert refusal.hint
        return None


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    event = decoded(data)
    assert event is None or type(event) in ROUTES


@settings(max_examples=500)
@given(st.sampled_from(TYPES), st.binary(max_size=200))
def test_garbage_behind_a_valid_header_is_refused_or_read(cls: type[Any], data: bytes) -> None:
    event = decoded(CODEC._heads[cls] + data)
    assert event is None or type(event) is cls


@settings(max_examples=500)
@given(st.data())
def test_an_altered_record_is_refused_or_read(data: st.DataObject) -> None:
    cls = data.draw(st.sampled_from(TYPES))
    whole = bytearray(CODEC.encode(data.draw(instances(cls))))
    at = data.draw(st.integers(0, len(whole) - 1))
    match data.draw(st.sampled_from(["change", "cut", "remove", "insert"])):
        case "change":
            whole[at] = data.draw(st.integers(0, 255))
        case "cut":
            del whole[at:]
        case "remove":
            del whole[at]
        case _:
            whole[at:at] = data.draw(st.binary(min_size=1, max_size=12))
    event = decoded(bytes(whole))
    assert event is None or type(event) in ROUTES


@given(instances(Tick), st.binary(min_size=1, max_size=5))
def test_bytes_after_the_end_are_refused(event: Tick, more: bytes) -> None:
    with pytest.raises(BadMessage, match="ends after"):
        CODEC.decode(CODEC.encode(event) + more)


@given(instances(ItemChanged))
def test_what_a_schema_cannot_hold_is_not_written(event: ItemChanged) -> None:
    for wrong in ({"source_position": 2**63}, {"description": 7}, {"item": "\ud800"}, {"extra": None}):
        with pytest.raises(ValueError):
            CODEC.encode(replace(event, **wrong))


def test_a_type_no_topic_carries_is_not_written() -> None:
    with pytest.raises(TypeError, match="Status has no golden schema"):
        CODEC.encode(Status.USABLE)


class _Nested(Frozen, frozen=True):
    inner: Tick


class _EnumList(Frozen, frozen=True):
    statuses: list[Status]


class _OptionalList(Frozen, frozen=True):
    parts: list[str] | None


class _Float(Frozen, frozen=True):
    amount: float


@pytest.mark.parametrize("cls", [_Nested, _EnumList, _OptionalList, _Float], ids=lambda cls: cls.__name__)
def test_a_field_that_would_come_back_as_another_type_has_no_schema(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="no Avro type for"):
        schema_of(cls)
