"""The warehouse's system away under load, in small; and a demonstration that is ended in the middle of its day."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app

ROOT = Path(__file__).parents[2]


def test_what_the_warehouse_is_owed_is_drained_in_order() -> None:
    """Nothing is lost or doubled, and every invariant holds."""
    found = CliRunner().invoke(app, ["bench", "outage", "--rate", "8", "--seconds", "5", "--outage", "3", "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["wrong"] == []
    assert told["orders"] == 40
    assert told["invariants"] >= 8
    wms = told["endpoints"]["wms"]
    assert wms["largest_backlog"] >= 10
    assert wms["p99_during_ms"] > 1_000
    assert 0 < told["drain_s"] < 30
    assert told["endpoints"]["erp"]["done"] >= 60


def test_an_outage_longer_than_the_orders_is_a_mistake() -> None:
    found = CliRunner().invoke(app, ["bench", "outage", "--seconds", "5", "--outage", "6"])
    assert "make --seconds longer" in str(found.exception)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_demonstration_that_is_ended_leaves_nothing_running(tmp_path: Path, by: signal.Signals) -> None:
    data = tmp_path / "demo"
    command = [sys.executable, "-c", "from streams.cli import main; main()", "demo", "--orders", "2000", "--rate", "5"]
    process = subprocess.Popen(
        [*command, "--data", str(data), "--api", "127.0.0.1:0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    note = data / "sandbox" / "sandbox.json"
    _until(lambda: note.exists() and (data / "server.json").exists())
    sandbox = json.loads(note.read_text())["pid"]
    assert _runs(sandbox)
    process.send_signal(by)
    process.wait(30)
    _until(lambda: not _runs(sandbox))
    assert (data / "server.json").exists() == (by == signal.SIGKILL)


def _runs(pid: int) -> bool:
    """Whether there is such a process. One nobody has buried yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it did not happen in 30 s"
        time.sleep(0.05)
