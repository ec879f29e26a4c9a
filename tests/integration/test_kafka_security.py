"""Each role as a user of its own, by password and by certificate, with the rights that are declared for it and no others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import DeliveryTick
from streams.cli import rights
from streams.commands.api_commands import OrderIntake
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.worker import Worker
from streams.flows.groups import Role, group_by_role, role_of, stores_of, topics_of
from streams.queries.published import Published
from streams.queries.table_views import TableView
from streams.runtime.app import now_ms
from streams.runtime.kafka_acls import ACTING, PARTIES, Party, cluster_of
from streams.settings.settings import Settings
from tests.support.endpoints import Endpoint
from tests.support.faust_agents import Answers, dispatch, host, record_of
from tests.support.log_harness import topic
from tests.support.secured_kafka import Secured, Way, secured_broker

pytestmark = pytest.mark.kafka
PATIENCE_S = 90.0
SETTINGS = Settings(log="")
CLUSTER = cluster_of(SETTINGS)
FLOWS = CLUSTER.flows
CODEC = Codec()
WAYS: tuple[Way, ...] = ("scram", "mtls")


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """All rights are given, and the operator has made the topics."""
    with secured_broker() as broker:
        for party in PARTIES:
            broker.allow(party, CLUSTER.needs(party))
        own = broker.settings("operator", "scram")
        rights.create(Settings.model_validate({"log": f"kafka://{own.bootstrap}", "kafka": {"clients": own.clients}}))
        yield broker


@pytest.fixture
def opened(secured: Secured, tmp_path: Path) -> Iterator[Callable[[Party, Way], KafkaLog]]:
    """The log as a role's process opens it."""
    logs: list[KafkaLog] = []

    def open_as(party: Party, way: Way) -> KafkaLog:
        log = KafkaLog(secured.settings(party, way), tmp_path / party)
        logs.append(log)
        log.create(CLUSTER.topics)
        return log

    yield open_as
    for log in logs:
        log.close()


def worker_on(log: KafkaLog, party: Party) -> Worker:
    flows = [flow for flow in FLOWS if role_of(flow) == party]
    return Worker(log, flows, CODEC, group=group_by_role(flows[0]))


def until(condition: Callable[[], object], *workers: Worker) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it in time"
        for worker in workers:
            worker.step(0.05)


@pytest.mark.parametrize("way", WAYS)
def test_each_role_can_do_its_work(opened: Callable[[Party, Way], KafkaLog], way: Way) -> None:
    """An order is taken, translated, folded, published and shown. The second way in finds the rows of the first restored."""
    translating, folding, serving = (opened(party, way) for party in ("translate", "fold", "serve"))
    folds = [flow for flow in FLOWS if role_of(flow) == "fold"]
    group = group_by_role(folds[0])
    serving.keep(group, stores_of(folds), topics_of(folds))
    published, tables = Published(serving, CODEC), TableView(serving, FLOWS)
    statuses = [TopicPartition(topics.ORDER_STATUS.name, n) for n in range(topics.ORDER_STATUS.partitions)]
    followed = serving.follow({at: serving.bounds(at)[1] for at in statuses})
    intake = OrderIntake(serving, published, SETTINGS.channels, now_ms)
    lines = [{"line": 1, "item": "A", "qty": "1"}]
    order_id, _ = intake.place(json.dumps({"channel": "web", "external_ref": way, "customer": "C", "lines": lines}).encode())
    workers = [worker_on(translating, "translate"), worker_on(folding, "fold")]
    until(lambda: any(record.key == order_id.encode() for record in followed.poll(100, 0)), *workers)
    until(lambda: published.order(order_id) is not None, *workers)
    until(lambda: serving.progress(group, statuses) and shown(tables, order_id), *workers)
    if way == WAYS[-1]:
        assert shown(tables, f"web:{WAYS[0]}")
    for worker in workers:
        assert worker.counters.unavailable == 0
        worker.close()


@pytest.mark.parametrize("way", WAYS)
def test_agents_take_dispatches_and_answer(secured: Secured, opened: Callable[[Party, Way], KafkaLog], way: Way) -> None:
    """In their group, with the folds' rows at hand: a tick goes to its inbox."""
    log = opened("act", way)
    folds = [flow for flow in FLOWS if role_of(flow) == "fold"]
    log.keep(group_by_role(folds[0]), stores_of(folds), topics_of(folds))
    until(lambda: all(kept.caught_up_ms is not None for kept in log.kept()) and log.kept())
    assert log.progress(group_by_role(folds[0]), [TopicPartition(topics.DELIVERY_INBOX.name, 0)])
    tick = DeliveryTick(
        event_id="tick", source=topics.CLOCK, source_position=1, occurred_at_ms=1, recorded_at_ms=1, trace_id="clock/1"
    )
    assert log.append([Outgoing(topics.DELIVERY_INBOX.name, 0, topics.CLOCK.encode(), CODEC.encode(tick))])
    with closing(Consumer(secured.settings("act", way).of_consumers(ACTING))) as consumer:
        consumer.subscribe([topics.DISPATCH.name])
        until(lambda: [consumer.poll(0.1)] and consumer.assignment())
        here = [Place(at.topic, at.partition, 0) for at in consumer.assignment()]
        consumer.commit(offsets=here, asynchronous=False)


