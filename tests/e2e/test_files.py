"""Order files dropped into the folder of a running crossdock, by people and programs that make mistakes."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.app import ITEM, Server, count, master

HEAD = "order,customer,placed_at,line,item,qty,requested_date\n"
SETTINGS = '[drop.acme]\nchannel = "edi"\ndirectory = "acme"\nevery_s = 0.2\n'


class Drop:
    """The folder and what is beside it."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.path = directory / "acme"
        self.server = server
        self._directory = directory

    def put(self, name: str, text: str) -> None:
        """A file that is there at once."""
        part = self._directory / "part"
        part.write_text(text)
        part.rename(self.path / name)

    def report(self, name: str) -> list[dict[str, str]]:
        """The report on a file, once it is there."""
        path = self.path / "reports" / f"{name}.report.csv"
        wait_for(path.exists)
        with path.open() as report:
            return list(csv.DictReader(report))

    def order(self, number: str) -> Any:
        """An order of the folder's channel; none if there is not one."""
        response = self.server.client.get(f"/v1/orders/edi:{number}")
        return response.json() if response.status_code == 200 else None

    def exceptions(self, code: str) -> list[str]:
        """The sentences of the open ones."""
        return [row["sentence"] for row in self.server.client.get(f"/v1/exceptions?code={code}").json()["exceptions"]]


def wait_for(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def dropped(tmp_path: Path) -> Iterator[Drop]:
    (tmp_path / "crossdock.toml").write_text(SETTINGS)
    server = Server(tmp_path / "data")
    try:
        server.send("erp", master())
        server.send("wms", [count("1000", 1)])
        found = Drop(tmp_path, server)
        wait_for(found.path.is_dir)
        yield found
    finally:
        server.kill()


def test_a_file_written_slowly_becomes_the_order_it_says(dropped: Drop) -> None:
    """Not 1 of 100, and not without its second line."""
    with (dropped.path / "slow.csv").open("w") as out:
        out.write(f"{HEAD}SLOW,C,2026-01-02T09:00:00Z,1,{ITEM},1")
        out.flush()
        time.sleep(3)
        assert dropped.order("SLOW") is None
        out.write(f"00,\nSLOW,C,2026-01-02T09:00:00Z,2,{ITEM},5,\n")
    assert [row["outcome"] for row in dropped.report("slow.csv")] == ["taken", "taken"]
    assert [line["ordered"] for line in dropped.order("SLOW")["lines"]] == [100, 5]


def test_a_writer_that_pauses_between_lines_is_waited_for(dropped: Drop) -> None:
    """Every line ends, and yet it is not whole while a program has it open."""
    with (dropped.path / "pause.csv").open("w") as out:
        out.write(f"{HEAD}PAUSE,C,2026-01-02T09:00:00Z,1,{ITEM},1,\n")
        out.flush()
        time.sleep(5)
        assert dropped.order("PAUSE") is None
        out.write(f"PAUSE,C,2026-01-02T09:00:00Z,2,{ITEM},5,\n")
    assert [row["outcome"] for row in dropped.report("pause.csv")] == ["taken", "taken"]


def test_nothing_dropped_stops_what_comes_behind_it_and_what_is_taken_is_an_order(dropped: Drop) -> None:
    """A pipe, a link, something else, and as many orders that cannot be as ever in one file."""
    os.mkfifo(dropped.path / "0.csv")
    (dropped.path / "1.csv").symlink_to("/etc/hostname")
    (dropped.path / "2.txt").write_text("hello")
    rows = [f"B{n},C,2026-01-02T09:00:00Z,1,{ITEM},1,29.11.2026\n" for n in range(150)]
    dropped.put("3.csv", HEAD + "".join(rows))
    assert {row["outcome"] for row in dropped.report("3.csv")} == {"refused"}
    dropped.put("4.csv", f"{HEAD}GOOD,C,2026-01-02T09:00:00Z,1,{ITEM},2,\n")
    (row,) = dropped.report("4.csv")
    assert row["outcome"] == "taken"
    assert dropped.order("GOOD") is not None
    assert sorted(path.name for path in (dropped.path / "rejected").iterdir()) == ["0.csv", "1.csv", "2.txt"]
    wait_for(lambda: len(dropped.exceptions("file_rejected")) == 3)
    assert [path for path in dropped.path.iterdir() if not path.is_dir()] == []
    dropped.put("5.csv", f"{HEAD}GOOD,C,2026-01-02T09:00:00Z,1,{ITEM},3,\n")
    (row,) = dropped.report("5.csv")
    assert row["outcome"] == "refused"
    assert "another content" in row["reason"]
