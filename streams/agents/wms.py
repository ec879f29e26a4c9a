"""The agent that releases orders to the warehouse, and takes releases back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from connectors.wms.client import WmsClient
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import AgentLimits, Call, deliver


async def release_to_wms(
    dispatches: AsyncIterator[Dispatch], wms: WmsClient, bounds: AgentLimits
) -> AsyncIterator[DispatchAnswered]:
    """Units to pick, units not to pick any more, and items to count."""
    calls: dict[str, Call] = {
        "release_order": wms.release_order,
        "withdraw_release": wms.withdraw_release,
        "request_count": wms.request_count,
    }
    async for answer in deliver(dispatches, calls, bounds):
        yield answer
