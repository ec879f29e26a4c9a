"""Which of two reports of one ERP row is newer.

The change feed orders commits by (`commit_position`, `source_position`). Rows read by a snapshot have their own rules: the
initial snapshot ranks below every streamed change of its key, and no read ever raises the held position, because a change
written before the read but committed after it has the lower LSN and still has to win. All of that within one history of the
database: whatever a newer one says replaces what is held, wherever its positions start.
"""

from __future__ import annotations

from schemas.base import ErpRow, ErpTableNews
from schemas.errors import Refused
from schemas.frozen import Frozen

CLOCK_MS = 300_000
"""By as much a database's clock may be set back before a change is taken for one of another history."""


class Version(Frozen, frozen=True):
    """The position of the newest streamed change applied to a row; (-1, -1) while only snapshots have been read.

    `epoch`, `history`: the history it belongs to (see `schemas.base.ErpRow`). `at_ms`: the instant of that change, 0 for a row of
    an initial snapshot; `told_ms`: when it was recorded. `part`: the partition of the raw topic that its key comes by.
    """

    commit_position: int = -1
    source_position: int = -1
    epoch: int = 0
    history: int = 0
    at_ms: int = 0
    told_ms: int = 0
    part: int = -1


def next_version(current: Version | None, event: ErpRow, newer: int = 0) -> Version | None:
    """The version to keep with the row if the event is to be applied; none if it is stale or a repetition.

    `newer`: by how many histories the event is newer than the row held, where its table is known to have several.
    Raises `Refused` for a change that is younger than the one held and has a lower position: its history is not known.
    """
    if current is None:
        return _first(event)
    if current.epoch != event.epoch and current.history != event.history:
        newer = event.epoch - current.epoch  # a part of the feed keeps its order
    if newer:
        return _first(event) if newer > 0 else None
    if event.is_base:
        return None
    own = event.source_position
    if event.is_read:
        return current if (current.commit_position, current.source_position) < (event.commit_position, own) else None
    if own > current.source_position:
        return _first(event)
    if current.at_ms:
        check_log(event, current.source_position, current.at_ms)
    return None


def check_log(event: ErpRow | ErpTableNews, position: int, at_ms: int) -> None:
    """Raises `Refused` for a change of a lower position than one at `at_ms` that is younger than that."""
    if event.occurred_at_ms > at_ms + CLOCK_MS:
        raise Refused(
            f"{event.event_id} is younger than what is held, but its position {event.source_position} is lower than {position}:"
            " the database's log began anew (restored, or failed over), and no snapshot says so",
            hint="have the connector read the tables anew with an initial snapshot, then replay",
        )


def _first(event: ErpRow) -> Version:
    commit, own = (-1, -1) if event.is_read else (event.commit_position, event.source_position)
    at_ms = 0 if event.is_base else event.occurred_at_ms
    return Version(commit, own, event.epoch, event.history, at_ms, event.recorded_at_ms, event.part)
