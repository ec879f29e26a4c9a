"""Rows as they change: counted, indexed, followed once, and not at all while nobody looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.codec import Codec
from schemas.frozen import replace
from schemas.inventory import Atp, DayNet
from schemas.operations import ExceptionRow
from schemas.orders import Milestone, OrderStatus
from schemas.topics import Topic
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import Follower, Outgoing
from streams.engine.partitions import partition_of
from streams.monitoring import dashboard_index
from streams.monitoring.dashboard import latency
from streams.monitoring.dashboard_index import DashboardIndex
from tests.support.api_fakes import ORDER, ROW, exception

CODEC = Codec()


class World:
    """A log with an index on it that is moved on by hand."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log
        self.rows = DashboardIndex(log, CODEC, lambda item: f"about {item}")
        self._follower: Follower | None = None

    def write(self, topic: Topic, key: str, row: Any) -> None:
        value = None if row is None else CODEC.encode(row)
        self.log.append([Outgoing(topic.name, partition_of(key.encode(), topic.partitions), key.encode(), value)])

    def order(self, name: str, status: str) -> None:
        row = replace(ORDER, order_id=name, status=status)
        self.write(topics.ORDER_STATUS, name, row)

    def item(self, name: str, **fields: Any) -> None:
        self.write(topics.ATP, name, replace(ROW, item=name, **fields))

    def exception(self, name: str, **fields: Any) -> None:
        self.write(topics.EXCEPTION_ROWS, name, replace(exception(name), **fields))

    def read(self) -> DashboardIndex:
        """Until there is nothing more."""
        self._follower = self._follower or self.rows.follow()
        while self.rows.round(self._follower) or self.rows.is_reading:
            pass
        return self.rows


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    log = EmbeddedLog(tmp_path, sync=False)
    log.create(topics.DEFINED)
    yield World(log)
    log.close()


def test_orders_are_counted_and_listed_by_status_the_last_changed_first(world: World) -> None:
    for name, status in (("a", "allocated"), ("b", "allocated"), ("c", "held"), ("d", "open")):
        world.order(name, status)
    rows = world.read()
    assert rows.counts()[0] == {"allocated": 2, "held": 1, "open": 1}
    world.order("c", "allocated")
    world.order("a", "shipped")
    world.read()
    world.order("b", "allocated")
    world.write(topics.ORDER_STATUS, "d", None)
    world.read()
    assert rows.counts()[0] == {"allocated": 2, "shipped": 1}
    assert rows.order_ids(["allocated"], 10) == ["b", "c"]
    assert rows.order_ids(["allocated", "shipped"], 2)[0] == "b"


def test_what_was_there_before_is_no_news_and_what_changes_is_told_once(world: World) -> None:
    world.order("a", "open")
    world.item("X")
    rows = world.read()
    start = rows.cursor()
    found = rows.changes(start, 10)
    assert found is not None and not (found.orders or found.items)
    for status in ("checking", "allocated", "shipped"):
        world.order("a", status)
    world.item("X", promise_milli=5)
    world.exception("f")
    milestone = Milestone(
        order_id="a", milestone="order_accepted", at_ms=1, since_previous_ms=None, sla_ms=1, is_late=False, cause="e"
    )
    world.write(topics.MILESTONES, "a", milestone)
    world.read()
    found = rows.changes(start, 10)
    assert found is not None
    assert [row.status for row in found.orders] == ["shipped"]
    assert [row.promise_milli for row in found.items] == [5]
    assert [row.fingerprint for row in found.exceptions] == ["f"]
    assert found.milestones == [milestone]
    assert not found.is_cut
    again = rows.changes(found.cursor, 10)
    assert again is not None and not again.orders


def test_changes_are_bounded_and_an_old_cursor_has_to_read_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_index, "KEPT_CHANGES", 6)
    rows = world.read()
    start = rows.cursor()
    for n in range(5):
        world.order(f"o{n}", "open")
    world.read()
    found = rows.changes(start, 3)
    assert found is not None and found.is_cut
    assert len(found.orders) == 3
    for n in range(5):
        world.order(f"p{n}", "open")
    world.read()
    assert rows.changes(start, 3) is None
    for cursor in ("", "other.1", f"{start.partition('.')[0]}.999", "x.y"):
        assert rows.changes(cursor, 3) is None


