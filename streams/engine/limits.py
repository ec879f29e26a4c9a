"""How much may be refused: dead letters are counted by source and time, and who has too many of them is paused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from streams.engine.table import CACHE_ROWS

LETTER_BYTES = 7 * 1024 * 1024
"""With all that is said about it, a dead letter then fits into a record."""


@dataclass(frozen=True, slots=True)
class SourceLimit:
    """A source is paused after so many dead letters in the window, if they are more than `share` of its input since the first."""

    dead_letters: int = 1_000
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a flow partition.

    `cache_rows`: decoded rows a table holds. `source`, `sources`: how much of a source may be refused within `window_ms`. `flow`:
    how much a fold may refuse whatever it comes from, before it stands still (a bad deploy must not flood).
    `waiting`: events that may wait for one fact; the next one is a dead letter, though not one that counts here.
    `release_batch`: waiting events applied in one transaction. `letter_bytes`: a larger record is not copied into its letter.
    """

    cache_rows: int = CACHE_ROWS
    source: SourceLimit = SourceLimit()
    sources: Mapping[str, SourceLimit] = field(default_factory=dict)
    window_ms: int = 3_600_000
    flow: SourceLimit = SourceLimit(10_000)
    waiting: int = 100_000
    release_batch: int = 2_048
    letter_bytes: int = LETTER_BYTES

    def of(self, source: str) -> SourceLimit:
        """The limit of a source."""
        return self.sources.get(source, self.source)


@dataclass(slots=True)
class Window:
    """What was refused, and what was not since: in the half-window number `half`, and in the one before. `epoch`: resumptions."""

    half: int
    epoch: int
    dead: int = 0
    good: int = 0
    old_dead: int = 0
    old_good: int = 0

    def roll(self, half: int) -> None:
        """Go on to a later half."""
        if half <= self.half:
            return
        if half == self.half + 1:
            self.old_dead, self.old_good = self.dead, self.good
        else:
            self.old_dead = self.old_good = 0
        self.half, self.dead, self.good = half, 0, 0


@dataclass(slots=True)
class Windows:
    """The windows of a partition, by source (or flow); none of a source that had nothing refused lately."""

    by_name: dict[str, Window] = field(default_factory=dict)

    def copy(self) -> Windows:
        """Windows to go on with, while these stay as committed."""
        return Windows({name: replace(window) for name, window in self.by_name.items()})

    def passed(self, name: str, at_ms: int, window_ms: int) -> None:
        """Something was not refused."""
        window = self.by_name.get(name)
        if window is None:
            return
        window.roll(at_ms * 2 // window_ms)
        if window.dead or window.old_dead:
            window.good += 1
        else:
            del self.by_name[name]

    def refused(self, name: str, at_ms: int, window_ms: int, epoch: int) -> tuple[int, int]:
        """Something was refused. Returns how much of how much lately."""
        half = at_ms * 2 // window_ms
        window = self.by_name.get(name)
        if window is None or window.epoch != epoch:
            window = self.by_name[name] = Window(half, epoch)
        window.roll(half)
        window.dead += 1
        dead = window.dead + window.old_dead
        return dead, dead + window.good + window.old_good
