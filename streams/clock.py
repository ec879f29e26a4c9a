"""Time as events: a `Tick` goes to an inbox partition when, and only when, its tables have something due."""

from __future__ import annotations

from collections.abc import Callable

from schemas import topics
from schemas.base import Tick
from schemas.codec import Codec
from streams.engine.keys import KeyCodec
from streams.engine.log import Outgoing, StoreId, TopicPartition
from streams.engine.worker import GROUP
from streams.views import ReadableLog
from tables.promise import PromiseTables
from tables.table import row_types

INBOX = topics.PROMISE_INBOX


class Clock:
    """Looks at the promise fold's deadlines. Call `tick` every so often, from one thread."""

    def __init__(self, log: ReadableLog, codec: Codec, clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._codec = codec
        self._clock_ms = clock_ms
        self._keys = KeyCodec(b"deadlines\0", row_types(PromiseTables)["deadlines"][0])
        self._sent: dict[int, int] = {}

    def tick(self) -> int:
        """Append a Tick to each partition with a deadline due; returns to how many. One is in flight at a time."""
        now_ms = self._clock_ms()
        due = [partition for partition in range(INBOX.partitions) if self._is_due(partition, now_ms)]
        if due:
            value = self._codec.encode(_tick(now_ms))
            offsets = self._log.append([Outgoing(INBOX.name, partition, topics.CLOCK.encode(), value) for partition in due])
            self._sent.update(zip(due, offsets, strict=True))
        return len(due)

    def _is_due(self, partition: int, now_ms: int) -> bool:
        position = self._log.committed(GROUP, TopicPartition(INBOX.name, partition))
        if position <= self._sent.get(partition, -1):
            return False
        store = self._log.store(StoreId(topics.PROMISE, partition))
        low, high = self._keys.prefix(()), self._keys.prefix((now_ms + 1,))
        return next(iter(store.range(low, high)), None) is not None


def _tick(now_ms: int) -> Tick:
    return Tick(
        event_id=f"tick:{now_ms}",
        source=topics.CLOCK,
        source_position=now_ms,
        occurred_at_ms=now_ms,
        recorded_at_ms=now_ms,
        trace_id=f"clock/{now_ms}",
    )
