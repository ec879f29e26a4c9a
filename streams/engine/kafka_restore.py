"""Brings local stores up to date with their changelog."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException

from streams.engine.kafka_clients import KafkaSettings, check_message, is_end, place, raise_mapped
from streams.engine.kafka_follow import next_messages
from streams.engine.kafka_store import KafkaStore
from streams.engine.log import TopicPartition

_CHUNK = 10_000


class Restorer:
    """Catches stores up, bit by bit, so that their member goes on polling meanwhile.

    A store is caught up once it has read to where the changelog ended, open transactions included, when it began: a
    predecessor's last transaction may be decided but not yet marked in each of its partitions.
    """

    def __init__(self, settings: KafkaSettings, changelog: str) -> None:
        self._settings = settings
        self._changelog = changelog
        self._consumer: Consumer | None = None
        self._stores: dict[int, KafkaStore] = {}
        self.targets: dict[int, int] = {}

    def begin(self, index: int, store: KafkaStore) -> None:
        """Take on a store. Call it only after the positions of its partition number are known to be final."""
        low, end = self._bounds(index)
        if store.position > end:  # the changelog lost its end: the store knows of what never was
            store.wipe()
        self._stores[index], self.targets[index] = store, end
        if store.position < end:
            if self._consumer is None:
                self._consumer = self._settings.reader()
            self._consumer.incremental_assign([place(TopicPartition(self._changelog, index), max(store.position, low))])

    def forget(self, index: int) -> None:
        """Drop a store that is no longer wanted."""
        if self._stores.pop(index, None) is not None:
            self._unassign(index)

    def step(self, timeout_s: float) -> list[int]:
        """Go on. Returns what is caught up now."""
        waiting = [index for index, store in self._stores.items() if store.position < self.targets[index]]
        if waiting and self._consumer is not None:
            self._read(self._consumer, timeout_s)
        done = [index for index, store in self._stores.items() if store.position >= self.targets[index]]
        for index in done:
            self.forget(index)
        if not self._stores and self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        return done

    def close(self) -> None:
        """Stop."""
        self._stores.clear()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _read(self, consumer: Consumer, timeout_s: float) -> None:
        rows: dict[int, list[tuple[bytes, bytes | None]]] = {}
        positions: dict[int, int] = {}
        for message in next_messages(consumer, _CHUNK, timeout_s):
            index, offset = message.partition(), message.offset()
            if index not in self._stores or offset is None:
                continue
            if is_end(message):
                positions[index] = offset
            elif check_message(message):
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                assert value is None or isinstance(value, bytes)
                rows.setdefault(index, []).append((key, value))
                positions[index] = offset + 1
        for index, position in positions.items():
            self._stores[index].apply(rows.get(index, ()), position)

    def _unassign(self, index: int) -> None:
        self.targets.pop(index, None)
        if self._consumer is not None:
            which = place(TopicPartition(self._changelog, index))
            if which in self._consumer.assignment():
                self._consumer.incremental_unassign([which])

    def _bounds(self, index: int) -> tuple[int, int]:
        asking = Consumer({**self._settings.of_consumers("crossdock-reader"), "isolation.level": "read_uncommitted"})
        try:
            low, end = asking.get_watermark_offsets(
                place(TopicPartition(self._changelog, index)), timeout=self._settings.request_s
            )
        except KafkaException as error:
            raise_mapped(error, f"asking for {self._changelog}/{index}")
        finally:
            asking.close()
        return low, end
