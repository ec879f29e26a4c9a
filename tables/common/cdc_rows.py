"""What all rows of the ERP have in common: which report wins, and columns this version does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from schemas.base import ErpRow, Event
from schemas.bounds import bounded_ms
from schemas.errors import AlreadyApplied
from tables.common.cdc_tables import CdcTable, check_not_cut, check_not_over, rank_held, rank_of
from tables.common.row_version import Version, next_version

NOT_SENT = '"__debezium_unavailable_value"'  # a long text the database kept out of an update that left it alone
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Versioned(Protocol):
    """A row that knows which change it is from."""

    @property
    def version(self) -> Version:
        """The position of the newest streamed change in it."""
        ...

    @property
    def extra(self) -> Mapping[str, str]:
        """Columns this version does not know, as JSON text."""
        ...


def accept(current: Versioned | None, event: ErpRow, table: CdcTable | None = None) -> Version:
    """The version to keep with the row. Raises `AlreadyApplied` for a stale or repeated report.

    `table`: what is known of the ERP's table as a whole.
    """
    newer = 0
    is_not_found = event.is_read and event.is_deleted  # as the fold says itself
    if table is not None and not is_not_found:
        check_not_cut(table, event)
        check_not_over(table, event)
        if current is not None and (current.version.history != event.history or event.history != table.history):
            newer = rank_of(table, event) - rank_held(table, current.version)
    version = next_version(current.version if current else None, event, newer)
    if version is None:
        raise AlreadyApplied(f"{event.event_id}: this row has it, or a newer change, already")
    return version


def merged_extra(current: Versioned | None, event: ErpRow) -> dict[str, str]:
    """The unknown columns; one that was not sent keeps the value held."""
    known = current.extra if current else {}
    return {name: known.get(name, text) if text == NOT_SENT else text for name, text in event.extra.items()}


def unless_equal(held: object, row: object, event: ErpRow) -> None:
    """Raises `AlreadyApplied` if the row is as it was (an incremental read that confirms it)."""
    if row == held:
        raise AlreadyApplied(f"{event.event_id}: the row is like that already")


def caused_by(event: Event, event_id: str) -> dict[str, Any]:
    """The common fields of an event that follows from a change of the ERP's."""
    return {
        "event_id": event_id,
        "source": event.source,
        "source_position": event.source_position,
        "occurred_at_ms": event.occurred_at_ms,
        "recorded_at_ms": event.recorded_at_ms,
        "trace_id": event.trace_id,
    }


def instant_ms(text: str, unknown_ms: int) -> int:
    """ISO text with zone as ms UTC; `unknown_ms` for what is not an instant (the ERP may have `infinity`, or none)."""
    try:
        return bounded_ms((datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, TypeError, OverflowError):
        return unknown_ms
