"""How stale an answer may be: a header on everything that is read from views and tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.api.ports import Health
from connectors.texts import ID_PATTERN, MAX_PATH_ID

HEADER = "Crossdock-Stale-Ms"
_READ = "/v1/"
_SAID = {
    "description": "At most so many milliseconds ago the answer was the newest there was. 0 where the log is embedded; left out "
    "while it is not known.",
    "schema": {"type": "integer", "minimum": 0},
}


class Staleness:
    """ASGI middleware: the header on every answer to a GET below /v1."""

    def __init__(self, app: ASGIApp, *, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(_READ):
            await self._app(scope, receive, send)
            return
        stale_ms = self._health.stale_ms()  # before the answer is read: it is not older than that

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and stale_ms is not None:
                message["headers"] = [*message["headers"], (HEADER.lower().encode(), str(stale_ms).encode())]
            await send(message)

        await self._app(scope, receive, told)


def _say_what_is_needed(
    parameter: dict[str, Any], policies: Sequence[str], channels: Sequence[str], codes: Collection[str]
) -> None:
    if parameter["name"] == "idempotency-key":
        parameter["required"] = True  # the handler asks for it itself, to say what it is for
    if parameter["name"] == "policy":
        parameter["schema"] = {"type": "string", "enum": list(policies)}
    if parameter["name"] == "code":
        parameter["schema"] = {"type": "string", "enum": sorted(codes)}
    if channels and parameter["name"] == "channel" and parameter["in"] == "query":
        parameter["schema"] = {"type": "string", "enum": list(channels)}
        parameter["description"] = "As it is written in the settings; another one is refused."
    if parameter["name"] == "site":
        parameter["description"] = "One the ERP has sent; another one is refused."
    if parameter["in"] == "path" and parameter["schema"].get("type") == "string":
        parameter["schema"] |= {"minLength": 1, "maxLength": MAX_PATH_ID, "pattern": ID_PATTERN}


def document(app: FastAPI, policies: Sequence[str], channels: Sequence[str], codes: Collection[str]) -> None:
    """Have the OpenAPI document tell of the header, and of what types do not: a needed key, and the names there are.

    `channels`: none are not told. `codes`: of exceptions.
    """
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path, methods in made()["paths"].items():
                if path.startswith(_READ) and "get" in methods:
                    methods["get"]["responses"]["200"].setdefault("headers", {})[HEADER] = _SAID
                for parameter in (each for method in methods.values() for each in method.get("parameters", ())):
                    _say_what_is_needed(parameter, policies, channels, codes)
            asked: dict[str, Any] = app.openapi_schema or {}
            schemas = asked["components"]["schemas"]
            schemas["CalculateIn"]["properties"]["policy"] = {"type": "string", "enum": list(policies)}
            if channels:
                named = {"type": "string", "enum": list(channels)}
                schemas["ReserveIn"]["properties"]["channel"] = named
                schemas["CheckIn"]["properties"]["channel"] = {"anyOf": [named, {"type": "null"}]}
        assert app.openapi_schema is not None
        return app.openapi_schema

    setattr(app, "openapi", openapi)  # noqa: B010 - FastAPI's own way, which mypy does not let pass
