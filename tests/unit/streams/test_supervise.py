"""Worker processes: started again when they die, stopped together, gone when their parent is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.runtime.worker_processes import PID_FILE, Supervisor, worker_command, worker_directory
from streams.settings.settings import Settings

ROOT = Path(__file__).parents[3]
QUIET = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
open(sys.argv[1], 'a').write('x')
time.sleep(600)
"""
FAMILY = """
import sys, time
from pathlib import Path
from streams.runtime.worker_processes import Supervisor
child = "import sys; from streams.runtime.worker_processes import end_with_parent; from threading import Event; e = Event();" \\
        "end_with_parent(e.set); open(sys.argv[1], 'w').write('here'); e.wait(); open(sys.argv[1], 'w').write('gone')"
family = Supervisor(1, lambda n: [sys.executable, "-c", child, sys.argv[1]], lambda n: Path(sys.argv[2]))
family.start()
time.sleep(600)
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it in time"
        time.sleep(0.02)


def marks(directory: Path, number: int) -> int:
    file = directory / f"mark-{number}"
    return len(file.read_text()) if file.exists() else 0


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(
        2,
        lambda n: [sys.executable, "-c", QUIET, str(tmp_path / f"mark-{n}")],
        lambda n: tmp_path / str(n),
        backoff_s=(0.05, 0.2),
    )
    found.start()
    until(lambda: marks(tmp_path, 1) == 1 and marks(tmp_path, 2) == 1)
    yield found
    found.stop()


def test_who_dies_is_started_again_and_the_others_are_left_alone(two: Supervisor, tmp_path: Path) -> None:
    assert two.told() == ("2 of 2 worker processes run", True)
    for died in (1, 2):
        before = int((tmp_path / "1" / PID_FILE).read_text())
        os.kill(before, signal.SIGKILL)
        until(lambda died=died: marks(tmp_path, 1) == died + 1)  # type: ignore[misc]
        assert int((tmp_path / "1" / PID_FILE).read_text()) != before
    assert marks(tmp_path, 2) == 1
    assert len(two.running()) == 2


def test_who_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    """Also one that stands still as a whole, and hears no signal."""
    hung_pids: set[int] = set()
    found = Supervisor(
        1,
        lambda n: [sys.executable, "-c", QUIET, str(tmp_path / f"mark-{n}")],
        lambda n: tmp_path / str(n),
        backoff_s=(0.05, 0.2),
        hangs=lambda number, pid: f"worker {number} does not stir" if pid in hung_pids else None,
    )
    found.start()
    until(lambda: marks(tmp_path, 1) == 1)
    (first,) = found.running().values()
    os.kill(first, signal.SIGSTOP)
    hung_pids.add(first)
    until(lambda: marks(tmp_path, 1) == 2)
    assert list(found.running().values()) != [first]
    found.stop()


def test_while_one_is_away_it_is_told_why(tmp_path: Path) -> None:
    broken = Supervisor(1, lambda n: [sys.executable, "-c", "raise SystemExit(3)"], lambda n: tmp_path, backoff_s=(30, 30))
    broken.start()
    until(lambda: broken.told() == ("0 of 1 worker processes run; worker 1 ended with exit code 3", False))
    broken.stop()


def test_all_are_stopped_in_order(two: Supervisor, tmp_path: Path) -> None:
    pids = two.running().values()
    two.stop()
    assert two.running() == {}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert marks(tmp_path, 1) == marks(tmp_path, 2) == 1


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    parent = subprocess.Popen([sys.executable, "-c", FAMILY, str(said), str(tmp_path)], cwd=ROOT)
    until(lambda: said.exists() and said.read_text() == "here")
    parent.kill()
    parent.wait()
    until(lambda: said.read_text() == "gone")


def test_a_worker_process_gets_its_own_directory_and_the_roles_that_work() -> None:
    settings = Settings(log="kafka://b:1", data=Path("d"))
    command = worker_command(settings, frozenset({"serve", "fold", "translate"}), 3)
    assert command[3:] == ["run", "--log", "kafka://b:1", "--data", "d", "--roles", "fold,translate", "--child", "3"]
    assert worker_directory(settings, 3) == Path("d/workers/3")


def test_one_that_cannot_be_started_is_told_and_tried_again(tmp_path: Path) -> None:
    """Its program, memory, or room for its directory may be away for a while: none of that ends the thread that keeps it."""
    program, mark = tmp_path / "program", tmp_path / "mark"
    found = Supervisor(1, lambda n: [str(program), str(mark)], lambda n: tmp_path / "blocked" / str(n), backoff_s=(0.05, 0.1))
    (tmp_path / "blocked").write_text("no directory")
    found.start()
    until(lambda: "cannot be started" in found.told()[0])
    assert found.told()[0].startswith("0 of 1 worker processes run; worker 1 cannot be started: [Errno")
    assert not found.told()[1]
    (tmp_path / "blocked").unlink()
    until(lambda: "No such file" in found.told()[0])
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{QUIET}" $1\n')
    program.chmod(0o755)
    until(lambda: found.told() == ("1 of 1 worker processes run", True))
    found.stop()
    assert found.running() == {}


def test_a_thread_that_dies_leaves_its_process_to_the_next(two: Supervisor, tmp_path: Path) -> None:
    before = two.running()
    two.keeper.kill("child 1")
    until(lambda: two.keeper.restarts()["child 1"] == 1)
    until(lambda: not two.keeper.down())
    assert two.running() == before
    assert marks(tmp_path, 1) == 1
    os.kill(before[1], signal.SIGKILL)
    until(lambda: marks(tmp_path, 1) == 2)
