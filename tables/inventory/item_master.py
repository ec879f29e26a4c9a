"""The ERP's master facts in the promise fold: items and their long texts, prices, the ERP's own balances, sites.

An item renumbered with its long text untouched arrives without it: the text stood in the row of the old number. The new item
asks the old one for the text it had at that change (`ItemTextRequested`); the old one answers once it has seen its own deletion
at that very position (`ItemTextProvided`), from then on for good, whatever becomes of the number. So the order in which the
two items' changes are heard makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.bounds import MAX_SUM_MILLI
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.inventory import (
    ErpBalanceChanged,
    ItemChanged,
    ItemTextProvided,
    ItemTextRequested,
    PriceChanged,
    SiteChanged,
)
from tables.common.calendars import is_zone
from tables.common.cdc_rows import accept, caused_by, merged_extra, unless_equal
from tables.common.raise_exception import cleared, note
from tables.common.row_version import Version
from tables.inventory.emits import PromiseEmit
from tables.inventory.price_list import index_price
from tables.inventory.state import ErpBalance, Item, OldText, PriceReference, PromiseTables, Site, TextRequest


def item_changed(t: PromiseTables, e: ItemChanged) -> Iterator[ItemTextRequested | ItemTextProvided]:
    """Keeps the item master's row, newest wins; asks for a text that was not sent."""
    current = t.items.get((e.item,))
    version = accept(current, e, t.erp_tables.get(("item",)))
    if e.is_deleted:
        yield from _item_deleted(t, e, current, version)
        return
    description, text_version, wanted_from = _text(current, e)
    row = replace(_item(e, version, merged_extra(current, e)), description=description, text_version=text_version)
    row = replace(row, text_wanted_from=wanted_from)
    unless_equal(current, row, e)
    t.items[(e.item,)] = row
    if wanted_from is not None and wanted_from == e.renumbered_from:
        yield ItemTextRequested(
            **caused_by(e, f"erp:item-text:{wanted_from}/{e.item}:{e.source_position}:requested"),
            item=wanted_from,
            new_item=e.item,
            commit_position=e.commit_position,
        )


def _item(e: ItemChanged, version: Version, extra: dict[str, str]) -> Item:
    return Item(
        item=e.item,
        version=version,
        is_deleted=e.is_deleted,
        description=e.description,
        text_version=version,
        text_wanted_from=None,
        base_uom=e.base_uom,
        pack_uom=e.pack_uom,
        pack_milli=e.pack_milli,
        lot_tracked=e.lot_tracked,
        shelf_life_days=e.shelf_life_days,
        status=e.status,
        safety_stock_milli=max(-MAX_SUM_MILLI, min(e.safety_stock_milli, MAX_SUM_MILLI)),
        hazmat_class=e.hazmat_class,
        updated_at=e.updated_at,
        extra=extra,
    )


def _text(current: Item | None, e: ItemChanged) -> tuple[str | None, Version, str | None]:
    """The item's long text after the change, the change it is from, and whom it has to be asked of."""
    at = Version() if e.is_base else Version(e.commit_position, e.source_position)
    if not e.description_is_unavailable:
        is_confirmed = (
            e.is_read and current is not None and current.text_wanted_from is None and current.description == e.description
        )
        return e.description, current.text_version if current and is_confirmed else at, None
    if e.renumbered_from is not None:
        return None, at, e.renumbered_from
    return (current.description, current.text_version, current.text_wanted_from) if current else (None, Version(), None)


def _item_deleted(t: PromiseTables, e: ItemChanged, current: Item | None, version: Version) -> Iterator[ItemTextProvided]:
    row = replace(current, version=version, is_deleted=True) if current else _item(e, version, {})
    wanted_since = row.text_version if row.text_wanted_from is not None else None
    t.items[(e.item,)] = row
    t.old_texts[(e.item, e.source_position)] = OldText(row.description, wanted_since)
    if wanted_since is None:
        yield from _answer(t, e, e.item, e.source_position, row.description)


