"""Nothing a request says is passed over in silence: what a route does not know, it refuses and says what was probably meant.

`StrictRoute` is the class of every route: it knows the query parameters and the body its function declares.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.types import Scope

from connectors.api.problems import Problem
from connectors.texts import MAX_PATH_ID, is_id, unknown

_NOTHING = frozenset({b"", b"{}", b"null"})
REFUSES_ALL = "x-refuses-all"
"""In a route's `openapi_extra`: it only says that something is not there, or cannot be, whatever else is asked."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route that refuses query parameters, bodies and path parts it does not understand."""

    def get_route_handler(self) -> Handler:
        """The handler FastAPI makes, behind our checks."""
        handler = super().get_route_handler()
        known = frozenset(query_names(self))
        extra = self.openapi_extra or {}
        takes_body = self.body_field is not None or "requestBody" in extra
        refuses_all = REFUSES_ALL in extra

        async def strict(request: Request) -> Response:
            request.scope["path_params"] = _decoded(request.scope["path_params"])
            if not refuses_all:
                check_query(request.query_params, known)
            if not refuses_all and not takes_body and _has_body(request) and (await request.body()).strip() not in _NOTHING:
                raise Problem(422, "body: This request takes no body: leave it out. See /docs for what each request takes.")
            return await handler(request)

        return strict


def query_names(route: APIRoute) -> list[str]:
    """The query parameters a route declares, those of its dependencies included."""
    return [field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)]


def check_query(params: QueryParams, known: frozenset[str]) -> None:
    """Raises `Problem` 422 for a query parameter there is not, and for one that is there twice."""
    for name in params:
        if name not in known:
            raise Problem(422, f"query/{name[:60]}: {unknown('query parameter', name, known)}")
        if len(params.getlist(name)) > 1:
            raise Problem(422, f"query/{name}: The query parameter {name!r} is there more than once. Give it once.")


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _decoded(params: dict[str, Any]) -> dict[str, Any]:
    """Path parameters as they were meant. Raises `Problem` 422 for one that no id can be."""
    found = {name: unquote(value) if isinstance(value, str) else value for name, value in params.items()}
    for name, value in found.items():
        if isinstance(value, str) and value and not is_id(value, MAX_PATH_ID):
            why = f"is longer than {MAX_PATH_ID:,} characters" if len(value) > MAX_PATH_ID else "has characters no id has"
            raise Problem(422, f"path/{name}: {value[:60]!r} {why}. Check it; percent-encode it as UTF-8.")
    return found


def keep_encoded(scope: Scope) -> None:
    """Have a request's path keep `/` and `%` encoded where they are part of an id, so that `web:K1%2Ftrace` is one part.

    A server decodes the path as a whole, after which the order `K1/trace` is the route `trace` of the order `K1`. `StrictRoute`
    decodes the parts. A `/` that was not encoded still is one. Raises `Problem` 400 for what is not UTF-8.
    """
    raw = scope.get("raw_path")
    if not raw or b"%" not in raw:
        return
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw.split(b"/")]
    except UnicodeDecodeError:
        raise Problem(400, "The path is not UTF-8. Percent-encode ids as UTF-8.") from None
    scope["path"] = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
