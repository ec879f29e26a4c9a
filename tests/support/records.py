"""Records as plain data, for what wants dicts."""

from __future__ import annotations

from typing import Any

from schemas.frozen import Frozen


def as_dict(value: Any) -> Any:
    """A record as a dict, its records too, all else as it is."""
    if isinstance(value, Frozen):
        return {name: as_dict(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return type(value)(as_dict(part) for part in value)
    return value