def item_text_requested(t: PromiseTables, e: ItemTextRequested) -> Iterator[ItemTextProvided]:
    """Answers with the text the item had at its deletion, now or as soon as that is known."""
    key = (e.item, e.source_position)
    request = TextRequest(e.new_item, Version(e.commit_position, e.source_position))
    if t.text_requests.get(key) == request:
        raise AlreadyApplied(f"{e.event_id}: this text is asked for already")
    t.text_requests[key] = request
    text = t.old_texts.get(key)
    if text is not None and text.wanted_since is None:
        yield from _answer(t, e, e.item, e.source_position, text.description)


def _answer(
    t: PromiseTables, e: ItemChanged | ItemTextRequested | ItemTextProvided, item: str, position: int, text: str | None
) -> Iterator[ItemTextProvided]:
    request = t.text_requests.get((item, position))
    if request is None:
        return
    del t.text_requests[(item, position)]
    event_id = f"erp:item-text:{item}/{request.new_item}:{position}:provided"
    yield ItemTextProvided(
        **caused_by(e, event_id) | {"source_position": position},
        item=request.new_item,
        old_item=item,
        commit_position=request.version.commit_position,
        description=text,
    )


def item_text_provided(t: PromiseTables, e: ItemTextProvided) -> Iterator[ItemTextProvided]:
    """Takes the text where it is still wanted, and hands it on to whom this item has been renumbered to since."""
    since = Version(e.commit_position, e.source_position)
    row = t.items.get((e.item,))
    is_wanted = row is not None and row.text_wanted_from == e.old_item and row.text_version == since
    if row is not None and is_wanted:
        t.items[(e.item,)] = replace(row, description=e.description, text_wanted_from=None)
    for key, old in list(t.old_texts.under(e.item)):
        if old.wanted_since == since:
            is_wanted = True
            t.old_texts[key] = OldText(e.description, None)
            yield from _answer(t, e, e.item, key[1], e.description)
    if not is_wanted:
        raise AlreadyApplied(f"{e.event_id}: item {e.item} has a newer text of its own, or this one already")


def price_changed(t: PromiseTables, e: PriceChanged) -> Iterator[PromiseEmit]:
    """Keeps a price reference, newest wins."""
    key = (e.item, e.price_list, e.currency, e.valid_from)
    current = t.prices.get(key)
    row = PriceReference(
        accept(current, e, t.erp_tables.get(("item_price",))), e.is_deleted, e.unit_price, e.valid_to, merged_extra(current, e)
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.prices[key] = row
    index_price(t, (e.item, e.price_list, e.currency), e.valid_from)
    yield from ()


def store_erp_balance(t: PromiseTables, e: ErpBalanceChanged) -> ErpBalance:
    """Keeps what the ERP says the balance is, newest wins. Returns the row as it stands now, marked if it is deleted.

    Raises `AlreadyApplied` for a stale or repeated report. Call it first in the rule of `ErpBalanceChanged`.
    """
    key = (e.item, e.site)
    current = t.erp_balances.get(key)
    row = ErpBalance(
        version=accept(current, e, t.erp_tables.get(("inventory_balance",))),
        is_deleted=e.is_deleted,
        on_hand_milli=e.on_hand_milli,
        allocated_milli=e.allocated_milli,
        on_order_milli=e.on_order_milli,
        row_version=e.row_version,
        updated_at=e.updated_at,
        extra=merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.erp_balances[key] = row
    return row


def site_changed(t: PromiseTables, e: SiteChanged) -> Iterator[PromiseEmit]:
    """Keeps a site and its calendar, newest wins."""
    current = t.sites.get((e.site,))
    row = Site(accept(current, e, t.erp_tables.get(("site",))), e.is_deleted, e.name, e.timezone, merged_extra(current, e))
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.sites[(e.site,)] = row
    yield from _zone_noted(e, current, row)


def _zone_noted(e: SiteChanged, current: Site | None, row: Site) -> Iterator[PromiseEmit]:
    """A calendar nobody knows is UTC, and an exception until the ERP has one that is known."""
    fingerprint = f"unknown_zone:{e.site}"
    if not row.is_deleted and not is_zone(row.timezone):
        sentence = f"site {e.site} has the time zone {row.timezone[:60]!r}, which nobody knows: its days are those of UTC"
        yield note(e, "unknown_zone", fingerprint, sentence)
    elif current is not None and not is_zone(current.timezone):
        yield cleared(e, fingerprint)
