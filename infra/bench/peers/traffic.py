"""What the engines are given, from a seed, and what they have to make of it.

Workload (a): `{"key", "qty", "t"}`. Workload (b): the messages of four warehouses' feeds, with the order lines and purchase
lines they belong to, as JSON. An order takes only what its item has, so that every engine promises the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from infra.bench.peers.jobs import PARTITIONS, Workload
from streams.engine.partitions import partition_of
from tables.inventory.atp import lookahead, projected

HORIZON_DAYS = 30
OPEN_LINES = 10_000
SITES = tuple(f"DC{n + 1}" for n in range(12))


class TrafficMessage(NamedTuple):
    """A record of the input topic, with what is its time filled in by `at`."""

    partition: int
    key: bytes
    head: bytes
    tail: bytes

    def at(self, time: int) -> bytes:
        """The value of a message sent at this time."""
        return b"%b%d%b" % (self.head, time, self.tail)


class PeerLoad(Protocol):
    """A source of messages that knows what comes out."""

    def messages(self, count: int) -> Iterator[TrafficMessage]:
        """The next messages."""
        ...


class Sums:
    """Workload (a). `is_each_once`: each key once, in order, for the restore of a store of so many rows."""

    def __init__(self, keys: int, seed: int, *, is_each_once: bool = False) -> None:
        self.expected: dict[str, tuple[int, int]] = {}
        self._keys = keys
        self._rng = random.Random(seed)  # noqa: S311 - a load, not a secret
        self._next = 0 if is_each_once else None

    def again(self) -> None:
        """From the first key on, where each comes once."""
        self._next = 0

    def messages(self, count: int) -> Iterator[TrafficMessage]:
        """The next messages."""
        draw, keys, expected = self._rng.random, self._keys, self.expected
        for _ in range(count):
            if self._next is None:
                n = int(draw() * keys)
            else:
                n, self._next = self._next, self._next + 1
            key = f"K{n:07}"
            qty = n % 9 + 1
            held = expected.get(key)
            expected[key] = (1, qty) if held is None else (held[0] + 1, held[1] + qty)
            data = key.encode()
            yield TrafficMessage(partition_of(data, PARTITIONS), data, b'{"key":"%b","qty":%d,"t":' % (data, qty), b"}")


@dataclass(slots=True)
class SiteSums:
    """What an item's site must come to: units, and supply and demand by ISO date."""

    usable: int = 0
    staged: int = 0
    unpromised: int = 0
    days: dict[str, list[int]] = field(default_factory=dict)

    def plan(self, day: str, supply: int, demand: int) -> None:
        """More (or less) expected on a day."""
        net = self.days.setdefault(day, [0, 0])
        net[0] += supply
        net[1] += demand
        if net == [0, 0]:
            del self.days[day]

    def atp(self, today: str) -> int:
        """What can be promised, by the project's own formula."""
        first = datetime.fromisoformat(today)
        days = [(first + timedelta(days=n)).date().isoformat() for n in range(HORIZON_DAYS)]
        nets = [self.days.get(day, (0, 0)) for day in days]
        return lookahead(projected(self.usable, [net[0] for net in nets], [net[1] for net in nets]))[0]


class _Line(NamedTuple):
    item: int
    document: str
    units: int
    day: str


