"""The ERP's feed as the engine reads it: what one record shows of the feed (`connectors.erp.known`) is kept for the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectors.erp.known import FeedState
from connectors.erp.translate import read
from schemas.records import Record, Translation
from tables.common.table import Table


@dataclass(slots=True)
class ErpFeedTables:
    """What is known of the feed, by partition of its raw topics."""

    known: Table[tuple[str], FeedState]  # the ERP's table


def erp_translate(start: FeedState = FeedState()) -> Callable[[ErpFeedTables, Record], Translation]:  # noqa: B008 - frozen
    """The translator for a feed of which `start` is known from the beginning (by settings)."""

    def translate(t: ErpFeedTables, record: Record) -> Translation:
        translation, table, known = read(record, lambda name: t.known.get((name,)) or start)
        if table and t.known.get((table,)) != known:
            t.known[(table,)] = known
        return translation

    return translate
