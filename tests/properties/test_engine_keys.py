"""Encoded keys sort as the tuples they stand for, whatever is in them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BrokenInvariant
from streams.engine.keys import KeyCodec, after

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\1\2\xff\uffff\U0010ffff"), max_size=5)
PART: dict[type[Any], st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    date: st.dates(),
}
TYPES = st.lists(st.sampled_from([str, str, int, date]), min_size=1, max_size=5)


@st.composite
def codec_and_keys(draw: st.DrawFn) -> tuple[KeyCodec, list[tuple[Any, ...]]]:
    types = draw(TYPES)
    keys = draw(st.lists(st.tuples(*(PART[t] for t in types)), min_size=2, max_size=6))
    return KeyCodec(b"t\0", types), keys


@given(codec_and_keys())
def test_bytes_sort_as_the_tuples_and_decode_to_them(case: tuple[KeyCodec, list[tuple[Any, ...]]]) -> None:
    codec, keys = case
    assert [codec.decode(codec.encode(key)) for key in keys] == keys
    assert [codec.decode(data) for data in sorted(map(codec.encode, keys))] == sorted(keys)


@given(codec_and_keys(), st.data())
def test_a_prefix_brackets_exactly_the_keys_that_start_with_it(
    case: tuple[KeyCodec, list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    codec, keys = case
    prefix = data.draw(st.sampled_from(keys))
    prefix = prefix[: data.draw(st.integers(0, len(prefix)))]
    low = codec.prefix(prefix)
    high = after(low)
    assert high is not None
    assert [low <= codec.encode(key) < high for key in keys] == [key[: len(prefix)] == prefix for key in keys]
    assert [codec.encode(key) >= low for key in keys] == [key >= prefix for key in keys]


def test_a_shorter_text_sorts_before_all_that_begin_with_it() -> None:
    codec = KeyCodec(b"t\0", (str, str))
    keys = [("", ""), ("", "a"), ("a", ""), ("a", "b"), ("a\0", ""), ("a\0b", ""), ("a\1", ""), ("ab", "")]
    assert sorted(map(codec.encode, reversed(keys))) == [codec.encode(key) for key in keys]


def test_after_the_last_bytes_there_is_nothing() -> None:
    assert after(b"a\xff") == b"b"
    assert after(b"\xff\xff") is None
    assert after(b"") is None


@pytest.mark.parametrize("key", [(1,), ("a", "b"), (2**63,), (), ("a", 1, "b", "c")])
def test_a_key_that_is_none_says_so(key: tuple[Any, ...]) -> None:
    codec = KeyCodec(b"t\0", (int,)) if key == (2**63,) else KeyCodec(b"t\0", (str, int, str))
    with pytest.raises(BrokenInvariant, match="key"):
        codec.encode(key)


def test_a_text_key_with_too_many_or_too_few_parts_says_so() -> None:
    codec = KeyCodec(b"t\0", (str, str))
    for key in [("a",), ("a", "b", "c"), ("a\0b",)]:
        with pytest.raises(BrokenInvariant, match="2 parts"):
            codec.encode(key)
    with pytest.raises(BrokenInvariant, match="more parts"):
        codec.prefix(("a", "b", "c"))


@pytest.mark.parametrize("types", [(), (float,), (str, bytes)])
def test_only_texts_numbers_and_days_make_a_key(types: tuple[type[Any], ...]) -> None:
    with pytest.raises(BrokenInvariant, match="str, int and date"):
        KeyCodec(b"t\0", types)
