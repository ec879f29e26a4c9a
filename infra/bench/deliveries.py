"""What the delivery log says after the fact: when each obligation was raised and settled, in which order, and what was asked."""

from __future__ import annotations

from bisect import bisect, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import DispatchAnswered, ObligationRaised
from schemas.obligations import ReleaseOrder, ReleaseWithdrawn, WithdrawRelease, body_of
from schemas.quantity import show, to_decimal
from streams.engine.log import TopicPartition, records_from
from streams.queries.published import ReadableLog

SETTLED = ("done", "refused")
Place = tuple[str, int, str]  # order, line, site


@dataclass(slots=True)
class Owed:
    """An obligation. `rank`: its turn among those of its endpoint that were settled."""

    raised: ObligationRaised
    raised_ms: int
    settled_ms: int | None = None
    rank: int = -1
    answer: DispatchAnswered | None = None
    attempts: int = 0


@dataclass(slots=True)
class EndpointLog:
    """All that was owed to an endpoint, in the order it was raised. `twice`: obligations that were settled again."""

    owed: dict[str, Owed] = field(default_factory=dict)
    settled: int = 0
    twice: list[str] = field(default_factory=list)

    def lost(self) -> list[str]:
        """Neither settled, nor such as may give way to a newer one."""
        return [name for name, owed in self.owed.items() if owed.settled_ms is None and not owed.raised.is_replaceable]

    def latencies_ms(self, start_ms: int, end_ms: int) -> list[int]:
        """From raised to settled, of those raised in that time."""
        return sorted(o.settled_ms - o.raised_ms for o in self._settled() if start_ms <= o.raised_ms < end_ms and o.settled_ms)

    def drained_ms(self, up_ms: int) -> int:
        """How long after that instant the last of those raised before it was settled."""
        return max((o.settled_ms - up_ms for o in self._settled() if o.raised_ms < up_ms and o.settled_ms), default=0)

    def largest_backlog(self) -> int:
        """The most that were ever owed at a time."""
        moves = sorted([(o.raised_ms, 1) for o in self._settled()] + [(o.settled_ms or 0, -1) for o in self._settled()])
        most = now = 0
        for _, move in moves:
            now += move
            most = max(most, now)
        return most

    def out_of_order(self) -> list[str]:
        """Obligations settled before an older one of the same order."""
        newest: dict[str, int] = {}
        found = []
        for name, owed in self.owed.items():
            if owed.rank >= 0:
                if owed.rank < newest.get(owed.raised.aggregate, -1):
                    found.append(name)
                newest[owed.raised.aggregate] = max(owed.rank, newest.get(owed.raised.aggregate, -1))
        return found

    def overtaken(self) -> list[int]:
        """For each one, by how many it was overtaken that were raised after it."""
        turn = {name: n for n, name in enumerate(self.owed)}
        seen: list[int] = []
        found = []
        for name, _ in sorted(self.owed.items(), key=lambda one: one[1].rank):
            if self.owed[name].rank >= 0:
                found.append(len(seen) - bisect(seen, turn[name]))
                insort(seen, turn[name])
        return sorted(found)

    def _settled(self) -> Iterator[Owed]:
        return (owed for owed in self.owed.values() if owed.settled_ms is not None)


def read_deliveries(log: ReadableLog, codec: Codec) -> dict[str, EndpointLog]:
    """Every obligation ever raised, by endpoint."""
    found: dict[str, EndpointLog] = {}
    topic = topics.DELIVERY_INBOX
    for partition in range(topic.partitions):
        for record in records_from(log, TopicPartition(topic.name, partition), 0):
            event = codec.decode(record.value or b"")
            if isinstance(event, ObligationRaised):
                of = found.setdefault(event.endpoint, EndpointLog())
                of.owed.setdefault(event.obligation_id, Owed(event, record.timestamp_ms))
            elif isinstance(event, DispatchAnswered):
                _answered(found[event.endpoint], event, record.timestamp_ms)
    return found


def _answered(of: EndpointLog, event: DispatchAnswered, at_ms: int) -> None:
    owed = of.owed[event.obligation_id]
    owed.attempts += 1
    if event.outcome not in SETTLED:
        return
    if owed.settled_ms is not None:
        of.twice.append(event.obligation_id)
        return
    owed.settled_ms, owed.rank, owed.answer = at_ms, of.settled, event
    of.settled += 1


def lost_or_doubled(wms: EndpointLog, state: dict[str, Any]) -> list[str]:
    """Where the warehouse's own books differ from what it was asked: units of a line released or withdrawn."""
    asked, given_back = _asked(wms.owed.values())
    found = []
    theirs: set[Place] = set()
    for order_id, lines in state["orders"].items():
        for line in lines:
            place = order_id, int(line["line"]), str(line["site"])
            theirs.add(place)
            for what, ours in (("released", asked), ("withdrawn", given_back)):
                if Decimal(line[what]) != to_decimal(ours[place]):
                    found.append(f"{order_id} line {place[1]} at {place[2]}: {line[what]} {what}, {show(ours[place])} here")
    return found + [f"{place[0]} line {place[1]} at {place[2]} never came" for place in asked if place not in theirs]


def _asked(all_owed: Iterable[Owed]) -> tuple[Counter[Place], Counter[Place]]:
    asked: Counter[Place] = Counter()
    given_back: Counter[Place] = Counter()
    for owed in all_owed:
        if owed.answer is None or owed.answer.outcome != "done":
            continue
        body = body_of(owed.raised.kind, owed.raised.body)
        if isinstance(body, ReleaseOrder):
            asked.update({(body.order_id, x.line, x.site): 0 for x in body.lines})
            for x in body.lines:
                asked[body.order_id, x.line, x.site] += x.qty_milli
        elif isinstance(body, WithdrawRelease):
            for x in msgspec.json.decode(owed.answer.answer, type=ReleaseWithdrawn).lines:
                given_back[body.order_id, x.line, x.site] += x.qty_milli
    return asked, given_back
