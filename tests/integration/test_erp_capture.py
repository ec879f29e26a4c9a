"""A real capture of the ERP's change feed, through translator and folds, gives exactly the database's final state."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from schemas.orders import ErpOrderChanged, ErpOrderLineChanged, InvoiceLinePosted
from schemas.records import Record
from streams.engine.log import TopicPartition
from streams.queries.reconcile import reconcile
from tests.support.erp_driver import (
    CAPTURE,
    FINAL,
    Driver,
    assert_final,
    final,
    interleaved,
    raw_log,
    raw_partitions,
)
from tests.support.erp_settings import transformed

Partitions = dict[TopicPartition, list[Record]]


@pytest.fixture(scope="module")
def partitions() -> Partitions:
    return raw_partitions(raw_log())


def in_turn(partitions: Partitions) -> list[Record]:
    return list(interleaved(partitions, Random(1)))


def test_every_record_is_ingested(partitions: Partitions) -> None:
    assert sum(len(records) for records in partitions.values()) == 17_226


def test_capture_gives_the_final_state(partitions: Partitions) -> None:
    """Every table and column; no event is applied twice; what is ignored is ignored for a known reason."""
    driver = Driver()
    driver.feed(in_turn(partitions))
    assert_final(driver)
    report = reconcile(driver.rows, FINAL)
    assert report.is_equal, report.differences[:5]
    assert {t.table: (t.rows_compared, t.missing, t.unexpected) for t in report.tables if t.table != "open supply"} == {
        name: (len(final(name)), 0, 0) for name in (t.table for t in report.tables if t.table != "open supply")
    }
    assert sum(t.fields_compared for t in report.tables if t.table != "open supply") == sum(
        len(row) for table in report.tables if table.table != "open supply" for row in final(table.table)
    )
    assert len(driver.applied_ids) == len(set(driver.applied_ids))
    assert dict(driver.ignored) == {
        "tombstone: its delete said all there is to say": 164,
        "transaction metadata": 4180,
        "heartbeat": 66,
        "table 'debezium_signal' is not mapped": 13,
    }


@pytest.mark.parametrize("seed", range(4))
def test_topics_interleaved_differently(partitions: Partitions, seed: int) -> None:
    """Partitions in other turns, some far behind, inboxes worked on late: the same state."""
    driver = Driver(seed)
    driver.feed(interleaved(partitions, Random(seed)))
    assert_final(driver)


def test_ingested_twice(partitions: Partitions) -> None:
    """The second time changes nothing, and tells nobody anything."""
    driver = Driver()
    driver.feed(in_turn(partitions))
    before, told, applied = driver.state(), len(driver.told), driver.fates["applied"]
    driver.feed(in_turn(partitions))
    assert driver.state() == before
    assert (len(driver.told), driver.fates["applied"]) == (told, applied)
    assert_final(driver)


@pytest.mark.parametrize("seed", range(3))
def test_cut_anywhere_and_resumed(partitions: Partitions, seed: int) -> None:
    """Cut at several points; each time reading resumes somewhere before the cut, as after a crash of the connector."""
    random = Random(seed)
    records = list(interleaved(partitions, random))
    driver = Driver(seed)
    at = 0
    for cut in sorted(random.sample(range(len(records)), 4)):
        driver.feed(records[at:cut])
        at = random.randrange(max(0, cut - 2_000), cut + 1)
    driver.feed(records[at:])
    assert_final(driver)


@pytest.mark.parametrize(
    ("schemas", "precise", "full"),
    [(True, True, True), (False, True, False), (True, False, True)],
    ids=["schemas, precise, full identity", "precise without schemas", "schemas, strings, full identity"],
)
def test_other_settings_of_the_connector(tmp_path: Path, schemas: bool, precise: bool, full: bool) -> None:
    path = transformed(CAPTURE, tmp_path / "records.jsonl.gz", schemas=schemas, precise=precise, full=full)
    driver = Driver(7)
    driver.feed(in_turn(raw_partitions(raw_log(path))))
    assert_final(driver)
    assert reconcile(driver.rows, FINAL).is_equal


def test_what_the_orders_are_told_adds_up(partitions: Partitions) -> None:
    """The newest word on each document line, as told to the order fold, is the database's final state; revisions rise."""
    driver = Driver(3)
    driver.feed(interleaved(partitions, Random(3)))
    newest: dict[tuple[object, ...], object] = {}
    revisions: dict[tuple[object, ...], int] = {}
    key_of: tuple[object, ...]
    for event in driver.told:
        match event:
            case ErpOrderChanged():
                key_of = ("order", event.order_id, event.order_no)
            case ErpOrderLineChanged():
                key_of = ("line", event.order_id, event.order_no, event.line_no)
            case InvoiceLinePosted():
                key_of = ("bill", event.order_id, event.order_no, event.invoice_no, event.invoice_line)
            case _:
                continue
        assert event.revision > revisions.get(key_of, 0)
        revisions[key_of] = event.revision
        newest[key_of] = event
    live = [e for e in newest.values() if not getattr(e, "is_deleted", False)]
    lines = {(e.order_no, e.line_no): e for e in live if isinstance(e, ErpOrderLineChanged)}
    headers = {e.order_no: e for e in live if isinstance(e, ErpOrderChanged)}
    bills = {(e.invoice_no, e.invoice_line): e for e in live if isinstance(e, InvoiceLinePosted)}
    assert {no: e.status for no, e in headers.items()} == {r["order_no"]: r["status"] for r in final("sales_order")}
    assert {k: (e.item, e.line_status) for k, e in lines.items()} == {
        (r["order_no"], r["line_no"]): (r["item_no"], r["status"]) for r in final("sales_order_line")
    }
    void = {r["invoice_no"] for r in final("invoice") if r["status"] == "VOID"}
    assert {k: (e.item, e.amount) for k, e in bills.items() if not e.is_void} == {
        (r["invoice_no"], r["line_no"]): (r["item_no"], Decimal(r["amount"]))
        for r in final("invoice_line")
        if r["invoice_no"] not in void
    }
    assert {e.order_id for e in lines.values()} == {headers[no].order_id for no, _ in lines}
