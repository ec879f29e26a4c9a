"""What became of each input, kept by the engine in the same store as the flow's tables, so it is exact and survives restarts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b

from schemas.records import Headers
from tables.table import Table

WINDOW = 1_000
"""Inputs over which the share of dead letters is watched. Part of the stored state: it is no setting."""
_HALF = WINDOW // 2
_REASONS = 64


@dataclass(slots=True)
class Fates:
    """Counts of a flow partition's inputs. Each has exactly one fate: applied, duplicate, ignored, dead-lettered or parked.

    `ignored_for`: by reason. `window_dead` of the half-window number `window`, `previous_dead` of the one before it.
    """

    inputs: int = 0
    duplicate: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    parked: int = 0
    ignored_for: dict[str, int] = field(default_factory=dict)
    window: int = 0
    window_dead: int = 0
    previous_dead: int = 0

    @property
    def applied(self) -> int:
        """Inputs that have no other fate."""
        return self.inputs - self.duplicate - self.ignored - self.dead_lettered - self.parked

    def copy(self) -> Fates:
        """Counts to go on with, while these stay as committed."""
        return replace(self, ignored_for=dict(self.ignored_for))

    def ignore(self, reason: str) -> None:
        """Count an ignored input."""
        if reason not in self.ignored_for and len(self.ignored_for) >= _REASONS:
            reason = "other"
        self.ignored += 1
        self.ignored_for[reason] = self.ignored_for.get(reason, 0) + 1

    def dead_letter(self) -> tuple[int, int]:
        """Count a dead letter. Returns (dead letters, inputs) of the last 500 to 1,000 inputs."""
        self.dead_lettered += 1
        window = (self.inputs - 1) // _HALF
        if window != self.window:
            self.previous_dead = self.window_dead if window == self.window + 1 else 0
            self.window, self.window_dead = window, 0
        self.window_dead += 1
        return self.window_dead + self.previous_dead, self.inputs - max(window - 1, 0) * _HALF


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits for a fact."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many records wait for a fact, since when, and why the first of them does."""

    count: int
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Releasing:
    """Facts that have come while records wait for them, in order: the partition takes nothing else until those are applied.

    `after`: offset of the last record of the first fact that was tried. `is_left`: one of them still waits. `is_again`: one that
    was applied may help those left, so all of them are tried once more.
    """

    facts: tuple[str, ...]
    after: int = -1
    is_left: bool = False
    is_again: bool = False


@dataclass(slots=True)
class EngineTables:
    """The engine's own rows of a flow partition. A fact that is waited for is named as by `fact_of`."""

    fates: Table[tuple[str], Fates]  # one row, under ""
    parked: Table[tuple[str, int], Parked]  # fact, offset
    waiting: Table[tuple[str], Waiting]  # fact
    releasing: Table[tuple[str], Releasing]  # one row at most, under ""


NAMESPACE = "engine."
ONE = ("",)
_LONGEST_FACT = 200


def fact_of(name: str) -> str:
    """A fact's name as a key: of bounded length, whatever a message says."""
    if len(name) <= _LONGEST_FACT:
        return name
    return f"{name[:_LONGEST_FACT]}~{blake2b(name.encode('utf-8', 'backslashreplace'), digest_size=8).hexdigest()}"
