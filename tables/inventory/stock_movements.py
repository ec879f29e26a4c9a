"""Stock: what the warehouse (or, where there is none, the ERP) says about units on hand.

Every rule reads: whose word counts here, how many base units is that, move them, close the book. A fact told twice raises
`AlreadyApplied`, a fact about an item the ERP has not sent raises `NotYet`.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.bounds import MAX_DAYS
from schemas.errors import AlreadyApplied, NotYet
from schemas.frozen import Frozen
from schemas.inventory import (
    ErpBalanceChanged,
    StockAdjusted,
    StockCounted,
    StockEvent,
    StockMoved,
    StockReceived,
    StockReturned,
    StockStatusChanged,
)
from schemas.operations import ExceptionNoted
from tables.common.calendars import day_at, plan_day
from tables.common.policy import Policy
from tables.common.raise_exception import note
from tables.inventory.allocation import review
from tables.inventory.demand_line import DemandLine
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, check_site, known_item, unknown_item
from tables.inventory.item_master import store_erp_balance
from tables.inventory.returns import take_return
from tables.inventory.state import Item, PromiseTables
from tables.inventory.supply import receive
from tables.inventory.unconfirmed_shipments import counted, posted
from tables.inventory.units import UnknownUnit, convert, units_of


class OpenMovement(Frozen, frozen=True):
    """A warehouse fact ready to be applied: the item's master row, its book, the quantity in base units, the lot."""

    item: Item
    ledger: ItemLedger
    qty: int
    lot: str


def opened(p: Policy, t: PromiseTables, e: StockEvent, line: DemandLine | None = None) -> OpenMovement:
    """Open the book for a warehouse fact, told in the units of an order's line if it is about one.

    Raises `NotYet` for an unknown item or site and a unit the item does not have, `Refused` for what does not convert.
    """
    item = known_item(t, e.item)
    if item is None:
        raise unknown_item(e.item, f"{e.event_id} is retried")
    check_site(t, e.site, e.event_id, e.item)
    units = units_of(item) if line is None else line.measured(item)
    try:
        qty = convert(e.item, units, e.qty_milli, e.uom)
    except UnknownUnit as error:
        why = f"{error.reason} ({e.event_id} is applied when it has); {error.hint}"
        raise NotYet(why, items=(e.item,)) from error
    return OpenMovement(item, ItemLedger(p, t, e.item, e), qty, e.lot or "")


def not_the_owner(e: StockEvent, site: str) -> ExceptionNoted:
    """The exception for a warehouse fact about a site whose stock the ERP owns: it is not applied."""
    sentence = f"{e.source} says {type(e).__name__} of {e.item} at {site}, whose stock the ERP owns: not applied"
    return note(e, "authority_conflict", f"authority:{e.source}:stock:{site}:{e.item}", sentence, item=e.item)


def stock_received(p: Policy, t: PromiseTables, e: StockReceived) -> Iterator[PromiseEmit]:
    """Units arrived: on hand in their status, no longer expected on their purchase line."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    o.ledger.name_expiry(o.lot, plan_day(e.expires_on), e.occurred_at_ms)
    expires = _last_day(o, e)
    o.ledger.move(e.site, e.status, o.lot, o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id, expires_day=expires)
    if e.document is not None:
        receive(o.ledger, t, e.document, e.document_line or 0, o.qty)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"received on {e.document}" if e.document else "received")


def _last_day(o: OpenMovement, e: StockReceived) -> int | None:
    """The lot's last day: the one said, else by the item's shelf life; none if it is unknown or never comes."""
    if e.expires_on is not None:
        return plan_day(e.expires_on)
    shelf_life = o.item.shelf_life_days
    if not o.lot or shelf_life is None or not 0 <= shelf_life <= MAX_DAYS:
        return None
    return day_at(e.occurred_at_ms, o.ledger.zone(e.site)) + shelf_life


def stock_adjusted(p: Policy, t: PromiseTables, e: StockAdjusted) -> Iterator[PromiseEmit]:
    """A signed correction."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    o.ledger.move(e.site, e.status, o.lot, o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"adjusted: {e.reason}")


