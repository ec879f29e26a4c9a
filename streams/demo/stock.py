"""The warehouse's morning: opening counts and receipts, then adjustments, moves, status changes and recounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas.quantity import MILLI, show
from streams.demo.world import HOUR_MS, DemoItem, Fact, Plan, PurchaseLine, day_after, dice, lot_of, pick_hot, some_milli


class Morning:
    """Generates facts in the order they happen and keeps the books, so that nothing is moved that is not there."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rng = dice(plan, "stock")
        self._at_ms = plan.start_ms
        self._usable: dict[tuple[str, str], int] = {}
        self._last_days: dict[tuple[str, str], str] = {}
        self._purchases = list(plan.purchases)
        self._items = {item.item: item for item in plan.items}

    def facts(self) -> Iterator[Fact]:
        """All of the morning, in order."""
        for item in self._plan.items:
            for site in self._plan.sites:
                if self._rng.random() < 0.9:
                    yield self._opening(item, site)
        step_ms = 4 * HOUR_MS // max(1, self._plan.stock_events)
        kinds: tuple[Callable[[DemoItem, str], Fact | None], ...] = (
            self._receipt,
            self._receipt,
            self._adjustment,
            self._move,
            self._status_change,
            self._recount,
        )
        for _ in range(self._plan.stock_events):
            self._at_ms += step_ms
            item, site = pick_hot(self._rng, self._plan.items), self._rng.choice(self._plan.sites)
            fact = self._rng.choice(kinds)(item, site)
            if fact is not None:
                yield fact

    def _opening(self, item: DemoItem, site: str) -> Fact:
        """Untracked items are counted; a lot with its last day can only be received."""
        self._at_ms += 200
        is_scarce = self._rng.random() < 0.15
        milli = some_milli(self._rng, item, 2, 20) if is_scarce else some_milli(self._rng, item, 40, 400)
        self._usable[item.item, site] = milli
        if not item.is_lot_tracked:
            return self._fact("stock.snapshot", item, site, milli, status="usable")
        self._last_days[item.item, site] = day_after(self._at_ms, self._rng.randint(20, 200))
        return self._received(item, site, milli)

    def _receipt(self, item: DemoItem, site: str) -> Fact:
        purchase = self._purchases.pop() if self._purchases else None
        if purchase is not None and purchase.item in self._items:
            return self._purchase_receipt(purchase)
        if item.pack_uom is not None and item.pack_milli is not None and self._rng.random() < 0.5:
            packs = self._rng.randint(1, 10)
            self._add(item, site, packs * item.pack_milli)
            return self._received(item, site, packs * MILLI, uom=item.pack_uom)
        milli = some_milli(self._rng, item, 5, 60)
        self._add(item, site, milli)
        return self._received(item, site, milli)

    def _purchase_receipt(self, purchase: PurchaseLine) -> Fact:
        item = self._items[purchase.item]
        milli = purchase.open_milli
        if self._rng.random() < 0.3 and milli >= 2_000 and milli % 2_000 == 0:
            milli //= 2
        self._add(item, purchase.site, milli)
        reference = {"po": purchase.document, "line": purchase.line}
        return self._received(item, purchase.site, milli, reference=reference)

    def _received(self, item: DemoItem, site: str, milli: int, **rest: Any) -> Fact:
        last_day = self._last_days.get((item.item, site))
        return self._fact(
            "stock.received", item, site, milli, **{"status": "usable", "expires_on": last_day, "reference": None, **rest}
        )

    def _adjustment(self, item: DemoItem, site: str) -> Fact | None:
        milli = some_milli(self._rng, item, 1, 5) if self._rng.random() < 0.5 else -self._part(item, site)
        if milli == 0:
            return None
        self._add(item, site, milli)
        reason = self._rng.choice(("cycle count", "damage", "found", "sample"))
        return self._fact("stock.adjusted", item, site, milli, status="usable", reason=reason)

    def _move(self, item: DemoItem, site: str) -> Fact | None:
        others = [other for other in self._plan.sites if other != site]
        milli = self._part(item, site)
        if item.is_lot_tracked or not others or milli == 0:
            return None
        to_site = self._rng.choice(others)
        self._add(item, site, -milli)
        self._add(item, to_site, milli)
        return self._fact("stock.moved", item, site, milli, status="usable", to_site=to_site)

    def _status_change(self, item: DemoItem, site: str) -> Fact | None:
        milli = self._part(item, site)
        if milli == 0:
            return None
        self._add(item, site, -milli)
        to_status = self._rng.choice(("held", "quality", "damaged"))
        return self._fact("stock.status_changed", item, site, milli, from_status="usable", to_status=to_status)

    def _recount(self, item: DemoItem, site: str) -> Fact | None:
        milli = self._usable.get((item.item, site))
        return None if milli is None else self._fact("stock.snapshot", item, site, milli, status="usable")

    def _part(self, item: DemoItem, site: str) -> int:
        """Up to a twentieth of what is there."""
        most = self._usable.get((item.item, site), 0) // 20_000
        return some_milli(self._rng, item, 1, most) if most >= 1 else 0

    def _add(self, item: DemoItem, site: str, milli: int) -> None:
        self._usable[item.item, site] = self._usable.get((item.item, site), 0) + milli

    def _fact(self, kind: str, item: DemoItem, site: str, milli: int, uom: str | None = None, **rest: Any) -> Fact:
        body = {
            "type": kind,
            "site": site,
            "item": item.item,
            "lot": lot_of(item, site),
            "qty": show(milli),
            "uom": uom or item.uom,
            **rest,
        }
        return Fact(self._at_ms, "wms", kind, None, body)
