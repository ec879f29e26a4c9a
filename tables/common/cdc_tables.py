"""Whole tables of the ERP's: which history of the database its rows are read from, and where a table was truncated.

News of a table come to every partition of the fold that has its rows (`ErpTableNews`); what follows for each row is worked off
in steps, by notes the fold sends itself (`ErpRowsReview`).

- Truncated: the rows of before that position are gone, as if each had been deleted there. What comes late of them stays gone.
- A new history: each row it reads replaces the one held (`tables.common.row_version`). A row it has not read is not to be
  trusted, and gone once its snapshot is over in the row's part of the feed. What is read late brings the row back: a row that
  was only not read keeps the version it had, which any word of the newer history replaces.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import Decimal
from typing import Any

from schemas.base import ErpRow, ErpRowsReview, ErpTableNews
from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import Frozen, replace
from tables.common.row_version import CLOCK_MS, Version, check_log
from tables.common.table import K, Table, V

HISTORY, TRUNCATED, READ = "history", "truncated", "read"
EVERY_PART = -1
REVIEWED_AT_ONCE = 200
MOST_HISTORIES = 64


class HistoryStart(Frozen, frozen=True):
    """An initial snapshot: at `ms` by the database's clock; its first row heard was recorded at `told_ms`."""

    history: int
    ms: int
    told_ms: int


class CdcTable(Frozen, frozen=True):
    """A table of the ERP's as a whole. `history`: of its newest initial snapshot, by `connector`; `starts`: of the last ones.

    `starts` are in order. `older`: a history before the newest is known, so that rows may be of it. `over`: the parts of the feed
    in which the newest snapshot is over. `unread`: how many rows it has not read, counted as far as key part `counted`; `told` is
    what people heard last of that under the name `place`, the fold's first key in the table. `cut`: where it was last truncated,
    in `cut_history`, at `cut_ms`, recorded at `cut_told_ms`.
    """

    connector: str = ""
    history: int = 0
    starts: tuple[HistoryStart, ...] = ()
    older: bool = False
    cut: int = -1
    cut_history: int = 0
    cut_ms: int = 0
    cut_told_ms: int = 0
    over: tuple[int, ...] = ()
    unread: int = 0
    counted: str = ""
    told: int = 0
    place: str = ""


ErpTables = Table[tuple[str], CdcTable]
_NONE = CdcTable()
TOP = "\U0010ffff"
"""Above every key part."""
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


def _began(tables: ErpTables, names: Iterable[str], e: ErpTableNews) -> list[str]:
    """Note a history that began; returns the tables whose rows are to be looked at. Raises `AlreadyApplied` if it is no news."""
    doubted = []
    for name in names:
        current = tables.get((name,)) or _NONE
        if name != e.table and (current.connector not in ("", e.connector) or (not current.starts and e.epoch <= 1)):
            continue  # another connector's, or not read yet: its own news come
        new = _with_history(current, e)
        if new != current:
            tables[(name,)] = new
            doubted.append(name)
    if not doubted:
        raise AlreadyApplied(f"{e.event_id}: that history of {e.table} is known")
    return doubted


def _with_history(current: CdcTable, e: ErpTableNews) -> CdcTable:
    """The table with one more history, put where it belongs: parts of the feed are not heard of at the same time."""
    older = current.older or e.epoch > 1
    if any(known.history == e.history for known in current.starts):
        return replace(current, older=older)
    ms = e.occurred_at_ms
    for known in current.starts:
        if known.history == e.before:
            ms = max(ms, known.ms + 1)  # the database's clock was set back
    found = [known for known in current.starts if (known.ms, known.told_ms) <= (ms, e.recorded_at_ms)]
    later = current.starts[len(found) :]
    together = (*found, HistoryStart(e.history, ms, e.recorded_at_ms), *later)[-MOST_HISTORIES:]
    older = older or len(together) > 1
    if later:
        return replace(current, starts=together, older=older)
    return replace(current, connector=e.connector, history=e.history, starts=together, older=older, over=())


def noted(tables: ErpTables, names: Iterable[str], e: ErpTableNews) -> list[str]:
    """Note the news; returns the tables whose rows are to be looked at. Raises `AlreadyApplied` if they are none."""
    if e.what == HISTORY:
        return _began(tables, names, e)
    if e.what == READ:
        _read_over(tables, e)
    else:
        _truncated(tables, e)
    return [e.table]


def _read_over(tables: ErpTables, e: ErpTableNews) -> None:
    """Note that the newest snapshot is over in a part of the feed. Raises `AlreadyApplied` if that is known, or it is another."""
    current = tables.get((e.table,)) or _NONE
    if not current.older or current.history != e.history:
        raise AlreadyApplied(
            f"{e.event_id}: no rows of {e.table} are of before the snapshot at {e.history}, or a newer one began"
        )
    if e.part in current.over:
        raise AlreadyApplied(f"{e.event_id}: the snapshot of {e.table} is known to be over there")
    tables[(e.table,)] = replace(current, over=(*current.over, e.part))


def rank(table: CdcTable, history: int, ms: int, told_ms: int) -> int:
    """Which of the table's histories a report is of, by its place in `starts`; -1: of one before them all.

    `history` is what its part of the feed says. A part that showed no row of a snapshot does not know of it: there the
    database's instant `ms` of a change says more. Just before a snapshot's own it may be of a transaction that was still open
    then, so what was recorded after it is of it. `ms` 0 is that of a snapshot's row, which says itself what it is of.
    """
    if history == table.history:
        return len(table.starts) - 1
    own = -1
    for n in range(len(table.starts)):
        if table.starts[n].history == history:
            own = n
    if not ms:
        return own
    for n in range(len(table.starts) - 1, own, -1):
        known = table.starts[n]
        is_told_after = told_ms > known.told_ms or (told_ms == known.told_ms and not table.older)
        if ms > known.ms or (ms > known.ms - CLOCK_MS and is_told_after):
            return n
    return own


