"""`crossdock topics --acls` and `--create`: what brokers that let nobody do what no ACL allows have to be told, and to hold."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.cli.options import roles_named
from streams.cli.output import UserError, as_json, out, table
from streams.engine.kafka.log import KafkaLog
from streams.runtime.kafka_acls import PARTIES, ClusterTopics, Party, Permission, cluster_of, commands
from streams.runtime.open_log import opened_log
from streams.settings.settings import Settings

PREFIX = "User:crossdock-"
_TOOL = 'kafka-acls.sh --bootstrap-server "$BROKERS" ${ADMIN:+--command-config "$ADMIN"}'
_HEAD = """\
# BROKERS: addresses of the brokers. ADMIN: a file with the client properties of a user who may alter ACLs, where that takes any.
set -eu"""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one user is to be allowed, and for which roles."""

    user: str
    roles: tuple[Party, ...]
    needs: tuple[Permission, ...]


def grants(cluster: ClusterTopics, roles: str | None, prefix: str, user: str | None) -> list[Grant]:
    """One user a role, named `prefix` and the role; or `user` alone, with all of the roles. Raises `UserError`."""
    wanted = roles_named(roles, PARTIES)
    if user is not None and roles is None:
        raise UserError(f"--principal needs --roles: which of {', '.join(PARTIES)} this user's processes have.")
    for name in (prefix, user):
        if name is not None and not (name.partition(":")[0].isalpha() and name.partition(":")[2]):
            raise UserError(f"{name!r} is not a principal: it begins with its type, like {PREFIX}fold.")
    if user is not None:
        return [Grant(user, wanted, tuple(cluster.needs(*wanted)))]
    return [Grant(f"{prefix}{role}", (role,), tuple(cluster.needs(role))) for role in wanted]


def show(found: Sequence[Grant], *, is_json: bool, as_commands: bool) -> None:
    """As a table, as data, or as a script."""
    if as_commands:
        print("\n".join([_HEAD, *_lines(found)]))
    elif is_json:
        as_json({"acls": [row for grant in found for row in _rows(grant)]})
    else:
        columns = ("user", "resource", "may", "names")
        out().print(table("What the brokers have to allow", columns, (row for grant in found for row in _grouped(grant))))


def _lines(found: Sequence[Grant]) -> Iterator[str]:
    for grant in found:
        yield f"\n# {', '.join(grant.roles)}"
        yield from (f"{_TOOL} {shlex.join(words)}" for words in commands(grant.user, grant.needs))


def _rows(grant: Grant) -> Iterator[dict[str, object]]:
    for need in grant.needs:
        yield {
            "principal": grant.user,
            "roles": grant.roles,
            "resource": need.resource,
            "name": need.name,
            "pattern": "prefixed" if need.is_prefix else "literal",
            "operations": need.operations,
        }


def _grouped(grant: Grant) -> Iterator[tuple[str, str, str, str]]:
    """Names of which the same may be done together: users are few, topics many."""
    found: dict[tuple[str, str], list[str]] = {}
    for need in grant.needs:
        found.setdefault((need.resource, ", ".join(need.operations)), []).append(f"{need.name}{'*' * need.is_prefix}")
    for (resource, may), names in found.items():
        yield grant.user, resource, may, ", ".join(names)


def create(settings: Settings) -> None:
    """Make all topics on Kafka, changelogs too: for the operator. Raises `UserError`, and `BadSettings` if it cannot be done."""
    if not settings.is_kafka:
        raise UserError("--create is for a log on Kafka: the embedded log makes its topics by itself.")
    cluster = cluster_of(settings)
    with (
        tempfile.TemporaryDirectory(prefix="crossdock-") as directory,
        opened_log(settings, may_create=True, directory=Path(directory)) as log,
    ):
        assert isinstance(log, KafkaLog)
        for group, names in cluster.groups().items():
            log.prepare(group, names)
    out().print(f"{len(cluster.topics) + len(cluster.groups())} topics are on {settings.brokers}, as declared.")
