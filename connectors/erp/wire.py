"""Debezium's messages as Kafka Connect's JsonConverter writes them, with schemas or without. They never travel further."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.errors import BadMessage
from schemas.records import Headers

UNAVAILABLE = "__debezium_unavailable_value"
INCREMENTAL = "incremental"
OLD_KEY = "__debezium.oldkey"
POSTGRESQL = "postgresql"
HINT_JSON = "the connector's key, value and header converter must be org.apache.kafka.connect.json.JsonConverter"


class Source(BaseModel):
    """Where a change comes from. `sequence`: a JSON array of two LSNs in a string: the previous commit's, and `lsn` again."""

    model_config = ConfigDict(strict=True)

    table: str = ""
    connector: str = POSTGRESQL
    name: str = ""
    schema_: str | None = Field(None, alias="schema")
    snapshot: str | bool | None = None
    sequence: str | None = None
    lsn: int | None = Field(None, ge=0, lt=2**63)
    ts_ms: int = Field(ge=-(2**62), lt=2**62)

    @property
    def is_base(self) -> bool:
        """Whether a whole table is being read (not a part of it beside the stream, which is an incremental snapshot)."""
        return self.snapshot not in (None, False, "false", INCREMENTAL)

    def positions(self) -> tuple[int, int]:
        """(previous commit's LSN or 0, the change's own LSN). Raises `BadMessage` if there is no own LSN."""
        commit, own = _sequence(self.sequence)
        own = self.lsn if self.lsn is not None else own
        if own is None:
            raise BadMessage(
                f"source.lsn is null and source.sequence is {self.sequence!r}: the change has no position",
                hint="keep source.sequence in the records: an incremental snapshot has its position nowhere else",
            )
        return commit or 0, own


def _sequence(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    try:
        commit, own = json.loads(text)
        found = (None if commit is None else int(commit), None if own is None else int(own))
    except (ValueError, TypeError, RecursionError):
        found = (-1, -1)
    if any(part is not None and not 0 <= part < 2**63 for part in found):
        raise BadMessage(
            f"source.sequence {text[:80]!r} is not a JSON array of two log positions",
            hint="Debezium's PostgreSQL connector writes it; a transformation in between must leave it alone",
        )
    return found


class Payload(BaseModel):
    """A change envelope, a transaction's begin or end, a heartbeat: whatever fields are there."""

    model_config = ConfigDict(strict=True)

    op: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    source: Source | None = None
    status: Any = None
    id: Any = None
    ts_ms: Any = None


class ErpMessage(Payload):
    """A payload, or with `schemas.enable=true` a schema and a payload."""

    schema_: Any = Field(None, alias="schema")
    payload: Payload | None = None


@dataclass(frozen=True, slots=True)
class Logical:
    """What a Connect schema says of a field: its JSON type, its logical type's name, its parameters."""

    type: Any = None
    name: Any = None
    parameters: Any = None

    @property
    def scale(self) -> int | None:
        """The scale of `org.apache.kafka.connect.data.Decimal`, if this is one."""
        text = self.parameters.get("scale") if isinstance(self.parameters, dict) else None
        return int(text) if isinstance(text, str) and text.removeprefix("-").isdigit() and len(text) < 6 else None


Logicals = dict[str, Logical]
_OBJECT = TypeAdapter(dict[str, Any])


def parse_message(value: bytes) -> tuple[Payload | None, Logicals]:
    """A record's value, and what its schema says of the row's columns (nothing with schemas off).

    No payload under a schema is a tombstone. Raises `BadMessage`.
    """
    try:
        message = ErpMessage.model_validate_json(value)
    except ValidationError as error:
        raise _explained(error, "value") from None
    if message.payload is None:
        return (None if "payload" in message.model_fields_set else message), {}
    return message.payload, _logicals(message.schema_)


def parse_key(key: bytes) -> tuple[dict[str, Any], Logicals]:
    """A record's key, and what its schema says of it. Raises `BadMessage`."""
    try:
        found = _OBJECT.validate_json(key)
    except ValidationError as error:
        raise _explained(error, "key") from None
    if isinstance(found.get("payload"), dict) and set(found) <= {"schema", "payload"}:
        return found["payload"], _fields(found.get("schema"))
    return found, {}


def old_key(headers: Headers) -> dict[str, Any] | None:
    """The key a row had before its primary key was changed: the header Debezium puts on the row's new life."""
    for name, value in headers:
        if name == OLD_KEY:
            try:
                return parse_key(value)[0]
            except BadMessage:
                return None
    return None


def _explained(error: ValidationError, what: str) -> BadMessage:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join((what, *(str(part) for part in first["loc"])))
    return BadMessage(f"{where}: {first['msg']} (given {repr(first['input'])[:60]})", hint=HINT_JSON)


def _logicals(schema: Any) -> Logicals:
    """The columns of `after` (those of `before` are the same) in an envelope's schema."""
    fields = schema.get("fields") if isinstance(schema, dict) else None
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict) and field.get("field") == "after":
            return _fields(field)
    return {}


def _fields(schema: Any) -> Logicals:
    found: Logicals = {}
    fields = schema.get("fields") if isinstance(schema, dict) else None
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict) and isinstance(field.get("field"), str):
            found[field["field"]] = Logical(field.get("type"), field.get("name"), field.get("parameters"))
    return found
