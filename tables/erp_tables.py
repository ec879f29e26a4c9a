"""Whole tables of the ERP's: which history of the database its rows are read from, and where a table was truncated.

News of a table come to every partition of the fold that has its rows (`ErpTableNews`); what follows for each row is worked off
in steps, by notes the fold sends itself (`ErpRowsReview`).

- Truncated: the rows of before that position are gone, as if each had been deleted there. What comes late of them stays gone.
- A new history: each row it reads replaces the one held (`tables.versions`). A row it has not read is not to be trusted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import Decimal
from typing import Any, TypeVar

from schemas.base import ErpRow, ErpRowsReview, ErpTableNews
from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import Frozen, replace
from tables.table import Table
from tables.versions import Version

HISTORY, TRUNCATED = "history", "truncated"
REVIEWED_AT_ONCE = 200


class ErpTable(Frozen, frozen=True):
    """A table of the ERP's as a whole. `history`: of its newest initial snapshot, by `connector`, heard of first at `begun_ms`.

    `older`: a history before that one is known, so that rows may be of it. `cut`: where it was last truncated, in `cut_history`.
    """

    connector: str = ""
    history: int = 0
    epoch: int = 0
    begun_ms: int = 0
    older: bool = False
    cut: int = -1
    cut_history: int = 0


ErpTables = Table[tuple[str], ErpTable]
News = TypeVar("News", bound=ErpTableNews)
_NONE = ErpTable()
_TOP = "\U0010ffff"
_BLANKS: dict[str, Any] = {
    **dict.fromkeys(("item", "site", "order_no", "status", "line_status", "supplier", "channel", "customer", "name"), ""),
    **dict.fromkeys(("timezone", "base_uom", "updated_at", "created_at", "terms", "price_list", "currency"), ""),
    **dict.fromkeys(("description", "pack_uom", "pack_milli", "shelf_life_days", "hazmat_class", "renumbered_from"), None),
    **dict.fromkeys(("valid_to", "external_ref", "requested_on", "expected_on", "tax_id", "email", "credit_limit"), None),
    **dict.fromkeys(("on_hand_milli", "allocated_milli", "on_order_milli", "row_version", "safety_stock_milli"), 0),
    **dict.fromkeys(("ordered_milli", "shipped_milli", "invoiced_milli", "received_milli", "qty_milli", "priority"), 0),
    **dict.fromkeys(("description_is_unavailable", "lot_tracked", "credit_hold"), False),
    "order_line_no": 0,
    **dict.fromkeys(("unit_price", "total", "amount"), Decimal(0)),
}
"""Fields that are not of the key, where a row is gone: they mean nothing."""


def began(tables: ErpTables, names: Iterable[str], e: ErpTableNews) -> list[str]:
    """Note a history that began; returns the tables whose rows are to be looked at. Raises `AlreadyApplied` if it is no news."""
    doubted = []
    is_news = False
    for name in names:
        held = tables.get((name,)) or _NONE
        if held.history == e.history:
            continue
        if name != e.table and (held.connector not in ("", e.connector) or (not held.history and e.epoch <= 1)):
            continue  # another connector's, or not read yet: its own news come
        if held.history and (e.recorded_at_ms, e.epoch) < (held.begun_ms, held.epoch):
            continue  # an older one, heard of late
        is_news = True
        is_second = held.history != 0 or e.epoch > 1
        if held.cut >= 0 and not is_second:
            held = replace(held, cut_history=e.history)
        tables[(name,)] = replace(
            held, connector=e.connector, history=e.history, epoch=e.epoch, begun_ms=e.recorded_at_ms, older=is_second
        )
        if is_second:
            doubted.append(name)
    if not is_news:
        raise AlreadyApplied(f"{e.event_id}: that history of {e.table} is known")
    return doubted


def history_of(table: ErpTable, e: ErpRow | ErpTableNews) -> int:
    """The history of the database a streamed report, or a truncation, is of.

    What was recorded after the newest began is of it, also where that has shown its part of the feed no row.
    """
    is_newest = not table.older or e.recorded_at_ms > table.begun_ms
    return table.history if table.history and is_newest else e.history


def truncated(tables: ErpTables, e: News) -> News:
    """Note where a table was truncated; returns the news, of the history they are of.

    Raises `AlreadyApplied` if that, or something newer, is known.
    """
    held = tables.get((e.table,)) or _NONE
    history = history_of(held, e)
    if held.cut_history == history and held.cut >= e.source_position:
        raise AlreadyApplied(f"{e.event_id}: {e.table} is known to be truncated there, or later")
    if held.older and history != held.history:
        raise AlreadyApplied(f"{e.event_id}: a newer history of {e.table} is known")
    tables[(e.table,)] = replace(held, cut=e.source_position, cut_history=history)
    return replace(e, history=history)


def check_not_cut(table: ErpTable, e: ErpRow) -> None:
    """Raises `AlreadyApplied` for a report from before the table was truncated."""
    if table.cut < 0 or table.cut_history != (e.history if e.is_base else history_of(table, e)):
        return
    if e.is_base or e.source_position < table.cut:
        raise AlreadyApplied(f"{e.event_id}: the table was truncated since, at {table.cut}")


def is_cut(version: Version, e: ErpRowsReview, table: ErpTable | None) -> bool:
    """Whether a row is from before its table was truncated: positions say so in one history; an older one is before it.

    Epochs say nothing here: each part of the feed counts its own.
    """
    if table is None or not table.older or version.history == e.history:
        return version.source_position < e.source_position
    return version.history != table.history


def check_table(names: Container[str], e: ErpTableNews | ErpRowsReview) -> None:
    """Raises `Refused` for a table that is none of the fold's."""
    if e.table not in names:
        raise Refused(f"{e.event_id}: there is no table {e.table[:60]!r} here", hint="news go to the fold that has the rows")


def next_rows(table: Table[Any, Any], first: str) -> tuple[list[tuple[Any, Any]], str | None]:
    """A step's rows from the key part `first` on, those of one part together, and the part to go on with, if any."""
    found: list[tuple[Any, Any]] = []
    for key, row in table.range((first,), (_TOP,)):
        if len(found) >= REVIEWED_AT_ONCE and key[0] != found[-1][0][0]:
            return found, key[0]
        found.append((key, row))
    return found, None


def is_unread(version: Version, table: ErpTable | None) -> bool:
    """Whether a row has not been heard of since its table's newest history began."""
    return table is not None and table.older and version.history != table.history


def gone(kind: type[ErpRow], e: ErpRowsReview, version: Version, table: ErpTable | None, **fields: Any) -> Any:
    """The row's deletion, as the truncation of its table means it.

    It is at the truncation's position; above the row's own too, unless that is of an older history and says nothing here.
    """
    is_older = table is not None and table.older and version.history != e.history == table.history
    key = "/".join([str(value) for value in fields.values()])
    blanks = {name: _BLANKS[name] for name in kind.__struct_fields__ if name in _BLANKS and name not in fields}
    return kind(
        event_id=f"erp:{e.table}:{key}:{e.source_position}:t",
        source=e.source,
        source_position=e.source_position if is_older else max(e.source_position, version.source_position + 1),
        occurred_at_ms=max(e.occurred_at_ms, version.at_ms),
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        commit_position=e.commit_position if is_older else max(e.commit_position, version.commit_position),
        is_base=False,
        is_read=False,
        is_deleted=True,
        extra={},
        epoch=version.epoch,
        history=e.history if is_older else version.history,
        **blanks,
        **fields,
    )
