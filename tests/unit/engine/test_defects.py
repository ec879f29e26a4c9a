"""A defect stops no more than what it has to: one event's data is that event's dead letter, and every halt has an exit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.errors import NotYet
from schemas.inventory import Atp, ItemSuspected, StockReceived, SuspicionCleared
from schemas.operations import DeadLetter, ExceptionCleared, ExceptionNoted, RecordSkipped
from schemas.records import Record, Translation
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.fates import is_state
from streams.engine.flow import Translator
from streams.engine.log import Log, Outgoing, Store, StoreFailed, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partition import Limits, PartitionHalted
from streams.engine.table import MAX_ROW_BYTES
from streams.engine.verify import verify
from streams.engine.worker import Worker
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    Item,
    Stock,
    ToyTables,
    drain,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    on_received,
    raw,
    received,
    run,
    sent,
    to_inbox,
    toy_fold,
    toy_translator,
)


def skip(log: Log, at: TopicPartition, offset: int, person: str = "ada") -> None:
    record = f"{at.topic}/{at.partition}/{offset}"
    head: dict[str, Any] = {"event_id": f"api:{record}", "source": "api", "source_position": 1, "trace_id": "r"}
    head |= {"occurred_at_ms": 1, "recorded_at_ms": 1}
    event = RecordSkipped(**head, record=record, person=person, reason="seen to by hand")
    log.append([Outgoing(topics.INTERVENTIONS.name, 0, record.encode(), CODEC.encode(event))])


def halted(worker: Worker) -> PartitionHalted:
    with pytest.raises(PartitionHalted) as error:
        worker.step()
    return error.value


# --- one event's data ---------------------------------------------------------------------------------------------------


def test_an_exception_of_one_events_data_is_its_dead_letter_and_its_item_is_suspect() -> None:
    """`BUG` raises KeyError: what came before and after it is applied."""
    good = [to_inbox(received("SKU-1", "W-1")), to_inbox(received("SKU-1", "W-3"))]
    bad = to_inbox(received("SKU-1", "W-2", "BUG"))
    log, worker = run(to_inbox(item_changed("SKU-1")), good[0], bad, good[1])
    (letter,) = sent(log, DeadLetter)
    assert letter.value == bad.value
    assert letter.reason.startswith("crossdock has a defect that this brings to light: KeyError: 'oops' (toy_flows.py:")
    assert letter.hint == "report it with this letter; replay it once the defect is corrected"
    assert letter.items == ["SKU-1"]
    assert fates(worker) == {"inputs": 5, "applied": 4, "dead_lettered": 1}
    assert sent(log, Atp)[-1].atp_milli == 2_000
    assert [e.item for e in sent(log, ItemSuspected)] == ["SKU-1"]


@pytest.mark.parametrize(
    "error", [ValueError("x"), OverflowError("date value out of range"), ZeroDivisionError(), RecursionError(), KeyError("é")]
)
def test_any_exception_of_a_translator_is_a_dead_letter_and_the_items_it_names_are_suspect(error: Exception) -> None:
    def translate(record: Record) -> Translation:
        if record.offset == 1:
            raise error
        return Translation([received("SKU-1", f"W-{record.offset}")])

    flow = Translator("translate.wms", [topics.RAW_WMS], translate, items_of=lambda record: ["SKU-9"])
    log = new_log([raw(b"%d" % n) for n in range(3)])
    worker = new_worker(log, [flow])
    drain(worker)
    assert fates(worker) == {"inputs": 3, "applied": 2, "dead_lettered": 1}
    assert [letter.items for letter in sent(log, DeadLetter)] == [["SKU-9"]]
    assert len(sent(log, StockReceived)) == 2


def test_a_translator_that_wants_to_wait_is_a_dead_letter() -> None:
    def translate(record: Record) -> Translation:
        raise NotYet("site DC1 is unknown")

    log = new_log([raw(b"1"), raw(b"2")])
    drain(new_worker(log, [Translator("translate.wms", [topics.RAW_WMS], translate)]))
    assert len(sent(log, DeadLetter)) == 2


def no_number(t: ToyTables, e: StockReceived) -> None:
    t.stock[e.item, e.site] = Stock(2**64)


def long_key(t: ToyTables, e: StockReceived) -> None:
    t.stock[e.item, "x" * 20_000] = Stock(1)


def large_row(t: ToyTables, e: StockReceived) -> None:
    t.items[e.item,] = Item("x" * MAX_ROW_BYTES)


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_number, "cannot be stored"),
        (long_key, "a key of 20,013 bytes for table stock: a row's key may take 12,288"),
        (large_row, "of table items takes 8,372,237 bytes: a row may take 8,372,224"),
    ],
)
def test_a_row_that_cannot_be_stored_is_the_dead_letter_of_the_event_that_made_it(
    batch: int, change: Callable[[ToyTables, StockReceived], None], why: str
) -> None:
    """It shows only at the batch's end: then each record is looked at. A changelog would refuse it however often it is sent."""

    def receive(t: ToyTables, e: StockReceived) -> Iterator[Any]:
        if e.event_id == "W-2":
            change(t, e)
            return iter(())
        return on_received(t, e)

    fold = toy_fold()
    fold.rules[StockReceived] = receive
    log = new_log([to_inbox(item_changed("SKU-1")), *(to_inbox(received("SKU-1", f"W-{n}")) for n in range(1, 4))])
    worker = new_worker(log, [fold], batch=batch)
    drain(worker)
    (letter,) = sent(log, DeadLetter)
    assert letter.dead_letter_id.endswith("/2")
    assert why in letter.reason
    assert fates(worker)["dead_lettered"] == 1
    assert sent(log, Atp)[-1].atp_milli == 2_000


