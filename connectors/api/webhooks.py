"""The door for systems that call us: signed bodies, taken as they are."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from connectors.api.docs import answers
from connectors.api.http import ExactRoute
from connectors.api.ports import Ports
from connectors.api.render import reply
from connectors.channels.webshop.signature import HEADER


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["orders"])

    @routes.post(
        "/v1/webhooks/{channel}",
        status_code=202,
        responses=answers("Durable", {"channel": "web", "trace_id": "raw.channel.web/0/17"}, 401, 404, 503, status=202),
        openapi_extra={
            "parameters": [{"name": HEADER, "in": "header", "required": True, "schema": {"type": "string"}}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        },
    )
    async def webhook(channel: str, request: Request) -> Response:
        """Take a web shop's call. `X-Webhook-Signature`: base64 of the HMAC-SHA256 of the raw body under the channel's secret.

        A body that is signed right is kept, whatever it says; one that cannot be understood shows under /v1/exceptions.
        """
        body = await request.body()
        accepted = await run_in_threadpool(ports.webhooks.accept, channel, body, request.headers.get(HEADER, ""))
        return reply({"channel": channel, "trace_id": accepted.trace_id}, 202)

    return routes
