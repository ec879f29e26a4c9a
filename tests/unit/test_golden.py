"""Golden schemas: who can read whom, and that old records are still read."""

from __future__ import annotations

import io
import json
import struct
from datetime import date
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas import codec, golden
from schemas.codec import Codec, schema_of
from schemas.inventory import SiteChanged
from schemas.orders import OrderCancelRequested

DATE = {"type": "int", "logicalType": "date"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9}
SITE = {"name": "site", "type": "string"}
INNER = {"type": "record", "name": "Part", "fields": [SITE]}
INNER_MORE = {"type": "record", "name": "Part", "fields": [SITE, {"name": "lot", "type": "string"}]}


def record(**fields: Any) -> dict[str, Any]:
    """A record schema; a field given as (type, default) has a default."""
    made = [
        {"name": name, "type": spec[0], "default": spec[1]} if isinstance(spec, tuple) else {"name": name, "type": spec}
        for name, spec in fields.items()
    ]
    return {"type": "record", "name": "R", "fields": made}


NULLABLE = (["null", "string"], None)
CASES: dict[str, tuple[Any, Any, list[str]]] = {
    "the same": (record(a="string"), record(a="string"), []),
    "a field added with a default": (record(a="string", b=("string", "")), record(a="string"), []),
    "an optional field added": (record(a="string", b=NULLABLE), record(a="string"), []),
    "a field added without a default": (
        record(a="string", b="string"),
        record(a="string"),
        [".b: not written and without a default"],
    ),
    "a field removed": (record(a="string"), record(a="string", b="string"), []),
    "a type changed": (record(a="long"), record(a="string"), [".a: string is not readable as long"]),
    "int to long": (record(a="long"), record(a="int"), []),
    "long to int": (record(a="int"), record(a="long"), [".a: long is not readable as int"]),
    "long to double": (record(a="double"), record(a="long"), []),
    "date to date": (record(a=DATE), record(a=DATE), []),
    "date to int": (record(a="int"), record(a=DATE), [".a: date is not readable as int"]),
    "date to long": (record(a="long"), record(a=DATE), [".a: date is not readable as long"]),
    "decimal of another scale": (record(a=MONEY), record(a={**MONEY, "scale": 2}), [".a: decimal is not readable as decimal"]),
    "text to decimal": (record(a=MONEY), record(a="string"), [".a: string is not readable as decimal"]),
    "made optional": (record(a=["null", "string"]), record(a="string"), []),
    "made required": (record(a="string"), record(a=["null", "string"]), [".a: null is not readable as string"]),
    "an optional that changed": (
        record(a=["null", "long"]),
        record(a=["null", "string"]),
        ['.a: no branch of ["null", "long"] reads string'],
    ),
    "items of a list gain a field": (
        record(a={"type": "array", "items": INNER_MORE}),
        record(a={"type": "array", "items": INNER}),
        [".a[].lot: not written and without a default"],
    ),
    "items of a list lose a field": (
        record(a={"type": "array", "items": INNER}),
        record(a={"type": "array", "items": INNER_MORE}),
        [],
    ),
    "values of a map changed": (
        record(a={"type": "map", "values": "long"}),
        record(a={"type": "map", "values": "string"}),
        [".a{}: string is not readable as long"],
    ),
}


@pytest.mark.parametrize(("reader", "writer", "why"), CASES.values(), ids=CASES)
def test_who_can_read_whom(reader: Any, writer: Any, why: list[str]) -> None:
    assert golden.cannot_read(reader, writer) == why


READABLE = {name: (reader, writer) for name, (reader, writer, why) in CASES.items() if not why}


