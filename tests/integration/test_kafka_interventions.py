"""Halts, skips, pauses and replays on a real broker are as on the embedded log, also from another process and after a restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from schemas import topics
from schemas.inventory import Atp
from schemas.operations import DeadLetter, RecordSkipped, SourcePaused, SourceResumed
from streams.commands.replay import Replays
from streams.engine.controls import FollowedControls
from streams.engine.kafka.log import KafkaLog
from streams.engine.limits import Limits, SourceLimit
from streams.engine.log import Log, Outgoing, TopicPartition
from streams.engine.partition import Flow, PartitionHalted
from streams.engine.verify import verify
from streams.engine.worker import Pace, Worker
from tests.support.kafka_worker import settings
from tests.support.log_harness import everything, fresh, until
from tests.support.toy_flows import ALL_TOPICS, CODEC, INBOX, item_changed, raw, received, to_inbox, toy_fold, toy_translator

pytestmark = pytest.mark.kafka
PATIENCE_S = 60.0
HEAD: dict[str, Any] = {"source": "api", "source_position": 1, "trace_id": "r", "occurred_at_ms": 1, "recorded_at_ms": 1}


@pytest.fixture
def log(broker: str, tmp_path: Path) -> Iterator[KafkaLog]:
    """Topics that no other test has written to."""
    admin = AdminClient({"bootstrap.servers": broker})
    names = {topic.name for topic in ALL_TOPICS}
    there = names & set(admin.list_topics(timeout=10).topics)
    for future in (admin.delete_topics(list(there)) if there else {}).values():
        future.result(10)
    until(lambda: not names & set(admin.list_topics(timeout=10).topics))
    made = KafkaLog(settings(broker), tmp_path / "here")
    made.create(ALL_TOPICS)
    yield made
    made.close()


def worker_on(log: Log, group: str, flows: Sequence[Flow]) -> Worker:
    pace = Pace(max_batch=50, min_batch=50, poll_s=0.05, backoff_s=(0.01, 0.1))
    limits = Limits(source=SourceLimit(10))
    return Worker(log, flows, CODEC, group=group, pace=pace, limits=limits, clock_ms=lambda: 0)


def step_until(worker: Worker, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        worker.step(0.1)
        assert time.monotonic() < deadline, "it did not come to that in time"


def said(log: Log, kind: type[Any]) -> list[Any]:
    topic = topics.ROUTES[kind].topic
    found = [CODEC.decode(record.value or b"") for record in everything(log, topic.name)]
    return [event for event in found if type(event) is kind]


def test_a_halt_is_left_by_a_skip_from_another_process(log: KafkaLog, broker: str, tmp_path: Path) -> None:
    bad = to_inbox(received("SKU-1", "W-1", "BROKEN"))
    log.append([to_inbox(item_changed("SKU-1")), bad, to_inbox(received("SKU-1", "W-2"))])
    group, at = fresh("halted"), TopicPartition(INBOX, bad.partition)
    worker = worker_on(log, group, [toy_fold()])
    with pytest.raises(PartitionHalted) as halted:
        step_until(worker, lambda: False)
    assert (halted.value.partition, halted.value.offset) == (at, log.committed(group, at))
    worker.close()

    record = f"{at.topic}/{at.partition}/{halted.value.offset}"
    other = KafkaLog(settings(broker), tmp_path / "other")
    skip = RecordSkipped(**HEAD, event_id="s", record=record, person="ada", reason="by hand")
    other.append([Outgoing(topics.INTERVENTIONS.name, 0, record.encode(), CODEC.encode(skip))])
    other.close()
    worker = worker_on(log, group, [toy_fold()])
    step_until(worker, lambda: any(atp.atp_milli == 1_000 for atp in said(log, Atp)))
    (letter,) = said(log, DeadLetter)
    assert letter.reason.startswith("skipped by ada: by hand")
    worker.close()
    report = verify(log, [toy_fold()], CODEC, group=group)
    assert report.is_same, [one.problem for one in report.partitions]


def test_a_paused_source_stays_so_after_a_restart_and_is_resumed_while_it_runs(log: KafkaLog) -> None:
    log.append([*(raw(b"junk %d" % n) for n in range(15)), raw(b'{"sequence": 1, "item": "SKU-1"}')])
    group, at = fresh("paused"), TopicPartition(topics.RAW_WMS.name, 0)
    worker = worker_on(log, group, [toy_translator()])
    step_until(worker, lambda: bool(said(log, SourcePaused)))
    assert len(said(log, DeadLetter)) == 10
    worker.close()
    worker = worker_on(log, group, [toy_translator()])
    stands = log.committed(group, at)
    quiet = time.monotonic() + 3
    step_until(worker, lambda: time.monotonic() > quiet)
    assert log.committed(group, at) == stands

    controls = FollowedControls(log, CODEC)
    controls.look()
    (pause,) = controls.paused()
    controls.close()
    resumed = SourceResumed(**HEAD, event_id="r", target="wms", pauses=[pause.event_id], person="ada", reason="corrected")
    log.append([Outgoing(topics.INTERVENTIONS.name, 0, b"wms", CODEC.encode(resumed))])
    step_until(worker, lambda: len(everything(log, INBOX)) >= 1 and len(said(log, DeadLetter)) == 15)
    worker.close()


def test_a_dead_letter_is_fed_once_by_two_callers(log: KafkaLog) -> None:
    log.append([raw(b"junk")])
    group = fresh("replayed")
    worker = worker_on(log, group, [toy_translator()])
    step_until(worker, lambda: bool(said(log, DeadLetter)))
    first, second = Replays(log, CODEC, lambda: 9), Replays(log, CODEC, lambda: 9)
    for replays in (first, second):
        replays._is_fed = lambda letter: False  # type: ignore[method-assign] # as if both had looked before either wrote
        assert replays.one("raw.wms/0/0", "ada") is not None
    step_until(
        worker, lambda: len(everything(log, topics.RAW_WMS.name)) == 3 and sum(f.inputs for f in worker.fates().values()) == 3
    )
    (fates,) = [row for row in worker.fates().values() if row.inputs]
    assert (fates.dead_lettered, fates.duplicate) == (2, 1)
    worker.close()
