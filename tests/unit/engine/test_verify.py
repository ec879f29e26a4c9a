"""`verify` folds the log again and finds any row that is not what the log says."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from schemas import topics
from streams.engine import verify as verify_module
from streams.engine.log import Outgoing, StoreId, TopicPartition, Unavailable
from streams.engine.memory.log import MemoryLog, MemoryMember, MemoryStore
from streams.engine.partition import Flow
from streams.engine.scratch import ScratchStore
from streams.engine.verify import state_hash, verify
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    PARTITIONS,
    drain,
    item_changed,
    new_log,
    new_worker,
    raw,
    received,
    to_inbox,
    toy_fold,
    toy_translator,
)

FLOWS: list[Flow] = [toy_translator(), toy_fold()]
SKU_1 = to_inbox(item_changed("SKU-1")).partition


def inputs() -> list[Outgoing]:
    """Applied, duplicate, refused, parked, released, ignored: all there is."""
    dice = Random(3)
    events = [
        to_inbox(received(f"SKU-{dice.randrange(9)}", f"W-{dice.randrange(60)}", dice.choice([None, None, "REFUSED"])))
        for _ in range(80)
    ]
    events[20:20] = [to_inbox(item_changed(f"SKU-{n}")) for n in range(6)]
    messages = [b'{"sequence": %d, "item": "SKU-%d"}' % (n % 15, n % 4) for n in range(20)]
    return [*events, *map(raw, messages), raw(b"junk"), raw(b'{"sequence": 99, "type": "heartbeat"}')]


def a_log(batch: int = 10_000) -> MemoryLog:
    """A log whose inputs are all applied, by a worker that left."""
    log = new_log(inputs())
    worker = new_worker(log, FLOWS, batch=batch)
    drain(worker)
    worker.close()
    return log


def store(log: MemoryLog, partition: int = SKU_1) -> MemoryStore:
    found = log.store(StoreId("promise", partition))
    assert isinstance(found, MemoryStore)
    return found


def problem(log: MemoryLog) -> str | None:
    """What `verify` says of the one partition that is not as it should be."""
    (report,) = [report for report in verify(log, FLOWS, CODEC).partitions if not report.is_same]
    assert report.partition == TopicPartition(INBOX, SKU_1)
    return report.problem


@pytest.mark.parametrize("batch", [1, 3, 10_000])
@pytest.mark.parametrize("refold", [1, 7, 5_000])
def test_live_rows_are_the_fold_of_the_log_wherever_batches_ended(
    batch: int, refold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "BATCH", refold)
    report = verify(a_log(batch), FLOWS, CODEC)
    assert report.is_same, [r.problem for r in report.partitions]
    assert all(r.live_hash == r.folded_hash for r in report.partitions)
    assert sum(r.inputs for r in report.partitions) >= len(inputs())
    assert len(report.partitions) == PARTITIONS + 1


def test_hashes_of_equal_histories_are_equal() -> None:
    hashes = [[state_hash(store(a_log(batch), p)) for p in range(PARTITIONS)] for batch in (1, 10_000)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == PARTITIONS
    assert state_hash(store(a_log())) == next(
        r.live_hash for r in verify(a_log(), FLOWS, CODEC).partitions if r.partition == TopicPartition(INBOX, SKU_1)
    )


def test_an_altered_row_is_named_with_both_values() -> None:
    log = a_log()
    rows = store(log)
    key = next(key for key, _ in rows.range(b"stock\0SKU-1", None))
    right = msgspec.msgpack.decode(rows.get(key) or b"")
    rows.put(key, msgspec.msgpack.encode({"on_hand_milli": 7}))
    said = next(r for r in verify(log, FLOWS, CODEC).partitions if not r.is_same)
    assert said.partition == TopicPartition(INBOX, SKU_1)
    assert said.live_hash != said.folded_hash
    assert said.problem == (
        f"row ('SKU-1', 'DC1') of table stock (promise) is {{'on_hand_milli': 7}}, but folding the inputs again makes {right!r}"
    )


def test_a_missing_and_a_surplus_row_are_told_apart() -> None:
    log = a_log()
    key = next(key for key, _ in store(log).range(b"stock\0SKU-1", None))
    store(log).put(key, None)
    assert "is missing: folding the inputs again makes {'on_hand_milli'" in str(problem(log))
    log = a_log()
    store(log).put(b"zzz\0", b"\x01")
    assert problem(log) == "row b'zzz\\x00' of no known table is stored, but folding the inputs again does not make it"
    log = a_log()
    store(log).put(b"items\0A\0", b"\x81\xa6status\xa1A")
    assert "row ('A',) of table items (promise) is stored, but" in str(problem(log))


def test_what_came_after_the_committed_position_does_not_count() -> None:
    log = a_log()
    log.append([to_inbox(received("SKU-1", "LATE"))])
    assert verify(log, FLOWS, CODEC).is_same


def test_it_writes_nothing_and_leaves_the_group() -> None:
    log = a_log()
    ends = [log.bounds(TopicPartition(t.name, p)) for t in topics.DEFINED for p in range(t.partitions)]
    verify(log, FLOWS, CODEC)
    assert [log.bounds(TopicPartition(t.name, p)) for t in topics.DEFINED for p in range(t.partitions)] == ends
    worker = new_worker(log, FLOWS)
    worker.step()
    assert len(worker.fates()) == PARTITIONS + 1


def test_progress_rises_to_the_total() -> None:
    told: list[tuple[int, int]] = []
    verify(a_log(), FLOWS, CODEC, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0


def test_partitions_of_a_running_worker_cannot_be_told() -> None:
    log = new_log(inputs())
    worker = new_worker(log, FLOWS)
    drain(worker)
    report = verify(log, FLOWS, CODEC)
    others = [r for r in report.partitions if r.is_unknown]
    assert others
    assert not report.is_same
    assert all("stop all workers" in str(r.problem) for r in others)
    assert len(others) < len(report.partitions)


def test_an_inbox_that_lost_its_start_cannot_be_folded_and_says_so() -> None:
    log = a_log()
    log._data.records[TopicPartition(INBOX, SKU_1)][0] = None
    said = next(r for r in verify(log, FLOWS, CODEC).partitions if not r.is_same)
    assert said.is_unknown
    assert said.problem == "its inputs before offset 1 are no longer kept, so it cannot be folded from the start"


def test_a_log_that_ends_before_the_committed_position_says_nothing_about_the_rows() -> None:
    """Else the rows of inputs that are gone would be called different, or, if they changed nothing, the same."""
    log = a_log()
    del log._data.records[TopicPartition(INBOX, SKU_1)][-1]
    said = next(r for r in verify(log, FLOWS, CODEC).partitions if not r.is_same)
    assert said.is_unknown
    assert "the log has lost what the rows were made of" in str(said.problem)


@pytest.mark.parametrize("part", ["read", "store"])
def test_what_cannot_be_read_is_unknown_and_the_rest_is_compared(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    log = a_log()

    def failing(self: object, *arguments: object) -> object:
        if TopicPartition(INBOX, SKU_1) in arguments or StoreId("promise", SKU_1) in arguments:
            raise Unavailable("the file 000012.sst is damaged")
        return working(self, *arguments)

    where = MemoryLog if part == "read" else MemoryMember
    working = getattr(where, part)
    monkeypatch.setattr(where, part, failing)
    report = verify(log, FLOWS, CODEC)
    (said,) = [r for r in report.partitions if not r.is_same]
    assert said.is_unknown
    assert "000012.sst" in str(said.problem)
    assert not report.is_same


def test_rules_that_halt_on_what_they_once_applied_are_a_difference() -> None:
    log = a_log()
    fold = toy_fold()
    fold.rules.pop(next(kind for kind in fold.rules if kind.__name__ == "ItemChanged"))
    report = verify(log, [toy_translator(), fold], CODEC)
    assert any("does not get to the end" in str(r.problem) and not r.is_unknown for r in report.partitions)


def test_a_scratch_store_is_a_store_and_leaves_no_files() -> None:
    with ScratchStore() as scratch:
        scratch.write([(b"b", b"2"), (b"a", b"1"), (b"c", b"3")])
        scratch.write([(b"a", None), (b"b", b"22")])
        assert scratch.get(b"a") is None
        assert list(scratch.range(b"", None)) == [(b"b", b"22"), (b"c", b"3")]
        assert list(scratch.range(b"a", b"c")) == [(b"b", b"22")]
        path = scratch._directory.name
    assert not Path(path).exists()
