"""What one record of the ERP's feed shows of the feed, and what the next ones mean with it."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.erp.known import FeedState
from connectors.erp.topics import mapped, raw_topic
from schemas.customers import ErpCustomersNews
from schemas.documents import ErpDocumentsNews
from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.inventory import ErpItemsNews
from schemas.operations import ExceptionNoted
from streams.flows.erp_feed import ErpFeedTables, erp_translate
from tables.common.table import in_memory
from tests.unit.connectors.test_erp import BALANCE, ITEM, raw, record, source


class Part:
    """A partition of the feed, read record by record."""

    def __init__(self, start: FeedState = FeedState()) -> None:  # noqa: B008 - frozen
        self.t = in_memory(ErpFeedTables)
        self.translate = erp_translate(start)

    def read(self, *args: Any, **changed: Any) -> list[Any]:
        return list(self.translate(self.t, record(*args, **changed)).events)

    def balance(self, on_hand: Any, lsn: int, op: str = "u", **changed: Any) -> list[Any]:
        """A balance, streamed, or read by a snapshot at `lsn`."""
        row = BALANCE | {"on_hand": on_hand, "allocated": "0", "on_order": "0"} | changed.pop("row", {})
        sequence = f'[null,"{lsn}"]' if op == "r" else f'["{lsn - 1}","{lsn}"]'
        snapshot = {"snapshot": "true"} if op == "r" else {}
        return self.read("inventory_balance", row, op=op, lsn=lsn, **{"sequence": sequence, **snapshot, **changed})


def codes(events: list[Any]) -> list[str]:
    return [event.code for event in events if isinstance(event, ExceptionNoted)]


# --- decimals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1000", "1200", "12345678", "-5", "0"])
def test_decimal_text_without_a_point_is_a_number(text: str) -> None:
    (event,) = Part().balance(text, 7)
    assert event.on_hand_milli == int(text) * 1000


def test_what_is_found_once_holds() -> None:
    """Neither a value that could be either, nor one that is the other, changes it."""
    part = Part()
    part.balance("1.500", 7)
    assert part.balance("1000", 8)[-1].on_hand_milli == 1_000_000
    with pytest.raises(BadMessage, match="not a decimal number"):
        part.balance("AA==", 9)
    precise = Part()
    zeros = {"allocated": "AA==", "on_order": "AA=="}
    assert precise.balance("MNQ=", 7, row=zeros)[-1].on_hand_milli == 12_500
    assert precise.balance("1234", 8, row=zeros)[-1].on_hand_milli == -2_658_824


def test_text_read_before_it_was_certain_is_told_of() -> None:
    part = Part()
    part.balance("1234", 7, row={"allocated": "1000", "on_order": "1000"})
    assert codes(part.balance("MNQ=", 8, row={"allocated": "AA==", "on_order": "AA=="})) == ["erp_decimals"]


def test_the_setting_decides() -> None:
    assert (
        Part(FeedState(decimals="precise")).balance("1234", 7, row={"allocated": "AA==", "on_order": "AA=="})[-1].on_hand_milli
        < 0
    )
    with pytest.raises(BadMessage):
        Part(FeedState(decimals="string")).balance("MNQ=", 7)


# --- names of tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("item", "item"),
        ("ITEM", "item"),
        ('"Item"', "item"),
        ("sales_order_line_2026_11", "sales_order_line"),
        ("sales_order_line_p2026_11", "sales_order_line"),
        ("sales_order_line_y2026m11", "sales_order_line"),
        ("sales_order_p1", "sales_order"),
        ("inventory_balance_default", "inventory_balance"),
        ("INVENTORY_BALANCE_P3", "inventory_balance"),
        ("item_price_202611", "item_price"),
        ("item_image", None),
        ("sales_order_notes", None),
        ("debezium_signal", None),
    ],
)
def test_names_of_tables(name: str, table: str | None) -> None:
    assert mapped(name) == table
    assert raw_topic(f"erp.public.{name}").name == f"raw.erp.{table or 'other'}"


def test_a_partition_is_read_as_its_table_by_whatever_topic() -> None:
    for topic in ("raw.erp.item", "raw.erp.other"):
        given = record("item", topic=topic)
        value = given.value or b""
        partition = type(given)(
            *(*_fields(given)[:5], value.replace(b'"table": "item"', b'"table": "item_2026_11"'), given.headers)
        )
        part = Part()
        (event,) = part.translate(part.t, partition).events
        assert event.item == "00010000"


def _fields(given: Any) -> tuple[Any, ...]:
    return tuple(getattr(given, name) for name in given.__struct_fields__)


def test_columns_in_capitals() -> None:
    part = Part()
    upper = {name.upper(): value for name, value in ITEM.items()}
    (event,) = part.read("item", upper, key={"ITEM_NO": "00010000"})
    assert (event.item, event.base_uom) == ("00010000", "EA")


def test_a_table_that_looks_like_a_mapped_one_is_an_exception_that_names_it() -> None:
    part = Part()
    events = part.read("balance_of_texas", BALANCE, topic="raw.erp.other")
    assert codes(events) == ["unread_table"]
    assert "balance_of_texas" in events[0].sentence


def test_a_table_of_another_schema_is_refused() -> None:
    part = Part()
    part.read("item")
    given = raw("raw.erp.item", {"op": "u", "after": ITEM, "source": source("item", schema="archive")}, {"item_no": "00010000"})
    with pytest.raises(BadMessage, match=r"archive\.item came"):
        part.translate(part.t, given)


@pytest.mark.parametrize(
    ("connector", "name"), [("mysql", "MySQL"), ("sqlserver", "SQL Server"), ("oracle", "Oracle"), ("cockroachdb", "cockroachdb")]
)
def test_other_databases_are_refused_by_name(connector: str, name: str) -> None:
    with pytest.raises(BadMessage, match=name) as caught:
        Part().read("item", connector=connector)
    assert caught.value.items == ("00010000",)


# --- histories -----------------------------------------------------------------------------------------------------------


def test_a_second_snapshot_begins_a_history() -> None:
    part = Part()
    first = part.balance("100.0", 900, "r")
    assert [type(event) for event in first[:1]] == [ErpItemsNews]
    assert len(part.balance("100.0", 900, "r")) == 1
    assert part.balance("90.0", 2_000)[-1].epoch == 1
    *news, noted, row = part.balance("40.0", 300, "r")  # lower: the database was restored
    assert [type(event) for event in news] == [ErpItemsNews, ErpDocumentsNews, ErpCustomersNews]  # a table may show no row of it
    assert {(event.what, event.history, event.before) for event in news} == {("history", 300, 900)}
    assert noted.code == "erp_history"
    assert (row.epoch, row.history) == (2, 300)
    assert part.balance("39.0", 310)[-1].epoch == 2


def test_a_history_read_again_is_the_older_one() -> None:
    """A file taken in twice: what it says of before stays behind what is known since."""
    part = Part()
    part.balance("100.0", 900, "r")
    part.balance("40.0", 9_000, "r")
    assert [event.epoch for event in part.balance("100.0", 900, "r")] == [1]
    assert part.balance("90.0", 2_000)[-1].epoch == 1
    assert part.balance("40.0", 9_000, "r")[-1].epoch == 2


def test_an_incremental_snapshot_stays_what_it_is() -> None:
    part = Part()
    part.balance("100.0", 900, "r")
    (row,) = part.balance("99.0", 9_500, "r", snapshot="incremental", sequence='["9400","9500"]')
    assert (row.epoch, row.is_base, row.is_read) == (1, False, True)


def test_a_table_read_again_by_a_connector_that_streams_is_told_of() -> None:
    part = Part()
    part.balance("100.0", 900, "r")
    noted, row = part.balance("99.0", 9_500, "r", sequence='["9400","9500"]')
    assert (noted.code, row.is_base, row.epoch) == ("erp_read_again", False, 1)


def test_a_snapshot_after_streaming_without_one() -> None:
    part = Part()
    part.balance("100.0", 2_000)
    assert part.balance("40.0", 9_000, "r")[-1].epoch == 2
    early = Part()
    early.balance("100.0", 2_000)
    assert early.balance("100.0", 2_000, "r")[-1].epoch == 1  # its first change may have the snapshot's own position


def test_a_history_that_begins_lower_where_none_was_read_is_noticed() -> None:
    """The table was empty when the first connector read it: only changes came, at positions above those that follow."""
    part = Part()
    part.balance("100.0", 9_000, ts_ms=1_000)
    assert part.balance("40.0", 300, "r", ts_ms=2_000)[-1].epoch == 2
    late = Part()
    late.balance("100.0", 9_000, ts_ms=2_000)
    assert late.balance("90.0", 300, "r", ts_ms=1_000)[-1].epoch == 1  # read before the change, and only overtaken by it


def test_news_of_a_truncation_are_the_same_however_often_they_are_delivered() -> None:
    part = Part()
    part.balance("100.0", 900, "r")
    payload = {"op": "t", "source": source("inventory_balance", lsn=950, sequence='["940","950"]')}
    said = raw("raw.erp.inventory_balance", payload)
    times = [part.translate(part.t, replace(said, offset=offset)).events for offset in (1, 2)]
    noted = [event.event_id for events in times for event in events if isinstance(event, ExceptionNoted)]
    assert len(noted) == 2
    assert len(set(noted)) == 1
