"""Which of two reports of one ERP row is newer.

The change feed orders commits by (`commit_position`, `source_position`). Rows read by a snapshot have their own rules: the
initial snapshot ranks below every streamed change of its key, and no read ever raises the held position, because a change
written before the read but committed after it has the lower LSN and still has to win.
"""

from __future__ import annotations

from schemas.base import ErpRow
from schemas.frozen import Frozen


class Version(Frozen, frozen=True):
    """The position of the newest streamed change applied to a row; (-1, -1) while only snapshots have been read."""

    commit_position: int = -1
    source_position: int = -1


def next_version(held: Version | None, event: ErpRow) -> Version | None:
    """The version to keep with the row if the event is to be applied; none if it is stale or a repetition."""
    at = Version(event.commit_position, event.source_position)
    if held is None:
        return Version() if event.is_read else at
    if event.is_base:
        return None
    if event.is_read:
        return held if (held.commit_position, held.source_position) < (at.commit_position, at.source_position) else None
    return at if at.source_position > held.source_position else None
