"""The people on the simulated warehouse floor: goods in, corrections, counts; and picking what the system has allocated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from infra.simulation.facts import RawMessage
from infra.simulation.feeds import BASE, StockPlace
from infra.simulation.world import MINUTE_MS, OpenLine, SimulatedWorld, Staged


@dataclass(frozen=True, slots=True)
class WarehousePeople:
    """The warehouse's people."""

    world: SimulatedWorld

    def opening(self) -> list[RawMessage]:
        """A count of everything."""
        w = self.world
        return [
            w.warehouse.counted(w.earlier(), w.place(kind, site), "usable", w.some(kind, 5, 40))
            for kind in w.items
            for site in w.wms_sites
        ]

    def stock(self) -> list[RawMessage]:
        """Goods in, corrections, counts of an hour ago: late, out of order, in packs."""
        return self.world.disorder([self._stock_event() for _ in range(self.world.random.randint(3, 8))])

    def _stock_event(self) -> RawMessage:
        w, dice = self.world, self.world.random
        kind, site, at_ms = dice.choice(w.items), dice.choice(w.wms_sites), w.earlier()
        place = w.place(kind, site)
        if dice.random() < 0.03 and kind.base_uom != "KG":
            return w.warehouse.miscounted(at_ms, place)
        if dice.random() < 0.02 and w.has_poison:
            w.met["record that breaks a rule"] += 1
            return w.warehouse.poisoned(at_ms, place)
        act = dice.choices(("receive", "adjust", "count", "move", "status"), (5, 4, 2, 2, 2))[0]
        if act == "receive":
            rows = w.erp.rows["purchase_order_line"].items()
            expected = [key for key, row in rows if (row["item_no"], row["site_code"]) == (kind.item, site)]
            po = dice.choice([None, *expected])
            unit = dice.choice((BASE, kind.pack))
            qty = w.some(kind, 1, 15) if unit is BASE else Decimal(dice.randint(1, 2))
            return w.warehouse.received(at_ms, place, qty, dice.choice(("usable", "usable", "quality")), unit, po)
        if act == "adjust":
            return w.warehouse.adjusted(at_ms, place, w.some(kind, 1, 6) * dice.choice((1, -1)))
        if act == "count":
            return w.warehouse.counted(at_ms, place, dice.choice(("usable", "usable", "staged", "damaged")), w.some(kind, 0, 40))
        others = [other for other in w.wms_sites if other != site]
        if act == "move" and others:
            return w.warehouse.moved(at_ms, place, dice.choice(others), w.some(kind, 1, 5))
        changes = (("usable", "held"), ("held", "usable"), ("quality", "usable"), ("usable", "damaged"))
        before, after = dice.choice(changes)
        return w.warehouse.status_changed(at_ms, place, before, after, w.some(kind, 1, 5))

    def pick(self, lines: list[OpenLine]) -> list[RawMessage]:
        """The floor works on what is allocated: in full, in part, short, or with something else."""
        dice = self.world.random
        chosen = [line for line in lines if line.site in self.world.wms_sites and dice.random() < 0.6]
        return self.world.disorder([message for line in chosen for message in self._work(line)])

    def _work(self, line: OpenLine) -> list[RawMessage]:
        w, dice = self.world, self.world.random
        kind = next(kind for kind in w.items if kind.item == line.item)
        place, at_ms = w.place(kind, line.site), w.now_ms - dice.randint(0, 5) * MINUTE_MS
        found = []
        if dice.random() < 0.5:
            found.append(w.warehouse.released(at_ms, place, line.order_id, line.line, line.qty))
        how = dice.choices(("all", "part", "short", "substitute"), (6, 2, 2, 1))[0]
        if how == "substitute":
            other = w.place(dice.choice([other for other in w.items if other is not kind]), line.site)
            qty = w.some(next(k for k in w.items if k.item == other.item), 1, 3)
            self._stage(line, other, qty)
            return [*found, w.warehouse.substituted(at_ms, line.item, line.order_id, line.line, line.qty, other, qty)]
        part = line.qty if how == "all" or line.qty <= 1 else line.qty - 1
        short = line.qty - part if how == "short" else Decimal(0)
        self._stage(line, place, part)
        unit = w.counted_in(line.order_id, line.line, place, part, short)
        return [*found, w.warehouse.picked(at_ms, place, line.order_id, line.line, part, short, unit)]

    def _stage(self, line: OpenLine, place: StockPlace, qty: Decimal) -> None:
        self.world.staged.append(Staged(line.order_id, line.line, place, qty))

    def ship(self) -> list[RawMessage]:
        """What is staged leaves, order by order, sometimes in two shipments; some of it comes back."""
        w, dice = self.world, self.world.random
        found, kept = [], []
        at_ms = w.now_ms - dice.randint(0, 5) * MINUTE_MS
        groups: dict[tuple[str, str], list[Staged]] = {}
        for one in w.staged:
            groups.setdefault((one.order_id, one.place.site), []).append(one)
        for (order_id, _), ready in groups.items():
            if dice.random() < 0.3:
                kept.extend(ready)
                continue
            lines = []
            for one in ready:
                left = one.qty - 1 if one.qty > 1 and dice.random() < 0.2 else Decimal(0)
                lines.append((one.line, one.place, one.qty - left))
                if left:
                    kept.append(replace(one, qty=left))
            units = [w.counted_in(order_id, number, place, qty) for number, place, qty in lines]
            found.append(w.warehouse.shipped(at_ms, order_id, f"SH{w.number()}", lines, units))
            w.shipped.extend(Staged(order_id, *line) for line in lines)
            if dice.random() < 0.1:
                w.met["shipment sent again"] += 1
                found.append(w.warehouse.again(found[-1], w.now_ms))
        w.staged = kept
        back = [one for one in w.shipped if dice.random() < 0.1]
        returns = [w.warehouse.returned(w.now_ms, s.place, s.order_id, s.line, self._back(s)) for s in back]
        return [*found, *returns]

    def _back(self, sent: Staged) -> Decimal:
        """As much as left, or less; or by mistake more."""
        if self.world.random.random() < 0.3:
            self.world.met["more returned than shipped"] += 1
            return sent.qty + 2
        return min(sent.qty, Decimal(1))
