"""The demonstration: a real ERP capture, then a warehouse day and four channels' orders, through everything, to quiescence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from typing import Any

from schemas import topics
from schemas.codec import Codec
from schemas.inventory import Atp
from streams.app import App
from streams.demo import traffic
from streams.demo.world import HOUR_MS, DemoItem, Message, OpenLine, Plan, PurchaseLine
from streams.engine.log import TopicPartition
from streams.ingest import Intake, ingest_file

CHUNK = 20
MOST_WAITING = 100
ITEMS = 120

Step = Callable[[str, int, int], None]


@dataclass(slots=True)
class Summary:
    """What became of the day. Latencies: from a raw message's append to the ATP that reflects it, in ms."""

    messages: dict[str, int] = field(default_factory=dict)
    orders_by_status: dict[str, int] = field(default_factory=dict)
    busiest: list[dict[str, Any]] = field(default_factory=list)
    fates: dict[str, dict[str, int]] = field(default_factory=dict)
    duplicates: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    exceptions: dict[str, int] = field(default_factory=dict)
    events: int = 0
    events_per_s: int = 0
    ingest_to_atp_p50_ms: int | None = None
    ingest_to_atp_p99_ms: int | None = None
    seconds: float = 0.0


class Day:
    """Runs the demonstration over a running `App`. `step` is told (what, done, of how many)."""

    def __init__(self, app: App, clock_ms: Callable[[], int], step: Step) -> None:
        self._app = app
        self._clock_ms = clock_ms
        self._step = step
        self._codec = Codec()
        self._intake = Intake(app.log, app.settings.channels)
        self.messages: Counter[str] = Counter()

    def run(self, seed: int, orders: int, garbage: int) -> Summary:
        """ERP, morning, afternoon; each worked off before the next. Raises `RuntimeError` if a worker halts."""
        began = time.monotonic()
        with as_file(files("connectors.erp") / "sample" / "records.jsonl.gz") as capture:
            report = ingest_file(self._app.log, capture, "erp", lambda done, total: self._step("ERP capture", done, total))
        self.messages["erp"] = report.records
        self._settle("ERP worked off")
        busy_ms, events = self._app.worker.counters.busy_ms, self._app.worker.counters.inputs
        self._latencies = _Latencies(self._app, self._codec)
        plan = self._plan(seed, orders, garbage)
        morning = traffic.orders(plan)
        self._feed("stock and orders", morning.messages)
        lines = list(self._open_lines())
        afternoon = traffic.warehouse(plan, lines, morning.next_sequence)
        self._feed("picks and shipments", afternoon.messages)
        summary = self._summary(self._latencies.taken())
        summary.seconds = round(time.monotonic() - began, 1)
        summary.events_per_s = round(events * 1000 / max(1, busy_ms))
        return summary

    # --- the day's input -------------------------------------------------------------------------------------------------

    def _plan(self, seed: int, orders: int, garbage: int) -> Plan:
        rows = self._app.tables.scan
        prices = {key[0]: row.unit_price for key, row in rows("promise", "prices") if key[2] == "USD" and not row.is_deleted}
        items = [
            DemoItem(
                item=row.item,
                uom=row.base_uom,
                is_divisible=row.base_uom in {"KG", "L", "M"},
                is_lot_tracked=row.lot_tracked,
                pack_uom=row.pack_uom,
                pack_milli=row.pack_milli,
                unit_price=prices.get(row.item),
            )
            for _, row in rows("promise", "items")
            if row.status == "A" and not row.is_deleted
        ]
        items = sorted(items, key=lambda item: item.item)[:ITEMS]
        purchases = [
            PurchaseLine(key[1], key[2], key[0], row.site, row.ordered_milli - row.erp_received_milli)
            for key, row in rows("promise", "supplies")
            if row.is_open and row.ordered_milli > row.erp_received_milli
        ]
        return Plan(
            seed=seed,
            items=items,
            sites=sorted({key[0] for key, _ in rows("promise", "sites")}),
            customers=sorted({key[0] for key, row in rows("customers", "customers") if not row.is_deleted}),
            start_ms=self._clock_ms() - 14 * HOUR_MS,
            orders=orders,
            purchases=sorted(purchases, key=lambda line: (line.document, line.line)),
            channels=[name for name in ("web", "marketplace", "crm", "edi") if name in self._app.settings.channels],
            garbage=garbage,
        )

    def _open_lines(self) -> Iterator[OpenLine]:
        """What the channels' orders were allocated."""
        for (item, order_id, line), row in self._app.tables.scan("promise", "demands"):
            for part in row.parts if not row.is_firm else ():
                yield OpenLine(order_id, line, item, part.site, part.qty_milli)

    def _feed(self, what: str, messages: Sequence[Message]) -> None:
        """Deliver as fast as it is worked off: latencies are then those of a loaded system, not of a queue."""
        for at in range(0, len(messages), CHUNK):
            chunk = messages[at : at + CHUNK]
            self._app.log.append([self._intake.outgoing(source, body) for source, body in chunk])
            self.messages.update(source for source, _ in chunk)
            self._step(what, at + len(chunk), len(messages))
            while self._app.watch.waiting() > MOST_WAITING and not self._app.halted():
                time.sleep(0.001)
            self._latencies.look()
        self._settle(f"{what} worked off")

    def _settle(self, what: str) -> None:
        most = 0
        while not self._app.settle(0.2):
            waiting = self._app.watch.waiting()
            most = max(most, waiting)
            self._step(what, most - waiting, most)
        for name, why in self._app.halted().items():
            raise RuntimeError(f"the {name} has halted: {why}")

    # --- what became of it -----------------------------------------------------------------------------------------------

    def _summary(self, latencies_ms: list[int]) -> Summary:
        app = self._app
        summary = Summary(messages=dict(self.messages), events=app.worker.counters.inputs)
        for flow, fates in app.watch.fates().items():
            names = ("inputs", "applied", "duplicate", "ignored", "dead_lettered", "parked")
            summary.fates[flow] = {name: getattr(fates, name) for name in names}
            summary.duplicates += fates.duplicate
        summary.orders_by_status = dict(Counter(row.status for row in every(app.published.order_page, "order_id")).most_common())
        summary.dead_letters = dict(Counter(letter.reason for letter in app.published.dead_letters()).most_common(20))
        open_rows = (row for row in every(app.published.exception_page, "fingerprint") if row.state in {"open", "assigned"})
        summary.exceptions = dict(Counter(row.code for row in open_rows).most_common())
        summary.busiest = self._busiest()
        if latencies_ms:
            ordered = sorted(latencies_ms)
            summary.ingest_to_atp_p50_ms = ordered[len(ordered) // 2]
            summary.ingest_to_atp_p99_ms = ordered[len(ordered) * 99 // 100]
        return summary

    def _busiest(self) -> list[dict[str, Any]]:
        lines = Counter(key[0] for key, row in self._app.tables.scan("promise", "demands") if not row.is_firm)
        found = []
        for item, count in lines.most_common(10):
            row: Atp | None = self._app.published.atp(item)
            if row is not None:
                demand = sum(site.demand_milli for site in row.sites)
                numbers = {"demand_milli": demand, "atp_milli": row.atp_milli, "promise_milli": row.promise_milli}
                found.append({"item": item, "uom": row.uom, "lines": count} | numbers)
        return found


def every(page: Callable[[str | None, int], list[Any]], key: str) -> Iterator[Any]:
    """All rows of a paged view."""
    after: str | None = None
    while rows := page(after, 500):
        yield from rows
        after = getattr(rows[-1], key)


class _Latencies:
    """ATP records written from now on: from the newest raw message they reflect to their own append."""

    def __init__(self, app: App, codec: Codec) -> None:
        self._codec = codec
        topic = topics.ATP.name
        ends = {}
        for partition in range(topics.ATP.partitions):
            at = TopicPartition(topic, partition)
            ends[at] = app.log.bounds(at)[1]
        self._follower = app.log.follow(ends)
        self._seen: list[int] = []

    def look(self) -> None:
        """Take in what was written since: often, because only the newest record of an item is kept."""
        while records := self._follower.poll(1_000, 0):
            for record in records:
                row: Atp = self._codec.decode(record.value or b"")
                self._seen.append(max(0, record.timestamp_ms - row.as_of_ms))

    def taken(self) -> list[int]:
        """All of them, in ms."""
        self.look()
        self._follower.close()
        return self._seen
