"""The ERP's change feed, oddity by oddity."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from connectors.erp.columns import TABLES, Kind
from connectors.erp.topics import raw_topic, table_of
from connectors.erp.translate import translate
from schemas.base import ErpTableNews
from schemas.codec import Codec
from schemas.customers import CustomerChanged
from schemas.documents import SalesOrderRow
from schemas.errors import BadMessage
from schemas.inventory import ErpBalanceChanged, ItemChanged, PriceChanged
from schemas.records import Headers, Record

UNAVAILABLE = "__debezium_unavailable_value"

ITEM: dict[str, Any] = {
    "item_no": "00010000",
    "description": "M8x40 Battery Pack 61",
    "base_uom": "EA",
    "pack_uom": "BX",
    "pack_qty": "6.000",
    "lot_tracked": False,
    "shelf_life_days": None,
    "status": "A",
    "safety_stock": "12.500",
    "updated_at": 1785587220000000,
    "hazmat_class": None,
}
CUSTOMER: dict[str, Any] = {
    "customer_no": "00100140",
    "name": "Müller Handels GmbH",
    "tax_id": None,
    "email": "ap@corp.example",
    "credit_limit": "1500.5",
    "credit_hold": True,
    "terms": "COD   ",
    "price_list": "EUR",
    "status": "A",
}
BALANCE: dict[str, Any] = {
    "site_code": "DC1",
    "item_no": "B-1095",
    "on_hand": "-2.211",
    "allocated": "24.000",
    "on_order": "0.000",
    "row_version": 4,
    "updated_at": "2026-11-23T08:44:38.842219Z",
}
ORDER: dict[str, Any] = {
    "order_no": "SO4500003",
    "channel": "EDI",
    "external_ref": "850-002276248",
    "customer_no": "00100152",
    "status": "PART",
    "requested_ship_date": 20796,
    "created_at": "2026-11-23T08:43:51.401678Z",
    "updated_at": 1795401833808,
    "priority": 7,
}
PRICE: dict[str, Any] = {
    "price_list": "STD",
    "item_no": "00010000",
    "currency": "USD",
    "unit_price": "189.5500",
    "valid_from": 20454,
    "valid_to": 2932896,
}
ROWS = {"item": ITEM, "customer": CUSTOMER, "inventory_balance": BALANCE, "sales_order": ORDER, "item_price": PRICE}


def source(table: str, **changed: Any) -> dict[str, Any]:
    return {
        "table": table,
        "schema": "public",
        "snapshot": "false",
        "sequence": '["48770944","48772456"]',
        "lsn": 48772456,
        "ts_ms": 1795423453837,
        "txId": 6940,
    } | changed


def record(
    table: str,
    after: dict[str, Any] | None = None,
    *,
    op: str = "u",
    key: Any = None,
    before: Any = None,
    headers: Headers = (),
    topic: str | None = None,
    schema: Any = None,
    **changed: Any,
) -> Record:
    after = ROWS.get(table) if after is None and op != "d" else after
    row = after if after is not None else ROWS[table]
    if key is None:
        key = {column.name: row.get(column.name) for column in TABLES[table].key} if table in TABLES else {"id": 1}
    value: Any = {"op": op, "before": before, "after": None if op == "d" else after, "source": source(table, **changed)}
    if schema is not None:
        value = {"schema": schema, "payload": value}
    return raw(topic or f"raw.erp.{table}", value, key, headers)


def raw(topic: str, value: Any, key: Any = None, headers: Headers = ()) -> Record:
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    name = key if isinstance(key, bytes | None) else json.dumps(key).encode()
    return Record(topic, 1, 42, 1795423454782, name, body, headers)


def one(given: Record) -> Any:
    event, *same = [event for event in translate(given).events if not isinstance(event, ErpTableNews)]
    assert [type(e).__name__ for e in same] == (["OrderSiteChanged"] if type(event).__name__ == "SiteChanged" else [])
    assert Codec().decode(Codec().encode(event)) == event
    return event


def refusal(given: Record) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        translate(given)
    assert caught.value.hint
    return caught.value


def test_an_update() -> None:
    """What every event carries: identity, position, instants, where to find the record."""
    event = one(record("item"))
    assert isinstance(event, ItemChanged)
    assert event.event_id == "erp:item:00010000:48772456:u"
    assert (event.source, event.commit_position, event.source_position) == ("erp", 48770944, 48772456)
    assert (event.occurred_at_ms, event.recorded_at_ms) == (1795423453837, 1795423454782)
    assert event.trace_id == "raw.erp.item/1/42"
    assert (event.is_base, event.is_read, event.is_deleted, event.extra) == (False, False, False, {})
    assert (event.pack_milli, event.safety_stock_milli, event.updated_at) == (6_000, 12_500, "2026-08-01T12:27:00.000000")
    assert (event.description_is_unavailable, event.renumbered_from) == (False, None)


def test_a_duplicate_delivery_is_the_same_event() -> None:
    first = record("item")
    again = replace(first, offset=43, timestamp_ms=first.timestamp_ms + 60_000)
    assert one(first).event_id == one(again).event_id


@pytest.mark.parametrize(
    ("changed", "is_base", "commit", "own"),
    [
        ({"snapshot": "first", "sequence": '[null,"48760152"]', "lsn": 48760152}, True, 0, 48760152),
        ({"snapshot": "true", "sequence": '[null,"48760152"]', "lsn": 48760152}, True, 0, 48760152),
        ({"snapshot": True, "sequence": None, "lsn": 48760152}, True, 0, 48760152),
        ({"snapshot": "last_in_data_collection", "sequence": '[null,"5"]', "lsn": 5}, True, 0, 5),
        (
            {"snapshot": "incremental", "sequence": '["50050376","50050568"]', "lsn": None, "txId": None},
            False,
            50050376,
            50050568,
        ),
    ],
)
def test_snapshot_reads(changed: dict[str, Any], is_base: bool, commit: int, own: int) -> None:
    """An initial read is a base; an incremental one has its position in `sequence` only."""
    event = one(record("inventory_balance", op="r", **changed))
    assert (event.is_read, event.is_base) == (True, is_base)
    assert (event.commit_position, event.source_position) == (commit, own)
    assert event.event_id == f"erp:inventory_balance:DC1/B-1095:{own}:r"


def test_each_kind_of_value() -> None:
    balance = one(record("inventory_balance"))
    assert isinstance(balance, ErpBalanceChanged)
    assert (balance.on_hand_milli, balance.allocated_milli, balance.row_version) == (-2_211, 24_000, 4)
    assert balance.updated_at == "2026-11-23T08:44:38.842219Z"
    customer = one(record("customer"))
    assert isinstance(customer, CustomerChanged)
    assert (customer.terms, customer.credit_limit, customer.credit_hold) == ("COD   ", Decimal("1500.5"), True)
    order = one(record("sales_order"))
    assert isinstance(order, SalesOrderRow)
    assert (order.requested_on, order.priority, order.updated_at) == (date(2026, 12, 9), 7, "2026-11-23T02:43:53.808000")
    price = one(record("item_price"))
    assert isinstance(price, PriceChanged)
    assert (price.valid_from, price.valid_to, price.unit_price) == (date(2026, 1, 1), date(9999, 12, 31), Decimal("189.55"))
    assert price.event_id == "erp:item_price:STD/00010000/USD/2026-01-01:48772456:u"


def test_a_delete_has_a_key_and_nothing_else() -> None:
    """Debezium invents the other values of `before`: none of them is used."""
    invented = BALANCE | {"on_hand": "0.000", "row_version": 1, "updated_at": "1970-01-01T00:00:00.000000Z"}
    event = one(record("inventory_balance", op="d", before=invented))
    assert event.is_deleted
    assert (event.item, event.site, event.on_hand_milli, event.row_version) == ("B-1095", "DC1", 0, 0)


def test_a_delete_without_a_key_takes_it_from_before() -> None:
    given = replace(record("item_price", op="d", before=PRICE), key=None)
    event = one(given)
    assert (event.item, event.price_list, event.valid_from) == ("00010000", "STD", date(2026, 1, 1))


def test_columns_older_than_the_record_and_newer_than_us() -> None:
    """A record older than an ALTER takes the column's default; a column we do not know is kept as JSON text."""
    older = {name: value for name, value in ORDER.items() if name != "priority"}
    assert one(record("sales_order", older)).priority == 5
    assert one(record("item", {n: v for n, v in ITEM.items() if n != "hazmat_class"})).hazmat_class is None
    newer = one(record("item", ITEM | {"country": "DE", "weight": "1.20", "tags": None}))
    assert newer.extra == {"country": '"DE"', "weight": '"1.20"', "tags": "null"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (raw("raw.erp.item", None, {"item_no": "A"}), "tombstone"),
        (raw("raw.erp.item", {"schema": None, "payload": None}), "tombstone"),
        (raw("raw.erp.other", None), "tombstone"),
        (
            raw("raw.erp.other", {"status": "BEGIN", "id": "6921:48760152", "event_count": None, "ts_ms": 1}),
            "transaction metadata",
        ),
        (raw("raw.erp.other", {"schema": {}, "payload": {"status": "END", "id": "6921:1", "ts_ms": 1}}), "transaction metadata"),
        (raw("raw.erp.other", {"ts_ms": 1795423453627}), "heartbeat"),
        (record("debezium_signal", {"id": "x"}, op="c", topic="raw.erp.other"), "table 'debezium_signal' is not mapped"),
        (record("audit_log", {"id": 1}, op="t", topic="raw.erp.other"), "table 'audit_log' is not mapped"),
        (raw("raw.erp.other", {"anything": [1, 2]}), "not a change of a row"),
        (raw("raw.erp.item", {"op": "m", "source": source("item"), "message": {}}), "logical decoding message"),
    ],
)
def test_ignored_with_its_reason(given: Record, reason: str) -> None:
    translation = translate(given)
    assert not translation.events
    assert translation.ignored is not None
    assert translation.ignored.startswith(reason)


