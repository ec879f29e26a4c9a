"""Our schemas under the read endpoints of Confluent's Schema Registry, below `/registry`.

Give `http://<api>/registry` as `schema.registry.url` to any Confluent deserializer (or kcat, AKHQ): it reads our topics
without a registry of its own. Subjects are record names (RecordNameStrategy). The schemas come with crossdock, so everything
that would change them is refused. Answers and errors have the registry's form, not that of our other routes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from connectors.api.http import ExactRoute, parse_json
from schemas.catalog import COMPATIBILITY, CommittedSchema, catalog

BASE = "/registry"
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
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
        text = document.get("schema") if isinstance(document, dict) else None
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

        return answer


def _by_id(routes: APIRouter, held: _Held) -> None:
    @routes.get("/schemas/ids/{number}")
    def schema(number: str, fetchMaxId: bool = False) -> Response:  # noqa: N803 - theirs
        highest = {"maxId": max(held.by_id)} if fetchMaxId else {}
        return _reply({"schema": held.one(number).text, **highest})

    @routes.get("/schemas/ids/{number}/schema")
    def text(number: str) -> Response:
        return _raw(held.one(number))

    @routes.get("/schemas/ids/{number}/subjects")
    def subjects(number: str) -> Response:
        return _reply([held.one(number).subject])

    @routes.get("/schemas/ids/{number}/versions")
    def versions(number: str) -> Response:
        found = held.one(number)
        return _reply([{"subject": found.subject, "version": found.version}])

    @routes.get("/schemas/types")
    def types() -> Response:
        return _reply(["AVRO"])

    @routes.get("/schemas")
    def schemas(subjectPrefix: str = "", latestOnly: bool = False, offset: int = 0, limit: int = -1) -> Response:  # noqa: N803 - theirs
        found = [s for s in held.by_id.values() if s.subject.startswith(subjectPrefix)]
        if latestOnly:
            found = [s for s in found if s is held.by_subject[s.subject][-1]]
        start = max(offset, 0)
        return _reply([_registered(s) for s in found[start : start + limit if limit >= 0 else None]])


def _by_subject(routes: APIRouter, held: _Held) -> None:
    @routes.get("/subjects")
    def subjects(subjectPrefix: str = "") -> Response:  # noqa: N803 - theirs
        return _reply(sorted(subject for subject in held.by_subject if subject.startswith(subjectPrefix)))

    @routes.post("/subjects/{subject}")
    async def look_up(subject: str, request: Request) -> Response:
        document = parse_json(await request.body())
        return _reply(_registered(held.same(subject, document)))

    @routes.get("/subjects/{subject}/versions")
    def versions(subject: str) -> Response:
        return _reply([schema.version for schema in held.versions(subject)])

    @routes.get("/subjects/{subject}/versions/{version}")
    def version(subject: str, version: str) -> Response:
        return _reply(_registered(held.version(subject, version)))

    @routes.get("/subjects/{subject}/versions/{version}/schema")
    def text(subject: str, version: str) -> Response:
        return _raw(held.version(subject, version))

    @routes.get("/subjects/{subject}/versions/{version}/referencedby")
    def referenced_by(subject: str, version: str) -> Response:
        held.version(subject, version)
        return _reply([])


def _settings(routes: APIRouter, held: _Held) -> None:
    @routes.get("")
    @routes.get("/")
    def root() -> Response:
        return _reply({})

    @routes.get("/config")
    def config() -> Response:
        return _reply({"compatibilityLevel": COMPATIBILITY})

    @routes.get("/config/{subject}")
    def config_of(subject: str) -> Response:
        held.versions(subject)
        return _reply({"compatibilityLevel": COMPATIBILITY})

    @routes.get("/mode")
    def mode() -> Response:
        return _reply({"mode": "READONLY"})

    @routes.get("/mode/{subject}")
    def mode_of(subject: str) -> Response:
        held.versions(subject)
        return _reply({"mode": "READONLY"})

    @routes.get("/contexts")
    def contexts() -> Response:
        return _reply(["."])

    @routes.get("/{rest:path}")
    def unknown(rest: str) -> Response:
        raise _Unknown(404, 404, f"{BASE}/{rest[:100]} is not served here: this is the reading part of a schema registry")

    @routes.api_route("/{rest:path}", methods=["POST", "PUT", "DELETE"])
    def read_only(rest: str) -> Response:
        raise _Unknown(422, 42205, f"{BASE}/{rest[:100]} cannot be changed: these schemas come with crossdock")


def _registered(schema: CommittedSchema) -> dict[str, Any]:
    return {"subject": schema.subject, "version": schema.version, "id": schema.id, "schema": schema.text}


def _raw(schema: CommittedSchema) -> Response:
    return Response(schema.text, 200, media_type=_MEDIA_TYPE)


def _reply(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=_MEDIA_TYPE)
