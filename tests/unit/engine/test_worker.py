"""The worker's loop: one transaction a batch, exact state after any failure, loud halts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

import pytest

from schemas import topics
from schemas.errors import BrokenInvariant
from schemas.inventory import Atp, LedgerEntry
from schemas.operations import ExceptionNoted
from streams.engine.flow import Fold
from streams.engine.log import Outgoing, StoreId, TopicPartition, Unavailable
from streams.engine.memory.log import Crash, LogFaults, MemoryLog
from streams.engine.partition import PartitionHalted
from streams.engine.worker import Pace, StepReport, Worker
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    PARTITIONS,
    ToyTables,
    adjusted,
    drain,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    received,
    run,
    sent,
    to_inbox,
    toy_fold,
    toy_translator,
)

POINTS = ["before_apply", "after_apply", "before_commit", "after_commit"]


def a_day() -> list[Outgoing]:
    """Known items, one that becomes known late, duplicates and refusals."""
    dice = Random(7)
    events = [to_inbox(item_changed(f"SKU-{n}")) for n in range(6)]
    for n in range(60):
        uom = dice.choice([None, None, None, "REFUSED"])
        events.append(to_inbox(received(f"SKU-{dice.randrange(8)}", f"W-{dice.randrange(50)}", uom, 1_000 + n)))
    return [*events, to_inbox(item_changed("SKU-6")), to_inbox(item_changed("SKU-6", "I2"))]


def test_a_batch_becomes_rows_outputs_and_positions() -> None:
    log, worker = run(*(to_inbox(e) for e in (item_changed("SKU-1"), received("SKU-1", "W-1"), received("SKU-1", "W-2"))))
    assert fates(worker) == {"inputs": 3, "applied": 3}
    (atp,) = sent(log, Atp)
    assert (atp.item, atp.atp_milli, atp.version) == ("SKU-1", 2_000, 3)
    assert [entry.cause for entry in sent(log, LedgerEntry)] == ["W-1", "W-2"]
    assert worker.counters.inputs == 3
    assert set(worker.lag().values()) == {0}
    assert len(worker.lag()) == PARTITIONS


def test_an_answer_is_derived_once_a_key_and_commit_and_its_version_rises() -> None:
    log, _ = run(*(to_inbox(e) for e in (item_changed("SKU-1"), received("SKU-1", "W-1"), received("SKU-1", "W-2"))), batch=2)
    partition = to_inbox(item_changed("SKU-1")).partition
    written = log.bounds(TopicPartition("atp.v1", partition))[1]
    assert written == 2
    assert [(a.atp_milli, a.version) for a in sent(log, Atp)] == [(2_000, 3)]


def test_a_batch_that_changes_nothing_writes_no_row_but_its_counts_and_derives_nothing() -> None:
    log, worker = run(to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "W-1")))
    answers = len(sent(log, Atp))
    log.append([to_inbox(received("SKU-1", "W-1")), to_inbox(item_changed("SKU-1"))])
    assert worker.step().rows == 1
    assert len(sent(log, Atp)) == answers
    assert fates(worker) == {"inputs": 4, "applied": 3, "duplicate": 1}


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_state_does_not_depend_on_where_batches_end(batch: int) -> None:
    whole, cut = run(*a_day()), run(*a_day(), batch=batch)
    assert dump(whole[0]) == dump(cut[0])
    assert fates(whole[1]) == fates(cut[1])


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2, 5])
@pytest.mark.parametrize("same_worker", [False, True])
def test_after_a_crash_at_any_point_the_state_is_the_fold_from_zero(point: str, nth: int, same_worker: bool) -> None:
    left = {point: nth}

    def at(now: str) -> None:
        if now in left:
            left[now] -= 1
            if left[now] == 0:
                raise Crash(now)

    log = new_log(a_day())
    worker = new_worker(log, batch=5, at=at)
    with pytest.raises(Crash):
        drain(worker)
    if not same_worker:
        log = log.reopen()
        worker = new_worker(log, batch=5)
    drain(worker)
    expected, judge = run(*a_day())
    assert dump(log) == dump(expected)
    assert fates(worker) == fates(judge)
    assert sorted(e.cause for e in sent(log, LedgerEntry)) == sorted(e.cause for e in sent(expected, LedgerEntry))


@pytest.mark.parametrize("seed", range(8))
def test_crashes_outages_and_reassignments_change_nothing(seed: int) -> None:
    """Crashes inside the log, refused commits, partitions that change hands, delays and cut batches, from a seed."""
    faults = LogFaults(
        before_commit=0.1, after_commit=0.1, unavailable=0.1, reassign=0.2, small_batch=0.3, delay=0.2, interleave=True
    )
    log = new_log(a_day(), seed=seed)
    log.faults = faults
    workers = [new_worker(log, batch=9), new_worker(log, batch=9)]
    for turn in range(600):
        try:
            workers[turn % 2].step()
        except Unavailable:
            continue
        except Crash:
            log = log.reopen()
            workers = [new_worker(log, batch=9), new_worker(log, batch=9)]
    log.faults = LogFaults()
    for worker in workers * 2:
        drain(worker)
    expected, judge = run(*a_day())
    assert dump(log) == dump(expected)
    assert sum(sum(row.inputs for row in worker.fates().values()) for worker in workers) == fates(judge)["inputs"]


def test_each_outage_is_told_once() -> None:
    """However often the log is tried meanwhile."""
    stop = threading.Event()
    turns = iter(["away", "away", "away", "here", "away", "away", "here", "end"])
    told: list[str] = []
    pace = Pace(poll_s=0.0, backoff_s=(0.0, 0.0))
    worker = Worker(new_log([]), [toy_fold()], CODEC, pace=pace, on_away=lambda error: told.append(str(error)))

    def step(timeout_s: float) -> StepReport:
        del timeout_s
        turn = next(turns)
        if turn == "end":
            stop.set()
        elif turn == "away":
            raise Unavailable("no broker answers")
        return StepReport()

    worker.step = step  # type: ignore[assignment, method-assign]
    worker.run(stop)
    assert told == ["no broker answers"] * 2
    assert worker.counters.unavailable == 5


def test_a_worker_that_was_fenced_drops_its_batch_and_goes_on() -> None:
    log = new_log(a_day())
    first = new_worker(log, batch=4)
    first.step()
    second = new_worker(log, batch=4)
    reports = [worker.step() for _ in range(60) for worker in (first, second)]
    expected, judge = run(*a_day())
    assert dump(log) == dump(expected)
    assert sum(report.inputs for report in reports) + 4 == fates(judge)["inputs"]


def test_a_commit_by_a_former_owner_is_fenced() -> None:
    log = new_log(a_day())
    thieves: list[Worker] = []

    def at(point: str) -> None:
        if point == "before_commit" and not thieves:
            thieves.append(new_worker(log))

    worker = new_worker(log, at=at)
    assert worker.step().is_fenced
    assert worker.counters.fenced == 1
    drain(worker)
    drain(thieves[0])
    drain(worker)
    assert dump(log) == dump(run(*a_day())[0])


def test_an_outage_is_waited_out_with_growing_pauses() -> None:
    log = new_log(a_day())
    log.faults = LogFaults(unavailable=1.0)
    waits: list[float] = []
    stop = _Stop(waits, log)
    worker = Worker(log, [toy_fold()], CODEC, pace=Pace(backoff_s=(0.1, 1.0)), rng=Random(1), clock_ms=lambda: 0)
    worker.run(stop)
    assert len(waits) == 8
    assert all(0.1 * 2**n / 2 <= wait <= 0.1 * 2**n for n, wait in enumerate(waits[:4]))
    assert max(waits) <= 1.0
    assert worker.counters.unavailable == 8
    assert dump(log) == dump(run(*a_day())[0])


class _Stop(threading.Event):
    """Ends the outage after eight waits, and the run when everything is applied."""

    def __init__(self, waits: list[float], log: MemoryLog) -> None:
        super().__init__()
        self.waits = waits
        self.log = log
        self.asked = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) == 8:
            self.log.faults = LogFaults()
        return False

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > 12


def test_a_broken_invariant_halts_the_partition_and_what_came_before_it_is_committed() -> None:
    log = new_log([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "W-1", "BROKEN"))])
    worker = new_worker(log)
    with pytest.raises(PartitionHalted) as halted:
        worker.step()
    error = halted.value
    assert (error.flow, error.offset, error.reason) == ("promise", 1, "stock is impossible")
    assert "StockReceived W-1 of SKU-1" in str(error)
    assert "start again" in str(error)
    assert f"crossdock skip {error.partition.topic}/{error.partition.partition}/1 --reason" in str(error)
    assert fates(worker) == {"inputs": 1, "applied": 1}
    assert worker.counters.positions[error.partition] == 1
    assert sent(log, LedgerEntry) == []
    (noted,) = sent(log, ExceptionNoted)
    assert (noted.code, noted.fingerprint) == ("halted", f"halted:{error.partition.topic}/{error.partition.partition}")
    assert worker.step().inputs == 0
    worker.close()
    with pytest.raises(PartitionHalted, match="stock is impossible"):  # the next worker tries again
        new_worker(log).step()
    assert len(sent(log, ExceptionNoted)) == 1


class Until:
    """Says stop once a condition holds, or after so many looks."""

    def __init__(self, is_done: Callable[[], bool]) -> None:
        self._is_done = is_done
        self._looks = 0

    def is_set(self) -> bool:
        self._looks += 1
        return self._is_done() or self._looks > 50

    def wait(self, timeout: float | None = None) -> bool:
        return False


def test_a_halted_partition_is_set_aside_and_the_others_go_on() -> None:
    """One item's defect stops its partition alone, and a new worker goes on from there."""
    bad, good = to_inbox(received("SKU-1", "W-1", "BROKEN")), to_inbox(item_changed("SKU-2"))
    assert bad.partition != good.partition
    log = new_log([to_inbox(item_changed("SKU-1")), bad, good])
    worker = new_worker(log)
    place = TopicPartition(good.topic, good.partition)
    worker.run(Until(lambda: worker.counters.positions.get(place) == 1))  # type: ignore[arg-type]
    assert list(worker.halted) == [TopicPartition(bad.topic, bad.partition)]
    assert worker.counters.positions[place] == 1
    assert worker.counters.positions[TopicPartition(bad.topic, bad.partition)] == 1
    log.append([to_inbox(item_changed("SKU-2", "again"))])
    worker.run(Until(lambda: worker.counters.positions[place] == 2))  # type: ignore[arg-type]
    assert worker.counters.positions[place] == 2


