"""A small fold and translator over real event types, for the engine's tests. What an event's `uom` says decides what happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schemas import topics
from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage, BrokenInvariant, NotYet, Refused
from schemas.frozen import replace
from schemas.inventory import (
    Atp,
    ItemChanged,
    ItemSuspected,
    LedgerEntry,
    SiteChanged,
    Status,
    StockAdjusted,
    StockReceived,
    SuspicionCleared,
)
from schemas.records import FeedPosition, Headers, Record, Translation
from streams.engine.flow import Fold, Translator
from streams.engine.log import Outgoing, StoreId, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partition import Flow, Limits
from streams.engine.partitions import partition_of
from streams.engine.worker import Pace, Worker
from tables.common.table import Table

CODEC = Codec()
INBOX = topics.PROMISE_INBOX.name
PARTITIONS = topics.PROMISE_INBOX.partitions
ALL_TOPICS = topics.DEFINED


@dataclass(frozen=True, slots=True)
class Item:
    status: str


@dataclass(frozen=True, slots=True)
class Stock:
    on_hand_milli: int


@dataclass(frozen=True, slots=True)
class Seen:
    occurred_at_ms: int


@dataclass(slots=True)
class ToyTables:
    items: Table[tuple[str], Item]
    stock: Table[tuple[str, str], Stock]
    seen: Table[tuple[str, str], Seen]
    suspects: Table[tuple[str, str], Seen]


def on_item(t: ToyTables, e: ItemChanged) -> Iterator[Any]:
    t.items[e.item,] = Item(e.status)
    yield from ()


def on_received(t: ToyTables, e: StockReceived) -> Iterator[Any]:
    if (e.item, e.event_id) in t.seen:
        raise AlreadyApplied
    if (e.item,) not in t.items:
        raise NotYet(f"item {e.item} is unknown")
    held = t.stock.get((e.item, e.site)) or Stock(0)
    t.stock[e.item, e.site] = Stock(held.on_hand_milli + e.qty_milli)
    t.seen[e.item, e.event_id] = Seen(e.occurred_at_ms)
    yield LedgerEntry(
        item=e.item,
        cause=e.event_id,
        cause_type="StockReceived",
        source=e.source,
        occurred_at_ms=e.occurred_at_ms,
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        note="",
        changes=[],
    )
    match e.uom:
        case "REFUSED":
            raise Refused(f"unit {e.event_id!r} is none of {e.item}", hint="send EA", items=("OTHER",))
        case "BROKEN":
            raise BrokenInvariant("stock is impossible")
        case "BUG":
            raise KeyError("oops")


def on_adjusted(t: ToyTables, e: StockAdjusted) -> Iterator[Any]:
    """What it yields is not the promise fold's to write."""
    yield replace(received(e.item, e.event_id), source="promise")


def on_suspected(t: ToyTables, e: ItemSuspected) -> Iterator[Any]:
    t.suspects[e.item, e.dead_letter_id] = Seen(e.occurred_at_ms)
    if e.reason.startswith("refuse me"):
        raise Refused("a suspicion about a suspicion")
    yield from ()


def on_cleared(t: ToyTables, e: SuspicionCleared) -> Iterator[Any]:
    if (e.item, e.dead_letter_id) in t.suspects:
        del t.suspects[e.item, e.dead_letter_id]
    yield from ()


def on_site(t: ToyTables, e: SiteChanged) -> Iterator[Any]:
    raise Refused(f"no site {e.site}")


def on_hand(t: ToyTables, item: str, version: int) -> Atp | None:
    total = sum(row.on_hand_milli for _, row in t.stock.under(item))
    if total == 0:
        return None
    return Atp(
        item=item,
        version=version,
        as_of_ms=0,
        policy="lookahead",
        uom="EA",
        item_status="A",
        safety_stock_milli=0,
        atp_milli=total,
        promise_milli=total,
        sites=[],
        marks=[],
        suspects=[dead_letter_id for (_, dead_letter_id), _ in t.suspects.under(item)],
    )


def toy_fold() -> Fold[ToyTables]:
    fold = Fold("promise", topics.PROMISE_INBOX, ToyTables)
    fold.on(ItemChanged)(on_item)
    fold.on(StockReceived)(on_received)
    fold.on(StockAdjusted)(on_adjusted)
    fold.on(ItemSuspected)(on_suspected)
    fold.on(SuspicionCleared)(on_cleared)
    fold.on(SiteChanged)(on_site)
    fold.derive(on=("stock", "suspects"))(on_hand)
    fold.release_on(ItemChanged)
    return fold


@dataclass(slots=True)
class FeedTables:
    sequences: Table[tuple[str, int], Seen]


def admit(t: FeedTables, feed: FeedPosition) -> Iterator[Any]:
    if (feed.source, feed.sequence) in t.sequences:
        raise AlreadyApplied
    t.sequences[feed.source, feed.sequence] = Seen(feed.occurred_at_ms)
    yield from ()


