"""The committed Avro schemas: `python -m schemas.golden` adds what is new, `--check` fails when something is missing.

A changed event type gets a new version beside the old one, and only if each reads the other (fields come with defaults):
a consumer may be older or younger than its producer.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from schemas.codec import AVRO, schema_of, shape_of
from schemas.topics import DEFINED

INDEX = AVRO / "index.json"
_PROMOTES = {("int", "long"), ("int", "float"), ("int", "double"), ("long", "double"), ("long", "float"), ("string", "bytes")}
_PLAIN = (None, None, None)


def cannot_read(reader: Any, writer: Any, where: str = "") -> list[str]:
    """Why data written with `writer` cannot be read with `reader`: one sentence each, empty if it can be."""
    if isinstance(writer, list):
        return [why for branch in writer for why in cannot_read(reader, branch, where)]
    if isinstance(reader, list):
        tries = [cannot_read(branch, writer, where) for branch in reader]
        return [] if any(not t for t in tries) else [f"{where}: no branch of {_name(reader)} reads {_name(writer)}"]
    if _kind(reader) == _kind(writer):
        return _same_kind(reader, writer, where)
    if (_kind(writer), _kind(reader)) in _PROMOTES and _logical(writer) == _logical(reader) == _PLAIN:
        return []
    return [f"{where}: {_name(writer)} is not readable as {_name(reader)}"]


def _same_kind(reader: Any, writer: Any, where: str) -> list[str]:
    kind = _kind(reader)
    if kind == "record":
        written = {f["name"]: f for f in writer["fields"]}
        problems = []
        for f in reader["fields"]:
            path = f"{where}.{f['name']}"
            if f["name"] in written:
                problems += cannot_read(f["type"], written[f["name"]]["type"], path)
            elif "default" not in f:
                problems.append(f"{path}: not written and without a default")
        return problems
    if kind == "array":
        return cannot_read(reader["items"], writer["items"], where + "[]")
    if kind == "map":
        return cannot_read(reader["values"], writer["values"], where + "{}")
    same = _logical(reader) == _logical(writer)
    return [] if same else [f"{where}: {_name(writer)} is not readable as {_name(reader)}"]


def _logical(schema: Any) -> tuple[Any, ...]:
    """What a primitive means: a date is not a number of days to a reader that does not know it is one."""
    return tuple(schema.get(key) for key in ("logicalType", "precision", "scale")) if isinstance(schema, dict) else _PLAIN


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _name(schema: Any) -> str:
    if isinstance(schema, dict):
        return str(schema.get("name", schema.get("logicalType", schema["type"])))
    return schema if isinstance(schema, str) else json.dumps(schema)


def load_index() -> dict[str, dict[str, Any]]:
    """Schema id -> name, version, file."""
    index: dict[str, dict[str, Any]] = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    return index


def history(name: str) -> list[dict[str, Any]]:
    """All committed schemas of an event type, oldest first."""
    entries = sorted((e for e in load_index().values() if e["name"] == name), key=lambda e: int(e["version"]))
    return [json.loads((AVRO / e["file"]).read_text()) for e in entries]


def problems() -> list[str]:
    """What is wrong between the event types and their golden files."""
    found = []
    for cls in _types():
        past = history(cls.__name__)
        now = schema_of(cls)
        if not past or shape_of(past[-1]) != shape_of(now):
            found.append(f"{cls.__name__}: no golden file holds its present schema; run python -m schemas.golden")
        for version, old in enumerate(past, 1):
            found += [f"{cls.__name__} v{version} -> today: {why}" for why in cannot_read(now, old)]
            found += [f"{cls.__name__} today -> v{version}: {why}" for why in cannot_read(old, now)]
    return found


def write_missing() -> list[str]:
    """Write a golden file for each type whose schema is new or changed.

    Raises `SystemExit`, with nothing written, if one breaks readers.
    """
    index = load_index()
    written = {}
    for cls in _types():
        past = history(cls.__name__)
        now = schema_of(cls)
        if past and shape_of(past[-1]) == shape_of(now):
            continue
        for old in past:
            broken = cannot_read(now, old) + cannot_read(old, now)
            if broken:
                raise SystemExit(f"{cls.__name__}: the change breaks readers: " + "; ".join(broken))
        version = len(past) + 1
        domain = cls.__module__.rsplit(".", 1)[-1]
        file = f"{domain}.{cls.__name__}.v{version}.avsc"
        index[str(max(map(int, index), default=0) + 1)] = {"name": cls.__name__, "version": version, "file": file}
        written[file] = now
    for file, schema in written.items():
        (AVRO / file).write_text(json.dumps(schema, indent=1) + "\n")
    INDEX.write_text(json.dumps(index, indent=1) + "\n")
    return list(written)


def _types() -> list[type[Any]]:
    return [carried.type for topic in DEFINED for carried in topic.carries]


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m schemas.golden", description="Write the Avro schemas of new event types.")
    options.add_argument("--check", action="store_true", help="write nothing; fail if one is missing or breaks readers")
    if options.parse_args().check:
        complaints = problems()
        print("\n".join(complaints) or "every event type has its golden schema, readable forward and backward")
        return 1 if complaints else 0
    for name in write_missing():
        print(f"wrote schemas/avro/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
