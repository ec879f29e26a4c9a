"""infra/compose.yaml runs what the scripts run: the same versions, files, users and topics. There is no Docker to try it with."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from connectors.erp.columns import TABLES
from connectors.erp.topics import raw_topic
from infra.erp.database import TABLES as FILLED
from streams.settings.settings import load

ROOT = Path(__file__).parents[3]
INFRA = ROOT / "infra"
SERVICES: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
CONNECTOR: dict[str, str] = json.loads((INFRA / "debezium" / "erp.json").read_text())["config"]
VARIABLE = re.compile(r"\$\{env:(\w+)\}")


def text(path: str) -> str:
    return (INFRA / path).read_text()


def properties(source: str) -> dict[str, str]:
    lines = (line for line in source.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def version_in(pom: str, artifact: str) -> str:
    space = "{http://maven.apache.org/POM/4.0.0}"
    for dependency in ElementTree.fromstring(text(pom)).iter(f"{space}dependency"):
        if dependency.findtext(f"{space}artifactId") == artifact:
            return dependency.findtext(f"{space}version") or ""
    raise KeyError(artifact)


def mounted(service: str) -> dict[str, str]:
    """Files of ours in a container: path there -> path here."""
    found = {}
    for volume in SERVICES[service]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("."):
            found[target] = source
    return found


def test_versions_are_the_poms() -> None:
    broker = version_in("kafka/pom.xml", "kafka_2.13")
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{broker}"
    assert version_in("debezium/pom.xml", "connect-runtime") == broker
    registry = version_in("registry/pom.xml", "apicurio-registry-app")
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{registry}"


def test_every_image_is_pinned_or_built_here() -> None:
    built = {service["image"] for service in SERVICES.values() if "build" in service and "image" in service}
    for name, service in SERVICES.items():
        image = service.get("image")
        assert "build" in service or image in built or re.search(r":\d+(\.\d+)+$", image), name


def test_the_broker_has_the_settings_of_the_script() -> None:
    """What decides how topics and transactions behave. Timing that suits tests is the script's own."""
    given = {name: value for name, value in SERVICES["kafka"]["environment"].items() if name.startswith("KAFKA_")}
    ours = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in given.items()}
    script = properties(text("kafka/start.sh"))
    places = {name for name in ours if "listener" in name or name in ("node.id", "log.dirs", "controller.quorum.voters")}
    assert set(ours) <= set(script)
    for name in set(ours) - places:
        assert script[name].replace("$copies", "1").replace("$enough", "1") == ours[name], name
    assert ours["auto.create.topics.enable"] == "false"


