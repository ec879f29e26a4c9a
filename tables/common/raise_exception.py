"""Notes for people: a rule's way to raise an exception or to say that its cause is gone."""

from __future__ import annotations

from schemas.base import Event
from schemas.operations import ExceptionCleared, ExceptionNoted

MOST_NAMED = 5


def several(parts: list[str]) -> str:
    """A list as a sentence has it: the first few, and how many more there are."""
    if len(parts) <= MOST_NAMED:
        return ", ".join(parts)
    return f"{', '.join(parts[: MOST_NAMED - 1])} and {len(parts) - MOST_NAMED + 1} more"


def note(
    cause: Event, code: str, fingerprint: str, sentence: str, *, item: str | None = None, order_id: str | None = None
) -> ExceptionNoted:
    """An exception caused by an event. The same `fingerprint` again adds to the same row."""
    return ExceptionNoted(
        event_id=cause.event_id,
        source=cause.source,
        source_position=cause.source_position,
        occurred_at_ms=cause.occurred_at_ms,
        recorded_at_ms=cause.recorded_at_ms,
        trace_id=cause.trace_id,
        fingerprint=fingerprint,
        code=code,
        sentence=sentence,
        item=item,
        order_id=order_id,
    )


def cleared(cause: Event, fingerprint: str) -> ExceptionCleared:
    """The exception's cause is gone, by this event."""
    return ExceptionCleared(
        event_id=cause.event_id,
        source=cause.source,
        source_position=cause.source_position,
        occurred_at_ms=cause.occurred_at_ms,
        recorded_at_ms=cause.recorded_at_ms,
        trace_id=cause.trace_id,
        fingerprint=fingerprint,
    )
