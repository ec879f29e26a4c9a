"""A small distribution business from a seed: its items, sites and systems, and what the people who work them need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Protocol

from infra.simulation import feeds
from infra.simulation.erp import Database
from infra.simulation.facts import OrderFact, RawMessage
from infra.simulation.feeds import BASE, StockPlace, WarehouseFeed, WireUnit

START_MS = 1_793_631_600_000  # 2026-11-02T15:00:00Z
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
ZONES = (("DC1", "America/New_York"), ("DC2", "America/Los_Angeles"), ("EU1", "Europe/Amsterdam"))
ODD_ZONES = ("Mars/Olympus", "", "Eastern Standard Time", " America/New_York  ")
NEVER = date.max
CHANNELS = ("web", "edi", "marketplace")
ERP_CHANNELS = {"web": "WEB", "edi": "EDI", "marketplace": "MKT"}


def money(value: Decimal | int) -> Decimal:
    """As the ERP keeps quantities: numeric(14,3)."""
    return Decimal(value).quantize(Decimal("0.001"))


@dataclass(frozen=True, slots=True)
class ItemKind:
    """An item as the world knows it."""

    item: str
    base_uom: str
    pack: WireUnit
    lots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenLine:
    """Units allocated to an order line at a site and not picked yet, as the system under test says."""

    order_id: str
    line: int
    item: str
    site: str
    qty: Decimal


class SystemView(Protocol):
    """What the world's people see of the system under test."""

    def open_lines(self) -> list[OpenLine]:
        """Units to pick, in a fixed order."""
        ...

    def alive_reservations(self) -> list[tuple[str, str]]:
        """(reservation, item) of reservations that were granted and not given back, in a fixed order."""
        ...


@dataclass(frozen=True, slots=True)
class Staged:
    """Units picked for a line and not shipped yet."""

    order_id: str
    line: int
    place: StockPlace
    qty: Decimal


