"""The exceptions fold: one row for one cause, published whenever it changes."""

from __future__ import annotations

from schemas import topics
from schemas.operations import ErpRowsUnread, ExceptionCleared, ExceptionNoted, ExceptionRow, ExceptionWorked
from streams.engine.flow import Fold
from tables.operations.exceptions import (
    ExceptionTables,
    erp_rows_unread,
    exception_cleared,
    exception_noted,
    exception_row,
    exception_worked,
)

exceptions = Fold(topics.EXCEPTIONS, inbox=topics.EXCEPTIONS_INBOX, tables=ExceptionTables)
exceptions.on(ExceptionNoted)(exception_noted)
exceptions.on(ExceptionCleared)(exception_cleared)
exceptions.on(ExceptionWorked)(exception_worked)
exceptions.on(ErpRowsUnread)(erp_rows_unread)


@exceptions.derive(on=("rows", "unread"))
def publish_row(t: ExceptionTables, fingerprint: str, version: int) -> ExceptionRow | None:
    """The exception as it stands."""
    return exception_row(t, fingerprint, version)
