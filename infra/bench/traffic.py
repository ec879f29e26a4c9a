"""A distributor's promise events from a seed, with sums of their own to check the fold against."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from schemas import inventory as say
from schemas.inventory import Status

START_MS = 1_793_620_800_000
SITES = ("DC1", "DC2", "EU1")
OPEN_LINES = 10_000
_Line = tuple[str, str, str, int]  # item, site, order id, units


class Traffic:
    """A distributor's promise events from a seed: receipts, counts by adjustment, orders, picks, shipments, supply.

    It keeps its own sums, naively, to check the fold's answer against. At most `OPEN_LINES` wait to be picked, and as many to be
    shipped: a distributor ships what it sells, and the traffic's own memory must not grow with events.
    """

    def __init__(self, keys: int, seed: int) -> None:
        self.keys = keys
        self.rng = random.Random(seed)  # noqa: S311 - a load, not a secret
        self.number = 0
        self.usable: dict[tuple[str, str], int] = {}
        self.staged: dict[tuple[str, str], int] = {}
        self._to_pick: list[_Line] = []
        self._to_ship: list[_Line] = []

    def masters(self) -> Iterator[Any]:
        """Sites and the item master."""
        for site in SITES:
            yield say.SiteChanged(
                **self._head("erp"),
                commit_position=self.number,
                is_base=False,
                is_read=False,
                is_deleted=False,
                extra={},
                site=site,
                name=site,
                timezone="UTC",
            )
        for n in range(self.keys):
            yield say.ItemChanged(
                **self._head("erp"),
                commit_position=self.number,
                is_base=False,
                is_read=False,
                is_deleted=False,
                extra={},
                item=self._item(n),
                description=f"Item {n}",
                description_is_unavailable=False,
                base_uom="EA",
                pack_uom="BX",
                pack_milli=12_000,
                lot_tracked=False,
                shelf_life_days=None,
                status="A",
                safety_stock_milli=0,
                hazmat_class=None,
                updated_at="2026-11-01T00:00:00",
                renumbered_from=None,
            )

    def event(self) -> Any:
        """The next event of the day: 40 % receipts, 10 % corrections, the rest orders, picks and shipments."""
        draw = self.rng.random()
        if draw < 0.40:
            return self._receive()
        if draw < 0.50:
            return self._adjust()
        if (draw < 0.70 or not self._to_pick) and len(self._to_pick) < OPEN_LINES:
            return self._order()
        if (draw < 0.85 or not self._to_ship) and len(self._to_ship) < OPEN_LINES:
            return self._pick()
        return self._ship()

    def _item(self, n: int) -> str:
        return f"SKU-{n:07}"

    def _head(self, source: str) -> dict[str, Any]:
        self.number += 1
        at = START_MS + self.number
        return {
            "event_id": f"{source}:{self.number}",
            "source": source,
            "source_position": self.number,
            "occurred_at_ms": at,
            "recorded_at_ms": at,
            "trace_id": f"raw.{source}/0/{self.number}",
        }

    def _stock(self, item: str, site: str, units: int) -> dict[str, Any]:
        return {**self._head("wms"), "item": item, "site": site, "lot": None, "qty_milli": units * 1000, "uom": "EA"}

    def _anywhere(self) -> tuple[str, str]:
        n = self.rng.randrange(self.keys)
        return self._item(n), SITES[n % len(SITES)]

    def _any_of(self, lines: list[_Line]) -> _Line:
        n = self.rng.randrange(len(lines))
        lines[n], lines[-1] = lines[-1], lines[n]
        return lines.pop()

    def _receive(self) -> Any:
        item, site = self._anywhere()
        units = self.rng.randrange(10, 50)
        self.usable[item, site] = self.usable.get((item, site), 0) + units
        return say.StockReceived(
            **self._stock(item, site, units), status=Status.USABLE, expires_on=None, document=None, document_line=None
        )

    def _adjust(self) -> Any:
        item, site = self._anywhere()
        self.usable[item, site] = self.usable.get((item, site), 0) + 1
        return say.StockAdjusted(**self._stock(item, site, 1), status=Status.USABLE, reason="cycle count")

    def _order(self) -> Any:
        item, site = self._anywhere()
        units = self.rng.randrange(1, 5)
        order_id = f"web:{self.number}"
        self._to_pick.append((item, site, order_id, units))
        return say.RequestAllocation(
            **self._head("orders"),
            item=item,
            order_id=order_id,
            line=1,
            revision=1,
            wanted_milli=units * 1000,
            uom="EA",
            site=site,
            requested_on=None,
            channel="web",
            customer="C-1",
            priority=5,
            placed_at_ms=START_MS + self.number,
            is_firm=False,
            allow_partial=True,
            allow_backorder=True,
            shipped_milli=0,
            commit_position=0,
            instructed=[],
        )

    def _pick(self) -> Any:
        item, site, order_id, units = self._any_of(self._to_pick)
        self.usable[item, site] = self.usable.get((item, site), 0) - units
        self.staged[item, site] = self.staged.get((item, site), 0) + units
        self._to_ship.append((item, site, order_id, units))
        return say.StockPicked(**self._stock(item, site, units), order_id=order_id, line=1, substitute_for=None)

    def _ship(self) -> Any:
        item, site, order_id, units = self._any_of(self._to_ship)
        self.staged[item, site] -= units
        return say.StockShipped(**self._stock(item, site, units), order_id=order_id, line=1, shipment=f"S-{order_id}")