def test_a_flow_that_yields_what_another_one_writes_halts() -> None:
    log = new_log([to_inbox(adjusted("SKU-1", "W-1"))])
    with pytest.raises(PartitionHalted, match=r"promise yields StockReceived, but promise.inbox.v1 declares translate.wms"):
        new_worker(log).step()


def test_an_event_without_a_rule_halts_and_says_which() -> None:
    log = new_log([to_inbox(item_changed("SKU-1"))])
    with pytest.raises(PartitionHalted, match="no rule for ItemChanged"):
        new_worker(log, [Fold("promise", topics.PROMISE_INBOX, ToyTables)]).step()


def test_a_derivation_that_changes_a_table_is_undone_and_people_are_told() -> None:
    fold = toy_fold()

    @fold.derive(on=("items",))
    def meddle(t: ToyTables, item: str, version: int) -> None:
        del t.items[item,]

    log = new_log([to_inbox(item_changed("SKU-1"))])
    drain(new_worker(log, [fold]))
    (noted,) = sent(log, ExceptionNoted)
    assert (noted.code, noted.item) == ("unpublished", "SKU-1")
    assert "a derivation changed a table" in noted.sentence
    assert any(key.startswith(b"items") for rows in dump(log) for key, _ in rows)


def test_two_flows_cannot_read_one_topic() -> None:
    with pytest.raises(BrokenInvariant, match="both read"):
        new_worker(new_log(), [toy_fold(), toy_fold()])


