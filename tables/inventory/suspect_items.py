"""Suspicion: an item with a quarantined message, or one that waits, may be wrong until it is settled, and its answers say so."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Event
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import ErpLineDoubted, ItemSuspected, SuspicionCleared
from tables.common.policy import Policy
from tables.common.raise_exception import cleared, note
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_ledger import ItemLedger
from tables.inventory.state import PromiseTables, Suspicion

LINE = "erp-line:"
SHOWN = 20  # dead letters named in an answer


def item_suspected(p: Policy, t: PromiseTables, e: ItemSuspected) -> Iterator[PromiseEmit]:
    """Mark the item's answers. What waits has an exception of its own, one for all items: none is noted for each."""
    if (e.item, e.dead_letter_id) in t.suspects:
        raise AlreadyApplied
    t.suspects[(e.item, e.dead_letter_id)] = Suspicion(e.reason, e.is_waiting)
    yield from update_marks(p, t, e, e.item)
    if e.is_waiting:
        return
    sentence = f"numbers of {e.item} may be wrong: {e.dead_letter_id} is in quarantine ({e.reason})"
    yield note(e, "suspect_item", f"suspect:{e.item}", sentence, item=e.item)


def suspicion_cleared(p: Policy, t: PromiseTables, e: SuspicionCleared) -> Iterator[PromiseEmit]:
    """The message was replayed, or what waited was settled."""
    current = t.suspects.get((e.item, e.dead_letter_id))
    if current is None:
        raise AlreadyApplied
    del t.suspects[(e.item, e.dead_letter_id)]
    yield from update_marks(p, t, e, e.item)
    if not current.is_waiting:
        yield from trusted(t, e, e.item)


def erp_line_doubted(p: Policy, t: PromiseTables, e: ErpLineDoubted) -> Iterator[PromiseEmit]:
    """An order or purchase line of the item's may be gone in the ERP; or that is settled."""
    key = (e.item, f"{LINE}{e.line}")
    if (key in t.suspects) == e.is_doubted:
        raise AlreadyApplied
    if e.is_doubted:
        t.suspects[key] = Suspicion("the ERP's new snapshot has not read this line")
        yield from update_marks(p, t, e, e.item)
        return
    del t.suspects[key]
    yield from update_marks(p, t, e, e.item)
    yield from trusted(t, e, e.item)


def trusted(t: PromiseTables, e: Event, item: str) -> Iterator[PromiseEmit]:
    """The exception is over once nothing of which it tells raises doubt."""
    if all(row.is_waiting for _, row in t.suspects.under(item)):
        yield cleared(e, f"suspect:{item}")


def update_marks(p: Policy, t: PromiseTables, e: Event, item: str) -> Iterator[PromiseEmit]:
    """Have the item's answers say what raises doubt."""
    ledger = ItemLedger(p, t, item, e)
    names = []
    for key, _ in t.suspects.under(item):
        names.append(key[1])
        if len(names) == SHOWN:
            break
    ledger.overview = replace(ledger.overview, suspects=tuple(names))
    yield from ledger.close()
