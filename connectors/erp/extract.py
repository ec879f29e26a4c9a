"""An extract of the ERP's tables: a directory of `<table>.json`, each an array of rows, as SQL would read them.

Numbers are text or plain JSON numbers (never read as floating point), dates and timestamps are ISO text. It is the other side
of a reconciliation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.erp.columns import TABLES, Column, ErpTable, Kind
from connectors.erp.values import INFINITY, read_value
from connectors.erp.wire import Logical
from schemas.errors import BadMessage

_AS_TEXT = Logical(type="string")


class BadExtract(Exception):
    """The extract cannot be read: the sentence names the file, the row and the column."""


@dataclass(frozen=True, slots=True)
class ExtractTable:
    """One table's rows by primary key: known columns as comparable values, columns we do not know as they stand in the file."""

    table: ErpTable
    columns: tuple[str, ...]
    rows: dict[tuple[Any, ...], dict[str, Any]]
    unknown: dict[tuple[Any, ...], dict[str, Any]]


def comparable(column: Column, value: Any) -> Any:
    """A value so that equal means the same: instants whatever their zone, numbers whatever their zeros."""
    if column.kind is Kind.TIMESTAMPTZ and isinstance(value, str):
        return value if value.endswith(INFINITY) else datetime.fromisoformat(value).astimezone(UTC)
    return value


def tables_in(directory: Path) -> tuple[list[str], list[str]]:
    """The mapped tables the extract holds, and its files of tables we do not map. Raises `BadExtract`."""
    if not directory.is_dir():
        raise BadExtract(f"{directory} is not a directory: an extract is a directory of <table>.json files")
    names = sorted(path.stem for path in directory.glob("*.json"))
    known = [name for name in TABLES if name in names]
    if not known:
        raise BadExtract(f"{directory} holds no table of the ERP: expected files like {', '.join(list(TABLES)[:3])}.json")
    return known, [name for name in names if name not in TABLES]


def read_table(directory: Path, name: str) -> ExtractTable:
    """One table of the extract. Raises `BadExtract`."""
    path = directory / f"{name}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise BadExtract(f"{path} cannot be read: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadExtract(f"{path} is not a JSON array of rows (objects, column by column)")
    table = TABLES[name]
    found = ExtractTable(table, _columns(path, table, rows), {}, {})
    for number, row in enumerate(rows, 1):
        try:
            known = {column: _typed(table.columns[column], row[column]) for column in found.columns}
        except KeyError as error:
            raise BadExtract(f"{path}, row {number}: column {error} is missing, though other rows have it") from None
        except BadMessage as bad:
            raise BadExtract(f"{path}, row {number}: {bad.reason}") from None
        key = tuple(known[column.name] for column in table.key)
        if key in found.rows:
            raise BadExtract(f"{path}, row {number}: the key {key} is there twice")
        found.rows[key] = known
        found.unknown[key] = {column: value for column, value in row.items() if column not in table.columns}
    return found


def _columns(path: Path, table: ErpTable, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    there = {column for row in rows for column in row} if rows else set(table.columns)
    missing = [column.name for column in table.key if column.name not in there]
    if missing:
        raise BadExtract(f"{path}: key column {missing[0]} is missing, so rows cannot be matched")
    return tuple(column for column in table.columns if column in there)


def _typed(column: Column, value: Any) -> Any:
    if column.kind is Kind.NUMERIC and isinstance(value, Decimal):
        value = format(value, "f")
    elif column.kind is Kind.NUMERIC and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return comparable(column, read_value(column, value, _AS_TEXT))


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
