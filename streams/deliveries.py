"""The delivery fold: what is owed to other systems, kept until it is settled. Rules are in `tables/`; here is when they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from schemas import deliveries as say
from schemas import topics
from streams.engine.flow import Fold
from streams.views import TableView
from tables import delivery_rules
from tables.deliveries import DeliveryTables, EndpointPolicies, Known, Obligation, Stage, endpoint_status

_RULES: dict[type[Any], Callable[[EndpointPolicies, DeliveryTables, Any], Iterable[Any]]] = {
    say.ObligationRaised: delivery_rules.obligation_raised,
    say.DispatchAnswered: delivery_rules.dispatch_answered,
    say.RetryObligation: delivery_rules.retry_obligation,
    say.DeliveryTick: delivery_rules.tick,
}


def deliveries_fold(policies: EndpointPolicies) -> Fold[DeliveryTables]:
    """The fold for endpoints that are served so."""
    deliveries = Fold(topics.DELIVERIES, inbox=topics.DELIVERY_INBOX, tables=DeliveryTables)
    for event, rule in _RULES.items():
        deliveries.on(event)(partial(rule, policies))
    deliveries.derive(on=("endpoints",))(endpoint_status)
    return deliveries


def is_unanswered(tables: TableView, dispatch: say.Dispatch) -> bool:
    """Whether an attempt may be in flight still. Rows may lag behind the dispatch: what they do not show as answered, is open.

    Raises `Unavailable` while the rows cannot be seen.
    """
    endpoint = dispatch.endpoint
    at: Known | None = tables.row("deliveries.known", (endpoint, dispatch.obligation_id), endpoint)
    if at is None:
        return True
    if at.is_settled:
        return False
    held: Obligation | None = tables.row("deliveries.obligations", (endpoint, at.aggregate, at.seq), endpoint)
    if held is None or held.attempts < dispatch.attempt:
        return True
    return held.stage is Stage.IN_FLIGHT and held.attempts == dispatch.attempt
