"""Where a new snapshot of the ERP's database is over: rows that it has not read there are gone, though nobody saw that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from infra.simulation.facts import ErpFact, RawMessage
from streams.engine.log import TopicPartition
from streams.engine.partitions import partition_of


@dataclass(slots=True)
class _Part:
    """A partition of a table's raw topic. `begun`: the position of the newest snapshot that it has shown a row of."""

    begun: int | None = None
    is_older: bool = False
    is_streamed: bool = False
    is_over: bool = False


@dataclass(slots=True)
class SnapshotEnds:
    """Follows each partition of the ERP's feed. A connector reads a table first and streams then, and a partition keeps that
    order: what it streams after a snapshot's rows says that the snapshot is over there.
    """

    parts: dict[TopicPartition, _Part] = field(default_factory=dict)

    def gone(self, partition: TopicPartition, count: int, message: RawMessage, unseen: Iterable[RawMessage]) -> Iterator[ErpFact]:
        """Deletions, of all that no connector saw (`unseen`), that the message makes known. `count`: its topic's partitions."""
        if not isinstance(message.fact, ErpFact) or message.value is None:
            return
        part = self.parts.setdefault(partition, _Part())
        source = json.loads(message.value)["source"]
        if source["snapshot"] == "true":
            if source["lsn"] != part.begun:
                part.is_older = part.begun is not None or part.is_streamed
                part.begun, part.is_over = source["lsn"], False
            return
        part.is_streamed = True
        if part.begun is None or not part.is_older or part.is_over:
            return
        part.is_over = True
        for lost in unseen:
            is_there = lost.topic == message.topic and partition_of(lost.key or b"", count) == partition.partition
            if is_there and isinstance(lost.fact, ErpFact):
                yield lost.fact
