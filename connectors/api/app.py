"""The application: routes over ports, errors as problems, strangers kept out."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry

from connectors.api import clock, customers, operations, orders, problems, promises, registry, webhooks
from connectors.api.console import pages
from connectors.api.console.stream import Viewers
from connectors.api.http import Guard
from connectors.api.ports import LOOPBACK, Health, Ports
from connectors.api.staleness import Staleness, document

_ABOUT = """Available to promise and order status, exact and explainable.

Quantities are decimal numbers in an item's base unit, exact to three decimals; send them as numbers or as text. Errors are
`application/problem+json` and say what to do. Pages carry `next`: send it back for the page that follows.

`/registry` answers as a Confluent Schema Registry to those who read: the schemas of all records on our topics.
"""


def create_api(ports: Ports) -> FastAPI:
    """The HTTP API over its ports."""
    # The documentation page brings its scripts along: a warehouse network has no way out.
    app = FastAPIOffline(title="crossdock", version="1", description=_ABOUT, redoc_url=None, separate_input_output_schemas=False)
    problems.install(app, ports.away)
    app.add_middleware(Staleness, health=ports.health)
    app.add_middleware(Guard, hosts=ports.hosts, registry=ports.registry, most_requests=ports.most_requests)
    for part in (promises, orders, customers, webhooks, operations, clock):
        app.include_router(part.router(ports))
    app.include_router(registry.router())
    if ports.console is not None:
        viewers = Viewers(ports.console, ports.most_streams)
        app.include_router(pages.router(ports.console, viewers))
        app.state.end_streams = viewers.close
    document(app, ports.promises.policies(), ports.channels, ports.exceptions.codes())
    return app


def create_health_api(health: Health, registry: CollectorRegistry) -> FastAPI:
    """For a process that serves nothing else: `/healthz`, `/readyz` and `/metrics`."""
    app = FastAPI(title="crossdock", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)
    app.add_middleware(Guard, hosts=LOOPBACK, registry=registry)
    app.include_router(operations.health_router(health, registry))
    return app
