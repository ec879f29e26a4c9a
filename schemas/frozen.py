"""Frozen dataclasses that are quick to make.

A frozen dataclass sets each field through `object.__setattr__`, some five times the work of a plain slotted one, and an event
makes about twenty such objects. `quick` keeps all that frozen means to its users: the object is filled as a plain twin (same
slots, ordinary attributes) and becomes the frozen class when it is whole. `replace` does the same for changed copies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")
become = object.__dict__["__class__"].__set__
"""Makes an object one of a class with the same slots: `become(object, cls)`."""


def plain_twin(cls: type[Any]) -> type[Any]:
    """A class with the slots of a frozen dataclass and ordinary attributes: fill one, then let it `become` the frozen class.

    Raises `TypeError` for a class whose fields are worked out (`default_factory`, `__post_init__`): they would be left out.
    """
    made = all(f.default_factory is dataclasses.MISSING and f.init for f in dataclasses.fields(cls))
    if not made or hasattr(cls, "__post_init__") or "__slots__" not in cls.__dict__:
        raise TypeError(f"{cls.__name__} has fields that are worked out, or no slots: it cannot be made quickly")
    plain = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}  # both, or a frozen base slows the twin down
    return type(cls.__name__, cls.__bases__, plain | {"__slots__": cls.__dict__["__slots__"], "__module__": cls.__module__})


def quick(cls: type[T]) -> type[T]:
    """Above `@dataclass(frozen=True, slots=True)`: the same class with a quicker `__init__` of the same signature.

    Raises `TypeError` for a class whose fields are worked out (`default_factory`, `__post_init__`).
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names: dict[str, Any] = {"_become": become, "_new": object.__new__, "_twin": plain_twin(cls), "_frozen": cls}
    arguments = []
    for f in fields:
        if f.kw_only and "*" not in arguments:
            arguments.append("*")
        arguments.append(f.name)
        if f.default is not dataclasses.MISSING:
            names[f"_default_{f.name}"] = f.default
            arguments[-1] += f"=_default_{f.name}"
    body = "; ".join(["_become(self, _twin)", *[f"self.{f.name} = {f.name}" for f in fields], "_become(self, _frozen)"])
    exec(f"def __init__(self, {', '.join(arguments)}): {body}", names)  # noqa: S102 - our own field names
    names["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = names["__init__"]  # type: ignore[method-assign]
    copied = "; ".join(["new = _new(_twin)", *[f"new.{f.name} = row.{f.name}" for f in fields], "return new"])
    exec(f"def _copied(row): {copied}", names)  # noqa: S102 - our own field names
    _COPIED[cls] = names["_copied"]
    return cls


_COPIED: dict[type[Any], Callable[[Any], Any]] = {}
"""How a quick class's objects are copied into plain twins."""

if TYPE_CHECKING:  # type checkers know the fields of this one
    from dataclasses import replace as replace  # noqa: PLC0414 - re-exported
else:

    def replace(row: T, /, **changes: Any) -> T:
        """`dataclasses.replace`, quicker for quick classes. Raises `TypeError` for a field there is not."""
        cls = type(row)
        copied = _COPIED.get(cls)
        if copied is None:
            return dataclasses.replace(row, **changes)
        new = copied(row)
        for name, value in changes.items():
            try:
                setattr(new, name, value)
            except AttributeError:
                raise TypeError(f"{cls.__name__} has no field {name!r}") from None
        become(new, cls)
        return new
