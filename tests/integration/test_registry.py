"""Our schemas in a real registry (Apicurio): pushed under our ids, compared, held to, and read by Confluent's deserializer."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import given, settings
from typer.testing import CliRunner

from connectors.registry import mirror
from connectors.registry.client import RegistryClient, RegistryError
from schemas.catalog import COMPATIBILITY, CommittedSchema, catalog
from schemas.codec import Codec
from schemas.inventory import Atp
from schemas.topics import ATP
from streams.cli import app
from streams.cli.output import CommandFailed, UserError
from tests.support.any_events import instances
from tests.support.registry import plain, reader_of

pytestmark = pytest.mark.kafka
SCRIPTS = Path(__file__).parents[2] / "infra" / "registry"
RUNNER = CliRunner()
OURS = next(schema for schema in reversed(catalog()) if schema.subject == "crossdock.Atp")


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """The address of an empty registry."""
    directory = tempfile.mkdtemp(prefix="crossdock-registry-")
    try:
        started = subprocess.run([SCRIPTS / "start.sh", directory], capture_output=True, text=True, check=False, timeout=600)
        if started.returncode != 0:
            pytest.fail(f"no registry to test with: {started.stderr.strip()}", pytrace=False)
        yield started.stdout.strip()
    finally:
        subprocess.run([SCRIPTS / "stop.sh", directory], capture_output=True, check=False, timeout=60)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def pushed(registry: str) -> str:
    """The address of a registry that has our schemas."""
    if OURS.subject not in httpx.get(f"{registry}/subjects").json():
        assert crossdock("push", "--registry", registry)[1] is None
    return registry


def crossdock(*arguments: str) -> tuple[dict[str, Any], BaseException | None]:
    """What a command prints as JSON, and how it ends."""
    result = RUNNER.invoke(app, ["schemas", *arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, CommandFailed), result.exception
    return json.loads(result.stdout), result.exception


def changed(version: int, edit: dict[str, Any]) -> CommittedSchema:
    """The ATP's schema with one more field, as a version to come. Its id is not the one a registry would give next."""
    schema = OURS.parsed
    schema["fields"].append(edit)
    return replace(OURS, id=len(catalog()) + version, version=version, text=json.dumps(schema, separators=(",", ":")))


def test_push_twice_then_check(registry: str) -> None:
    """Each schema gets our id; a second push finds all there; check agrees with both."""
    before, error = crossdock("check", "--registry", registry)
    assert isinstance(error, CommandFailed)
    assert before["counts"] == {"new": len(catalog())}
    tried, error = crossdock("push", "--registry", registry, "--dry-run")
    assert (error, tried["counts"]) == (None, {"new": len(catalog())})
    assert httpx.get(f"{registry}/subjects").json() == []
    pushed, error = crossdock("push", "--registry", registry)
    assert (error, pushed["counts"]) == (None, {"new": len(catalog())})
    again, error = crossdock("push", "--registry", registry)
    assert (error, again["counts"]) == (None, {"same": len(catalog())})
    after, error = crossdock("check", "--registry", registry)
    assert (error, after["ok"], after["counts"]) == (None, True, {"same": len(catalog())})
    for schema in (catalog()[0], catalog()[-1]):
        assert json.loads(httpx.get(f"{registry}/schemas/ids/{schema.id}").json()["schema"]) == schema.parsed


def test_an_incompatible_change_is_refused_in_words_and_by_the_registry_itself(pushed: str) -> None:
    broken = changed(OURS.version + 1, {"name": "colour", "type": "string"})
    with RegistryClient(pushed) as client:
        for is_dry_run in (True, False):
            *rest, refused = mirror.push(client, [OURS, broken], is_dry_run=is_dry_run)
            assert {finding.result for finding in rest} == {"same"}
            assert refused.result == "refused"
            assert "colour: not written and without a default" in refused.says
        assert len(client.versions("crossdock.Atp")) == OURS.version
        with pytest.raises(RegistryError, match=r"answers POST .* with 409"):
            client.register(broken)  # as somebody without our command would
        good = changed(OURS.version + 1, {"name": "colour", "type": ["null", "string"], "default": None})
        *rest, registered = mirror.push(client, [OURS, good])
        assert registered.result == "new"
        assert mirror.is_same(client.schema_by_id(good.id), good.parsed)
        assert not mirror.is_same(client.schema_by_id(good.id), broken.parsed)
        assert [finding.result for finding in mirror.check(client, [OURS, good])] == ["same", "same"]


def test_ids_of_others_stop_a_push_before_it_changes_anything(pushed: str) -> None:
    """A registry with another's schema under our id, or ours under another, cannot serve our readers."""
    crossdock("push", "--registry", pushed)
    stranger = replace(OURS, subject="crossdock.Stranger", text='{"type":"record","name":"Stranger","fields":[]}')
    with RegistryClient(pushed) as client:
        (taken,) = mirror.push(client, [stranger])
        assert (taken.result, f"given id {OURS.id} to Atp" in taken.says) == ("id taken", True)
        (moved,) = mirror.push(client, [replace(OURS, id=OURS.id + 5_000)])
        assert moved.result == "other id"
        assert f"under {OURS.id}, our records carry {OURS.id + 5_000}" in moved.says
        assert client.versions("crossdock.Stranger") == []


def test_a_lax_subject_is_found_and_mended(pushed: str) -> None:
    httpx.put(f"{pushed}/config/crossdock.Atp", json={"compatibility": "NONE"}).raise_for_status()
    found, error = crossdock("check", "--registry", pushed)
    assert isinstance(error, CommandFailed)
    lax = [schema for schema in found["schemas"] if schema["result"] == "lax"]
    assert {schema["subject"] for schema in lax} == {"crossdock.Atp"}
    assert f"holds it to NONE, not {COMPATIBILITY}" in lax[0]["says"]
    crossdock("push", "--registry", pushed)
    assert crossdock("check", "--registry", pushed)[1] is None


def test_what_is_no_registry_is_told(registry: str) -> None:
    for url in (registry.removesuffix("/apis/ccompat/v7"), f"{registry}/subjects"):
        result = RUNNER.invoke(app, ["schemas", "check", "--registry", url])
        assert isinstance(result.exception, UserError)
        assert "Apicurio's is below /apis/ccompat/v7" in str(result.exception)


def test_records_of_a_real_topic_are_read_with_the_real_registry(pushed: str, broker: str) -> None:
    """Encoded by our codec, through a broker, read by Confluent's deserializer."""
    codec, events = Codec(), []

    @settings(max_examples=20, derandomize=True)
    @given(instances(Atp))
    def collect(event: Any) -> None:
        events.append(event)

    collect()
    topic = f"registry-test.{ATP.name}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    try:
        assert produced_and_read(broker, topic, [codec.encode(event) for event in events], pushed) == [plain(e) for e in events]
    finally:
        admin.delete_topics([topic])[topic].result(60)


def produced_and_read(broker: str, topic: str, records: list[bytes], registry: str) -> list[Any]:
    """The records, once they have been through the topic, as plain data."""
    producer = Producer({"bootstrap.servers": broker})
    for record in records:
        producer.produce(topic, record)
    assert producer.flush(60) == 0
    consumer = Consumer({"bootstrap.servers": broker, "group.id": topic, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(len(records), timeout=60)
        with reader_of(registry) as read:
            return [read(topic, message.value() or b"") for message in messages]
    finally:
        consumer.close()
