"""An item of which an event waits may be wrong, and its answers say so for just as long, whatever becomes of the event."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from schemas.errors import NotYet, Refused
from schemas.inventory import Atp, ItemSuspected, SiteChanged, StockReceived, SuspicionCleared
from schemas.operations import DeadLetter, ExceptionNoted
from streams.engine.fates import EngineTables
from streams.engine.flow import Fold
from streams.engine.limits import Limits
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import LogFaults, MemoryLog
from streams.engine.partition import store_id
from streams.engine.table import FoldTables, Journal
from streams.engine.worker import Worker
from streams.flows.promise import promise_fold
from tables.common.policy import Policy
from tests.support.toy_flows import (
    INBOX,
    PARTITIONS,
    Item,
    ToyTables,
    drain,
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

BY_SITE = "waiting:promise/{partition}:site:DC1"


def everywhere(event: Any) -> list[Outgoing]:
    return [to_inbox(event)._replace(partition=p) for p in range(PARTITIONS)]


def settled(worker: Worker) -> None:
    while (report := worker.step()).rows or report.inputs or report.is_fenced:
        pass


def suspects(log: MemoryLog) -> dict[str, list[str]]:
    """What raises doubt, by item, as published last. The partition is left out: it follows from the item."""
    newest = {atp.item: atp for atp in sorted(sent(log, Atp), key=lambda atp: atp.version)}
    names = {item: [name.split("/")[0] + name[name.index(":", 8) :] for name in atp.suspects] for item, atp in newest.items()}
    return {item: found for item, found in names.items() if found}


def counted(log: MemoryLog, fold: Fold[Any]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for partition in range(PARTITIONS):
        store = log.store(store_id(fold, TopicPartition(INBOX, partition)))
        tables = FoldTables(EngineTables, store, Journal(), namespace="engine.").tables
        found |= {key: row.count for key, row in tables.doubted.under()}
    return found


def test_an_item_is_suspect_while_one_of_its_events_waits_for_a_site() -> None:
    fold = promise_fold(Policy())
    log = new_log([to_inbox(item_changed("SKU-1")), *(to_inbox(received("SKU-1", f"W-{n}")) for n in range(3))])
    worker = new_worker(log, [fold])
    settled(worker)
    assert suspects(log) == {"SKU-1": ["waiting:promise:site:DC1"]}
    (told,) = sent(log, ItemSuspected)
    assert told.reason.startswith("an event of it waits for site DC1: UnknownSite(site='DC1'): the ERP has not sent this site")
    assert counted(log, fold) == {("site:DC1", "SKU-1"): 3}
    assert {e.code for e in sent(log, ExceptionNoted)} == {"waiting"}
    log.append(everywhere(site_changed("DC1")))
    settled(worker)
    assert suspects(log) == {}
    assert len(sent(log, SuspicionCleared)) == 1
    assert counted(log, fold) == {}


def test_an_item_the_erp_has_not_sent_is_suspect_and_then_for_the_site_without_a_gap() -> None:
    fold = promise_fold(Policy())
    log = new_log([to_inbox(received("SKU-1", "W-1"))])
    worker = new_worker(log, [fold])
    settled(worker)
    assert suspects(log) == {"SKU-1": ["waiting:promise:item:SKU-1"]}
    log.append([to_inbox(item_changed("SKU-1"))])
    settled(worker)
    assert suspects(log) == {"SKU-1": ["waiting:promise:site:DC1"]}
    newest = [atp.suspects for atp in sent(log, Atp) if atp.item == "SKU-1"]
    assert all(newest)
    order = sorted((e.source_position, e.event_id) for e in [*sent(log, ItemSuspected), *sent(log, SuspicionCleared)])
    assert len(order) == 3
    log.append(everywhere(site_changed("DC1")))
    settled(worker)
    assert suspects(log) == {}


def doubting(refused: str = "") -> Fold[ToyTables]:
    """A toy that waits for the site, and says for which item only of events that change its numbers."""

    def on(t: ToyTables, e: StockReceived) -> Iterator[Any]:
        if (f"site {e.site}",) not in t.items:
            raise NotYet("no site", waits_for=f"site:{e.site}", items=() if e.event_id.startswith("price") else (e.item, e.item))
        if e.event_id == refused:
            raise Refused("it cannot be")
        return on_received(t, e)

    def on_site(t: ToyTables, e: SiteChanged) -> Iterator[Any]:
        t.items[f"site {e.site}",] = Item("A")
        yield from ()

    fold = toy_fold()
    fold.rules |= {StockReceived: on, SiteChanged: on_site}
    fold.release_on(SiteChanged, waits_for=lambda e: f"site:{e.site}")
    return fold


def test_an_event_that_says_nothing_of_an_items_numbers_raises_no_doubt() -> None:
    log = new_log([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "price-1"))])
    worker = new_worker(log, [doubting()])
    settled(worker)
    log.append(everywhere(site_changed("DC1")))
    settled(worker)
    assert sent(log, ItemSuspected) == sent(log, SuspicionCleared) == []


def test_what_waited_and_is_refused_is_doubted_for_the_dead_letter_alone() -> None:
    fold = doubting(refused="W-1")
    log = new_log([to_inbox(item_changed("SKU-1")), to_inbox(received("SKU-1", "W-0")), to_inbox(received("SKU-1", "W-1"))])
    worker = new_worker(log, [fold])
    settled(worker)
    log.append(everywhere(site_changed("DC1")))
    settled(worker)
    (letter,) = sent(log, DeadLetter)
    assert [e.dead_letter_id for e in sent(log, ItemSuspected)][1:] == [letter.dead_letter_id]
    assert [e.dead_letter_id.partition("/")[0] for e in sent(log, SuspicionCleared)] == ["waiting:promise"]
    assert counted(log, fold) == {}


def test_what_is_too_much_to_wait_is_a_dead_letter_that_raises_the_doubt_itself() -> None:
    log = new_log([to_inbox(received("SKU-1", f"W-{n}")) for n in range(5)])
    worker = new_worker(log, [doubting()], limits=Limits(waiting=2))
    settled(worker)
    assert len(sent(log, DeadLetter)) == 3
    assert len(sent(log, ItemSuspected)) == 4


@pytest.mark.parametrize("seed", range(12))
def test_the_count_is_as_exact_as_the_tables_wherever_batches_end_and_commits_fail(seed: int) -> None:
    """However a run was cut, stopped and failed: suspect is who has an event that waits, and nobody else."""
    rng = Random(seed)
    items = [f"SKU-{n}" for n in range(4)]
    events = [to_inbox(received(rng.choice(items), f"W-{n}", site=rng.choice(["DC1", "DC2"]))) for n in range(60)]
    events += [to_inbox(item_changed(item)) for item in items[:3]]
    rng.shuffle(events)
    events += everywhere(site_changed("DC2"))
    log, fold = new_log(events, seed=seed), promise_fold(Policy())
    limits = Limits(release_batch=rng.choice([1, 3, 100]))
    for _ in range(8):
        worker = new_worker(log, [fold], batch=rng.choice([1, 7, 100]), limits=limits)
        log.faults = LogFaults(unavailable=0.3)
        for _ in range(rng.randrange(6)):
            try:
                worker.step()
            except Unavailable:
                break
        log = log.reopen()
    log.faults = LogFaults()
    worker = new_worker(log, [fold], limits=limits)
    settled(worker)
    left = {item: ["waiting:promise:site:DC1"] for item in items[:3]} | {items[3]: [f"waiting:promise:item:{items[3]}"]}
    assert suspects(log) == left
    assert set(counted(log, fold)) == {(name.removeprefix("waiting:promise:"), item) for item, (name,) in left.items()}
    log.append([to_inbox(item_changed(items[3])), *everywhere(site_changed("DC1"))])
    drain(worker)
    settled(worker)
    assert suspects(log) == {}
    assert counted(log, fold) == {}
