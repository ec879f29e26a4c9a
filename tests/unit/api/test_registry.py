"""Our schemas under a registry's read endpoints: Confluent's own client and deserializer over real HTTP, and each route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, topic_subject_name_strategy
from confluent_kafka.schema_registry.error import SchemaRegistryError
from hypothesis import given, settings

from connectors.api.app import create_api
from schemas.catalog import COMPATIBILITY, catalog
from schemas.codec import Codec
from schemas.golden import load_index
from schemas.inventory import Atp
from schemas.topics import ATP, ROUTES
from tests.support.any_events import TYPES, instances
from tests.support.api_fakes import Client, Fake, ports
from tests.support.registry import client_of, plain, reader_of, served

CODEC = Codec()
ATP_IDS = [int(number) for number, entry in load_index().items() if entry["name"] == "Atp"]
ATP_ID, NEWEST = ATP_IDS[-1], len(ATP_IDS)


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(create_api(ports(Fake()))) as url:
        yield f"{url}/registry"


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(create_api(ports(Fake())))


def test_every_event_of_every_topic_is_read_by_confluents_deserializer(registry: str) -> None:
    """Encoded by our codec, read with nothing but the address of the registry."""
    with reader_of(registry) as read:
        for cls in TYPES:

            @settings(max_examples=3, derandomize=True)
            @given(instances(cls))
            def check(event: Any) -> None:
                assert read(ROUTES[type(event)].topic.name, CODEC.encode(event)) == plain(event)

            check()


@pytest.mark.parametrize(
    "conf", [{"subject_name_strategy": topic_subject_name_strategy}, {"use_latest_version": True}], ids=["by topic", "latest"]
)
def test_other_ways_to_set_a_deserializer_up(registry: str, conf: dict[str, Any]) -> None:
    """A reader needs the id only; one that resolves to the latest version finds it under the record's name."""

    with reader_of(registry, **conf) as read:

        @settings(max_examples=1, derandomize=True)
        @given(instances(Atp))
        def check(event: Any) -> None:
            assert read(ATP.name, CODEC.encode(event)) == plain(event)

        check()


def test_confluents_client_finds_its_way(registry: str) -> None:
    with client_of(registry) as client:
        subjects = client.get_subjects()
        assert subjects == sorted({schema.subject for schema in catalog()})
        assert len(subjects) >= 60
        assert client.get_versions("crossdock.Atp")[0] == 1
        latest = client.get_latest_version("crossdock.Atp")
        assert (latest.subject, latest.schema_id) == ("crossdock.Atp", ATP_ID)
        assert latest.schema is not None
        assert client.lookup_schema("crossdock.Atp", Schema(str(latest.schema.schema_str), "AVRO")).schema_id == ATP_ID
        assert client.get_compatibility("crossdock.Atp") == COMPATIBILITY
        with pytest.raises(SchemaRegistryError, match="cannot be changed: these schemas come with crossdock"):
            client.register_schema("crossdock.Atp", Schema('"string"', "AVRO"))
        with pytest.raises(SchemaRegistryError, match="Schema 9999 not found") as refused:
            client.get_schema(9999)
    assert (refused.value.http_status_code, refused.value.error_code) == (404, 40403)


ATP_TEXT = next(schema.text for schema in catalog() if schema.id == ATP_ID)
ATP_FOUND = {"subject": "crossdock.Atp", "version": NEWEST, "id": ATP_ID, "schema": ATP_TEXT}
ANSWERS = {
    "": {},
    "/": {},
    f"/schemas/ids/{ATP_ID}": {"schema": ATP_TEXT},
    f"/schemas/ids/{ATP_ID}?subject=atp.v1-value": {"schema": ATP_TEXT},
    f"/schemas/ids/{ATP_ID}?fetchMaxId=true": {"schema": ATP_TEXT, "maxId": max(schema.id for schema in catalog())},
    f"/schemas/ids/{ATP_ID}/schema": json.loads(ATP_TEXT),
    f"/schemas/ids/{ATP_ID}/subjects": ["crossdock.Atp"],
    f"/schemas/ids/{ATP_ID}/versions": [{"subject": "crossdock.Atp", "version": NEWEST}],
    "/schemas?subjectPrefix=crossdock.Atp&latestOnly=true": [ATP_FOUND],
    f"/schemas?offset={ATP_ID - 1}&limit=1": [ATP_FOUND],
    "/schemas/types": ["AVRO"],
    "/subjects?subjectPrefix=crossdock.Atp": ["crossdock.Atp"],
    "/subjects/crossdock.Atp/versions": list(range(1, NEWEST + 1)),
    f"/subjects/crossdock.Atp/versions/{NEWEST}": ATP_FOUND,
    "/subjects/crossdock.Atp/versions/-1": ATP_FOUND,
    "/subjects/crossdock.Atp/versions/latest/schema": json.loads(ATP_TEXT),
    "/subjects/crossdock.Atp/versions/1/referencedby": [],
    "/config": {"compatibilityLevel": COMPATIBILITY},
    "/config/crossdock.Atp": {"compatibilityLevel": COMPATIBILITY},
    "/mode": {"mode": "READONLY"},
    "/mode/crossdock.Atp": {"mode": "READONLY"},
    "/contexts": ["."],
}


@pytest.mark.parametrize(("path", "expected"), ANSWERS.items(), ids=list(ANSWERS))
def test_each_route_answers_in_the_registrys_form(client: Client, path: str, expected: Any) -> None:
    response = client.get(f"/registry{path}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert response.json() == expected


REFUSALS = {
    ("GET", "/schemas/ids/9999"): (404, 40403, ""),
    ("GET", "/schemas/ids/none"): (404, 40403, ""),
    ("GET", "/subjects/none/versions"): (404, 40401, ""),
    ("GET", "/subjects/crossdock.Atp/versions/99"): (404, 40402, ""),
    ("GET", "/subjects/crossdock.Atp/versions/first"): (422, 42202, ""),
    ("GET", "/config/none"): (404, 40401, ""),
    ("GET", "/exporters"): (404, 404, ""),
    ("POST", "/subjects/crossdock.Atp"): (404, 40403, '{"schema": "\\"string\\""}'),
    ("POST", "/subjects/none"): (404, 40401, '{"schema": "\\"string\\""}'),
    ("POST", "/subjects/crossdock.Item"): (422, 42201, '{"schema": "{"}'),
    ("POST", "/subjects/crossdock.Order"): (422, 42201, "[1]"),
    ("POST", "/subjects/crossdock.Atp/versions"): (422, 42205, '{"schema": "\\"string\\""}'),
    ("PUT", "/config"): (422, 42205, '{"compatibility": "NONE"}'),
    ("DELETE", "/subjects/crossdock.Atp"): (422, 42205, ""),
}


@pytest.mark.parametrize(("call", "expected"), REFUSALS.items(), ids=lambda part: " ".join(map(str, part))[:60])
def test_refusals_have_the_registrys_form_and_a_sentence(
    client: Client, call: tuple[str, str], expected: tuple[int, int, str]
) -> None:
    status, code, sent = expected
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"} if sent else {}
    response = client.request(call[0], f"/registry{call[1]}", content=sent.encode() if sent else None, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert response.json()["error_code"] == code
    assert len(response.json()["message"]) > 10
