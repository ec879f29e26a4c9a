"""Whether an order line's price is the item's reference price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from schemas.errors import NotYet
from schemas.inventory import CheckPrice
from schemas.orders import PriceChecked
from schemas.quantity import MILLI
from tables.common.money import EXACT
from tables.common.policy import OrderPolicy
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import known_item
from tables.inventory.price_list import price_on
from tables.inventory.state import Item, PromiseTables

_FINEST = Decimal("1e-9")  # what an event's amount can hold


def check_price(p: OrderPolicy, t: PromiseTables, e: CheckPrice) -> Iterator[PromiseEmit]:
    """Compare the price of `uom` with the item's reference: the list's newest price valid on the day, times the units of a pack.

    It matches if it differs by no more than `price_tolerance` of the reference. Where there is no reference (no price in that
    list on that day, or a unit the item does not have) there is nothing to compare, and it matches. A price in a currency the
    list does not have the item in cannot be compared, and does not match. A price without a currency is compared with the
    list's, if that has the item in one currency only, else it does not match either. A line that says no price is told the
    reference. Raises `NotYet` while the item is unknown.
    """
    item = known_item(t, e.item)
    if item is None:
        raise NotYet(f"UnknownItem(item={e.item!r}): the ERP has not sent this item; order {e.order_id} is checked when it does")
    listed = _listed(t, e.item, e.price_list, e.day)
    base = listed.get(e.currency) if e.currency else next(iter(listed.values())) if len(listed) == 1 else None
    units = _units_milli(item, e.uom)
    reference = None if base is None or units is None else _price_of(base, units)
    yield PriceChecked(
        event_id=f"price:{e.order_id}:{e.line}:{e.revision}",
        source="promise",
        source_position=e.revision,
        occurred_at_ms=e.occurred_at_ms,
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        order_id=e.order_id,
        line=e.line,
        revision=e.revision,
        item=e.item,
        unit_price=e.unit_price,
        currency=e.currency,
        reference=reference,
        is_match=e.is_unpriced or _is_match(e.unit_price, base, reference, p.price_tolerance, is_listed=bool(listed)),
        listed_in=sorted(listed),
    )


def _listed(t: PromiseTables, item: str, price_list: str, day: date) -> dict[str, Decimal]:
    """The newest price valid on the day, by currency."""
    currencies = [key[2] for key, _ in t.price_spans.under(item, price_list)]
    found = [(priced_in, price_on(t, (item, price_list, priced_in), day)) for priced_in in currencies]
    return {priced_in: price for priced_in, price in found if price is not None}


def _is_match(price: Decimal, base: Decimal | None, reference: Decimal | None, tolerance: Decimal, *, is_listed: bool) -> bool:
    if base is None:
        return not is_listed  # listed in other currencies only: a number of one says nothing about a number of another
    return reference is None or _is_within(price, reference, tolerance)


def _units_milli(item: Item, uom: str | None) -> int | None:
    """Thousandths of the base unit that one of the unit holds; none for a unit the item does not have."""
    if uom is None or uom == item.base_uom:
        return MILLI
    return item.pack_milli if uom == item.pack_uom and item.pack_milli else None


def _price_of(base: Decimal, units_milli: int) -> Decimal:
    return EXACT.quantize(EXACT.divide(EXACT.multiply(base, Decimal(units_milli)), Decimal(MILLI)), _FINEST)


def _is_within(price: Decimal, reference: Decimal, tolerance: Decimal) -> bool:
    return abs(EXACT.subtract(price, reference)) <= EXACT.multiply(tolerance, abs(reference))
