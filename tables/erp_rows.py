"""What all rows of the ERP have in common: which report wins, and columns this version does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from schemas.base import ErpRow, Event
from schemas.bounds import bounded_ms
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from tables.erp_tables import ErpTable, check_not_cut, history_of
from tables.versions import Version, first_version, next_version

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


def accept(held: Versioned | None, event: ErpRow, table: ErpTable | None = None) -> Version:
    """The version to keep with the row. Raises `AlreadyApplied` for a stale or repeated report.

    `table`: what is known of the ERP's table as a whole.
    """
    if table is None:
        version = next_version(held.version if held else None, event)
    else:
        check_not_cut(table, event)
        is_of_newest = table.older and not event.is_base and history_of(table, event) == table.history
        is_first = is_of_newest and held is not None and _is_older(held.version, table, event)
        version = first_version(event) if is_first else next_version(held.version if held else None, event)
        if version is not None and is_of_newest and version.history != table.history:
            return replace(version, history=table.history)
    if version is None:
        raise AlreadyApplied(f"{event.event_id}: this row has it, or a newer change, already")
    return version


def _is_older(version: Version, table: ErpTable, event: ErpRow) -> bool:
    """Whether a row is of a history before the table's newest, and the event younger: their positions say nothing then."""
    return version.history != table.history and event.occurred_at_ms >= version.at_ms


def merged_extra(held: Versioned | None, event: ErpRow) -> dict[str, str]:
    """The unknown columns; one that was not sent keeps the value held."""
    known = held.extra if held else {}
    return {name: known.get(name, text) if text == NOT_SENT else text for name, text in event.extra.items()}


def unless_equal(held: Any, row: Any, event: ErpRow) -> None:
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
    """ISO text with zone as ms UTC; `unknown_ms` for what is no instant (the ERP may have `infinity`, or none)."""
    try:
        return bounded_ms((datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, TypeError, OverflowError):
        return unknown_ms
