"""The committed schemas as a schema registry holds them: id, subject, version, text.

A subject is the full name of its record (RecordNameStrategy): a topic carries several event types, an event type belongs to
one topic. The ids are those of `avro/index.json`, which stand in the header of every record and are never given again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.codec import AVRO, NAMESPACE
from schemas.golden import load_index

COMPATIBILITY = "FULL_TRANSITIVE"
"""What `schemas.golden` demands of a change: today's schema reads every earlier one, and each of those reads today's."""


@dataclass(frozen=True, slots=True)
class CommittedSchema:
    """One version of one event type. `text` is its Avro schema as JSON, always the same to the byte."""

    id: int
    subject: str
    version: int
    text: str

    @property
    def parsed(self) -> Any:
        """The schema as data."""
        return json.loads(self.text)


@cache
def catalog() -> tuple[CommittedSchema, ...]:
    """Every committed schema, in order of id."""
    entries = sorted(((int(number), entry) for number, entry in load_index().items()), key=lambda item: item[0])
    return tuple(
        CommittedSchema(number, f"{NAMESPACE}.{entry['name']}", int(entry["version"]), _text(entry["file"]))
        for number, entry in entries
    )


def _text(file: str) -> str:
    return json.dumps(json.loads((AVRO / file).read_text()), separators=(",", ":"), ensure_ascii=False)
