"""A disk that is full to its last byte: not ready, says why, loses nothing, and goes on by itself once there is room."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.chaos.disk import SmallDisk, why_no_disk
from tests.support.app import Server, count, master, reserve


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if why := why_no_disk():
        pytest.skip(why)
    disk = SmallDisk(tmp_path / "small")
    if disk.why_not:
        pytest.skip(disk.why_not)
    yield disk
    disk.close()


def test_it_is_not_ready_and_ready_again(disk: SmallDisk) -> None:
    server = Server(disk.directory / "data")
    try:
        server.send("erp", master())
        server.send("wms", [count("100", 1)])
        server.wait_for_stock(100)

        def state() -> tuple[int, dict[str, str]]:
            answer = server.client.get("/readyz")
            return answer.status_code, answer.json()["checks"]

        assert state()[0] == 200
        disk.fill()
        until(lambda: state()[0] == 503, "a full disk looks ready")
        until(lambda: "writes fail: No space left on device. Make room" in state()[1]["disk"], "the last byte is not told")
        found = [reserve(server.client, f"full-{n}").status_code for n in range(3)]
        assert set(found) <= {201, 503, 504}
        assert server.client.get("/healthz").status_code == 200
        doctor = subprocess.run(
            [sys.executable, "-c", "from streams.cli import main; main()", "doctor", "--data", str(server.directory)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert doctor.returncode == 1
        assert "writes fail" in doctor.stdout
        disk.free()
        until(lambda: state()[0] == 200, "it does not go on by itself")
        for n in range(3):
            assert reserve(server.client, f"full-{n}").status_code == 201
        assert server.atp()["promise"] == 97
    finally:
        server.kill()
