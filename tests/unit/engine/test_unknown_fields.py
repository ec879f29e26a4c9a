"""Fields nobody reads are counted in the partition's rows: exactly, across restarts, in bounded room, by any batches."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.texts import one_line
from connectors.unknown_fields import OTHERS
from connectors.wms.translate import translate
from schemas import topics
from schemas.records import UnknownFields
from streams.engine.fates import UnknownField
from streams.engine.flow import Translator
from streams.engine.log import Outgoing, StoreId
from streams.engine.memory.log import MemoryLog
from streams.engine.unknown_fields import MOST_FIELDS, MOST_OF_A_PATH, UnknownFieldCounts
from streams.engine.verify import verify
from streams.queries.unknown_fields import WARNED_DAYS, SourceReader
from tables.common.table import DictTable
from tables.operations.feed_sequence import FeedLedgerTables, admit
from tests.support.toy_flows import ALL_TOPICS, CODEC, drain, new_worker, raw

WMS = Translator("translate.wms", [topics.RAW_WMS], translate, tables=FeedLedgerTables, admit=admit)


NOW_MS = 1_793_620_000_000


def sent(n: int, **more: Any) -> Outgoing:
    body = {"event_id": f"W-{n}", "sequence": n, "type": "stock.received", "site": "DC1", "item": "SKU-1", "qty": "24"}
    return raw(json.dumps({**body, "occurred_at": "2026-11-02T09:14:07Z", **more}).encode())


def shown(log: Any) -> dict[tuple[str, str], tuple[int, str, str | None]]:
    rows = SourceReader(log, [WMS], lambda: NOW_MS).unknown_fields()
    return {(row.message, row.field): (row.count, row.example, row.meant) for row in rows}


def played(messages: list[Outgoing], batch: int = 500, restart: int = 0) -> Any:
    """The log after these, with a restart after so many steps."""
    log = MemoryLog(clock_ms=lambda: NOW_MS)
    log.create(ALL_TOPICS)
    log.append(messages)
    worker = new_worker(log, [WMS], batch=batch)
    steps = 0
    while worker.step().inputs:
        steps += 1
        if steps == restart:
            log = log.reopen()
            worker = new_worker(log, [WMS], batch=batch)
    worker.close()
    return log


def test_a_field_is_counted_and_what_was_meant_is_named() -> None:
    log = played([sent(1), sent(2, expires_one="2027-01-01"), sent(3), sent(4, expires_one=None, colour="red"), sent(5)])
    assert shown(log) == {
        ("stock.received", "expires_one"): (2, "raw.wms/0/3", "expires_on"),
        ("stock.received", "colour"): (1, "raw.wms/0/3", None),
    }
    assert SourceReader(log, [WMS], lambda: NOW_MS).totals() == {"wms": 3}


@pytest.mark.parametrize(
    ("field", "more", "meant"),
    [
        ("expires_one", {}, "expires_on"),
        ("ExpiresOn", {}, "expires_on"),
        ("lots", {}, "lot"),
        ("lots", {"lot": "L1"}, None),  # it is there as well: this is another field
        ("uoms", {}, "uom"),
        ("reference_no", {}, "reference"),
        ("colour", {}, None),
        ("temperature", {}, None),
    ],
)
def test_what_was_probably_meant_is_a_field_that_is_not_there(field: str, more: dict[str, str], meant: str | None) -> None:
    ((_, _, found),) = shown(played([sent(1, **more, **{field: "x"})])).values()
    assert found == meant


def test_of_a_nested_field_the_whole_path_is_named() -> None:
    lines = [{"line": 1, "item": "A", "qty": "1", "lots": "L"}, {"line": 2, "item": "A", "qty": "1", "lots": "M"}]
    ship = {"type": "shipment.confirmed", "order": "web:W1", "shipment": "S", "lines": lines}
    found = shown(played([sent(1, **ship)]))
    assert found["shipment.confirmed", "lines[].lots"] == (1, "raw.wms/0/0", "lines[].lot")
    assert found.keys() == {("shipment.confirmed", name) for name in ("lines[].lots", "item", "qty")}


def test_a_misspelt_field_is_warned_of_until_it_has_not_come_for_days() -> None:
    log = played([sent(1, lots="L1", colour=1)])
    day_ms, rows = 86_400_000, {}
    for days in (0, WARNED_DAYS, WARNED_DAYS + 1):
        found = SourceReader(log, [WMS], lambda now_ms=NOW_MS + days * day_ms: now_ms).unknown_fields()  # type: ignore[misc]
        rows[days] = {row.field: (row.is_warning, row.last_ms) for row in found}
    assert rows[0] == rows[WARNED_DAYS] == {"lots": (True, NOW_MS), "colour": (False, NOW_MS)}
    assert rows[WARNED_DAYS + 1] == {"lots": (False, NOW_MS), "colour": (False, NOW_MS)}


def test_what_still_comes_is_named_before_what_was_corrected() -> None:
    """However often the old one came: the place in a list of 200 is for what is wrong now."""
    now_ms = NOW_MS
    log = MemoryLog(clock_ms=lambda: now_ms)
    log.create(ALL_TOPICS)
    log.append([sent(n, lots="L1") for n in range(5)])
    now_ms += 20 * 86_400_000
    log.append([sent(9, uoms="EA")])
    drain(new_worker(log, [WMS]))
    found = SourceReader(log, [WMS], lambda: now_ms).unknown_fields()
    assert [(row.field, row.is_warning) for row in found] == [("uoms", True), ("lots", False)]


def test_what_is_refused_or_came_before_is_not_counted() -> None:
    log = played([sent(1, colour=1), sent(1, colour=1), sent(2, qty="none", colour=1), sent(3, colour=1)])
    assert shown(log) == {("stock.received", "colour"): (2, "raw.wms/0/3", None)}


def test_the_rows_are_bounded_and_hostile_names_escaped() -> None:
    flood = [sent(n, **{f"f{n}-{k}": 1 for k in range(10)}) for n in range(50)]
    log = played([sent(90, **{"\u202egpj\n\x1b[2J": 1}), sent(91, **{"x" * 5_000: 1}), *flood, sent(99, **{"f0-0": 1})], batch=7)
    rows = SourceReader(log, [WMS], lambda: NOW_MS).unknown_fields()
    assert len(rows) == MOST_FIELDS
    assert all(len(row.field) <= MOST_OF_A_PATH and row.field.isprintable() for row in rows)
    counted = {row.field: row.count for row in rows}
    assert counted["\\u202egpj\\x0a\\x1b[2J"] == 1
    assert counted["f0-0"] == 2
    assert counted[OTHERS] > 0
    stored = list(log.store(StoreId("translate.wms.raw.wms", 0)).range(b"engine.unknown\0", b"engine.unknown\1"))
    assert len(stored) == MOST_FIELDS + 1


NAMES = st.sampled_from(["colour", "expires_one", "a", "b", "\u202e", "x" * 300, "x" * 301])
MESSAGES = st.lists(st.tuples(st.booleans(), st.lists(NAMES, max_size=4)), max_size=30)


@given(MESSAGES, st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=60)
def test_the_counts_do_not_depend_on_batches_or_restarts(said: list[tuple[bool, list[str]]], batch: int, restart: int) -> None:
    messages = [sent(n, **dict.fromkeys(names, 1), **({} if ok else {"qty": "?"})) for n, (ok, names) in enumerate(said)]
    one, other = played(messages), played(messages, batch, restart)
    store = StoreId("translate.wms.raw.wms", 0)
    low, high = b"engine.unknown\0", b"engine.unknown\1"
    assert list(one.store(store).range(low, high)) == list(other.store(store).range(low, high))
    counted = {row.field: row.count for row in SourceReader(other, [WMS], lambda: NOW_MS).unknown_fields()}
    assert counted == Counter(shown for ok, names in said if ok for shown in {one_line(name, MOST_OF_A_PATH) for name in names})
    assert verify(other, [WMS], CODEC).is_same


SHAPES = st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True), max_size=60)


@given(SHAPES, st.integers(1, 8))
def test_past_the_bound_as_well(shapes: list[list[int]], batch: int) -> None:
    """Many names: which of them have a row of their own is the same for any batches."""

    def rows(each: int) -> dict[tuple[str, str], UnknownField]:
        table: DictTable[tuple[str, str], UnknownField] = DictTable()
        counts = UnknownFieldCounts(table)
        for n, shape in enumerate(shapes):
            counts.count(UnknownFields("m", tuple(map(str, shape)), (({}, ()),) * len(shape)), n, n)
            if n % each == each - 1:
                counts.flush()
        counts.flush()
        return dict(table)

    assert rows(1) == rows(batch) == rows(1_000)


def test_what_a_dropped_batch_counted_did_not_happen() -> None:
    table: DictTable[tuple[str, str], UnknownField] = DictTable()
    counts = UnknownFieldCounts(table)
    found = UnknownFields("m", ("a",), (({}, ()),))
    counts.count(found, 0, 5)
    counts.flush()
    counts.count(found, 1, 6)
    counts.dropped()
    counts.count(found, 1, 7)
    counts.flush()
    assert dict(table) == {("m", "a"): UnknownField(2, 5, 7, 1, "")}
