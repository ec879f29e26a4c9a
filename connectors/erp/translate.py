"""From a record of the ERP's change feed to canonical events. Pure."""

from __future__ import annotations

from datetime import date
from typing import Any

from connectors.erp.columns import TABLES, ErpTable
from connectors.erp.rows import BUILDERS, Row
from connectors.erp.topics import table_of
from connectors.erp.values import read_unknown, read_value
from connectors.erp.wire import UNAVAILABLE, Logicals, Payload, Source, old_key, parse_key, parse_message
from schemas.bounds import bounded_ms
from schemas.errors import BadMessage
from schemas.records import Record, Translation

CHANGES = frozenset({"c", "u", "d", "r"})
INCREMENTAL = "incremental"
TOMBSTONE = "tombstone: its delete said all there is to say"


def translate(record: Record) -> Translation:
    """A record of `raw.erp.<table>` or `raw.erp.other` as canonical events, or why it means nothing. Raises `BadMessage`."""
    if record.value is None:
        return Translation(ignored=TOMBSTONE)
    payload, logicals = parse_message(record.value)
    if payload is None:
        return Translation(ignored=TOMBSTONE)
    name = table_of(record.topic)
    if name is None:
        return Translation(ignored=_unmapped(payload))
    if payload.op == "m":
        return Translation(ignored="logical decoding message: not a row")
    table, source = TABLES[name], payload.source
    if source is None or payload.op is None:
        missing = "source" if source is None else "op"
        raise BadMessage(f"{missing} is missing: this is no change of {name}", hint="only Debezium's change records belong here")
    _check(table, payload, source)
    try:
        return Translation(events=(_event(record, table, payload, source, logicals),))
    except BadMessage as bad:
        raise BadMessage(f"{name}: {bad.reason}", hint=bad.hint, items=_items(table, record, payload)) from None


def _unmapped(payload: Payload) -> str:
    """Why a record outside the mapped tables' topics means nothing. Raises `BadMessage` if it is a mapped table's change."""
    source = payload.source
    if payload.op is not None and source is not None:
        if source.table in TABLES:
            raise BadMessage(
                f"source.table {source.table!r} came by a topic that is not named for it",
                hint=f"topics end in the table's name (<prefix>.<schema>.{source.table}); undo the topic routing, or rename them",
            )
        return f"table {source.table!r} is not mapped"
    if payload.status in ("BEGIN", "END"):
        return "transaction metadata"
    if payload.ts_ms is not None:
        return "heartbeat"
    return "not a change of a row"


def _check(table: ErpTable, payload: Payload, source: Source) -> None:
    if source.table != table.name:
        raise BadMessage(
            f"source.table {source.table!r} came by the topic of {table.name}", hint="topics end in their own table's name"
        )
    if payload.op == "t":
        raise BadMessage(
            f"op 't': {table.name} was truncated at lsn {source.lsn}, and no record says which rows are gone",
            hint="reconcile with an extract; delete rows instead of truncating, or let Debezium skip it (skipped.operations=t)",
        )
    if payload.op not in CHANGES:
        raise BadMessage(f"op {payload.op!r} of {table.name} is unknown", hint="known are c, u, d, r, t and m")


def _event(record: Record, table: ErpTable, payload: Payload, source: Source, logicals: Logicals) -> Any:
    is_deleted = payload.op == "d"
    columns, key_logicals = _columns(record, table, payload)
    row: Row = {}
    for column in table.key:
        if column.name not in columns:
            raise BadMessage(f"key column {column.name} is missing", hint="the record's key or its row has to name the whole key")
        row[column.name] = read_value(column, columns[column.name], key_logicals.get(column.name) or logicals.get(column.name))
        if row[column.name] == "":
            raise BadMessage(f"key column {column.name} is blank", hint="give the row a number in the ERP, or delete it")
    common = _common(record, table, payload, source, row)
    if is_deleted:
        row |= {column.name: column.blank for column in table.others}
        return BUILDERS[table.name](row, common)
    _check_key(record, table, row)
    if table.name == "item":
        columns, extra = _item_text(record, payload, columns)
        row |= extra
    for column in table.others:
        if column.name in columns:
            row[column.name] = read_value(column, columns[column.name], logicals.get(column.name))
        elif column.is_required:
            raise BadMessage(f"column {column.name} is missing", hint="the connector's column.exclude.list must leave it in")
        else:
            row[column.name] = column.default
    common["extra"] = {n: read_unknown(v, logicals.get(n)) for n, v in columns.items() if n not in table.columns}
    return BUILDERS[table.name](row, common)


