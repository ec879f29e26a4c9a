"""Events to bytes and back: Avro in Confluent wire format (a zero byte, the schema's id in four bytes, the datum).

Schemas are derived from the dataclasses; each is committed as a golden file under `avro/`, with its id in `avro/index.json`.
A record written under an older golden schema is read with it and resolved to today's. `python -m schemas.golden` keeps
the files.
"""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import types
import typing
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import fastavro

from schemas.errors import BadMessage
from schemas.topics import DEFINED

AVRO = Path(__file__).parent / "avro"
NAMESPACE = "crossdock"
_HEADER = struct.Struct(">bI")
_PRIMITIVES: dict[Any, Any] = {
    str: "string",
    int: "long",
    bool: "boolean",
    bytes: "bytes",
    date: {"type": "int", "logicalType": "date"},
    Decimal: {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9},
}


def schema_of(cls: type[Any]) -> dict[str, Any]:
    """The Avro schema of an event type, derived from its fields."""
    schema = _record(cls, set())
    assert isinstance(schema, dict)
    return schema


def _record(cls: type[Any], seen: set[str]) -> Any:
    if cls.__name__ in seen:
        return f"{NAMESPACE}.{cls.__name__}"
    seen.add(cls.__name__)
    hints = typing.get_type_hints(cls)
    fields = []
    for f in dataclasses.fields(cls):
        spec: dict[str, Any] = {"name": f.name, "type": _type(hints[f.name], seen)}
        if isinstance(spec["type"], list):
            spec["default"] = None
        elif f.default is not dataclasses.MISSING:
            spec["default"] = f.default
        fields.append(spec)
    doc = " ".join((cls.__doc__ or "").split())
    return {"type": "record", "name": cls.__name__, "namespace": NAMESPACE, "doc": doc, "fields": fields}


def _type(hint: Any, seen: set[str]) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = [a for a in args if a is not types.NoneType]
        return ["null", _scalar(inner)]
    if origin is list:
        is_record = isinstance(args[0], type) and dataclasses.is_dataclass(args[0])
        return {"type": "array", "items": _record(args[0], seen) if is_record else _plain(args[0])}
    if origin is dict and args[0] is str:
        return {"type": "map", "values": _plain(args[1])}
    return _scalar(hint)


def _scalar(hint: Any) -> Any:
    return "string" if isinstance(hint, type) and issubclass(hint, StrEnum) else _plain(hint)


def _plain(hint: Any) -> Any:
    """The Avro type of a value that needs no rebuilding. Raises `TypeError` for one that would come back as another type."""
    if hint in _PRIMITIVES:
        return _PRIMITIVES[hint]
    raise TypeError(f"no Avro type for {hint!r}: add it to schemas.codec")


def _nested(hint: Any) -> tuple[str, Any] | None:
    """How a field's value is rebuilt after Avro: as a list of records, as an enum, or not at all."""
    args = [a for a in typing.get_args(hint) if a is not types.NoneType]
    if typing.get_origin(hint) is list and dataclasses.is_dataclass(args[0]):
        return "list", args[0]
    inner = args[0] if typing.get_origin(hint) in (types.UnionType, typing.Union) else hint
    if isinstance(inner, type) and issubclass(inner, StrEnum):
        return "enum", inner
    return None


@cache
def _to_avro(cls: Any) -> Callable[[Any], dict[str, Any]]:
    """A function from an event to the dict fastavro writes, compiled once a type: this is the hot path."""
    hints = typing.get_type_hints(cls)
    names: dict[str, Any] = {}
    parts = []
    for f in dataclasses.fields(cls):
        nested = _nested(hints[f.name])
        if nested and nested[0] == "list":
            names[f"_{f.name}"] = _to_avro(nested[1])
            parts.append(f"{f.name!r}: [_{f.name}(x) for x in e.{f.name}]")
        else:
            parts.append(f"{f.name!r}: e.{f.name}")
    function: Callable[[Any], dict[str, Any]] = eval(f"lambda e: {{{', '.join(parts)}}}", names)  # noqa: S307 - our own field names
    return function


