"""From the names Debezium gives tables and topics to our tables and raw topics.

A table is known in any case and any schema, quoted or not, and by its partitions' names: what PostgreSQL publishes of a
partitioned table comes under `<table>_<partition>` unless `publish_via_partition_root` is on.
"""

from __future__ import annotations

import re
from functools import lru_cache

from connectors.erp.columns import TABLES
from schemas.topics import RAW_ERP, Topic

HEARTBEAT = "__debezium-heartbeat"
_PARTITION = re.compile(
    r"_(?:default|(?:p|part|partition|prt|y|year|m|month|q|quarter|d|w|h|hash|chunk|range|list)?_?[0-9]+(?:_?[a-z]{0,4}_?[0-9]+)*)"
)


@lru_cache(maxsize=1024)
def mapped(name: str) -> str | None:
    """Our name of a table of the ERP's, or of the table it is a partition of; none for a table we do not map."""
    table = name.strip().strip('"').lower()
    if table in TABLES:
        return table
    for known in sorted(TABLES, key=len, reverse=True):
        if table.startswith(known) and _PARTITION.fullmatch(table, len(known)):
            return known
    return None


def is_partition(name: str) -> bool:
    """Whether a table's name is that of a partition."""
    return mapped(name) is not None and name.strip().strip('"').lower() not in TABLES


def raw_topic(name: str) -> Topic:
    """Debezium names a table's topic `<prefix>.<schema>.<table>`. Everything else goes to `raw.erp.other`.

    `erp.public.item` -> `raw.erp.item`; `erp.transaction`, `__debezium-heartbeat.erp`, an unmapped table -> `raw.erp.other`.
    """
    return RAW_ERP[(None if name.startswith(HEARTBEAT) else mapped(name.rsplit(".", 1)[-1])) or "other"]


def table_of(raw: str) -> str | None:
    """The ERP table behind a raw topic of ours; none for `raw.erp.other`."""
    table = raw.removeprefix("raw.erp.")
    return table if table in TABLES else None
