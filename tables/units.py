"""Quantities in an item's base unit, exactly."""

from __future__ import annotations

from schemas.errors import Refused
from schemas.quantity import MILLI, show
from tables.promise import Item

DIVISIBLE = frozenset(
    {"KG", "G", "MG", "T", "LB", "OZ", "L", "ML", "CL", "GAL", "QT", "M", "CM", "MM", "KM", "FT", "IN", "YD", "M2", "M3", "H"}
)


def to_base(item: Item, qty_milli: int, uom: str | None) -> int:
    """Thousandths of `uom` as thousandths of the item's base unit.

    Raises `Refused` for a unit the item does not have, for a remainder that does not convert, and for a fraction of a base
    unit that cannot be divided (a piece). The ERP's own balances do not pass here: they are facts, fractions and all.
    """
    if uom is None or uom == item.base_uom:
        base = qty_milli
    elif uom == item.pack_uom and item.pack_milli:
        product = qty_milli * item.pack_milli
        if product % MILLI:
            raise Refused(
                f"{show(qty_milli)} {uom} of item {item.item} are no whole number of thousandths of a {item.base_uom}",
                hint=f"send the quantity in {item.base_uom}",
            )
        base = product // MILLI
    else:
        known = item.base_uom if not item.pack_uom else f"{item.base_uom} or {item.pack_uom}"
        raise Refused(
            f"item {item.item} has no unit {uom}", hint=f"send the quantity in {known}, or add the unit to the item in the ERP"
        )
    if base % MILLI and item.base_uom not in DIVISIBLE:
        raise Refused(
            f"{show(qty_milli)} {uom or item.base_uom} is {show(base)} {item.base_uom}; {item.item} comes whole",
            hint="send a whole number",
        )
    return base
