"""Commands that check: verify, doctor, topics."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import typer

from connectors.texts import masked
from schemas.topics import Topic
from streams.cli import rights
from streams.cli.options import AsJson, Data, LogOption, roles_named, settings_for, settings_with
from streams.cli.output import CommandFailed, UserError, as_json, out, table
from streams.cli.session import Local, Remote, Session, ask, beside, read, running, session
from streams.engine.log import Unavailable
from streams.flows.groups import ROLES, Role, group_of, partitions_by_group
from streams.monitoring.machine import MB, Disk
from streams.runtime.app import all_flows
from streams.runtime.compiled_check import is_compiled
from streams.runtime.kafka_acls import cluster_of
from streams.runtime.open_log import all_topics, is_there, opened_log
from streams.runtime.policy_history import mixed
from streams.settings.settings import BadSettings, Settings

NEAR = 4
"""With so many times the room that is needed, doctor warns already."""
_DAY_MS = 86_400_000


def topics(
    is_json: AsJson = False,
    acls: Annotated[bool, typer.Option("--acls", help="Show what each role has to be allowed on Kafka instead.")] = False,
    commands: Annotated[bool, typer.Option("--commands", help="With --acls: print calls of kafka-acls.sh.")] = False,
    roles: Annotated[
        str | None, typer.Option(help="With --acls: of these only, like fold,translate.", show_default=False)
    ] = None,
    principal_prefix: Annotated[str, typer.Option(help="With --acls: a user for each role is named so.")] = rights.PREFIX,
    principal: Annotated[
        str | None, typer.Option(help="With --acls and --roles: one user has all of them.", show_default=False)
    ] = None,
    is_create: Annotated[bool, typer.Option("--create", help="Make them on Kafka, as a user who may.")] = False,
    log: LogOption = None,
) -> None:
    """Every topic: its key, what it carries, how it is kept, who writes it and who answers for it.

    crossdock topics --json

    crossdock topics --acls --commands | BROKERS=broker:9092 ADMIN=admin.properties sh

    crossdock topics --acls --roles fold,translate --principal User:worker

    crossdock topics --create --log kafka://broker:9092
    """
    settings = settings_with(None, log=log)
    if not acls and (commands or roles or principal or principal_prefix != rights.PREFIX):
        raise UserError("--commands, --roles, --principal and --principal-prefix go with --acls.")
    if acls and is_create:
        raise UserError("--acls shows and --create makes: one of them at a time.")
    if acls:
        found = rights.grants(cluster_of(settings), roles, principal_prefix, principal)
        rights.show(found, is_json=is_json, as_commands=commands)
        return
    if is_create:
        rights.create(settings)
        return
    rows = [_described(topic) for topic in all_topics(settings)]
    if is_json:
        as_json({"topics": rows})
        return
    columns = ("name", "key", "carries", "partitions", "cleanup", "writers", "owner", "sla_ms")
    out().print(table("Topics", columns, ([_text(row[c]) for c in columns] for row in rows), right=("partitions", "sla_ms")))


def _described(topic: Topic) -> dict[str, Any]:
    writers = {writer for carried in topic.carries for writer in carried.writers} | set(topic.writers)
    return {
        "name": topic.name,
        "key": topic.key,
        "carries": [carried.type.__name__ for carried in topic.carries] or ["as it comes"],
        "partitions": topic.partitions,
        "cleanup": topic.cleanup,
        "retention_days": None if topic.retention_ms is None else topic.retention_ms // _DAY_MS,
        "writers": sorted(writers),
        "owner": topic.owner,
        "sla_ms": topic.sla_ms,
    }


def _text(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


UNKNOWN_FIELDS = "fields nobody reads"
SETTING_NAMES = "names in settings"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `ok`, `warning` or `error`, and what was found or is to be done."""

    check: str
    result: str
    says: str


def doctor(
    is_json: AsJson = False,
    data: Data = None,
    roles: Annotated[
        str | None, typer.Option(help="On Kafka: look with the rights that processes of these roles need (default: all).")
    ] = None,
) -> None:
    """Look whether everything is in order: settings, directory, disk, topics, backlog, exceptions, packages. Not 0 if not.

    Only processes of role serve may read all that there is: for others, the brokers are all that is looked at.

    crossdock doctor
    crossdock doctor --roles fold,translate
    """
    findings = [replace(f, says=masked(f.says)) for f in _examined(data, frozenset(roles_named(roles, ROLES)))]
    is_bad = any(f.result == "error" for f in findings)
    if is_json:
        as_json({"ok": not is_bad, "checks": [asdict(f) for f in findings]})
    else:
        marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[bold red]error[/]"}
        console = out()
        made = table("", ("check", "found"), [])
        made.add_column("", no_wrap=True)
        for f in findings:
            made.add_row(f.check, f.says, marks[f.result])
        console.print(made)
    if is_bad:
        raise CommandFailed("Something needs attention: see above.")


