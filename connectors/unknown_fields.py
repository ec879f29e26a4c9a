"""Fields of a foreign message that nobody reads: found without reading the message a second time.

Whoever sends them believes that they are read. pydantic keeps them beside a model's own fields; `taken_from` takes them away, so
that a message with a field more is otherwise the same message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel

from schemas.records import UnknownFields

MOST = 50
"""Fields of one message that are named; the others are one."""
OTHERS = "(others)"
_Among = tuple[Mapping[str, str], Collection[str]]
_NONE: _Among = ({}, ())
_set = object.__setattr__  # messages are frozen


def taken_from(model: BaseModel) -> dict[str, _Among]:
    """The unknown fields of a message read with `extra="allow"`, by path, each with its neighbours. They are gone then."""
    found: dict[str, _Among] = {}
    _take(model, "", found)
    return found


def as_unknown(message: str, found: Mapping[str, _Among]) -> UnknownFields | None:
    """The same for the engine; none if there are none."""
    return UnknownFields(message, tuple(found), tuple(found.values())) if found else None


def columns(message: str, names: Collection[str], known: Mapping[str, str], given: Collection[str]) -> UnknownFields | None:
    """The unknown columns of a row."""
    if not names:
        return None
    paths = tuple(names)
    if len(paths) > MOST:
        paths = (*paths[:MOST], OTHERS)
    return UnknownFields(message, paths, ((known, given),) * len(paths))


def _take(model: BaseModel, prefix: str, found: dict[str, _Among]) -> None:
    extra = model.__pydantic_extra__
    if extra:
        among = (_names(model.__class__), model.model_fields_set)
        for name in extra:
            if len(found) < MOST:
                found.setdefault(prefix + name, among)
            elif prefix + name not in found:
                found[OTHERS] = _NONE
                break
    if extra is not None:
        _set(model, "__pydantic_extra__", None)
    for name in _holders(model.__class__):
        value = getattr(model, name)
        if value.__class__ is list:
            inner = f"{prefix}{name}[]."
            for part in value:
                _take(part, inner, found)
        elif value is not None:
            _take(value, f"{prefix}{name}.", found)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model a field holds, or holds a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part)) is not None), None)


@cache
def _holders(model: type[Any]) -> tuple[str, ...]:
    """The fields that hold models."""
    return tuple(name for name, field in model.model_fields.items() if model_in(field.annotation) is not None)


@cache
def _names(model: type[Any]) -> Mapping[str, str]:
    """What a message may call the fields, and the field of each name."""
    found = {name: name for name in model.model_fields}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        for other in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            if isinstance(other, str):
                found[other] = name
    return found
