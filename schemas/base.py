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
    `extra` holds columns this version does not know, as JSON text by name, so that nothing is lost.
    """

    commit_position: int
    is_base: bool
    is_read: bool
    is_deleted: bool
    extra: dict[str, str]


class Tick(Event, frozen=True, kw_only=True):
    """Time, as an event: `occurred_at_ms` is now. Broadcast to every partition of every inbox; it runs the deadlines."""
