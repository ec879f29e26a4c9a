"""The systems over HTTP: one process, one port, a path prefix each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol
from urllib.parse import unquote

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from infra.sandbox.crm import Crm
from infra.sandbox.erp import ErpOptions, SandboxErp
from infra.sandbox.faults import BadFault, Faults
from infra.sandbox.marketplace import Marketplace, MarketplaceOptions
from infra.sandbox.master import Master
from infra.sandbox.outbox import Outbox, Write
from infra.sandbox.store import SqliteStore
from infra.sandbox.values import HttpAnswer
from infra.sandbox.wms import SandboxWms, WmsOptions

TICK_S = 0.02
CRM_SECRET, PORTAL_SECRET = "sandbox-crm", "sandbox-portal"
Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True, slots=True)
class Options:
    """How the systems behave. `crossdock`: where it listens, none if that is still to be told.

    `erp_rows` takes the ERP's change feed instead of crossdock.
    """

    seed: int = 1
    crossdock: str | None = None
    crm_secret: str = CRM_SECRET
    portal_secret: str = PORTAL_SECRET
    erp_rows: Write | None = None
    erp: ErpOptions = field(default_factory=ErpOptions)
    wms: WmsOptions = field(default_factory=WmsOptions)
    marketplace: MarketplaceOptions = field(default_factory=MarketplaceOptions)


class Working(Protocol):
    """A core that does things by itself."""

    def advance(self, now: int) -> list[dict[str, Any]]:
        """Do what is due; what there is to tell."""

    def next_due(self) -> int | None:
        """When there is something to do."""


class CutOff(Exception):
    """The reply was lost on the way, on purpose."""


class LostReply(JSONResponse):
    """A reply of which the client gets too little: to it, the connection broke."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": [(b"content-length", b"100000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise CutOff


class SandboxSystem:
    """One system: its files, its faults, its routes."""

    def __init__(self, name: str, directory: Path, seed: int) -> None:
        self.name = name
        self.store = SqliteStore(directory / f"{name}.sqlite")
        self.faults = Faults(Random(f"{seed}/faults/{name}"))  # noqa: S311 - a game, no secret
        self.core: Working | None = None
        self.outbox: Outbox | None = None
        self.state: Callable[[], dict[str, Any]] = dict
        self.routes = [
            Route("/control", self._control, methods=["GET", "POST"]),
            Route("/state", self._state),
            Route("/healthz", self._healthz),
        ]

    def emits(self, core: Working, source: str, write: Write | None = None) -> None:
        """Its core works by itself, and tells crossdock of it, or `write` instead."""
        self.core, self.outbox = core, Outbox(self.store, source, self.faults, write)

    def route(self, method: str, path: str, work: Callable[[Request, Any, int], HttpAnswer], *, is_raw: bool = False) -> None:
        """A call: `work` gets the request, its JSON (its bytes if `is_raw`) and the time; all it does is one transaction."""

        async def handle(request: Request) -> Response:
            settings = self.faults.settings
            await self.faults.slow()
            if self.faults.settings.down:
                return JSONResponse({"reason": f"The {self.name} is down."}, 503, {"Retry-After": "1"})
            body: Any = await request.body()
            if body and not is_raw:
                try:
                    body = msgspec.json.decode(body)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    return JSONResponse({"reason": f"The body is not JSON: {error}."}, 400)
            with self.store.transaction():
                answer = work(request, body, now_ms())
            kind = LostReply if self.faults.hits(settings.lose_reply) else JSONResponse
            return kind(answer.body, answer.status)

        self.routes.append(Route(path, handle, methods=[method]))

    def tick(self) -> None:
        """Do what is due."""
        if self.core is None or self.outbox is None or self.faults.settings.down:
            return
        now, due = now_ms(), self.core.next_due()
        if due is not None and due <= now:
            with self.store.transaction():
                self.outbox.add(self.core.advance(now))

    async def _control(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.faults.change(msgspec.json.decode(await request.body()))
            except BadFault as error:
                return JSONResponse({"reason": str(error)}, 422)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                return JSONResponse({"reason": f"The body is not JSON: {error}."}, 400)
        return JSONResponse(msgspec.to_builtins(self.faults.settings))

    async def _state(self, request: Request) -> Response:
        told = {} if self.outbox is None else {"outbox": self.outbox.state()}
        return JSONResponse(self.state() | told)

    async def _healthz(self, request: Request) -> Response:
        is_down = self.faults.settings.down
        return JSONResponse({"status": "down" if is_down else "up"}, 503 if is_down else 200)


def create(directory: Path, master: Master, options: Options) -> Starlette:
    """All systems as one application. Raises `infra.sandbox.store.FilesInUse`."""
    systems = [
        _erp(SandboxSystem("erp", directory, options.seed), master, options),
        _wms(SandboxSystem("wms", directory, options.seed), master, options),
        _crm(SandboxSystem("crm", directory, options.seed), options.crm_secret),
        _crm(SandboxSystem("portal", directory, options.seed), options.portal_secret),
        _marketplace(SandboxSystem("marketplace", directory, options.seed), options),
    ]
    address = {"crossdock": options.crossdock}

    async def control(request: Request) -> Response:
        if request.method == "POST":
            try:
                address["crossdock"] = msgspec.json.decode(await request.body(), type=dict[str, str])["crossdock"]
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
                return JSONResponse({"reason": 'Send {"crossdock": "http://127.0.0.1:8080"}: where crossdock listens.'}, 422)
        return JSONResponse(address)

    async def index(request: Request) -> Response:
        return JSONResponse({"systems": [f"/{system.name}" for system in systems], **address})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            outboxes = [system.outbox.run(client, lambda: address["crossdock"]) for system in systems if system.outbox]
            tasks = [asyncio.create_task(work) for work in (_tick(systems), *outboxes)]
            for task in tasks:
                task.add_done_callback(_ended)
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for system in systems:
            system.store.close()

    own = [Route("/", index), Route("/healthz", index), Route("/control", control, methods=["GET", "POST"])]
    return Starlette(routes=[*own, *(Mount(f"/{s.name}", routes=s.routes) for s in systems)], lifespan=lifespan)


def now_ms() -> int:
    """The clock of the service."""
    return time.time_ns() // 1_000_000


async def _tick(systems: list[SandboxSystem]) -> None:
    while True:
        for system in systems:
            system.tick()
        await asyncio.sleep(TICK_S)


def _ended(task: asyncio.Task[None]) -> None:
    """A service half of which has died is not a service."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("the sandbox ends: part of it failed", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


def _key(request: Request) -> str:
    """Percent-encoded, like any header that has to hold what a header cannot."""
    return unquote(request.headers.get("idempotency-key", ""))


def _erp(system: SandboxSystem, master: Master, options: Options) -> SandboxSystem:
    core = SandboxErp(system.store, master, options.seed, options.erp)
    system.state = core.state
    system.emits(core, "erp", options.erp_rows)

    def put(request: Request, body: Any, now: int) -> HttpAnswer:
        at = request.path_params
        return core.put_order(_key(request), at["channel"], at["external_ref"], body, now)

    def bill(request: Request, body: Any, now: int) -> HttpAnswer:
        return core.post_invoice(_key(request), request.path_params["order_no"], body, now)

    def credit(request: Request, body: Any, now: int) -> HttpAnswer:
        return core.post_credit(_key(request), request.path_params["order_no"], body, now)

    system.route("PUT", "/orders/{channel}/{external_ref:path}", put)
    system.route("POST", "/orders/{order_no:path}/invoices", bill)
    system.route("POST", "/orders/{order_no:path}/credits", credit)
    return system


def _wms(system: SandboxSystem, master: Master, options: Options) -> SandboxSystem:
    core = SandboxWms(system.store, master, options.seed, options.wms)
    with system.store.transaction():
        core.announce(now_ms())
    system.state = core.state
    system.emits(core, "wms")
    system.route("POST", "/releases", lambda request, body, now: core.release(_key(request), body, now))
    system.route("POST", "/withdrawals", lambda request, body, now: core.withdraw(_key(request), body))
    system.route("POST", "/counts", lambda request, body, now: core.count(_key(request), body, now))
    system.route("POST", "/receipts", lambda request, body, now: core.receive(body, now))
    return system


def _crm(system: SandboxSystem, secret: str) -> SandboxSystem:
    core = Crm(system.store, secret)
    system.state = core.state

    def notify(request: Request, body: bytes, now: int) -> HttpAnswer:
        return core.notify(_key(request), body, request.headers.get("x-crossdock-signature", ""), now)

    system.route("POST", "/notices", notify, is_raw=True)
    return system


def _marketplace(system: SandboxSystem, options: Options) -> SandboxSystem:
    core = Marketplace(system.store, options.seed, options.marketplace)
    system.state = core.state

    def page(request: Request, body: Any, now: int) -> HttpAnswer:
        query = request.query_params
        limit = query.get("limit", "50")
        if not (limit.isascii() and limit.isdigit()):
            return HttpAnswer(400, {"reason": f"limit {limit[:40]!r} is not a number."})
        return core.page(query.get("after", ""), int(limit), now)

    def cancel(request: Request, body: Any, now: int) -> HttpAnswer:
        reason = body.get("reason", "") if isinstance(body, dict) else ""
        return core.cancel(request.path_params["id"], str(reason), now)

    system.route("GET", "/orders", page)
    system.route("POST", "/orders", lambda request, body, now: core.place(body, now))
    system.route("POST", "/orders/{id}/cancel", cancel)
    return system
