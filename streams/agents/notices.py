"""The agent that tells a CRM, a portal or anybody else of an order's status."""

from __future__ import annotations

from collections.abc import AsyncIterator

from connectors.webhooks.client import WebhookClient
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import AgentLimits, deliver


async def notify(
    dispatches: AsyncIterator[Dispatch], hook: WebhookClient, bounds: AgentLimits
) -> AsyncIterator[DispatchAnswered]:
    """Signed notices, one at a time for each order."""
    async for answer in deliver(dispatches, {"notify_status": hook.notify_status}, bounds):
        yield answer
