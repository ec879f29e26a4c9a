"""What an operator has to put right on the brokers before crossdock can run on them, or run safely."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType

from schemas.topics import Topic
from streams.engine.kafka.clients import MAX_RECORD_BYTES, KafkaSettings, raise_mapped
from streams.engine.log import Rights

_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_DENIED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


def findings(settings: KafkaSettings, admin: AdminClient, topics: Sequence[Topic], rights: Rights) -> list[str]:
    """What is not as it has to be for these topics, each with what to do. Raises `Unavailable` if no broker answers.

    `rights`: those that this user has to have.
    """
    found: list[str] = []
    there: list[Topic] = []
    described: dict[str, Any] = {}
    names = [topic.name for topic in topics]
    if not names:
        return []
    asked = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=settings.request_s)
    for topic in topics:
        try:
            described[topic.name] = asked[topic.name].result(settings.request_s + 5)
            there.append(topic)
        except KafkaException as error:
            found.append(_unseen(topic, error))
    configs = _configs(settings, admin, there)
    brokers = len(_result(settings, admin.describe_cluster(request_timeout=settings.request_s), "asking for the brokers").nodes)
    for topic in there:
        found += _about(topic, described[topic.name], settings, brokers, rights.get(topic.name, ()))
        config = configs.get(topic.name)
        if config is None:
            found.append(f"topic {topic.name}: its settings cannot be read: allow DescribeConfigs on it")
        else:
            found += _about_config(topic, config, len(described[topic.name].partitions[0].replicas))
    return found


def _unseen(topic: Topic, error: KafkaException) -> str:
    reason = error.args[0]
    if reason.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        # The brokers say the same of a topic whose existence the user may not know of.
        return (
            f"topic {topic.name} is missing, or may not be seen: `crossdock topics --create` makes it "
            f"({topic.partitions} partitions, cleanup {topic.cleanup}); if it is there, allow Describe on it"
        )
    if reason.code() not in _DENIED:
        raise_mapped(error, f"asking for {topic.name}")
    return f"topic {topic.name} may not be described: `crossdock topics --acls` shows what has to be allowed on it"


def _about(topic: Topic, described: Any, settings: KafkaSettings, brokers: int, rights: Collection[str]) -> Iterator[str]:
    count = len(described.partitions)
    if count != topic.partitions:
        yield (
            f"topic {topic.name} has {count} partitions, not {topic.partitions}: keys would be in other partitions than their "
            "rows; delete it and let crossdock make it anew, or use another cluster"
        )
    replicas = min(len(partition.replicas) for partition in described.partitions)
    wanted = settings.replication if settings.replication > 0 else min(brokers, 3)
    if replicas < wanted:
        yield (
            f"topic {topic.name} has {replicas} replica{'s' * (replicas > 1)} of {brokers} brokers, {wanted} are wanted: what is "
            "acknowledged may be lost with a broker; add replicas (kafka-reassign-partitions)"
        )
    if lost := [p.id for p in described.partitions if p.leader is None]:
        yield f"topic {topic.name} has no leader for its partitions {lost}: start the brokers that hold them"
    allowed = set(described.authorized_operations or ())
    lacking = [name for name, operation in _OPERATIONS.items() if name in rights and operation not in allowed] if allowed else []
    if lacking:
        yield f"topic {topic.name}: {' and '.join(lacking)} not allowed: `crossdock topics --acls` shows which role needs it"


def _about_config(topic: Topic, config: dict[str, str], replicas: int) -> Iterator[str]:
    policy = config["cleanup.policy"]
    retention_ms = int(config["retention.ms"])
    if (topic.cleanup == "compact") != (policy == "compact"):
        wanted = "compact" if topic.cleanup == "compact" else "delete"
        yield f"topic {topic.name} has cleanup.policy={policy}, it has to be {wanted}: records would be lost or kept forever"
    elif topic.cleanup == "keep" and (retention_ms >= 0 or int(config["retention.bytes"]) >= 0):
        yield f"topic {topic.name} forgets records, it has to keep all: set retention.ms=-1 and retention.bytes=-1"
    elif topic.cleanup == "delete" and topic.retention_ms is not None and 0 <= retention_ms < topic.retention_ms:
        yield f"topic {topic.name} keeps records {retention_ms} ms, not {topic.retention_ms}: set retention.ms"
    least = int(config["min.insync.replicas"])
    if replicas > 1 and least < 2 <= replicas - 1:
        yield (
            f"topic {topic.name} has min.insync.replicas={least} with {replicas} replicas: what is acknowledged may be on one "
            "broker only; set it to 2"
        )
    if least > replicas:
        yield f"topic {topic.name} has min.insync.replicas={least} but {replicas} replicas: nothing can be written; lower it"
    if (most := int(config["max.message.bytes"])) < MAX_RECORD_BYTES:
        yield f"topic {topic.name} takes records up to {most} bytes: set max.message.bytes={MAX_RECORD_BYTES}"
    if config.get("unclean.leader.election.enable") == "true":
        yield f"topic {topic.name} allows unclean leader elections, which lose what was acknowledged: set it to false"


def _configs(settings: KafkaSettings, admin: AdminClient, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    """Of those that may be read."""
    if not topics:
        return {}
    found: dict[str, dict[str, str]] = {}
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    for resource, future in admin.describe_configs(resources, request_timeout=settings.request_s).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in future.result(settings.request_s + 5).items()}
        except KafkaException as error:
            if error.args[0].code() not in _DENIED:
                raise_mapped(error, f"asking for {resource.name}")
    return found


def _result(settings: KafkaSettings, future: Any, what: str) -> Any:
    try:
        return future.result(settings.request_s + 5)
    except KafkaException as error:
        raise_mapped(error, what)
