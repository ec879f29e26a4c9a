"""The simulated warehouse and channels: what they say, as their bytes, next to what it means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from infra.simulation.facts import ChangeFact, Execution, OrderFact, RawMessage, WantedLine, WmsFact

POISON = "breaks what must hold"
Move = tuple[str, str, str, str, Decimal]


@dataclass(frozen=True, slots=True)
class WireUnit:
    """A unit on the wire: `name` none is the base unit, `size` base units to one."""

    name: str | None = None
    size: Decimal = Decimal(1)


BASE = WireUnit()


@dataclass(frozen=True, slots=True)
class StockPlace:
    """An item at a site, with a lot where it is tracked."""

    item: str
    site: str
    lot: str | None = None

    def at(self, status: str, qty: Decimal) -> Move:
        """A movement here."""
        return (self.item, self.site, status, self.lot or "", qty)


class WarehouseFeed:
    """Numbers its events and says them in JSON. `qty` is in `unit`; what is meant is in base units."""

    def __init__(self) -> None:
        self.sequence = 0

    def received(
        self, at_ms: int, place: StockPlace, qty: Decimal, status: str, unit: WireUnit = BASE, po: tuple[str, int] | None = None
    ) -> RawMessage:
        """Goods in, of a purchase line or of none."""
        base = qty * unit.size
        reference = None if po is None else {"po": po[0], "line": po[1]}
        body = {**_stock(place, qty, unit), "status": status, "reference": reference}
        receipt = None if po is None else (po[0], po[1], base)
        return self._say("stock.received", at_ms, place.site, body, moves=(place.at(status, base),), receipt=receipt)

    def miscounted(self, at_ms: int, place: StockPlace) -> RawMessage:
        """Half a piece came in."""
        body = {**_stock(place, Decimal("0.5"), BASE), "status": "usable", "reference": None}
        return self._say("stock.received", at_ms, place.site, body, refused_for=place.item)

    def adjusted(self, at_ms: int, place: StockPlace, qty: Decimal, unit: WireUnit = BASE) -> RawMessage:
        """A correction of usable stock."""
        body = {**_stock(place, qty, unit), "status": "usable", "reason": "cycle count"}
        return self._say("stock.adjusted", at_ms, place.site, body, moves=(place.at("usable", qty * unit.size),))

    def poisoned(self, at_ms: int, place: StockPlace) -> RawMessage:
        """A correction no rule can apply (see `person.breakable`)."""
        body = {**_stock(place, Decimal(1), BASE), "status": "usable", "reason": POISON}
        return self._say("stock.adjusted", at_ms, place.site, body, refused_for=place.item)

    def uncounted(self, at_ms: int, place: StockPlace) -> RawMessage:
        """Goods in, in a unit the item does not have."""
        body = {**_stock(place, Decimal(1), WireUnit("PAL")), "status": "usable", "reference": None}
        return self._say("stock.received", at_ms, place.site, body, moves=(place.at("usable", Decimal(0)),), is_uncounted=True)

    def again(self, message: RawMessage, at_ms: int) -> RawMessage:
        """The same words as an event of its own: they mean nothing new."""
        body = json.loads(message.value or b"")
        kind, site = body.pop("type"), body.pop("site")
        for name in ("event_id", "sequence", "occurred_at"):
            del body[name]
        return self._say(kind, at_ms, site, body)

    def moved(self, at_ms: int, place: StockPlace, to_site: str, qty: Decimal) -> RawMessage:
        """From site to site."""
        there = StockPlace(place.item, to_site, place.lot)
        moves = (place.at("usable", -qty), there.at("usable", qty))
        return self._say("stock.moved", at_ms, place.site, {**_stock(place, qty, BASE), "to_site": to_site}, moves=moves)

    def status_changed(self, at_ms: int, place: StockPlace, before: str, after: str, qty: Decimal) -> RawMessage:
        """From status to status."""
        body = {**_stock(place, qty, BASE), "from_status": before, "to_status": after}
        return self._say("stock.status_changed", at_ms, place.site, body, moves=(place.at(before, -qty), place.at(after, qty)))

    def counted(self, at_ms: int, place: StockPlace, status: str, qty: Decimal, unit: WireUnit = BASE) -> RawMessage:
        """The balance as of an instant."""
        body = {**_stock(place, qty, unit), "status": status}
        return self._say("stock.snapshot", at_ms, place.site, body, count=place.at(status, qty * unit.size))

    def released(self, at_ms: int, place: StockPlace, order_id: str, line: int, qty: Decimal) -> RawMessage:
        """A line went to the floor."""
        return self._say("pick.released", at_ms, place.site, {**_stock(place, qty, BASE), "order": order_id, "line": line})

    def picked(
        self, at_ms: int, place: StockPlace, order_id: str, line: int, qty: Decimal, short: Decimal, unit: WireUnit = BASE
    ) -> RawMessage:
        """A pick, with what was not there: quantities are base units, said in `unit`."""
        body = {**_stock(place, qty / unit.size, unit), "order": order_id, "line": line}
        kind = "pick.completed"
        if short > 0:
            kind, body = "pick.short", {**body, "qty_short": plain(short / unit.size)}
        moves = (place.at("usable", -qty - short), place.at("staged", qty))
        done = Execution(order_id, line, place.item, qty, short=short)
        return self._say(kind, at_ms, place.site, body, moves=moves, executions=(done,))

    def substituted(
        self, at_ms: int, item: str, order_id: str, line: int, qty: Decimal, other: StockPlace, other_qty: Decimal
    ) -> RawMessage:
        """Another item was picked instead. The lot is the substitute's."""
        body = {**_stock(StockPlace(item, other.site, other.lot), qty, BASE), "order": order_id, "line": line}
        body |= {"substitute_item": other.item, "substitute_qty": str(other_qty)}
        moves = (other.at("usable", -other_qty), other.at("staged", other_qty))
        done = Execution(order_id, line, item, qty, substitute_item=other.item, substitute_qty=other_qty)
        return self._say("pick.substituted", at_ms, other.site, body, moves=moves, executions=(done,))

    def shipped(
        self,
        at_ms: int,
        order_id: str,
        shipment: str,
        lines: Sequence[tuple[int, StockPlace, Decimal]],
        units: Sequence[WireUnit],
    ) -> RawMessage:
        """A shipment of several lines left one site: quantities are base units, each said in its unit."""
        site = lines[0][1].site
        named = [{"line": n, **_stock(p, qty / u.size, u)} for (n, p, qty), u in zip(lines, units, strict=True)]
        body = {"order": order_id, "shipment": shipment, "carrier": "UPS", "tracking": "1Z" + shipment, "lines": named}
        moves = tuple(place.at("staged", -qty) for _, place, qty in lines)
        done = tuple(Execution(order_id, line, place.item, qty) for line, place, qty in lines)
        return self._say("shipment.confirmed", at_ms, site, body, moves=moves, executions=done)

    def returned(self, at_ms: int, place: StockPlace, order_id: str, line: int, qty: Decimal) -> RawMessage:
        """Goods came back: they stand in quality."""
        body = {**_stock(place, qty, BASE), "order": order_id, "line": line}
        done = Execution(order_id, line, place.item, qty)
        return self._say("return.received", at_ms, place.site, body, moves=(place.at("quality", qty),), executions=(done,))

    def _say(self, kind: str, at_ms: int, site: str, body: dict[str, Any], **meaning: Any) -> RawMessage:
        self.sequence += 1
        event_id = f"W-{self.sequence}"
        told = {"event_id": event_id, "sequence": self.sequence, "type": kind, "site": site, "occurred_at": instant(at_ms)}
        fact = WmsFact(event_id, self.sequence, kind, at_ms, **meaning)
        return RawMessage("raw.wms", None, json.dumps(told | body).encode(), (), fact, "applied")


