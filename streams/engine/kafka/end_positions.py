"""Brings a group's positions to where its partitions end, when nothing but transaction marks is left there.

A transaction ends with a mark that takes an offset and that nobody reads. Left alone, a group that has read everything would
seem to be behind for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Message

from schemas.records import Record
from streams.engine.kafka.clients import is_end
from streams.engine.log import TopicPartition


class Ends:
    """Ends that a member has reached, and the last records it handed out."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, int] = {}
        self._handed_out: dict[tuple[str, int], int] = {}

    def note(self, message: Message) -> None:
        """Take note if the message says that its partition was read to its end."""
        if is_end(message):
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            self._ends[TopicPartition(topic, partition)] = offset

    def hand_out(self, records: Iterable[Record]) -> None:
        """These are to be committed before the end of their partitions can be."""
        self._handed_out.update({(record.topic, record.partition): record.offset for record in records})

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """They are read again, or by another: what was reached does not count."""
        for partition in partitions:
            self._ends.pop(partition, None)
            self._handed_out.pop(partition, None)

    def at_rest(self, committed: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Ends that can be committed: beyond the committed position, with every record that was handed out committed."""
        for partition in [p for p, end in self._ends.items() if end <= committed.get(p, end)]:
            del self._ends[partition]
        return {p: end for p, end in self._ends.items() if self._handed_out.get(p, -1) < committed[p]}
