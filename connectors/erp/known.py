"""What a part of the ERP's feed has shown so far, and what follows from it for the next record. Pure.

A connector's settings are one for the whole feed, and no record says them. So they are found once, and hold from then on: how
decimals are written, and which schema the tables are of. Which history of the database a position belongs to is told by the
initial snapshots: all rows of one have the log position it was taken at. Another position means that the connector was made
anew (its slot was lost, the database restored or failed over), and positions of before say nothing about those that follow.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from connectors.erp.columns import ErpTable, Kind
from connectors.erp.wire import Source
from schemas.frozen import Frozen, replace

TEXT, BASE64 = "string", "precise"
"""How numerics are written, by the names of `decimal.handling.mode`."""
MOST_HISTORIES = 64
LAST = frozenset({"last", "last_in_data_collection"})
CLOCK_MS = 300_000
"""By as much a transaction that a snapshot did not see may be older than the snapshot, by the database's clock."""
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)


class FeedState(Frozen, frozen=True):
    """A part's state. `histories`: positions of the initial snapshots it has shown, the newest last; `reading`: that of the
    records coming now, 0 before any; `read_ms`: the instant the newest was taken at; `over`: that of which the end was seen last;
    `lowest`: the least streamed position while there is none, `newest_ms` the instant of the newest change streamed by then.

    `is_guessed`: numerics were read as text though they could have been base64, before either was certain.
    """

    decimals: str = ""
    is_guessed: bool = False
    schema: str = ""
    histories: tuple[int, ...] = ()
    reading: int = 0
    lowest: int = -1
    newest_ms: int = 0
    read_ms: int = 0
    over: int = 0

    @property
    def epoch(self) -> int:
        """The history being read, counted from 1."""
        return self.histories.index(self.reading) + 1 if self.reading in self.histories else max(len(self.histories), 1)


def with_decimals(known: FeedState, table: ErpTable, columns: dict[str, Any]) -> FeedState:
    """What the record's numerics say about how they are written, if that is not known yet."""
    if known.decimals:
        return known
    texts = [columns[c.name] for c in table.columns.values() if c.kind is Kind.NUMERIC and isinstance(columns.get(c.name), str)]
    if any(_DECIMAL.fullmatch(text) and not _is_base64(text) for text in texts):
        return replace(known, decimals=TEXT)
    if any(not _DECIMAL.fullmatch(text) and _is_base64(text) for text in texts):
        return replace(known, decimals=BASE64)
    return replace(known, is_guessed=True) if texts and not known.is_guessed else known


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def with_position(known: FeedState, source: Source, own: int, commit: int) -> FeedState:
    """Which history the record belongs to."""
    if not source.is_base:
        if known.histories and known.reading != known.histories[-1] and source.ts_ms > known.read_ms:
            return replace(known, reading=known.histories[-1])  # what an older file said again is through
        if known.histories or (known.lowest >= 0 and own >= known.lowest and source.ts_ms <= known.newest_ms):
            return known
        lowest = own if known.lowest < 0 else min(own, known.lowest)
        return replace(known, lowest=lowest, newest_ms=max(source.ts_ms, known.newest_ms))
    if own in known.histories:
        return known if own == known.reading else replace(known, reading=own)
    if is_read_again(source, own, commit):
        return known
    older = known.histories
    is_later = known.lowest < own or known.newest_ms < source.ts_ms  # lower, and read after what it would come before
    if not older and known.lowest >= 0 and is_later:
        older = (0,)  # what was streamed before any snapshot was
    return replace(known, histories=(*older, own)[-MOST_HISTORIES:], reading=own, read_ms=source.ts_ms)


def is_over(known: FeedState, source: Source, own: int, commit: int) -> bool:
    """Whether the record proves that the newest snapshot is over in this part of the feed, where an older history was before it.

    A connector reads first and streams then, and a partition keeps that order: so its first streamed change says it, or the
    snapshot's own mark of a table's last row. What a connector streamed before that snapshot, heard again, says nothing.
    """
    newest = known.histories[-1] if len(known.histories) > 1 else 0
    if not newest or known.reading != newest or known.over == newest:
        return False
    if source.is_base and not is_read_again(source, own, commit):
        return own == newest and source.snapshot in LAST
    return (not commit or max(commit, own) >= newest) and source.ts_ms >= known.read_ms - CLOCK_MS


def is_read_again(source: Source, own: int, commit: int) -> bool:
    """Whether a connector that streams reads whole tables again (a blocking snapshot): one made anew knows no last commit."""
    return source.is_base and 0 < commit <= own