@pytest.mark.parametrize(("reader", "writer"), READABLE.values(), ids=READABLE)
def test_what_is_called_readable_is_read(reader: Any, writer: Any) -> None:
    """The Avro library is the judge."""
    samples = {"string": "x", "long": 7, "int": 7, "array": [], "map": {}}
    written = {}
    for field in writer["fields"]:
        kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
        written[field["name"]] = date(2026, 1, 1) if kind == DATE else samples[kind["type"] if isinstance(kind, dict) else kind]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), written)
    out.seek(0)
    read = fastavro.schemaless_reader(out, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    assert isinstance(read, dict)
    assert set(read) == {field["name"] for field in reader["fields"]}


def test_every_event_type_has_its_golden_schema_readable_both_ways() -> None:
    assert golden.problems() == []


def test_every_golden_file_is_in_the_index_and_every_entry_has_its_file() -> None:
    entries = [entry["file"] for entry in golden.load_index().values()]
    assert sorted(entries) == sorted(path.name for path in codec.AVRO.glob("*.avsc"))


@pytest.fixture
def avro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the committed schemas."""
    monkeypatch.setattr(codec, "AVRO", tmp_path)
    monkeypatch.setattr(golden, "AVRO", tmp_path)
    monkeypatch.setattr(golden, "INDEX", tmp_path / "index.json")
    return tmp_path


def commit(avro: Path, number: int, cls: type[Any], schema: dict[str, Any]) -> None:
    """Put a schema into the index as the first version of a type."""
    file = f"x.{cls.__name__}.v1.avsc"
    (avro / file).write_text(json.dumps(schema))
    index = golden.load_index()
    golden.INDEX.write_text(json.dumps({**index, str(number): {"name": cls.__name__, "version": 1, "file": file}}))


def without(cls: type[Any], *names: str) -> dict[str, Any]:
    """The schema of a type as it was before it had some fields."""
    schema = schema_of(cls)
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] not in names]}


def test_a_record_written_before_a_field_existed_is_read_with_its_default(avro: Path) -> None:
    old = without(OrderCancelRequested, "line")
    commit(avro, 7, OrderCancelRequested, old)
    assert "base.Tick.v1.avsc" in golden.write_missing()
    assert (avro / "orders.OrderCancelRequested.v2.avsc").exists()
    assert golden.problems() == []
    event: dict[str, Any] = {
        "event_id": "e1",
        "source": "web",
        "source_position": 3,
        "occurred_at_ms": 1,
        "recorded_at_ms": 2,
        "trace_id": "raw.channel.web/0/3",
        "order_id": "web:W1",
        "reason": "changed my mind",
    }
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, 7))
    fastavro.schemaless_writer(out, fastavro.parse_schema(old), event)
    today = Codec()
    read = today.decode(out.getvalue())
    assert read == OrderCancelRequested(**event, line=None)
    assert struct.unpack(">bI", today.encode(read)[:5])[1] != 7
    assert today.decode(today.encode(read)) == read


def test_a_change_that_breaks_readers_is_refused_and_nothing_is_written(avro: Path) -> None:
    commit(avro, 1, SiteChanged, without(SiteChanged, "timezone"))
    with pytest.raises(SystemExit, match=r"SiteChanged: the change breaks readers: .timezone: not written and without a default"):
        golden.write_missing()
    assert sorted(path.name for path in avro.iterdir()) == ["index.json", "x.SiteChanged.v1.avsc"]
    assert any("SiteChanged v1 -> today: .timezone" in why for why in golden.problems())


def test_a_reworded_docstring_makes_no_new_version(avro: Path) -> None:
    commit(avro, 1, SiteChanged, {**schema_of(SiteChanged), "doc": "other words"})
    golden.write_missing()
    assert not (avro / "inventory.SiteChanged.v2.avsc").exists()


def test_the_check_names_what_is_missing(avro: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["golden", "--check"])
    assert golden.main() == 1
    assert "Tick: no golden file holds its present schema; run python -m schemas.golden" in capsys.readouterr().out
    assert list(avro.iterdir()) == []
    monkeypatch.setattr("sys.argv", ["golden"])
    assert golden.main() == 0
    monkeypatch.setattr("sys.argv", ["golden", "--check"])
    assert golden.main() == 0
