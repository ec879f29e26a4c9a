"""The machine: a disk that takes no writes or has too little room is told, looked at by writing, and well again by itself."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.engine.keeper import ThreadKeeper
from streams.monitoring import machine
from streams.monitoring.machine import Disk, MachineMonitor
from streams.monitoring.trusted_clock import TrustedClock, anchor_in


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it in time"
        time.sleep(0.005)


def test_a_disk_with_room_is_well_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    says, is_well = Disk(tmp_path, 1).told()
    assert is_well
    assert "GB free" in says
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path: Path) -> None:
    assert Disk(tmp_path / "not" / "yet", 1).told()[1]


def test_too_little_room_is_told_before_writes_fail(tmp_path: Path) -> None:
    says, is_well = Disk(tmp_path, 10**15).told()
    assert not is_well
    assert "1,000,000,000 MB are needed (disk.least_free_mb): make room" in says


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_writes_that_fail_are_seen_by_writing_whatever_the_disk_says_of_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refused(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", refused)
    assert Disk(tmp_path, 1).told() == (
        f"writes fail: {error.strerror}. Make room on the disk of {tmp_path}: crossdock goes on by itself",
        False,
    )
    assert list(tmp_path.iterdir()) == []


def test_it_is_looked_at_again_and_again_and_leaves_word_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOOK_S", 0.01)
    full = threading.Event()
    told = Disk.told
    monkeypatch.setattr(Disk, "told", lambda self: ("writes fail", False) if full.is_set() else told(self))
    found = MachineMonitor(TrustedClock(), Disk(tmp_path, 1), tmp_path, ThreadKeeper())
    found.start()
    until(lambda: found.disk()[1])
    until(lambda: anchor_in(tmp_path) is not None)
    full.set()
    until(lambda: found.disk() == ("writes fail", False))
    full.clear()
    until(lambda: found.disk()[1])
    found.close()


def test_a_clock_that_is_given_is_not_looked_at(tmp_path: Path) -> None:
    found = MachineMonitor(None, Disk(tmp_path, 1), tmp_path, ThreadKeeper())
    assert found.clock() == ("given from outside", True)
    found.look()
    assert anchor_in(tmp_path) is None
