"""The items an ERP record names, for when nothing else of it can be read."""

from __future__ import annotations

import json
import re

from schemas.records import Record

_ITEM = re.compile(rb'(?i)"item_no"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.){1,200}")')
_MOST_BYTES = 1 << 20
_MOST_ITEMS = 100


def items_of(record: Record) -> tuple[str, ...]:
    """Each once, in the order they appear in its key and value."""
    found: dict[str, None] = {}
    for part in (record.key, record.value):
        for match in _ITEM.finditer((part or b"")[:_MOST_BYTES]):
            try:
                name = str(json.loads(match[1])).strip()
                name.encode()
            except ValueError:
                continue
            if name.isprintable() and name:
                found[name] = None
            if len(found) == _MOST_ITEMS:
                return tuple(found)
    return tuple(found)
