"""What became of each input, kept by the engine in the same store as the flow's tables, so it is exact and survives restarts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b

from schemas.records import Headers
from streams.engine.limits import Windows
from tables.common.table import Table

_REASONS = 64


@dataclass(slots=True)
class InputFates:
    """Counts of a flow partition's inputs. Each has exactly one fate: applied, duplicate, ignored, dead-lettered or parked.

    `ignored_for`: by reason.
    """

    inputs: int = 0
    duplicate: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    parked: int = 0
    ignored_for: dict[str, int] = field(default_factory=dict)

    @property
    def applied(self) -> int:
        """Inputs that have no other fate."""
        return self.inputs - self.duplicate - self.ignored - self.dead_lettered - self.parked

    def copy(self) -> InputFates:
        """Counts to go on with, while these stay as committed."""
        return replace(self, ignored_for=dict(self.ignored_for))

    def ignore(self, reason: str) -> None:
        """Count an ignored input."""
        if reason not in self.ignored_for and len(self.ignored_for) >= _REASONS:
            reason = "other"
        self.ignored += 1
        self.ignored_for[reason] = self.ignored_for.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits for a fact. `items`: those whose numbers may be wrong meanwhile."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    reason: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingSummary:
    """How many records wait for a fact, since when, and why the first of them does."""

    count: int
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Doubted:
    """How many of the records that wait for a fact would change an item's numbers."""

    count: int


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


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A dead letter was fed again, as the record at `offset`: another copy of it changes nothing."""

    offset: int


@dataclass(frozen=True, slots=True)
class Halt:
    """The partition stands at a record (`offset`) it cannot apply, a defect of ours."""

    offset: int
    event: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class BlockedOutput:
    """What follows from a key's rows cannot be worked out: what was published of it before is old."""

    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Due:
    """The instant of the earliest of the table `deadlines`: neither the clock nor a tick look past those that were worked off."""

    first_ms: int


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field of foreign messages that nobody reads: in how many of them it was, the last at `offset`.

    `meant`: the field that was probably meant, "" if none is like it.
    """

    count: int
    since_ms: int
    last_ms: int
    offset: int
    meant: str


@dataclass(slots=True)
class EngineTables:
    """The engine's own rows of a flow partition. A fact that is waited for is named as by `fact_of`."""

    fates: Table[tuple[str], InputFates]  # one row, under ""
    parked: Table[tuple[str, int], Parked]  # fact, offset
    waiting: Table[tuple[str], WaitingSummary]  # fact
    doubted: Table[tuple[str, str], Doubted]  # fact, item
    releasing: Table[tuple[str], Releasing]  # one row at most, under ""
    replayed: Table[tuple[str], ReplayRecord]  # dead letter id
    windows: Table[tuple[str], Windows]  # one row at most, under ""
    halts: Table[tuple[str], Halt]  # one row at most, under ""
    unpublished: Table[tuple[str], BlockedOutput]  # key
    unknown: Table[tuple[str, str], UnknownField]  # message, path
    due: Table[tuple[str], Due]  # one row under "", while the flow's table `deadlines` has any


NAMESPACE = "engine."
DEADLINES = "deadlines"
ONE = ("",)
_OF_THE_RUN = tuple(f"{NAMESPACE}{name}\0".encode() for name in ("windows", "halts", "unpublished"))
_LONGEST_FACT = 200


def fact_of(name: str) -> str:
    """A fact's name as a key: of bounded length, whatever a message says."""
    if len(name) <= _LONGEST_FACT:
        return name
    return f"{name[:_LONGEST_FACT]}~{blake2b(name.encode('utf-8', 'backslashreplace'), digest_size=8).hexdigest()}"


def is_state(key: bytes) -> bool:
    """Whether a stored row follows from the inputs alone. Others say how the run goes: what was refused lately, what stands."""
    return not key.startswith(_OF_THE_RUN)