# --- long texts the database did not send, and renumbered items ----------------------------------------------------------

OLD_KEY: Headers = (("__debezium.oldkey", b'{"item_no":"00010546"}'), ("__debezium.context.taskId", b'"0"'))


def test_text_not_sent_in_an_update() -> None:
    event = one(record("item", ITEM | {"description": UNAVAILABLE}))
    assert (event.description, event.description_is_unavailable, event.renumbered_from) == (None, True, None)


def test_text_not_sent_but_in_the_full_old_row() -> None:
    """REPLICA IDENTITY FULL: `before` is the whole old row."""
    event = one(record("item", ITEM | {"description": UNAVAILABLE}, before=ITEM | {"description": "long"}))
    assert (event.description, event.description_is_unavailable) == ("long", False)


def test_full_old_row_that_lacks_the_text_too() -> None:
    old = ITEM | {"description": UNAVAILABLE}
    assert one(record("item", old, before=old)).description_is_unavailable


@pytest.mark.parametrize("header", [b'{"item_no":"00010546"}', b'{"schema":{"type":"struct"},"payload":{"item_no":"00010546"}}'])
def test_renumbered_item_without_its_text(header: bytes) -> None:
    given = record("item", ITEM | {"description": UNAVAILABLE}, op="c", headers=(("__debezium.oldkey", header),))
    event = one(given)
    assert (event.description_is_unavailable, event.renumbered_from) == (True, "00010546")