def _examined(data: Any, roles: frozenset[Role]) -> Iterator[Check]:
    yield _packages()
    try:
        settings = settings_for(data)
    except BadSettings as error:
        yield Check("settings", "error", str(error))
        return
    if not settings.is_kafka and roles != frozenset(ROLES):
        yield Check("settings", "error", "--roles is for a log on Kafka: on the embedded log one process does all")
        return
    log = settings.log if settings.is_kafka else f"embedded:{settings.directory}"
    yield Check("settings", "ok", f"log {log}, API {settings.api}, channels {', '.join(settings.channels)}")
    yield _disk(settings)
    if not settings.is_kafka and not is_there(settings.directory) and running(settings.directory) is None:
        yield Check(
            "directory", "warning", f"there is no log in {settings.directory} yet: crossdock demo, run or ingest make one"
        )
        return
    if settings.is_kafka and "serve" not in roles:
        yield from _brokers(settings, roles, None)
        return
    try:
        with session(settings) as source:
            url = source.url if isinstance(source, Remote) else None
            held = f"held by the crossdock at {url}" if url else "opens; nobody holds it"
            told = mixed(settings.directory, settings.to_policies())
            yield Check("policy", "warning" if told else "ok", told or "the whole log was decided by the present settings")
            if settings.is_kafka:
                yield from _brokers(settings, roles, source)
            else:
                others = _open_to_others(settings)
                says = f"{settings.directory} {held}; topics are as declared{others}"
                yield Check("directory", "warning" if others else "ok", says)
            yield from _state(source)
    except (BadSettings, UserError, CommandFailed) as error:
        yield Check("brokers" if settings.is_kafka else "directory", "error", str(error))


def _brokers(settings: Settings, roles: frozenset[Role], source: Session | None) -> Iterator[Check]:
    """What is not in order with the topics these roles have to do with, and with their rights on them, one finding each."""
    rights = {need.name: need.operations for need in cluster_of(settings).needs(*roles) if need.resource == "topic"}
    changelogs = [
        Topic(f"{group}.changelog", "row", "engine", 1_000, (), max(at.partition for at in places) + 1, "compact")
        for group, places in partitions_by_group(all_flows(settings), group_of(is_kafka=True)).items()
    ]
    wanted = [topic for topic in [*all_topics(settings), *changelogs] if topic.name in rights]
    try:
        if isinstance(source, Local):
            found = source.app.log.findings(wanted, rights)
        else:
            with opened_log(settings, may_create=False, directory=beside(settings)) as log:
                found = log.findings(wanted, rights)
    except Unavailable as error:
        yield Check("brokers", "error", f"{error}.")
        return
    for says in found:
        yield Check("brokers", "error", says)
    if not found:
        yield Check("brokers", "ok", f"{len(wanted)} topics are as they have to be")


def _packages() -> Check:
    missing = []
    for line in importlib.metadata.requires("crossdock") or []:
        if "extra ==" in line:
            continue
        name = line.split(";")[0].split(">")[0].split("=")[0].split("[")[0].strip()
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        again = "In a clone, run infra/setup.sh; elsewhere, install crossdock's wheel again with pip"
        return Check("packages", "error", f"not installed: {', '.join(missing)}. {again}")
    rules = "the rules are compiled" if is_compiled() else "the rules run as plain Python (infra/compile.sh compiles them)"
    return Check("packages", "ok", f"Python {sys.version.split()[0]}, all packages installed; {rules}")


def _disk(settings: Settings) -> Check:
    place = settings.directory.absolute()
    while not place.exists():
        place = place.parent
    says, is_well = Disk(settings.directory, settings.disk.least_free_mb * MB).told()
    is_near = is_well and shutil.disk_usage(place).free < NEAR * settings.disk.least_free_mb * MB
    return Check("disk", "warning" if is_near else "ok" if is_well else "error", says)


def _clock(source: Session) -> Check:
    found = read(ask(source, "GET", "/v1/clock"))
    return Check("clock", "ok" if found["is_trusted"] else "error", found["says"])


def _threads(source: Session) -> Iterator[Check]:
    """What a running crossdock says of its threads; one that does not run has none."""
    if source.is_remote:
        found = source.request("GET", "/readyz").json()
        says = str(found.get("checks", {}).get("threads", "unknown"))
        yield Check("threads", "ok" if says == "all run" else "error", says)


def _open_to_others(settings: Settings) -> str:
    """What is to be said if others on this machine may look into the data."""
    place = settings.directory
    return f"; others on this machine may look into it: chmod 700 {place}" if place.stat().st_mode & 0o077 else ""


