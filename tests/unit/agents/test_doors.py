"""Polled pages and dropped files: each order comes in once in effect, whatever is killed in between."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry

from connectors.channels.marketplace.client import NoPage, Page
from schemas import topics
from schemas.records import Record
from schemas.topics import raw_channel
from streams.agents.file_drop import Folder, drop
from streams.agents.inbound import Door, FolderSource, InboundSources, PolledSource
from streams.agents.marketplace_poll import CURSOR, last_cursor, poll, records_of
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import TopicPartition
from streams.engine.memory.log import MemoryLog

MARKET, EDI = raw_channel("marketplace"), raw_channel("edi")
HEAD = "order,customer,placed_at,line,item,qty\n"


def log() -> MemoryLog:
    made = MemoryLog()
    made.create([*topics.DEFINED, MARKET, EDI])
    return made


def records(found: MemoryLog, topic: str) -> list[Record]:
    at = TopicPartition(topic, 0)
    return found.read(at, 0, found.bounds(at)[1])


async def turns(count: int) -> AsyncIterator[None]:
    for _ in range(count):
        yield None


def order(number: int) -> dict[str, Any]:
    return {"id": f"M-{number}", "purchased": "2026-11-02T09:00:00Z", "buyer": {"account": "C-1"}, "items": []}


class Market:
    """Pages of two orders; a cursor is how many were seen. Every page repeats the last order of the one before."""

    def __init__(self, orders: int) -> None:
        self.orders = [order(n) for n in range(orders)]
        self.is_down = False
        self.asked: list[str] = []

    def page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        self.asked.append(cursor)
        at = int(cursor or 0)
        new = self.orders[at : at + 2]
        return (self.orders[max(0, at - 1) : at] if new else []) + new, str(at + len(new))

    async def ask(self, cursor: str) -> Page:
        if self.is_down:
            raise NoPage("down")
        entries, following = self.page(cursor)
        return Page([json.dumps(entry).encode() for entry in entries], following)


def pages(market: Market, cursor: str, count: int = 1) -> list[Page]:
    async def run() -> list[Page]:
        return [page async for page in poll(turns(count), market.ask, cursor)]

    return asyncio.run(run())


def test_polling_goes_on_where_the_log_says_it_was() -> None:
    """The cursor is in the raw records: whoever polls next needs nothing else."""
    kept, market = log(), Market(5)
    first = pages(market, last_cursor(kept, "marketplace"))
    assert [page.cursor for page in first] == ["2", "4", "5"]
    for page in first[:2]:  # killed before the third was written
        kept.append(records_of(page, "marketplace"))
    assert last_cursor(kept, "marketplace") == "4"
    again = pages(market, "4")
    assert [page.cursor for page in again] == ["5"]
    kept.append(records_of(again[0], "marketplace"))
    found = {json.loads(record.value or b"")["id"] for record in records(kept, MARKET.name)}
    assert found == {f"M-{n}" for n in range(5)}
    assert pages(market, last_cursor(kept, "marketplace")) == []


def test_a_cursor_far_back_is_found() -> None:
    """Other messages of the channel may come after it."""
    kept = log()
    kept.append(records_of(Page([b"{}"], "7"), "marketplace"))
    kept.append([record._replace(headers=()) for record in records_of(Page([b"{}"] * 4_500, "x"), "marketplace")])
    assert last_cursor(kept, "marketplace") == "7"


def test_a_market_that_is_away_is_asked_again() -> None:
    """Nothing is skipped meanwhile."""
    market = Market(2)
    market.is_down = True
    assert pages(market, "", count=3) == []
    market.is_down = False
    assert [page.cursor for page in pages(market, "")] == ["2"]


def put(folder: Path, name: str, text: str, age_s: float = 10.0) -> Path:
    path = folder / name
    path.write_text(text)
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def drops(folder: Folder, count: int = 1) -> list[str]:
    async def run() -> list[str]:
        found = []
        async for dropped in drop(turns(count), folder):
            found.append(f"{dropped.name}:{len(dropped.records)}:{dropped.refused or ''}")
            folder.finish(dropped)
        return found

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "drop", "edi")
    made.prepare()
    return made


def test_a_file_is_taken_reported_and_put_away(folder: Folder) -> None:
    """Its two orders are two raw messages; the report has each row."""
    put(folder.path, "a.csv", HEAD + "A,C,2026-11-02T09:00:00Z,1,X,1\nB,C,2026-11-02T09:00:00Z,1,X,0\n")
    assert drops(folder) == ["a.csv:2:"]
    assert (folder.path / "done" / "a.csv").exists()
    with (folder.path / "reports" / "a.csv.report.csv").open() as report:
        rows = list(csv.DictReader(report))
    assert [(row["row"], row["order"], row["outcome"]) for row in rows] == [("2", "A", "taken"), ("3", "B", "refused")]
    assert "not above zero" in rows[1]["reason"]
    assert drops(folder) == []


def test_a_file_being_written_is_left_alone(folder: Folder) -> None:
    """Only one that has not changed for a moment is claimed."""
    put(folder.path, "new.csv", HEAD, age_s=0.0)
    assert drops(folder) == []
    assert (folder.path / "new.csv").exists()


def test_what_is_no_order_file_is_refused_whole(folder: Folder) -> None:
    """It is kept, with a report that says why."""
    put(folder.path, "bad.csv", "name,colour\nx,y\n")
    assert drops(folder) == ["bad.csv:0:column 'name' is not known; name the columns order, customer, placed_at, line, item, qty,"
                             " requested_date, uom, unit_price, currency, partial, backorder, substitute"]  # fmt: skip
    assert (folder.path / "rejected" / "bad.csv").exists()
    assert "not known" in (folder.path / "reports" / "bad.csv.report.csv").read_text()


def test_a_claimed_file_is_taken_after_a_crash(folder: Folder) -> None:
    """Claimed, perhaps written, not put away: it comes again, and its orders are the same orders."""
    put(folder.path, "a.csv", HEAD + "A,C,2026-11-02T09:00:00Z,1,X,1\n")
    assert folder.claim() == ["a.csv"]
    again = Folder(folder.path, "edi")
    again.prepare()
    assert drops(again) == ["a.csv:1:"]


def test_files_of_one_name_are_all_kept(folder: Folder) -> None:
    """Customers name every file orders.csv."""
    for _ in range(2):
        put(folder.path, "orders.csv", HEAD + "A,C,2026-11-02T09:00:00Z,1,X,1\n")
        drops(folder)
    assert sorted(p.name for p in (folder.path / "done").iterdir()) == ["orders-2.csv", "orders.csv"]
    assert len(list((folder.path / "reports").iterdir())) == 2


def test_two_watchers_share_a_folder(folder: Folder) -> None:
    """Claiming is renaming: a file is claimed by one of them, and nothing is lost or raises."""
    for n in range(20):
        put(folder.path, f"{n:02}.csv", HEAD)
    claimed: list[list[str]] = []
    threads = [threading.Thread(target=lambda: claimed.append(Folder(folder.path, "edi").claim())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.name for p in (folder.path / ".claimed").iterdir()) == [f"{n:02}.csv" for n in range(20)]


@contextmanager
def served(market: Market) -> Iterator[str]:
    """The market over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            entries, following = market.page(parse_qs(urlsplit(self.path).query).get("after", [""])[0])
            body = json.dumps({"orders": entries, "next": following}).encode()
            self.send_response(503 if market.is_down else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_the_host_runs_all_doors_until_it_is_stopped(tmp_path: Path) -> None:
    """Pages and files end in the raw topics; a market that was away is asked again; stopping ends it."""
    kept, market = log(), Market(5)
    market.is_down = True
    put_in = tmp_path / "drop"
    put_in.mkdir()
    put(put_in, "a.csv", HEAD + "A,C,2026-11-02T09:00:00Z,1,X,1\n")
    with served(market) as url:
        doors: list[Door] = [PolledSource("m", "marketplace", url, 0.05, 5), FolderSource("f", "edi", put_in, 0.05)]
        inbound = InboundSources(kept, doors, CollectorRegistry())
        inbound.start()
        try:
            assert eventually((put_in / "done" / "a.csv").exists)
            assert records(kept, MARKET.name) == []
            market.is_down = False
            assert eventually(lambda: last_cursor(kept, "marketplace") == "5")
        finally:
            inbound.stop()
    assert len(records(kept, EDI.name)) == 1
    assert [value for record in records(kept, MARKET.name) for name, value in record.headers if name == CURSOR][-1] == b"5"


def test_a_door_with_a_schedule_asks_at_its_times_and_not_before() -> None:
    """The line has a field for seconds here, which settings do not take: every second."""
    kept, market = log(), Market(3)
    with served(market) as url:
        doors: list[Door] = [
            PolledSource("soon", "marketplace", url, 0.05, 5, at="* * * * * */1", timezone="America/Chicago"),
            PolledSource("late", "edi", url, 0.05, 5, at="0 0 29 2 *"),
        ]
        inbound = InboundSources(kept, doors, CollectorRegistry())
        inbound.start()
        try:
            assert eventually(lambda: last_cursor(kept, "marketplace") == "3")
        finally:
            inbound.stop()
    assert records(kept, EDI.name) == []


def test_a_prompted_door_asks_when_it_is_told_to_from_where_any_process_was_last() -> None:
    """Of several processes one asks; when another takes over, it goes on where the log says."""
    kept, market = log(), Market(4)
    with served(market) as url:
        doors: list[Door] = [PolledSource("m", "marketplace", url, 0.05, 5, at="30 6 * * *", timezone="Asia/Tokyo")]
        here, there = (InboundSources(kept, doors, CollectorRegistry(), is_prompted=True) for _ in range(2))
        for inbound in (here, there):
            inbound.start()
        try:
            (timer,), (other,) = here.timers(), there.timers()
            assert (timer.name, timer.at, timer.timezone) == ("poll.m", "30 6 * * *", "Asia/Tokyo")
            time.sleep(0.3)
            assert market.asked == []
            timer.run()
            assert eventually(lambda: last_cursor(kept, "marketplace") == "4")
            market.orders.append(order(4))
            other.run()
            assert eventually(lambda: last_cursor(kept, "marketplace") == "5")
            time.sleep(1.5)  # by then the first one no longer takes itself for the one that asks
            market.asked.clear()
            timer.run()
            assert eventually(lambda: bool(market.asked))
            assert market.asked[0] == "5"
        finally:
            for inbound in (here, there):
                inbound.stop()
    timer.run()  # it is over: nothing happens
    assert InboundSources(kept, doors, CollectorRegistry()).timers() == []


def test_a_door_that_fails_is_told_until_a_turn_of_it_has_gone_well(tmp_path: Path) -> None:
    """A folder that cannot be: it takes nobody's readiness, and is well by itself once it can be."""
    keeper, folder = ThreadKeeper(), tmp_path / "drop"
    folder.write_text("a file where the folder should be")
    inbound = InboundSources(log(), [FolderSource("f", "edi", folder, 0.02)], CollectorRegistry(), keeper=keeper)
    inbound.start()
    try:
        assert eventually(lambda: "door f" in keeper.down(is_vital=False))
        assert keeper.down(is_vital=True) == {}
        folder.unlink()
        assert eventually(lambda: not keeper.down())
    finally:
        inbound.stop()