def _columns(record: Record, table: ErpTable, payload: Payload) -> tuple[dict[str, Any], Logicals]:
    """The row's columns as sent. A delete has its key only: Debezium invents the other values of its `before`."""
    if payload.op != "d":
        if payload.after is None:
            raise BadMessage(f"after is null in op {payload.op!r}", hint="the row's new values are needed; undo any flattening")
        return payload.after, {}
    key, logicals = parse_key(record.key) if record.key is not None else ({}, {})
    before = payload.before or {}
    return {c.name: before[c.name] for c in table.key if c.name in before} | key, logicals


def _check_key(record: Record, table: ErpTable, row: Row) -> None:
    """The record's key has to be the row's: by it the feed is ordered."""
    if record.key is None:
        return
    key, logicals = parse_key(record.key)
    for column in table.key:
        if column.name in key and read_value(column, key[column.name], logicals.get(column.name)) != row[column.name]:
            raise BadMessage(
                f"key column {column.name}: the record's key has {str(key[column.name])[:40]!r}, its row {row[column.name]!r}",
                hint="a transformation in between must change both or none",
            )


def _common(record: Record, table: ErpTable, payload: Payload, source: Source, row: Row) -> dict[str, Any]:
    commit, own = source.positions()
    is_read = payload.op == "r"
    key = "/".join(_show(row[column.name]) for column in table.key)
    return {
        "event_id": f"erp:{table.name}:{key}:{own}:{payload.op}",
        "source": "erp",
        "source_position": own,
        "commit_position": commit,
        "occurred_at_ms": bounded_ms(source.ts_ms),
        "recorded_at_ms": record.timestamp_ms,
        "trace_id": record.trace_id,
        "is_base": is_read and source.snapshot != INCREMENTAL,
        "is_read": is_read,
        "is_deleted": payload.op == "d",
        "extra": {},
    }


def _show(part: Any) -> str:
    return part.isoformat() if isinstance(part, date) else str(part)


def _item_text(record: Record, payload: Payload, columns: dict[str, Any]) -> tuple[dict[str, Any], Row]:
    """An item's long text where the database did not send it: from the old row if that is whole, else to be found by the fold."""
    was = old_key(record.headers)
    old_no = was.get("item_no") if was else None
    renumbered_from = old_no.strip() if isinstance(old_no, str) else None
    found: Row = {"description_is_unavailable": False, "renumbered_from": renumbered_from}
    if columns.get("description") != UNAVAILABLE:
        return columns, found
    before = (payload.before or {}).get("description")
    if isinstance(before, str) and before != UNAVAILABLE:  # REPLICA IDENTITY FULL
        return columns | {"description": before}, found
    if payload.op != "u" and renumbered_from is None:
        raise BadMessage(
            f"description was not sent ({UNAVAILABLE}), and no header says which item had it before",
            hint="keep the header __debezium.oldkey with header.converter=org.apache.kafka.connect.json.JsonConverter",
        )
    found["description_is_unavailable"] = True
    return columns | {"description": None}, found


def _items(table: ErpTable, record: Record, payload: Payload) -> tuple[str, ...]:
    """The items a message that cannot be read was about, where that much can be read."""
    if table.item is None:
        return ()
    try:
        key = parse_key(record.key)[0] if record.key is not None else {}
    except BadMessage:
        key = {}
    found = [part.get(table.item) for part in (key, payload.after or {}, payload.before or {})]
    return tuple(sorted({item.strip() for item in found if isinstance(item, str) and item.strip()}))
