"""`quick` changes how fast a frozen dataclass is made, and nothing else."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from schemas.frozen import quick, replace


@quick
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 7


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    name: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Base):
    size: int
    note: str | None = None


def test_it_is_made_as_before() -> None:
    """Positions, names, defaults, equality, hash, representation, replace and copy."""
    assert Point(1) == Point(x=1, y=7) and hash(Point(1)) == hash(Point(1, 7)) and Point(1) != Point(2)
    assert repr(Derived(name="n", size=2)) == "Derived(name='n', size=2, note=None)"
    assert replace(Derived(name="n", size=2), size=3) == Derived(name="n", size=3)
    assert copy.deepcopy(Point(1)) == Point(1)
    assert type(Derived(name="n", size=2)) is Derived


@pytest.mark.parametrize("made", [Point(1), Base(name="n"), Derived(name="n", size=1)])
def test_it_stays_frozen(made: object) -> None:
    """No field can be set or removed, none added."""
    with pytest.raises(FrozenInstanceError):
        setattr(made, "name" if hasattr(made, "name") else "x", 1)
    with pytest.raises(FrozenInstanceError):
        delattr(made, "name" if hasattr(made, "name") else "x")
    assert not hasattr(made, "__dict__")


def test_a_wrong_call_says_what_is_missing() -> None:
    """The signature is the dataclass's own."""
    with pytest.raises(TypeError, match=r"Derived\.__init__\(\) missing 1 required keyword-only argument: 'size'"):
        Derived(name="n")  # type: ignore[call-arg]


def test_a_copy_is_changed_where_it_is_asked_for_and_frozen_like_the_first() -> None:
    first = Derived(name="n", size=2, note="x")
    second = replace(first, size=3, note=None)
    assert (second, type(second)) == (Derived(name="n", size=3), Derived)
    assert first == Derived(name="n", size=2, note="x")
    with pytest.raises(FrozenInstanceError):
        second.size = 4  # type: ignore[misc]


def test_only_fields_are_replaced_and_other_dataclasses_as_ever() -> None:
    with pytest.raises(TypeError, match="Point has no field 'z'"):
        replace(Point(1), z=2)  # type: ignore[call-arg]

    @dataclass(frozen=True)
    class Plain:
        x: int

    assert replace(Plain(1), x=2) == Plain(2)


def test_fields_that_are_worked_out_are_refused() -> None:
    """They would be left out silently."""

    @dataclass(frozen=True, slots=True)
    class Worked:
        rows: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match="worked out"):
        quick(Worked)
