"""Keeps threads and tasks running: what fails is begun again after a growing pause, and whoever asks is told while it is down.

No thread of crossdock runs without it: one that died unseen would leave the process looking well while half of it stood still.
A kept loop calls `beat` in each round: so it is known to work again, or to hang, and a drill can kill it there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

BACKOFF_S = (0.2, 30.0)
STEADY_S = 5.0
"""Who has run so long since its last failure works again, if it has not said so before."""
FORGIVEN_S = 60.0
"""Who has run so long begins anew with the backoff."""
_log = structlog.get_logger(__name__)


class Killed(Exception):
    """A drill: the loop dies here as if by a defect."""


@dataclass(slots=True)
class _Condition:
    """How a kept loop is. `beats`: how often it came round since it was begun; `beaten_s`: when it last did."""

    is_vital: bool
    stall_s: float | None = None
    failure: str | None = None
    restarts: int = 0
    is_running: bool = False
    began_s: float = 0.0
    beats: int = 0
    beaten_s: float = 0.0
    to_raise: Exception | None = field(default=None, repr=False)


class ThreadKeeper:
    """All kept loops of a process (of a log, of a supervisor), by name.

    `backoff_s`: the shortest and the longest pause before one that failed is begun again.
    """

    def __init__(self, backoff_s: tuple[float, float] = BACKOFF_S, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._backoff_s = backoff_s
        self._clock_s = clock_s
        self._kept: dict[str, _Condition] = {}

    def thread(
        self,
        name: str,
        run: Callable[[], None],
        stop: threading.Event,
        *,
        is_vital: bool = True,
        may_end: bool = False,
        stall_s: float | None = None,
    ) -> KeptThread:
        """A thread that runs `run` until `stop` is set. Start it, join it.

        `is_vital`: while it is down, the process is not ready. `may_end`: once `run` returns, its work is done. `stall_s`: if it
        does not call `beat` for so long, it hangs.
        """
        condition = self._kept[name] = _Condition(is_vital, stall_s)
        return KeptThread(self, name, run, stop, condition, may_end=may_end)

    async def task(self, name: str, run: Callable[[], Awaitable[None]], *, is_vital: bool = True) -> None:
        """Run `run` until it returns, in this task, and again whenever it fails."""
        condition = self._kept[name] = _Condition(is_vital)
        failures = 0
        while True:
            self._begun(condition)
            try:
                await run()
                condition.is_running, condition.failure = False, None
                return
            except Exception as error:
                failures = self._failed(name, condition, error, failures)
            await asyncio.sleep(self.pause_s(failures))

    def beat(self, name: str) -> None:
        """The loop gets on: one that comes round twice since it was begun works again. Raises what it is to be killed with."""
        condition = self._kept[name]
        condition.beaten_s = self._clock_s()
        condition.beats += 1
        if condition.beats > 1:
            condition.failure = None
        if condition.to_raise is not None:
            error, condition.to_raise = condition.to_raise, None
            raise error

    def report(self, name: str, failure: str | None, *, is_vital: bool = True) -> None:
        """Something that others keep is down, or (none) works again."""
        if failure is not None or name in self._kept:
            self._kept.setdefault(name, _Condition(is_vital)).failure = failure

    def kill(self, name: str, error: Exception | None = None) -> None:
        """Have a loop die in its next round, for drills and tests. Raises `KeyError` for a name that is not kept."""
        self._kept[name].to_raise = error or Killed("killed in a drill")

    def names(self) -> list[str]:
        """All that are kept."""
        return sorted(self._kept)

    def restarts(self) -> Mapping[str, int]:
        """How often each was begun again."""
        return {name: condition.restarts for name, condition in list(self._kept.items())}

    def down(self, *, is_vital: bool | None = None) -> dict[str, str]:
        """What does not run, or hangs, and why; those only that are vital, or that are not, if asked so."""
        now_s = self._clock_s()
        found = {}
        for name, condition in list(self._kept.items()):
            if is_vital is not None and condition.is_vital != is_vital:
                continue
            if why := self._ails(condition, now_s):
                found[name] = why
        return found

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        shortest, longest = self._backoff_s
        return min(longest, shortest * 2.0 ** min(max(failures - 1, 0), 30))

    def _ails(self, condition: _Condition, now_s: float) -> str | None:
        if condition.failure is not None:
            if condition.is_running and now_s - condition.began_s > STEADY_S:
                return None
            return condition.failure
        if condition.is_running and condition.stall_s is not None and now_s - condition.beaten_s > condition.stall_s:
            return f"it has not got on for {now_s - condition.beaten_s:.0f} s"
        return None

    def _begun(self, condition: _Condition) -> None:
        condition.began_s = condition.beaten_s = self._clock_s()
        condition.is_running, condition.beats = True, 0

    def _failed(self, name: str, condition: _Condition, error: BaseException, failures: int) -> int:
        """How many failures in a row that makes."""
        condition.is_running = False
        condition.failure = f"{type(error).__name__}: {error}"[:500]
        condition.restarts += 1
        failures = 1 if self._clock_s() - condition.began_s > FORGIVEN_S else failures + 1
        with suppress(Exception):  # where the words go may be what is broken: a full disk
            _log.error(
                "what has failed is begun again",
                thread=name,
                in_s=round(self.pause_s(failures), 1),
                exc_info=error,
                failures=failures,
            )
        return failures


class KeptThread:
    """A thread of a keeper's. It is one thread of the system's all the time, so that beginning again needs none."""

    def __init__(
        self,
        keeper: ThreadKeeper,
        name: str,
        run: Callable[[], None],
        stop: threading.Event,
        condition: _Condition,
        *,
        may_end: bool,
    ) -> None:
        self._keeper = keeper
        self._name = name
        self._work = run
        self._stop = stop
        self._condition = condition
        self._may_end = may_end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._keeper._begun(self._condition)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._thread.is_alive()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it has ended. At once if it was never begun."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def beat(self) -> None:
        """It gets on."""
        self._keeper.beat(self._name)

    def _run(self) -> None:
        failures = 0
        condition = self._condition
        while not self._stop.is_set():
            self._keeper._begun(condition)
            try:
                self._work()
                if self._may_end or self._stop.is_set():
                    break
                raise RuntimeError("it has ended by itself")
            except BaseException as error:  # a panic of RocksDB's is no Exception
                if self._stop.is_set():
                    with suppress(Exception):
                        _log.warning("a thread has failed while it was to end", thread=self._name, exc_info=error)
                    break
                failures = self._keeper._failed(self._name, condition, error, failures)
            self._stop.wait(self._keeper.pause_s(failures))
        condition.is_running, condition.failure = False, None
