"""Events to bytes and back: Avro in Confluent wire format (a zero byte, the schema's id in four bytes, the datum).

Schemas are derived from the classes; each is committed as a golden file under `avro/`, with its id in `avro/index.json`.
Today's are written and read by code made for each type (`schemas.avro_code`). A record written under an older golden schema
is read with it and resolved to today's by fastavro. `python -m schemas.golden` keeps the files.
"""

from __future__ import annotations

import io
import json
import struct
import typing
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro

from schemas import avro_bytes, avro_code
from schemas.avro_code import kind_of
from schemas.errors import BadMessage
from schemas.frozen import fields
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
    Decimal: {"type": "bytes", "logicalType": "decimal", "precision": avro_bytes.PRECISION, "scale": avro_bytes.SCALE},
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
    found = []
    for f in fields(cls):
        spec: dict[str, Any] = {"name": f.name, "type": _type(f.type, seen)}
        if isinstance(spec["type"], list):
            spec["default"] = None
        elif not f.required:
            spec["default"] = [] if kind_of(f.type)[0] == "list" else f.default
        found.append(spec)
    doc = " ".join((cls.__doc__ or "").split())
    return {"type": "record", "name": cls.__name__, "namespace": NAMESPACE, "doc": doc, "fields": found}


def _type(hint: Any, seen: set[str]) -> Any:
    kind, inner = kind_of(hint)
    if kind == "optional":
        return ["null", _scalar(inner)]
    if kind == "list":
        return {"type": "array", "items": _record(inner, seen) if kind_of(inner)[0] == "record" else _plain(inner)}
    if kind == "map":
        return {"type": "map", "values": _plain(inner)}
    return _scalar(hint)


def _scalar(hint: Any) -> Any:
    return "string" if kind_of(hint)[0] == "enum" else _plain(hint)


def _plain(hint: Any) -> Any:
    """The Avro type of a value that needs no rebuilding. Raises `TypeError` for one that would come back as another type."""
    if hint in _PRIMITIVES:
        return _PRIMITIVES[hint]
    raise TypeError(f"no Avro type for {hint!r}: add it to schemas.codec")


def shape_of(schema: Any) -> Any:
    """A schema without its prose: rewording a docstring makes no new version."""
    if isinstance(schema, dict):
        return {name: shape_of(value) for name, value in schema.items() if name != "doc"}
    return [shape_of(part) for part in schema] if isinstance(schema, list) else schema


def _event(cls: type[Any], datum: dict[str, Any]) -> Any:
    """The event behind what fastavro read: its lists of records and its enums are built, all else is there."""
    hints = typing.get_type_hints(cls)
    return cls(**{name: _value(hints[name], value) for name, value in datum.items()})


def _value(hint: Any, value: Any) -> Any:
    kind, inner = kind_of(hint)
    if value is None:
        return None
    if kind == "optional":
        return _value(inner, value)
    if kind == "list":
        return [_value(inner, row) for row in value]
    if kind == "record":
        return _event(inner, value)
    return inner(value) if kind == "enum" else value


def _older_reader(cls: type[Any], written: dict[str, Any]) -> Callable[[bytes, int], Any]:
    """A function from data and where its Avro begins to the event, for a record written under an older schema."""
    writer_schema, reader_schema = fastavro.parse_schema(written), fastavro.parse_schema(schema_of(cls))

    def read(data: bytes, at: int) -> Any:
        stream = io.BytesIO(data)
        stream.seek(at)
        event = _event(cls, typing.cast(dict[str, Any], fastavro.schemaless_reader(stream, writer_schema, reader_schema)))
        if stream.tell() != len(data):
            raise ValueError(f"it ends after {stream.tell()} of {len(data)} bytes")
        return event

    return read


class Codec:
    """Encodes and decodes every type a topic carries. Build one a process: it makes code for a type at its first event.

    Raises `RuntimeError` if the newest golden schema of a type is not today's: what it wrote would be misread.
    """

    def __init__(self) -> None:
        index: dict[str, dict[str, Any]] = json.loads((AVRO / "index.json").read_text())
        current = {c.type.__name__: c.type for topic in DEFINED for c in topic.carries}
        self._golden: dict[bytes, tuple[type[Any], dict[str, Any]]] = {}
        self._heads: dict[type[Any], bytes] = {}
        for number, entry in sorted(index.items(), key=lambda item: int(item[0])):
            if cls := current.get(entry["name"]):
                head = self._heads[cls] = _HEADER.pack(0, int(number))  # the newest has the last word
                self._golden[head] = cls, json.loads((AVRO / entry["file"]).read_text())
        for cls, head in self._heads.items():
            if shape_of(self._golden[head][1]) != shape_of(schema_of(cls)):
                raise RuntimeError(f"{cls.__name__} is not what its golden schema says: run python -m schemas.golden")
        self._writers: dict[type[Any], Callable[[Any], bytes]] = {}
        self._readers: dict[bytes, Callable[[bytes, int], Any]] = {}

    def encode(self, event: Any) -> bytes:
        """The event in Confluent wire format.

        Raises `TypeError` for a type no topic carries, `ValueError` for a field Avro cannot hold as declared (an integer of
        more than 64 bits, a decimal of more than 29 digits before the point or 9 after it).
        """
        return (self._writers.get(type(event)) or self.encoder(type(event)))(event)

    def encoder(self, cls: type[Any]) -> Callable[[Any], bytes]:
        """What `encode` does to events of one type. Raises `TypeError` for a type no topic carries."""
        if cls not in self._writers:
            head = self._heads.get(cls)
            if head is None:
                raise TypeError(f"{cls.__name__} has no golden schema: add it to a topic, then run python -m schemas.golden")
            self._writers[cls] = avro_code.writer(cls, head)
        return self._writers[cls]

    def decode(self, data: bytes) -> Any:
        """The event behind the bytes. Raises `BadMessage` for anything that is not one of ours."""
        read = self._readers.get(data[:5]) or self._reader(data)
        try:
            return read(data, 5)
        except (EOFError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            number = _HEADER.unpack_from(data)[1]
            why = "it ends within a field" if type(error) in (EOFError, IndexError) else error
            raise BadMessage(f"Avro record of schema {number} does not decode: {why}", hint="it was cut or altered") from error

    def _reader(self, data: bytes) -> Callable[[bytes, int], Any]:
        if len(data) < _HEADER.size:
            raise BadMessage(
                f"{len(data)} bytes are no Avro record in Confluent wire format", hint="five bytes of header are needed"
            )
        head = data[: _HEADER.size]
        if head not in self._golden:
            magic, number = _HEADER.unpack(head)
            raise BadMessage(f"unknown schema id {number} (magic byte {magic})", hint="see schemas/avro/index.json for the ids")
        cls, schema = self._golden[head]
        self._readers[head] = avro_code.reader(cls) if head == self._heads[cls] else _older_reader(cls, schema)
        return self._readers[head]
