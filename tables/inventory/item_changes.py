"""What a change of master data means for promises: safety stock, hold and discontinuation apply from that event on."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.inventory import ItemChanged
from tables.common.policy import Policy
from tables.inventory.allocation import review
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, known_item
from tables.inventory.item_master import item_changed as kept
from tables.inventory.state import PromiseTables


def item_changed(p: Policy, t: PromiseTables, e: ItemChanged) -> Iterator[PromiseEmit]:
    """Keep the master row, then look at the item's backorders with it."""
    yield from kept(t, e)
    ledger = ItemLedger(p, t, e.item, e)
    item = known_item(t, e.item)
    if item is not None:
        yield from review(ledger, item)
    yield from ledger.close("item master")
