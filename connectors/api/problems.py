"""Every error is RFC 9457 problem+json with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from connectors.api.ports import Busy, Invalid, KeyReused, NotKnown, TooMany, Unsigned
from connectors.api.render import plain

MEDIA_TYPE = "application/problem+json"
UNKNOWN_FIELD = "unknown_field"  # the type of a validation error whose context has the field's `name`
_HINTS = {
    404: "See /docs for the paths there are.",
    405: "See /docs for the methods of this path.",
    500: "This is a defect of crossdock; its log has the details.",
}


class Problem(HTTPException):
    """An answer other than the wished one. An HTTP exception, because FastAPI lets only those through while it reads a body."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The response for a problem."""
    title = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **plain(more)}
    return Response(orjson.dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI, away: Sequence[type[Exception]] = ()) -> None:
    """Have every error of the application, the framework and the validators answered as a problem. `away`: see `Ports`."""
    for kind in away:
        app.add_exception_handler(kind, _away)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(TooMany, _too_many)
    app.add_exception_handler(KeyReused, _key_reused)
    app.add_exception_handler(NotKnown, _not_known)
    app.add_exception_handler(Invalid, _invalid)
    app.add_exception_handler(Unsigned, _unsigned)
    app.add_exception_handler(Exception, _defect)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem(error.status_code, str(error.detail), {"Retry-After": "1"} if error.status_code == 503 else None)


def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    hint = _HINTS.get(error.status_code, "")
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return problem(error.status_code, f"{error.detail}. {hint}".strip(), headers)


def _methods(request: Request) -> list[str]:
    """All that a path allows: its methods have a route each, and the router names those of the first."""
    found: set[str] = set()
    for context in iter_route_contexts(request.app.routes):
        if context.methods and context.path_regex.match(request.scope["path"]):
            found |= context.methods
    return sorted(found)


def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"at": _at(e), "reason": e["msg"].removeprefix("Value error, ")} for e in error.errors()]
    first = errors[0]
    rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(422, f"{first['at']}: {first['reason']}{rest}", errors=errors[:50])


def _at(error: Any) -> str:
    """Where it is: `query/limit`, `body/lines/0/qty`. Long names are cut: whoever sent them may have sent a megabyte."""
    names = [error["ctx"]["name"]] if error["type"] == UNKNOWN_FIELD else []
    return "/".join(str(part)[:60] for part in [*error["loc"], *names])


def _busy(_: Request, error: Exception) -> Response:
    assert isinstance(error, Busy)
    return problem(504 if error.is_timeout else 503, f"{error.reason}. {error.hint}", {"Retry-After": "1"})


def _too_many(_: Request, error: Exception) -> Response:
    assert isinstance(error, TooMany)
    return problem(429, f"{error.reason}. {error.hint}.", {"Retry-After": str(error.wait_s)})


def _away(_: Request, error: Exception) -> Response:
    return problem(503, f"It cannot be answered now: {error}. Try again in a moment; /readyz says when.", {"Retry-After": "1"})


def _key_reused(_: Request, error: Exception) -> Response:
    return problem(422, f"{error}. Use a new Idempotency-Key for another request.")


def _not_known(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, Invalid)
    return problem(409 if error.is_conflict else 422, f"{error.reason}. {error.hint}".strip() if error.hint else error.reason)


def _unsigned(_: Request, error: Exception) -> Response:
    return problem(401, str(error), {"WWW-Authenticate": "Signature"})


def _defect(_: Request, error: Exception) -> Response:
    return problem(500, f"{type(error).__name__} while answering. {_HINTS[500]}")
