"""What the OpenAPI document says beyond the types: examples of answers, and the problems a route can give."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
    },
}
QUOTE = {
    "item": "00010000",
    "uom": "EA",
    "policy": "lookahead",
    "atp": 17,
    "promise": 17,
    "version": 4711,
    "as_of": "2026-11-02T09:14:07.000Z",
    "is_suspect": False,
    "days": [{"day": "2026-11-02", "supply": 0, "demand": 3, "projected": 17, "atp": 17, "promise": 17}],
    "sites": [],
    "freshness": {"sources": [{"source": "raw.wms", "waiting_records": 0}]},
}
AUDIT = {"item": "00010000", "is_proved": True, "events": 4711, "oversales": [], "missing_before": None, "next": None}
EXPLAIN = {
    "item": "00010000",
    "rows": [],
    "totals": [{"site": "DC1", "measure": "on_hand.usable", "ledger": 24, "present": 24, "agrees": True}],
    "adds_up": True,
}


def answers(description: str, example: Any, *problems: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer with an example, and its problems (those every route can give included)."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": description, "content": {"application/json": {"example": example}}}
    }
    for code in sorted({*problems, 400, 403, 413, 421, 422, 500}):
        phrase = HTTPStatus(code).phrase
        found[code] = {"description": phrase, "content": {"application/problem+json": {"schema": PROBLEM}}}
    return found
