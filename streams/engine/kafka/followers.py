"""Reading partitions outside any group: followers that tail, and single pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, Message

from schemas.records import Record
from streams.engine.kafka.clients import KafkaSettings, asked, check_message, is_end, place, to_record
from streams.engine.log import TopicPartition, Unavailable

SLICE_S = 0.1
"""A waiting call looks this often whether it is to end."""


def next_messages(consumer: Consumer, count: int, timeout_s: float) -> list[Message]:
    """Up to `count` messages, as soon as there is one: `consume` alone would wait until there are so many."""
    first = consumer.consume(1, max(timeout_s, 0.0))
    return [*first, *consumer.consume(count - 1, 0)] if first and count > 1 else first


class KafkaFollower:
    """Tails partitions. Used by one thread at a time; `close` may come from another."""

    def __init__(
        self, settings: KafkaSettings, start: Mapping[TopicPartition, int], on_close: Callable[[KafkaFollower], None]
    ) -> None:
        self._consumer = settings.reader()
        self._consumer.assign([place(partition, offset) for partition, offset in start.items()])
        self._positions = dict(start)
        self._on_close = on_close
        self._lock = threading.Lock()
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records. Waits up to `timeout_s` for the first one. Raises `Unavailable` once closed."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            with self._lock:
                if not self._is_open:
                    raise Unavailable("the follower is closed")
                messages = next_messages(self._consumer, max_records, min(left_s, SLICE_S))
            found = self._taken(messages)
            if found or left_s <= 0:
                return found

    def position(self, partition: TopicPartition) -> int:
        """Up to where a followed partition has been read: at its end this is past the mark of the last transaction."""
        return self._positions[partition]

    def _taken(self, messages: list[Message]) -> list[Record]:
        found: list[Record] = []
        for message in messages:
            topic, index, offset = message.topic(), message.partition(), message.offset()
            if is_end(message) and topic is not None and index is not None and offset is not None:
                self._positions[TopicPartition(topic, index)] = offset
            elif check_message(message):
                record = to_record(message)
                self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
                found.append(record)
        return found

    def close(self) -> None:
        """Stop following: a waiting `poll` ends."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            self._consumer.close()
        self._on_close(self)


class KafkaPages:
    """Reads pages of partitions and asks where they end. Safe from any thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer = settings.reader(wait_ms=10)
        self._lock = threading.Lock()

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first kept offset, and the end of what is decided: no transaction before it is open."""

        def call() -> tuple[int, int]:
            return self._consumer.get_watermark_offsets(place(partition), timeout=self._settings.request_s)

        try:
            return asked(call, f"asking for {partition.topic}/{partition.partition}", self._settings.request_s, self._consumer)
        except RuntimeError as error:
            raise Unavailable("the log is closed") from error

    def read(self, partition: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Up to `limit` records from `offset` on, but no further than the end when called."""
        low, end = self.bounds(partition)
        offset = max(offset, low)
        if offset >= end or limit <= 0:
            return []
        found: list[Record] = []
        deadline = time.monotonic() + self._settings.request_s
        with self._lock:
            try:
                self._consumer.assign([place(partition, offset)])
                while len(found) < limit:
                    messages = next_messages(self._consumer, limit - len(found), SLICE_S)
                    found += [to_record(message) for message in messages if check_message(message)]
                    if any(is_end(message) for message in messages) or (found and found[-1].offset + 1 >= end):
                        break
                    if time.monotonic() > deadline:
                        raise Unavailable(f"{partition.topic}/{partition.partition} cannot be read at offset {offset}")
                self._consumer.unassign()
            except RuntimeError as error:
                raise Unavailable("the log is closed") from error
        return found

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._consumer.close()
