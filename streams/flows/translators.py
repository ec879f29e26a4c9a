"""The translators: which raw topics each reads, and which feeds keep a ledger of their numbering."""

from __future__ import annotations

from collections.abc import Sequence

import connectors.channels.formats
import connectors.crm.translate
import connectors.erp.items
import connectors.wms.translate
from connectors.edge import items_in
from connectors.erp.known import FeedState
from schemas import topics
from schemas.records import Record
from streams.engine.flow import Translator
from streams.flows.erp_feed import ErpFeedTables, erp_translate
from tables.operations.feed_sequence import FeedLedgerTables, admit


def translators(channels: Sequence[str], erp: FeedState = FeedState()) -> list[Translator]:  # noqa: B008 - frozen
    """One translator a connector; `channels` are the sales channels' names, each with a raw topic of its own.

    `erp`: what settings say of the ERP's feed.
    """
    return [
        Translator(
            topics.ERP,
            tuple(topics.RAW_ERP.values()),
            erp_translate(erp),
            tables=ErpFeedTables,
            items_of=connectors.erp.items.items_of,
        ),
        Translator(
            topics.WMS,
            (topics.RAW_WMS,),
            connectors.wms.translate.translate,
            tables=FeedLedgerTables,
            admit=admit,
            items_of=_named,
        ),
        Translator(topics.CRM, (topics.RAW_CRM,), connectors.crm.translate.translate),
        Translator(
            topics.CHANNEL,
            tuple(topics.raw_channel(name) for name in channels),
            connectors.channels.formats.translate,
            items_of=_named,
        ),
    ]


def _named(record: Record) -> tuple[str, ...]:
    """The items a record names, whatever else is wrong with it."""
    return items_in(record.value or b"")