def _state(source: Session) -> Iterator[Check]:
    live = source.request("GET", "/healthz")
    says = (
        "running"
        if live.status_code == 200 and source.is_remote
        else "not running"
        if not source.is_remote
        else live.json()["detail"]
    )
    yield Check("workers", "ok" if live.status_code == 200 else "error", says)
    standing = read(ask(source, "GET", "/v1/operations"))
    yield from _standing(standing)
    yield _setting_names(standing["settings"])
    yield _unknown_fields(read(ask(source, "GET", "/v1/sources/unknown-fields"))["fields"])
    waiting = str(live.json().get("checks", {}).get("backlog", "unknown"))
    yield from _threads(source)
    yield _clock(source)
    yield Check("backlog", "ok" if waiting.startswith("0 ") else "warning", waiting)
    yield _endpoints(read(ask(source, "GET", "/v1/endpoints"))["endpoints"])
    found = read(ask(source, "GET", "/v1/exceptions", params={"limit": 1000}))["exceptions"]
    critical = [row for row in found if row["severity"] == "critical"]
    says = f"{len(found)} open, {len(critical)} of them critical" + (": crossdock exceptions" if found else "")
    yield Check("exceptions", "warning" if found else "ok", says)


def _standing(found: dict[str, Any]) -> Iterator[Check]:
    """What does not go on, and what has it go on again."""
    halted = [
        f"{row['flow']} stands at {row['record']} ({row['event']}): {row['reason']}. Set it aside: {row['exit']}"
        for row in found["halted"]
    ]
    yield Check("partitions", "error" if halted else "ok", "; ".join(halted) or "none stands")
    paused = [
        f"{row['source']} is read no further than {row['record']}: {row['reason']}. crossdock resume {row['source']}"
        for row in found["paused"]
    ]
    yield Check("sources", "error" if paused else "ok", "; ".join(paused) or f"none is paused; {_limits(found['limits'])}")
    if paused:
        yield Check("limits", "ok", _limits(found["limits"]))
    waiting = found["waiting"]
    oldest = ", ".join(f"{w['events']} for {w['name']} since {w['since']}" for w in waiting[:5])
    more = f", and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    says = f"{sum(w['events'] for w in waiting)} events wait: {oldest}{more}" if waiting else "no event waits for a reference"
    yield Check("waiting", "warning" if waiting else "ok", says)
    if old := found["unpublished"]:
        shown = ", ".join(f"{row['flow']} of {row['key']}" for row in old[:5])
        yield Check("published", "error", f"{len(old)} cannot be worked out, so what is published is old: {shown}")


def _setting_names(says: list[str]) -> Check:
    """Sites and items that settings name and the ERP has not sent."""
    return Check(SETTING_NAMES, "warning" if says else "ok", "; ".join(says) or "none that the ERP does not have")


def _unknown_fields(rows: list[dict[str, Any]]) -> Check:
    """Fields nobody reads. Those that are probably misspelt, and still come, say something that is lost: they are a warning."""
    if not rows:
        return Check(UNKNOWN_FIELDS, "ok", "none came")
    misspelt = [row for row in rows if row["is_warning"]]
    told = [_unknown_field(row) for row in (misspelt or rows)[:5]]
    others = len(rows) - len(told)
    more = f"; and {others} more: GET /v1/sources/unknown-fields" if others else ""
    return Check(UNKNOWN_FIELDS, "warning" if misspelt else "ok", "; ".join(told) + more)


def _unknown_field(row: dict[str, Any]) -> str:
    of = f" of {row['message']}" if row["message"] else ""
    says = f"{row['source']}: {row['field']}{of}, {row['count']:,} times, last at {row['last_at']} ({row['example']})"
    return f"{says}. {row['advice']}".rstrip(".")


def _limits(limits: dict[str, Any]) -> str:
    own = "".join(f"; {name} after {most:,}" for name, (most, _) in limits["sources"].items())
    return (
        f"a source is paused after {limits['dead_letters']:,} dead letters within {limits['window_s']:,} s, "
        f"if they are more than {float(limits['share']):.0%} of what came{own} ([limits] in crossdock.toml)"
    )


def _endpoints(rows: list[dict[str, Any]]) -> Check:
    away = [row for row in rows if row["circuit"] != "closed"]
    if away:
        says = "; ".join(f"{row['endpoint']} does not serve ({row['last_error']}), {row['waiting']} wait" for row in away)
        return Check("endpoints", "warning", says)
    waiting, given_up = (sum(row[name] for row in rows) for name in ("waiting", "exhausted"))
    says = f"{len(rows)} served, {waiting} obligations wait" + (f", {given_up} of them given up" if given_up else "")
    return Check("endpoints", "warning" if given_up else "ok", says)
