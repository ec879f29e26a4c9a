"""Rows that the newest snapshot of their table has not read: how many there are, and what people hear of that.

They are counted once, in steps, when a history begins; from then on each row that is read, or gone, is one less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from schemas.base import ErpRowsReview, Event
from schemas.frozen import replace
from schemas.operations import ErpRowsUnread
from tables.common.cdc_rows import caused_by
from tables.common.cdc_tables import TOP, CdcTable, ErpTables, is_unread
from tables.common.table import Table

EXACT_ROWS = 100
"""So few are told one by one; of more, each time that they are half of what was told."""


def is_unread_row(row: Any, table: CdcTable | None) -> bool:
    """Whether a row is there and has not been read."""
    return row is not None and not row.is_deleted and is_unread(row.version, table)


def start_count(tables: ErpTables, name: str, found: list[tuple[Any, Any]]) -> None:
    """Count anew, from a step's rows on: the table's first."""
    first = str(found[0][0][0]) if found else TOP
    tables[(name,)] = replace(tables[(name,)], unread=0, counted=first, place="" if first == TOP else first, told=0)


def count(tables: ErpTables, e: ErpRowsReview, first: str, found: list[tuple[Any, Any]], after: str | None) -> Iterator[Any]:
    """Count a step's rows, but those that were; after the last step people hear how many there are."""
    table = tables.get((e.table,))
    if table is None or table.history != e.history or table.counted == TOP or first > table.counted:
        return  # that of an earlier count, which began behind this one
    unread = sum([key[0] >= table.counted and is_unread_row(row, table) for key, row in found])
    counted = TOP if after is None else max(after, table.counted)
    table = replace(table, unread=table.unread + unread, counted=counted, older=table.older or unread > 0)
    tables[(e.table,)] = table
    if after is None and table.unread:
        yield from _tell(tables, e, e.table, table)


def counted(
    tables: ErpTables, name: str, rows: Table[Any, Any], key: tuple[Any, ...], e: Event, rule: Iterable[Any]
) -> Iterator[Any]:
    """What a rule about a row yields; the row is unread no more, or anew, if what it is of came late."""
    table = tables.get((name,))
    if table is None or not table.older or key[0] >= table.counted:
        yield from rule
        return
    was = is_unread_row(rows.get(key), table)
    yield from rule
    more = is_unread_row(rows.get(key), table) - was
    if not more:
        return
    table = replace(table, unread=table.unread + more)
    tables[(name,)] = table
    if table.unread < EXACT_ROWS or table.unread * 2 <= table.told or table.told * 2 <= table.unread:
        yield from _tell(tables, e, name, table)


def _tell(tables: ErpTables, e: Event, name: str, table: CdcTable) -> Iterator[Any]:
    tables[(name,)] = replace(table, told=table.unread)
    yield ErpRowsUnread(
        **caused_by(e, f"erp:unread:{name}:{table.history}:{table.place}:{table.unread}"),
        fingerprint=f"erp_history:{table.connector}:{table.history}",
        table=name,
        place=table.place,
        rows=table.unread,
    )
