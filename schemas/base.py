"""What every canonical event carries."""

from __future__ import annotations

from schemas.frozen import Frozen


class Event(Frozen, frozen=True, kw_only=True):
    """A fact (past tense) or a command (imperative) on an inbox topic.

    `event_id` is the same whenever the source repeats the fact. `source_position` orders one source's facts about one key
    (an LSN, a sequence, an offset). `trace_id` leads back to the raw message: `<topic>/<partition>/<offset>`, or the
    request that caused it. Instants are ms UTC.
    """

    event_id: str
    source: str
    source_position: int
    occurred_at_ms: int
    recorded_at_ms: int
    trace_id: str


class ErpRow(Event, frozen=True, kw_only=True):
    """A row of the ERP's database as its change feed reports it.

    Order of one key's changes: (`commit_position`, `source_position`), the feed's commit LSN before this transaction and
    the change's own LSN. `is_base` marks a row of the initial snapshot: it ranks below every streamed change of its key.
    `is_read` marks any row read by a snapshot, initial or incremental: it never raises the order of streamed changes.
    `is_deleted` says the row is gone: of the other fields only the key means anything.
    `epoch`: which history of the database its position belongs to, counted in its part of the feed (0: only one is known);
    `history`: the position of the initial snapshot that history began with, 0 if its part of the feed has not shown it.
    `part`: the partition of its raw topic, which all changes of a key come by; -1 if that is not known.
    `extra` holds columns this version does not know, as JSON text by name, so that nothing is lost.
    """

    commit_position: int
    is_base: bool
    is_read: bool
    is_deleted: bool
    extra: dict[str, str]
    epoch: int = 0
    history: int = 0
    part: int = -1


class ErpTableNews(Event, frozen=True, kw_only=True):
    """A whole table of the ERP's. Broadcast: every partition of the fold may have rows of it. `what` is one of

    - `history`: an initial snapshot began at position `history`, by `connector`; `before`: the one before it, if its part of the
      feed showed that;
    - `read`: that snapshot is over in partition `part` of the raw topic, so that rows it has not read there are gone; with -1 in
      all of them, which `person` says for `reason`;
    - `truncated`: at `source_position`, so that the rows of before are gone.
    """

    table: str
    what: str
    connector: str
    epoch: int
    history: int
    commit_position: int
    part: int = -1
    before: int = 0
    person: str = ""
    reason: str = ""


class ErpRowsReview(Event, frozen=True, kw_only=True):
    """A fold's note to itself: go on with a table's rows, for news of what `what` says. Work on one event stays bounded."""

    table: str
    what: str
    epoch: int
    history: int
    commit_position: int
    part: int = -1


class Tick(Event, frozen=True, kw_only=True):
    """Time, as an event: `occurred_at_ms` is now. Broadcast to every partition of every inbox; it runs the deadlines."""