@pytest.mark.parametrize("way", WAYS)
def test_agents_on_faust_get_in_the_same_way(secured: Secured, opened: Callable[[Party, Way], KafkaLog], way: Way) -> None:
    """Their own Kafka client takes the dispatch, in the group that role act may join; the answer is where the fold reads it."""
    acting, folding = opened("act", way), opened("fold", "scram")
    answers, halted = Answers(folding), list[str]()
    sent = dispatch(way, "portal1")
    with closing(Endpoint()) as endpoint:
        agents, _ = host(acting, secured.settings("act", way), endpoint.url, ACTING, halted.append, [], answers)
        agents.start()
        try:
            folding.append([record_of(sent)])
            until(lambda: not answers.is_open(sent) or halted)
        finally:
            agents.stop()
        assert halted == []
        assert [request.key for request in endpoint.effects] == [sent.obligation_id]


def shown(tables: TableView, order_id: str) -> bool:
    try:
        return tables.row("orders.orders", (order_id,), order_id) is not None
    except Unavailable:  # not caught up yet
        return False


@pytest.mark.parametrize("party", get_args(Role))
def test_a_role_with_its_rights_has_all_it_needs_and_is_told_what_it_lacks(
    opened: Callable[[Party, Way], KafkaLog], party: Party
) -> None:
    """What `crossdock doctor --roles` looks at."""
    rights = {need.name: need.operations for need in CLUSTER.needs(party) if need.resource == "topic"}
    declared = [topic for topic in CLUSTER.topics if topic.name in rights]
    log = opened(party, "scram")
    assert log.findings(declared, rights) == []
    lacking = {"translate": "Read and Write", "fold": "Read", "act": "Read and Write", "serve": "Write"}[party]
    (found,) = log.findings([topics.PROMISE_INBOX, topics.ATP], {topics.ATP.name: ("Describe", "Write", "Read")})
    assert f"{lacking} not allowed: `crossdock topics --acls` shows" in found


@pytest.mark.parametrize(
    ("party", "what", "does"),
    [
        ("fold", "a foreign system's messages", lambda log: log.append([Outgoing(topics.RAW_WMS.name, 0, None, b"{}")])),
        ("serve", "what folds publish", lambda log: log.append([Outgoing(topics.ATP.name, 0, b"A", b"1")])),
        ("ingest", "commands", lambda log: log.append([Outgoing(topics.PROMISE_INBOX.name, 0, b"A", b"1")])),
        ("serve", "another's group", lambda log: worker_on(log, "fold").step(10)),
        ("translate", "another's group", lambda log: worker_on(log, "fold").step(10)),
        ("operator", "anything but topics", lambda log: log.append([Outgoing(topics.ATP.name, 0, b"A", b"1")])),
        ("ingest", "reading", lambda log: log.read(TopicPartition(topics.RAW_WMS.name, 0), 0, 1)),
        ("fold", "making topics", lambda log: log.create([topic("not-ours", 1)])),
    ],
)
def test_a_role_is_refused_what_it_has_no_need_of(
    opened: Callable[[Party, Way], KafkaLog], party: Party, what: str, does: Callable[[KafkaLog], object]
) -> None:
    """At the brokers, and whoever asked is told what to look at."""
    log = opened(party, "scram")
    if what == "reading":
        opened("serve", "scram").append([Outgoing(topics.RAW_WMS.name, 0, None, b"{}")])
    with pytest.raises(Unavailable, match="This user may not do that: `crossdock topics --acls` shows"):
        does(log)


@pytest.mark.parametrize(
    ("way", "changed", "why"),
    [
        ("scram", {"sasl_password": "guessed"}, "invalid credentials"),
        ("scram", {"ssl_ca_location": "ssl.certificate.location"}, "certificate verify failed"),
        ("mtls", {"ssl_certificate_location": "", "ssl_key_location": ""}, "alert bad certificate"),
    ],
)
def test_whoever_is_not_let_in_is_told_why(secured: Secured, tmp_path: Path, way: Way, changed: dict[str, str], why: str) -> None:
    """A wrong password, an authority that did not sign the brokers' certificate, no certificate where one is asked for."""
    own = secured.clients["crossdock-serve"]["mtls"]
    settings = secured.settings("serve", way, **{name: own.get(value, value) for name, value in changed.items()})
    clients = {name: value for name, value in settings.clients.items() if value}
    with (
        closing(KafkaLog(KafkaSettings(settings.bootstrap, clients, request_s=5.0), tmp_path / "log")) as log,
        pytest.raises(Unavailable, match=rf"do not let this user in \(.*{why}.*look at the user, password and certificates"),
    ):
        log.create(CLUSTER.topics)
