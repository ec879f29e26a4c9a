"""Brings our schemas to a registry under our ids, and says how what it holds differs from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

from connectors.registry.client import RegistryClient, RegistryError
from schemas.catalog import COMPATIBILITY, CommittedSchema, catalog
from schemas.golden import cannot_read

Result = Literal["new", "same", "refused", "other id", "id taken", "lax"]
"""`new`: not there, or now registered. `same`: there, under our id. `refused`: the registry finds it incompatible.
`other id`: there under another id. `id taken`: another schema has its id. `lax`: the registry does not hold its subject to
`COMPATIBILITY`."""

_OWN = "This registry does not serve our records: use an empty one, a context of its own (Confluent), or our API's /registry."
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SchemaFinding:
    """What is the case with one schema; `says` is a sentence wherever something is to be done."""

    id: int
    subject: str
    version: int
    result: Result
    says: str = ""


Progress = Callable[[], None]


def check(
    registry: RegistryClient, schemas: Sequence[CommittedSchema] = catalog(), progress: Progress = lambda: None
) -> list[SchemaFinding]:
    """Compare a registry with our schemas. Changes nothing. Raises `RegistryError`."""
    subjects = registry.subjects()
    found = []
    levels: dict[str, str | None] = {}
    for schema in schemas:
        finding = _looked_up(registry, schema, subjects)
        if finding.result == "same":
            if schema.subject not in levels:
                levels[schema.subject] = registry.compatibility(schema.subject)
            level = levels[schema.subject]
            if level != COMPATIBILITY:
                says = f"the registry holds it to {level or 'its default'}, not {COMPATIBILITY}: crossdock schemas push sets it"
                finding = replace(finding, result="lax", says=says)
        elif finding.result == "new":
            finding = replace(finding, says="the registry does not have it: crossdock schemas push brings it there")
        found.append(finding)
        progress()
    return found


def push(
    registry: RegistryClient,
    schemas: Sequence[CommittedSchema] = catalog(),
    *,
    is_dry_run: bool = False,
    progress: Progress = lambda: None,
) -> list[SchemaFinding]:
    """Register what a registry lacks, oldest first, and have it hold every subject to `COMPATIBILITY`.

    Nothing is registered if an id is another's, or a schema has another id: then no reader could use this registry. A refused
    schema, and what follows it in its subject, is left out; the others are registered. Raises `RegistryError`.
    """
    subjects = registry.subjects()
    found = []
    for schema in schemas:
        found.append(_looked_up(registry, schema, subjects))
        progress()
    is_usable = not any(finding.result in ("other id", "id taken") for finding in found)
    if is_usable and not is_dry_run:
        for subject in dict.fromkeys(schema.subject for schema in schemas):
            if subject not in subjects or registry.compatibility(subject) != COMPATIBILITY:
                registry.demand_compatibility(subject)
            progress()
    judged = _judged(registry, schemas, found, subjects)
    if is_usable and not is_dry_run:
        new = [schema for schema, finding in zip(schemas, judged, strict=True) if finding.result == "new"]
        registry.reserve(new)
        for schema in new:
            _register(registry, schema)
            progress()
    return judged


def _looked_up(registry: RegistryClient, schema: CommittedSchema, subjects: frozenset[str]) -> SchemaFinding:
    finding = SchemaFinding(schema.id, schema.subject, schema.version, "new")
    held_as = registry.id_of(schema) if schema.subject in subjects else None
    if held_as == schema.id:
        return replace(finding, result="same")
    if held_as is not None:
        says = f"the registry holds it under {held_as}, our records carry {schema.id}. {_OWN}"
        return replace(finding, result="other id", says=says)
    other = registry.schema_by_id(schema.id)
    if other is not None and not is_same(other, schema.parsed):
        name = other.get("name", "a schema") if isinstance(other, dict) else "a schema"
        return replace(finding, result="id taken", says=f"the registry has given id {schema.id} to {name}. {_OWN}")
    return finding


def is_same(one: Any, other: Any) -> bool:
    """Whether two schemas are one to Avro: a registry may leave out what says nothing, like a namespace said before."""
    try:
        return to_parsing_canonical_form(one) == to_parsing_canonical_form(other)
    except (SchemaParseException, UnknownType, TypeError, LookupError, ValueError):
        return False


def _judged(
    registry: RegistryClient, schemas: Sequence[CommittedSchema], found: Sequence[SchemaFinding], subjects: frozenset[str]
) -> list[SchemaFinding]:
    """The findings, with the verdict on each schema that is new to a subject that is not."""
    judged: list[SchemaFinding] = []
    refused: set[str] = set()
    for schema, finding in zip(schemas, found, strict=True):
        says = ""
        if finding.result == "new" and schema.subject in refused:
            says = "an earlier version of its subject was refused"
        elif finding.result == "new" and schema.subject in subjects:
            says = _refusal(registry, schema)
        if says:
            refused.add(schema.subject)
        judged.append(replace(finding, result="refused", says=says) if says else finding)
    return judged


def _refusal(registry: RegistryClient, schema: CommittedSchema) -> str:
    """Why a schema may not follow those of its subject; empty if it may."""
    verdict = registry.verdict(schema)
    # Our reasons name the fields, a registry's often do not; and one that holds nothing to anything yet finds no fault.
    reasons = _reasons(registry, schema) or verdict.reasons
    if verdict.is_compatible and not reasons:
        return ""
    more = f" (and {len(reasons) - _SHOWN} more)" if len(reasons) > _SHOWN else ""
    return f"incompatible with what the registry holds: {'; '.join(reasons[:_SHOWN]) or 'it does not say why'}{more}"


def _reasons(registry: RegistryClient, schema: CommittedSchema) -> tuple[str, ...]:
    now = schema.parsed
    found = []
    for number, old in enumerate(registry.versions(schema.subject), 1):
        found += [f"version {number} cannot be read with it ({why})" for why in cannot_read(now, old)]
        found += [f"it cannot be read with version {number} ({why})" for why in cannot_read(old, now)]
    return tuple(found)


def _register(registry: RegistryClient, schema: CommittedSchema) -> None:
    given = registry.register(schema)
    if given != schema.id:
        registry.withdraw(schema)
        raise RegistryError(
            f"The registry gave {schema.subject} the id {given}, but our records carry {schema.id}; it was withdrawn. {_OWN}"
        )
