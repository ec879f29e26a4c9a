"""Topics on the brokers: made as they are declared, never by accident, and known to this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from schemas.topics import DAY_MS, Cleanup, Topic
from streams.engine.kafka.clients import MAX_RECORD_BYTES, KafkaSettings, asked, raise_mapped, size_of
from streams.engine.log import Outgoing, TopicPartition, Unavailable

T = TypeVar("T")
REMOVED_KEPT_MS = 7 * DAY_MS
"""How long a compacted topic keeps a removal. Whoever kept rows of it for longer without reading on starts anew."""


def changelog_name(group: str) -> str:
    """The topic that keeps the rows of a group's flows."""
    return f"{group}.changelog"


def changelog_of(group: str, partitions: Iterable[int]) -> Topic:
    """The same as it has to exist, for a group whose inputs have so many partitions: as many as the widest."""
    return Topic(changelog_name(group), "row", "engine", 1_000, (), max(partitions), "compact")


class KafkaTopics:
    """What exists, asked once and remembered: partitions and cleanup of a topic do not change."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = AdminClient(settings.of_any())
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._cleanups: dict[str, Cleanup] = {}

    def declare(self, topics: Sequence[Topic]) -> None:
        """Make topics, take over their retention. Raises `ValueError` if one exists with other partitions or cleanup."""
        self._refresh()
        known = [topic for topic in topics if topic.name in self._counts]
        if known:
            self._require_same(known)
        new = [topic for topic in topics if topic.name not in self._counts]
        if new:
            self._make(new)

    def grow(self, topic: Topic) -> None:
        """Make a topic of ours, or add the partitions it lacks."""
        self._refresh()
        count = self._counts.get(topic.name)
        if count is not None and count < topic.partitions:
            added = self._admin.create_partitions([NewPartitions(topic.name, topic.partitions)])[topic.name]
            try:
                added.result(self._settings.request_s)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.INVALID_PARTITIONS:  # otherwise another process was faster
                    raise_mapped(error, f"adding partitions to {topic.name}")
            self._await({topic.name: topic.partitions})
        elif count is None:
            self._make([topic])

    def partitions(self, name: str) -> int:
        """How many partitions a topic has. Raises `KeyError` for an unknown one, with the known ones named."""
        if name not in self._counts:
            self._refresh()
        count = self._counts.get(name)
        if count is None:
            raise KeyError(f"unknown topic {name}; known: {', '.join(sorted(self._counts)) or 'none'}")
        return count

    def require(self, partition: TopicPartition) -> None:
        """Raises `KeyError` if there is no such partition."""
        count = self.partitions(partition.topic)
        if not 0 <= partition.partition < count:
            raise KeyError(f"topic {partition.topic} has {count} partitions, no {partition.partition}")

    def cleanup(self, name: str) -> Cleanup:
        """How a topic forgets."""
        self.partitions(name)
        if name not in self._cleanups:
            self._read_cleanups([name])
        return self._cleanups[name]

    def check(self, records: Iterable[Outgoing]) -> None:
        """Raises `KeyError` or `ValueError` if one of them cannot be written: before any is."""
        known: set[tuple[str, int]] = set()
        for record in records:
            topic, partition, key, value, headers, _ = record
            if (topic, partition) not in known:
                self.require(TopicPartition(topic, partition))
                known.add((topic, partition))
            if key is None and self.cleanup(topic) == "compact":
                raise ValueError(f"a record of the compacted topic {topic} needs a key")
            if (size_of(record) if headers else len(key or b"") + len(value or b"")) > MAX_RECORD_BYTES:
                raise ValueError(f"a record of {size_of(record)} bytes for {record.topic}: at most {MAX_RECORD_BYTES} are taken")

    def identity(self, name: str) -> str:
        """What tells a topic from one of the same name that was made after it was deleted."""
        return self._asked(lambda: self._id_of(name), f"asking for {name}")

    def _id_of(self, name: str) -> str:
        return str(self._admin.describe_topics(TopicCollection([name]))[name].result(self._settings.request_s).topic_id)

    def _refresh(self) -> None:
        try:
            found = self._admin.list_topics(timeout=self._settings.request_s).topics
        except KafkaException as error:
            self._admin.poll(0)  # hears why
            raise_mapped(error, f"asking {self._settings.bootstrap} for its topics")
        with self._lock:
            self._counts |= {
                name: len(topic.partitions) for name, topic in found.items() if topic.error is None and not name.startswith("__")
            }

    def _make(self, topics: Sequence[Topic]) -> None:
        futures = self._admin.create_topics(
            [NewTopic(t.name, t.partitions, self._settings.replication, config=self._config(t)) for t in topics]
        )
        others: list[Topic] = []
        for topic in topics:
            try:
                futures[topic.name].result(self._settings.request_s)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise_mapped(error, f"creating {topic.name}")
                others.append(topic)
        self._await({topic.name: topic.partitions for topic in topics if topic not in others} | {t.name: 1 for t in others})
        self._cleanups |= {topic.name: topic.cleanup for topic in topics if topic not in others}
        if others:
            self._require_same(others)

    def _config(self, topic: Topic) -> dict[str, str]:
        replicas = self._settings.replication
        # With every replica required, one broker less would stop all writing.
        return _config(topic) | ({"min.insync.replicas": str(max(1, replicas - 1))} if replicas > 0 else {})

    def _await(self, counts: dict[str, int]) -> None:
        """Until the brokers tell of what they have made."""
        deadline = time.monotonic() + self._settings.request_s
        while any(self._counts.get(name, 0) < count for name, count in counts.items()):
            if time.monotonic() > deadline:
                raise Unavailable(f"the brokers do not tell of the new topics {', '.join(counts)}")
            self._refresh()

    def _require_same(self, topics: Sequence[Topic]) -> None:
        kept = self._read_cleanups([topic.name for topic in topics])
        for topic in topics:
            there = {"partitions": self._counts[topic.name], "cleanup": self._cleanups[topic.name]}
            for name, found in there.items():
                if found != getattr(topic, name):
                    raise ValueError(
                        f"topic {topic.name} exists with {name}={found}, not {getattr(topic, name)}: "
                        "the records it holds do not fit; delete it, or use another cluster"
                    )
        changed = [topic for topic in topics if topic.cleanup == "delete" and kept[topic.name] != topic.retention_ms]
        if changed:
            wanted = [
                ConfigEntry("retention.ms", str(t.retention_ms), incremental_operation=AlterConfigOpType.SET) for t in changed
            ]
            resources = [
                ConfigResource(ResourceType.TOPIC, t.name, incremental_configs=[entry])
                for t, entry in zip(changed, wanted, strict=True)
            ]
            for resource, future in self._admin.incremental_alter_configs(resources).items():
                try:
                    future.result(self._settings.request_s)
                except KafkaException as error:
                    raise_mapped(error, f"setting the retention of {resource.name}")

    def _read_cleanups(self, names: Sequence[str]) -> dict[str, int]:
        """Learn how topics forget; their retention (-1: never)."""
        what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more topics"
        retentions: dict[str, int] = {}
        for name, config in self._asked(lambda: self._described(names), f"asking how {what} forget").items():
            retentions[name] = int(config["retention.ms"])
            keeps = retentions[name] < 0
            is_compacted = "compact" in config["cleanup.policy"]
            self._cleanups[name] = "compact" if is_compacted else "keep" if keeps else "delete"
        return retentions

    def _described(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        futures = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
        found = {resource.name: future.result(self._settings.request_s) for resource, future in futures.items()}
        return {name: {key: str(entry.value) for key, entry in config.items()} for name, config in found.items()}

    def _asked(self, call: Callable[[], T], what: str) -> T:
        """Asked again where a broker has not heard of a topic yet that another has told of."""
        return asked(call, what, self._settings.request_s)


def _config(topic: Topic) -> dict[str, str]:
    common = {"max.message.bytes": str(MAX_RECORD_BYTES + 4096)}
    if topic.cleanup == "compact":
        return {
            **common,
            "cleanup.policy": "compact",
            "delete.retention.ms": str(REMOVED_KEPT_MS),
            "min.cleanable.dirty.ratio": "0.3",
        }
    retention_ms = -1 if topic.cleanup == "keep" or topic.retention_ms is None else topic.retention_ms
    return {**common, "cleanup.policy": "delete", "retention.ms": str(retention_ms), "retention.bytes": "-1"}