def test_renumbered_item_with_its_text() -> None:
    event = one(record("item", op="c", headers=OLD_KEY))
    assert (event.description, event.renumbered_from) == (ITEM["description"], "00010546")


@pytest.mark.parametrize("header", [b"Struct{item_no=00010546}", b'"00010546"', b'{"item_no":5}', b""])
def test_renumbered_item_whose_old_key_cannot_be_read(header: bytes) -> None:
    """Harmless while the text is there, a bad message when it is not."""
    headers: Headers = (("__debezium.oldkey", header),)
    assert one(record("item", op="c", headers=headers)).renumbered_from is None
    bad = refusal(record("item", ITEM | {"description": UNAVAILABLE}, op="c", headers=headers))
    assert "description" in bad.reason
    assert bad.items == ("00010000",)


def test_other_columns_have_to_be_sent() -> None:
    bad = refusal(record("customer", CUSTOMER | {"name": UNAVAILABLE}))
    assert "name was not sent" in bad.reason
    assert "REPLICA IDENTITY FULL" in bad.hint


def test_an_unknown_column_that_was_not_sent_stays_marked() -> None:
    assert one(record("item", ITEM | {"sheet": UNAVAILABLE})).extra == {"sheet": f'"{UNAVAILABLE}"'}


def test_floating_point_says_which_setting_to_change() -> None:
    bad = refusal(record("inventory_balance", BALANCE | {"on_hand": 12.5}))
    assert bad.reason == "inventory_balance: on_hand 12.5 came as a floating-point number: it may have lost digits"
    assert "decimal.handling.mode" in bad.hint
    assert bad.items == ("B-1095",)


