"""Questions to the brokers about groups and topics, each in few requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.topics import Topic
from streams.engine.kafka.clients import KafkaSettings, asked, place, places
from streams.engine.kafka.findings import findings
from streams.engine.kafka.process_name import GroupMember
from streams.engine.log import Rights, TopicPartition

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class KafkaAdmin:
    """Safe from any thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = AdminClient(settings.of_any())
        self._askers: dict[str, Consumer] = {}
        self._lock = Lock()

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Committed positions of a group (the log's start if none), and the ends of what is decided. Raises `Unavailable`."""
        wanted = list(dict.fromkeys(partitions))
        if not wanted:
            return {}
        committed = self.committed(group, wanted)
        ends = self.ends(wanted)
        unread = [partition for partition in wanted if partition not in committed]
        committed |= self._offsets(unread, _EARLIEST, IsolationLevel.READ_COMMITTED) if unread else {}
        return {partition: (committed[partition], ends[partition]) for partition in wanted}

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Committed positions of a group: only where there is one."""
        asker, wanted = self._asker(group), places(partitions)

        def call() -> dict[TopicPartition, int]:
            found: dict[TopicPartition, int] = {}
            for one in asker.committed(wanted, timeout=self._settings.request_s):
                if one.error is not None:
                    raise KafkaException(one.error)
                if one.offset >= 0:
                    found[TopicPartition(one.topic, one.partition)] = one.offset
            return found

        return asked(call, f"asking how far group {group} is", self._settings.request_s)

    def ends(self, partitions: Iterable[TopicPartition], *, decided: bool = True) -> dict[TopicPartition, int]:
        """Where partitions end: before the first open transaction, or (not `decided`) after all that was written."""
        level = IsolationLevel.READ_COMMITTED if decided else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, _LATEST, level)

    def members(self, group: str) -> list[GroupMember]:
        """Who is in a group now. Raises `Unavailable`."""

        def call() -> list[GroupMember]:
            asked_s = self._settings.request_s
            found = self._admin.describe_consumer_groups([group], request_timeout=asked_s)[group].result(asked_s + 5)
            return [
                GroupMember(m.member_id, frozenset(filter(None, (m.client_id, m.group_instance_id))), m.host)
                for m in found.members
            ]

        return asked(call, f"asking who is in group {group}", self._settings.request_s, self._admin)

    def findings(self, topics: Sequence[Topic], rights: Rights) -> list[str]:
        """What is not as it has to be for these topics, each with what to do."""
        return findings(self._settings, self._admin, topics, rights)

    def close(self) -> None:
        """Ask no more."""
        with self._lock:
            for asker in self._askers.values():
                asker.close()
            self._askers.clear()

    def _asker(self, group: str) -> Consumer:
        """A consumer that never joins its group, and does not wait for open transactions.

        Not the admin client: asked for a group's offsets just after a broker's start, librdkafka 2.16.1 has crashed the process.
        """
        with self._lock:
            if group not in self._askers:
                self._askers[group] = Consumer({**self._settings.of_consumers(group), "isolation.level": "read_uncommitted"})
            return self._askers[group]

    def _offsets(
        self, partitions: Iterable[TopicPartition], spec: OffsetSpec, level: IsolationLevel
    ) -> dict[TopicPartition, int]:
        request: dict[Place, OffsetSpec] = {place(partition): spec for partition in partitions}

        def call() -> dict[TopicPartition, int]:
            futures = self._admin.list_offsets(request, isolation_level=level, request_timeout=self._settings.request_s)
            found = {TopicPartition(at.topic, at.partition): future.result().offset for at, future in futures.items()}
            if any(offset < 0 for offset in found.values()):  # no error is told where a partition has no leader
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            return found

        return asked(call, f"asking where {len(request)} partitions end", self._settings.request_s, self._admin)
