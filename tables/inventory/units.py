"""Quantities in an item's base unit, exactly."""

from __future__ import annotations

from schemas.errors import Refused
from schemas.quantity import MAX_MILLI, MILLI, show
from tables.inventory.state import Item, Units

DIVISIBLE = frozenset(
    {"KG", "G", "MG", "T", "LB", "OZ", "L", "ML", "CL", "GAL", "QT", "M", "CM", "MM", "KM", "FT", "IN", "YD", "M2", "M3", "H"}
)


class UnknownUnit(Refused):
    """A unit the item does not have (yet)."""


def units_of(item: Item) -> Units:
    """The units an item has now."""
    return Units(item.base_uom, item.pack_uom, item.pack_milli)


def to_base(item: Item, qty_milli: int, uom: str | None) -> int:
    """Thousandths of `uom` as thousandths of the item's base unit, as the item master has it now.

    Raises `Refused` for a unit the item does not have, for a remainder that does not convert, and for a fraction of a base
    unit that cannot be divided (a piece). The ERP's own balances do not pass here: they are facts, fractions and all.
    """
    return convert(item.item, units_of(item), qty_milli, uom)


def convert(item: str, units: Units, qty_milli: int, uom: str | None) -> int:
    """As `to_base`, by the units of a document."""
    if uom is None or uom == units.base_uom:
        base = qty_milli
    elif uom == units.pack_uom and units.pack_milli:
        product = qty_milli * units.pack_milli
        if product % MILLI:
            raise Refused(
                f"{show(qty_milli)} {uom} of item {item} are not a whole number of thousandths of a {units.base_uom}",
                hint=f"send the quantity in {units.base_uom}",
            )
        base = product // MILLI
    else:
        known = units.base_uom if not units.pack_uom else f"{units.base_uom} or {units.pack_uom}"
        raise UnknownUnit(
            f"item {item} has no unit {uom}", hint=f"send the quantity in {known}, or add the unit to the item in the ERP"
        )
    if not -MAX_MILLI <= base <= MAX_MILLI:
        raise Refused(
            f"{show(qty_milli)} {uom or units.base_uom} is {show(base)} {units.base_uom} of {item}, which is out of range",
            hint="a quantity is at most 10^12 base units: correct the quantity, or the pack of the item in the ERP",
        )
    if base % MILLI and units.base_uom not in DIVISIBLE:
        raise Refused(
            f"{show(qty_milli)} {uom or units.base_uom} is {show(base)} {units.base_uom}; {item} comes whole",
            hint="send a whole number",
        )
    return base
