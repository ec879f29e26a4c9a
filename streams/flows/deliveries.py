"""The delivery fold: what is owed to other systems, kept until it is settled. Rules are in `tables/`; here is when they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from schemas import deliveries as say
from schemas import topics
from streams.engine.flow import Fold
from tables.deliveries import delivery_events
from tables.deliveries.state import DeliveryTables, EndpointPolicies, endpoint_status

_RULES: dict[type[Any], Callable[[EndpointPolicies, DeliveryTables, Any], Iterable[Any]]] = {
    say.ObligationRaised: delivery_events.obligation_raised,
    say.DispatchAnswered: delivery_events.dispatch_answered,
    say.RetryObligation: delivery_events.retry_obligation,
    say.DeliveryTick: delivery_events.tick,
}


def deliveries_fold(policies: EndpointPolicies) -> Fold[DeliveryTables]:
    """The fold for endpoints that are served so."""
    deliveries = Fold(topics.DELIVERIES, inbox=topics.DELIVERY_INBOX, tables=DeliveryTables)
    for event, rule in _RULES.items():
        deliveries.on(event)(partial(rule, policies))
    deliveries.derive(on=("endpoints",))(endpoint_status)
    return deliveries
