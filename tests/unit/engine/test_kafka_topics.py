"""What is asked about topics again, because one broker has not heard yet of what another has told of."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ConfigEntry, ConfigResource, TopicMetadata

from streams.engine.kafka.clients import KafkaSettings
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.log import Unavailable

ITEMS = "items.v1"


class _Admin:
    """Fails so many times, then answers."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def list_topics(self, timeout: float) -> Any:
        del timeout
        topic = TopicMetadata()
        topic.partitions = {0: None, 1: None}  # type: ignore[dict-item]
        return type("Listed", (), {"topics": {ITEMS: topic}})

    def describe_configs(self, resources: Sequence[ConfigResource]) -> dict[ConfigResource, Future[dict[str, ConfigEntry]]]:
        entries = {"retention.ms": ConfigEntry("retention.ms", "-1"), "cleanup.policy": ConfigEntry("cleanup.policy", "compact")}
        return {resource: self._answer(entries) for resource in resources}

    def describe_topics(self, topics: TopicCollection) -> dict[str, Future[Any]]:
        del topics
        return {ITEMS: self._answer(type("Described", (), {"topic_id": "abc"}))}

    def _answer(self, found: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.errors:
            future.set_exception(KafkaException(KafkaError(self.errors.pop(0))))
        else:
            future.set_result(found)
        return future


def topics_with(admin: _Admin, monkeypatch: pytest.MonkeyPatch) -> KafkaTopics:
    topics = KafkaTopics(KafkaSettings("127.0.0.1:9", request_s=2.0))
    monkeypatch.setattr(topics, "_admin", admin)
    return topics


def test_a_broker_that_has_not_heard_of_a_topic_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unheard = KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topics_with(_Admin(unheard, unheard), monkeypatch).cleanup(ITEMS) == "compact"
    assert topics_with(_Admin(unheard), monkeypatch).identity(ITEMS) == "abc"


def test_what_asking_again_does_not_heal_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = _Admin(*[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 2)
    with pytest.raises(Unavailable, match=r"asking how items\.v1 forget"):
        topics_with(admin, monkeypatch).cleanup(ITEMS)
    assert admin.errors, "asked once"