def rank_of(table: CdcTable, e: ErpRow) -> int:
    """Which of the table's histories a report of a row is of."""
    return rank(table, e.history, 0 if e.is_base else e.occurred_at_ms, e.recorded_at_ms)


def rank_held(table: CdcTable, version: Version) -> int:
    """Which of the table's histories a row's version is of."""
    return rank(table, version.history, version.at_ms, version.told_ms)


def check_not_over(table: CdcTable, e: ErpRow) -> None:
    """Raises `AlreadyApplied` for what an older history says of a part of the feed in which the newer one's snapshot is over."""
    if (e.part in table.over or EVERY_PART in table.over) and rank_of(table, e) < len(table.starts) - 1:
        raise AlreadyApplied(f"{e.event_id}: the snapshot at {table.history}, which is newer, has read all there is")


def _truncated(tables: ErpTables, e: ErpTableNews) -> None:
    """Note where a table was truncated. Raises `AlreadyApplied` if that, or something newer, is known.

    Raises `Refused` if it is younger than what is known, and of a lower position: the history it is of is not known.
    """
    current = tables.get((e.table,)) or _NONE
    at = (rank(current, e.history, e.occurred_at_ms, e.recorded_at_ms), e.source_position)
    if current.cut >= 0 and _cut_at(current) >= at:
        if _cut_at(current)[0] == at[0]:
            check_log(e, current.cut, current.cut_ms)
        raise AlreadyApplied(f"{e.event_id}: {e.table} is known to be truncated there, or later")
    tables[(e.table,)] = replace(
        current, cut=e.source_position, cut_history=e.history, cut_ms=e.occurred_at_ms, cut_told_ms=e.recorded_at_ms
    )


def _cut_at(table: CdcTable) -> tuple[int, int]:
    return rank(table, table.cut_history, table.cut_ms, table.cut_told_ms), table.cut


def check_not_cut(table: CdcTable, e: ErpRow) -> None:
    """Raises `AlreadyApplied` for a report from before the table was truncated."""
    if table.cut < 0:
        return
    own = rank_of(table, e)
    cut = _cut_at(table)
    if (own, -1 if e.is_base else e.source_position) >= cut:
        return
    if own == cut[0] and not e.is_base:
        check_log(e, table.cut, table.cut_ms)
    raise AlreadyApplied(f"{e.event_id}: the table was truncated since, at {table.cut}")


def is_cut(table: CdcTable, version: Version, e: ErpRowsReview) -> bool:
    """Whether a row is from before its table was truncated."""
    return (rank_held(table, version), version.source_position) < (_rank_of_review(table, e), e.source_position)


def _rank_of_review(table: CdcTable, e: ErpRowsReview) -> int:
    return rank(table, e.history, e.occurred_at_ms, e.recorded_at_ms)


def check_table(names: Container[str], e: ErpTableNews | ErpRowsReview) -> None:
    """Raises `Refused` for a table that is none of the fold's. A history that began in another fold's is of the fold's, too."""
    if e.table not in names and (e.what != HISTORY or isinstance(e, ErpRowsReview)):
        raise Refused(f"{e.event_id}: there is no table {e.table[:60]!r} here", hint="news go to the fold that has the rows")


def next_rows(table: Table[K, V], first: str) -> tuple[list[tuple[K, V]], str | None]:
    """A step's rows from the key part `first` on, those of one part together, and the part to go on with, if any."""
    found: list[tuple[K, V]] = []
    for key, row in table.range((first,), (TOP,)):
        if len(found) >= REVIEWED_AT_ONCE and key[0] != found[-1][0][0]:
            return found, key[0]
        found.append((key, row))
    return found, None


def is_unread(version: Version, table: CdcTable | None) -> bool:
    """Whether a row has not been heard of since its table's newest history began."""
    if table is None or version.history == table.history:
        return False
    return rank_held(table, version) < len(table.starts) - 1


def is_gone(version: Version, e: ErpRowsReview, table: CdcTable | None) -> bool:
    """Whether news of its table mean that a row is gone."""
    if e.what == TRUNCATED:
        return is_cut(table or _NONE, version, e)
    if table is None or table.history != e.history:
        return False  # a newer history began meanwhile
    return is_unread(version, table) and e.part in (EVERY_PART, version.part)


def gone(kind: type[ErpRow], e: ErpRowsReview, version: Version, table: CdcTable | None, **fields: Any) -> Any:
    """The row's deletion, as news of its table mean it: a change where it was truncated, a read where it was not found.

    A truncation is of its own history. Its position is raised above the row's unless that is of an older one, whose positions
    say nothing of what is written next.
    """
    whole = table or _NONE
    own = _rank_of_review(whole, e) if e.what == TRUNCATED else -1
    above = Version() if rank_held(whole, version) < own else version
    key = "/".join([str(value) for value in fields.values()])
    blanks = {name: _BLANKS[name] for name in kind.__struct_fields__ if name in _BLANKS and name not in fields}
    return kind(
        event_id=f"erp:{e.table}:{key}:{e.source_position}:{'t' if e.what == TRUNCATED else 'gone'}",
        source=e.source,
        source_position=max(e.source_position, above.source_position + 1),
        occurred_at_ms=e.occurred_at_ms,
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        commit_position=max(e.commit_position, above.commit_position),
        is_base=False,
        is_read=e.what != TRUNCATED,
        is_deleted=True,
        extra={},
        epoch=version.epoch,
        history=whole.starts[own].history if own >= 0 else version.history,
        part=version.part,
        **blanks,
        **fields,
    )
