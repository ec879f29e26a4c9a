"""Which topics and partitions a flow reads."""

from __future__ import annotations

from typing import Any

from schemas.topics import Topic
from streams.engine.flow import Fold, Translator
from streams.engine.log import ReadableLog as ReadableLog  # noqa: PLC0414 - its importers move to the engine
from streams.engine.log import TopicPartition


def inputs_of(flow: Fold[Any] | Translator) -> tuple[Topic, ...]:
    """The topics a flow reads."""
    return (flow.inbox,) if isinstance(flow, Fold) else flow.topics


def partitions_of(flow: Fold[Any] | Translator) -> list[TopicPartition]:
    """Every partition a flow reads."""
    return [TopicPartition(topic.name, partition) for topic in inputs_of(flow) for partition in range(topic.partitions)]