def stock_moved(p: Policy, t: PromiseTables, e: StockMoved) -> Iterator[PromiseEmit]:
    """Units left one site for another."""
    for site in (e.site, e.to_site):
        if p.site(site).physical_owner != "wms":
            yield not_the_owner(e, site)
            return
    check_site(t, e.to_site, e.event_id, e.item)
    o = opened(p, t, e)
    source = t.balances.get((e.item, e.site, e.status, o.lot))
    expires = source.expires_day if source is not None else None
    o.ledger.move(e.site, e.status, o.lot, -o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id)
    o.ledger.move(e.to_site, e.status, o.lot, o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id + ">", expires_day=expires)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"moved from {e.site} to {e.to_site}")


def stock_status_changed(p: Policy, t: PromiseTables, e: StockStatusChanged) -> Iterator[PromiseEmit]:
    """Units changed status where they are."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    source = t.balances.get((e.item, e.site, e.from_status, o.lot))
    expires = source.expires_day if source is not None else None
    o.ledger.move(e.site, e.from_status, o.lot, -o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id)
    o.ledger.move(e.site, e.to_status, o.lot, o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id + ">", expires_day=expires)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close(f"{e.from_status} to {e.to_status}")


def stock_counted(p: Policy, t: PromiseTables, e: StockCounted) -> Iterator[PromiseEmit]:
    """A snapshot replaces the balance as of its instant; later movements are applied again."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    o = opened(p, t, e)
    is_named = o.ledger.name_expiry(o.lot, plan_day(e.expires_on), e.occurred_at_ms)
    try:
        o.ledger.count(e.site, e.status, o.lot, o.qty, at_ms=e.occurred_at_ms, position=e.source_position)
    except AlreadyApplied:
        if not is_named:
            raise  # else it is an old count, but the newest word on the lot's last day
    if e.status == "usable" and not o.lot:
        counted(o.ledger, e.site, e.occurred_at_ms)
    yield from review(o.ledger, o.item)
    yield from o.ledger.close("counted")


def stock_returned(p: Policy, t: PromiseTables, e: StockReturned) -> Iterator[PromiseEmit]:
    """Units came back: into `quality`, where nobody can be promised them. Those of an order's line no more than had left."""
    if p.site(e.site).physical_owner != "wms":
        yield not_the_owner(e, e.site)
        return
    held = None if e.order_id is None or e.line is None else t.demands.get((e.item, e.order_id, e.line))
    line = None if held is None else DemandLine(e.order_id or "", e.line or 0, held)
    o = opened(p, t, e, line)
    if e.order_id is not None and e.line is not None:
        yield from take_return(o.ledger, e, e.order_id, e.line, o.lot, o.qty)
    else:
        o.ledger.move(e.site, "quality", o.lot, o.qty, at_ms=e.occurred_at_ms, event_id=e.event_id)
    yield from o.ledger.close(f"returned from {e.order_id}" if e.order_id else "returned")


def erp_balance_changed(p: Policy, t: PromiseTables, e: ErpBalanceChanged) -> Iterator[PromiseEmit]:
    """The ERP's balance: kept for reconciliation, and physical truth where the site has no WMS.

    Raises `NotYet` where it would make stock of an item or at a site that the ERP has not sent.
    """
    is_stock = p.site(e.site).physical_owner == "erp"
    if is_stock and not e.is_deleted:
        check_site(t, e.site, e.event_id, e.item)
        if known_item(t, e.item) is None:
            raise unknown_item(e.item, f"its balance at {e.site} is taken")
    row = store_erp_balance(t, e)
    if not is_stock:
        return
    ledger = ItemLedger(p, t, e.item, e)
    ledger.set_on_hand(e.site, 0 if row.is_deleted else row.on_hand_milli)
    posted(ledger, e.site, row.version.commit_position)
    item = known_item(t, e.item)
    if item is not None:
        yield from review(ledger, item)
    yield from ledger.close("the ERP's balance")
