"""The system under test: worker processes on brokers. The same face as the simulation's system under test, so the same checks
run on it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from infra.chaos.fleet import Fleet
from infra.chaos.mirror import Mirror, Watcher
from infra.chaos.worker import LIMITS, WorkerSettings, by_group, kafka_settings
from infra.simulation.facts import RawMessage
from infra.simulation.system_under_test import NeverRests, SystemUnderTest, all_flows, all_topics
from schemas.base import Tick
from schemas.codec import Codec
from schemas.topics import PROMISE_INBOX, Topic, source_of
from streams.commands.interventions import Interventions
from streams.engine.flow import Fold
from streams.engine.kafka.log import KafkaLog
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import NO_FAULTS
from streams.engine.partition import Flow
from tables.common.policy import Policy

REST_S = 240.0
APPEND_S = 120.0
LOOK_S = 0.1
_EVER_MS = 2**62


def _never() -> bool:
    return False


class SendersLog(KafkaLog):
    """The log of all who are not workers. `appended`: what was acknowledged, by record: each once, unless it had to be said again
    (`resent`).
    """

    def __init__(self, bootstrap: str, directory: Path) -> None:
        super().__init__(kafka_settings(bootstrap), directory)
        self.appended: Counter[Outgoing] = Counter()
        self.resent: set[Outgoing] = set()

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """As always, and kept in mind."""
        try:
            offsets = super().append(records)
        except Unavailable:
            self.resent.update(records)
            raise
        self.appended.update(records)
        return offsets


class KafkaSystemUnderTest(SystemUnderTest):
    """Senders, a mirror of what the brokers hold, and the fleet. `minded`: workers that hung and were started again."""

    def __init__(self, dice: Random, policy: Policy, bootstrap: str, directory: Path, name: str) -> None:
        self.dice, self.policy, self.codec, self.faults = dice, policy, Codec(), NO_FAULTS
        self.crash, self.crashes, self.unavailable, self.now_ms, self.workers = 0.0, 0, 0, 0, []
        self.flows = all_flows
        self.name, self.directory, self.bootstrap = name, directory, bootstrap
        self.groups = {
            group: [TopicPartition(t.name, i) for flow in flows for t in inputs_of(flow) for i in range(t.partitions)]
            for group, flows in by_group(name, all_flows(policy)).items()
        }
        # Every input is needed to the end.
        self.topics = [replace(topic, cleanup="keep") if topic.cleanup == "delete" else topic for topic in all_topics()]
        self.kafka = SendersLog(bootstrap, directory / "sender")
        self.kafka.create(self.topics)
        _take_any_time(bootstrap, [topic.name for topic in self.topics])
        changelogs = [
            Topic(f"{group}.changelog", "row", "engine", 1_000, (), max(at.partition for at in inputs) + 1, "compact")
            for group, inputs in self.groups.items()
        ]
        self.kafka.create(changelogs)
        self.log: Mirror = Mirror(self.topics, [topic.name for topic in changelogs])
        everything = [TopicPartition(t.name, i) for t in [*self.topics, *changelogs] for i in range(t.partitions)]
        self.watcher = Watcher(bootstrap, self.log, everything)
        self.fleet = Fleet([])
        self.minded: list[str] = []

    def settings(self, bootstrap: str, directory: Path, most: int, *, is_static: bool = False) -> WorkerSettings:
        """What one of its workers is told."""
        sites = {name: (site.physical_owner, site.past_due_days) for name, site in self.policy.sites.items()}
        return WorkerSettings(bootstrap, str(directory), self.name, dict(sites), most, is_static=is_static)

    def time_ms(self) -> int:
        """The senders' clock is right: wrong ones are a fault of their own here."""
        return self.now_ms

    def step_clock(self, share: float) -> None:
        """Nothing: see `time_ms`."""

    def right_clock(self) -> None:
        """Nothing: see `time_ms`."""

    def append(self, records: list[Outgoing]) -> None:
        """As a sender does: until it hears that the records are durable."""
        stamped = [record._replace(timestamp_ms=self.now_ms) for record in records]
        deadline = time.monotonic() + APPEND_S
        while True:
            try:
                self.kafka.append(stamped)
                return
            except Unavailable:
                self.unavailable += 1
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)

    def send(self, messages: Iterable[RawMessage]) -> None:
        """Raw messages, in order, a few at a time."""
        waiting = [self._raw(message) for message in messages]
        while waiting:
            count = self.dice.choice((1, 2, 5, 20))
            self.append(waiting[:count])
            del waiting[:count]

    def tick_at(self, at_ms: int) -> None:
        """The clock strikes another time than it is."""
        event = Tick(**(self.header("clock", f"tick:{at_ms}:{self.now_ms}") | {"occurred_at_ms": at_ms}))
        value, topic = self.codec.encode(event), PROMISE_INBOX
        self.append([Outgoing(topic.name, index, b"clock", value) for index in range(topic.partitions)])

    def person(self) -> Interventions:
        """A person at the controls, by the means of `crossdock resume`. Close it."""
        return Interventions(self.kafka, all_flows(self.policy), self.codec, lambda: self.now_ms, LIMITS)

    def rest(self, *, but_for: str | None = None, until: Callable[[], bool] = _never) -> None:
        """Wait until everything is read and committed, and no transaction is open. Raises `NeverRests` with the reason.

        `but_for`: a source that is paused. `until`: or until this is so.
        """
        groups = {
            group: [at for at in inputs if but_for is None or source_of(at.topic) != but_for]
            for group, inputs in self.groups.items()
        }
        deadline = time.monotonic() + REST_S
        while not until() and (why := self.watcher.unrest(groups)) is not None:
            self.minded += self.fleet.mind()
            if died := self.fleet.died():
                raise NeverRests("; ".join(died))
            if time.monotonic() > deadline:
                raise NeverRests(f"no rest within {REST_S:.0f} s: {why}; the workers say:\n{self._asked()}")
            time.sleep(LOOK_S)

    def _asked(self) -> str:
        for worker in self.fleet.workers:
            worker.ask()
        time.sleep(1)
        return "\n".join(f"{worker.directory.name}: {worker.last_words()}" for worker in self.fleet.workers if worker.is_running)

    def is_done(self) -> bool:
        """Whether it is at rest now."""
        return self.watcher.unrest(self.groups) is None

    def close(self) -> None:
        """Let go of the brokers."""
        self.watcher.close()
        self.kafka.close()


def _take_any_time(bootstrap: str, names: list[str]) -> None:
    """The simulated days go by faster than the brokers' own, and records from the future are not taken by default."""
    wanted = ConfigEntry("message.timestamp.after.max.ms", str(_EVER_MS), incremental_operation=AlterConfigOpType.SET)
    resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[wanted]) for name in names]
    admin = AdminClient(kafka_settings(bootstrap).of_any())
    for future in admin.incremental_alter_configs(resources).values():
        future.result(APPEND_S)


def inputs_of(flow: Flow) -> tuple[Topic, ...]:
    """The topics a flow reads."""
    return (flow.inbox,) if isinstance(flow, Fold) else tuple(flow.topics)
