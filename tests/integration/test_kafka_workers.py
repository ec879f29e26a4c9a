"""Workers on a real broker: killed at each named point, frozen past their session, with damaged stores. All counts once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from infra.chaos.points import INSIDE
from schemas import topics
from streams.engine.kafka.commits import CommitAnchor
from streams.engine.kafka.log import KafkaLog
from streams.engine.kafka.store import open_store, row_prefix
from streams.engine.kafka.topics import KafkaTopics
from streams.engine.verify import verify
from tests.support.kafka_worker import finish, settings, worker_on
from tests.support.log_harness import everything, fresh, until
from tests.support.toy_flows import ALL_TOPICS, CODEC, fates, run, toy_fold
from tests.unit.engine.test_worker import POINTS, a_day

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.kafka
LEDGER = topics.LEDGER.name


@pytest.fixture
def a_days_log(broker: str, tmp_path: Path) -> Iterator[KafkaLog]:
    """A day's inputs in topics that no other test has written to."""
    admin = AdminClient({"bootstrap.servers": broker})
    names = {topic.name for topic in ALL_TOPICS}
    there = names & set(admin.list_topics(timeout=10).topics)
    for future in (admin.delete_topics(list(there)) if there else {}).values():
        future.result(10)
    until(lambda: not names & set(admin.list_topics(timeout=10).topics))
    log = KafkaLog(settings(broker), tmp_path / "here")
    log.create(ALL_TOPICS)
    log.append(a_day())
    yield log
    log.close()


def child(broker: str, directory: Path, group: str, point: str, nth: int, how: int) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tests.support.kafka_worker", broker, str(directory), group, point, str(nth), str(how)]
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def require_once(log: KafkaLog, group: str, counted: dict[str, int]) -> None:
    """The state is the fold of the log, and each input had its effects once."""
    report = verify(log, [toy_fold()], CODEC, group=group)
    assert report.is_same, [one.problem for one in report.partitions]
    expected, judge = run(*a_day())
    assert counted == fates(judge)
    wanted = sorted(record.value or b"" for record in everything(expected, LEDGER))
    assert sorted(record.value or b"" for record in everything(log, LEDGER, len(wanted))) == wanted


@pytest.mark.parametrize(("point", "nth"), [(point, 2) for point in POINTS] + [(point, 3) for point in INSIDE])
def test_a_killed_worker_leaves_what_the_next_one_needs(
    a_days_log: KafkaLog, broker: str, tmp_path: Path, point: str, nth: int
) -> None:
    """kill -9 between any two steps of a batch. The next worker has the dead one's directory."""
    group = fresh("killed")
    died = child(broker, tmp_path / "there", group, point, nth, signal.SIGKILL)
    _, errors = died.communicate(timeout=60)
    assert died.returncode == -signal.SIGKILL, errors
    log = KafkaLog(settings(broker), tmp_path / "there")
    worker = worker_on(log, group)
    finish(log, group, worker)
    counted = fates(worker)
    worker.close()
    require_once(log, group, counted)
    log.close()


@pytest.mark.parametrize("point", ["before_commit", "records_written", "offsets_sent"])
def test_a_frozen_worker_is_fenced(a_days_log: KafkaLog, broker: str, tmp_path: Path, point: str) -> None:
    """Another takes its partitions over while it stands still; what it had in hand is void when it goes on."""
    group = fresh("frozen")
    zombie = child(broker, tmp_path / "there", group, point, 2, signal.SIGSTOP)
    until(lambda: os.waitid(os.P_PID, zombie.pid, os.WSTOPPED | os.WNOHANG))
    worker = worker_on(a_days_log, group)
    finish(a_days_log, group, worker)
    zombie.send_signal(signal.SIGCONT)
    deadline_polls = iter(range(600))
    while zombie.poll() is None:
        next(deadline_polls)
        worker.step(0.1)
    said, errors = zombie.communicate()
    assert said == "fenced 1\n", errors
    finish(a_days_log, group, worker)
    until(lambda: worker.step(0.05).inputs == 0 and len(worker.fates()) == 4)
    counted = fates(worker)
    worker.close()
    require_once(a_days_log, group, counted)


@pytest.mark.parametrize("damage", ["gone", "torn", "ahead", "other history"])
def test_a_damaged_store_is_made_again(a_days_log: KafkaLog, broker: str, tmp_path: Path, damage: str) -> None:
    """Rows are a cache of the changelog: lost, unreadable, or of a changelog that has lost its end, and perhaps grown past it."""
    group, directory = fresh("damaged"), tmp_path / "there"
    log = KafkaLog(settings(broker), directory)
    worker = worker_on(log, group)
    finish(log, group, worker)
    counted = fates(worker)
    worker.close()
    log.close()
    stores = list((directory / "stores" / group).iterdir())
    assert len(stores) == 4
    for store in stores:
        if damage == "gone":
            shutil.rmtree(store)
        elif damage == "torn":
            for file in store.glob("*.sst"):
                file.write_bytes(b"\0" * file.stat().st_size)
            (store / "CURRENT").write_text("MANIFEST-000000\n")
    if damage in {"ahead", "other history"}:
        put_ahead(stores, KafkaTopics(settings(broker)).identity(f"{group}.changelog"), 1_000 if damage == "ahead" else 0)
    log = KafkaLog(settings(broker), directory)
    require_once(log, group, counted)
    log.close()


def put_ahead(stores: list[Path], identity: str, by: int) -> None:
    """As if the changelog had been another, with rows that it does not have."""
    for path in stores:
        store = open_store(path, identity)
        assert store.anchor is not None
        anchor = CommitAnchor(store.anchor.offset, bytes(16))
        store.apply([(row_prefix("promise") + b"never", b"was")], store.position + by, anchor=anchor)
        store.close()
