"""Our schemas under the read endpoints of Confluent's Schema Registry, below `/registry`.

Give `http://<api>/registry` as `schema.registry.url` to any Confluent deserializer (or kcat, AKHQ): it reads our topics
without a registry of its own. Subjects are record names (RecordNameStrategy). The schemas come with crossdock, so everything
that would change them is refused. Answers and errors have the registry's form, not that of our other routes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError

from connectors.api.http import ExactRoute, parse_json
from connectors.api.problems import Problem
from connectors.api.strict import REFUSES_ALL
from connectors.texts import unknown
from schemas.catalog import COMPATIBILITY, CommittedSchema, catalog

T = TypeVar("T")
BASE = "/registry"
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_RAW: dict[str, Any] = {"requestBody": {"content": {_MEDIA_TYPE: {}}}}
_HIGHEST_VERSION = 2**31 - 1


class _Unknown(Exception):
    """What was asked for is not there, or cannot be: HTTP status, the registry's error code, a sentence."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Held:
    """The committed schemas by id and by subject."""

    def __init__(self) -> None:
        self.by_id = {schema.id: schema for schema in catalog()}
        self.by_subject: dict[str, list[CommittedSchema]] = defaultdict(list)
        for schema in catalog():
            self.by_subject[schema.subject].append(schema)

    def one(self, number: str) -> CommittedSchema:
        """The schema of an id."""
        found = self.by_id.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 12 else None
        if found is None:
            raise _Unknown(404, 40403, f"Schema {number[:40]} not found: ids here go from 1 to {max(self.by_id)}")
        return found

    def versions(self, subject: str) -> list[CommittedSchema]:
        """The schemas of a subject, oldest first."""
        if subject not in self.by_subject:
            raise _Unknown(404, 40401, f"Subject '{subject[:100]}' not found: a subject is a record's full name")
        return self.by_subject[subject]

    def version(self, subject: str, version: str) -> CommittedSchema:
        """The schema of a version, `latest` or -1."""
        versions = self.versions(subject)
        if version in ("latest", "-1"):
            return versions[-1]
        if not (version.isascii() and version.isdigit() and len(version) < 12 and 0 < int(version) <= _HIGHEST_VERSION):
            raise _Unknown(422, 42202, f"The specified version '{version[:40]}' is not a valid version id")
        for schema in versions:
            if schema.version == int(version):
                return schema
        raise _Unknown(404, 40402, f"Version {version} not found")

    def same(self, subject: str, document: Any) -> CommittedSchema:
        """The schema of a subject that equals the one in a request."""
        text = _asked(document).get("schema")
        try:
            wanted = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            wanted = None
        if wanted is None:
            raise _Unknown(422, 42201, "Input schema is not an Avro schema in JSON")
        for schema in self.versions(subject):
            if schema.parsed == wanted:
                return schema
        raise _Unknown(404, 40403, "Schema not found")


_FIELDS = (
    "schema",
    "schemaType",
    "references",
    "metadata",
    "ruleSet",
    "version",
    "id",
    "guid",
    "schemaTags",
    "propagateSchemaTags",
)
"""Of a request that looks a schema up: what Confluent's clients send."""


def _asked(document: Any) -> dict[str, Any]:
    """A request that looks a schema up. Raises `_Unknown` for fields that no registry knows, and for what no schema here has."""
    found: dict[str, Any] = document if isinstance(document, dict) else {}
    for name in found:
        if name not in _FIELDS:
            raise _Unknown(422, 422, unknown("field", name, _FIELDS))
    if found.get("schemaType") not in (None, "AVRO"):
        raise _Unknown(422, 42201, "The schemas here are Avro: leave schemaType out, or send AVRO")
    if any(found.get(name) for name in ("references", "metadata", "ruleSet")):
        raise _Unknown(404, 40403, "Schema not found: no schema here has references, metadata or rules")
    return found


def _by_id_options(
    subject: str = "",
    format: str = "",
    reference_format: str = "",
    findTags: bool = False,  # noqa: N803 - theirs
) -> None:
    """What clients send with an id. Ids here are of one subject each, and the schemas refer to no others: they change nothing."""


def _deleted_options(
    deleted: bool = False,
    deleted_only: bool = False,
    deletedOnly: bool = False,  # noqa: N803 - theirs
    format: str = "",
) -> None:
    """Nothing here is ever deleted. Raises `_Unknown` where only what was deleted is asked for."""
    if deleted_only or deletedOnly:
        raise _Unknown(404, 40401, "Nothing here is ever deleted: leave deletedOnly out")


def _default_options(defaultToGlobal: bool = False) -> None:  # noqa: N803 - theirs
    """Every subject has the level and mode of all."""


def router() -> APIRouter:
    """The routes. They are documented by Confluent, so our OpenAPI document leaves them out."""
    routes = APIRouter(prefix=BASE, route_class=_RegistryRoute, include_in_schema=False)
    held = _Held()
    _by_id(routes, held)
    _by_subject(routes, held)
    _settings(routes, held)
    return routes