def placed(channel: str, ref: str, at_ms: int, fact: OrderFact, units: Sequence[WireUnit], price: str = "12.50") -> RawMessage:
    """A channel's order. `units`: what each line is counted in. `price`: of lines of which the fact has none, per unit."""
    prices = [price if w.price is None else plain(w.price * u.size) for w, u in zip(fact.lines, units, strict=True)]
    lines = [
        {
            "line": w.line,
            "item": w.item,
            "qty": plain(w.qty / u.size),
            "uom": u.name,
            "unit_price": prices.pop(0),
            "currency": "USD",
        }
        | ({} if w.site is None else {"site": w.site})
        for w, u in zip(fact.lines, units, strict=True)
    ]
    policy = {"partial": fact.partial, "backorder": fact.backorder, "substitute": True}
    body = {
        "channel": channel,
        "external_ref": ref,
        "customer": fact.customer,
        "placed_at": instant(at_ms),
        "requested_date": None if fact.requested_on is None else fact.requested_on.isoformat(),
        "policy": policy,
        "lines": lines,
    }
    return RawMessage(f"raw.channel.{channel}", ref.encode(), json.dumps(body).encode(), (), fact, "applied")


def changed(channel: str, ref: str, fact: ChangeFact) -> RawMessage:
    """A channel's change of its order."""
    body: dict[str, Any] = {"channel": channel, "external_ref": ref, "change": fact.kind, "changed_at": instant(fact.at_ms)}
    if fact.line is not None:
        body["line"] = fact.line
    if fact.kind == "set_qty":
        body["qty"] = plain(fact.qty)
    return RawMessage(f"raw.channel.{channel}", ref.encode(), json.dumps(body).encode(), (), fact, "applied")


def wanted(line: int, item: str, qty: Decimal, site: str | None = None) -> WantedLine:
    """A line as the channel wants it."""
    return WantedLine(line, item, qty, site)


def garbage(topic: str, value: bytes | None) -> RawMessage:
    """Bytes nobody can read: they have to be quarantined."""
    return RawMessage(topic, b"garbage", value, (), None, "dead-lettered")


def instant(at_ms: int) -> str:
    """An instant as the feeds write it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(at_ms: int) -> date:
    """The UTC day of an instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def plain(qty: Decimal) -> str:
    """A quantity without exponent or trailing zeros."""
    return format(qty.normalize(), "f")


def _stock(place: StockPlace, qty: Decimal, unit: WireUnit) -> dict[str, Any]:
    return {"item": place.item, "lot": place.lot, "qty": str(qty), "uom": unit.name}
