"""Records as a log keeps them, and what a translator makes of a raw one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.frozen import quick

Headers = tuple[tuple[str, bytes], ...]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of a log. `timestamp_ms` is when the log took it.

    A struct, because every message of every flow becomes one: making a frozen dataclass takes ten times as long.
    """

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


@quick
@dataclass(frozen=True, slots=True)
class FeedPosition:
    """A source's own numbering of its messages: lets duplicates and gaps be told."""

    source: str
    sequence: int
    occurred_at_ms: int


@quick
@dataclass(frozen=True, slots=True)
class Translation:
    """What a raw message means: canonical events, or nothing for a stated reason (`ignored`: heartbeat, tombstone...)."""

    events: Sequence[Any] = ()
    feed: FeedPosition | None = None
    ignored: str | None = None
