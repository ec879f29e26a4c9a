"""Returns of an order line, matched to what has shipped of it: no more comes back as stock than left, in all and of a lot.

The earliest return counts first, whatever the order in which returns and shipments were told. What is over is not stock: somebody
has to say where it came from, and counts it in then.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import StockReturned
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.quantity import show
from tables.common.raise_exception import cleared, note
from tables.inventory.item_ledger import ItemLedger
from tables.inventory.state import ReturnedUnits

Said = Iterator[ExceptionNoted | ExceptionCleared]


def take_return(ledger: ItemLedger, e: StockReturned, order_id: str, line: int, lot: str, qty: int) -> Said:
    """Units of a line came back. Raises `AlreadyApplied` for a return told before."""
    key = (ledger.item, order_id, line, e.occurred_at_ms, e.event_id)
    if key in ledger.tables.returns:
        raise AlreadyApplied
    ledger.tables.returns[key] = ReturnedUnits(e.site, lot, qty, 0)
    yield from match_returns(ledger, order_id, line, is_new=True)


def match_returns(ledger: ItemLedger, order_id: str, line: int, *, is_new: bool = False) -> Said:
    """Match a line's returns to its shipments anew, and say so if more came back than left, or no longer."""
    t = ledger.tables
    rows = list(t.returns.under(ledger.item, order_id, line))
    if not rows:
        return
    shipped: dict[str, int] = {}
    for _, parcel in t.shipments.under(ledger.item, order_id, line):
        shipped[parcel.lot] = shipped.get(parcel.lot, 0) + parcel.qty_milli
    left, of_lot = sum(shipped.values()), dict[str, int]()
    was_over = sum([row.qty_milli - row.accepted_milli for _, row in rows if not is_new or row.accepted_milli])
    over = 0
    for key, row in rows:
        here = left
        if row.lot:
            here = min(left, of_lot.setdefault(row.lot, shipped.get(row.lot, 0) + shipped.get("", 0)))
            of_lot[row.lot] -= min(row.qty_milli, here)
        taken = min(row.qty_milli, here)
        left, over = left - taken, over + row.qty_milli - taken
        if taken != row.accepted_milli or is_new:
            ledger.amend(row.site, "quality", row.lot, row.accepted_milli, taken, at_ms=key[3], event_id=key[4])
            t.returns[key] = replace(row, accepted_milli=taken)
    fingerprint = f"over_returned:{order_id}:{line}:{ledger.item}"
    if over:
        came, gone = show(sum([row.qty_milli for _, row in rows])), show(sum(shipped.values()))
        sentence = (
            f"Line {line} of order {order_id}: {came} of {ledger.item} came back, but {gone} had left"
            f"{' (counted by lot)' if of_lot else ''}; {show(over)} are not taken as stock."
        )
        yield note(ledger.event, "over_returned", fingerprint, sentence, item=ledger.item, order_id=order_id)
    elif was_over:
        yield cleared(ledger.event, fingerprint)