class _RegistryRoute(ExactRoute):
    """A route whose errors have the registry's form."""

    def get_route_handler(self) -> Any:
        """The handler FastAPI makes, with our errors turned into answers."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except _Unknown as error:
                return _reply({"error_code": error.code, "message": str(error)}, error.status)
            except Problem as error:
                return _reply({"error_code": error.status_code, "message": str(error.detail)}, error.status_code)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = "/".join(str(part) for part in first["loc"])
                return _reply({"error_code": 422, "message": f"{where}: {first['msg']}"}, 422)

        return answer


def _by_id(routes: APIRouter, held: _Held) -> None:
    @routes.get("/schemas/ids/{number}", dependencies=[Depends(_by_id_options)])
    def schema(number: str, fetchMaxId: bool = False) -> Response:  # noqa: N803 - theirs
        highest = {"maxId": max(held.by_id)} if fetchMaxId else {}
        return _reply({"schema": held.one(number).text, **highest})

    @routes.get("/schemas/ids/{number}/schema", dependencies=[Depends(_by_id_options)])
    def text(number: str) -> Response:
        return _raw(held.one(number))

    @routes.get("/schemas/ids/{number}/subjects", dependencies=[Depends(_deleted_options)])
    def subjects(number: str, offset: int = 0, limit: int = -1) -> Response:
        return _reply(_paged([held.one(number).subject], offset, limit))

    @routes.get("/schemas/ids/{number}/versions", dependencies=[Depends(_deleted_options)])
    def versions(number: str, offset: int = 0, limit: int = -1) -> Response:
        found = held.one(number)
        return _reply(_paged([{"subject": found.subject, "version": found.version}], offset, limit))

    @routes.get("/schemas/types")
    def types() -> Response:
        return _reply(["AVRO"])

    @routes.get("/schemas", dependencies=[Depends(_deleted_options)])
    def schemas(subjectPrefix: str = "", latestOnly: bool = False, offset: int = 0, limit: int = -1) -> Response:  # noqa: N803 - theirs
        found = [s for s in held.by_id.values() if s.subject.startswith(subjectPrefix)]
        if latestOnly:
            found = [s for s in found if s is held.by_subject[s.subject][-1]]
        return _reply([_registered(s) for s in _paged(found, offset, limit)])


def _by_subject(routes: APIRouter, held: _Held) -> None:
    @routes.get("/subjects", dependencies=[Depends(_deleted_options)])
    def subjects(subjectPrefix: str = "", offset: int = 0, limit: int = -1) -> Response:  # noqa: N803 - theirs
        found = sorted(subject for subject in held.by_subject if subject.startswith(subjectPrefix))
        return _reply(_paged(found, offset, limit))

    @routes.post("/subjects/{subject}", dependencies=[Depends(_deleted_options)], openapi_extra=_RAW)
    async def look_up(subject: str, request: Request, normalize: bool = False) -> Response:
        document = parse_json(await request.body())
        return _reply(_registered(held.same(subject, document)))

    @routes.get("/subjects/{subject}/versions", dependencies=[Depends(_deleted_options)])
    def versions(subject: str, offset: int = 0, limit: int = -1) -> Response:
        return _reply(_paged([schema.version for schema in held.versions(subject)], offset, limit))

    @routes.get("/subjects/{subject}/versions/{version}", dependencies=[Depends(_deleted_options)])
    def version(subject: str, version: str) -> Response:
        return _reply(_registered(held.version(subject, version)))

    @routes.get("/subjects/{subject}/versions/{version}/schema", dependencies=[Depends(_deleted_options)])
    def text(subject: str, version: str) -> Response:
        return _raw(held.version(subject, version))

    @routes.get("/subjects/{subject}/versions/{version}/referencedby", dependencies=[Depends(_deleted_options)])
    def referenced_by(subject: str, version: str, offset: int = 0, limit: int = -1) -> Response:
        held.version(subject, version)
        return _reply([])


def _settings(routes: APIRouter, held: _Held) -> None:
    @routes.get("")
    @routes.get("/")
    def root() -> Response:
        return _reply({})

    @routes.get("/config", dependencies=[Depends(_default_options)])
    def config() -> Response:
        return _reply({"compatibilityLevel": COMPATIBILITY})

    @routes.get("/config/{subject}", dependencies=[Depends(_default_options)])
    def config_of(subject: str) -> Response:
        held.versions(subject)
        return _reply({"compatibilityLevel": COMPATIBILITY})

    @routes.get("/mode", dependencies=[Depends(_default_options)])
    def mode() -> Response:
        return _reply({"mode": "READONLY"})

    @routes.get("/mode/{subject}", dependencies=[Depends(_default_options)])
    def mode_of(subject: str) -> Response:
        held.versions(subject)
        return _reply({"mode": "READONLY"})

    @routes.get("/contexts")
    def contexts(offset: int = 0, limit: int = -1) -> Response:
        return _reply(_paged(["."], offset, limit))

    @routes.get("/{rest:path}", openapi_extra={REFUSES_ALL: True})
    def unknown(rest: str) -> Response:
        raise _Unknown(404, 404, f"{BASE}/{rest[:100]} is not served here: this is the reading part of a schema registry")

    @routes.api_route("/{rest:path}", methods=["POST", "PUT", "DELETE"], openapi_extra={REFUSES_ALL: True})
    def read_only(rest: str) -> Response:
        raise _Unknown(422, 42205, f"{BASE}/{rest[:100]} cannot be changed: these schemas come with crossdock")


def _paged(rows: list[T], offset: int, limit: int) -> list[T]:
    """A page as Confluent's registry counts: a negative limit is none."""
    start = max(offset, 0)
    return rows[start : start + limit if limit >= 0 else None]


def _registered(schema: CommittedSchema) -> dict[str, Any]:
    return {"subject": schema.subject, "version": schema.version, "id": schema.id, "schema": schema.text}


def _raw(schema: CommittedSchema) -> Response:
    return Response(schema.text, 200, media_type=_MEDIA_TYPE)


def _reply(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=_MEDIA_TYPE)
