"""Rows to JSON as people read it: quantities are exact decimal numbers in base units, instants and days are ISO 8601."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson
from fastapi import Response

from schemas.frozen import Frozen
from schemas.quantity import show


def number(milli: int) -> Any:
    """Thousandths as a JSON number, digit for digit: 24000 -> 24, 2211 -> 2.211."""
    return milli // 1000 if milli % 1000 == 0 else orjson.Fragment(show(milli).encode())


def instant(at_ms: int | None) -> str | None:
    """An instant in ISO 8601 with milliseconds, UTC."""
    if at_ms is None:
        return None
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


def field(name: str, value: Any) -> tuple[str, Any]:
    """A row's field as a JSON member: `qty_milli` is `qty` in units, `at_ms` is the instant `at`; other `_ms` stay."""
    if isinstance(value, int) and not isinstance(value, bool):
        if name.endswith("_milli"):
            return name.removesuffix("_milli"), number(value)
        if name == "at_ms" or name.endswith(("_at_ms", "as_of_ms")):
            return name.removesuffix("_ms"), instant(value)
    elif value is None and name.endswith(("_milli", "_at_ms")):
        return name.removesuffix("_milli").removesuffix("_ms"), None
    return name, plain(value)


def plain(value: Any) -> Any:
    """Any row or value as something `orjson` writes."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | bool | float | orjson.Fragment):
        return value
    if isinstance(value, Decimal):
        text = format(value, "f")
        return orjson.Fragment((text.rstrip("0").rstrip(".") if "." in text else text).encode())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, Frozen):
        return dict(field(name, getattr(value, name)) for name in value.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return dict(field(f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(plain(body)), status, dict(headers or {}), "application/json")
