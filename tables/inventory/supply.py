"""Supply: what is expected in, by purchase or transfer line."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import SupplyChanged
from tables.common.calendars import plan_day
from tables.common.policy import Policy
from tables.inventory.allocation import review
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, check_site, known_item, unknown_item
from tables.inventory.state import OpenSupply, PromiseTables

_UNKNOWN = OpenSupply(0, "", "", 0, 0, 0, None, False)


def open_units(row: OpenSupply) -> int:
    """What a line still brings: ordered less received, by the warehouse's own count or the ERP's, whichever is more."""
    return max(0, row.ordered_milli - max(row.received_milli, row.erp_received_milli)) if row.is_open else 0


def _book(ledger: ItemLedger, row: OpenSupply, sign: int) -> None:
    units, day = open_units(row), plan_day(row.expected_on)
    if units and day is not None:
        ledger.expect(row.site, day, sign * units)


def supply_changed(p: Policy, t: PromiseTables, e: SupplyChanged) -> Iterator[PromiseEmit]:
    """The line as it is now; promises made on it are reviewed. Raises `NotYet` for an unknown item or site."""
    key = (e.item, e.document, e.line)
    current = t.supplies.get(key) or _UNKNOWN
    if e.revision <= current.revision:
        raise AlreadyApplied
    if e.is_open:
        check_site(t, e.site, e.event_id, e.item)
        if known_item(t, e.item) is None:
            raise unknown_item(e.item, f"{e.document} is expected")
    ledger = ItemLedger(p, t, e.item, e)
    _book(ledger, current, -1)
    row = OpenSupply(
        e.revision, e.site, e.supplier, e.ordered_milli, e.received_milli, current.received_milli, e.expected_on, e.is_open
    )
    _book(ledger, row, 1)
    t.supplies[key] = row
    item = known_item(t, e.item)
    if item is not None:
        yield from review(ledger, item)
    yield from ledger.close(f"supply {e.document} line {e.line}")


def receive(ledger: ItemLedger, t: PromiseTables, document: str, line: int, qty: int) -> None:
    """The warehouse received units of a line: they are expected no longer (also if the line itself is told later)."""
    key = (ledger.item, document, line)
    current = t.supplies.get(key) or _UNKNOWN
    _book(ledger, current, -1)
    row = replace(current, received_milli=current.received_milli + qty)
    _book(ledger, row, 1)
    t.supplies[key] = row
