"""The one clock of a process: the machine's, as long as it goes on as clocks do.

What it says is decided by, so a step cannot be undone: holds expire and are promised again, supply is past due, what is kept is
trimmed. A step of more than a bound, against the time the machine itself has counted, is therefore not believed until it has
lasted, or a person says so; meanwhile time goes on by that count. After a restart the count goes on from an anchor; where the
machine was restarted too, the last instant of the log is the least it can be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

ANCHOR_FILE = "clock.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """`bound_ms`: a larger step is not believed at once. `confirm_ms`: it is once it has lasted so long, unless it is larger than
    `unattended_ms`: then only if a person says so. `downtime_ms`: so long the machine may have been off without anybody being
    asked.
    """

    bound_ms: int = 60_000
    confirm_ms: int = 600_000
    unattended_ms: int = 86_400_000
    downtime_ms: int = 7 * 86_400_000


class ClockAnchor(msgspec.Struct, frozen=True):
    """An instant (`at_ms`), and what the machine had counted then since it was started (`boot_id` says which start)."""

    boot_id: str
    steady_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class ClockState:
    """`now_ms`: what is decided by. `step_ms`: how far the machine's clock is from that while it is not believed, else 0.

    `confirmed_in_ms`: when it will be believed by itself; none if it takes a person. `is_gap`: nothing counted the time since
    `now_ms` was last known to be right, so it may be too early.
    """

    now_ms: int
    machine_ms: int
    step_ms: int = 0
    confirmed_in_ms: int | None = None
    is_gap: bool = False

    @property
    def is_trusted(self) -> bool:
        """Whether the machine's clock is believed."""
        return self.step_ms == 0


@dataclass(slots=True)
class _Doubt:
    offset_ms: int
    since_ms: int
    is_gap: bool = False


def wall_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """What the machine has counted since it was started, the time it slept included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def boot_id() -> str:
    """Which start of the machine that count is from; "" where that cannot be known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class TrustedClock:
    """Call it for the time in ms UTC. Safe from any thread."""

    def __init__(
        self,
        policy: ClockPolicy | None = None,
        *,
        wall: Callable[[], int] = wall_ms,
        steady: Callable[[], int] = steady_ms,
        boot: str | None = None,
    ) -> None:
        self.policy = policy or ClockPolicy()
        self._wall = wall
        self._steady = steady
        self._boot = boot_id() if boot is None else boot
        self._lock = threading.Lock()
        self._looked_ms = steady()
        self._offset_ms = wall() - self._looked_ms  # trusted time less the machine's count
        self._allowance_ms = float(self.policy.bound_ms)
        self._doubt: _Doubt | None = None

    def __call__(self) -> int:
        """The time."""
        with self._lock:
            return self._look()

    def begin(self, anchor: ClockAnchor | None, last_seen_ms: int | None) -> None:
        """Compare with when the process ran last: its anchor, and the newest instant its log knows of."""
        with self._lock:
            steady = self._steady()
            self._believe(self._wall() - steady)
            if anchor is not None and anchor.boot_id == self._boot != "" and anchor.steady_ms <= steady:
                self._offset_ms = anchor.at_ms - anchor.steady_ms
                self._look()
                return
            known = [at for at in (last_seen_ms, None if anchor is None else anchor.at_ms) if at is not None]
            if known and not -self.policy.bound_ms <= self._wall() - max(known) <= self.policy.downtime_ms:
                self._offset_ms = max(known) - steady
                self._doubt = _Doubt(self._wall() - steady, steady, is_gap=True)
            self._look()

    def anchor(self) -> ClockAnchor:
        """Where a next process goes on."""
        with self._lock:
            now = self._look()
            return ClockAnchor(self._boot, now - self._offset_ms, now)

    def confirm(self) -> ClockState:
        """A person says that the machine's clock is right."""
        with self._lock:
            self._believe(self._wall() - self._steady())
        return self.state()

    def state(self) -> ClockState:
        """How it stands."""
        with self._lock:
            now, machine, doubt = self._look(), self._wall(), self._doubt
            if doubt is None:
                return ClockState(now, machine)
            step = doubt.offset_ms - self._offset_ms
            is_small = abs(step) <= self.policy.unattended_ms
            left = max(0, doubt.since_ms + self.policy.confirm_ms - self._looked_ms) if is_small else None
            return ClockState(now, machine, step, left, doubt.is_gap)

    def _look(self) -> int:
        steady = self._steady()
        offset = self._wall() - steady
        step = abs(offset - self._offset_ms)
        earned = max(0, steady - self._looked_ms) * self.policy.bound_ms / max(1, self.policy.confirm_ms)
        self._looked_ms = steady
        self._allowance_ms = min(self.policy.bound_ms, self._allowance_ms + earned)
        if step <= self._allowance_ms:  # also many small steps do not add up to a large one
            self._allowance_ms -= step
            self._offset_ms, self._doubt = offset, None
        elif self._doubt is None or abs(offset - self._doubt.offset_ms) > self.policy.bound_ms:
            self._doubt = _Doubt(offset, steady, self._doubt is not None and self._doubt.is_gap)
        elif steady - self._doubt.since_ms >= self.policy.confirm_ms and step <= self.policy.unattended_ms:
            self._believe(offset)
        return steady + self._offset_ms

    def _believe(self, offset_ms: int) -> None:
        self._offset_ms, self._doubt = offset_ms, None
        self._allowance_ms = float(self.policy.bound_ms)


def anchor_in(directory: Path) -> ClockAnchor | None:
    """The anchor a process has left; none if there is none that can be read."""
    try:
        return msgspec.json.decode((directory / ANCHOR_FILE).read_bytes(), type=ClockAnchor)
    except (OSError, msgspec.DecodeError):
        return None


def keep_anchor(clock: TrustedClock, directory: Path) -> None:
    """Leave an anchor. Raises `OSError`."""
    fresh = directory / f"{ANCHOR_FILE}.new"
    fresh.write_bytes(msgspec.json.encode(clock.anchor()))
    fresh.replace(directory / ANCHOR_FILE)
