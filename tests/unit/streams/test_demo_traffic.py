"""Demo traffic: reproducible, true to its manifest, and understood by the connectors."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

import connectors.channels.orders.translate
import connectors.wms.translate
from connectors.wms.wire import TYPES
from schemas.errors import AlreadyApplied, BadMessage
from schemas.orders import OrderPlaced
from schemas.records import Record, Translation
from schemas.topics import RAW_WMS, raw_channel
from streams.demo.garbage import CHANNEL_KINDS, WMS_KINDS
from streams.demo.traffic import orders, warehouse
from streams.demo.world import DemoItem, Message, OpenLine, Plan, PurchaseLine
from tables.feeds import FeedTables, admit
from tables.table import in_memory

START_MS = 1_793_606_400_000
ITEMS = [
    DemoItem("SKU-1", "EA", unit_price=Decimal("12.50")),
    DemoItem("SKU-2", "EA", pack_uom="CS", pack_milli=12_000),
    DemoItem("SKU-3", "KG", is_divisible=True, unit_price=Decimal("0.9")),
    DemoItem("SKU-4", "EA", is_lot_tracked=True),
    DemoItem("SKU-5", "KG", is_divisible=True),
]
PLAN = Plan(
    seed=7,
    items=ITEMS,
    sites=["DC1", "DC2"],
    customers=["C-1", "C-2"],
    start_ms=START_MS,
    purchases=[PurchaseLine("PO-1", 1, "SKU-1", "DC1", 40_000), PurchaseLine("PO-1", 2, "gone", "DC1", 5_000)],
)
OPEN = [
    OpenLine(
        f"web:W{n}", line, item.item, ("DC1", "DC2")[n % 2], 1_000 * (1 + n % 5) + (250 if item.is_divisible else 0), item.uom
    )
    for n in range(300)
    for line, item in enumerate(ITEMS[: 1 + n % 5], start=1)
]


def translate(message: Message, offset: int = 0) -> Translation:
    topic = RAW_WMS if message.source == "wms" else raw_channel(message.source)
    record = Record(topic.name, 0, offset, START_MS + 12 * 3_600_000, None, message.body)
    if message.source == "wms":
        return connectors.wms.translate.translate(record)
    return connectors.channels.orders.translate.translate(record)


def test_the_same_plan_gives_the_same_bytes_and_another_seed_does_not() -> None:
    """A failing run is replayed from its seed."""
    assert orders(PLAN) == orders(PLAN)
    assert warehouse(PLAN, OPEN, 900) == warehouse(PLAN, list(reversed(OPEN)), 900)
    assert orders(replace(PLAN, seed=8)).messages != orders(PLAN).messages


@pytest.mark.parametrize("phase", ["orders", "warehouse"])
def test_the_manifest_is_true(phase: str) -> None:
    """Unique messages, repetitions and garbage are as many as were counted, source by source."""
    plan = replace(PLAN, garbage=40)
    traffic = orders(plan) if phase == "orders" else warehouse(plan, OPEN, 900)
    sent = Counter(m.source for m in traffic.messages)
    unique: Counter[str] = Counter()
    garbage: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for message in set(traffic.messages):
        try:
            translate(message)
        except BadMessage:
            garbage[message.source] += 1
        else:
            unique[message.source] += 1
            body = json.loads(message.body)
            kinds[f"{message.source} {body.get('type') or body.get('change') or 'order'}"] += 1
    for source, counts in traffic.manifest.items():
        assert counts.unique == unique[source] == sum(counts.types.values())
        assert sum(counts.garbage.values()) == garbage[source]
        assert counts.unique + counts.duplicates + garbage[source] == sent[source]
        assert {f"{source} {kind}": n for kind, n in counts.types.items()} == {
            k: n for k, n in kinds.items() if k.split(" ", 1)[0] == source
        }


def test_a_day_has_everything() -> None:
    """Every WMS type, orders and changes of four channels, repetitions everywhere."""
    morning, afternoon = orders(PLAN), warehouse(PLAN, OPEN, 900)
    types = {**morning.manifest["wms"].types, **afternoon.manifest["wms"].types}
    assert set(types) == set(TYPES)
    channels = PLAN.channels
    assert set(morning.manifest) == {"wms", *channels}
    assert all(morning.manifest[c].duplicates > 0 for c in channels)
    changes = {kind for c in channels for kind in morning.manifest[c].types}
    assert changes == {"order", "cancel", "cancel_line", "set_qty"}
    assert afternoon.manifest["wms"].duplicates > 0


def test_every_kind_of_garbage_is_refused() -> None:
    """All kinds are there, and each is a bad message for its connector."""
    traffic = orders(replace(PLAN, orders=1, stock_events=0, garbage=2 * len(WMS_KINDS)))
    found = {kind for counts in traffic.manifest.values() for kind in counts.garbage}
    assert found == {*WMS_KINDS, *CHANNEL_KINDS}


@pytest.mark.parametrize("displacement", [0, 8, 50])
def test_delivery_is_out_of_order_within_bounds_and_the_feed_ledger_puts_it_right(displacement: int) -> None:
    """Each WMS message is admitted once, repetitions are recognised, no gap stays, also over both phases."""
    plan = replace(PLAN, displacement=displacement)
    morning = orders(plan)
    afternoon = warehouse(plan, OPEN, morning.next_sequence)
    feeds = in_memory(FeedTables)
    admitted: list[int] = []
    duplicates = 0
    for message in (*morning.messages, *afternoon.messages):
        feed = translate(message).feed
        if feed is None:
            continue
        try:
            list(admit(feeds, feed))
            admitted.append(feed.sequence)
        except AlreadyApplied:
            duplicates += 1
    assert sorted(admitted) == list(range(1, afternoon.next_sequence))
    assert duplicates == morning.manifest["wms"].duplicates + afternoon.manifest["wms"].duplicates
    assert feeds.feeds[("wms",)].gaps == 0
    early = max(at - sequence for at, sequence in enumerate(admitted, start=1))
    assert (early == 0) == (displacement == 0)
    assert early <= displacement


def test_a_channel_is_not_overtaken_and_an_order_is_executed_in_order() -> None:
    """A change comes after its order, a shipment after its picks, but for repetitions."""
    seen: set[str] = set()
    for message in orders(PLAN).messages:
        if message.source != "wms":
            for event in translate(message).events:
                assert isinstance(event, OrderPlaced) or event.order_id in seen
                seen.add(event.order_id)
    picked: set[tuple[str, int]] = set()
    for message in warehouse(PLAN, OPEN, 900).messages:
        body: dict[str, Any] = json.loads(message.body)
        if body["type"].startswith("pick.") and body["type"] != "pick.released":
            picked.add((body["order"], body["line"]))
        elif body["type"] == "shipment.confirmed":
            assert {(body["order"], line["line"]) for line in body["lines"]} <= picked


def test_units_are_whole_where_they_are_indivisible_and_no_more_is_picked_than_was_allocated() -> None:
    """Quantities make sense for the unit they are in."""
    allocated = {(line.order_id, line.line): line.qty_milli for line in OPEN}
    whole = {item.item for item in ITEMS if not item.is_divisible}
    done: Counter[tuple[str, int]] = Counter()
    for message in {*orders(PLAN).messages, *warehouse(PLAN, OPEN, 900).messages}:
        for event in translate(message).events:
            for line in getattr(event, "lines", [event]):
                item, milli = getattr(line, "item", None), getattr(line, "qty_milli", 0)
                assert item not in whole or milli % 1_000 == 0
            if type(event).__name__ in ("LinePicked", "LineShorted", "LineSubstituted"):
                done[event.order_id, event.line] += event.qty_milli
    assert done
    assert all(milli <= allocated[key] for key, milli in done.items())
