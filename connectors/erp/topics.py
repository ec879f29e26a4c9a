"""From a Debezium topic's name, whatever its prefix, to the raw topic of ours that takes its records."""

from __future__ import annotations

from connectors.erp.columns import TABLES
from schemas.topics import RAW_ERP, Topic

HEARTBEAT = "__debezium-heartbeat"


def raw_topic(name: str) -> Topic:
    """Debezium names a table's topic `<prefix>.<schema>.<table>`. Everything else goes to `raw.erp.other`.

    `erp.public.item` -> `raw.erp.item`; `erp.transaction`, `__debezium-heartbeat.erp`, an unmapped table -> `raw.erp.other`.
    """
    table = name.rsplit(".", 1)[-1]
    return RAW_ERP[table if table in TABLES and not name.startswith(HEARTBEAT) else "other"]


def table_of(raw: str) -> str | None:
    """The ERP table behind a raw topic of ours; none for `raw.erp.other`."""
    table = raw.removeprefix("raw.erp.")
    return table if table in TABLES else None
