"""Workers as child processes: started again when they die or hang, stopped together, gone when their parent is.

A child's standard input is a pipe nobody writes to: it ends when the parent does, however that ends, and then the child does too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from streams.engine.keeper import ThreadKeeper
from streams.flows.groups import ROLES, WORKING, Role
from streams.settings.settings import Settings

BACKOFF_S = (0.5, 30.0)
STEADY_S = 60.0
STALL_S = 90.0
"""Who has lived so long begins anew with the backoff."""
STOP_S = 40.0
PID_FILE = "pid"
_log = structlog.get_logger(__name__)

Command = Callable[[int], Sequence[str]]
Hangs = Callable[[int, int], str | None]
"""Why a worker process, by its number and pid, will not go on; none if it does."""
LOOK_S = 2.0


def _never(number: int, pid: int) -> str | None:
    del number, pid
    return None


def worker_directory(settings: Settings, number: int) -> Path:
    """The directory of one of the worker processes: its name in the cluster and its rows are there."""
    return settings.data / "workers" / str(number)


def worker_command(settings: Settings, roles: frozenset[Role], number: int) -> list[str]:
    """How a worker process is started. Everything else it has from the same environment and the same files."""
    named = ",".join(role for role in ROLES if role in roles & WORKING)
    told = ["--log", settings.log, "--data", str(settings.data), "--roles", named, "--child", str(number)]
    return [sys.executable, "-c", "from streams.cli import main; main()", "run", *told]


class WorkerProcess:
    """One worker process, kept running from `start` to `stop`."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        directory: Path,
        backoff_s: tuple[float, float],
        hangs: Hangs = _never,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self.number = number
        self._hangs = hangs
        self._command = list(command)
        self._directory = directory
        self._backoff_s = backoff_s
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: str | None = None
        self._failures = 0
        self._thread = (keeper or ThreadKeeper()).thread(f"child {number}", self._keep, self._stopping, stall_s=STALL_S)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end, without waiting for it."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)

    def join(self, timeout_s: float) -> None:
        """Wait for it to end; one that takes longer is killed."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("a worker process does not end and is killed", worker=self.number)
            with self._lock:
                if self._process is not None:
                    self._process.kill()
            self._thread.join()
        with self._lock:
            process = self._process
        if process is not None:  # its thread had failed and did not wait for it
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        process = self._process
        return None if process is None else process.pid

    def told(self) -> str | None:
        """Why it does not run; none if it does."""
        return self._ended if self._process is None else None

    def _keep(self) -> None:
        """Start it, again whenever it has ended. However this thread fails, the process it had started is found by the next."""
        while not self._stopping.is_set():
            self._thread.beat()
            began = time.monotonic()
            ended = self._lived()
            if ended is None or self._stopping.is_set():
                return
            self._failures = 0 if time.monotonic() - began > STEADY_S else self._failures
            shortest, longest = self._backoff_s
            pause_s = min(longest, shortest * 2.0 ** min(self._failures, 30))
            self._failures += 1
            self._ended = f"worker {self.number} {ended}"
            _log.warning("a worker process does not run and is started again", worker=self.number, because=ended, in_s=pause_s)
            self._stopping.wait(pause_s)

    def _lived(self) -> str | None:
        """One life of it: how that ended, or why it did not begin; none if it is to end."""
        with self._lock:
            if self._stopping.is_set():
                return None
            process = self._process
            if process is None:
                try:
                    process = self._process = self._spawned()
                except OSError as error:  # no memory, no process left, no room for its directory: that may pass
                    return f"cannot be started: {error}"
        code = self._wait(process)
        with self._lock:
            self._process = None
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        return f"ended with {_named(code)}"

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Until it ends; one that hangs is killed, which loses nothing."""
        while True:
            self._thread.beat()
            try:
                return process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                if (why := self._hangs(self.number, process.pid)) is not None:
                    _log.error("a worker process hangs and is killed", worker=self.number, pid=process.pid, reason=why)
                    process.kill()
                    return process.wait()

    def _spawned(self) -> subprocess.Popen[bytes]:
        self._directory.mkdir(parents=True, exist_ok=True)
        # A session of its own: Ctrl-C in the terminal is for the parent, which then stops its children in order.
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own command
        try:
            (self._directory / PID_FILE).write_text(str(process.pid))
        except OSError as error:  # it is for people; the worker itself says what it lacks
            _log.warning("the process id of a worker cannot be kept", worker=self.number, pid=process.pid, reason=str(error))
        return process


class Supervisor:
    """Keeps `count` worker processes running. `told` says how they are."""

    def __init__(
        self,
        count: int,
        command: Command,
        directory: Callable[[int], Path],
        *,
        backoff_s: tuple[float, float] = BACKOFF_S,
        hangs: Hangs = _never,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self.keeper = keeper or ThreadKeeper()
        self._children = [WorkerProcess(n, command(n), directory(n), backoff_s, hangs, self.keeper) for n in range(1, count + 1)]

    def start(self) -> None:
        """Start them."""
        for child in self._children:
            child.start()

    def stop(self) -> None:
        """Stop them, together; whoever does not end in time is killed, which loses nothing."""
        for child in self._children:
            child.stop()
        until = time.monotonic() + STOP_S
        for child in self._children:
            child.join(max(0.0, until - time.monotonic()))

    def running(self) -> dict[int, int]:
        """The process of each that runs, by its number."""
        return {child.number: pid for child in self._children if (pid := child.pid) is not None}

    def told(self) -> tuple[str, bool]:
        """How many run and why the others do not, and whether any does."""
        ended = [why for child in self._children if (why := child.told())]
        count = len(self.running())
        return "; ".join([f"{count} of {len(self._children)} worker processes run", *ended]), count > 0


def end_with_parent(end: Callable[[], None]) -> None:
    """In a child: call `end` when the parent is gone."""

    def watch() -> None:
        try:
            while os.read(sys.stdin.fileno(), 1):
                pass
        finally:
            end()  # whoever cannot see its parent any more does not stay without one

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
