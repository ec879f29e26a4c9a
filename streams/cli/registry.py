"""Commands about a schema registry: schemas push, schemas check."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from connectors.registry import mirror
from connectors.registry.client import RegistryClient, RegistryError
from connectors.registry.mirror import SchemaFinding
from schemas.catalog import COMPATIBILITY, catalog
from streams.cli.options import AsJson
from streams.cli.output import CommandFailed, UserError, as_json, out, progress, table

Url = Annotated[
    str,
    typer.Option(
        "--registry",
        "-r",
        envvar="SCHEMA_REGISTRY_URL",
        help="A registry's Confluent API, with user:password@ before its host if it wants them.",
    ),
]

schemas = typer.Typer(
    help="Our Avro schemas in a schema registry, under our records' ids. Without one, our API's /registry serves readers.",
    no_args_is_help=True,
)


@schemas.command()
def push(
    registry: Url,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    is_json: AsJson = False,
) -> None:
    """Register every schema the registry lacks. Doing it twice changes nothing. Not 0 if one is refused or cannot have its id.

    crossdock schemas push --registry http://localhost:8081
    crossdock schemas push --registry http://localhost:8081/contexts/.crossdock --dry-run
    crossdock schemas push --registry http://localhost:8080/apis/ccompat/v7
    """
    steps = 2 * len(catalog()) + len({schema.subject for schema in catalog()})
    bar, task = progress("registering", steps, is_quiet=is_json)
    with bar:
        try:
            with RegistryClient(registry) as client:
                found = mirror.push(client, is_dry_run=is_dry_run, progress=lambda: bar.advance(task))
                name = client.name
        except RegistryError as error:
            raise _failed(error) from None
    failed = [finding for finding in found if finding.result not in ("new", "same")]
    if is_json:
        _print_json(name, found, is_ok=not failed)
    else:
        counts = Counter(finding.result for finding in found)
        is_done = not is_dry_run and not any(finding.result in ("other id", "id taken") for finding in failed)
        _print(
            failed if failed else [finding for finding in found if finding.result == "new"], "Not registered" if failed else "New"
        )
        out().print(
            f"{name}: {counts['same']} were there, {counts['new']} {'registered' if is_done else 'would be registered'}, "
            f"{len(failed)} could not be; held to {COMPATIBILITY}",
            soft_wrap=True,
            highlight=False,
        )
    if failed:
        raise CommandFailed(f"{len(failed)} schemas cannot be registered: see above.")


@schemas.command()
def check(registry: Url, is_json: AsJson = False) -> None:
    """Compare a registry with our schemas: each there, under its id, held to its compatibility. Not 0 if not. Changes nothing.

    crossdock schemas check --registry http://localhost:8081 --json
    """
    bar, task = progress("comparing", len(catalog()), is_quiet=is_json)
    with bar:
        try:
            with RegistryClient(registry) as client:
                found = mirror.check(client, progress=lambda: bar.advance(task))
                name = client.name
        except RegistryError as error:
            raise _failed(error) from None
    wrong = [finding for finding in found if finding.result != "same"]
    if is_json:
        _print_json(name, found, is_ok=not wrong)
    else:
        _print(wrong, "Not as it has to be")
        out().print(f"{name}: {len(found) - len(wrong)} of {len(found)} schemas are there under our ids", soft_wrap=True)
    if wrong:
        raise CommandFailed(f"{len(wrong)} schemas are not as they have to be: see above.")


def _failed(error: RegistryError) -> UserError | CommandFailed:
    return UserError(str(error)) if error.is_mistake else CommandFailed(str(error))


def _print(found: list[SchemaFinding], title: str) -> None:
    if found:
        rows = [(f.id, f.subject, f.version, f.result, f.says) for f in found]
        out().print(table(title, ("id", "subject", "version", "result", "why"), rows, right=("id", "version")))


def _print_json(name: str, found: list[SchemaFinding], *, is_ok: bool) -> None:
    counts = Counter(finding.result for finding in found)
    as_json({"ok": is_ok, "registry": name, "counts": dict(counts), "schemas": [asdict(finding) for finding in found]})
