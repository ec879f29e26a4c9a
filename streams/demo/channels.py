"""Four channels' day: orders, then some second thoughts."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from schemas.quantity import show
from streams.demo.world import HOUR_MS, MINUTE_MS, DemoItem, Fact, Plan, day_after, dice, iso, pick_hot, some_milli

_PREFIX = {"web": "W", "marketplace": "114-", "crm": "Q", "edi": "850-"}
_OPENS_MS = HOUR_MS
_DAY_MS = 6 * HOUR_MS


def facts(plan: Plan) -> Iterator[Fact]:
    """Orders and changes, each order's in the order they happen."""
    rng = dice(plan, "orders")
    for n in range(plan.orders):
        channel = plan.channels[int(rng.random() * len(plan.channels))]
        reference = f"{_PREFIX.get(channel, channel)}D{plan.seed % 10_000:04d}{n:06d}"
        at_ms = plan.start_ms + _OPENS_MS + n * _DAY_MS // plan.orders
        order = _order(plan, rng, channel, reference, at_ms)
        # A channel has one connection: what it sends is not overtaken by what it sends later.
        yield Fact(at_ms, channel, "order", channel, order)
        change = _change(plan, rng, order)
        if change is not None:
            later_ms = at_ms + rng.randint(1, 40) * MINUTE_MS
            change["changed_at"] = iso(later_ms)
            if rng.random() < 0.5:
                change["change_id"] = f"{reference}-1"
            yield Fact(later_ms, channel, str(change["change"]), channel, change)


def _order(plan: Plan, rng: Random, channel: str, reference: str, at_ms: int) -> dict[str, Any]:
    lines = [_line(plan, rng, number) for number in range(1, rng.choice((1, 1, 2, 3, 5)) + 1)]
    return {
        "channel": channel,
        "external_ref": reference,
        "customer": rng.choice(plan.customers),
        "placed_at": iso(at_ms),
        "requested_date": day_after(at_ms, rng.randint(0, 10)) if rng.random() < 0.7 else None,
        "policy": {
            "partial": rng.random() < 0.9,
            "backorder": rng.random() < 0.9,
            "substitute": rng.random() < 0.3,
        },
        "lines": lines,
    }


def _line(plan: Plan, rng: Random, number: int) -> dict[str, Any]:
    item = pick_hot(rng, plan.items)
    qty, uom = show(some_milli(rng, item, 1, 12)), item.uom
    if item.pack_uom is not None and item.pack_milli is not None and rng.random() < 0.1:
        qty, uom = str(rng.randint(1, 2)), item.pack_uom
    line: dict[str, Any] = {"line": number, "item": item.item, "qty": qty, "uom": uom}
    if item.unit_price is not None:
        line |= {"unit_price": format(item.unit_price, "f"), "currency": item.currency}
    if rng.random() < 0.1:
        line["site"] = rng.choice(plan.sites)
    return line


def _change(plan: Plan, rng: Random, order: dict[str, Any]) -> dict[str, Any] | None:
    chance = rng.random()
    change: dict[str, Any] = {"channel": order["channel"], "external_ref": order["external_ref"]}
    line = rng.choice(order["lines"])
    if chance < 0.04:
        return change | {"change": "cancel", "reason": "changed their mind"}
    if chance < 0.07:
        return change | {"change": "cancel_line", "line": line["line"], "reason": "ordered twice"}
    if chance < 0.12:
        item = _by_number(plan, line["item"])
        return change | {"change": "set_qty", "line": line["line"], "qty": show(some_milli(rng, item, 1, 12)), "uom": item.uom}
    return None


def _by_number(plan: Plan, number: str) -> DemoItem:
    return next(item for item in plan.items if item.item == number)
