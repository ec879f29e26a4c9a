"""The machine crossdock runs on: whether its clock is believed, and whether its disk takes what is written."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from streams.engine.keeper import ThreadKeeper
from streams.monitoring.trusted_clock import ClockState, TrustedClock, keep_anchor

LOOK_S = 2.0
STALL_S = 60.0
MB = 1_000_000
PROBE_FILE = ".room"
PROBE = b"\0" * 65_536
"""More than what a file system may keep beside a file's name: it takes a block of its own."""
_log = structlog.get_logger(__name__)


class Disk:
    """The disk of a directory. `least_free`: bytes; with less, there is soon no room for what is promised."""

    def __init__(self, directory: Path, least_free: int) -> None:
        self._directory = directory
        self._least_free = least_free

    def told(self) -> tuple[str, bool]:
        """How much is free and whether writes succeed, in words, and whether that is well."""
        place = self._directory.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if why := self._refused(place):
            return f"writes fail: {why}. Make room on the disk of {self._directory}: crossdock goes on by itself", False
        if free < self._least_free:
            return (
                f"{free / MB:,.0f} MB free for {self._directory}, and {self._least_free / MB:,.0f} MB are needed "
                "(disk.least_free_mb): make room, crossdock goes on by itself",
                False,
            )
        return f"{free / 1e9:.1f} GB free for {self._directory}", True

    def _refused(self, place: Path) -> str | None:
        probe = place / f"{PROBE_FILE}-{os.getpid()}"
        try:
            with probe.open("wb") as out:
                out.write(PROBE)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            return str(error.strerror or error)
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return None


class MachineMonitor:
    """Looks at both every so often, in a kept thread, between `start` and `close`. `on_step` hears when doubts begin and end."""

    def __init__(
        self,
        clock: TrustedClock | None,
        disk: Disk,
        directory: Path,
        keeper: ThreadKeeper,
        on_step: Callable[[ClockState], None] = lambda state: None,
    ) -> None:
        self._clock = clock
        self._disk = disk
        self._directory = directory
        self._on_step = on_step
        self._stopping = threading.Event()
        self._thread = keeper.thread("machine", self._run, self._stopping, stall_s=STALL_S)
        self._found: tuple[str, bool] | None = None
        self._is_trusted: bool | None = None
        self._has_room = True

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and leave word of what time it is."""
        if self._thread.is_alive():
            self._stopping.set()
            self._thread.join()
            self._keep()

    def disk(self) -> tuple[str, bool]:
        """What the disk was like when it was last looked at."""
        return self._found or self._disk.told()

    def clock(self) -> tuple[str, bool]:
        """The clock in words, and whether answers may rely on it."""
        if self._clock is None:
            return "given from outside", True
        state = self._clock.state()
        return clock_told(state), not state.is_gap

    def _run(self) -> None:
        while True:
            self._thread.beat()
            self.look()
            if self._stopping.wait(LOOK_S):
                return

    def look(self) -> None:
        """Look now."""
        self._found = self._disk.told()
        if self._found[1] != self._has_room:
            self._has_room = self._found[1]
            (_log.info if self._has_room else _log.error)("the disk", found=self._found[0])
        if self._clock is None:
            return
        state = self._clock.state()
        if state.is_trusted != self._is_trusted:
            if not state.is_trusted:
                _log.error("the machine's clock is not believed", clock=clock_told(state))
            elif self._is_trusted is False:
                _log.info("the machine's clock is believed", clock=clock_told(state))
            self._on_step(state)
            self._is_trusted = state.is_trusted
        self._keep()

    def _keep(self) -> None:
        if self._clock is not None and self._directory.is_dir():
            with suppress(OSError):  # a full disk is told of elsewhere; the last anchor serves
                keep_anchor(self._clock, self._directory)


def clock_told(state: ClockState) -> str:
    """A clock's state in words."""
    if state.is_trusted:
        return "the machine's clock goes as it should"
    ahead = "ahead" if state.step_ms > 0 else "behind"
    left = state.confirmed_in_ms
    until = "until a person" if left is None else f"for {left / 60_000:.0f} more minutes, or until a person"
    since = "nobody has counted since, so it may be later" if state.is_gap else "as the machine has counted"
    return (
        f"the machine's clock says {_instant(state.machine_ms)}, {_span(state.step_ms)} {ahead} of what it should be: it is not "
        f"believed {until} confirms it (crossdock clock --confirm). Meanwhile it is {_instant(state.now_ms)}, {since}"
    )


def _instant(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def _span(ms: int) -> str:
    seconds = abs(ms) / 1000
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:,.0f} seconds"
