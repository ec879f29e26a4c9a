"""From a record of the ERP's change feed to canonical events. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from connectors.erp.columns import TABLES, ErpTable, Kind
from connectors.erp.known import BASE64, TEXT, FeedState, is_over, is_read_again, with_decimals, with_position
from connectors.erp.rows import BUILDERS, Row
from connectors.erp.topics import is_partition, mapped, table_of
from connectors.erp.values import read_unknown, read_value
from connectors.erp.wire import POSTGRESQL, UNAVAILABLE, Logical, Logicals, Payload, Source, old_key, parse_key, parse_message
from connectors.unknown_fields import columns
from schemas.base import ErpRow, ErpTableNews, Event
from schemas.bounds import bounded_ms
from schemas.customers import ErpCustomersNews
from schemas.documents import ErpDocumentsNews
from schemas.errors import BadMessage
from schemas.frozen import fields, replace
from schemas.inventory import ErpItemsNews, SiteChanged
from schemas.operations import ExceptionNoted
from schemas.orders import OrderSiteChanged
from schemas.records import Record, Translation

_WRITTEN = {"": Logical("string"), TEXT: Logical("string"), BASE64: Logical("bytes")}
_DATABASES = {
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "sqlserver": "SQL Server",
    "oracle": "Oracle",
    "db2": "Db2",
    "mongodb": "MongoDB",
    "informix": "Informix",
    "vitess": "Vitess",
    "cassandra": "Cassandra",
    "spanner": "Spanner",
}
_NAMES = {name: {column: column for column in table.columns} for name, table in TABLES.items()}
NOTHING = FeedState()
Reading = tuple[Translation, str, FeedState]
"""What a record means, the table it changes ("" for none), and what is known then of that table's part of the feed."""
CHANGES = frozenset({"c", "u", "d", "r"})
TOMBSTONE = "tombstone: its delete said all there is to say"


def translate(record: Record) -> Translation:
    """A record of `raw.erp.<table>` or `raw.erp.other` as canonical events, or why it means nothing. Raises `BadMessage`."""
    return read(record, lambda table: FeedState())[0]


def read(record: Record, known_of: Callable[[str], FeedState]) -> Reading:
    """The record's translation, and what is known now of its table's part of the feed. Raises `BadMessage`."""
    if record.value is None:
        return Translation(ignored=TOMBSTONE), "", NOTHING
    payload, logicals = parse_message(record.value)
    if payload is None:
        return Translation(ignored=TOMBSTONE), "", NOTHING
    name = table_of(record.topic)
    source = payload.source
    if source is not None and source.connector != POSTGRESQL:
        raise _foreign(payload, source)
    if source is not None and payload.op is not None and payload.op != "m":
        by_source = mapped(source.table)
        if name is None and by_source is None:
            return _unread(record, payload, source), "", NOTHING
        if name is not None and by_source != name:
            raise BadMessage(
                f"source.table {source.table!r} came by the topic of {name}", hint="topics end in their own table's name"
            )
        name = by_source
    if name is None:
        return Translation(ignored=_unmapped(payload)), "", NOTHING
    if payload.op == "m":
        return Translation(ignored="logical decoding message: not a row"), "", NOTHING
    if source is None or payload.op is None:
        raise _no_envelope(name, "source" if source is None else "op", record.value)
    return _change(record, TABLES[name], payload, source, logicals, known_of(name))


