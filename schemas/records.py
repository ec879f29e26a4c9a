"""Records as a log keeps them, and what a translator makes of a raw one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from schemas.frozen import Frozen

Headers = tuple[tuple[str, bytes], ...]


class Record(Frozen, frozen=True):
    """One record of a log. `timestamp_ms` is when the log took it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def trace_id(self) -> str:
        """`<topic>/<partition>/<offset>`: where to find the record again."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class FeedPosition(Frozen, frozen=True):
    """A source's own numbering of its messages: lets duplicates and gaps be told.

    `event_id` and `content` (a digest): whether a number that comes again is a repetition, or another message under it.
    """

    source: str
    sequence: int
    occurred_at_ms: int
    event_id: str = ""
    content: str = ""


class UnknownFields(Frozen, frozen=True):
    """Fields of a foreign message that nobody reads.

    `message`: which of the source's messages it is. `paths`: each once, like `lines[].lot_no`. `among`, for each of them: the
    names that are read beside it with the field each stands for, and which of these fields the message has.
    """

    message: str
    paths: tuple[str, ...]
    among: tuple[tuple[Mapping[str, str], Collection[str]], ...]


class Translation(Frozen, frozen=True):
    """What a raw message means: canonical events, or nothing for a stated reason (`ignored`: heartbeat, tombstone...)."""

    events: Sequence[Any] = ()
    feed: FeedPosition | None = None
    ignored: str | None = None
    unknown: UnknownFields | None = None
