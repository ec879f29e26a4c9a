"""`crossdock demo --kafka` as a user starts it: the day over Kafka, a row of PostgreSQL on the live page, nothing left behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from queue import Queue
from tempfile import gettempdir
from threading import Thread
from typing import Any

import httpx
import pytest

from infra.erp.database import connected
from tests.support.app import environment

pytestmark = pytest.mark.kafka
PATIENCE_S = 240.0
SOON_S = 60.0
"""A change needs a second or so. A busy machine may need more."""


class Demo:
    """The process, and what it says, line by line."""

    def __init__(self, directory: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.directory = directory / "data"
        command = [sys.executable, "-c", "from streams.cli import main; main()", "demo", "--kafka", "--api", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, "--data", str(self.directory), *options],
            cwd=directory,
            env=environment({"COLUMNS": "300"} | (env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []

    def until_said(self, pattern: str) -> str:
        """Read on to a line that matches, and give its first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("".join(self.said))

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.said.append(self.process.communicate(timeout=120)[0])
        return self.process.returncode


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, "--orders", "25", "--garbage", "3")
    watchdog = Thread(target=_end, args=(demo.process,), daemon=True)
    watchdog.start()
    yield demo
    demo.stop()


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)


def changes_shown(url: str, since: str, item: str) -> Queue[dict[str, Any]]:
    """What the live page is told of an item."""
    found: Queue[dict[str, Any]] = Queue()

    def read() -> None:
        address, options = f"{url}/console/stream", {"since": since}
        with suppress(httpx.HTTPError), httpx.stream("GET", address, params=options, timeout=SOON_S, trust_env=False) as stream:
            for line in stream.iter_lines():
                told = json.loads(line[6:]) if line.startswith("data: {") else {}
                for row in told["items"] if isinstance(told.get("items"), list) else ():
                    if row["item"] == item:
                        found.put(row)
                        return

    Thread(target=read, daemon=True).start()
    return found


def test_a_row_of_postgresql_is_on_the_live_page_at_once(demo: Demo) -> None:
    """And the whole day before that: its invariants are checked by the demonstration itself."""
    erp = demo.until_said(r"psql (postgresql://\S+) -c")
    assert not [line for line in demo.said if "VIOLATED" in line]
    assert sum(line.startswith("holds: ") for line in demo.said) >= 9
    url = json.loads((demo.directory / "server.json").read_text())["url"]
    with connected(erp) as connection, httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        # An item that channels do not order: nothing else changes its number.
        found = connection.execute("SELECT item_no FROM item WHERE lot_tracked AND status = 'A' ORDER BY item_no").fetchall()
        item, before = next((row[0], atp) for row in found if (atp := promise(client, row[0])) >= 10)
        while (start := client.get("/console/start").json())["pulse"]["is_reading"]:
            time.sleep(0.2)  # what was there before the first viewer is no news: until it is read, the page reads all anew
        shown = changes_shown(url, start["cursor"], item)
        connection.execute("UPDATE item SET safety_stock = safety_stock + 3 WHERE item_no = %s", (item,))
        connection.commit()
        began = time.monotonic()
        while (after := promise(client, item)) == before:
            assert time.monotonic() - began < SOON_S, (item, before)
            time.sleep(0.02)
        print(f"from PostgreSQL to an answer in {time.monotonic() - began:.2f} s")
        assert after < before
        assert Decimal(str(shown.get(timeout=SOON_S)["promise"])) == after
        servers = [int(pid) for pid in pids(erp)]
    assert len(servers) == 3
    assert demo.stop() == 0
    assert not [pid for pid in servers if Path(f"/proc/{pid}").exists()]


def promise(client: httpx.Client, item: str) -> Decimal:
    answer = client.get(f"/v1/atp/{item}")
    assert answer.status_code == 200, answer.text
    return Decimal(str(answer.json()["promise"]))


def pids(erp: str) -> list[str]:
    """Broker, database and Connect of the demonstration whose database this is."""
    port = erp.rpartition(":")[2].partition("/")[0]
    for directory in Path(gettempdir()).glob("crossdock-demo-*"):
        if (directory / "erp" / "port").read_text().strip() == port:
            notes = (directory / "kafka" / "pid", directory / "debezium" / "pid", directory / "erp" / "data" / "postmaster.pid")
            return [note.read_text().split()[0] for note in notes]
    raise AssertionError(f"no servers of {erp}")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """No Java, no Maven, no PostgreSQL: one sentence each, no trace, nothing started."""
    empty = tmp_path / "bin"
    empty.mkdir()
    demo = Demo(tmp_path, env={"PATH": str(empty)})
    assert demo.process.wait(60) == 1
    said = demo.process.communicate()[0]
    assert "Java is missing" in said
    assert "apt-get install" in said
    assert "Traceback" not in said
