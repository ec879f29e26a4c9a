"""Messages nobody should act on, by what is wrong with them: each must end as a dead letter with a clear sentence."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from infra.demo.world import DemoPlan, dice, iso

WMS_KINDS = (
    "not JSON",
    "not UTF-8",
    "too deep",
    "unknown type",
    "fraction as a number",
    "no item",
    "negative quantity",
    "date in 1970",
    "from the future",
)
CHANNEL_KINDS = ("cut off", "no lines", "negative order quantity", "price as a number", "another channel")


def wms(plan: DemoPlan, kind: str, rng: Random, now_ms: int) -> bytes:
    """A WMS message that is wrong in one way. It takes no number of the feed's own."""
    good: dict[str, Any] = {
        "event_id": f"X-{rng.randrange(10**9)}",
        "sequence": 0,
        "type": "stock.received",
        "site": rng.choice(plan.sites),
        "item": rng.choice(plan.items).item,
        "qty": "1",
        "occurred_at": iso(now_ms),
    }
    match kind:
        case "not JSON":
            return f"<event id='{good['event_id']}'/>".encode()
        case "not UTF-8":
            return json.dumps(good).encode().replace(b"X-", b"\xff\xfe")
        case "too deep":
            return f'{{"event_id":"{good["event_id"]}","x":'.encode() + b"[" * 5_000 + b"]" * 5_000 + b"}"
        case "no item":
            del good["item"]
    wrong: dict[str, dict[str, Any]] = {
        "unknown type": {"type": "stock.teleported"},
        "fraction as a number": {"qty": 1.5},
        "negative quantity": {"qty": "-4"},
        "date in 1970": {"occurred_at": "1970-01-01T00:00:00Z"},
        "from the future": {"type": "stock.snapshot", "occurred_at": "2190-01-01T00:00:00Z"},
    }
    return json.dumps(good | wrong.get(kind, {})).encode()


def channel(plan: DemoPlan, name: str, kind: str, rng: Random, now_ms: int) -> bytes:
    """A channel message that is wrong in one way."""
    line: dict[str, Any] = {"line": 1, "item": rng.choice(plan.items).item, "qty": "1"}
    good: dict[str, Any] = {
        "channel": name,
        "external_ref": f"X-{rng.randrange(10**9)}",
        "customer": rng.choice(sorted(plan.customers)),
        "placed_at": iso(now_ms),
        "lines": [line],
    }
    wrong: dict[str, dict[str, Any]] = {
        "no lines": {"lines": []},
        "negative order quantity": {"lines": [line | {"qty": "-1"}]},
        "price as a number": {"lines": [line | {"unit_price": 12.5, "currency": "USD"}]},
        "another channel": {"channel": f"not-{name}"},
    }
    body = json.dumps(good | wrong.get(kind, {})).encode()
    return body[: len(body) // 2] if kind == "cut off" else body


def some(plan: DemoPlan, now_ms: int) -> list[tuple[str, str, bytes]]:
    """The plan's garbage: source, what is wrong, bytes."""
    rng = dice(plan, "garbage")
    found = []
    for n in range(plan.garbage):
        if n % 2 == 0:
            kind = WMS_KINDS[n // 2 % len(WMS_KINDS)]
            found.append(("wms", kind, wms(plan, kind, rng, now_ms)))
        else:
            name = rng.choice(plan.channels)
            kind = CHANNEL_KINDS[n // 2 % len(CHANNEL_KINDS)]
            found.append((name, kind, channel(plan, name, kind, rng, now_ms)))
    return found
