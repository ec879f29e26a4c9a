"""Shipments of an order line, matched to its picks: the earliest shipment first, whatever the order in which they were told.

What the picks do not reach is picked by implication, when it shipped: it left usable stock then. All shipments before the first
unpicked one are covered, all after it are not, so a new fact looks only at those between its own place and that one.
"""

from __future__ import annotations

from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import StockShipped
from tables.inventory.demand_line import DemandLine
from tables.inventory.item_ledger import ItemLedger
from tables.inventory.state import Shipment, ShipmentLine, Unpicked

Place = tuple[int, str]  # of a shipment among a line's from a site: when it left, event id
_END = (2**62, "")


def ship(ledger: ItemLedger, line: DemandLine, e: StockShipped, lot: str, qty: int) -> tuple[int | None, int]:
    """Units of a shipment's line left. Returns what it was held to be before (none if it is new) and what it is now.

    Raises `AlreadyApplied` for what was told before, or by a newer message.
    """
    key = (ledger.item, e.order_id, e.line, e.site, e.shipment, lot, e.part)
    current = ledger.tables.shipment_lines.get(key)
    if current is None:
        row = ShipmentLine(e.occurred_at_ms, e.event_id, qty, e.occurred_at_ms, e.source_position)
    else:
        is_newer = (e.occurred_at_ms, e.source_position) > (current.told_at_ms, current.told_position)
        if not is_newer and e.occurred_at_ms >= current.at_ms:
            raise AlreadyApplied
        row = replace(current, at_ms=min(current.at_ms, e.occurred_at_ms))
        if is_newer:
            row = replace(row, qty_milli=qty, told_at_ms=e.occurred_at_ms, told_position=e.source_position)
    ledger.tables.shipment_lines[key] = row
    was = None if current is None else current.qty_milli
    if current is None or (current.at_ms, current.qty_milli) != (row.at_ms, row.qty_milli):
        if current is not None and current.qty_milli:
            _take_out(ledger, line, e.site, (current.at_ms, current.event_id))
        if row.qty_milli:
            _put_in(ledger, line, e.site, (row.at_ms, row.event_id), lot, row.qty_milli, is_new=current is None)
    return was, row.qty_milli


def picked_more(ledger: ItemLedger, line: DemandLine, site: str) -> None:
    """More was picked than before: shipments that were picked by implication were picked by it."""
    place, before = _first_unpicked(ledger, line, site)
    _match(ledger, line, site, place, before)


def _first_unpicked(ledger: ItemLedger, line: DemandLine, site: str) -> tuple[Place, int]:
    """The place of the first shipment that is not covered by picks, and the units shipped before it."""
    row = ledger.tables.unpicked.get((ledger.item, line.order_id, line.number, site))
    return (_END, line.at(site).shipped_milli) if row is None else ((row.at_ms, row.event_id), row.before_milli)


def _put_in(ledger: ItemLedger, line: DemandLine, site: str, place: Place, lot: str, qty: int, *, is_new: bool) -> None:
    at_ms, event_id = place
    if is_new:
        ledger.move(site, "staged", lot, -qty, at_ms=at_ms, event_id=event_id)
    else:
        ledger.amend(site, "staged", lot, 0, -qty, at_ms=at_ms, event_id=event_id)
    done, (first, before) = line.at(site), _first_unpicked(ledger, line, site)
    row = Shipment(lot, qty, 0)
    line.execute(replace(done, shipped_milli=done.shipped_milli + qty))
    if place > first:
        row = replace(row, implied_milli=qty)
        _imply(ledger, site, place, row, 0, qty)
    ledger.tables.shipments[(ledger.item, line.order_id, line.number, site, at_ms, event_id)] = row
    if place < first and (first != _END or done.shipped_milli + qty > done.picked_milli):
        later = sum([other.qty_milli for _, other in _between(ledger, line, site, place, first)]) - qty
        _match(ledger, line, site, place, before - later)


def _take_out(ledger: ItemLedger, line: DemandLine, site: str, place: Place) -> None:
    at_ms, event_id = place
    key = (ledger.item, line.order_id, line.number, site, at_ms, event_id)
    row = ledger.tables.shipments[key]
    done, (first, before) = line.at(site), _first_unpicked(ledger, line, site)
    _imply(ledger, site, place, row, row.implied_milli, 0)
    ledger.amend(site, "staged", row.lot, -row.qty_milli, 0, at_ms=at_ms, event_id=event_id)
    del ledger.tables.shipments[key]
    line.execute(replace(done, shipped_milli=done.shipped_milli - row.qty_milli))
    if first != _END and place <= first:
        _match(ledger, line, site, first, before - (row.qty_milli if place < first else 0))


def _between(ledger: ItemLedger, line: DemandLine, site: str, low: Place, high: Place) -> list[tuple[Place, Shipment]]:
    """Shipments from one place on, before another."""
    prefix = (ledger.item, line.order_id, line.number, site)
    return [((key[4], key[5]), row) for key, row in ledger.tables.shipments.range((*prefix, *low), (*prefix, *high))]


def _match(ledger: ItemLedger, line: DemandLine, site: str, start: Place, before: int) -> None:
    """Match shipments from a place on to what the picks leave for them: all before it are covered and add up to `before`."""
    picked = line.at(site).picked_milli
    prefix = (ledger.item, line.order_id, line.number, site)
    first: Unpicked | None = None
    changed: list[tuple[Place, Shipment, int]] = []
    for key, row in ledger.tables.shipments.range((*prefix, *start), (*prefix, *_END)):
        implied = min(row.qty_milli, max(0, before + row.qty_milli - picked))
        if first is None and implied:
            first = Unpicked(key[4], key[5], before)
        if implied != row.implied_milli:
            changed.append(((key[4], key[5]), row, implied))
        elif first is not None and implied == row.qty_milli:
            break  # so are all after it
        before += row.qty_milli
    for place, row, implied in changed:
        _imply(ledger, site, place, row, row.implied_milli, implied)
        ledger.tables.shipments[(*prefix, *place)] = replace(row, implied_milli=implied)
    if first is not None:
        ledger.tables.unpicked[prefix] = first
    elif prefix in ledger.tables.unpicked:
        del ledger.tables.unpicked[prefix]


def _imply(ledger: ItemLedger, site: str, place: Place, row: Shipment, old: int, new: int) -> None:
    """So many units of a shipment were picked by implication, when it left: from usable to staged."""
    at_ms, event_id = place
    ledger.amend(site, "usable", row.lot, -old, -new, at_ms=at_ms, event_id=event_id)
    ledger.amend(site, "staged", row.lot, old - row.qty_milli, new - row.qty_milli, at_ms=at_ms, event_id=event_id)
