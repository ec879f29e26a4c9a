"""Shipments of an order line, matched to its picks: the earliest shipment first, whatever the order in which they were told.

What the picks do not reach is picked by implication, when it shipped: it left usable stock then. All shipments before the first
unpicked one are covered, all after it are not, so a new fact looks only at those between its own place and that one.
"""

from __future__ import annotations

from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import StockShipped
from tables.inventory.demand_line import LineBook
from tables.inventory.item_ledger import Book
from tables.inventory.state import Shipment, ShipmentLine, Unpicked

Place = tuple[int, str]  # of a shipment among a line's from a site: when it left, event id
_END = (2**62, "")


def ship(book: Book, line: LineBook, e: StockShipped, lot: str, qty: int) -> tuple[int | None, int]:
    """Units of a shipment's line left. Returns what it was held to be before (none if it is new) and what it is now.

    Raises `AlreadyApplied` for what was told before, or by a newer message.
    """
    key = (book.item, e.order_id, e.line, e.site, e.shipment, lot, e.part)
    held = book.tables.shipment_lines.get(key)
    if held is None:
        row = ShipmentLine(e.occurred_at_ms, e.event_id, qty, e.occurred_at_ms, e.source_position)
    else:
        is_newer = (e.occurred_at_ms, e.source_position) > (held.told_at_ms, held.told_position)
        if not is_newer and e.occurred_at_ms >= held.at_ms:
            raise AlreadyApplied
        row = replace(held, at_ms=min(held.at_ms, e.occurred_at_ms))
        if is_newer:
            row = replace(row, qty_milli=qty, told_at_ms=e.occurred_at_ms, told_position=e.source_position)
    book.tables.shipment_lines[key] = row
    was = None if held is None else held.qty_milli
    if held is None or (held.at_ms, held.qty_milli) != (row.at_ms, row.qty_milli):
        if held is not None and held.qty_milli:
            _take_out(book, line, e.site, (held.at_ms, held.event_id))
        if row.qty_milli:
            _put_in(book, line, e.site, (row.at_ms, row.event_id), lot, row.qty_milli, is_new=held is None)
    return was, row.qty_milli


def picked_more(book: Book, line: LineBook, site: str) -> None:
    """More was picked than before: shipments that were picked by implication were picked by it."""
    place, before = _first_unpicked(book, line, site)
    _match(book, line, site, place, before)


def _first_unpicked(book: Book, line: LineBook, site: str) -> tuple[Place, int]:
    """The place of the first shipment that is not covered by picks, and the units shipped before it."""
    row = book.tables.unpicked.get((book.item, line.order_id, line.number, site))
    return (_END, line.at(site).shipped_milli) if row is None else ((row.at_ms, row.event_id), row.before_milli)


def _put_in(book: Book, line: LineBook, site: str, place: Place, lot: str, qty: int, *, is_new: bool) -> None:
    at_ms, event_id = place
    if is_new:
        book.move(site, "staged", lot, -qty, at_ms=at_ms, event_id=event_id)
    else:
        book.amend(site, "staged", lot, 0, -qty, at_ms=at_ms, event_id=event_id)
    done, (first, before) = line.at(site), _first_unpicked(book, line, site)
    row = Shipment(lot, qty, 0)
    line.execute(replace(done, shipped_milli=done.shipped_milli + qty))
    if place > first:
        row = replace(row, implied_milli=qty)
        _imply(book, site, place, row, 0, qty)
    book.tables.shipments[(book.item, line.order_id, line.number, site, at_ms, event_id)] = row
    if place < first and (first != _END or done.shipped_milli + qty > done.picked_milli):
        later = sum([other.qty_milli for _, other in _between(book, line, site, place, first)]) - qty
        _match(book, line, site, place, before - later)


def _take_out(book: Book, line: LineBook, site: str, place: Place) -> None:
    at_ms, event_id = place
    key = (book.item, line.order_id, line.number, site, at_ms, event_id)
    row = book.tables.shipments[key]
    done, (first, before) = line.at(site), _first_unpicked(book, line, site)
    _imply(book, site, place, row, row.implied_milli, 0)
    book.amend(site, "staged", row.lot, -row.qty_milli, 0, at_ms=at_ms, event_id=event_id)
    del book.tables.shipments[key]
    line.execute(replace(done, shipped_milli=done.shipped_milli - row.qty_milli))
    if first != _END and place <= first:
        _match(book, line, site, first, before - (row.qty_milli if place < first else 0))


def _between(book: Book, line: LineBook, site: str, low: Place, high: Place) -> list[tuple[Place, Shipment]]:
    """Shipments from one place on, before another."""
    prefix = (book.item, line.order_id, line.number, site)
    return [((key[4], key[5]), row) for key, row in book.tables.shipments.range((*prefix, *low), (*prefix, *high))]


def _match(book: Book, line: LineBook, site: str, start: Place, before: int) -> None:
    """Match shipments from a place on to what the picks leave for them: all before it are covered and add up to `before`."""
    picked = line.at(site).picked_milli
    prefix = (book.item, line.order_id, line.number, site)
    first: Unpicked | None = None
    changed: list[tuple[Place, Shipment, int]] = []
    for key, row in book.tables.shipments.range((*prefix, *start), (*prefix, *_END)):
        implied = min(row.qty_milli, max(0, before + row.qty_milli - picked))
        if first is None and implied:
            first = Unpicked(key[4], key[5], before)
        if implied != row.implied_milli:
            changed.append(((key[4], key[5]), row, implied))
        elif first is not None and implied == row.qty_milli:
            break  # so are all after it
        before += row.qty_milli
    for place, row, implied in changed:
        _imply(book, site, place, row, row.implied_milli, implied)
        book.tables.shipments[(*prefix, *place)] = replace(row, implied_milli=implied)
    if first is not None:
        book.tables.unpicked[prefix] = first
    elif prefix in book.tables.unpicked:
        del book.tables.unpicked[prefix]


def _imply(book: Book, site: str, place: Place, row: Shipment, old: int, new: int) -> None:
    """So many units of a shipment were picked by implication, when it left: from usable to staged."""
    at_ms, event_id = place
    book.amend(site, "usable", row.lot, -old, -new, at_ms=at_ms, event_id=event_id)
    book.amend(site, "staged", row.lot, old - row.qty_milli, new - row.qty_milli, at_ms=at_ms, event_id=event_id)
