"""Every input has one fate: applied, duplicate, ignored, dead-lettered or parked, and people are told of the last two."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.inventory import Atp, ItemSuspected, StockReceived, SuspicionCleared
from schemas.operations import DeadLetter, ExceptionCleared, ExceptionNoted
from schemas.records import Headers
from streams.engine.fates import InputFates
from streams.engine.flow import Fold
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partition import Limits, PartitionHalted
from streams.engine.quarantine import cause_of
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    ToyTables,
    drain,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    raw,
    received,
    run,
    sent,
    site_changed,
    suspect,
    to_inbox,
    toy_fold,
    toy_translator,
)


def replayed(dead_letter_id: str, *items: str) -> Headers:
    return (("crossdock.replay-of", dead_letter_id.encode()), ("crossdock.items", ",".join(items).encode()))


def translated(*outgoing: Outgoing, limits: Limits | None = None) -> tuple[MemoryLog, dict[str, int]]:
    log = new_log(outgoing)
    worker = new_worker(log, [toy_translator()], limits=limits)
    drain(worker)
    return log, fates(worker)


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_a_refused_event_is_undone_and_kept_whole_with_its_reason() -> None:
    bad = to_inbox(received("SKU-1", "W-1", "REFUSED"))
    log, worker = run(to_inbox(item_changed("SKU-1")), bad)
    (letter,) = sent(log, DeadLetter)
    assert letter.dead_letter_id == f"{INBOX}/{bad.partition}/1"
    assert (letter.key, letter.value, letter.flow) == (b"SKU-1", bad.value, "promise")
    assert (letter.reason, letter.hint) == ("unit 'W-1' is none of SKU-1", "send EA")
    assert letter.items == ["SKU-1", "OTHER"]
    assert not any(key.startswith(b"stock") for rows in dump(log) for key, _ in rows)
    assert fates(worker) == {"inputs": 4, "applied": 3, "dead_lettered": 1}


def test_a_dead_letter_says_where_it_came_from_as_kafka_connect_would() -> None:
    bad = to_inbox(received("SKU-1", "W-1", "REFUSED"))
    log, _ = run(to_inbox(item_changed("SKU-1")), bad)
    (record,) = log.read(TopicPartition(topics.DEAD_LETTERS.name, 0), 0, 10)
    assert dict(record.headers) == {
        "__connect.errors.topic": INBOX.encode(),
        "__connect.errors.partition": str(bad.partition).encode(),
        "__connect.errors.offset": b"1",
        "__connect.errors.exception.message": b"unit 'W-1' is none of SKU-1",
        "__connect.errors.stage": b"TASK_PUT",
    }


def test_people_are_told_once_a_cause_and_the_items_are_suspect() -> None:
    log, _ = run(to_inbox(item_changed("SKU-1")), *(to_inbox(received("SKU-1", f"W-{n}", "REFUSED")) for n in range(3)))
    noted = sent(log, ExceptionNoted)
    assert {e.fingerprint for e in noted} == {"dead-letter:promise:unit-is-none-of"}
    assert noted[0].code == "dead_letter"
    assert noted[0].sentence == "unit 'W-0' is none of SKU-1. send EA"
    assert noted[0].item == "SKU-1"
    assert {(e.item, e.reason[:4]) for e in sent(log, ItemSuspected)} == {("SKU-1", "unit"), ("OTHER", "unit")}


def test_an_undecodable_record_is_a_dead_letter_and_its_key_suspect() -> None:
    log, worker = run(Outgoing(INBOX, 0, b"SKU-1", b"\0junk"), Outgoing(INBOX, 0, b"SKU-2", None))
    assert [letter.items for letter in sent(log, DeadLetter)] == [["SKU-1"], ["SKU-2"]]
    assert fates(worker)["dead_lettered"] == 2


def test_an_event_of_another_inbox_is_a_dead_letter() -> None:
    stray = CODEC.encode(ExceptionCleared(**_ORIGIN, fingerprint="x"))
    log, _ = run(Outgoing(INBOX, 0, b"SKU-1", stray))
    (letter,) = sent(log, DeadLetter)
    assert letter.reason == f"ExceptionCleared does not belong on {INBOX}"


_ORIGIN: dict[str, Any] = {
    "event_id": "E",
    "source": "x",
    "source_position": 0,
    "occurred_at_ms": 0,
    "recorded_at_ms": 0,
    "trace_id": "t",
}


def test_a_refused_broadcast_suspects_no_item() -> None:
    log, _ = run(to_inbox(site_changed("DC1")))
    assert [letter.items for letter in sent(log, DeadLetter)] == [[]]
    assert sent(log, ItemSuspected) == []


def test_a_refused_suspicion_does_not_go_round_for_ever() -> None:
    log, worker = run(to_inbox(suspect("SKU-1", "refuse me")))
    assert fates(worker) == {"inputs": 1, "dead_lettered": 1}
    assert len(sent(log, ItemSuspected)) == 1


def test_the_exceptions_fold_notes_no_exception_about_itself() -> None:
    log = new_log([Outgoing(topics.EXCEPTIONS_INBOX.name, 0, b"x", b"junk")])
    worker = new_worker(log, [Fold("exceptions", topics.EXCEPTIONS_INBOX, ToyTables)])
    drain(worker)
    assert len(sent(log, DeadLetter)) == 1
    assert sent(log, ExceptionNoted) == []


def test_half_a_surrogate_pair_in_a_message_is_a_dead_letter_and_no_halt() -> None:
    log, counted = translated(raw(b'{"sequence": 1, "item": "\\ud800"}'))
    (letter,) = sent(log, DeadLetter)
    assert letter.reason.startswith("it says what no event can hold")
    assert counted == {"inputs": 1, "dead_lettered": 1}
    assert dump(log, "translate.wms.raw.wms", 1)[0][0][0].startswith(b"engine.fates")


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("qty 'abc' is not a number", "qty-is-not-a-number"),
        ('qty "12" of SKU-9 is not a number', "qty-of-is-not-a-number"),
        ("17", "unknown"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_cause_has_no_values_in_it(reason: str, cause: str) -> None:
    assert cause_of(reason) == cause


# --- replay ------------------------------------------------------------------------------------------------------------


def test_a_replayed_dead_letter_that_is_applied_clears_its_items() -> None:
    letter_id = "raw.wms/0/0"
    log, _ = translated(
        raw(b"junk"), raw(b'{"sequence": 1, "item": "SKU-1"}', replayed(letter_id, "SKU-1", "SKU-2")), raw(b"junk")
    )
    cleared = sorted((e.item, e.dead_letter_id) for e in sent(log, SuspicionCleared))
    assert cleared == [("SKU-1", letter_id), ("SKU-2", letter_id)]
    assert {e.dead_letter_id for e in sent(log, ItemSuspected)} == {letter_id, "raw.wms/0/2"}


def test_a_replay_of_what_has_arrived_meanwhile_clears_its_items_too() -> None:
    message = b'{"sequence": 1, "item": "SKU-1"}'
    log, counted = translated(raw(message), raw(message, replayed("raw.wms/0/9", "SKU-1")))
    assert counted == {"inputs": 2, "applied": 1, "duplicate": 1}
    assert len(sent(log, SuspicionCleared)) == 1


def test_a_replay_refused_again_moves_the_suspicion_to_the_new_dead_letter() -> None:
    log, _ = translated(raw(b"junk"), raw(b"junk", replayed("raw.wms/0/0", "SKU-7")))
    again = {e.item for e in sent(log, ItemSuspected) if e.dead_letter_id == "raw.wms/0/1"}
    assert again == {"SKU-1", "SKU-7"}
    assert [(e.item, e.dead_letter_id) for e in sent(log, SuspicionCleared)] == [("SKU-7", "raw.wms/0/0")]


def test_the_answer_of_a_suspected_item_says_so_until_the_replay() -> None:
    good = received("SKU-1", "W-1")
    log, worker = run(to_inbox(item_changed("SKU-1")), to_inbox(good), to_inbox(received("SKU-1", "W-2", "REFUSED")))
    (letter,) = sent(log, DeadLetter)
    assert sent(log, Atp)[0].suspects == [letter.dead_letter_id]
    fixed = to_inbox(received("SKU-1", "W-2", "EA"), replayed(letter.dead_letter_id, *letter.items))
    log.append([fixed])
    drain(worker)
    (atp,) = sent(log, Atp)
    assert (atp.suspects, atp.atp_milli) == ([], 2_000)


# --- parking -----------------------------------------------------------------------------------------------------------


def test_an_early_event_waits_for_its_fact_and_people_are_told() -> None:
    log, worker = run(to_inbox(received("SKU-1", "W-1")), to_inbox(received("SKU-1", "W-2")))
    assert fates(worker) == {"inputs": 2, "parked": 2}
    noted = sent(log, ExceptionNoted)
    assert {(e.code, e.fingerprint, e.item) for e in noted} == {("waiting", "waiting:promise:item:SKU-1", "SKU-1")}
    assert noted[1].sentence == "2 events wait for item SKU-1: item SKU-1 is unknown"
    log.append([to_inbox(item_changed("SKU-2")), to_inbox(item_changed("SKU-1"))])
    drain(worker)
    assert fates(worker) == {"inputs": 4, "applied": 4}
    assert sent(log, Atp)[0].atp_milli == 2_000
    assert [e.fingerprint for e in sent(log, ExceptionCleared)] == ["waiting:promise:item:SKU-1"]
    assert not any(key.startswith((b"engine.parked", b"engine.waiting")) for rows in dump(log) for key, _ in rows)


def test_released_events_have_fates_of_their_own() -> None:
    early = [received("SKU-1", "W-1"), received("SKU-1", "W-1"), received("SKU-1", "W-2", "REFUSED"), received("SKU-1", "W-3")]
    log, worker = run(*map(to_inbox, early), to_inbox(item_changed("SKU-1")))
    assert fates(worker) == {"inputs": 7, "applied": 5, "duplicate": 1, "dead_lettered": 1}
    assert [letter.dead_letter_id.split("/")[2] for letter in sent(log, DeadLetter)] == ["2"]
    assert sent(log, Atp)[0].atp_milli == 2_000


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_parked_events_are_released_in_order_across_batches_and_restarts(batch: int) -> None:
    outgoing = [to_inbox(received("SKU-1", f"W-{n}")) for n in range(5)]
    log = new_log(outgoing)
    drain(new_worker(log, batch=batch))
    log = log.reopen()
    log.append([to_inbox(item_changed("SKU-1"))])
    worker = new_worker(log, batch=batch)
    drain(worker)
    assert fates(worker) == {"inputs": 6, "applied": 6}
    assert dump(log) == dump(run(*outgoing, to_inbox(item_changed("SKU-1")))[0])


def test_a_parked_event_that_breaks_an_invariant_halts_at_its_own_offset() -> None:
    log = new_log([to_inbox(received("SKU-1", "W-1", "BROKEN"))])
    worker = new_worker(log)
    worker.step()
    log.append([to_inbox(item_changed("SKU-1"))])
    with pytest.raises(PartitionHalted, match=r"/0 \(StockReceived W-1 of SKU-1\)"):
        worker.step()


def test_more_than_so_many_waiting_for_one_key_are_dead_letters() -> None:
    early = [to_inbox(received("SKU-1", f"W-{n}")) for n in range(3)]
    log, worker = run(*early, limits=Limits(waiting=2))
    (letter,) = sent(log, DeadLetter)
    assert letter.reason == "2 events wait for item SKU-1 already, and this one cannot be applied either: item SKU-1 is unknown"
    assert fates(worker)["parked"] == 2


def test_a_replay_that_has_to_wait_clears_its_items_when_it_is_applied() -> None:
    log, worker = run(to_inbox(received("SKU-1", "W-1"), replayed("x/0/1", "SKU-1")))
    assert sent(log, SuspicionCleared) == []
    log.append([to_inbox(item_changed("SKU-1"))])
    drain(worker)
    assert len(sent(log, SuspicionCleared)) == 1


# --- translators -------------------------------------------------------------------------------------------------------


def test_a_translator_counts_what_it_ignores_by_reason_and_forgets_no_sequence() -> None:
    beat = b'{"sequence": 1, "type": "heartbeat"}'
    log = new_log([raw(beat), raw(beat), raw(b'{"sequence": 2, "item": "SKU-1"}')])
    worker = new_worker(log, [toy_translator()])
    drain(worker)
    assert fates(worker) == {"inputs": 3, "applied": 1, "duplicate": 1, "ignored": 1}
    (row,) = worker.fates().values()
    assert row.ignored_for == {"heartbeat": 1}
    assert [e.event_id for e in sent(log, StockReceived)] == ["W-2"]


def test_reasons_to_ignore_are_bounded() -> None:
    counts = InputFates()
    for n in range(1_000):
        counts.ignore(f"reason {n}")
    assert len(counts.ignored_for) == 65
    assert sum(counts.ignored_for.values()) == counts.ignored == 1_000


def test_a_raw_message_goes_all_the_way_through_translator_and_fold() -> None:
    log = new_log([raw(b'{"sequence": %d, "item": "SKU-%d"}' % (n, n % 3)) for n in range(9)])
    log.append([to_inbox(item_changed(f"SKU-{n}")) for n in range(3)])
    worker = new_worker(log, [toy_translator(), toy_fold()], batch=4)
    drain(worker)
    assert {a.item: a.atp_milli for a in sent(log, Atp)} == {"SKU-0": 3_000, "SKU-1": 3_000, "SKU-2": 3_000}
