"""What became of a demonstration, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from schemas import topics
from schemas.codec import Codec
from schemas.inventory import Atp
from schemas.orders import Milestone, OrderStatus
from streams.engine.log import TopicPartition, records_from
from streams.runtime.app import App


@dataclass(slots=True)
class Summary:
    """Latencies: from a raw message's append to the ATP that reflects it, in ms. Milestones: median seconds since the one before.

    `lines_kept`: lines accepted that shipped in full; `lines_short`: that ended with less than was promised, by nobody's wish.
    """

    messages: dict[str, int] = field(default_factory=dict)
    orders_by_status: dict[str, int] = field(default_factory=dict)
    lines_kept: int = 0
    lines_short: int = 0
    lines_waiting: int = 0
    oversold: int = 0
    obligations: dict[str, int] = field(default_factory=dict)
    obligations_open: int = 0
    milestones: dict[str, dict[str, float]] = field(default_factory=dict)
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


def summed_up(app: App, codec: Codec, messages: dict[str, int], latencies_ms: list[int]) -> Summary:
    """The state as it is now, and what led to it."""
    summary = Summary(messages=messages, events=app.counters().inputs)
    for flow, fates in app.watch.fates().items():
        names = ("inputs", "applied", "duplicate", "ignored", "dead_lettered", "parked")
        summary.fates[flow] = {name: getattr(fates, name) for name in names}
        summary.duplicates += fates.duplicate
    _of_orders(summary, [row for row in every(app.published.order_page, "order_id") if row.decision])
    for endpoint in app.published.endpoints():
        summary.obligations[endpoint.endpoint] = endpoint.done
        summary.obligations_open += endpoint.waiting
    summary.milestones = _milestones(app, codec)
    summary.dead_letters = dict(Counter(letter.reason for letter in app.published.dead_letters()).most_common(20))
    rows = [row for row in every(app.published.exception_page, "fingerprint") if row.state in {"open", "assigned"}]
    summary.exceptions = dict(Counter(row.code for row in rows).most_common())
    summary.oversold = summary.exceptions.get("oversold", 0)
    summary.busiest = _busiest(app)
    if latencies_ms:
        ordered = sorted(latencies_ms)
        summary.ingest_to_atp_p50_ms = ordered[len(ordered) // 2]
        summary.ingest_to_atp_p99_ms = ordered[len(ordered) * 99 // 100]
    return summary


def _of_orders(summary: Summary, orders: list[OrderStatus]) -> None:
    summary.orders_by_status = dict(Counter(row.status for row in orders).most_common())
    for row in orders:
        if row.decision != "accepted":
            continue
        for line in row.lines:
            wanted = line.ordered_milli - line.cancelled_milli
            summary.lines_kept += bool(line.shipped_milli and line.shipped_milli >= wanted and not line.backordered_milli)
            summary.lines_short += line.state == "short"
            summary.lines_waiting += line.backordered_milli > 0


def _milestones(app: App, codec: Codec) -> dict[str, dict[str, float]]:
    taken: dict[str, list[int]] = {}
    late: Counter[str] = Counter()
    for partition in range(topics.MILESTONES.partitions):
        for record in records_from(app.log, TopicPartition(topics.MILESTONES.name, partition), 0):
            row: Milestone = codec.decode(record.value or b"")
            order = app.published.order(row.order_id)
            if order is not None and order.decision:
                taken.setdefault(row.milestone, []).append(row.since_previous_ms or 0)
                late[row.milestone] += row.is_late
    return {
        name: {"orders": len(all_ms), "median_s": round(median(all_ms) / 1000, 1), "late": late[name]}
        for name, all_ms in sorted(taken.items(), key=lambda one: -len(one[1]))
    }


def _busiest(app: App) -> list[dict[str, Any]]:
    demands = app.tables.scan("promise", "demands")
    lines = Counter(key[0] for key, _ in demands if not key[1].startswith("erp:"))
    found = []
    for item, count in lines.most_common(10):
        row: Atp | None = app.published.atp(item)
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


class Latencies:
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
