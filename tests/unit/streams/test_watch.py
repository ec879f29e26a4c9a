"""Readiness and staleness: told from what the log says of its readers and of the rows that are kept here."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from streams.engine.log import LocalProgress, Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import MemoryLog
from streams.flows.groups import one_group
from streams.flows.promise import promise_fold
from streams.monitoring.health import HealthMonitor, OwnHealth
from streams.monitoring.local_rows import LocalRows, LocalViews
from tables.common.policy import Policy

FOLD = promise_fold(Policy())
NOW_MS = 10_000


class SharedLog(MemoryLog):
    """As a log that others write to: rows are kept here, and it may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[LocalProgress] = []
        self.is_away = False
        self.asked_to_keep: list[str] = []

    def kept(self) -> list[LocalProgress]:
        return self.rows

    def keep(self, group: str, flows: Iterable[str], topics: Iterable[str]) -> None:
        self.asked_to_keep.append(group)

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        if self.is_away:
            raise Unavailable("no broker answers")
        return super().progress(group, partitions)


@pytest.fixture
def log() -> SharedLog:
    log = SharedLog()
    log.create(topics.DEFINED)
    return log


def watch_on(log: SharedLog) -> HealthMonitor:
    rows = LocalRows(log, [FOLD], one_group, 0)
    return HealthMonitor(log, [FOLD], dict, CollectorRegistry(), clock_ms=lambda: NOW_MS, more=lambda: {"rows": rows.told()})


def kept(caught_up_ms: int | None, state: str = "followed", end: int = 100) -> LocalProgress:
    return LocalProgress("crossdock", 0, state, 40, end, caught_up_ms, restored=20, rows_per_s=7)  # type: ignore[arg-type]


def test_it_is_ready_once_the_rows_are_here(log: SharedLog) -> None:
    watch = watch_on(log)
    log.rows = [kept(9_000), kept(None, "restored")]
    state = watch.state()
    assert (state.is_ready, state.is_live) == (False, True)
    assert state.checks["rows"] == "1 of 2 partitions are being caught up, 60 changes to go"
    log.rows = [kept(9_000), kept(9_500, "owned")]
    assert watch.state().is_ready
    assert watch.state().checks == {
        "workers": "running",
        "backlog": "0 records wait",
        "sources": "none is paused",
        "rows": "2 partitions are here",
    }


def test_without_the_log_it_is_live_but_not_ready(log: SharedLog) -> None:
    log.is_away = True
    state = watch_on(log).state()
    assert (state.is_ready, state.is_live) == (False, True)
    assert state.checks["backlog"] == "not known: no broker answers"


def test_an_answer_is_as_old_as_the_oldest_rows_that_others_own(log: SharedLog) -> None:
    watch = watch_on(log)
    assert watch.stale_ms() == 0
    log.rows = [kept(9_000), kept(9_700), kept(1_000, "owned")]
    assert watch.stale_ms() == 1_000
    log.rows.append(kept(None))
    assert watch.stale_ms() is None


def test_while_a_thread_looks_questions_are_answered_from_what_it_saw(log: SharedLog) -> None:
    watch = watch_on(log)
    watch.start()
    try:
        assert watch.state().is_ready
        log.append([Outgoing(topics.PROMISE_INBOX.name, 0, b"k", b"v")])
        assert watch.waiting() == 1, "who waits for the end asks the log itself"
    finally:
        watch.close()


@pytest.mark.parametrize(
    ("roles", "standby", "is_kept"),
    [({"serve"}, 0, True), ({"act"}, 0, True), ({"fold"}, 0, False), ({"fold"}, 1, True), ({"translate"}, 1, False)],
)
def test_rows_are_kept_by_those_who_look_at_them_or_stand_by(
    log: SharedLog, roles: set[str], standby: int, is_kept: bool
) -> None:
    LocalRows(log, [FOLD], one_group, standby).keep(roles)  # type: ignore[arg-type]
    assert log.asked_to_keep == ["crossdock"] * is_kept


def test_views_are_here_once_each_topic_was_read(log: SharedLog) -> None:
    views = LocalViews(log)
    says, is_here = views.told()
    assert not is_here
    assert topics.ATP.name in says
    views.start()
    until = time.monotonic() + 60
    while not views.told()[1] and time.monotonic() < until:
        time.sleep(0.01)
    assert views.told() == ("all topics are here", True)
    views.close()


def test_a_process_tells_of_itself_without_the_log() -> None:
    halted: dict[str, str] = {}
    found = {"rows": ("half of them are here", False)}
    registry = CollectorRegistry()
    health = OwnHealth(lambda: halted, registry, lambda: found)
    assert (health.state().is_ready, health.state().is_live) == (False, True)
    assert health.state().checks == {"workers": "running", "rows": "half of them are here"}
    found["rows"] = ("all here", True)
    assert health.state().is_ready
    halted["fold"] = "a row cannot be read"
    assert (health.state().is_ready, health.state().is_live) == (False, False)
    assert health.state().checks["workers"] == "fold: a row cannot be read"
    health.refresh_metrics()
    assert registry.get_sample_value("crossdock_workers_halted") == 1
    assert health.stale_ms() == 0


def test_a_partition_that_stands_is_no_reason_to_start_the_process_again() -> None:
    halted = {"promise.inbox.v1/2": "promise stopped at promise.inbox.v1/2/7: crossdock skip promise.inbox.v1/2/7"}
    state = OwnHealth(lambda: halted, CollectorRegistry()).state()
    assert (state.is_live, state.is_ready) == (True, False)
    assert state.says == "Part of the work stands. " + halted["promise.inbox.v1/2"]
    assert not OwnHealth(lambda: halted | {"clock": "it broke"}, CollectorRegistry()).state().is_live


def test_how_often_fields_nobody_reads_came_is_a_measure_by_source(log: SharedLog) -> None:
    registry = CollectorRegistry()
    HealthMonitor(log, [FOLD], dict, registry, unknown=lambda: {"wms": 3}).refresh_metrics()
    assert registry.get_sample_value("crossdock_unknown_fields", {"source": "wms"}) == 3
