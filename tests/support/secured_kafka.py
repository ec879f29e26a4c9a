"""A broker that lets users in by password or certificate, to do what `streams.runtime.kafka_acls` declares and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from streams.engine.kafka.log import KafkaSettings
from streams.runtime.kafka_acls import PARTIES, Party, Permission
from tests.support.kafka_broker import SCRIPTS

Way = Literal["scram", "mtls"]
PREFIX = "crossdock-"
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Alter": AclOperation.ALTER,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


@dataclass(frozen=True, slots=True)
class Secured:
    """`clients`: librdkafka's properties by user and way in."""

    administrator: str
    clients: dict[str, dict[Way, dict[str, str]]]

    def allow(self, party: Party, needs: Iterable[Permission]) -> None:
        """As the administrator."""
        admin = AdminClient({"bootstrap.servers": self.administrator})
        for future in admin.create_acls(_bindings(f"User:{PREFIX}{party}", needs)).values():
            future.result(60)

    def settings(self, party: Party, way: Way, **more: str) -> KafkaSettings:
        """What a process with this user is told; `more`: further properties, with _ for the dots."""
        clients = self.clients[f"{PREFIX}{party}"][way] | {name.replace("_", "."): value for name, value in more.items()}
        return KafkaSettings(clients.pop("bootstrap.servers"), clients, heartbeat_ms=200, request_s=60.0)


@contextmanager
def secured_broker() -> Iterator[Secured]:
    """A broker with a user for each party, who may do nothing yet."""
    directory = Path(tempfile.mkdtemp(prefix="crossdock-kafka-"))
    users = ",".join(f"{PREFIX}{party}" for party in PARTIES)
    try:
        start = [str(SCRIPTS / "start.sh"), "--secure", users, str(directory)]
        started = subprocess.run(start, capture_output=True, text=True, check=False, timeout=600)
        if started.returncode != 0:
            pytest.fail(f"no broker to test with: {started.stderr.strip()}", pytrace=False)
        yield Secured(started.stdout.strip(), json.loads((directory / "security" / "clients.json").read_text()))
    finally:
        subprocess.run([SCRIPTS / "stop.sh", directory], capture_output=True, check=False, timeout=60)
        shutil.rmtree(directory, ignore_errors=True)


def _bindings(principal: str, needs: Iterable[Permission]) -> list[AclBinding]:
    return [
        AclBinding(
            _RESOURCES[need.resource],
            need.name,
            ResourcePatternType.PREFIXED if need.is_prefix else ResourcePatternType.LITERAL,
            principal,
            "*",
            _OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for need in needs
        for operation in need.operations
    ]
