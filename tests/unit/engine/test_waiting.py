"""Events wait for what they refer to, however many they are, and are applied in order when it comes, in bounded transactions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.errors import NotYet
from schemas.inventory import Atp, ItemChanged, SiteChanged, StockReceived
from schemas.operations import DeadLetter, ExceptionCleared, ExceptionNoted
from streams.engine.fates import EngineTables, fact_of
from streams.engine.flow import Fold
from streams.engine.log import TopicPartition, Unavailable
from streams.engine.memory.log import LogFaults, MemoryLog
from streams.engine.partition import Limits, SourceLimit, store_id
from streams.engine.table import FoldTables, Journal
from streams.engine.verify import verify
from streams.engine.worker import Worker
from tests.support.toy_flows import (
    CODEC,
    INBOX,
    PARTITIONS,
    Item,
    ToyTables,
    drain,
    dump,
    fates,
    item_changed,
    new_log,
    new_worker,
    on_received,
    received,
    sent,
    site_changed,
    to_inbox,
    toy_fold,
)

SMALL = Limits(release_batch=10)


def on_known_site(t: ToyTables, e: StockReceived) -> Iterator[Any]:
    """A site is waited for first, then the item."""
    if (f"site {e.site}",) not in t.items:
        raise NotYet(f"site {e.site} is unknown", waits_for=f"site:{e.site}")
    return on_received(t, e)


def on_site(t: ToyTables, e: SiteChanged) -> Iterator[Any]:
    t.items[f"site {e.site}",] = Item("A")
    yield from ()


def sites_fold() -> Fold[ToyTables]:
    fold = toy_fold()
    fold.rules[StockReceived] = on_known_site
    fold.rules[SiteChanged] = on_site
    fold.release_on(SiteChanged, waits_for=lambda e: f"site:{e.site}")
    return fold


def waiting(log: MemoryLog, fold: Fold[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for partition in range(PARTITIONS):
        store = log.store(store_id(fold, TopicPartition(INBOX, partition)))
        tables = FoldTables(EngineTables, store, Journal(), namespace="engine.").tables
        for (fact,), row in tables.waiting.under():
            found[fact] = found.get(fact, 0) + row.count
    return found


def test_three_thousand_receipts_of_an_unknown_item_wait_and_are_all_applied_when_it_comes() -> None:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(3_000)])
    worker = new_worker(log)
    drain(worker)
    assert fates(worker) == {"inputs": 3_000, "parked": 3_000}
    assert sent(log, DeadLetter) == []
    log.append([to_inbox(item_changed("SKU-1"))])
    steps = 0
    while worker.step().rows or steps == 0:
        steps += 1
    assert steps == 2  # 2,048 a transaction
    assert fates(worker) == {"inputs": 3_001, "applied": 3_001}
    assert sent(log, Atp)[-1].atp_milli == 3_000_000
    assert verify(log, [toy_fold()], CODEC, patience_s=0.0).is_same is False  # the worker owns the partitions
    worker.close()
    assert verify(log, [toy_fold()], CODEC).is_same


def test_what_comes_behind_a_release_waits_for_its_end_and_other_partitions_do_not() -> None:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(95)])
    worker = new_worker(log, limits=SMALL)
    drain(worker)
    log.append([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late")), to_inbox(item_changed("SKU-2"))])
    assert worker.step().inputs == 2
    assert fates(worker)["parked"] == 85
    log.append([to_inbox(item_changed("SKU-2"))])
    assert worker.step().inputs == 1
    drain(worker)
    while worker.step().rows:
        pass
    assert fates(worker) == {"inputs": 99, "applied": 99}
    reference = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(95)])
    reference.append([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late"))])
    reference.append([to_inbox(item_changed("SKU-2"))] * 2)
    drain(new_worker(reference))
    assert dump(log) == dump(reference)


def settled(worker: Worker) -> None:
    while (report := worker.step()).rows or report.inputs or report.is_fenced:
        pass


@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_a_release_goes_on_after_a_restart_without_new_records(stop_after: int) -> None:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(95)])
    log.append([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late"))])
    worker = new_worker(log, limits=SMALL)
    for _ in range(stop_after):
        worker.step()
    log = log.reopen()
    worker = new_worker(log, limits=SMALL)
    settled(worker)
    assert fates(worker) == {"inputs": 97, "applied": 97}
    reference = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(95)])
    reference.append([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late"))])
    drain(new_worker(reference))
    assert dump(log) == dump(reference)


def test_a_release_whose_commit_failed_is_done_again() -> None:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(35)])
    log.append([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "late"))])
    worker = new_worker(log, limits=SMALL)
    worker.step()
    log.faults = LogFaults(unavailable=1.0)
    with pytest.raises(Unavailable):
        worker.step()
    log.faults = LogFaults()
    settled(worker)
    assert fates(worker) == {"inputs": 37, "applied": 37}
    assert sent(log, Atp)[-1].atp_milli == 36_000


def test_an_event_waits_for_a_site_and_then_for_its_item() -> None:
    fold = sites_fold()
    log = new_log([to_inbox(received("SKU-1", "W-1")), to_inbox(received("SKU-2", "W-2")), to_inbox(item_changed("SKU-2"))])
    worker = new_worker(log, [fold])
    settled(worker)
    assert waiting(log, fold) == {"site:DC1": 2}
    noted = {(e.fingerprint, e.sentence, e.item) for e in sent(log, ExceptionNoted)}
    assert noted == {("waiting:promise:site:DC1", "Events wait for site DC1: site DC1 is unknown", None)}
    log.append([to_inbox(site_changed("DC1"), ())._replace(partition=p) for p in range(PARTITIONS)])
    settled(worker)
    assert waiting(log, fold) == {"item:SKU-1": 1}
    assert {e.fingerprint for e in sent(log, ExceptionCleared)} == {"waiting:promise:site:DC1"}
    log.append([to_inbox(item_changed("SKU-1"))])
    settled(worker)
    assert waiting(log, fold) == {}
    assert {e.fingerprint for e in sent(log, ExceptionCleared)} == {"waiting:promise:site:DC1", "waiting:promise:item:SKU-1"}
    assert fates(worker) == {"inputs": 4 + PARTITIONS, "applied": 4 + PARTITIONS}


def test_a_released_event_that_brings_what_an_earlier_one_waits_for_has_it_tried_again() -> None:
    """The receipt waits for its item, whose own row waits too (for the site): the row comes later in the queue."""
    fold = toy_fold()

    def late_item(t: ToyTables, e: ItemChanged) -> Iterator[Any]:
        if ("site DC1",) not in t.items:
            raise NotYet("no site", waits_for="all")
        t.items[e.item,] = Item(e.status)
        yield from ()

    def early(t: ToyTables, e: StockReceived) -> Iterator[Any]:
        if (e.item,) not in t.items:
            raise NotYet("no item", waits_for="all")
        return on_received(t, e)

    fold.rules |= {ItemChanged: late_item, StockReceived: early, SiteChanged: on_site}
    for event in (ItemChanged, SiteChanged):
        fold.release_on(event, waits_for=lambda e: "all")
    log = new_log([*(to_inbox(received("SKU-1", f"W-{n}")) for n in range(7)), to_inbox(item_changed("SKU-1"))])
    log.append([to_inbox(site_changed("DC1"))._replace(partition=p) for p in range(PARTITIONS)])
    worker = new_worker(log, [fold], limits=Limits(release_batch=3))
    settled(worker)
    assert waiting(log, fold) == {}
    assert sent(log, Atp)[-1].atp_milli == 7_000


def test_waiting_never_counts_against_the_limit_of_dead_letters() -> None:
    limits = Limits(flow=SourceLimit(5), waiting=10)
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(50)])
    worker = new_worker(log, limits=limits)
    drain(worker)
    assert (fates(worker)["parked"], fates(worker)["dead_lettered"]) == (10, 40)
    (letter, *_) = sent(log, DeadLetter)
    assert letter.reason == "10 events wait for item SKU-1 already, and this one cannot be applied either: item SKU-1 is unknown"


def test_a_fact_with_a_name_of_any_length_is_a_bounded_key() -> None:
    assert fact_of("site:DC1") == "site:DC1"
    assert len(fact_of("site:" + "x" * 100_000)) < 300
    assert fact_of("x" * 300) != fact_of("x" * 301)


def _release_s(count: int) -> float:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(count)])
    worker = new_worker(log)
    drain(worker)
    log.append([to_inbox(item_changed("SKU-1"))])
    began = time.process_time()
    settled(worker)
    assert fates(worker)["applied"] == count + 1
    return time.process_time() - began


def test_a_release_takes_time_in_proportion_to_what_waits() -> None:
    small = max(min(_release_s(2_000) for _ in range(2)), 0.02)
    assert _release_s(16_000) < 8 * small * 3