def _change(record: Record, table: ErpTable, payload: Payload, source: Source, logicals: Logicals, known: FeedState) -> Reading:
    _check(table, payload, source)
    try:
        commit, own = source.positions()
        _check_schema(table, source, known)
        seen = with_position(known, source, own, commit)
        if not known.schema and source.schema_:
            seen = replace(seen, schema=source.schema_)
        over = [_read_over(record, table, source, seen)] if is_over(seen, source, own, commit) else []
        if over:
            seen = replace(seen, over=seen.reading)
        if payload.op == "t":
            return Translation(events=[*over, *_truncated(record, table, source, seen)]), table.name, seen
        if payload.after is not None and payload.op != "d":
            payload, logicals = _in_lower_case(table, payload, logicals)
            seen = with_decimals(seen, table, payload.after or {})
        event = _event(record, table, payload, source, logicals, seen)
        events: list[Any] = [*_history_news(event, table, source, known, seen), event, *over]
        if isinstance(event, SiteChanged):
            events.append(OrderSiteChanged(**{f.name: getattr(event, f.name) for f in fields(OrderSiteChanged)}))
        if seen.decimals == BASE64 and known.is_guessed and not known.decimals:
            events.insert(0, _misread(event, table))
    except BadMessage as bad:
        items = _items(table, record, payload)
        raise BadMessage(f"{table.name}: {bad.reason}", hint=bad.hint, items=items) from None
    unknown = columns(table.name, event.extra, _NAMES[table.name], payload.after or ()) if event.extra else None
    return Translation(events=events, unknown=unknown), table.name, seen


def _unmapped(payload: Payload) -> str:
    """Why a record that is not a change of a table means nothing."""
    if payload.status in ("BEGIN", "END"):
        return "transaction metadata"
    return "heartbeat" if payload.ts_ms is not None else "not a change of a row"


def _foreign(payload: Payload, source: Source) -> BadMessage:
    table = mapped(source.table)
    row = {str(name).lower(): value for part in (payload.before, payload.after) for name, value in (part or {}).items()}
    column = TABLES[table].item if table is not None else None
    item = row.get(column) if column is not None else None
    kind = _DATABASES.get(source.connector, source.connector[:40])
    return BadMessage(
        f"the change of {source.table or 'a table'} comes from {kind} (Debezium's connector {source.connector[:40]!r}): only"
        " PostgreSQL's changes are read",
        hint="positions of other databases are of another kind: bring its rows in through PostgreSQL",
        items=(item.strip(),) if isinstance(item, str) and item.strip() else (),
    )


def _no_envelope(name: str, missing: str, value: bytes) -> BadMessage:
    if b'"__op"' in value or b'"__deleted"' in value or b'"__table"' in value:
        return BadMessage(
            f"the record of {name} was unwrapped: op, source and the positions are not in it",
            hint="take the transformation ExtractNewRecordState off the connector: whole envelopes are needed",
        )
    return BadMessage(f"{missing} is missing: this is not a change of {name}", hint="only Debezium's change records belong here")


def _unread(record: Record, payload: Payload, source: Source) -> Translation:
    """A table that is not mapped. One with the columns of a mapped table may well be a part of it: a person has to know."""
    columns = {str(name).lower() for name in payload.after or {}}
    for table in TABLES.values():
        wanted = {column.name for column in (*table.key, *table.others) if column.is_required or column in table.key}
        if len(wanted) > 1 and wanted <= columns:
            sentence = (
                f"Table {source.table} has the columns of {table.name} and is not read. If it is a partition, publish it under"
                f" its root's name (publish_via_partition_root), or call it {table.name}_<number>; if not, leave it out"
            )
            noted = _noted(record, source, f"unread_table:{source.table}", "unread_table", sentence)
            return Translation(events=(noted,), ignored=f"table {source.table!r} is not read, though it looks like {table.name}")
    return Translation(ignored=f"table {source.table!r} is not mapped")


def _noted(record: Record, source: Source, fingerprint: str, code: str, sentence: str) -> ExceptionNoted:
    return ExceptionNoted(
        event_id=f"erp:{fingerprint}:{source.positions()[1]}",
        source="erp",
        source_position=source.positions()[1],
        occurred_at_ms=bounded_ms(source.ts_ms),
        recorded_at_ms=record.timestamp_ms,
        trace_id=record.trace_id,
        fingerprint=fingerprint[:400],
        code=code,
        sentence=sentence,
        item=None,
        order_id=None,
    )


