"""What each role needs is what it does: nothing of another's topics, groups and transactions."""

from __future__ import annotations

import pytest

from schemas import topics
from streams.agents.faust_app import GROUP as FAUST_GROUP
from streams.runtime.kafka_acls import ACTING, PARTIES, WRITES, ClusterTopics, Party, Permission, cluster_of, commands
from streams.settings.settings import Settings

CLUSTER: ClusterTopics = cluster_of(Settings(log=""))
NAMES = {topic.name for topic in CLUSTER.topics}
INBOXES = {topic.name for topic in CLUSTER.topics if topic.is_inbox}
RAW = {topic.name for topic in CLUSTER.topics if topic.is_raw}
DECIDED = {topics.INTERVENTIONS.name, topics.REPLAYS.name}
"""What people decide about the running of it."""
PUBLISHED = NAMES - INBOXES - RAW - DECIDED
CONTROLS = {topics.PAUSES.name, topics.INTERVENTIONS.name}


def may(party: Party, operation: str, cluster: ClusterTopics = CLUSTER) -> set[str]:
    """The topics of ours that a party may do it with."""
    found = {need.name for need in cluster.needs(party) if need.resource == "topic" and operation in need.operations}
    return found & NAMES


@pytest.mark.parametrize(
    ("party", "reads", "writes"),
    [
        ("translate", RAW | CONTROLS, INBOXES - {topics.DELIVERY_INBOX.name} | {topics.DEAD_LETTERS.name, topics.PAUSES.name}),
        ("fold", INBOXES | CONTROLS, INBOXES | PUBLISHED),
        (
            "act",
            {topics.DISPATCH.name},
            {t.name for t in (topics.DELIVERY_INBOX, topics.ORDER_INBOX, topics.PROMISE_INBOX, topics.EXCEPTIONS_INBOX)},
        ),
        ("serve", NAMES - {topics.DISPATCH.name}, INBOXES | RAW | DECIDED),
        ("ingest", set(), RAW),
        ("operator", set(), set()),
    ],
)
def test_topics_are_read_and_written_by_those_who_do(party: Party, reads: set[str], writes: set[str]) -> None:
    assert may(party, "Read") == reads
    assert may(party, "Write") == writes
    assert may(party, "Create") == (NAMES if party == "operator" else set())


def test_every_declared_writer_is_somebody() -> None:
    """Who writes a topic and is not a flow is said to be a role."""
    declared = {w for t in CLUSTER.topics for w in (*t.writers, *(writer for c in t.carries for writer in c.writers))}
    assert declared - {flow.name for flow in CLUSTER.flows} == set(WRITES)
    assert set().union(*(may(party, "Write") for party in PARTIES)) == NAMES


def test_groups_and_transactions_are_a_roles_own() -> None:
    """Only who is in a group may commit as it, and change its rows."""
    assert ACTING == FAUST_GROUP
    for party in PARTIES:
        needs = CLUSTER.needs(party)
        own = {f"crossdock.{party}"} if party in {"translate", "fold", "act"} else set()
        assert {need.name for need in needs if need.resource == "group" and "Read" in need.operations} == own
        works = party in {"translate", "fold"}
        assert {need for need in needs if need.resource == "transactional-id"} == (
            {Permission("transactional-id", f"crossdock.{party}.", ("Write", "Describe"), is_prefix=True)} if works else set()
        )
        changes = {need.name for need in needs if need.name.endswith(".changelog") and "Write" in need.operations}
        assert changes == ({f"crossdock.{party}.changelog"} if works else set())


def test_doors_bring_messages_into_their_channels_only() -> None:
    """A marketplace that is asked for its orders, by role act."""
    asked = {"market": {"channel": "marketplace", "url": "http://127.0.0.1:1/orders"}}
    cluster = cluster_of(Settings.model_validate({"log": "", "poll": asked}))
    assert may("act", "Write", cluster) - may("act", "Write") == {"raw.channel.marketplace"}
    assert may("act", "Read", cluster) - may("act", "Read") == {"raw.channel.marketplace"}


def test_one_user_for_several_roles_has_each_resource_once() -> None:
    """And is allowed no more than the roles are."""
    both = CLUSTER.needs("fold", "translate")
    assert len({(need.resource, need.name) for need in both}) == len(both)
    apart = {(n.resource, n.name, o) for party in ("fold", "translate") for n in CLUSTER.needs(party) for o in n.operations}
    assert {(need.resource, need.name, operation) for need in both for operation in need.operations} == apart


def test_commands_name_all_that_is_needed() -> None:
    """Each call allows the same operations on all the resources it names."""
    needs = [
        Permission("topic", "a", ("Read",)),
        Permission("topic", "b", ("Read",)),
        Permission("group", "g.", ("Read",), is_prefix=True),
    ]
    assert [" ".join(words) for words in commands("User:u", needs)] == [
        "--add --allow-principal User:u --operation Read --topic a --topic b",
        "--add --allow-principal User:u --operation Read --resource-pattern-type prefixed --group g.",
    ]
