"""Fields of foreign messages that nobody reads: each is found, with what was probably meant, and changes nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from connectors.channels.marketplace.translate import translate as marketplace
from connectors.channels.orders.translate import translate as channel
from connectors.channels.webshop.translate import translate as webshop
from connectors.crm.translate import translate as crm
from connectors.erp.translate import translate as erp
from connectors.unknown_fields import MOST, OTHERS
from connectors.wms.translate import translate as wms
from schemas.frozen import replace
from schemas.records import Record, Translation
from tests.unit.connectors.test_channel_formats import MARKET, SHOP

Translate = Callable[[Record], Translation]
AT = "2026-11-02T09:14:07Z"
STOCK = {"event_id": "W-1", "sequence": 1, "site": "DC1", "occurred_at": AT, "item": "SKU-1", "qty": "24"}
RECEIVED = {**STOCK, "type": "stock.received", "reference": {"po": "PO-7", "line": 1}}
CHANGED = {**STOCK, "type": "stock.status_changed", "from": "usable", "to": "held"}
SHIPPED = {
    "event_id": "W-2",
    "sequence": 2,
    "type": "shipment.confirmed",
    "site": "DC1",
    "occurred_at": AT,
    "order": "web:W1",
    "shipment": "S1",
    "lines": [{"line": n, "item": "SKU-1", "qty": "1"} for n in (1, 2, 3)],
}
ORDER = {
    "channel": "web",
    "external_ref": "W1",
    "customer": "C",
    "placed_at": AT,
    "policy": {"partial": True},
    "lines": [{"line": 1, "item": "SKU-1", "qty": "3"}],
}
CANCEL = {"channel": "web", "external_ref": "W1", "change": "cancel", "changed_at": AT}
CUSTOMER = {"customer": "C-17", "changed_at": AT, "sequence": 12, "facts": {"email": "a@b.example"}}
SITE = {"site_code": "DC1", "name": "One", "timezone": "UTC"}


def record(topic: str, body: Any) -> Record:
    return Record(topic, 0, 7, 1_793_620_000_000, None, json.dumps(body).encode())


def erp_row(body: Any) -> Record:
    source = {"connector": "postgresql", "name": "erp", "ts_ms": 1, "snapshot": "false", "table": "site", "schema": "public"}
    source |= {"lsn": 5, "sequence": '["4","5"]'}
    return record("raw.erp.site", {"op": "c", "ts_ms": 1, "before": None, "after": body, "source": source})


def put(body: Any, path: str, value: Any) -> Any:
    """The body with one more field at `lines[].x`, in every entry of a list."""
    head, dot, rest = path.partition(".") if path.split(".")[0].removesuffix("[]") in body else (path, "", "")
    if not dot:
        return {**body, path: value}
    name = head.removesuffix("[]")
    inner = body[name]
    return {**body, name: [put(part, rest, value) for part in inner] if head.endswith("[]") else put(inner, rest, value)}


@pytest.mark.parametrize(
    ("translate", "topic", "body", "message", "path"),
    [
        (wms, "raw.wms", RECEIVED, "stock.received", "expires_one"),
        (wms, "raw.wms", RECEIVED, "stock.received", "reference.release"),
        (wms, "raw.wms", CHANGED, "stock.status_changed", "colour"),
        (wms, "raw.wms", SHIPPED, "shipment.confirmed", "lines[].serial_no"),
        (wms, "raw.wms", {**STOCK, "type": "stock.moved", "to_site": "DC1"}, "stock.moved", "lane"),
        (channel, "raw.channel.web", ORDER, "order", "requested_dat"),
        (channel, "raw.channel.web", ORDER, "order", "policy.partiel"),
        (channel, "raw.channel.web", ORDER, "order", "lines[].unit_pric"),
        (channel, "raw.channel.web", CANCEL, "cancel", "reasons"),
        (webshop, "raw.channel.shop", SHOP, "order", "tags"),
        (webshop, "raw.channel.shop", SHOP, "order", "customer.first_name"),
        (webshop, "raw.channel.shop", SHOP, "order", "accept.gift"),
        (webshop, "raw.channel.shop", SHOP, "order", "line_items[].weight"),
        (marketplace, "raw.channel.market", MARKET, "purchase", "ship_bye"),
        (marketplace, "raw.channel.market", MARKET, "purchase", "items[].price.tax"),
        (marketplace, "raw.channel.market", {"id": "W1", "cancelled": AT}, "cancellation", "by"),
        (crm, "raw.crm", CUSTOMER, "customer", "sequence_no"),
    ],
)
def test_an_unknown_field_is_found_and_changes_nothing_else(
    translate: Translate, topic: str, body: Any, message: str, path: str
) -> None:
    plain = translate(record(topic, body))
    assert plain.unknown is None
    more = translate(record(topic, put(body, path, {"any": ["thing", 1]})))
    assert more.unknown is not None
    assert (more.unknown.message, more.unknown.paths) == (message, (path,))
    assert replace(more, unknown=None) == plain  # its events, ids and the feed's digest of its content as well


def test_a_column_of_the_erp_is_found_and_kept_with_its_row() -> None:
    found = erp(erp_row({**SITE, "timezones": "Mars"}))
    assert found.unknown is not None
    assert (found.unknown.message, found.unknown.paths) == ("site", ("timezones",))
    assert erp(erp_row(SITE)).unknown is None


def test_another_name_of_a_known_field_is_known() -> None:
    """`from` is `from_status`: it is not among what may be meant once either is there."""
    found = wms(record("raw.wms", {**CHANGED, "frm": "usable"})).unknown
    assert found is not None
    ((known, given),) = found.among
    assert known["from"] == known["from_status"] == "from_status"
    assert "from_status" in given


def test_a_message_names_so_many_and_no_more() -> None:
    flood = {f"x{n}": n for n in range(1_000)}
    found = wms(record("raw.wms", {**RECEIVED, **flood})).unknown
    assert found is not None
    assert len(found.paths) == MOST + 1 and found.paths[-1] == OTHERS
    row = erp(erp_row({**SITE, **flood})).unknown
    assert row is not None
    assert len(row.paths) == MOST + 1 and row.paths[-1] == OTHERS
    assert len(row.among) == len(row.paths)


@pytest.mark.parametrize("name", ["", "__class__", "model_fields", "__pydantic_extra__", "a.b", "\u202e", "x" * 5_000, "lines"])
def test_a_hostile_name_is_a_name(name: str) -> None:
    found = wms(record("raw.wms", {**RECEIVED, name: 1})).unknown
    assert found is not None and found.paths == (name,)