def _check(table: ErpTable, payload: Payload, source: Source) -> None:
    if payload.op == "t" and is_partition(source.table):
        raise BadMessage(
            f"op 't': {source.table}, a partition of {table.name}, was truncated at lsn {source.lsn}: no record says which rows"
            " are gone",
            hint=f"have {table.name} read anew, and reconcile with an extract; delete rows instead of truncating a partition",
        )
    if payload.op == "t" and (payload.before or payload.after):
        raise BadMessage(
            f"op 't' of {table.name} has a row: a truncation has none",
            hint="keep Debezium's records as they are; send op c, u, d or r with a row",
        )
    if payload.op not in CHANGES and payload.op != "t":
        raise BadMessage(f"op {payload.op!r} of {table.name} is unknown", hint="known are c, u, d, r, t and m")


def _check_schema(table: ErpTable, source: Source, known: FeedState) -> None:
    if known.schema and source.schema_ and source.schema_ != known.schema and not is_partition(source.table):
        raise BadMessage(
            f"{source.schema_}.{source.table} came, though {known.schema}.{table.name} is what is read",
            hint="let the connector's table.include.list name the tables of one schema; a copy elsewhere is another table",
        )


def _in_lower_case(table: ErpTable, payload: Payload, logicals: Logicals) -> tuple[Payload, Logicals]:
    """Columns as our tables name them: an ERP may have them in capitals."""
    after = payload.after or {}
    if all(name in table.columns or name == name.lower() for name in after):
        return payload, logicals
    lower = {name if name in table.columns else name.lower(): value for name, value in after.items()}
    return payload.model_copy(update={"after": lower}), {n.lower(): logical for n, logical in logicals.items()} | logicals


_NEWS: dict[str, type[ErpTableNews]] = {
    **dict.fromkeys(("site", "item", "item_price", "inventory_balance"), ErpItemsNews),
    **dict.fromkeys(
        ("sales_order", "sales_order_line", "purchase_order", "purchase_order_line", "invoice", "invoice_line"), ErpDocumentsNews
    ),
    "customer": ErpCustomersNews,
}


def _news(
    record_of: Event,
    table: ErpTable,
    source: Source,
    known: FeedState,
    what: str,
    commit: int,
    kind: type[ErpTableNews] | None = None,
) -> ErpTableNews:
    return (kind or _NEWS[table.name])(
        event_id=f"erp:{table.name}:{what}:{record_of.source_position}:{record_of.trace_id}",
        source="erp",
        source_position=record_of.source_position,
        occurred_at_ms=record_of.occurred_at_ms,
        recorded_at_ms=record_of.recorded_at_ms,
        trace_id=record_of.trace_id,
        table=table.name,
        what=what,
        connector=source.name,
        epoch=known.epoch,
        history=known.reading,
        commit_position=commit,
    )


def _read_over(record: Record, table: ErpTable, source: Source, known: FeedState) -> ErpTableNews:
    commit, own = source.positions()
    said = _noted(record, source, f"table_read:{table.name}", "erp_history", "")
    return replace(_news(said, table, source, known, "read", commit), source_position=own, part=record.partition)


def _truncated(record: Record, table: ErpTable, source: Source, known: FeedState) -> list[Any]:
    commit, own = source.positions()
    sentence = f"The ERP truncated {table.name} at lsn {own}: the rows of before are gone until they are written again"
    noted = _noted(record, source, f"table_truncated:{table.name}", "table_truncated", sentence)
    return [_news(noted, table, source, known, "truncated", commit), noted]


def _history_news(event: ErpRow, table: ErpTable, source: Source, before: FeedState, known: FeedState) -> list[Any]:
    """What an initial snapshot that was not known says: whose history begins, and to whom that is news."""
    again = is_read_again(source, event.source_position, event.commit_position)
    if known.histories == before.histories:
        if not again or event.source_position in known.histories:
            return []
        sentence = (
            f"The ERP's connector {source.name} read {table.name} again at lsn {event.source_position}, beside what it streams:"
            " rows deleted meanwhile would be missed if its replication slot was lost. Reconcile with an extract to be sure"
        )
        return [_about(event, f"erp_read_again:{source.name}:{event.source_position}", "erp_read_again", sentence)]
    before_it = known.histories[-2] if len(known.histories) > 1 else 0
    news: list[Any] = []
    for kind in (ErpItemsNews, ErpDocumentsNews, ErpCustomersNews):  # each fold's: of its own tables the snapshot may show no row
        began = _news(event, table, source, known, "history", event.commit_position, kind)
        news.append(replace(began, before=before_it))
    if len(known.histories) > 1:
        sentence = (
            f"The ERP's connector {source.name} began anew with a snapshot at lsn {known.reading}: positions of before"
            f" ({known.histories[-2]}) say nothing about those that follow. Every row it reads replaces the one held;"
            " items with rows it has not read are suspect"
        )
        news.append(_about(event, f"erp_history:{source.name}:{known.reading}", "erp_history", sentence))
    return news


