"""Deadlines: what a Tick sets off. A rule books them (`ItemLedger.deadline`), the first Tick at or after the instant works them
off.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Tick
from tables.common.policy import Policy
from tables.inventory import reservations
from tables.inventory.allocation import review
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger, known_item
from tables.inventory.state import PromiseTables
from tables.inventory.unconfirmed_shipments import posting_overdue

WORKED_AT_ONCE = 500  # a Tick's work is bounded: what is left is still due at the next


def tick(p: Policy, t: PromiseTables, e: Tick) -> Iterator[PromiseEmit]:
    """Expire reservations, forget answered requests, and roll items into a new day (past-due supply, expired lots)."""
    due = []
    for key, _ in t.deadlines.range((-(2**62), "", "", ""), (e.occurred_at_ms + 1, "", "", "")):
        due.append(key)
        if len(due) == WORKED_AT_ONCE:
            break
    by_item: dict[str, list[tuple[int, str, str, str]]] = {}
    for key in due:
        del t.deadlines[key]
        by_item.setdefault(key[2], []).append(key)
    for name, keys in by_item.items():
        ledger = ItemLedger(p, t, name, e)
        ledger.now_ms = max(ledger.now_ms, e.occurred_at_ms)
        for _, what, _, id_ in keys:
            if what == "reservation":
                reservations.expire(ledger, id_)
            elif what == "request":
                reservations.forget(ledger, id_)
            elif what == "posting":
                overdue = posting_overdue(ledger, id_)
                if overdue is not None:
                    yield overdue
            else:
                ledger.roll(id_)
        item = known_item(t, name)
        if item is not None:
            yield from review(ledger, item)
        yield from ledger.close(", ".join(sorted({f"{what} due" for _, what, _, _ in keys})))
