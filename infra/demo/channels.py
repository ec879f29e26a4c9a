"""What four channels' customers want: orders, and second thoughts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

from infra.demo.world import DemoItem, DemoOrder, DemoPlan, day_after, dice, iso, pick_hot, some_milli
from schemas.quantity import MILLI, show

_PREFIX = {"web": "W", "marketplace": "114-", "crm": "Q", "edi": "850-"}
_LATER = 25  # a second thought comes so many orders later at most
WRONG_PRICE = 0.02


def wishes(plan: DemoPlan, clock_ms: Callable[[], int]) -> Iterator[DemoOrder]:
    """Orders one after another, each change after its order, made as they are asked for: an order is placed now."""
    rng = dice(plan, "orders")
    later: dict[int, list[DemoOrder]] = {}
    for n in range(plan.orders):
        channel = plan.channels[int(rng.random() * len(plan.channels))]
        reference = f"{_PREFIX.get(channel, channel)}D{plan.seed % 10_000:04d}{n:06d}"
        order = _order(plan, rng, channel, reference, clock_ms())
        yield DemoOrder(channel, "order", order)
        change = _change(plan, rng, order)
        if change is not None:
            later.setdefault(n + rng.randint(1, _LATER), []).append(DemoOrder(channel, str(change["change"]), change))
        yield from later.pop(n, ())
    for number in sorted(later):
        yield from later[number]


def _order(plan: DemoPlan, rng: Random, channel: str, reference: str, now_ms: int) -> dict[str, Any]:
    customer = rng.choice(sorted(plan.customers))
    lines = [_line(plan, rng, number, plan.customers[customer]) for number in range(1, rng.choice((1, 1, 2, 3, 5)) + 1)]
    return {
        "channel": channel,
        "external_ref": reference,
        "customer": customer,
        "placed_at": iso(now_ms),
        "requested_date": day_after(now_ms, rng.randint(0, 3)) if rng.random() < 0.5 else None,
        "policy": {"partial": rng.random() < 0.9, "backorder": rng.random() < 0.9, "substitute": rng.random() < 0.3},
        "lines": lines,
    }


def _line(plan: DemoPlan, rng: Random, number: int, price_list: str) -> dict[str, Any]:
    item = pick_hot(rng, plan.items)
    milli, uom = some_milli(rng, item, 1, 12), item.uom
    units = MILLI
    if item.pack_uom is not None and item.pack_milli is not None and rng.random() < 0.1:
        milli, uom, units = rng.randint(1, 2) * MILLI, item.pack_uom, item.pack_milli
    line: dict[str, Any] = {"line": number, "item": item.item, "qty": show(milli), "uom": uom}
    reference = plan.prices.get((price_list, item.item))
    if reference is not None:
        amount = reference.amount * units / MILLI
        if rng.random() < WRONG_PRICE:
            amount *= Decimal("0.8")
        line |= {"unit_price": format(amount.quantize(Decimal("0.0001")), "f"), "currency": reference.currency}
    return line


def _change(plan: DemoPlan, rng: Random, order: dict[str, Any]) -> dict[str, Any] | None:
    chance = rng.random()
    change: dict[str, Any] = {"channel": order["channel"], "external_ref": order["external_ref"]}
    line = rng.choice(order["lines"])
    if chance < 0.05:
        return change | {"change": "cancel", "reason": "changed their mind"}
    if order["channel"] == "marketplace":
        return None  # a marketplace lets its buyers cancel, and nothing else
    if chance < 0.08:
        return change | {"change": "cancel_line", "line": line["line"], "reason": "ordered twice"}
    if chance < 0.13:
        item = _by_number(plan, line["item"])
        return change | {"change": "set_qty", "line": line["line"], "qty": show(some_milli(rng, item, 1, 12)), "uom": item.uom}
    return None


def _by_number(plan: DemoPlan, number: str) -> DemoItem:
    return next(item for item in plan.items if item.item == number)
