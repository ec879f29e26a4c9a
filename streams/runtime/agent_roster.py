"""Which agent serves which endpoint, by the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import httpx

from connectors.erp.client import ErpClient
from connectors.webhooks.client import WebhookClient
from connectors.wms.client import WmsClient
from streams.agents.delivery import Agent, AgentLimits
from streams.agents.erp import post_to_erp
from streams.agents.notices import notify
from streams.agents.wms import release_to_wms
from streams.settings.sections import EndpointSettings


def roster(endpoints: Mapping[str, EndpointSettings], http: httpx.AsyncClient, clock_ms: Callable[[], int]) -> dict[str, Agent]:
    """An agent for each endpoint. Calls share the client, and with it its connections."""
    return {name: _agent(endpoint, http, clock_ms) for name, endpoint in endpoints.items()}


def _agent(endpoint: EndpointSettings, http: httpx.AsyncClient, clock_ms: Callable[[], int]) -> Agent:
    bounds = AgentLimits(endpoint.window, clock_ms)
    if endpoint.role == "erp":
        return partial(post_to_erp, erp=ErpClient(http, endpoint.url, endpoint.timeout_s), bounds=bounds)
    if endpoint.role == "wms":
        return partial(release_to_wms, wms=WmsClient(http, endpoint.url, endpoint.timeout_s), bounds=bounds)
    secret = "" if endpoint.secret is None else endpoint.secret.get_secret_value()
    hook = WebhookClient(http, endpoint.url, endpoint.timeout_s, secret, clock_ms)
    return partial(notify, hook=hook, bounds=bounds)
