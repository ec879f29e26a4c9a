"""What the warehouse does with the orders: release, pick, short, substitute, ship, and take back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from random import Random
from typing import Any

from schemas.quantity import MILLI, show
from streams.demo.world import HOUR_MS, MINUTE_MS, Fact, OpenLine, Plan, dice, lot_of

_STARTS_MS = 8 * HOUR_MS
_DAY_MS = 4 * HOUR_MS
_CARRIERS = ("UPS", "FedEx", "DHL", "Schenker")


class Floor:
    """Generates the execution of allocated lines, order by order, site by site."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rng = dice(plan, "execution")
        self._items = {item.item: item for item in plan.items}
        self._shipments = 0

    def facts(self, open_lines: Sequence[OpenLine]) -> Iterator[Fact]:
        """Facts of each order in the order they happen. A tenth of the orders is left for tomorrow."""
        ordered = sorted(open_lines, key=lambda line: (line.order_id, line.site, line.line, line.item))
        parcels = [list(lines) for _, lines in groupby(ordered, key=lambda line: (line.order_id, line.site))]
        self._rng.shuffle(parcels)
        for n, lines in enumerate(parcels):
            if self._rng.random() < 0.9:
                yield from self._parcel(lines, self._plan.start_ms + _STARTS_MS + n * _DAY_MS // len(parcels))

    def _parcel(self, lines: list[OpenLine], at_ms: int) -> Iterator[Fact]:
        for line in lines:
            yield self._fact(at_ms, "pick.released", line, self._line(line, line.qty_milli))
        at_ms += self._rng.randint(10, 20) * MINUTE_MS
        picked: list[dict[str, Any]] = []
        for line in lines:
            for fact, shipped in self._pick(line, at_ms):
                yield fact
                picked += [shipped] if shipped else []
            at_ms += MINUTE_MS
        if picked and self._rng.random() < 0.92:
            yield from self._ship(lines[0], picked, at_ms + 30 * MINUTE_MS)

    def _pick(self, line: OpenLine, at_ms: int) -> list[tuple[Fact, dict[str, Any] | None]]:
        """Facts of picking one line, each with what it adds to the shipment."""
        chance = self._rng.random()
        if chance < 0.06:
            some = _part(self._rng, line.qty_milli)
            body = self._line(line, some) | {"qty_short": show(line.qty_milli - some)}
            return [(self._fact(at_ms, "pick.short", line, body), self._to_ship(line, some) if some else None)]
        substitute = self._substitute(line)
        if chance < 0.10 and substitute is not None:
            body = self._line(line, line.qty_milli) | {
                "lot": None,
                "substitute_item": substitute,
                "substitute_qty": show(line.qty_milli),
            }
            shipped = {"line": line.line, "item": substitute, "qty": show(line.qty_milli), "lot": None}
            return [(self._fact(at_ms, "pick.substituted", line, body), shipped)]
        first = _part(self._rng, line.qty_milli) if chance < 0.15 else 0
        return [
            (self._fact(at_ms, "pick.completed", line, self._line(line, milli)), self._to_ship(line, milli))
            for milli in (first, line.qty_milli - first)
            if milli
        ]

    def _ship(self, line: OpenLine, picked: list[dict[str, Any]], at_ms: int) -> Iterator[Fact]:
        cut = self._rng.randint(1, len(picked) - 1) if len(picked) > 1 and self._rng.random() < 0.15 else len(picked)
        for parcel in (picked[:cut], picked[cut:]):
            if not parcel:
                continue
            self._shipments += 1
            body = {
                "site": line.site,
                "order": line.order_id,
                "shipment": f"S{self._plan.seed % 10_000:04d}{self._shipments:06d}",
                "carrier": self._rng.choice(_CARRIERS),
                "tracking": f"1Z{self._rng.randrange(10**12):012d}",
                "lines": parcel,
            }
            yield self._fact(at_ms, "shipment.confirmed", line, body)
            at_ms += 20 * MINUTE_MS
        for shipped in picked:
            if self._rng.random() < 0.04:
                body = shipped | {"site": line.site, "order": line.order_id}
                yield self._fact(at_ms + HOUR_MS, "return.received", line, body)

    def _substitute(self, line: OpenLine) -> str | None:
        ordered = self._items.get(line.item)
        if ordered is None:
            return None
        others = [i.item for i in self._plan.items if i.uom == ordered.uom and i.item != line.item and not i.is_lot_tracked]
        return self._rng.choice(others) if others else None

    def _line(self, line: OpenLine, milli: int) -> dict[str, Any]:
        body = self._to_ship(line, milli) | {"site": line.site, "order": line.order_id}
        return body | {"uom": line.uom} if line.uom else body

    def _to_ship(self, line: OpenLine, milli: int) -> dict[str, Any]:
        return {"line": line.line, "item": line.item, "qty": show(milli), "lot": lot_of(self._items.get(line.item), line.site)}

    def _fact(self, at_ms: int, kind: str, line: OpenLine, body: dict[str, Any]) -> Fact:
        return Fact(at_ms, "wms", kind, line.order_id, {"type": kind, **body})


def _part(rng: Random, milli: int) -> int:
    """Less than all of it, in whole units where all of it is whole; 0 if it has no part."""
    step = MILLI if milli % MILLI == 0 else 1
    return rng.randint(0, milli // step - 1) * step