def translate(record: Record) -> Translation:
    try:
        message = json.loads(record.value or b"")
    except ValueError:
        raise BadMessage(f"{len(record.value or b'')} bytes are no JSON", hint="send JSON", items=("SKU-1",)) from None
    feed = FeedPosition("wms", message["sequence"], 0)
    if "item" not in message:
        return Translation(feed=feed, ignored=message["type"])
    event = replace(received(message["item"], f"W-{message['sequence']}"), qty_milli=message.get("qty", 1000))
    return Translation([event], feed)


def toy_translator() -> Translator:
    return Translator("translate.wms", [topics.RAW_WMS], translate, tables=FeedTables, admit=admit)


def _origin(event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "source": "wms",
        "source_position": 1,
        "occurred_at_ms": 1_000,
        "recorded_at_ms": 2_000,
        "trace_id": f"raw.wms/0/{event_id}",
    }


_ROW: dict[str, Any] = {"commit_position": 1, "is_base": False, "is_read": False, "is_deleted": False, "extra": {}}


def received(item: str, event_id: str, uom: str | None = None, qty_milli: int = 1_000, site: str = "DC1") -> StockReceived:
    return StockReceived(
        **_origin(event_id),
        item=item,
        site=site,
        lot=None,
        qty_milli=qty_milli,
        uom=uom,
        status=Status.USABLE,
        expires_on=None,
        document=None,
        document_line=None,
    )


def adjusted(item: str, event_id: str) -> StockAdjusted:
    return StockAdjusted(
        **_origin(event_id), item=item, site="DC1", lot=None, qty_milli=1, uom=None, status=Status.USABLE, reason="count"
    )


def suspect(item: str, reason: str) -> ItemSuspected:
    return ItemSuspected(**_origin("S"), item=item, dead_letter_id="raw.wms/0/1", reason=reason)


def site_changed(site: str) -> SiteChanged:
    return SiteChanged(**_origin(site), **_ROW, site=site, name="", timezone="UTC")


def item_changed(item: str, event_id: str = "I") -> ItemChanged:
    return ItemChanged(
        **_origin(event_id),
        **_ROW,
        item=item,
        description=None,
        description_is_unavailable=False,
        base_uom="EA",
        pack_uom=None,
        pack_milli=None,
        lot_tracked=False,
        shelf_life_days=None,
        status="A",
        safety_stock_milli=0,
        hazmat_class=None,
        updated_at="",
        renumbered_from=None,
    )


def to_inbox(event: Any, headers: Headers = ()) -> Outgoing:
    """The event as it stands on the promise inbox."""
    key = getattr(event, topics.ROUTES[type(event)].key).encode()
    return Outgoing(INBOX, partition_of(key, PARTITIONS), key, CODEC.encode(event), headers)


def raw(value: bytes, headers: Headers = ()) -> Outgoing:
    return Outgoing(topics.RAW_WMS.name, 0, None, value, headers)


def new_log(outgoing: Sequence[Outgoing] = (), **kwargs: Any) -> MemoryLog:
    log = MemoryLog(clock_ms=lambda: 5_000, **kwargs)
    log.create(ALL_TOPICS)
    log.append(outgoing)
    return log


def new_worker(
    log: Any,
    flows: Sequence[Flow] | None = None,
    batch: int = 10_000,
    limits: Limits | None = None,
    at: Callable[[str], None] = lambda point: None,
) -> Worker:
    return Worker(
        log,
        [toy_fold()] if flows is None else flows,
        CODEC,
        pace=Pace(max_batch=batch, min_batch=batch, poll_s=0.0, backoff_s=(0.0, 0.0)),
        limits=limits,
        clock_ms=lambda: 0,
        at=at,
    )


def drain(worker: Worker) -> None:
    """Step until there is nothing to do."""
    while (report := worker.step()).inputs or report.is_fenced:
        pass


def run(*outgoing: Outgoing, batch: int = 10_000, limits: Limits | None = None) -> tuple[MemoryLog, Worker]:
    """The log and the worker after the toy fold has had these records."""
    log = new_log(outgoing)
    worker = new_worker(log, batch=batch, limits=limits)
    drain(worker)
    return log, worker


def dump(log: MemoryLog, flow: str = "promise", partitions: int = PARTITIONS) -> list[list[tuple[bytes, bytes]]]:
    """All rows of a flow, by partition."""
    return [list(log.store(StoreId(flow, p)).range(b"", None)) for p in range(partitions)]


def sent(log: Any, kind: type[Any]) -> list[Any]:
    """Every event of a type that stands in the log."""
    topic = topics.ROUTES[kind].topic
    found = []
    for partition in range(topic.partitions):
        for record in log.read(TopicPartition(topic.name, partition), 0, 1_000_000):
            try:
                event = CODEC.decode(record.value or b"")
            except BadMessage:  # a test's junk
                continue
            if type(event) is kind:
                found.append(event)
    return found


def fates(worker: Worker) -> dict[str, int]:
    """Sums over all flow partitions, zeros left out."""
    names = ("inputs", "applied", "duplicate", "ignored", "dead_lettered", "parked")
    sums = {name: sum(getattr(row, name) for row in worker.fates().values()) for name in names}
    return {name: count for name, count in sums.items() if count}
