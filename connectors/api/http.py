"""Below the routes: JSON read exactly, bodies bounded, strangers kept out, latency measured."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.api.problems import Problem, problem
from connectors.api.strict import StrictRoute, keep_encoded

HEAD_LIMIT = 32_768
BODY_LIMIT = 1_000_000
INGEST_LIMIT = 8_000_000
DRAIN_LIMIT = 64_000_000
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_DOCUMENTATION = ("/docs", "/openapi.json", "/static-offline-docs/")  # the routes that are not ours: see `StrictRoute`
_UNCOUNTED = frozenset({"/healthz", "/readyz", "/console/stream"})  # the last has a bound of its own
MOST_REQUESTS = 160
_OWN = frozenset({"same-origin", "none"})


def parse_json(body: bytes, *, is_foreign: bool = False) -> Any:
    """JSON with numbers exact (`int`, `Decimal`). Raises `Problem` 400 for anything else, saying where.

    A name that is there twice in an object is refused: one of its values would be dropped. `is_foreign`: that is not ours to say.
    """
    pairs = None if is_foreign else _each_once
    try:
        return json.loads(body.decode(), parse_float=_number, parse_constant=_no_number, object_pairs_hook=pairs)
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8: byte {error.start} is {body[error.start]:#04x}. Send UTF-8.") from None
    except json.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply. Documents here are a few levels deep.") from None
    except ValueError as error:
        raise Problem(400, f"The body is not JSON: {str(error)[:200]}.") from None


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if abs(value.adjusted()) > 400:
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} is there twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


class _ExactRequest(Request):
    async def json(self) -> Any:
        return parse_json(await self.body())


class ExactRoute(StrictRoute):
    """A route whose JSON body keeps its numbers as they were written."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler FastAPI makes, given our request."""
        handler = super().get_route_handler()

        async def exact(request: Request) -> Response:
            if self.body_field is not None:
                media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
                if has_body and media != "application/json" and not media.endswith("+json"):
                    raise Problem(415, f"The body's type is {media or 'not given'}. Send Content-Type: application/json.")
            return await handler(_ExactRequest(request.scope, request.receive))

        return exact


class _TooLarge(Exception):
    pass


class Guard:
    """Refuses bodies over their bound, other hosts' names and other sites' pages; measures every request.

    Without authentication the browser of somebody on this machine must not become a way in: a foreign `Host` (DNS
    rebinding) and a foreign `Origin` on anything that writes are refused.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: tuple[str, ...], registry: CollectorRegistry, most_requests: int = MOST_REQUESTS
    ) -> None:
        self._app = app
        self._most_requests = most_requests
        self._answering = 0
        self._hosts = frozenset(hosts)
        self._seconds = Histogram(
            "crossdock_http_request_seconds",
            "Time to answer an HTTP request",
            ["method", "route", "status"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        method = scope["method"] if scope["method"] in _METHODS else "other"  # whoever invents one makes no series of its own

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        is_counted = scope["path"] not in _UNCOUNTED
        self._answering += is_counted
        try:
            if is_counted and self._answering > self._most_requests:
                await _too_many(scope, receive, sending)
            else:
                await self._answer(scope, receive, sending)
        finally:
            self._answering -= is_counted
            route = getattr(scope.get("route"), "path", "none")
            self._seconds.labels(method, route, str(status)).observe(time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_LIMIT:
            refusal = problem(431, f"The request's headers are longer than {HEAD_LIMIT:,} bytes. Leave some out.")
            await refusal(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._stranger(scope["method"], headers)
        try:
            keep_encoded(scope)
        except Problem as error:
            refused = refused or problem(error.status_code, str(error.detail))
        if refused is None and scope["query_string"] and scope["path"].startswith(_DOCUMENTATION):
            refused = problem(422, "query: The documentation takes no query parameters: leave them out.")
        if refused is not None:
            await refused(scope, receive, send)
            return
        limit = INGEST_LIMIT if scope["path"].startswith("/v1/ingest/") else BODY_LIMIT
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > limit:
            await _drain(receive)
            await _too_large(limit)(scope, receive, send)
            return
        await self._bounded(scope, receive, send, limit)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        seen, has_started = 0, False

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                await _drain(receive, message)
                raise _TooLarge
            return message

        async def sending(message: Message) -> None:
            nonlocal has_started
            if not (seen > limit and not has_started):  # whatever the framework makes of our exception is replaced below
                has_started = True
                await send(message)

        with contextlib.suppress(_TooLarge):
            await self._app(scope, bounded, sending)
        if seen > limit and not has_started:
            await _too_large(limit)(scope, receive, send)

    def _stranger(self, method: str, headers: dict[str, str]) -> Response | None:
        host = _name(headers.get("host", ""))
        if host not in self._hosts:
            return problem(421, f"This server does not answer to the host name {host[:100]!r}. Use 127.0.0.1 or localhost.")
        origin = headers.get("origin")
        if method not in _SAFE and origin is not None and _name(origin) not in self._hosts:
            return problem(403, f"Pages of {origin[:100]!r} may not change anything here.")
        # A page of another port of this machine has an origin of the right name; browsers say that it is not ours.
        if method not in _SAFE and headers.get("sec-fetch-site", "none") not in _OWN:
            return problem(403, "Pages of other sites, or of other ports of this machine, may not change anything here.")
        return None


def _name(host: str) -> str:
    try:
        return (urlsplit(host if "//" in host else f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


_too_many = problem(503, "As many requests are being answered as can be. Try again in a moment.", {"Retry-After": "1"})


def _too_large(limit: int) -> Response:
    return problem(413, f"The body is larger than {limit:,} bytes. Send it in parts.")


async def _drain(receive: Receive, message: Message | None = None) -> None:
    """Read on, bounded, so that a client still sending gets to read the answer."""
    size = 0
    while (message is None or message.get("more_body", False)) and size <= DRAIN_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
