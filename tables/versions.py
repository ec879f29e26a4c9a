"""Which of two reports of one ERP row is newer.

The change feed orders commits by (`commit_position`, `source_position`). Rows read by a snapshot have their own rules: the
initial snapshot ranks below every streamed change of its key, and no read ever raises the held position, because a change
written before the read but committed after it has the lower LSN and still has to win. All of that within one history of the
database: whatever a newer one says replaces what is held, wherever its positions start.
"""

from __future__ import annotations

from schemas.base import ErpRow
from schemas.errors import Refused
from schemas.frozen import Frozen

CLOCK_MS = 300_000
"""By as much a database's clock may be set back before a change is taken for one of another history."""


class Version(Frozen, frozen=True):
    """The position of the newest streamed change applied to a row; (-1, -1) while only snapshots have been read.

    `epoch`, `history`: the history it belongs to (see `schemas.base.ErpRow`). `at_ms`: the instant of that change.
    """

    commit_position: int = -1
    source_position: int = -1
    epoch: int = 0
    history: int = 0
    at_ms: int = 0


def next_version(held: Version | None, event: ErpRow) -> Version | None:
    """The version to keep with the row if the event is to be applied; none if it is stale or a repetition.

    Raises `Refused` for a change that is younger than the one held and has a lower position: its history is not known.
    """
    if held is None or held.epoch < event.epoch:
        return first_version(event)
    if held.epoch > event.epoch or event.is_base:
        return None
    own = event.source_position
    if event.is_read:
        return held if (held.commit_position, held.source_position) < (event.commit_position, own) else None
    if own > held.source_position:
        return Version(event.commit_position, own, event.epoch, event.history, event.occurred_at_ms)
    if held.at_ms and event.occurred_at_ms > held.at_ms + CLOCK_MS:
        raise Refused(
            f"{event.event_id} is younger than the change held, but its position {own} is lower than {held.source_position}: the"
            " database's log began anew (restored, or failed over), and no snapshot says so",
            hint="have the connector read the tables anew with an initial snapshot, then replay",
        )
    return None


def first_version(event: ErpRow) -> Version:
    """The version of a row nothing comparable is known of."""
    if not event.is_read:
        return Version(event.commit_position, event.source_position, event.epoch, event.history, event.occurred_at_ms)
    return Version(-1, -1, event.epoch, event.history)
