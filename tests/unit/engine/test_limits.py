"""Too much of a source is refused: it is paused, visibly, and nothing else is; a person resumes it, and nothing was lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.errors import Refused
from schemas.frozen import replace
from schemas.inventory import StockReceived
from schemas.operations import DeadLetter, ExceptionNoted, SourcePaused, SourceResumed
from schemas.records import Record, Translation
from streams.engine.controls import FollowedControls
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.fates import is_state
from streams.engine.flow import Translator
from streams.engine.limits import Limits, SourceLimit, Windows
from streams.engine.log import Log, Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import LogFaults, MemoryLog
from streams.engine.worker import Worker
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    drain,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    raw,
    received,
    sent,
    to_inbox,
    toy_fold,
    toy_translator,
)

TEN = Limits(source=SourceLimit(10))
GOOD = [raw(b'{"sequence": %d, "item": "SKU-1"}' % n) for n in range(20)]
JUNK = [raw(b"junk %d" % n) for n in range(150)]
WMS = TopicPartition(topics.RAW_WMS.name, 0)
WEB = topics.raw_channel("web")


def web_translator() -> Translator:
    def translate(record: Record) -> Translation:
        return Translation([received("SKU-2", f"WEB-{record.offset}")])

    return Translator("translate.wms", [WEB], translate)


def made(outgoing: Sequence[Outgoing]) -> MemoryLog:
    log = new_log()
    log.create([WEB])
    log.append(outgoing)
    return log


def resume(log: Log, target: str) -> None:
    controls = FollowedControls(log, CODEC)
    controls.look()
    pauses = [pause.event_id for pause in controls.paused() if pause.target == target]
    controls.close()
    head: dict[str, Any] = {"event_id": f"api:{target}{pauses}", "source": "api", "source_position": 1, "trace_id": "r"}
    head |= {"occurred_at_ms": 1, "recorded_at_ms": 1}
    event = SourceResumed(**head, target=target, pauses=pauses, person="ada", reason="corrected")
    log.append([Outgoing(topics.INTERVENTIONS.name, 0, target.encode(), CODEC.encode(event))])


@pytest.fixture(params=["memory", "embedded"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryLog | EmbeddedLog]:
    made = MemoryLog(clock_ms=lambda: 5_000) if request.param == "memory" else EmbeddedLog(tmp_path)
    made.create([*topics.DEFINED, WEB])
    yield made
    made.close()


def test_a_source_of_garbage_is_paused_what_was_refused_is_kept_and_others_go_on(log: Any) -> None:
    log.append([*JUNK, *GOOD, *(Outgoing(WEB.name, 0, None, b"") for _ in range(5))])
    worker = new_worker(log, [toy_translator(), web_translator()], limits=TEN)
    drain(worker)
    assert worker.halted == {}
    assert len(sent(log, DeadLetter)) == 10
    assert sum(e.code == "dead_letter" for e in sent(log, ExceptionNoted)) == 10
    (pause,) = sent(log, SourcePaused)
    assert (pause.target, pause.flow, pause.topic, pause.offset) == ("wms", "translate.wms", "raw.wms", 9)
    assert pause.reason.startswith(
        "10 of 10 inputs of the last 60 minutes were refused, the last one because: 6 bytes are no JSON"
    )
    (noted,) = [e for e in sent(log, ExceptionNoted) if e.code == "source_paused"]
    assert noted.fingerprint == "paused:wms"
    assert noted.sentence.endswith("Nothing is lost: correct the cause, then crossdock resume wms")
    assert {e.item for e in sent(log, StockReceived)} == {"SKU-2"}
    log.append([Outgoing(WEB.name, 0, None, b"")])
    drain(worker)
    assert len(sent(log, StockReceived)) == 6
    assert worker.counters.positions[WMS] == 10


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_paused_source_stays_so_until_a_person_resumes_it_and_loses_nothing(log: Any, is_restarted: bool) -> None:
    log.append([*JUNK[:15], *GOOD])
    worker = new_worker(log, [toy_translator()], limits=TEN)
    drain(worker)
    if is_restarted:
        worker.close()
        worker = new_worker(log, [toy_translator()], limits=TEN)
        drain(worker)
    assert worker.counters.positions[WMS] == 10
    resume(log, "wms")
    drain(worker)
    assert worker.counters.positions[WMS] == 35
    assert len(sent(log, DeadLetter)) == 15
    assert len(sent(log, StockReceived)) == 20
    assert len(sent(log, SourcePaused)) == 1


def test_a_flood_without_end_needs_a_person_each_time() -> None:
    log = made(JUNK)
    worker = new_worker(log, [toy_translator()], limits=TEN)
    for letters in (10, 20, 30):
        drain(worker)
        assert len(sent(log, DeadLetter)) == letters
        resume(log, "wms")


def test_a_resumption_ends_the_pauses_it_names_and_no_later_one() -> None:
    log = made(JUNK)
    worker = new_worker(log, [toy_translator()], limits=TEN)
    drain(worker)
    (first,) = sent(log, SourcePaused)
    resume(log, "wms")
    drain(worker)
    head: dict[str, Any] = {"event_id": "again", "source": "api", "source_position": 1, "trace_id": "r"}
    head |= {"occurred_at_ms": 1, "recorded_at_ms": 1}
    late = SourceResumed(**head, target="wms", pauses=[first.event_id], person="bob", reason="late")
    log.append([Outgoing(topics.INTERVENTIONS.name, 0, b"wms", CODEC.encode(late))])
    drain(worker)
    assert len(sent(log, DeadLetter)) == 20


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_a_pause_changes_when_but_not_what(batch: int) -> None:
    """The rows are the same as if there had been no limit, wherever batches ended."""
    log = made([*JUNK[:15], *GOOD])
    worker = new_worker(log, [toy_translator()], batch=batch, limits=TEN)
    drain(worker)
    resume(log, "wms")
    drain(worker)
    free = made([*JUNK[:15], *GOOD])
    drain(new_worker(free, [toy_translator()]))
    rows = [[row for row in dump(one, "translate.wms.raw.wms", 1)[0] if is_state(row[0])] for one in (log, free)]
    assert rows[0] == rows[1]


def test_a_good_share_is_not_paused_and_time_heals() -> None:
    windows = Windows()
    for n in range(100):
        windows.refused("wms", n, 1_000_000, 0)
        windows.passed("wms", n, 1_000_000)
        windows.passed("wms", n, 1_000_000)
    assert windows.refused("wms", 100, 1_000_000, 0) == (101, 301)
    assert windows.refused("wms", 600_000, 1_000_000, 0) == (102, 302)
    assert windows.refused("wms", 1_100_000, 1_000_000, 0) == (2, 2)
    assert windows.refused("wms", 9_000_000, 1_000_000, 0) == (1, 1)
    assert windows.refused("wms", 9_000_001, 1_000_000, 1) == (1, 1)  # resumed meanwhile
    windows.passed("wms", 20_000_000, 1_000_000)
    assert windows.by_name == {}  # nothing refused lately: nothing to count


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=200))
def test_a_window_counts_what_is_not_older_than_it(steps: list[tuple[bool, int]]) -> None:
    """Against counting anew each time: half-windows are left whole."""
    windows, at_ms, seen = Windows(), 0, list[tuple[int, bool]]()
    for is_bad, later_ms in steps:
        at_ms += later_ms
        if not is_bad:
            windows.passed("wms", at_ms, 1_000)
            if any(bad for at, bad in seen if at * 2 // 1_000 >= at_ms * 2 // 1_000 - 1):
                seen.append((at_ms, False))
            continue
        seen.append((at_ms, True))
        lately = [bad for at, bad in seen if at * 2 // 1_000 >= at_ms * 2 // 1_000 - 1]
        dead, inputs = windows.refused("wms", at_ms, 1_000, 0)
        assert dead == sum(lately)
        assert dead <= inputs <= len(lately)


def test_limits_are_by_source() -> None:
    limits = Limits(source=SourceLimit(5), sources={"wms": SourceLimit(50), "web": SourceLimit(5, share=0.9)})
    assert (limits.of("wms").dead_letters, limits.of("erp").dead_letters) == (50, 5)
    log = made(JUNK)
    drain(new_worker(log, [toy_translator()], limits=limits))
    assert len(sent(log, DeadLetter)) == 50


def refusing() -> Any:
    def refuse(t: Any, e: StockReceived) -> Any:
        raise Refused(f"unit {e.uom!r} is not a unit of {e.item}")

    fold = toy_fold()
    fold.rules[StockReceived] = refuse
    return fold


def of(source: str, n: int) -> Outgoing:
    return to_inbox(replace(received("SKU-1", f"{source}-{n}"), trace_id=f"{source}/0/{n}"))


def test_what_a_fold_refuses_pauses_the_source_where_it_comes_in_and_stops_nobody_else() -> None:
    log = made([*(of("raw.wms", n) for n in range(40)), to_inbox(item_changed("SKU-1")), *JUNK])
    worker = new_worker(log, [refusing()], limits=TEN)
    drain(worker)
    assert [pause.target for pause in sent(log, SourcePaused)] == ["wms"]
    assert worker.counters.positions[TopicPartition(INBOX, of("raw.wms", 0).partition)] == 81  # suspicions included
    assert len(sent(log, DeadLetter)) == 40
    worker.close()
    translating = new_worker(log, [toy_translator()], limits=TEN)
    drain(translating)
    assert translating.counters.positions[WMS] == 0


def test_a_pause_whose_commit_failed_is_no_pause() -> None:
    log = made([*JUNK[:10], *GOOD])
    worker = new_worker(log, [toy_translator()], limits=TEN)
    log.faults = LogFaults(unavailable=1.0)
    with pytest.raises(Unavailable):
        worker.step()
    log.faults = LogFaults()
    drain(worker)
    assert len(sent(log, SourcePaused)) == 1
    assert worker.counters.positions[WMS] == 10


def test_a_fold_that_refuses_whatever_comes_stands_still() -> None:
    """A bad deploy does not flood: what it has not refused yet waits for the next one."""
    limits = Limits(source=SourceLimit(1_000), flow=SourceLimit(25, share=0.3))
    log = made([of(f"raw.{'wms' if n % 2 else 'channel.web'}", n) for n in range(500)])
    worker = new_worker(log, [refusing()], limits=limits)
    drain(worker)
    assert [pause.target for pause in sent(log, SourcePaused)] == ["flow.promise"]
    assert len(sent(log, DeadLetter)) == 25
    worker.close()
    resume(log, "flow.promise")
    worker = new_worker(log, [toy_fold()], limits=limits)
    drain(worker)
    assert fates(worker)["parked"] == 475


def test_a_log_without_these_topics_has_no_controls() -> None:
    log = MemoryLog()
    log.create([topics.PROMISE_INBOX])
    controls = FollowedControls(log, CODEC)
    assert not controls.look()
    assert not controls.look()


def test_a_worker_reads_all_that_was_decided_before_it_takes_a_record() -> None:
    log = made(JUNK)
    drain(new_worker(log, [toy_translator()], limits=TEN))
    for _ in range(3):
        resume(log, "nobody")
    log = log.reopen()
    worker: Worker = new_worker(log, [toy_translator()], limits=TEN)
    assert worker.step().inputs == 0
    assert len(sent(log, DeadLetter)) == 10