def test_items_are_found_by_a_part_of_their_number_page_by_page(world: World) -> None:
    for n in range(5):
        world.item(f"AB-{n}")
    world.item("XY", suspects=["raw.wms/0/1"])
    rows = world.read()
    assert rows.item_ids("", "all", 0, 3) == (["AB-0", "AB-1", "AB-2"], 6)
    assert rows.item_ids("ab", "all", 3, 3) == (["AB-3", "AB-4"], 5)
    assert rows.item_ids("", "warnings", 0, 3) == (["XY"], 1)
    world.item("AB-1", version=8)
    world.write(topics.ATP, "XY", None)
    world.read()
    assert rows.item_ids("", "recent", 0, 1) == (["AB-1"], 5)
    assert rows.counts()[2:] == (5, 0)
    page = rows.page(["AB-1", "gone"], 5, None, lambda item: ROW if item == "AB-1" else None)
    assert page.rows == [(ROW, "about A/1")]


def test_an_item_promised_beyond_its_stock_is_told(world: World) -> None:
    (site,) = ROW.sites
    world.item("X", sites=[replace(site, promise_milli=site.usable_milli + 1)])
    assert world.read().broken == {"X"}
    world.item("X")
    assert world.read().broken == set()


def test_what_is_expected_in_today_can_be_promised_today(world: World) -> None:
    """Found on a day on which a purchase line of the sample was due: the page called its item oversold."""
    (site,) = ROW.sites
    free = site.usable_milli - ROW.safety_stock_milli
    for day, is_broken in ((site.today, False), (site.today + timedelta(days=1), True)):
        days = [DayNet(day, 31_000, 0)]
        world.item("X", sites=[replace(site, days=days, promise_milli=free + 31_000)])
        assert world.read().broken == ({"X"} if is_broken else set())
    world.item("X", sites=[replace(site, days=[DayNet(site.today, 31_000, 0)], promise_milli=free + 31_001)])
    assert world.read().broken == {"X"}


def test_open_exceptions_are_ranked_by_severity_then_by_when_their_time_is_up(world: World) -> None:
    world.exception("late", severity="warning", first_at_ms=5, sla_ms=5)
    world.exception("soon", severity="warning", first_at_ms=0, sla_ms=7)
    world.exception("worst", severity="critical", first_at_ms=100, sla_ms=100)
    world.exception("done", severity="critical", state="resolved")
    rows = world.read()
    assert [row.fingerprint for row in rows.exceptions(10)] == ["worst", "soon", "late"]
    assert rows.counts()[1] == {"critical": 1, "warning": 2, "info": 0}
    world.exception("worst", state="cleared")
    assert [row.fingerprint for row in world.read().exceptions(1)] == ["soon"]


def test_latency_is_from_the_newest_fact_to_the_record_and_only_for_new_facts(world: World) -> None:
    world.item("X")
    rows = world.read()
    assert list(rows.latencies_ms) == []
    now_ms = time.time_ns() // 1_000_000
    world.item("X", as_of_ms=now_ms - 40)
    world.read()
    world.item("X", as_of_ms=now_ms - 40, version=9)
    world.read()
    (only,) = rows.latencies_ms
    assert 40 <= only < 10_000
    assert latency([]) is None
    found = latency(list(range(200)))
    assert found is not None and (found.p50_ms, found.p99_ms, found.count) == (100, 198, 200)


def test_nothing_is_read_while_nobody_looks(world: World) -> None:
    clock = [0.0]
    rows = DashboardIndex(world.log, CODEC, str, pause_s=0.005, clock_s=lambda: clock[0])
    rows.start()
    world.order("a", "open")
    try:
        time.sleep(0.05)
        assert rows.is_reading and rows._in_status == {}
        rows.touch()
        _until(lambda: rows._in_status)
        clock[0] += dashboard_index.IDLE_S + 1
        time.sleep(0.05)
        world.order("b", "open")
        time.sleep(0.05)
        assert list(rows._status_of) == ["a"]
        assert rows.counts()[0] == {"open": 1}  # asking is looking
        _until(lambda: len(rows._status_of) == 2)
    finally:
        rows.close()


def _until(holds: Any) -> None:
    until = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_rows_are_typed_as_they_are_followed() -> None:
    carried = {topic.carries[0].type for topic in dashboard_index.FOLLOWED}
    assert {Atp, OrderStatus, ExceptionRow} < carried