def _misread(event: ErpRow, table: ErpTable) -> ExceptionNoted:
    sentence = (
        f"The ERP's connector writes numerics of {table.name} as base64 (decimal.handling.mode precise); earlier records of its"
        " were read as text, for nothing in them said so. Read the table anew, or set decimal.handling.mode to string"
    )
    return _about(event, f"erp_decimals:{table.name}", "erp_decimals", sentence)


def _about(event: ErpRow, fingerprint: str, code: str, sentence: str) -> ExceptionNoted:
    return ExceptionNoted(
        event_id=f"erp:{fingerprint}:{event.event_id}",
        source="erp",
        source_position=event.source_position,
        occurred_at_ms=event.occurred_at_ms,
        recorded_at_ms=event.recorded_at_ms,
        trace_id=event.trace_id,
        fingerprint=fingerprint,
        code=code,
        sentence=sentence,
        item=None,
        order_id=None,
    )


def _event(record: Record, table: ErpTable, payload: Payload, source: Source, logicals: Logicals, known: FeedState) -> Any:
    is_deleted = payload.op == "d"
    columns, key_logicals = _columns(record, table, payload)
    row: Row = {}
    for column in table.key:
        if column.name not in columns:
            raise BadMessage(f"key column {column.name} is missing", hint="the record's key or its row has to name the whole key")
        row[column.name] = read_value(column, columns[column.name], key_logicals.get(column.name) or logicals.get(column.name))
        if row[column.name] == "":
            raise BadMessage(f"key column {column.name} is blank", hint="give the row a number in the ERP, or delete it")
    common = _common(record, table, payload, source, row, known)
    if is_deleted:
        row |= {column.name: column.blank for column in table.others}
        return BUILDERS[table.name](row, common)
    _check_key(record, table, row)
    if table.name == "item":
        columns, extra = _item_text(record, payload, columns)
        row |= extra
    for column in table.others:
        if column.name in columns:
            logical = logicals.get(column.name) or (_WRITTEN[known.decimals] if column.kind is Kind.NUMERIC else None)
            row[column.name] = read_value(column, columns[column.name], logical)
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
    key, logicals = _key(record)
    before = payload.before or {}
    return {c.name: before[c.name] for c in table.key if c.name in before} | key, logicals


def _key(record: Record) -> tuple[dict[str, Any], Logicals]:
    """The record's key, its columns as our tables name them."""
    key, logicals = parse_key(record.key) if record.key is not None else ({}, {})
    return {n.lower(): value for n, value in key.items()}, {n.lower(): logical for n, logical in logicals.items()}


def _check_key(record: Record, table: ErpTable, row: Row) -> None:
    """The record's key has to be the row's: by it the feed is ordered."""
    if record.key is None:
        return
    key, logicals = _key(record)
    for column in table.key:
        if column.name in key and read_value(column, key[column.name], logicals.get(column.name)) != row[column.name]:
            raise BadMessage(
                f"key column {column.name}: the record's key has {str(key[column.name])[:40]!r}, its row {row[column.name]!r}",
                hint="a transformation in between must change both or none",
            )


def _common(record: Record, table: ErpTable, payload: Payload, source: Source, row: Row, known: FeedState) -> dict[str, Any]:
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
        "is_base": source.is_base and is_read and (own in known.histories or not is_read_again(source, own, commit)),
        "is_read": is_read,
        "is_deleted": payload.op == "d",
        "extra": {},
        "epoch": known.epoch,
        "history": known.reading,
        "part": record.partition,
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
