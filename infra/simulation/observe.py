"""What the system under test says and keeps, read from its log: for the world's people, and for the checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from infra.simulation.world import OpenLine
from schemas import topics
from schemas.codec import Codec
from schemas.inventory import Atp
from schemas.operations import ExceptionRow, Reply
from schemas.orders import OrderStatus
from schemas.topics import Topic
from streams.engine.log import StoreId, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.table import FoldTables, Journal
from tables.common.policy import Policy
from tables.inventory.state import PromiseTables
from tables.orders.state import OrderTables

T = TypeVar("T")
ALL = 1_000_000


def units(milli: int) -> Decimal:
    """Thousandths as the oracle counts."""
    return Decimal(milli).scaleb(-3)


class Observed(Protocol):
    """What the checks read."""

    policy: Policy

    def promise(self, table: str) -> Iterator[tuple[Any, Any]]:
        """All rows of a table of the promise fold."""
        ...

    def atp(self) -> dict[str, Atp]:
        """What is published of each item."""
        ...

    def order_status(self) -> dict[str, OrderStatus]:
        """What is published of each order."""
        ...

    def exceptions(self) -> dict[str, ExceptionRow]:
        """What is published of each exception."""
        ...


@dataclass(slots=True)
class CommittedState:
    """The system's committed state, as of now: rows and records are read once."""

    log: MemoryLog
    codec: Codec
    policy: Policy
    _rows: dict[tuple[str, str], list[tuple[Any, Any]]] = field(default_factory=dict)
    _newest: dict[str, list[Any]] = field(default_factory=dict)
    _tables: dict[str, list[Any]] = field(default_factory=dict)

    def tables(self, fold: str, kind: type[T]) -> list[T]:
        """The fold's tables, partition by partition."""
        if fold not in self._tables:
            stores = [self.log.store(StoreId(fold, index)) for index in range(topics.PARTITIONS)]
            self._tables[fold] = [FoldTables(kind, store, Journal()).tables for store in stores]
        return self._tables[fold]

    def promise(self, table: str) -> Iterator[tuple[Any, Any]]:
        """All rows of a table of the promise fold."""
        return iter(self._all(topics.PROMISE, PromiseTables, table))

    def orders(self, table: str) -> Iterator[tuple[Any, Any]]:
        """All rows of a table of the order fold."""
        return iter(self._all(topics.ORDERS, OrderTables, table))

    def _all(self, fold: str, kind: type[Any], table: str) -> list[tuple[Any, Any]]:
        if (fold, table) not in self._rows:
            self._rows[fold, table] = [row for tables in self.tables(fold, kind) for row in getattr(tables, table).under()]
        return self._rows[fold, table]

    def records(self, topic: Topic) -> Iterator[Any]:
        """All kept records of a topic, decoded, partition by partition in order."""
        for index in range(topic.partitions):
            for record in self.log.read(TopicPartition(topic.name, index), 0, ALL):
                if record.value is not None:
                    yield self.codec.decode(record.value)

    def newest(self, topic: Topic) -> list[Any]:
        """The newest record of each key of a compacted topic."""
        if topic.name not in self._newest:
            records = self.log.scan(topic.name, None, ALL)
            self._newest[topic.name] = [self.codec.decode(record.value) for record in records if record.value is not None]
        return self._newest[topic.name]

    def atp(self) -> dict[str, Atp]:
        """What is published of each item."""
        return {atp.item: atp for atp in self.newest(topics.ATP)}

    def order_status(self) -> dict[str, OrderStatus]:
        """What is published of each order."""
        return {status.order_id: status for status in self.newest(topics.ORDER_STATUS)}

    def exceptions(self) -> dict[str, ExceptionRow]:
        """What is published of each exception."""
        return {row.fingerprint: row for row in self.newest(topics.EXCEPTION_ROWS)}

    def replies(self) -> list[Reply]:
        """Every answer given to a request."""
        return list(self.records(topics.REPLIES))

    # --- what the world's people see -----------------------------------------------------------------------------------

    def open_lines(self) -> list[OpenLine]:
        """Units to pick."""
        found = [
            OpenLine(order_id, line, item, part.site, units(part.qty_milli))
            for (item, order_id, line), demand in self.promise("demands")
            for part in demand.parts
        ]
        return sorted(found, key=lambda line: (line.order_id, line.line, line.site))

    def alive_reservations(self) -> list[tuple[str, str]]:
        """Reservations that were granted and not given back."""
        rows = self.promise("reservations")
        return sorted((reservation, item) for (item, reservation), row in rows if row.state == "held")


def granted(reply: Reply) -> dict[str, Any] | None:
    """The body of an answer that granted a reservation."""
    return json.loads(reply.body, parse_float=Decimal) if reply.status == 201 else None
