"""Sites and the item master of workload (b), which crossdock knows before it takes a warehouse's word about them.

Its rows are written into the fold's changelog, as a load of the ERP's items before the measurement would leave them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaException

from infra.bench.peers.cluster import BenchCluster, CannotMeasure
from infra.bench.peers.jobs import PARTITIONS
from infra.bench.peers.traffic import SITES, item_of
from schemas.topics import Topic
from streams.engine.kafka.clients import KafkaSettings
from streams.engine.kafka.store import row_prefix
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.partitions import partition_of
from streams.engine.table import FoldTables, Journal
from tables.common.row_version import Version
from tables.inventory.state import Item, PromiseTables, Site

_CHUNK = 10_000


class _NoRows:
    """A store with nothing in it yet."""

    def get(self, key: bytes) -> bytes | None:
        """None."""
        del key
        return None

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """None."""
        del low, high
        return iter(())


def preload_items(cluster: BenchCluster, group: str, keys: int) -> None:
    """Write the rows of so many items into a fold group's changelog."""
    settings = KafkaSettings(cluster.address)
    topic = f"{group}.changelog"
    KafkaTopics(settings).grow(Topic(topic, "row", "engine", 1_000, (), PARTITIONS, "compact"))
    # A restore takes a changelog's records by whole transactions: those outside of any may lose their last.
    producer = settings.producer(transactional_id=f"{group}.preload", linger_ms=50, compression_type="lz4")
    producer.init_transactions(settings.request_s)
    producer.begin_transaction()
    prefix = row_prefix("promise")
    tables = FoldTables(PromiseTables, _NoRows(), Journal())
    for site in SITES:
        tables.tables.sites[(site,)] = Site(Version(), is_deleted=False, name=site, timezone="UTC", extra={})
    for key, row in tables.changes():
        for partition in range(PARTITIONS):
            producer.produce(topic, row, prefix + key, partition)
    tables.dropped()
    for first in range(0, keys, _CHUNK):
        items = [item_of(n) for n in range(first, min(first + _CHUNK, keys))]
        for item in items:
            tables.tables.items[(item,)] = _item(item)
        for item, (key, row) in zip(items, tables.changes(), strict=True):
            producer.produce(topic, row, prefix + key, partition_of(item.encode(), PARTITIONS))
        tables.dropped()
        producer.poll(0)
    try:
        producer.commit_transaction(120)
    except KafkaException as error:
        raise CannotMeasure(f"The broker did not take the item master: {error.args[0].str()}") from error


def _item(item: str) -> Any:
    return Item(
        item=item,
        version=Version(),
        is_deleted=False,
        description=f"Item {item}",
        text_version=Version(),
        text_wanted_from=None,
        base_uom="EA",
        pack_uom="BX",
        pack_milli=12_000,
        lot_tracked=False,
        shelf_life_days=None,
        status="A",
        safety_stock_milli=0,
        hazmat_class=None,
        updated_at="2026-11-01T00:00:00",
        extra={},
    )
