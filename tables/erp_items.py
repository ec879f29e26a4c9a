"""The ERP's tables about items as wholes: truncated ones, and items not read again when a new history of its database began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas.base import ErpRow
from schemas.errors import AlreadyApplied
from schemas.inventory import ErpBalanceChanged, ErpItemsNews, ItemChanged, PriceChanged, ReviewErpItems, SiteChanged
from tables import inventory, masters
from tables.erp_rows import caused_by
from tables.erp_tables import HISTORY, began, check_table, gone, is_cut, is_unread, next_rows, truncated
from tables.items import price_changed, site_changed
from tables.policy import Policy
from tables.promise import PromiseTables, Suspicion
from tables.suspicion import trusted, update_marks
from tables.table import Table

DOUBT = "erp-history:"
_TABLES = ("item", "item_price", "inventory_balance", "site")
Rule = Callable[[Policy, PromiseTables, Any], Iterator[Any]]


def erp_items_news(p: Policy, t: PromiseTables, e: ErpItemsNews) -> Iterator[Any]:
    """Note the news; the items it concerns are worked off from the first on."""
    check_table(_TABLES, e)
    if e.what == HISTORY:
        doubted = [name for name in began(t.erp_tables, _TABLES, e) if name != "site"]
        found = next_rows(t.items, "")[0] if doubted else []
    else:
        e = truncated(t.erp_tables, e)
        found = next_rows(_table(t, e.table), "")[0]
    if found and e.table == "site" and e.what != HISTORY:
        yield from _delete(p, t, _review(e, ""), found)  # every partition has all sites, and they are few
    elif found:
        yield _review(e, found[0][0][0])


def review_erp_items(p: Policy, t: PromiseTables, e: ReviewErpItems) -> Iterator[Any]:
    """Look at the next items: doubt those not read again, delete rows from before a truncation."""
    check_table(_TABLES, e)
    if e.what == HISTORY:
        found, after = next_rows(t.items, e.item)
        for key, _ in found:
            if _is_doubtful(t, key[0]) and (key[0], f"{DOUBT}{e.history}") not in t.suspects:
                t.suspects[(key[0], f"{DOUBT}{e.history}")] = Suspicion("the ERP's new snapshot has not read all its rows")
                yield from update_marks(p, t, e, key[0])
    else:
        found, after = next_rows(_table(t, e.table), e.item)
        yield from _delete(p, t, e, found)
    if after is not None:
        yield _review(e, after)


def item_changed(p: Policy, t: PromiseTables, e: ItemChanged) -> Iterator[Any]:
    """The master row changed; that may settle the doubt about the item."""
    yield from masters.item_changed(p, t, e)
    yield from _reread(p, t, e, e.item)


def erp_balance_changed(p: Policy, t: PromiseTables, e: ErpBalanceChanged) -> Iterator[Any]:
    """The ERP's balance changed; that may settle the doubt about the item."""
    yield from inventory.erp_balance_changed(p, t, e)
    yield from _reread(p, t, e, e.item)


def _reread(p: Policy, t: PromiseTables, e: ErpRow, item: str) -> Iterator[Any]:
    """Trust an item again once all its rows were read in the newest history."""
    table = t.erp_tables.get(("item",))
    if table is None or not table.older or _is_doubtful(t, item):
        return
    doubts = [key[1] for key, _ in t.suspects.under(item) if key[1].startswith(DOUBT)]
    if doubts:
        for doubt in doubts:
            del t.suspects[(item, doubt)]
        yield from update_marks(p, t, e, item)
        yield from trusted(t, e, item)


def _is_doubtful(t: PromiseTables, item: str) -> bool:
    """Whether a living row of the item has not been heard of since its table's newest history began."""
    row = t.items.get((item,))
    if row is not None and not row.is_deleted and is_unread(row.version, t.erp_tables.get(("item",))):
        return True
    balances = t.erp_tables.get(("inventory_balance",))
    if balances is None or not balances.older:
        return False
    return any(not held.is_deleted and is_unread(held.version, balances) for _, held in t.erp_balances.under(item))


def _table(t: PromiseTables, name: str) -> Table[Any, Any]:
    tables: dict[str, Table[Any, Any]] = {
        "item": t.items,
        "item_price": t.prices,
        "inventory_balance": t.erp_balances,
        "site": t.sites,
    }
    return tables[name]


def _plain(rule: Callable[[PromiseTables, Any], Iterator[Any]]) -> Rule:
    def with_policy(p: Policy, t: PromiseTables, e: Any) -> Iterator[Any]:
        return rule(t, e)

    return with_policy


_KINDS: dict[str, tuple[type[Any], tuple[str, ...], Rule]] = {
    "item": (ItemChanged, ("item",), masters.item_changed),
    "item_price": (PriceChanged, ("item", "price_list", "currency", "valid_from"), _plain(price_changed)),
    "inventory_balance": (ErpBalanceChanged, ("item", "site"), inventory.erp_balance_changed),
    "site": (SiteChanged, ("site",), _plain(site_changed)),
}


def _delete(p: Policy, t: PromiseTables, e: ReviewErpItems, found: list[tuple[Any, Any]]) -> Iterator[Any]:
    kind, names, rule = _KINDS[e.table]
    whole = t.erp_tables.get((e.table,))
    for key, row in found:
        if not row.is_deleted and is_cut(row.version, e, whole):
            try:
                yield from rule(p, t, gone(kind, e, row.version, whole, **dict(zip(names, key, strict=True))))
            except AlreadyApplied:
                continue


def _review(e: ErpItemsNews | ReviewErpItems, item: str) -> ReviewErpItems:
    return ReviewErpItems(
        **caused_by(e, f"erp:{e.table}:{e.what}:{e.source_position}:{item}"),
        table=e.table,
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        item=item,
    )