def test_a_quantity_finer_than_we_keep() -> None:
    assert "more than three decimals" in refusal(record("inventory_balance", BALANCE | {"on_hand": "0.0001"})).reason


# --- schemas on --------------------------------------------------------------------------------------------------------------


def test_schema_and_payload() -> None:
    """`schemas.enable=true` for key and value; the schema names scale and precision of what it describes."""
    after = {
        "field": "after",
        "type": "struct",
        "fields": [
            {"field": "on_hand", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "1"}},
            {"field": "note", "type": "int32", "name": "io.debezium.time.Date"},
        ],
    }
    key = {"schema": {"type": "struct"}, "payload": {"site_code": "DC1", "item_no": "B-1095"}}
    row = BALANCE | {"on_hand": "APU=", "note": 1}
    event = one(record("inventory_balance", row, key=key, schema={"type": "struct", "fields": [{"field": "before"}, after]}))
    assert (event.on_hand_milli, event.extra) == (24_500, {"note": '"1970-01-02"'})


@pytest.mark.parametrize("schema", [5, "x", {"fields": 7}, {"fields": [1, {"field": "after", "fields": [None, {"field": 3}]}]}])
def test_a_schema_that_makes_no_sense_is_as_good_as_none(schema: Any) -> None:
    assert one(record("item", schema=schema)).item == "00010000"


def test_key_of_dates_and_doubtful_keys() -> None:
    assert one(record("item_price", key={"price_list": "STD", "valid_from": 20454})).valid_from == date(2026, 1, 1)
    assert one(replace(record("item_price"), key=None)).price_list == "STD"
    assert "the record's key has 'B'" in refusal(record("item", key={"item_no": "B"})).reason


# --- malformed ------------------------------------------------------------------------------------------------------------------