@cache
def _from_avro(cls: Any) -> Callable[[dict[str, Any]], Any]:
    hints = typing.get_type_hints(cls)
    rebuilt = {f.name: n for f in dataclasses.fields(cls) if (n := _nested(hints[f.name]))}
    if not rebuilt:
        return lambda d: cls(**d)
    steps: list[tuple[str, Callable[[Any], Any]]] = []
    for name, (kind, inner) in rebuilt.items():
        steps.append((name, _list_of(_from_avro(inner)) if kind == "list" else inner))

    def build(d: dict[str, Any]) -> Any:
        for name, step in steps:
            if d[name] is not None:
                d[name] = step(d[name])
        return cls(**d)

    return build


def _list_of(build: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    return lambda rows: [build(row) for row in rows]


@dataclasses.dataclass(frozen=True, slots=True)
class _Writer:
    head: bytes
    schema: Any
    to_avro: Callable[[Any], dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    writer_schema: Any
    reader_schema: Any
    build: Callable[[dict[str, Any]], Any]


class Codec:
    """Encodes and decodes every type a topic carries. Build one a process: it parses all golden schemas."""

    def __init__(self) -> None:
        index: dict[str, dict[str, Any]] = json.loads((AVRO / "index.json").read_text())
        current = {c.type.__name__: c.type for topic in DEFINED for c in topic.carries}
        newest: dict[str, int] = {}
        for number, entry in index.items():
            newest[entry["name"]] = max(newest.get(entry["name"], 0), int(number))
        self._writers: dict[type[Any], _Writer] = {}
        self._readers: dict[int, _Reader] = {}
        for number, entry in index.items():
            cls = current.get(entry["name"])
            if cls is None:
                continue
            schema = fastavro.parse_schema(json.loads((AVRO / entry["file"]).read_text()))
            is_newest = newest[entry["name"]] == int(number)
            today = None if is_newest else fastavro.parse_schema(schema_of(cls))
            self._readers[int(number)] = _Reader(schema, today, _from_avro(typing.cast(Any, cls)))
            if is_newest:
                self._writers[cls] = _Writer(_HEADER.pack(0, int(number)), schema, _to_avro(typing.cast(Any, cls)))

    def encode(self, event: Any) -> bytes:
        """The event in Confluent wire format.

        Raises `TypeError` for a type no topic carries, `ValueError` for a field Avro cannot hold as declared (an integer of
        more than 64 bits, a decimal of more than 29 digits before the point or 9 after it).
        """
        writer = self._writers.get(type(event))
        if writer is None:
            raise TypeError(f"{type(event).__name__} has no golden schema: add it to a topic, then run python -m schemas.golden")
        out = io.BytesIO()
        out.write(writer.head)
        try:
            fastavro.schemaless_writer(out, writer.schema, writer.to_avro(event))
        except (OverflowError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(event).__name__} holds what its Avro schema cannot: {error}") from error
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """The event behind the bytes. Raises `BadMessage` for anything that is not one of ours."""
        if len(data) < _HEADER.size:
            raise BadMessage(
                f"{len(data)} bytes are no Avro record in Confluent wire format", hint="five bytes of header are needed"
            )
        magic, number = _HEADER.unpack_from(data)
        reader = self._readers.get(number) if magic == 0 else None
        if reader is None:
            raise BadMessage(f"unknown schema id {number} (magic byte {magic})", hint="see schemas/avro/index.json for the ids")
        stream = io.BytesIO(data)
        stream.seek(_HEADER.size)
        try:
            datum = fastavro.schemaless_reader(stream, reader.writer_schema, reader.reader_schema)
            event = reader.build(typing.cast(dict[str, Any], datum))
        except (EOFError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise BadMessage(f"Avro record of schema {number} does not decode: {error}", hint="it was cut or altered") from error
        if stream.tell() != len(data):
            raise BadMessage(
                f"Avro record of schema {number} ends after {stream.tell()} of {len(data)} bytes", hint="it was altered"
            )
        return event
