"""The agent that posts orders to the ERP and has it bill what has shipped."""

from __future__ import annotations

from collections.abc import AsyncIterator

from connectors.erp.client import ErpClient
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import AgentLimits, Call, deliver


async def post_to_erp(
    dispatches: AsyncIterator[Dispatch], erp: ErpClient, bounds: AgentLimits
) -> AsyncIterator[DispatchAnswered]:
    """Orders whole, invoices for what has shipped, credit notes for what came back."""
    calls: dict[str, Call] = {
        "post_order": erp.post_order,
        "request_invoice": erp.request_invoice,
        "request_credit_note": erp.request_credit_note,
    }
    async for answer in deliver(dispatches, calls, bounds):
        yield answer
