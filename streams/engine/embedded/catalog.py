"""What the embedded log knows of its topics: kept in meta, held in memory while it is open."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from rocksdict import WriteBatch

from schemas.topics import Topic
from streams.engine.embedded import files
from streams.engine.embedded.files import Files, number
from streams.engine.log import TopicPartition
from streams.engine.scans import scan_items, scan_values

KEPT = ("partitions", "cleanup", "is_indexed")
DECLARED = (*KEPT, "key", "owner", "sla_ms", "retention_ms")


class TopicState:
    """A topic of the log."""

    def __init__(self, topic_id: int, topic: Topic, base: int) -> None:
        self.id = topic_id
        self.topic = topic
        self.is_compacted = topic.cleanup == "compact"
        self.prefix = files.topic_prefix(topic_id)
        self.parts = [CatalogPartition(self, index, base) for index in range(topic.partitions)]


class CatalogPartition:
    """A partition: where its records begin and end, which group has read how far, and who waits for more."""

    def __init__(self, state: TopicState, index: int, base: int) -> None:
        self.state = state
        self.partition = TopicPartition(state.topic.name, index)
        self.prefix = files.partition_prefix(state.id, index)
        self.low = base
        self.end = base
        self.next = base  # beyond `end` while a batch is being written
        self.holes: dict[int, int] = {}  # records whose loss was accepted: from, and up to but not including
        self.positions: dict[str, int] = {}
        self.waiting: frozenset[threading.Event] = frozenset()

    def wake(self) -> None:
        """Tell everybody who waits for this partition."""
        for event in self.waiting:
            event.set()


class Catalog:
    """The topics of an open log."""

    def __init__(self, opened: Callable[[], Files], write: Callable[[WriteBatch], None]) -> None:
        """`write` makes a batch durable."""
        self._opened = opened
        self._write = write
        self._base = number(opened().meta.get(files.BASE_KEY), 0)
        self.topics: dict[str, TopicState] = {}
        self._load()

    def topic(self, name: str) -> TopicState:
        """A topic. Raises `KeyError` for an unknown one, with the known ones named."""
        state = self.topics.get(name)
        if state is None:
            raise KeyError(f"unknown topic {name}; known: {', '.join(sorted(self.topics)) or 'none'}")
        return state

    def part(self, topic: str, partition: int) -> CatalogPartition:
        """A partition. Raises `KeyError` if there is none such."""
        parts = self.topic(topic).parts
        if not 0 <= partition < len(parts):
            raise KeyError(f"topic {topic} has {len(parts)} partitions, no {partition}")
        return parts[partition]

    def declare(self, topics: Sequence[Topic]) -> None:
        """Make the topics, or take over their retention. Needs the write lock.

        Raises `ValueError` if one exists and keeps its records otherwise, `Unavailable`.
        """
        for topic in topics:
            if topic.name in self.topics:
                self._require_same(self.topics[topic.name].topic, topic)
        batch = WriteBatch(raw_mode=True)
        meta_cf = self._opened().meta_cf
        renewed: list[tuple[TopicState, Topic]] = []
        states: list[TopicState] = []
        next_id = 1 + max((state.id for state in self.topics.values()), default=0)
        for topic in topics:
            known = self.topics.get(topic.name)
            if known is None:
                states.append(TopicState(next_id + len(states), topic, self._base))
            elif _declaration(known.topic) != _declaration(topic):
                renewed.append((known, topic))
            else:
                continue
            topic_id = states[-1].id if known is None else known.id
            declared = json.dumps({"id": topic_id, "name": topic.name, **_declaration(topic)}).encode()
            batch.put(b"t" + topic.name.encode(), declared, meta_cf)
        if not batch.is_empty():
            self._write(batch)
        for known, topic in renewed:
            known.topic = topic
        self.topics |= {state.topic.name: state for state in states}

    def _require_same(self, known: Topic, topic: Topic) -> None:
        for name in KEPT:
            if getattr(known, name) != getattr(topic, name):
                raise ValueError(
                    f"topic {topic.name} exists with {name}={getattr(known, name)}, not {getattr(topic, name)}: "
                    "the records it holds do not fit; start with another directory"
                )

    def _load(self) -> None:
        meta = self._opened().meta
        by_id: dict[int, TopicState] = {}
        for raw in scan_values(meta, b"t", b"u"):
            declared = json.loads(raw)
            state = TopicState(declared.pop("id"), Topic(**declared), self._base)
            self.topics[state.topic.name] = by_id[state.id] = state
            for part in state.parts:
                part.end = part.next = number(meta.get(b"e" + part.prefix), self._base)
                part.low = number(meta.get(b"l" + part.prefix), self._base)
                part.holes = self._opened().holes(part.prefix)
        for key, raw in scan_items(meta, b"p", b"q"):
            topic_id, partition, group = files.position_of(key)
            by_id[topic_id].parts[partition].positions[group] = number(raw, 0)


def _declaration(topic: Topic) -> dict[str, object]:
    fields = asdict(replace(topic, carries=()))
    return {name: fields[name] for name in DECLARED}
