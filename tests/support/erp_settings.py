"""The capture as other settings of the connector would have written it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.erp.columns import TABLES, Column, ErpTable, Kind

UNAVAILABLE = "__debezium_unavailable_value"


def transformed(source: Path, target: Path, *, schemas: bool, precise: bool, full: bool) -> Path:
    """Write the capture again: with schemas, with precise decimals, with REPLICA IDENTITY FULL's `before`."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    with gzip.open(target, "wt") as out:
        for record in _records(source):
            table = TABLES.get(record["topic"].rsplit(".", 1)[-1])
            if table is not None and record["value"] is not None:
                value = record["value"]
                if full:
                    _full(held, table, record["key"], value)
                if precise:
                    value["after"] = _precise(table, value["after"])
                    value["before"] = _precise(table, value["before"])
            if schemas:
                _with_schemas(table, record, precise=precise)
            out.write(json.dumps(record) + "\n")
    return target


def _records(source: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(source, "rt") as lines:
        for line in lines:
            yield json.loads(line)


def _full(held: dict[tuple[str, str], dict[str, Any]], table: ErpTable, key: Any, value: dict[str, Any]) -> None:
    at = (table.name, json.dumps(key, sort_keys=True))
    if value["op"] in "ud" and at in held:
        value["before"] = dict(held[at])
    if value["after"] is not None:
        before = held.get(at, {})
        held[at] = {n: before.get(n) if v == UNAVAILABLE else v for n, v in value["after"].items()}


def _precise(table: ErpTable, row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {name: _as_bytes(table.columns[name], value) for name, value in row.items()}


def _as_bytes(column: Column, value: Any) -> Any:
    if column.kind is not Kind.NUMERIC or value is None:
        return value
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    scale = -exponent if column.scale is None else column.scale
    unscaled = int(number.scaleb(scale))
    raw = unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)
    text = base64.b64encode(raw).decode()
    return text if column.scale is not None else {"scale": scale, "value": text}


def _with_schemas(table: ErpTable | None, record: dict[str, Any], *, precise: bool) -> None:
    schema: dict[str, Any] = {"type": "struct", "optional": False, "fields": []}
    key_schema = schema
    if table is not None:
        columns = [_schema(column, precise=precise) for column in table.columns.values()]
        rows = [{"type": "struct", "fields": columns, "optional": True, "field": side} for side in ("before", "after")]
        schema = {"type": "struct", "fields": [*rows, {"type": "string", "field": "op"}], "name": "Envelope"}
        key_schema = {"type": "struct", "fields": [_schema(column, precise=precise) for column in table.key]}
    record["key"] = {"schema": key_schema, "payload": record["key"]}
    if record["value"] is not None:
        record["value"] = {"schema": schema, "payload": record["value"]}
    record["headers"] = [
        [name, {"schema": key_schema, "payload": value}] if isinstance(value, dict) else [name, value]
        for name, value in record["headers"]
    ]


_TYPES = {
    Kind.TEXT: {"type": "string"},
    Kind.CODE: {"type": "string"},
    Kind.ZONE: {"type": "string"},
    Kind.INTEGER: {"type": "int64"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "int32", "name": "io.debezium.time.Date"},
    Kind.TIMESTAMP: {"type": "int64", "name": "io.debezium.time.MicroTimestamp"},
    Kind.TIMESTAMP_MS: {"type": "int64", "name": "io.debezium.time.Timestamp"},
    Kind.TIMESTAMPTZ: {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
}


def _schema(column: Column, *, precise: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"optional": column.is_nullable, "field": column.name}
    if column.kind is not Kind.NUMERIC:
        return found | _TYPES[column.kind]
    if not precise:
        return found | {"type": "string"}
    if column.scale is None:
        return found | {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal"}
    parameters = {"scale": str(column.scale), "connect.decimal.precision": "14"}
    return found | {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": parameters}
