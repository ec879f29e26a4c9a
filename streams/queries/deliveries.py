"""Deliveries as agents ask about them: whether an attempt may be in flight still."""

from __future__ import annotations

from schemas import deliveries as say
from streams.queries.table_views import TableView
from tables.deliveries.state import Obligation, ObligationState, ObligationStatus


def is_unanswered(tables: TableView, dispatch: say.Dispatch) -> bool:
    """Whether an attempt may be in flight still. Rows may lag behind the dispatch: what they do not show as answered, is open.

    Raises `Unavailable` while the rows cannot be seen.
    """
    endpoint = dispatch.endpoint
    at: ObligationStatus | None = tables.row("deliveries.known", (endpoint, dispatch.obligation_id), endpoint)
    if at is None:
        return True
    if at.is_settled:
        return False
    held: Obligation | None = tables.row("deliveries.obligations", (endpoint, at.aggregate, at.seq), endpoint)
    if held is None or held.attempts < dispatch.attempt:
        return True
    return held.stage is ObligationState.IN_FLIGHT and held.attempts == dispatch.attempt
