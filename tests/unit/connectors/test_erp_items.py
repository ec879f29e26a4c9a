"""The items an ERP record names, whatever else is wrong with it."""

from __future__ import annotations

from connectors.erp.items import items_of
from schemas.records import Record


def test_items_are_found_in_key_and_value_each_once() -> None:
    value = b'{"before": {"item_no":"A"}, "after": {"item_no" : "\\u00dc 1"} broken'
    assert items_of(Record("raw.erp.item", 0, 0, 0, b'{"item_no": "A"}', value)) == ("A", "Ü 1")


def test_what_is_no_item_is_left_out() -> None:
    value = b'{"item_no": 7, "item_no": "", "item_no": "\\ud800", "item_no": "a\\u0007"}'
    assert items_of(Record("raw.erp.item", 0, 0, 0, None, value)) == ()
    assert items_of(Record("raw.erp.item", 0, 0, 0, None, None)) == ()
