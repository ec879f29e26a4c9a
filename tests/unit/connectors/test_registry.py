"""Push and check against a stand-in for Confluent's registry, by its documentation: ids are its own but in IMPORT mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from connectors.registry import mirror
from connectors.registry.client import RegistryClient, RegistryError
from schemas.catalog import COMPATIBILITY, CommittedSchema, catalog

URL = "http://reader:secret@registry:8081/contexts/.crossdock"
SOME = catalog()[:5]


class StandIn:
    """A registry's state, and its answers."""

    def __init__(self) -> None:
        self.held: dict[str, list[tuple[int, int, str]]] = {}
        self.modes: dict[str, str] = {}
        self.levels: dict[str, str] = {}
        self.next_id = 100
        self.takes_ids = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Any call."""
        if request.headers.get("Authorization") is None:
            return httpx.Response(401, json={"error_code": 401, "message": "Unauthorized"})
        path = [unquote(part) for part in request.url.path.split("/")[3:]]
        body = json.loads(request.content) if request.content else {}
        status, answer = self.answer(request.method, path, body)
        return httpx.Response(status, json=answer)

    def answer(self, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        """Status and body."""
        match method, path:
            case "GET", ["subjects"]:
                return 200, [f":.crossdock:{subject}" for subject in self.held]
            case "POST", ["subjects", subject]:
                found = [(n, v) for n, v, text in self.held.get(subject, []) if text == body["schema"]]
                return (
                    (200, {"id": found[0][0], "version": found[0][1]}) if found else (404, {"error_code": 40403, "message": "no"})
                )
            case "GET", ["schemas", "ids", number]:
                found_text = [text for rows in self.held.values() for n, _, text in rows if n == int(number)]
                return (200, {"schema": found_text[0]}) if found_text else (404, {"error_code": 40403, "message": "no"})
            case "POST", ["subjects", subject, "versions"]:
                return self.register(subject, body)
            case "DELETE", ["subjects", subject, "versions", _]:
                self.held.pop(subject, None)
                return 200, 1
            case (("PUT" | "DELETE"), ["mode", subject]):
                self.modes[subject] = body.get("mode", "READWRITE")
                return 200, body
            case "GET", ["config", subject] if subject not in self.levels:
                return 404, {"error_code": 40408, "message": "not configured"}
            case "GET", ["config", subject]:
                return 200, {"compatibilityLevel": self.levels[subject]}
            case "PUT", ["config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
        return 500, {"error_code": 50001, "message": f"{method} {path} was not expected"}

    def register(self, subject: str, body: Any) -> tuple[int, Any]:
        """The next version, under its own id or, in IMPORT mode only, the one given."""
        if "id" in body and self.modes.get(subject) != "IMPORT":
            return 422, {"error_code": 42205, "message": "not in import mode"}
        number = body.get("id") if self.takes_ids else None
        self.next_id += 1
        self.held.setdefault(subject, []).append((number or self.next_id, body.get("version", 1), body["schema"]))
        return 200, {"id": number or self.next_id}


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[RegistryClient]:
    with RegistryClient(URL, httpx.MockTransport(stand_in)) as client:
        yield client


def results(found: list[mirror.SchemaFinding]) -> list[str]:
    return [finding.result for finding in found]


def test_schemas_are_imported_under_our_ids_once(stand_in: StandIn, client: RegistryClient) -> None:
    assert results(mirror.push(client, SOME)) == ["new"] * 5
    assert {s: rows[0][0] for s, rows in stand_in.held.items()} == {schema.subject: schema.id for schema in SOME}
    assert set(stand_in.modes.values()) == {"READWRITE"}
    assert set(stand_in.levels.values()) == {COMPATIBILITY}
    assert results(mirror.push(client, SOME)) == ["same"] * 5
    assert results(mirror.check(client, SOME)) == ["same"] * 5


def test_a_dry_run_changes_nothing(stand_in: StandIn, client: RegistryClient) -> None:
    assert results(mirror.push(client, SOME, is_dry_run=True)) == ["new"] * 5
    assert (stand_in.held, stand_in.modes, stand_in.levels) == ({}, {}, {})


def test_a_registry_that_gives_other_ids_is_left_as_it_was(stand_in: StandIn, client: RegistryClient) -> None:
    stand_in.takes_ids = False
    with pytest.raises(RegistryError, match=f"the id 101, but our records carry {SOME[0].id}; it was withdrawn"):
        mirror.push(client, SOME)
    assert stand_in.held == {}


def test_what_is_no_avro_takes_an_id_too(stand_in: StandIn, client: RegistryClient) -> None:
    stand_in.held["proto"] = [(SOME[1].id, 1, "message M {}")]
    found = mirror.push(client, SOME)
    assert results(found) == ["new", "id taken", "new", "new", "new"]
    assert f"given id {SOME[1].id} to a schema" in found[1].says
    assert list(stand_in.held) == ["proto"]


def test_passwords_are_never_shown() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": "Unauthorized"})

    with RegistryClient(URL, httpx.MockTransport(refuse)) as client, pytest.raises(RegistryError) as refused:
        mirror.check(client, SOME)
    assert "secret" not in str(refused.value)
    assert "user and password" in str(refused.value)


def test_committed_schemas_have_each_id_once() -> None:
    numbers = [schema.id for schema in catalog()]
    assert numbers == sorted(set(numbers))
    assert all(isinstance(schema, CommittedSchema) and schema.parsed["namespace"] == "crossdock" for schema in catalog())
