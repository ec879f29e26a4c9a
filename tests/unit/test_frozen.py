"""Frozen records are what frozen dataclasses are to those who use them."""

from __future__ import annotations

import copy
import gc

import pytest

from schemas.frozen import Frozen, fields, replace


class Point(Frozen, frozen=True):
    x: int
    y: int = 7


class Base(Frozen, frozen=True, kw_only=True):
    name: str


class Derived(Base, frozen=True, kw_only=True):
    size: int
    note: str | None = None


def test_it_is_made_as_a_dataclass_is() -> None:
    """Positions, names, defaults, equality, hash, representation, copy."""
    assert Point(1) == Point(x=1, y=7) and hash(Point(1)) == hash(Point(1, 7)) and Point(1) != Point(2)
    assert repr(Derived(name="n", size=2)) == "Derived(name='n', size=2, note=None)"
    assert copy.deepcopy(Point(1)) == Point(1)
    assert Base(name="n") != Derived(name="n", size=1)


@pytest.mark.parametrize("made", [Point(1), Base(name="n"), Derived(name="n", size=1)])
def test_it_is_frozen(made: object) -> None:
    """No field can be set or removed, none added."""
    name = "name" if hasattr(made, "name") else "x"
    with pytest.raises(AttributeError, match="immutable"):
        setattr(made, name, 1)
    with pytest.raises(AttributeError):
        delattr(made, name)
    assert not hasattr(made, "__dict__")


def test_a_wrong_call_says_what_is_missing() -> None:
    with pytest.raises(TypeError, match="Missing required argument 'size'"):
        Derived(name="n")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Derived("n", size=1)  # type: ignore[call-arg]


def test_a_copy_is_changed_where_it_is_asked_for_and_frozen_like_the_first() -> None:
    first = Derived(name="n", size=2, note="x")
    second = replace(first, size=3, note=None)
    assert (second, type(second)) == (Derived(name="n", size=3), Derived)
    assert first == Derived(name="n", size=2, note="x")
    with pytest.raises(AttributeError):
        second.size = 4  # type: ignore[misc]
    with pytest.raises(TypeError, match="`Point` has no field 'z'"):
        replace(Point(1), z=2)  # type: ignore[call-arg]


def test_fields_come_in_order_of_their_definition_with_types_and_defaults() -> None:
    """The Avro schemas and the code of the codec are made from this."""
    assert [(f.name, f.type, f.required) for f in fields(Derived)] == [
        ("name", str, True),
        ("size", int, True),
        ("note", str | None, False),
    ]


def test_the_cyclic_collector_passes_it_by() -> None:
    assert not gc.is_tracked(Point(1)) and not gc.is_tracked(Derived(name="n", size=1))
