"""The translators: which raw topics each reads, and which feeds keep a ledger of their numbering."""

from __future__ import annotations

from collections.abc import Sequence

import connectors.channels.formats
import connectors.crm.translate
import connectors.erp.translate
import connectors.wms.translate
from schemas import topics
from streams.engine.flow import Translator
from tables.feeds import FeedTables, admit


def translators(channels: Sequence[str]) -> list[Translator]:
    """One translator a connector; `channels` are the sales channels' names, each with a raw topic of its own."""
    return [
        Translator(topics.ERP, tuple(topics.RAW_ERP.values()), connectors.erp.translate.translate),
        Translator(topics.WMS, (topics.RAW_WMS,), connectors.wms.translate.translate, tables=FeedTables, admit=admit),
        Translator(topics.CRM, (topics.RAW_CRM,), connectors.crm.translate.translate),
        Translator(
            topics.CHANNEL,
            tuple(topics.raw_channel(name) for name in channels),
            connectors.channels.formats.translate,
        ),
    ]
