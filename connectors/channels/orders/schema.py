"""The JSON Schema of what a channel may send over HTTP: what is required, and that nothing else is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.channels.orders import wire

_REF = "#/$defs/"


def document_schema(channels: Sequence[str]) -> dict[str, Any]:
    """Of an order, or of a change to one. `channels`: the names there are, none: any."""
    whole = wire.ADAPTER.json_schema()
    definitions: dict[str, Any] = whole["$defs"]
    found = {"anyOf": [_closed(definitions[model.__name__], definitions) for model in wire.MODELS.values()]}
    for each in found["anyOf"]:
        if channels:
            each["properties"]["channel"] = {"type": "string", "enum": list(channels)}
        each["required"] = [name for name in each["required"] if name != "placed_at"]  # if left out, it is placed now
    return found


def _closed(part: Any, definitions: dict[str, Any]) -> Any:
    """A part with what it refers to put in its place, and no other fields allowed."""
    if isinstance(part, list):
        return [_closed(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _closed(definitions[part["$ref"].removeprefix(_REF)], definitions)
    found = {name: _closed(value, definitions) for name, value in part.items()}
    return found | {"additionalProperties": False} if part.get("type") == "object" and "properties" in part else found
