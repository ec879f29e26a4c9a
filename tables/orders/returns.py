"""What counts as returned of a line: no more than had left, in all and of each lot, as in `tables.inventory.returns` for
stock.
"""

from __future__ import annotations

from tables.orders.state import Line, OrderTables


def returned_milli(t: OrderTables, order_id: str, number: int, line: Line, by_erp_milli: int) -> int:
    """Units of a line that left and came back, substitutes by what they serve. `by_erp_milli`: shipped as the ERP has it."""
    others = list(t.substitutes.under(order_id, number))
    if not line.executed.returned_milli and not any(other.returned_milli for _, other in others):
        return 0
    substitutes = {key[2] for key, _ in others}
    own = _accepted(t, order_id, number, substitutes, None, max(line.executed.shipped_milli, by_erp_milli))
    return own + sum([other.serves(of_substitute(t, order_id, number, key[2])) for key, other in others])


def of_own(t: OrderTables, order_id: str, number: int, line: Line) -> int:
    """Units of the line's own item that left and came back."""
    if not line.executed.returned_milli:
        return 0
    substitutes = {key[2] for key, _ in t.substitutes.under(order_id, number)}
    return _accepted(t, order_id, number, substitutes, None, max(line.executed.shipped_milli, line.shipped_milli))


def of_substitute(t: OrderTables, order_id: str, number: int, item: str) -> int:
    """Units of a substitute that left and came back."""
    other = t.substitutes[order_id, number, item]
    return _accepted(t, order_id, number, set(), item, other.shipped_milli) if other.returned_milli else 0


def _accepted(t: OrderTables, order_id: str, number: int, substitutes: set[str], item: str | None, shipped: int) -> int:
    """`item` none: all that is not a substitute, by any number the line's item has had."""
    rows = [(key[2], key[3], lot) for key, lot in t.lots.under(order_id, number)]
    rows = [row for row in rows if (row[0] == item if item is not None else row[0] not in substitutes)]
    unnamed = sum([lot.shipped_milli for _, name, lot in rows if not name])
    unnamed = max(unnamed, shipped - sum([lot.shipped_milli for _, _, lot in rows]))  # what only the ERP tells of has no lot
    back = sum([lot.returned_milli for _, name, lot in rows if not name])
    back += sum([min(lot.returned_milli, lot.shipped_milli + unnamed) for _, name, lot in rows if name])
    return min(back, shipped)