def test_a_waiting_event_that_raises_when_released_is_a_dead_letter() -> None:
    log, worker = run(to_inbox(received("SKU-1", "W-1", "BUG")), to_inbox(received("SKU-1", "W-2")))
    log.append([to_inbox(item_changed("SKU-1"))])
    drain(worker)
    assert [letter.offset for letter in sent(log, DeadLetter)] == [0]
    assert sent(log, Atp)[-1].atp_milli == 1_000


class BrokenStore:
    """A store whose disk cannot be read."""

    def get(self, key: bytes) -> bytes | None:
        if key.startswith(b"items"):
            raise OSError("Corruption: block checksum mismatch")
        return None

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if low.startswith(b"stock"):
            raise OSError("Corruption: block checksum mismatch")
        return iter(())


def test_a_store_that_cannot_be_read_makes_no_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rule was at: the event is not to blame, and the work stops."""
    log = new_log([to_inbox(received("SKU-1", "W-1"))])
    worker = new_worker(log)
    store: Store = BrokenStore()
    monkeypatch.setattr(worker._member, "store", lambda of: store)
    with pytest.raises(StoreFailed, match=r"table items cannot be read .*checksum mismatch"):
        worker.step()
    assert sent(log, DeadLetter) == []


# --- what is derived ------------------------------------------------------------------------------------------------------


def test_a_derivation_that_raises_stays_with_its_key_and_is_told_once_until_it_works_again() -> None:
    is_broken = True
    fold = toy_fold()
    (derived,) = fold.derivations

    def publish(t: ToyTables, item: str, version: int) -> Atp | None:
        if item == "SKU-1" and is_broken:
            raise OverflowError("date value out of range")
        return derived.function(t, item, version)  # type: ignore[no-any-return]

    fold.derivations.clear()
    fold.derive(on=derived.on)(publish)
    everything = [to_inbox(item_changed(item)) for item in ("SKU-1", "SKU-2")]
    everything += [to_inbox(received(item, f"W-{n}")) for n in range(3) for item in ("SKU-1", "SKU-2")]
    log = new_log(everything)
    worker = new_worker(log, [fold], batch=3)
    drain(worker)
    assert worker.halted == {}
    assert {atp.item for atp in sent(log, Atp)} == {"SKU-2"}
    (noted,) = sent(log, ExceptionNoted)
    assert (noted.code, noted.item, noted.fingerprint) == ("unpublished", "SKU-1", "unpublished:promise:SKU-1")
    assert "OverflowError: date value out of range" in noted.sentence
    assert [e.item for e in sent(log, ItemSuspected)] == ["SKU-1"]
    assert sent(log, SuspicionCleared) == []

    worker.close()
    is_broken = False  # the next version is deployed: what failed is tried again, whatever comes
    log.append([to_inbox(item_changed("SKU-1", "later"))])
    drain(new_worker(log, [fold]))
    assert next(atp.atp_milli for atp in sent(log, Atp) if atp.item == "SKU-1") == 3_000
    assert [e.fingerprint for e in sent(log, ExceptionCleared)] == ["unpublished:promise:SKU-1"]
    assert [e.item for e in sent(log, SuspicionCleared)] == ["SKU-1"]
    assert [atp.suspects for atp in sent(log, Atp) if atp.item == "SKU-1"][-1] == []


# --- halts and their exit --------------------------------------------------------------------------------------------------

BROKEN = [to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "W-1", "BROKEN")), to_inbox(received("SKU-1", "W-2"))]
AT = TopicPartition(INBOX, BROKEN[0].partition)


@pytest.fixture(params=["memory", "embedded"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryLog | EmbeddedLog]:
    made = MemoryLog(clock_ms=lambda: 5_000) if request.param == "memory" else EmbeddedLog(tmp_path)
    made.create(topics.DEFINED)
    yield made
    made.close()


def test_a_person_has_the_record_of_a_halt_skipped_while_it_runs(log: Any) -> None:
    log.append(BROKEN)
    worker = new_worker(log)
    halt = halted(worker)
    assert (halt.partition, halt.offset) == (AT, 1)
    assert worker.step().inputs == 0
    skip(log, AT, 1)
    drain(worker)
    assert worker.halted == {}
    (letter,) = sent(log, DeadLetter)
    assert letter.value == BROKEN[1].value
    assert letter.reason == "skipped by ada: seen to by hand. Its partition stood there: stock is impossible"
    assert letter.items == ["SKU-1"]
    assert sent(log, Atp)[-1].atp_milli == 1_000
    assert [e.fingerprint for e in sent(log, ExceptionCleared)] == [f"halted:{AT.topic}/{AT.partition}"]
    worker.close()
    assert verify(log, [toy_fold()], CODEC).is_same


def test_a_record_is_skipped_while_nothing_runs(log: Any) -> None:
    log.append(BROKEN)
    worker = new_worker(log)
    halted(worker)
    worker.close()
    skip(log, AT, 1)
    again = new_worker(log)
    drain(again)
    assert len(sent(log, DeadLetter)) == 1
    assert sent(log, Atp)[-1].atp_milli == 1_000


def test_skipping_a_record_that_can_be_applied_changes_nothing(log: Any) -> None:
    skip(log, AT, 2)
    log.append([BROKEN[0], BROKEN[2], BROKEN[2]])
    worker = new_worker(log)
    drain(worker)
    assert sent(log, DeadLetter) == []
    assert fates(worker) == {"inputs": 3, "applied": 2, "duplicate": 1}


def test_another_record_does_not_free_the_partition(log: Any) -> None:
    log.append(BROKEN)
    worker = new_worker(log)
    halted(worker)
    skip(log, AT, 2)
    assert worker.step().inputs == 0
    assert list(worker.halted) == [AT]


def test_a_waiting_record_at_which_a_release_stands_is_skipped_and_the_release_goes_on() -> None:
    outgoing = [to_inbox(received("SKU-1", f"W-{n}", "BROKEN" if n == 3 else None)) for n in range(6)]
    log = new_log([*outgoing, to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late"))])
    worker = new_worker(log, limits=Limits(release_batch=2))
    with pytest.raises(PartitionHalted) as error:
        for _ in range(10):
            worker.step()
    assert error.value.offset == 3
    assert fates(worker) == {"inputs": 7, "applied": 4, "parked": 3}
    with pytest.raises(PartitionHalted):
        new_worker(log.reopen(), limits=Limits(release_batch=2)).step()
    log = log.reopen()
    worker = new_worker(log, limits=Limits(release_batch=2))
    skip(log, AT, 3)
    for _ in range(10):
        worker.step()
    assert [letter.offset for letter in sent(log, DeadLetter)] == [3]
    assert sent(log, Atp)[-1].atp_milli == 6_000
    worker.close()
    assert verify(log, [toy_fold()], CODEC).is_same


def test_the_state_does_not_depend_on_where_a_halt_cut_the_batches() -> None:
    found = []
    for batch in (1, 2, 50):
        log = new_log(BROKEN)
        worker = new_worker(log, batch=batch)
        with pytest.raises(PartitionHalted):
            for _ in range(5):
                worker.step()
        skip(log, AT, 1)
        drain(worker)
        found.append([[row for row in rows if is_state(row[0])] for rows in dump(log)])
    assert found[0] == found[1] == found[2]


# --- letters too large to be kept -------------------------------------------------------------------------------------------


def test_a_dead_letter_of_a_large_record_refers_to_it() -> None:
    body = b"junk" * 1_000
    log = new_log([raw(body), raw(b"small junk")])
    worker = new_worker(log, [toy_translator()], limits=Limits(letter_bytes=3_999))
    drain(worker)
    large, small = sent(log, DeadLetter)
    assert (large.value, large.value_bytes, large.value_sha256) == (None, 4_000, sha256(body).hexdigest())
    assert (large.topic, large.partition, large.offset) == ("raw.wms", 0, 0)
    assert (small.value, small.value_bytes, small.value_sha256) == (b"small junk", 0, "")
    assert fates(worker)["dead_lettered"] == 2


def test_an_event_that_no_record_can_hold_is_the_dead_letter_of_what_makes_it() -> None:
    large = b'{"sequence": 1, "item": "%b"}' % (b"X" * (8 << 20))
    log = new_log([raw(large), raw(b'{"sequence": 2, "item": "SKU-1"}')])
    worker = new_worker(log, [toy_translator()])
    drain(worker)
    assert fates(worker) == {"inputs": 2, "applied": 1, "dead_lettered": 1}
    (letter,) = sent(log, DeadLetter)
    assert "a record takes" in letter.reason
    assert letter.value_bytes == len(large)