@dataclass(slots=True)
class SimulatedWorld:
    """The systems and what is known of their history. `erp_sites`: sites without a WMS. `heard`: the connector's position.

    `has_poison`: records come that break a rule (see `person.breakable`).
    """

    seed: int
    random: Random = field(init=False)
    now_ms: int = START_MS
    has_poison: bool = True
    items: list[ItemKind] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    erp_sites: frozenset[str] = frozenset()
    erp: Database = field(default_factory=lambda: Database(now_ms=START_MS))
    warehouse: WarehouseFeed = field(default_factory=WarehouseFeed)
    orders: dict[str, tuple[str, str, OrderFact]] = field(default_factory=dict)
    packs: dict[tuple[str, int], tuple[str, WireUnit]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    staged: list[Staged] = field(default_factory=list)
    shipped: list[Staged] = field(default_factory=list)
    delivered: list[RawMessage] = field(default_factory=list)
    heard: int = 0
    numbers: int = 0
    met: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a seeded world, no secrets
        self._found()

    @property
    def wms_sites(self) -> list[str]:
        """Sites whose stock the WMS owns; there is always one."""
        return [site for site in self.sites if site not in self.erp_sites]

    def number(self) -> int:
        """A new number for a document."""
        self.numbers += 1
        return self.numbers

    def some(self, kind: ItemKind, low: int, high: int) -> Decimal:
        """A quantity in base units: whole for pieces, with thousandths for weights."""
        whole = Decimal(self.random.randint(low, high))
        return whole + Decimal(self.random.choice((0, 250, 125, 1))).scaleb(-3) if kind.base_uom == "KG" else whole

    def earlier(self, minutes: int = 120) -> int:
        """An instant in the recent past."""
        return self.now_ms - self.random.randint(0, minutes * MINUTE_MS)

    def day(self, ahead: int = 0) -> Any:
        """Today (UTC), or so many days ahead."""
        return feeds.day(self.now_ms) + timedelta(days=ahead)

    def place(self, kind: ItemKind, site: str) -> StockPlace:
        """The item at the site, in one of its lots."""
        return StockPlace(kind.item, site, self.random.choice(kind.lots) if kind.lots else None)

    def sold(self, channel: str, ref: str, fact: OrderFact, units: Sequence[WireUnit]) -> None:
        """A channel has placed an order, its lines in these units."""
        self.orders[fact.order_id] = (channel, ref, fact)
        for line, unit in zip(fact.lines, units, strict=True):
            if unit is not BASE:
                self.packs[fact.order_id, line.line] = (line.item, unit)

    def counted_in(self, order_id: str, line: int, place: StockPlace, *quantities: Decimal) -> WireUnit:
        """What the floor counts these units of a line in: often the packs they were ordered in, which are as large as then."""
        item, unit = self.packs.get((order_id, line), ("", BASE))
        if item != place.item or any(qty % unit.size for qty in quantities) or self.random.random() < 0.2:
            return BASE
        self.met["picked or shipped in packs"] += 1
        return unit

    def interleave(self, messages: Sequence[RawMessage]) -> list[RawMessage]:
        """The same messages, each topic and key in order, topics and keys in random turns."""
        queues: dict[tuple[str, bytes | None], list[RawMessage]] = {}
        for message in messages:
            queues.setdefault((message.topic, message.key), []).append(message)
        order = [name for name, queue in queues.items() for _ in queue]
        self.random.shuffle(order)
        turns = {name: iter(queue) for name, queue in queues.items()}
        return [next(turns[name]) for name in order]

    def disorder(self, messages: list[RawMessage]) -> list[RawMessage]:
        """Bounded disorder: a message may come up to three places late."""
        ranks = [(index + self.random.choice((0, 0, 0, 1.5, 3.5)), index) for index in range(len(messages))]
        return [messages[index] for _, index in sorted(ranks)]

    # --- the beginning -------------------------------------------------------------------------------------------------

    def _found(self) -> None:
        dice = self.random
        self.sites = [code for code, _ in ZONES[: dice.randint(1, 3)]]
        if len(self.sites) > 1 and dice.random() < 0.4:
            self.erp_sites = frozenset({self.sites[-1]})
        for number in range(1, dice.randint(4, 6)):
            pack = WireUnit("CS", Decimal(dice.choice((6, 12)))) if dice.random() < 0.5 else BASE
            lots = ("L1", "L2") if number == 1 and dice.random() < 0.4 else ()
            self.items.append(ItemKind(f"SKU-{number}", dice.choice(("EA", "EA", "KG")), pack, lots))
        tx = self.erp.begin()
        for code, zone in ZONES[: len(self.sites)]:
            is_odd = dice.random() < 0.15
            self.met["zone nobody knows, or by another name"] += is_odd
            row = {"site_code": code, "name": code, "timezone": dice.choice(ODD_ZONES) if is_odd else zone}
            self.erp.put(tx, "site", row)
        for kind in self.items:
            self.erp.put(tx, "item", self.item_row(kind))
            self.erp.put(tx, "item_price", self.price_row(kind.item))
            for site in self.sites:
                self.erp.put(tx, "inventory_balance", self.balance_row(kind.item, site, self.some(kind, 0, 40)))
        for number in range(2):
            self.erp.put(tx, "customer", self.customer_row(f"C-{number}"))
        self.erp.commit(tx)
        self.erp.stream.clear()

    def item_row(self, kind: ItemKind) -> dict[str, Any]:
        """An item master row."""
        return {
            "item_no": kind.item,
            "description": f"thing {kind.item}",
            "base_uom": kind.base_uom,
            "pack_uom": kind.pack.name,
            "pack_qty": None if kind.pack is BASE else money(kind.pack.size),
            "lot_tracked": bool(kind.lots),
            "shelf_life_days": self.random.choice((None, None, -1, 2**31 - 1)),
            "status": "A",
            "safety_stock": money(self.random.choice((0, 0, 0, 2))),
            "updated_at": self.now_ms * 1000,
        }

    def price_row(self, item: str) -> dict[str, Any]:
        """A price reference."""
        price = Decimal(self.random.randint(100, 99_999)).scaleb(-2).quantize(Decimal("0.0001"))
        key = {"price_list": "STD", "item_no": item, "currency": "USD"}
        return {
            **key,
            "unit_price": price,
            "valid_from": feeds.day(START_MS - 30 * 24 * HOUR_MS),
            "valid_to": self.random.choice((None, None, NEVER)),
        }

    def balance_row(self, item: str, site: str, on_hand: Decimal) -> dict[str, Any]:
        """The ERP's own balance."""
        row = {"site_code": site, "item_no": item, "on_hand": money(on_hand), "allocated": money(0), "on_order": money(0)}
        return row | {"row_version": self.number(), "updated_at": feeds.instant(self.now_ms)}

    def customer_row(self, customer: str) -> dict[str, Any]:
        """A customer master row."""
        limit = self.random.choice((None, Decimal("5000"), Decimal("1500.5")))
        names = {"customer_no": customer, "name": f"Customer {customer}", "tax_id": None, "email": None}
        return {**names, "credit_limit": limit, "credit_hold": False, "terms": "NET30 ", "price_list": "STD", "status": "A"}