class WarehouseTraffic:
    """Workload (b): 30 % receipts, 10 % of them of purchase lines, 10 % corrections, the rest orders, picks and shipments.

    One a millisecond since midnight, which no run gets to the end of.
    """

    def __init__(self, keys: int, seed: int, *, is_keyed: bool) -> None:
        self.expected: dict[str, SiteSums] = {}
        self.today = datetime.now(UTC).date().isoformat()
        self._keys = keys
        self._is_keyed = is_keyed
        self._rng = random.Random(seed)  # noqa: S311 - a load, not a secret
        first = datetime.fromisoformat(self.today)
        # Not today nor tomorrow: a run may go over midnight.
        self._days = [(first + timedelta(days=n)).date().isoformat() for n in range(2, HORIZON_DAYS - 2)]
        self._number = 0
        self._sequences = [0] * PARTITIONS
        self._stocked: list[int] = []
        self._supplies: list[_Line] = []
        self._to_pick: list[_Line] = []
        self._to_ship: list[_Line] = []

    def messages(self, count: int) -> Iterator[TrafficMessage]:
        """The next messages."""
        for _ in range(count):
            yield self._next()

    def _next(self) -> TrafficMessage:
        self._number += 1
        draw = self._rng.random()
        if draw < 0.30 or not self._stocked:
            return self._receive()
        if draw < 0.40:
            return self._adjust()
        if draw < 0.50 and len(self._supplies) < OPEN_LINES:
            return self._supply()
        if (draw < 0.70 or not self._to_pick) and len(self._to_pick) < OPEN_LINES:
            return self._order()
        if (draw < 0.85 or not self._to_ship) and self._to_pick and len(self._to_ship) < OPEN_LINES:
            return self._pick()
        return self._ship() if self._to_ship else self._receive()

    def _site(self, n: int) -> SiteSums:
        return self.expected.setdefault(item_of(n), SiteSums())

    def _message(self, n: int, kind: bytes, rest: str) -> TrafficMessage:
        item, site = item_of(n), SITES[n % len(SITES)]
        key = item.encode() if self._is_keyed else site.encode()
        partition = partition_of(key, PARTITIONS) if self._is_keyed else n % len(SITES) % PARTITIONS
        self._sequences[partition] += 1
        sequence = self._sequences[partition]
        seconds, ms = divmod(self._number, 1000)
        at = f"{self.today}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"
        head = (
            f'{{"event_id":"W-{sequence}","sequence":{sequence},"instance":"feed{partition}","type":"{kind.decode()}","site":"{site}",'
            f'"occurred_at":"{at}",{rest},"sent_at":'
        )
        return TrafficMessage(partition, key, head.encode(), b"}")

    def _units(self, n: int, kind: bytes, units: int, more: str = "") -> TrafficMessage:
        return self._message(n, kind, f'"item":"{item_of(n)}","lot":null,"qty":"{units}","uom":"EA"{more}')

    def _receive(self) -> TrafficMessage:
        supply = self._taken(self._supplies) if self._supplies and self._rng.random() < 0.3 else None
        n = supply.item if supply else self._rng.randrange(self._keys)
        units = supply.units if supply else self._rng.randrange(10, 50)
        site = self._site(n)
        site.usable += units
        site.unpromised += units
        more = ',"status":"usable"'
        if supply:
            site.plan(supply.day, -units, 0)
            more += f',"reference":{{"po":"{supply.document}","line":1}}'
        elif len(self._stocked) < OPEN_LINES:
            self._stocked.append(n)
        else:
            self._stocked[self._rng.randrange(OPEN_LINES)] = n
        return self._units(n, b"stock.received", units, more)

    def _adjust(self) -> TrafficMessage:
        n = self._rng.randrange(self._keys)
        site = self._site(n)
        site.usable += 1
        site.unpromised += 1
        return self._units(n, b"stock.adjusted", 1, ',"status":"usable","reason":"cycle count"')

    def _supply(self) -> TrafficMessage:
        n = self._rng.randrange(self._keys)
        line = _Line(n, f"PO-{self._number}", self._rng.randrange(10, 50), self._rng.choice(self._days))
        self._supplies.append(line)
        self._site(n).plan(line.day, line.units, 0)
        return self._units(n, b"supply.line", line.units, f',"po":"{line.document}","line":1,"expected_date":"{line.day}"')

    def _order(self) -> TrafficMessage:
        n = self._rng.choice(self._stocked)
        site = self._site(n)
        if site.unpromised < 5:
            return self._adjust()
        line = _Line(n, f"web:{self._number}", self._rng.randrange(1, 5), self._rng.choice(self._days))
        self._to_pick.append(line)
        site.unpromised -= line.units
        site.plan(line.day, 0, line.units)
        more = f',"order":"{line.document}","line":1,"requested_date":"{line.day}","channel":"web","customer":"C-1"'
        return self._units(n, b"order.line", line.units, more)

    def _pick(self) -> TrafficMessage:
        line = self._taken(self._to_pick)
        self._to_ship.append(line)
        site = self._site(line.item)
        site.usable -= line.units
        site.staged += line.units
        site.plan(line.day, 0, -line.units)
        return self._units(line.item, b"pick.completed", line.units, f',"order":"{line.document}","line":1')

    def _ship(self) -> TrafficMessage:
        line = self._taken(self._to_ship)
        self._site(line.item).staged -= line.units
        lines = f'[{{"line":1,"item":"{item_of(line.item)}","qty":"{line.units}","lot":null}}]'
        rest = f'"order":"{line.document}","shipment":"S-{line.document}","carrier":"UPS","lines":{lines}'
        return self._message(line.item, b"shipment.confirmed", rest)

    def _taken(self, lines: list[_Line]) -> _Line:
        n = self._rng.randrange(len(lines))
        lines[n], lines[-1] = lines[-1], lines[n]
        return lines.pop()


def item_of(n: int) -> str:
    """The name of an item."""
    return f"SKU-{n:07}"


def load_of(workload: Workload, keys: int, seed: int) -> Sums | WarehouseTraffic:
    """The source of a workload's messages."""
    return Sums(keys, seed) if workload == "a" else WarehouseTraffic(keys, seed, is_keyed=workload == "b-keyed")
