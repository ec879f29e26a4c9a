"""What each role needs of Kafka brokers that let nobody do what no ACL allows. Declared here, and nowhere else.

Topics and who writes them are `schemas.topics`', who reads them the flows', groups and changelogs the engine's. What is said here
besides is who stands behind a writer that is not a flow, and what is read by those that are not flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from schemas import topics
from schemas.topics import Topic
from streams.engine.kafka.clients import READERS
from streams.engine.kafka.topics import changelog_name
from streams.engine.partition import Flow
from streams.engine.worker import GROUP
from streams.flows.groups import Role, by_group, group_by_role, role_of, topics_of
from streams.runtime.app import all_flows
from streams.runtime.open_log import all_topics
from streams.settings.settings import Settings

Party = Literal[Role, "ingest", "operator"]
PARTIES: tuple[Party, ...] = (*get_args(Role), "ingest", "operator")
"""The roles, and who is none: `ingest` brings raw messages (Kafka Connect, `crossdock ingest`), `operator` makes topics."""

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Alter", "AlterConfigs", "Describe", "DescribeConfigs"]

WRITES: dict[str, tuple[Party, ...]] = {
    topics.ENGINE: ("translate", "fold"),
    topics.CLOCK: ("act",),
    topics.AGENTS: ("act",),
    topics.API: ("serve",),
    topics.INGEST: ("ingest", "serve"),
}
"""Who writes in the name of a writer that is not a flow."""
ACTING = f"{GROUP}.act"
"""The group in which agents take dispatches."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What somebody does with a resource of the brokers. `is_prefix`: with all whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class ClusterTopics:
    """What there is on the brokers. `doors`: the raw topics into which role act itself brings messages."""

    flows: tuple[Flow, ...]
    topics: tuple[Topic, ...]
    doors: frozenset[str] = frozenset()

    def groups(self) -> dict[str, list[str]]:
        """The groups of workers, and what each reads."""
        return {group: topics_of(flows) for group, flows in by_group(self.flows, group_by_role).items()}

    def needs(self, *parties: Party) -> list[Permission]:
        """What they need together, by resource and name: nothing beyond it."""
        found: dict[tuple[Resource, str, bool], set[Operation]] = {}
        for party in parties:
            for need in self._operator() if party == "operator" else self._of(party):
                found.setdefault((need.resource, need.name, need.is_prefix), set()).update(need.operations)
        order = get_args(Operation)
        return [
            Permission(resource, name, tuple(sorted(operations, key=order.index)), is_prefix)
            for (resource, name, is_prefix), operations in sorted(found.items())
        ]

    def _operator(self) -> Iterator[Permission]:
        for name in (*(topic.name for topic in self.topics), *map(changelog_name, self.groups())):
            yield Permission("topic", name, ("Create", "Alter", "AlterConfigs", "Describe", "DescribeConfigs"))

    def _of(self, party: Party) -> Iterator[Permission]:
        # Whoever starts looks whether all topics are as declared.
        yield from (Permission("topic", topic.name, ("Describe", "DescribeConfigs")) for topic in self.topics)
        yield from (Permission("topic", name, ("Write",)) for name in self._written(party))
        yield from (Permission("topic", name, ("Read",)) for name in self._read(party))
        yield from self._groups(party)

    def _written(self, party: Party) -> Iterator[str]:
        roles: dict[str, tuple[Party, ...]] = {**WRITES, **{flow.name: (role_of(flow),) for flow in self.flows}}
        for topic in self.topics:
            writers = {*topic.writers, *(writer for carried in topic.carries for writer in carried.writers)}
            if any(party in roles.get(writer, ()) for writer in writers):
                yield topic.name
        if party == "act":
            yield from self.doors
        if party == "serve":  # what was quarantined is fed again
            yield from topics_of(self.flows)

    def _read(self, party: Party) -> Iterator[str]:
        if party == "act":  # where its doors have got to; rows: what waits for an answer, and whose time has come
            yield from (topics.DISPATCH.name, *self.doors, changelog_name(self._group("fold")))
        elif party == "serve":  # it shows all that is published, how old the newest input is, and rows of any flow
            yield from (topic.name for topic in self.topics if topic != topics.DISPATCH)
            yield from map(changelog_name, self.groups())
        else:
            yield from topics_of([flow for flow in self.flows if role_of(flow) == party])
            if party in {"translate", "fold"}:  # what is paused, and what is to be skipped
                yield from (topics.PAUSES.name, topics.INTERVENTIONS.name)

    def _groups(self, party: Party) -> Iterator[Permission]:
        yield Permission("group", READERS, ("Describe",))
        if party in {"translate", "fold"}:
            group = self._group(party)
            yield Permission("group", group, ("Read",))
            yield Permission("topic", changelog_name(group), ("Read", "Write"))
            yield Permission("transactional-id", f"{group}.", ("Write", "Describe"), is_prefix=True)
        elif party == "act":
            yield Permission("group", ACTING, ("Read",))
            yield Permission("group", self._group("fold"), ("Describe",))
        elif party == "serve":
            yield from (Permission("group", group, ("Describe",)) for group in self.groups())

    def _group(self, role: Party) -> str:
        return next(group_by_role(flow) for flow in self.flows if role_of(flow) == role)


def cluster_of(settings: Settings) -> ClusterTopics:
    """What there is with these settings."""
    doors = frozenset(topics.raw_channel(door.channel).name for door in settings.doors())
    return ClusterTopics(tuple(all_flows(settings)), tuple(all_topics(settings)), doors)


def commands(principal: str, needs: Iterable[Permission]) -> list[list[str]]:
    """Kafka's own tool, `kafka-acls.sh`, called so that it allows all of it."""
    found: dict[tuple[Resource, bool, tuple[Operation, ...]], list[str]] = {}
    for need in needs:
        found.setdefault((need.resource, need.is_prefix, need.operations), []).append(need.name)
    return [
        [
            *("--add", "--allow-principal", principal),
            *(word for operation in operations for word in ("--operation", operation)),
            *(("--resource-pattern-type", "prefixed") if is_prefix else ()),
            *(word for name in names for word in (f"--{resource}", name)),
        ]
        for (resource, is_prefix, operations), names in found.items()
    ]
