"""The ERP's tables about items as wholes: truncated ones, and items not read again when a new history of its database began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schemas.base import ErpRow
from schemas.errors import AlreadyApplied
from schemas.inventory import ErpBalanceChanged, ErpItemsNews, ItemChanged, PriceChanged, ReviewErpItems, SiteChanged
from tables.common.cdc_rows import caused_by
from tables.common.cdc_tables import HISTORY, check_table, gone, is_gone, is_unread, next_rows, noted
from tables.common.cdc_unread import count, counted, is_unread_row, start_count
from tables.common.policy import Policy
from tables.common.table import Table
from tables.inventory import item_changes, stock_movements
from tables.inventory.emits import PromiseEmit
from tables.inventory.item_master import price_changed as price_kept
from tables.inventory.item_master import site_changed
from tables.inventory.state import PromiseTables, Suspicion
from tables.inventory.suspect_items import trusted, update_marks

DOUBT = "erp-history:"
_TABLES = ("item", "item_price", "inventory_balance", "site")
Rule = Callable[[Policy, PromiseTables, Any], Iterator[PromiseEmit]]


def erp_items_news(p: Policy, t: PromiseTables, e: ErpItemsNews) -> Iterator[PromiseEmit]:
    """Note the news; the items it concerns are worked off from the first on."""
    check_table(_TABLES, e)
    for name in noted(t.erp_tables, _TABLES, e):
        if e.what == HISTORY and name == "site":
            continue
        found = next_rows(_table(t, name), "")[0]
        if e.what == HISTORY:
            start_count(t.erp_tables, name, found)
        if found and name == "site":
            yield from _delete(p, t, _review(e, name, ""), found)  # every partition has all sites, and they are few
        elif found:
            yield _review(e, name, found[0][0][0])


def review_erp_items(p: Policy, t: PromiseTables, e: ReviewErpItems) -> Iterator[PromiseEmit]:
    """Look at a table's next rows: count and doubt those not read again, delete those that are gone."""
    check_table(_TABLES, e)
    found, after = next_rows(_table(t, e.table), e.item)
    if e.what == HISTORY:
        yield from count(t.erp_tables, e, e.item, found, after)
        if e.table in ("item", "inventory_balance"):
            yield from _doubt(p, t, e, found)
    else:
        yield from _delete(p, t, e, found)
    if after is not None:
        yield _review(e, e.table, after)


def _doubt(p: Policy, t: PromiseTables, e: ReviewErpItems, found: list[tuple[Any, Any]]) -> Iterator[PromiseEmit]:
    table = t.erp_tables.get((e.table,))
    for item in dict.fromkeys([key[0] for key, row in found if is_unread_row(row, table)]):
        doubt = (item, f"{DOUBT}{e.history}")
        if doubt not in t.suspects:
            t.suspects[doubt] = Suspicion("the ERP's new snapshot has not read all its rows")
            yield from update_marks(p, t, e, item)


def item_changed(p: Policy, t: PromiseTables, e: ItemChanged) -> Iterator[PromiseEmit]:
    """The master row changed; that may settle the doubt about the item."""
    yield from counted(t.erp_tables, "item", t.items, (e.item,), e, item_changes.item_changed(p, t, e))
    yield from _reread(p, t, e, e.item)


def erp_balance_changed(p: Policy, t: PromiseTables, e: ErpBalanceChanged) -> Iterator[PromiseEmit]:
    """The ERP's balance changed; that may settle the doubt about the item."""
    rule = stock_movements.erp_balance_changed(p, t, e)
    yield from counted(t.erp_tables, "inventory_balance", t.erp_balances, (e.item, e.site), e, rule)
    yield from _reread(p, t, e, e.item)


def price_changed(p: Policy, t: PromiseTables, e: PriceChanged) -> Iterator[PromiseEmit]:
    """A price changed."""
    key = (e.item, e.price_list, e.currency, e.valid_from)
    yield from counted(t.erp_tables, "item_price", t.prices, key, e, price_kept(t, e))


def _reread(p: Policy, t: PromiseTables, e: ErpRow, item: str) -> Iterator[PromiseEmit]:
    """Trust an item again once all its rows were read in the newest history."""
    tables = (t.erp_tables.get(("item",)), t.erp_tables.get(("inventory_balance",)))
    if not any(table is not None and table.older for table in tables) or _is_doubtful(t, item):
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


def _site_changed(p: Policy, t: PromiseTables, e: SiteChanged) -> Iterator[PromiseEmit]:
    return site_changed(t, e)


_KINDS: dict[str, tuple[type[Any], tuple[str, ...], Rule]] = {
    "item": (ItemChanged, ("item",), item_changed),
    "item_price": (PriceChanged, ("item", "price_list", "currency", "valid_from"), price_changed),
    "inventory_balance": (ErpBalanceChanged, ("item", "site"), erp_balance_changed),
    "site": (SiteChanged, ("site",), _site_changed),
}


def _delete(p: Policy, t: PromiseTables, e: ReviewErpItems, found: list[tuple[Any, Any]]) -> Iterator[PromiseEmit]:
    kind, names, rule = _KINDS[e.table]
    table = t.erp_tables.get((e.table,))
    for key, row in found:
        if not row.is_deleted and is_gone(row.version, e, table):
            try:
                yield from rule(p, t, gone(kind, e, row.version, table, **dict(zip(names, key, strict=True))))
            except AlreadyApplied:
                continue


def _review(e: ErpItemsNews | ReviewErpItems, table: str, item: str) -> ReviewErpItems:
    return ReviewErpItems(
        **caused_by(e, f"erp:{table}:{e.what}:{e.source_position}:{e.part}:{item}"),
        table=table,
        what=e.what,
        epoch=e.epoch,
        history=e.history,
        commit_position=e.commit_position,
        part=e.part,
        item=item,
    )
