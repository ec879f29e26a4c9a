"""The marketplace: buyers' orders and cancellations, asked for in pages that overlap and repeat themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from infra.sandbox.store import Rows, SandboxStore, due_by, due_key, joined, next_number
from infra.sandbox.values import Dice, HttpAnswer, Name, attempted, iso, read

MAX_PAGE = 500


@dataclass(frozen=True, slots=True)
class MarketplaceOptions:
    """`resent`: share of orders that come again on a later page, after about `resend_ms`. `overlap`: so many entries of the page
    before are on each page again.
    """

    resent: float = 0.1
    resend_ms: int = 3_000
    overlap: int = 2


class _Identified(msgspec.Struct, frozen=True):
    id: Name


class Marketplace:
    """The core. Times are in ms."""

    def __init__(self, store: SandboxStore, seed: int, options: MarketplaceOptions | None = None) -> None:
        self._options = options or MarketplaceOptions()
        self._dice = Dice(seed, "marketplace")
        self._orders: Rows[dict[str, Any]] = store.rows("order", dict[str, Any])
        self._cancelled: Rows[dict[str, Any]] = store.rows("cancellation", dict[str, Any])
        self._entries: Rows[dict[str, Any]] = store.rows("entry", dict[str, Any])
        self._again: Rows[str] = store.rows("again", str)
        self._counters: Rows[int] = store.rows("counter", int)

    def place(self, body: Any, now: int) -> HttpAnswer:
        """A buyer orders. The order is shown as it stands here; `purchased` is now if it is not said."""
        return attempted(lambda: self._place(read(_Identified, body).id, body, now))

    def cancel(self, number: str, reason: str, now: int) -> HttpAnswer:
        """The buyer cancels."""
        if self._orders.get(number) is None:
            return HttpAnswer(404, {"reason": f"Order {number!r} is not known."})
        if self._cancelled.get(number) is None:
            cancellation = {"id": number, "cancelled": iso(now), "reason": reason}
            self._cancelled.put(number, cancellation)
            self._show(cancellation)
        return HttpAnswer(200, {"id": number})

    def page(self, after: str, limit: int, now: int) -> HttpAnswer:
        """What came after a cursor, and a little before it again; the cursor to go on from. Nothing new is an empty page."""
        for key, number in due_by(self._again, now):
            self._again.remove(key)
            order = self._orders.get(number)
            assert order is not None
            self._show(order)
        if not (after == "" or (after.isascii() and after.isdigit() and len(after) <= 12)):
            return HttpAnswer(400, {"reason": f"Cursor {after[:40]!r} is none of ours."})
        seen = int(after or 0)
        fresh = self._entries.scan(after=joined(seen), limit=max(1, min(limit, MAX_PAGE)))
        if not fresh:
            return HttpAnswer(200, {"orders": [], "next": after})
        old = self._entries.scan(after=joined(max(0, seen - self._options.overlap)), below=joined(seen + 1))
        return HttpAnswer(200, {"orders": [entry for _, entry in (*old, *fresh)], "next": str(int(fresh[-1][0]))})

    def state(self) -> dict[str, Any]:
        """All orders, which are cancelled, and how many entries the pages have."""
        return {
            "orders": dict(self._orders.scan()),
            "cancelled": [number for number, _ in self._cancelled.scan()],
            "entries": self._entries.count(),
        }

    def _place(self, number: str, body: dict[str, Any], now: int) -> HttpAnswer:
        if self._orders.get(number) is not None:
            return HttpAnswer(409, {"reason": f"Order {number} is there already."})
        order = {"id": number, "purchased": iso(now), **body}
        self._orders.put(number, order)
        self._show(order)
        if self._dice.hits(self._options.resent, "again", number):
            due = now + self._dice.delay_ms(self._options.resend_ms, number)
            self._again.put(due_key(due, number), number)
        return HttpAnswer(201, {"id": number})

    def _show(self, entry: dict[str, Any]) -> None:
        self._entries.put(joined(next_number(self._counters, "entry")), entry)