DEEP = b'{"op":"u","after":{"a":' + b"[" * 100_000


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (raw("raw.erp.item", b"\xff\xfe{}"), "value"),
        (raw("raw.erp.item", b"not json"), "Invalid JSON"),
        (raw("raw.erp.item", b""), "Invalid JSON"),
        (raw("raw.erp.item", b'{"op":'), "EOF"),
        (raw("raw.erp.item", b'"text"'), "value"),
        (raw("raw.erp.item", b"[1,2]"), "value"),
        (raw("raw.erp.item", b'{"a":"\\ud800"}'), "Invalid JSON"),
        (raw("raw.erp.item", DEEP), "recursion"),
        (raw("raw.erp.other", b"nonsense"), "Invalid JSON"),
        (raw("raw.erp.item", {"op": "u"}), "source is missing"),
        (raw("raw.erp.item", {"source": source("item")}), "op is missing"),
        (raw("raw.erp.item", {"item_no": "A", "base_uom": "EA"}), "source is missing"),
        (raw("raw.erp.item", {"op": 7}), "value.op"),
        (raw("raw.erp.item", {"op": "u", "source": source("item"), "after": [1]}), "value.after"),
        (raw("raw.erp.item", {"op": "u", "source": {"table": "item"}}), "value.source.ts_ms"),
        (record("item", op="x"), "op 'x' of item is unknown"),
        (
            raw("raw.erp.item", {"op": "t", "source": source("item_2026_11")}),
            "item_2026_11, a partition of item, was truncated",
        ),
        (record("item", connector="mysql"), "comes from MySQL"),
        (raw("raw.erp.item", {"item_no": "A", "__op": "u", "__lsn": 7}), "was unwrapped"),
        (raw("raw.erp.item", {"op": "u", "source": source("item"), "after": None}), "after is null"),
        (record("item", topic="raw.erp.customer"), "source.table 'item' came by the topic of customer"),
        (record("item", {"item_no": "A"}), "column base_uom is missing"),
        (record("item", {n: v for n, v in ITEM.items() if n != "item_no"}, key={}), "key column item_no is missing"),
        (record("item", ITEM | {"item_no": None}), "item_no is null"),
        (record("item", ITEM | {"base_uom": None}), "base_uom is null"),
        (record("item", ITEM | {"lot_tracked": "yes"}), "lot_tracked 'yes' is not true or false"),
        (record("item", ITEM | {"base_uom": 5}), "base_uom '5' is not text"),
        (record("item", ITEM | {"shelf_life_days": 2**63}), "shelf_life_days"),
        (record("item", ITEM | {"shelf_life_days": True}), "shelf_life_days"),
        (record("item", ITEM | {"pack_qty": "99999999999999999"}), "pack_qty"),
        (replace(record("item"), key=b"Struct{item_no=A}"), "key"),
        (record("item", lsn=None, sequence=None), "has no position"),
        (record("item", lsn=None, sequence='["1",null]'), "has no position"),
        (record("item", sequence="nonsense"), "source.sequence"),
        (record("item", sequence='["1"]'), "source.sequence"),
        (record("item", sequence='["-5","7"]'), "source.sequence"),
        (record("item", lsn=2**63), "value.source.lsn"),
        (record("item", lsn=-1), "value.source.lsn"),
        (record("item", lsn="48772456"), "value.source.lsn"),
        (record("item", op="d", key={"item": "A"}, before={}), "key column item_no is missing"),
    ],
)
def test_malformed_records_say_what_is_wrong(given: Record, words: str) -> None:
    bad = refusal(given)
    assert words in bad.reason
    assert len(bad.reason) < 400


def test_items_are_named_where_they_can_be_read() -> None:
    assert refusal(record("item_price", PRICE | {"unit_price": "x"})).items == ("00010000",)
    assert refusal(record("customer", CUSTOMER | {"name": 1})).items == ()
    assert refusal(record("item", ITEM | {"item_no": ["A"]}, key={"item_no": "K"})).items == ("K",)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("erp.public.item", "raw.erp.item"),
        ("legacy-erp.dbo.sales_order_line", "raw.erp.sales_order_line"),
        ("a.b.c.public.item", "raw.erp.item"),
        ("raw.erp.item", "raw.erp.item"),
        ("erp.transaction", "raw.erp.other"),
        ("__debezium-heartbeat.erp", "raw.erp.other"),
        ("__debezium-heartbeat.item", "raw.erp.other"),
        ("erp.public.debezium_signal", "raw.erp.other"),
        ("erp.public.item_archive", "raw.erp.other"),
        ("erp", "raw.erp.other"),
        ("", "raw.erp.other"),
    ],
)
def test_topics_of_a_dump(topic: str, expected: str) -> None:
    assert raw_topic(topic).name == expected


def test_tables_behind_raw_topics() -> None:
    assert table_of("raw.erp.item") == "item"
    assert table_of("raw.erp.other") is None


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_event(name: str) -> None:
    """A delete of each table makes an event its topic can carry, and says its key."""
    samples: dict[Kind, Any] = {Kind.CODE: "K-1 ", Kind.INTEGER: 10, Kind.DATE: 20454}
    key = {column.name: samples[column.kind] for column in TABLES[name].key}
    given = raw(f"raw.erp.{name}", {"op": "d", "before": None, "after": None, "source": source(name)}, key)
    event = one(given)
    assert event.is_deleted
    assert event.event_id.startswith(f"erp:{name}:K-1")
