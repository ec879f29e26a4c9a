"""The live page's own routes: the page, its files, what it shows at first, and the demonstration's buttons."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from connectors.api.console import shapes
from connectors.api.console.ports import Console, Only
from connectors.api.console.stream import Viewers, numbers_of
from connectors.api.http import ExactRoute
from connectors.api.problems import Problem
from connectors.api.render import reply

CARDS = 12
ROWS = 12
EXCEPTIONS = 50
SAFE_HEADERS = {
    # The page runs its own scripts, from here, and nothing else; nobody may put it into a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES = {".woff2": "font/woff2", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def router(console: Console, viewers: Viewers) -> APIRouter:
    """The routes over their ports. None of them is part of the documented API."""
    routes = APIRouter(route_class=ExactRoute, include_in_schema=False)
    _page(routes, console)
    _reads(routes, console, viewers)
    _demo(routes, console)
    return routes


def _page(routes: APIRouter, console: Console) -> None:
    static = _static()
    version = hashlib.sha256(b"".join(body for _, body in sorted(static.values()))).hexdigest()[:12]
    html = _rendered(is_demo=console.demo is not None, version=version).encode()

    @routes.get("/")
    @routes.get("/console")
    @routes.get("/console/")
    def page() -> Response:
        return Response(html, media_type="text/html; charset=utf-8", headers={**SAFE_HEADERS, "Cache-Control": "no-cache"})

    @routes.get("/console/static/{name}")
    def file(name: str, v: str = "", if_none_match: Annotated[str, Header()] = "") -> Response:
        """One of the page's files. `v`: which content the page was made with, so that no browser shows an older one."""
        found = static.get(name)
        if found is None:
            raise Problem(404, f"The page has no file {name[:100]!r}.")
        headers = {**SAFE_HEADERS, "Cache-Control": "no-cache", "ETag": f'"{version}"'}
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(found[1], media_type=found[0], headers=headers)


def _rendered(*, is_demo: bool, version: str) -> str:
    environment = Environment(
        loader=PackageLoader("connectors.api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stages = [(name, title) for name, (title, _) in shapes.STAGES.items()]
    return environment.get_template("console.html").render(stages=stages, is_demo=is_demo, version=version)


def _static() -> Mapping[str, tuple[str, bytes]]:
    """The page's files by name: media type and content. They are few and small: all are kept."""
    found = {}
    for entry in (files("connectors.api.console") / "static").iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        media = _TYPES.get(suffix) or mimetypes.guess_type(entry.name)[0] or "text/plain"
        found[entry.name] = (media, entry.read_bytes())
    return found


def _reads(routes: APIRouter, console: Console, viewers: Viewers) -> None:
    live = console.live

    @routes.get("/console/start")
    def start() -> Response:
        """Everything the page shows at first, and the cursor from which changes go on."""
        cursor = live.cursor()
        board = {
            name: [shapes.card(row) for row in live.orders(statuses, CARDS)] for name, (_, statuses) in shapes.STAGES.items()
        }
        pulse = numbers_of(console)
        found = [shapes.exception(row) for row in live.exceptions(EXCEPTIONS)]
        return reply({"cursor": cursor, "board": board, "exceptions": found, "pulse": pulse})

    @routes.get("/console/exceptions")
    def exceptions() -> Response:
        """The open ones that matter most."""
        return reply({"exceptions": [shapes.exception(row) for row in live.exceptions(EXCEPTIONS)]})

    @routes.get("/console/items")
    def items(
        find: Annotated[str, Query(max_length=100)] = "",
        only: Only = "all",
        start: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = ROWS,
    ) -> Response:
        """A page of items."""
        return reply(shapes.items(live.items(find.strip(), only, start, limit)))

    @routes.get("/console/stream")
    async def stream(
        since: Annotated[str, Query(max_length=60)] = "", last_event_id: Annotated[str, Header(max_length=60)] = ""
    ) -> Response:
        """Server-sent events: `pulse`, `changes`, `refresh`."""
        if viewers.is_full:
            raise Problem(503, "As many live pages are open as can be served. Close some.")
        headers = {**SAFE_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(viewers.stream(last_event_id or since), media_type="text/event-stream", headers=headers)


def _demo(routes: APIRouter, console: Console) -> None:
    demo = console.demo
    if demo is None:
        return

    @routes.post("/console/demo/{name}")
    async def run(name: str, request: Request) -> Response:
        """Cause a fault, to see that nothing is lost by it."""
        own_page(request)
        said: dict[str, Any] = {"said": await demo.run(name), "actions": demo.actions()}
        return reply(said)


def own_page(request: Request) -> None:
    """Only the page itself may press its buttons: a header that other sites' pages cannot send."""
    if request.headers.get("x-crossdock-page") != "1":
        raise Problem(403, "This is for the live page's buttons: send the header X-Crossdock-Page: 1.")
