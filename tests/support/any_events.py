"""Strategies for any event of any type a topic carries, from its fields."""

from __future__ import annotations

import enum
import types
import typing
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from schemas.frozen import Frozen
from schemas.topics import ROUTES

TYPES = sorted(ROUTES, key=lambda cls: cls.__name__)


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Decimals of up to 29 digits before the point and 9 after it."""
    places = draw(st.integers(0, 9))
    unscaled = draw(st.integers(-(10 ** (29 + places)) + 1, 10 ** (29 + places) - 1))
    return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -places))


LONGS = st.integers(0, 63).flatmap(lambda bits: st.integers(-(2**bits), 2**bits - 1))
"""Of every length, and the same few instants again and again."""

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: LONGS | st.integers(1_793_620_800_000, 1_793_620_830_000),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    date: st.dates(),
    Decimal: decimals(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value a field of this type may hold."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([st.none() if arg is types.NoneType else values(arg) for arg in args])
    if origin is list:
        return st.lists(values(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    return instances(hint) if issubclass(hint, Frozen) else SCALARS[hint]


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """Any instance of a record."""
    return st.builds(cls, **{name: values(hint) for name, hint in typing.get_type_hints(cls).items()})
