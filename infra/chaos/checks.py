"""What the simulation's checks do not see of real brokers: each output there once, and the workers' local rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from infra.chaos.system_under_test import KafkaSystemUnderTest, inputs_of
from infra.chaos.worker import LIMITS, by_group, kafka_settings
from infra.simulation import invariants
from infra.simulation.observe import ALL
from infra.simulation.system_under_test import all_flows
from schemas import topics
from schemas.records import Headers
from streams.engine.fates import is_state
from streams.engine.kafka.log import KafkaLog
from streams.engine.log import Outgoing, Store, TopicPartition, Unavailable
from streams.engine.memory.log import MemoryStore
from streams.engine.outputs import Outputs
from streams.engine.partition import Flow, Limits, open_partition, store_id
from streams.engine.quarantine import pause_noted
from streams.engine.verify import verify

MOST = 5
POLLS = 600
POLL_S = 0.1


class RecordContent(NamedTuple):
    """A record but for its offset and time."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def folded_again(system: KafkaSystemUnderTest) -> Iterator[str]:
    """I3, and exactly once: folding every input again from its start makes the rows there are, and says what was said.

    What is derived once a commit depends on where commits were cut; its topics are compacted, and looked at elsewhere.
    """
    log = system.log
    wanted: Counter[RecordContent] = Counter()
    for flow in all_flows(system.policy):
        for topic in inputs_of(flow):
            for index in range(topic.partitions):
                at = TopicPartition(topic.name, index)
                if not (records := log.read(at, 0, ALL)):
                    continue
                again = open_partition(flow, at, MemoryStore(), log, system.codec, Limits())
                again.apply(records)
                wanted.update(map(_said, again.outgoing))
                folded = {key: row for key, row in again.changes() if row is not None and is_state(key)}
                live = {key: row for key, row in log.store(store_id(flow, at)).range(b"", None) if is_state(key)}
                yield from _few(invariants.compare(f"{flow.name} {topic.name}/{index}, folded again, row", folded, live))
    wanted.update(map(_said, _pauses(system)))
    yield from _few(_said_once(system, wanted))


def _pauses(system: KafkaSystemUnderTest) -> list[Outgoing]:
    """Each pause once, and what people are told of it. Where they come depends on when earlier ones ended."""
    found: list[Outgoing] = []
    emit = Outputs(topics.ENGINE, system.log, system.codec, found).emit
    records = system.log.read(TopicPartition(topics.PAUSES.name, 0), 0, ALL)
    for pause in {pause.event_id: pause for pause in (system.codec.decode(record.value or b"") for record in records)}.values():
        emit(pause)
        emit(pause_noted(pause))
    return found


def _said(out: Outgoing) -> RecordContent:
    return RecordContent(out.topic, out.partition, out.key, out.value, out.headers)


def _said_once(system: KafkaSystemUnderTest, wanted: Counter[RecordContent]) -> Iterator[str]:
    sent: Counter[RecordContent] = Counter()
    for out, count in system.kafka.appended.items():
        sent[_said(out)] += count
    resent = set(map(_said, system.kafka.resent))
    found: Counter[RecordContent] = Counter()
    for topic in system.topics:
        if topic.cleanup != "compact":
            for index in range(topic.partitions):
                for r in system.log.read(TopicPartition(topic.name, index), 0, ALL):
                    found[RecordContent(r.topic, r.partition, r.key, r.value, r.headers)] += 1
    kept = {topic.name for topic in system.topics if topic.cleanup != "compact"}
    expected = Counter({said: count for said, count in (wanted + sent).items() if said.topic in kept})
    for said in sorted(expected.keys() | found.keys(), key=str):
        there, should = found[said], expected[said]
        if there < should or (there > should and said not in resent):
            yield f"{said.topic}/{said.partition} has {_shown(said)} {there} times, not {should}"


def local_rows(system: KafkaSystemUnderTest) -> Iterator[str]:
    """With all workers stopped: each worker's directory gives, once it owns everything, the rows of the changelog."""
    for worker in system.fleet.workers:
        log = KafkaLog(kafka_settings(worker.settings.bootstrap), worker.directory)
        try:
            for group, flows in by_group(system.name, all_flows(system.policy)).items():
                yield from _few(_rows_of(system, log, group, flows, worker.directory.name))
        finally:
            log.close()


def verified(system: KafkaSystemUnderTest) -> Iterator[str]:
    """`crossdock verify` says so too, on a machine that has no rows yet."""
    log = KafkaLog(kafka_settings(system.bootstrap), system.directory / "verifier")
    try:
        for group, flows in by_group(system.name, all_flows(system.policy)).items():
            report = verify(log, flows, system.codec, group=group, limits=LIMITS)
            yield from _few(f"verify: {one.flow} {one.partition}: {one.problem}" for one in report.partitions if not one.is_same)
    finally:
        log.close()


def _rows_of(system: KafkaSystemUnderTest, log: KafkaLog, group: str, flows: list[Flow], who: str) -> Iterator[str]:
    listener = _Everything()
    wanted = {(flow, TopicPartition(t.name, i)) for flow in flows for t in inputs_of(flow) for i in range(t.partitions)}
    member = log.join(group, [topic.name for flow in flows for topic in inputs_of(flow)], listener)
    try:
        problems = ["nobody gave it the partitions"]
        for _ in range(POLLS):
            try:
                member.poll(1, POLL_S)
                if {at for _, at in wanted} <= listener.owned:
                    ids = sorted({store_id(flow, at) for flow, at in wanted})
                    problems = [
                        text for one in ids for text in _differences(system.log.store(one), member.store(one), f"{who}, {one}")
                    ]
                    break
            except Unavailable:
                continue  # a damaged store, found only now: it is made again
        yield from problems
    finally:
        member.close()


def _differences(there: Store, here: Store, where: str) -> Iterator[str]:
    for changelog, local in zip_longest(there.range(b"", None), here.range(b"", None)):
        if changelog != local:
            yield f"{where}: the changelog has {changelog}, the local store {local}"
            return


class _Everything:
    def __init__(self) -> None:
        self.owned: set[TopicPartition] = set()

    def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self.owned |= partitions

    def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.owned -= partitions


def _few(problems: Iterator[str]) -> Iterator[str]:
    for _, problem in zip(range(MOST), problems, strict=False):
        yield problem


def _shown(said: RecordContent) -> str:
    return f"{(said.key or b'').decode(errors='replace')}: {(said.value or b'')[:80]!r}"