def test_the_database_is_made_of_the_scripts_files() -> None:
    files = mounted("erp")
    assert files["/docker-entrypoint-initdb.d/schema.sql"] == "./erp/schema.sql"
    assert files["/etc/postgresql/postgresql.conf"] == "./erp/postgresql.conf"
    assert all((INFRA / path).is_file() for path in files.values())
    assert "config_file=/etc/postgresql/postgresql.conf" in SERVICES["erp"]["command"]
    environment = SERVICES["erp"]["environment"]
    user, password, database = (environment[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
    assert f"postgresql://{user}:{password}@127.0.0.1:$port/{database}" in text("erp/start.sh")
    for service in ("seed", "people"):
        assert f"postgresql://{user}:{password}@erp:5432/{database}" in SERVICES[service]["entrypoint"]
    for option in ("--encoding=UTF8", "--locale=C"):
        assert option in environment["POSTGRES_INITDB_ARGS"]
        assert option in text("erp/start.sh")


def test_connect_is_told_what_its_files_ask_for() -> None:
    """One configuration of worker and connector, filled in by the environment, here and in the script."""
    asked = set(VARIABLE.findall(text("debezium/worker.properties") + json.dumps(CONNECTOR)))
    given = SERVICES["connect"]["environment"]
    assert set(given) == asked
    script = text("debezium/start.sh")
    assert all(f"{name}=" in script for name in asked)
    assert (given["ERP_USER"], given["ERP_PASSWORD"]) == ("cdc_reader", "cdc_reader")
    assert "ERP_USER=cdc_reader ERP_PASSWORD=cdc_reader" in script
    assert "CREATE ROLE cdc_reader LOGIN REPLICATION PASSWORD 'cdc_reader'" in text("erp/schema.sql")
    image = text("debezium/Dockerfile")
    for file in ("worker.properties", "erp.json", "pom.xml"):
        assert file in image
        assert (INFRA / "debezium" / file).is_file()
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    assert main in image
    assert main in script


def test_connect_makes_no_topics() -> None:
    worker = properties(text("debezium/worker.properties"))
    assert worker["topic.creation.enable"] == "false"
    assert "crossdock" in SERVICES["connect"]["depends_on"]


@pytest.mark.parametrize(
    "topic",
    [
        *(f"erp.public.{table}" for table in (*TABLES, "debezium_signal", "debezium_heartbeat", "itemised", "my_item")),
        "erp.transaction",
        "__debezium-heartbeat.erp",
    ],
)
def test_the_connector_routes_as_ingest_does(topic: str) -> None:
    name = topic
    for step in CONNECTOR["transforms"].split(","):
        pattern = re.compile(CONNECTOR[f"transforms.{step}.regex"])
        if pattern.fullmatch(name):
            name = pattern.sub(CONNECTOR[f"transforms.{step}.replacement"].replace("$", "\\"), name, count=1)
    assert name == raw_topic(topic).name


def test_the_connector_reads_every_table_that_is_published() -> None:
    schema = text("erp/schema.sql")
    published = schema.partition("CREATE PUBLICATION erp_cdc FOR TABLE")[2].partition(";")[0]
    tables = {table.strip() for table in published.split(",")}
    assert {f"public.{table}" for table in tables} == set(CONNECTOR["table.include.list"].split(","))
    assert tables - {"debezium_signal", "debezium_heartbeat"} == set(TABLES) == set(FILLED)
    columns = {name: set(re.findall(r"^  (\w+) +\w+.*", body, re.MULTILINE)) for name, body in created(schema).items()}
    for name, table in TABLES.items():
        own = {column.name for column in table.columns.values() if not column.is_optional}  # others' ERPs have more
        assert own == columns[name] - {"PRIMARY"}, name


def created(schema: str) -> dict[str, str]:
    return dict(re.findall(r"CREATE TABLE (\w+) \(\n(.*?)\n\);", schema, re.DOTALL))


def test_crossdock_is_told_where_the_others_are() -> None:
    crossdock = SERVICES["crossdock"]
    environment = crossdock["environment"]
    settings = load(**{name.removeprefix("CROSSDOCK_").lower(): value for name, value in environment.items()})
    assert settings.log == "kafka://kafka:9092"
    assert "PLAINTEXT://kafka:9092" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert SERVICES["connect"]["environment"]["KAFKA"] == "kafka:9092"
    assert str(settings.data) in {volume.split(":")[1] for volume in crossdock["volumes"]}
    assert SERVICES["door"]["network_mode"] == "service:crossdock"
    assert SERVICES["door"]["command"].endswith(f"TCP:{settings.api}")
    inside = {port.rpartition(":")[2] for port in crossdock["ports"]}
    assert all(f"TCP-LISTEN:{port}," in SERVICES["door"]["command"] for port in inside)
    assert f":{settings.api_port}/" in crossdock["healthcheck"]["test"]
    assert str(settings.data) in text("Dockerfile").split()


def test_nothing_listens_to_the_outside_and_no_two_on_one_port() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_what_the_image_is_made_of_is_there() -> None:
    image = text("Dockerfile")
    for line in re.findall(r"^COPY --chown=crossdock (.+)$", image, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = re.search(r"^FROM python:(\d+)\.(\d+)", image, re.MULTILINE)
    least = re.search(r">=(\d+)\.(\d+)", project["requires-python"])
    assert base is not None
    assert least is not None
    assert tuple(map(int, base.groups())) >= tuple(map(int, least.groups()))
    assert {"schemas", "tables", "connectors", "streams", "infra"} <= set(
        re.findall(r"^COPY --chown=crossdock (\w+) ", image, re.MULTILINE)
    )
    assert "crossdock" in project["scripts"]


def test_what_waits_waits_for_somebody_who_can_say() -> None:
    """A condition on a service's health needs a check of it."""
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)
