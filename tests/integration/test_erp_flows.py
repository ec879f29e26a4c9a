"""The capture through every flow on the engine, with crashes on the way: the ERP's state, and what follows from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from schemas.codec import Codec
from schemas.topics import PROMISE_INBOX
from streams.commands.file_ingest import ingest_file
from streams.engine.fates import NAMESPACE, EngineTables
from streams.engine.log import StoreId, Unavailable
from streams.engine.memory.log import NO_FAULTS, Crash, LogFaults, MemoryLog
from streams.engine.table import FoldTables, Journal
from streams.engine.worker import Worker
from streams.queries.reconcile import reconcile
from streams.queries.table_views import TableView
from streams.runtime.app import all_flows
from streams.runtime.open_log import all_topics
from streams.settings.settings import Settings, load
from tests.support.erp_driver import CAPTURE, FINAL

NOW_MS = 1_795_500_000_000
TROUBLE = LogFaults(
    before_commit=0.1, after_commit=0.1, unavailable=0.1, reassign=0.05, small_batch=0.2, delay=0.2, interleave=True
)
ERP_SITES = ("EU1", "DC2")


@pytest.fixture
def given() -> Settings:
    return load(site={site: {"physical_owner": "erp"} for site in ERP_SITES})


def worked_off(log: MemoryLog, settings: Settings) -> tuple[MemoryLog, Counter[str]]:
    """Run all flows until nothing is left, however often they are killed. The fates of all inputs."""
    flows, codec = all_flows(settings), Codec()
    while True:
        worker = Worker(log, flows, codec, clock_ms=lambda: NOW_MS)
        try:
            quiet = 0
            while quiet < 20:
                quiet = 0 if _stepped(worker) else quiet + 1
            found = Counter[str]()
            for (flow, _), fates in worker.fates().items():
                found[f"{flow} dead"] += fates.dead_lettered
                found[f"{flow} parked"] += fates.parked
            worker.close()
            return log, found
        except Crash:
            log = log.reopen()


def waited_for(log: MemoryLog) -> Iterator[str]:
    """What each waiting event of the promise fold waits for."""
    for n in range(PROMISE_INBOX.partitions):
        tables = FoldTables(EngineTables, log.store(StoreId("promise", n)), Journal(), namespace=NAMESPACE).tables
        yield from (fact for (fact, _), _ in tables.parked.range(("", 0), ("\U0010ffff", 0)))


def _stepped(worker: Worker) -> bool:
    try:
        report = worker.step()
    except Unavailable:
        return True
    return report.inputs > 0 or report.is_fenced


@pytest.mark.parametrize("faults", [NO_FAULTS, TROUBLE], ids=["undisturbed", "killed again and again"])
def test_the_whole_capture(given: Settings, faults: LogFaults) -> None:
    """Tables, open supply and the stock of sites the ERP owns are the database's; nothing is refused, and nothing waits but what
    the database says of items that it does not have.
    """
    log = MemoryLog(seed=5, clock_ms=lambda: NOW_MS)
    log.create(all_topics(given))
    ingest_file(log, CAPTURE, "erp")
    log.faults = faults
    log, fates = worked_off(log, given)
    tables = TableView(log, all_flows(given))
    report = reconcile(tables.scan, FINAL, ERP_SITES)
    assert report.is_equal, (report.difference_count, report.differences[:5])
    compared = {table.table: table.rows_compared for table in report.tables}
    assert compared["open supply"] == 76
    assert compared["on hand"] > 400
    waiting = Counter(waited_for(log))
    items = {row["item_no"] for row in json.loads((FINAL / "item.json").read_text())}
    assert waiting and not {f"item:{item}" for item in items} & waiting.keys()
    assert sum(fates.values()) == fates["promise parked"] == sum(waiting.values()), fates
