"""The read side: published rows, ledgers and traces by key, and any flow's tables, straight from the log's readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import EndpointStatus
from schemas.inventory import Atp, LedgerEntry
from schemas.operations import DeadLetter, ExceptionRow
from schemas.orders import ChangeAnswered, Milestone, OrderStatus
from schemas.topics import Topic
from streams.engine.log import ReadableLog as ReadableLog  # noqa: PLC0414 - its importers move to the engine
from streams.engine.log import all_records

MOST_ENDPOINTS = 1_000

MOST_CHANGES = 1_000


class Published:
    """Rows and histories of the derived topics."""

    def __init__(self, log: ReadableLog, codec: Codec) -> None:
        self._log = log
        self._codec = codec

    def atp(self, item: str) -> Atp | None:
        """An item's promise."""
        row: Atp | None = self._latest(topics.ATP, item)
        return row

    def atp_page(self, after: str | None, limit: int) -> list[Atp]:
        """Promises in item order."""
        return self._page(topics.ATP, after, limit)

    def order(self, order_id: str) -> OrderStatus | None:
        """An order's state."""
        row: OrderStatus | None = self._latest(topics.ORDER_STATUS, order_id)
        return row

    def order_page(self, after: str | None, limit: int) -> list[OrderStatus]:
        """Orders in id order."""
        return self._page(topics.ORDER_STATUS, after, limit)

    def exception(self, fingerprint: str) -> ExceptionRow | None:
        """One exception."""
        row: ExceptionRow | None = self._latest(topics.EXCEPTION_ROWS, fingerprint)
        return row

    def exception_page(self, after: str | None, limit: int) -> list[ExceptionRow]:
        """Exceptions in fingerprint order."""
        return self._page(topics.EXCEPTION_ROWS, after, limit)

    def endpoints(self) -> list[EndpointStatus]:
        """Every endpoint anything was ever owed to, by name."""
        return self._page(topics.ENDPOINTS, None, MOST_ENDPOINTS)

    def ledger(self, item: str, before: int | None, limit: int) -> list[tuple[int, LedgerEntry]]:
        """The last ledger rows of an item, oldest first."""
        return self._history(topics.LEDGER, item, before, limit)

    def ledger_from(self, item: str, start: int, limit: int) -> list[tuple[int, LedgerEntry]]:
        """Ledger rows of an item from an offset on, oldest first."""
        records = self._log.by_key_from(topics.LEDGER.name, item.encode(), limit, start)
        return [(record.offset, self._codec.decode(record.value or b"")) for record in records]

    def milestones(self, order_id: str) -> list[Milestone]:
        """What the order has reached, oldest first."""
        return [milestone for _, milestone in self._history(topics.MILESTONES, order_id, None, 100)]

    def order_changes(self, order_id: str) -> list[ChangeAnswered]:
        """Requests for change of an order, the newest word on each, oldest first."""
        found: dict[str, ChangeAnswered] = {}
        for _, said in self._history(topics.ORDER_CHANGES, order_id, None, MOST_CHANGES):
            found.pop(said.change, None)
            found[said.change] = said
        return list(found.values())

    def order_events(self, order_id: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        """What was said to the order fold about an order, oldest first."""
        return self._history(topics.ORDER_INBOX, order_id, before, limit)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Every dead letter, oldest first."""
        for record in all_records(self._log, topics.DEAD_LETTERS):
            yield self._codec.decode(record.value or b"")

    def _latest(self, topic: Topic, key: str) -> Any:
        record = self._log.latest(topic.name, key.encode())
        return None if record is None else self._codec.decode(record.value or b"")

    def _page(self, topic: Topic, after: str | None, limit: int) -> list[Any]:
        records = self._log.scan(topic.name, None if after is None else after.encode(), limit)
        return [self._codec.decode(record.value or b"") for record in records]

    def _history(self, topic: Topic, key: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        records = self._log.by_key(topic.name, key.encode(), limit, before)
        return [(record.offset, self._codec.decode(record.value or b"")) for record in records]


# --- tables ----------------------------------------------------------------------------------------------------------------


# --- promises --------------------------------------------------------------------------------------------------------------
