"""The process in numbers: counted while workers commit, and never wrong for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.api.console.ports import InvariantState, Numbers
from connectors.api.ports import Paused, SourceFreshness
from schemas import topics
from schemas.codec import Codec
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.fates import InputFates
from streams.engine.log import TopicPartition
from streams.monitoring import dashboard
from streams.monitoring.dashboard import Dashboard
from streams.monitoring.health import FlowInput
from streams.queries.published import Published

AT = TopicPartition(topics.PROMISE_INBOX.name, 0)


class FakeWatch:
    """A flow that has read 10 records, whose positions show late for a few readings."""

    def __init__(self, late: int = 0, position: int = 10, dead_lettered: int = 0) -> None:
        self.late = late
        self.position = position
        self.dead_lettered = dead_lettered

    def paused(self) -> list[Paused]:
        return [Paused("wms", "translate.wms", "raw.wms/0/9", "10 of 10", 0)]

    def inputs(self) -> list[FlowInput]:
        self.late -= 1
        return [FlowInput("promise", AT, 9 if self.late >= 0 else self.position, 12)]

    def fates(self) -> dict[str, InputFates]:
        return {"promise": InputFates(inputs=10, dead_lettered=self.dead_lettered)}

    def freshness(self) -> list[SourceFreshness]:
        return [SourceFreshness("wms", 2, 1_000)]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(tmp_path, sync=False)
    log.create(topics.DEFINED)
    yield log
    log.close()


def numbers(log: EmbeddedLog, watch: FakeWatch) -> Numbers:
    given: Any = watch
    tables: Any = None
    return Dashboard(log, Codec(), Published(log, Codec()), tables, given, dict, lambda: 5).numbers()


def lost(found: Numbers) -> InvariantState:
    (row,) = (row for row in found.invariants if row.name == "Nothing lost")
    return row


def test_numbers_are_what_is_watched(log: EmbeddedLog) -> None:
    found = numbers(log, FakeWatch())
    assert (found.at_ms, found.backlog_records, found.is_reading) == (5, 2, True)
    assert [(feed.source, feed.waiting_records, feed.as_of_ms) for feed in found.feeds] == [("wms", 2, 1_000)]
    assert [row.holds for row in found.invariants] == [None, True], "what was not read yet cannot be told"


def test_a_commit_that_shows_late_in_positions_is_no_loss(log: EmbeddedLog) -> None:
    held = lost(numbers(log, FakeWatch(late=5)))
    assert held == InvariantState("Nothing lost", True, "10 records, each with one fate; 0 dead letters kept")


def test_records_without_a_fate_and_letters_that_are_not_there_are_told(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "RECOUNT_PAUSE_S", 0)
    assert lost(numbers(log, FakeWatch(position=9))) == InvariantState(
        "Nothing lost", False, "the records of promise do not add up"
    )
    assert lost(numbers(log, FakeWatch(dead_lettered=2))) == InvariantState("Nothing lost", False, "2 dead letters are missing")


def test_what_a_person_should_look_at_is_among_the_numbers(log: EmbeddedLog) -> None:
    watch: Any = FakeWatch()
    tables: Any = None
    says = {"Names in settings": "site.DC-1: no such site"}
    asked = Dashboard(log, Codec(), Published(log, Codec()), tables, watch, dict, lambda: 5, warned=lambda: says)
    assert asked.numbers().warnings == says


def test_numbers_are_worked_out_once_a_second_whoever_asks(log: EmbeddedLog) -> None:
    watch: Any = FakeWatch()
    tables: Any = None
    asked = Dashboard(log, Codec(), Published(log, Codec()), tables, watch, dict, lambda: 5)
    assert asked.numbers() is asked.numbers()
