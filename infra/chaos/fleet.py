"""The worker processes: started, killed, frozen, told where to end. Only by their own pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from infra.chaos.worker import WorkerSettings
from streams.monitoring.process_reports import Reports, hung
from streams.monitoring.trusted_clock import anchor_in, steady_ms, wall_ms

STOP_S = 60.0
TELL_S = 60.0
_TOLD = 6_000
_OURS = {-signal.SIGKILL, 0, None}


class ChaosWorker:
    """One worker: a directory, and a process of it or none. What it says goes to a file in `words`, not on its own disk."""

    def __init__(self, settings: WorkerSettings, words: Path) -> None:
        self.settings = settings
        self._words = words
        self.directory = Path(settings.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[str] | None = None
        self.starts = 0

    def start(self, clock_shift_ms: int = 0) -> None:
        """Run it (again), with its clock wrong by so much."""
        settings = replace(self.settings, clock_shift_ms=clock_shift_ms)
        self.starts += 1
        self._said = self._log.open("a")
        command = [sys.executable, "-m", "infra.chaos.worker", settings.as_json()]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.PIPE, stdout=self._said, stderr=self._said, text=True, cwd=Path(__file__).parents[2]
        )

    @property
    def is_running(self) -> bool:
        """Whether it runs, or stands still."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """It ends now."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def stop(self) -> None:
        """It leaves its groups and ends; killed if it takes longer than a minute, which is told."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            code = None
            process.kill()
            process.wait()
        self._forget()
        if code is None:
            raise RuntimeError(f"worker {self.directory.name} did not stop within {STOP_S:.0f} s: {self.last_words()}")

    def freeze(self) -> None:
        """It stands still."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def tell(self, point: str, nth: int, what: signal.Signals) -> None:
        """Let it send itself a signal at a point of a batch."""
        self._line(f"at {point} {nth} {what.value}")

    def ask(self) -> None:
        """Have it write where it stands."""
        self._line("say")

    def clock_off_ms(self, shift_ms: int) -> int:
        """Have its machine's clock be wrong by so much, from now on. Returns by how much the time it goes by then is."""
        asked_ms = steady_ms()
        self._line(f"clock {shift_ms}")
        until = time.monotonic() + TELL_S
        while (anchor := anchor_in(self.directory)) is None or anchor.steady_ms < asked_ms:
            assert time.monotonic() < until, f"{self.directory.name} does not tell its time"
            time.sleep(0.05)
        return anchor.at_ms - anchor.steady_ms - (wall_ms() - steady_ms())

    def kill_thread(self, number: int) -> None:
        """Have one of its threads die."""
        self._line(f"die {number}")

    def told(self) -> tuple[str, bool]:
        """What its supervisor hears of it, and whether it is ready."""
        running = {1: self._process.pid} if self._process is not None else {}
        return Reports(lambda: running, lambda _: self.directory).told()

    def await_told(self, *, ready: bool) -> str:
        """Wait until it says that it is ready, or that a thread of it is down. Returns what it says."""
        until = time.monotonic() + TELL_S
        while True:
            said, is_ready = self.told()
            if is_ready if ready else "has halted" in said:
                return said
            assert time.monotonic() < until, f"{self.directory.name} {said}, though it is {'' if ready else 'not '}ready"
            time.sleep(0.05)

    def await_signalled(self, within_s: float, what: signal.Signals) -> bool:
        """Wait until it has ended by its own signal, or stands still by it. False if it did not come to it."""
        assert self._process is not None
        if what == signal.SIGKILL:
            try:
                self._process.wait(within_s)
            except subprocess.TimeoutExpired:
                return False
            return True
        ticks = threading.Event()
        for _ in range(int(within_s * 20)):
            if self._stat() == "T":
                return True
            ticks.wait(0.05)
        return False

    def hangs(self) -> str | None:
        """Why it will not go on; none if it does."""
        process = self._process
        return None if process is None or process.poll() is not None else hung(self.directory, process.pid)

    def died(self) -> str | None:
        """A sentence if it ended by itself, which no worker should."""
        code = self._process.poll() if self._process is not None else None
        return None if code in _OURS else f"worker {self.directory.name} ended with {code}: {self.last_words()}"

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-_TOLD:] if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self._words / f"{self.directory.name}.log"

    def _line(self, text: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(text + "\n")
                self._process.stdin.flush()

    def _signal(self, what: signal.Signals) -> None:
        if self.is_running and self._process is not None:
            os.kill(self._process.pid, what)

    def _stat(self) -> str:
        assert self._process is not None
        try:
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        if self._said is not None:
            self._said.close()
        self._process = self._said = None


class Fleet:
    """All workers. Those beyond the first ones come and go."""

    def __init__(self, workers: Sequence[ChaosWorker]) -> None:
        self.workers = list(workers)

    def died(self) -> list[str]:
        """What those say that ended by themselves."""
        return [words for worker in self.workers if (words := worker.died()) is not None]

    def mind(self) -> list[str]:
        """Do what the supervisor of `crossdock run --workers` does: who hangs is killed, and started again. Returns who did."""
        minded = []
        for worker in self.workers:
            if (why := worker.hangs()) is not None:
                worker.kill()
                worker.start()
                minded.append(f"{worker.directory.name} was started again: {why}")
        return minded

    def stop(self) -> list[str]:
        """All leave and end. Returns what went wrong with it."""
        wrong = []
        for worker in self.workers:
            try:
                worker.stop()
            except RuntimeError as error:
                wrong.append(str(error))
        return wrong

    def kill(self) -> None:
        """All end now."""
        for worker in self.workers:
            worker.kill()
