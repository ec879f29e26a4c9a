"""What feeds say that nobody expects: places, items and units nobody knows, days that mean none, a thing told under two names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from infra.simulation import feeds
from infra.simulation.facts import OrderFact, RawMessage, WmsFact
from infra.simulation.feeds import BASE, StockPlace, WireUnit
from infra.simulation.world import CHANNELS, ItemKind, SimulatedWorld, money

NO_DAYS = (date.min, date(1900, 1, 1), date.max)
"""Days that mean "unknown" or "never"."""
SITES = ("DC-1", "DC 2", "Z9")
ITEMS = tuple(ItemKind(name, "EA", BASE, ()) for name in ("NEW-1", "NEW-2", "SKU-l"))


@dataclass(frozen=True, slots=True)
class Strays:
    """Whoever mistypes. Some of what he names the ERP has one day, some never."""

    world: SimulatedWorld

    def warehouse(self) -> list[RawMessage]:
        """A few strange messages of the warehouse."""
        acts: tuple[Callable[[], list[RawMessage]], ...] = (
            self._elsewhere, self._elsewhere, self._moved, self._new_item, self._no_unit, self._no_status, self._padded,
            self._same_number, self._shipped_again, self._never_expires,
        )  # fmt: skip
        dice = self.world.random
        return [message for _ in range(dice.randint(1, 4)) for message in dice.choice(acts)()]

    def _place(self) -> tuple[ItemKind, StockPlace]:
        w = self.world
        kind = w.random.choice(w.items)
        return kind, w.place(kind, w.random.choice(w.wms_sites))

    def _elsewhere(self) -> list[RawMessage]:
        """Goods at a site that the ERP does not have, or not yet."""
        w, (kind, place) = self.world, self._place()
        w.met["mistyped site"] += 1
        place = replace(place, site=w.random.choice(SITES))
        if w.random.random() < 0.5:
            return [w.warehouse.counted(w.earlier(), place, "usable", w.some(kind, 0, 20))]
        return [w.warehouse.received(w.earlier(), place, w.some(kind, 1, 9), "usable")]

    def _moved(self) -> list[RawMessage]:
        w, (kind, place) = self.world, self._place()
        w.met["moved to a mistyped site"] += 1
        return [w.warehouse.moved(w.earlier(), place, w.random.choice(SITES), w.some(kind, 1, 4))]

    def _new_item(self) -> list[RawMessage]:
        w, (_, place) = self.world, self._place()
        w.met["unknown item"] += 1
        kind = w.random.choice(ITEMS)
        return [w.warehouse.received(w.earlier(), StockPlace(kind.item, place.site), w.some(kind, 1, 9), "usable")]

    def _no_unit(self) -> list[RawMessage]:
        """In pallets, which no item has."""
        w, (_, place) = self.world, self._place()
        w.met["unknown unit"] += 1
        return [w.warehouse.uncounted(w.earlier(), place)]

    def _no_status(self) -> list[RawMessage]:
        w, (_, place) = self.world, self._place()
        w.met["unknown status"] += 1
        message = w.warehouse.received(w.earlier(), place, Decimal(1), "lost")
        return [replace(message, fact=None, fate="dead-lettered")]

    def _padded(self) -> list[RawMessage]:
        """Codes as a database with columns of fixed length has them."""
        w, (kind, place) = self.world, self._place()
        w.met["padded code"] += 1
        message = w.warehouse.received(w.earlier(), place, w.some(kind, 1, 5), "usable")
        body = json.loads(message.value or b"")
        body |= {"item": f"{body['item']:<12}", "site": f"{body['site']:<6}"}
        return [replace(message, value=json.dumps(body).encode())]

    def _same_number(self) -> list[RawMessage]:
        """Another warehouse counts as the first does, and neither says which it is."""
        w, (kind, place) = self.world, self._place()
        used = [m.fact.sequence for m in w.delivered[-80:] if isinstance(m.fact, WmsFact)]
        if not used:
            return []
        w.met["message number of two warehouses"] += 1
        message = w.warehouse.received(w.earlier(), place, w.some(kind, 1, 5), "usable")
        body = json.loads(message.value or b"") | {"event_id": f"V-{w.number()}", "sequence": w.random.choice(used)}
        assert isinstance(message.fact, WmsFact)
        fact = replace(message.fact, event_id=body["event_id"], sequence=body["sequence"])
        return [replace(message, value=json.dumps(body).encode(), fact=fact)]

    def _shipped_again(self) -> list[RawMessage]:
        """A shipment under another event's id: it left once."""
        w = self.world
        sent = [m for m in w.delivered if isinstance(m.fact, WmsFact) and m.fact.kind == "shipment.confirmed"]
        if not sent:
            return []
        w.met["shipment sent again"] += 1
        return [w.warehouse.again(w.random.choice(sent), w.now_ms)]

    def _never_expires(self) -> list[RawMessage]:
        """A lot that expires on a day that means none."""
        w, (kind, place) = self.world, self._place()
        w.met["lot without a last day"] += 1
        message = w.warehouse.received(w.earlier(), place, w.some(kind, 1, 5), "usable")
        body = json.loads(message.value or b"") | {"expires_on": w.random.choice(NO_DAYS).isoformat()}
        return [replace(message, value=json.dumps(body).encode())]

    def orders(self) -> list[RawMessage]:
        """An order of what nobody has, or from where nobody is: nobody speaks of it again."""
        w, dice = self.world, self.world.random
        ref, kind = f"T{w.number()}", dice.choice(w.items)
        is_item = dice.random() < 0.5
        w.met["order of an unknown item" if is_item else "order from an unknown site"] += 1
        line = feeds.wanted(1, "TYPO" if is_item else kind.item, Decimal(2), None if is_item else "ZZ")
        fact = OrderFact(f"web:{ref}", "C-0", None, True, True, (line,))
        return [feeds.placed(CHANNELS[0], ref, w.now_ms, fact, (BASE,))]

    # --- what the ERP does about it ----------------------------------------------------------------------------------------

    def known_at_last(self) -> list[RawMessage]:
        """The ERP has a site or an item that was named before."""
        w, dice = self.world, self.world.random
        tx = w.erp.begin()
        sites = [code for code in SITES[:2] if (code,) not in w.erp.rows["site"]]
        kinds = [kind for kind in ITEMS[:2] if (kind.item,) not in w.erp.rows["item"]]
        if sites and dice.random() < 0.5:
            code = dice.choice(sites)
            w.met["site known at last"] += 1
            w.erp.put(tx, "site", {"site_code": code, "name": code, "timezone": dice.choice(("Asia/Tokyo", "Mars/Olympus"))})
        elif kinds:
            w.met["item known at last"] += 1
            w.erp.put(tx, "item", w.item_row(dice.choice(kinds)))
        w.erp.commit(tx)
        return self._all_of_erp()

    def repacked(self) -> list[RawMessage]:
        """From now on another number of pieces makes a pack; documents that are under way keep theirs."""
        w, dice = self.world, self.world.random
        packed = [kind for kind in w.items if kind.pack is not BASE]
        if not packed:
            return []
        w.met["pack size changed"] += 1
        last = next((item for item, _ in reversed(w.packs.values())), "")
        kind = next((kind for kind in packed if kind.item == last and dice.random() < 0.7), dice.choice(packed))
        size = dice.choice([Decimal(size) for size in (4, 6, 10, 12) if size != kind.pack.size])
        w.items[w.items.index(kind)] = replace(kind, pack=WireUnit(kind.pack.name, size))
        tx = w.erp.begin()
        w.erp.put(tx, "item", w.erp.rows["item"][(kind.item,)] | {"pack_qty": money(size)})
        w.erp.commit(tx)
        return self._all_of_erp()

    def in_packs(self) -> list[RawMessage]:
        """An order in packs, to be under way when they change."""
        w, dice = self.world, self.world.random
        packed = [kind for kind in w.items if kind.pack is not BASE]
        if not packed:
            return []
        ref, kind = f"X{w.number()}", dice.choice(packed)
        fact = OrderFact(
            f"web:{ref}", "C-0", None, True, True, (feeds.wanted(1, kind.item, kind.pack.size * dice.randint(1, 3)),)
        )
        w.sold("web", ref, fact, (kind.pack,))
        return [feeds.placed("web", ref, w.now_ms, fact, (kind.pack,))]

    def _all_of_erp(self) -> list[RawMessage]:
        w = self.world
        rest, w.heard = w.erp.stream[w.heard :], len(w.erp.stream)
        return w.interleave(rest)
