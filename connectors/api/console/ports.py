"""What the live page needs beside the API's own ports. The wiring hands it in with them (`Ports.console`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from schemas.deliveries import EndpointStatus
from schemas.inventory import Atp
from schemas.operations import ExceptionRow
from schemas.orders import Milestone, OrderStatus

Only = Literal["all", "warnings", "recent"]


@dataclass(frozen=True, slots=True)
class FeedProgress:
    """A source as it is read: records that wait, and of when the newest one read is."""

    source: str
    waiting_records: int
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class Latency:
    """From a message's arrival to the ATP record that reflects it, over the last `count` such records."""

    p50_ms: int
    p99_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class InvariantState:
    """An invariant as it stands now. `holds`: none while it cannot be told. `detail`: what it was held against, in words."""

    name: str
    holds: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """The process in numbers, at `at_ms`. `is_reading`: rows written before the first viewer came are still being read.

    `halted`: what has stopped, and why. `paused`: sources that are read no further, and why. `warnings`: what a person should
    look at: what it is about, and what it says.
    """

    at_ms: int
    is_reading: bool
    events_per_s: int | None
    backlog_records: int
    feeds: Sequence[FeedProgress]
    latency: Latency | None
    orders: Mapping[str, int]
    items: int
    item_warnings: int
    exceptions: Mapping[str, int]
    endpoints: Sequence[EndpointStatus]
    invariants: Sequence[InvariantState]
    halted: Mapping[str, str] = field(default_factory=dict)
    paused: Mapping[str, str] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows that changed after a cursor, each once, as it is now; oldest change first. `is_cut`: there were more than are here."""

    cursor: str
    orders: Sequence[OrderStatus]
    items: Sequence[Atp]
    exceptions: Sequence[ExceptionRow]
    milestones: Sequence[Milestone]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items found: rows with the item's description, how many there are in all, and where the next page begins."""

    rows: Sequence[tuple[Atp, str]]
    total: int
    next: int | None


class Live(Protocol):
    """Rows as they change, counted and indexed. One for all viewers: what it costs does not depend on how many look."""

    def numbers(self) -> Numbers:
        """The process in numbers, at most one second old."""
        ...

    def cursor(self) -> str:
        """Where the changes are now; `changes` goes on from it."""
        ...

    def changes(self, since: str, limit: int) -> Changes | None:
        """What changed after a cursor. None if that is too long ago or another process's: everything has to be read anew."""
        ...

    def orders(self, statuses: Sequence[str], limit: int) -> list[OrderStatus]:
        """The orders in these statuses that changed last, newest first."""
        ...

    def items(self, find: str, only: Only, start: int, limit: int) -> ItemPage:
        """Items whose number holds `find`, from the `start`-th on: by number, or (`recent`) the last changed first."""
        ...

    def exceptions(self, limit: int) -> list[ExceptionRow]:
        """Open exceptions: the most severe first, and of those the one whose time is up first."""
        ...


@dataclass(frozen=True, slots=True)
class DemoAction:
    """A button of the demonstration. `is_on`: what it starts is under way now (none: it is over as soon as it is done)."""

    name: str
    label: str
    about: str
    is_on: bool | None = None


class DemoControls(Protocol):
    """Faults that a person may cause, to see that nothing is lost by them."""

    def actions(self) -> Sequence[DemoAction]:
        """The buttons, as they are now."""
        ...

    async def run(self, name: str) -> str:
        """Do it. Returns what was done, in a sentence. Raises `connectors.api.ports.NotKnown`, `Busy`."""
        ...


@dataclass(frozen=True, slots=True)
class Console:
    """All that the live page is built on. Without `demo` it shows no buttons that break things."""

    live: Live
    demo: DemoControls | None = None
