"""The agent that releases orders to the warehouse, and takes releases back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from connectors.wms.client import WmsClient
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import Bounds, Call, deliver


async def release_to_wms(dispatches: AsyncIterator[Dispatch], wms: WmsClient, bounds: Bounds) -> AsyncIterator[DispatchAnswered]:
    """Units to pick, and units not to pick any more."""
    calls: dict[str, Call] = {"release_order": wms.release_order, "withdraw_release": wms.withdraw_release}
    async for answer in deliver(dispatches, calls, bounds):
        yield answer