def test_batches_grow_under_backlog_and_shrink_when_idle() -> None:
    log = new_log([to_inbox(item_changed(f"SKU-{n}")) for n in range(100)])
    worker = Worker(log, [toy_fold()], CODEC, pace=Pace(max_batch=32, min_batch=4), clock_ms=lambda: 0)
    taken = [worker.step().inputs for _ in range(7)]
    assert taken == [4, 8, 16, 32, 32, 8, 0]
    for _ in range(4):
        worker.step()
    log.append([to_inbox(item_changed(f"SKU-{n}")) for n in range(9)])
    assert worker.step().inputs == 4


def test_a_batch_that_was_fenced_is_tried_again_by_halves() -> None:
    log = new_log([to_inbox(item_changed(f"SKU-{n}")) for n in range(100)])
    thieves: list[Worker] = []
    worker: Worker

    def at(point: str) -> None:
        if point == "before_commit" and worker.counters.inputs == 28 and not thieves:
            thieves.append(new_worker(log))
            thieves[0].close()

    worker = Worker(log, [toy_fold()], CODEC, pace=Pace(max_batch=32, min_batch=4), clock_ms=lambda: 0, at=at)
    assert [worker.step().inputs for _ in range(3)] == [4, 8, 16]
    assert worker.step().is_fenced
    assert [worker.step().inputs for _ in range(3)] == [16, 32, 24]


def test_named_points_come_in_order_once_a_batch() -> None:
    seen: list[str] = []
    note: Callable[[str], None] = seen.append
    worker = new_worker(new_log([to_inbox(item_changed("SKU-1"))]), at=note)
    drain(worker)
    assert seen == POINTS


def test_a_closed_worker_leaves_its_partitions_to_others() -> None:
    log = new_log(a_day())
    first, second = new_worker(log), new_worker(log)
    first.step()
    first.close()
    drain(second)
    assert dump(log) == dump(run(*a_day())[0])
    assert len(second.fates()) == PARTITIONS


def test_a_translator_keeps_its_rows_by_topic() -> None:
    log = new_log([Outgoing(topics.RAW_WMS.name, 0, None, b'{"sequence": 1, "item": "SKU-1"}')])
    drain(new_worker(log, [toy_translator()]))
    keys = [key for key, _ in log.store(StoreId("translate.wms.raw.wms", 0)).range(b"", None)]
    assert [key.split(b"\0")[0] for key in keys] == [b"engine.fates", b"sequences"]


def test_an_empty_transaction_is_never_committed() -> None:
    log = new_log()
    seen: list[str] = []
    worker = new_worker(log, at=seen.append)
    assert worker.step().inputs == 0
    assert seen == []
    assert INBOX in {partition.topic for partition in worker.lag()}
