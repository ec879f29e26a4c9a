"""Rows as they change: one follower of the published topics that counts and indexes them for every viewer of the live page.

It keeps a few words of each order and item, never their rows, and reads nothing while nobody looks: then it goes on where
it was, and the compacted topics hold what it missed. Only the newest record of a key is decoded in each round.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

import structlog

from connectors.api.console.ports import Changes, ItemPage, Only
from connectors.api.console.shapes import warnings
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import EndpointStatus
from schemas.inventory import Atp
from schemas.operations import ExceptionRow
from schemas.orders import Milestone, OrderStatus
from schemas.records import Record
from schemas.topics import Topic
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Follower, TopicPartition, Unavailable
from streams.queries.published import ReadableLog
from tables.inventory.atp_record import is_oversold_today

FOLLOWED = (topics.ATP, topics.ORDER_STATUS, topics.EXCEPTION_ROWS, topics.ENDPOINTS)
PAUSE_S = 0.2
IDLE_S = 20.0
AGAIN_S = 1.0
ROUND = 2_000
KEPT_CHANGES = 2_000
KEPT_LATENCIES = 2_000
_SEVERITY = {"critical": 0, "warning": 1, "info": 2}
_OPEN = frozenset({"open", "assigned"})
_log = structlog.get_logger(__name__)


class DashboardIndex:
    """The index. `start` begins to follow; until somebody asks for something, nothing is read."""

    def __init__(
        self,
        log: ReadableLog,
        codec: Codec,
        describe: Callable[[str], str],
        *,
        pause_s: float = PAUSE_S,
        clock_s: Callable[[], float] = time.monotonic,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._log = log
        self._codec = codec
        self._describe = describe
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._asked_s: float | None = None
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = (keeper or ThreadKeeper()).thread("live", self._run, self._stopping)
        self._epoch = uuid4().hex[:8]
        self._forget()

    def _forget(self) -> None:
        self.is_reading = True
        self.endpoints: dict[str, EndpointStatus] = {}
        self.broken: set[str] = set()  # items that promise more than is usable
        self.latencies_ms: deque[int] = deque(maxlen=KEPT_LATENCIES)
        self._ends: dict[TopicPartition, int] = {}
        self._status_of: dict[str, str] = {}
        self._in_status: dict[str, dict[str, int]] = {}  # order ids and when they changed, the last changed last
        self._as_of_ms: dict[str, int] = {}  # items, the last changed last
        self._warned: set[str] = set()
        self._sorted: list[str] | None = None
        self._open: dict[str, ExceptionRow] = {}
        self._changes: dict[tuple[str, str], tuple[int, Any]] = {}
        self._count = 0
        self._floor = 0  # changes up to here are forgotten

    # --- following -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Follow in a thread."""
        self._thread.start()

    def close(self) -> None:
        """End following."""
        self._stopping.set()
        self._asked.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._keep_up()
            except Unavailable as error:
                _log.info("changes are not followed for a moment", reason=str(error))
                self._begin_anew()
                self._stopping.wait(AGAIN_S)
            except BaseException:
                self._begin_anew()
                raise

    def _begin_anew(self) -> None:
        with self._lock:
            self._epoch = uuid4().hex[:8]  # who watches reads anew
            self._forget()

    def _keep_up(self) -> None:
        follower: Follower | None = None
        try:
            while not self._stopping.is_set():
                self._thread.beat()
                if not self._is_watched():
                    self._asked.wait()
                    self._asked.clear()
                    continue
                follower = follower or self.follow()
                if not self.round(follower):
                    self._stopping.wait(self._pause_s)
        finally:
            if follower is not None:
                follower.close()

    def _is_watched(self) -> bool:
        return self._asked_s is not None and self._clock_s() - self._asked_s < IDLE_S

    def touch(self) -> None:
        """Somebody looks."""
        self._asked_s = self._clock_s()
        self._asked.set()

    def follow(self) -> Follower:
        """A follower of all there is: compacted topics from their start, milestones from now on."""
        start = {at: 0 for topic in FOLLOWED for at in _partitions(topic)}
        self._ends = {at: self._log.bounds(at)[1] for at in start}
        start |= {at: self._log.bounds(at)[1] for at in _partitions(topics.MILESTONES)}
        return self._log.follow(start)

    def round(self, follower: Follower) -> bool:
        """Take in what was written since the last round. Whether there may be more at once."""
        records = follower.poll(ROUND, 0)
        newest: dict[tuple[str, bytes | None], Record] = {}
        for record in records:
            key = (record.topic, record.value if record.topic == topics.MILESTONES.name else record.key)
            newest.pop(key, None)
            newest[key] = record
        rows = [(record, row) for record in newest.values() for row in self._decoded(record)]
        with self._lock:
            for record, row in sorted(rows, key=lambda found: found[0].timestamp_ms):
                self._take(record, row)
            self._note_reading(follower)
        return len(records) >= ROUND

    def _decoded(self, record: Record) -> list[Any]:
        """Its row, none for a removal. Nothing at all for what cannot be read: that one row stays as it was shown."""
        if record.value is None:
            return [None]
        try:
            return [self._codec.decode(record.value)]
        except Exception:
            _log.exception("a change cannot be read", topic=record.topic, partition=record.partition, offset=record.offset)
            return []

    def _note_reading(self, follower: Follower) -> None:
        if not self.is_reading:
            return
        self._ends = {at: end for at, end in self._ends.items() if follower.position(at) < end}
        if not self._ends:
            self.is_reading = False
            self._changes.clear()  # what was there before the first viewer is no news
            self._floor = self._count

    def _take(self, record: Record, row: Any) -> None:
        key = (record.key or b"").decode()
        match row:
            case Atp():
                self._take_item(row, record.timestamp_ms)
            case OrderStatus():
                self._move(row.order_id, row.status)
            case ExceptionRow():
                self._take_exception(row)
            case EndpointStatus():
                self.endpoints[row.endpoint] = row
                return
            case Milestone():
                key = f"{row.order_id}/{row.milestone}"
            case None:
                self._remove(record.topic, key)
                return
        self._count += 1
        place = (type(row).__name__, key)
        self._changes.pop(place, None)
        self._changes[place] = (self._count, row)
        if len(self._changes) > KEPT_CHANGES:
            self._floor, _ = self._changes.pop(next(iter(self._changes)))

    def _take_item(self, row: Atp, written_ms: int) -> None:
        before_ms = self._as_of_ms.pop(row.item, None)
        if before_ms is None:
            self._sorted = None
        if not self.is_reading and (before_ms is None or row.as_of_ms > before_ms):
            self.latencies_ms.append(max(0, written_ms - row.as_of_ms))
        self._as_of_ms[row.item] = row.as_of_ms
        _put(self._warned, row.item, bool(warnings(row)))
        _put(self.broken, row.item, any(is_oversold_today(site) for site in row.sites))

    def _take_exception(self, row: ExceptionRow) -> None:
        if row.state in _OPEN:
            self._open[row.fingerprint] = row
        else:
            self._open.pop(row.fingerprint, None)

    def _move(self, order_id: str, status: str | None) -> None:
        before = self._status_of.pop(order_id, None)
        if before is not None:
            self._in_status[before].pop(order_id, None)
        if status is not None:
            self._status_of[order_id] = status
            self._in_status.setdefault(status, {})[order_id] = self._count

    def _remove(self, topic: str, key: str) -> None:
        if topic == topics.ATP.name:
            self._sorted = None
            self._as_of_ms.pop(key, None)
            self._warned.discard(key)
            self.broken.discard(key)
        elif topic == topics.ORDER_STATUS.name:
            self._move(key, None)
        elif topic == topics.EXCEPTION_ROWS.name:
            self._open.pop(key, None)
        else:
            self.endpoints.pop(key, None)

    # --- answers -----------------------------------------------------------------------------------------------------------

    def cursor(self) -> str:
        """Where the changes are now."""
        self.touch()
        return f"{self._epoch}.{self._count}"

    def changes(self, since: str, limit: int) -> Changes | None:
        """What changed after a cursor, at most `limit` rows of each kind, the last ones."""
        self.touch()
        epoch, _, count = since.partition(".")
        if epoch != self._epoch or not (count.isascii() and count.isdigit()):
            return None
        with self._lock:
            if not self._floor <= int(count) <= self._count:
                return None
            found: dict[str, list[Any]] = {}
            is_cut = False
            for (kind, _), (number, row) in reversed(self._changes.items()):
                if number <= int(count):
                    break
                rows_of = found.setdefault(kind, [])
                is_cut = is_cut or len(rows_of) >= limit
                if len(rows_of) < limit:
                    rows_of.append(row)
            cursor = f"{self._epoch}.{self._count}"
        orders, items, rows, milestones = (
            found.get(kind.__name__, [])[::-1] for kind in (OrderStatus, Atp, ExceptionRow, Milestone)
        )
        return Changes(cursor, orders, items, rows, milestones, is_cut)

    def counts(self) -> tuple[dict[str, int], dict[str, int], int, int]:
        """Orders by status, open exceptions by severity, items, items with a warning."""
        self.touch()
        with self._lock:
            orders = {status: len(ids) for status, ids in self._in_status.items() if ids}
            severities = dict.fromkeys(_SEVERITY, 0)
            for row in self._open.values():
                severities[row.severity] = severities.get(row.severity, 0) + 1
            return orders, severities, len(self._as_of_ms), len(self._warned)

    def order_ids(self, statuses: Sequence[str], limit: int) -> list[str]:
        """The orders in these statuses that changed last, newest first."""
        self.touch()
        with self._lock:
            found = [
                (number, order_id)
                for status in statuses
                for order_id, number in islice(reversed(self._in_status.get(status, {}).items()), limit)
            ]
        return [order_id for _, order_id in sorted(found, reverse=True)[:limit]]

    def item_ids(self, find: str, only: Only, start: int, limit: int) -> tuple[list[str], int]:
        """Item numbers that hold `find` (in any case) from the `start`-th on, and how many there are."""
        self.touch()
        wanted = find.casefold()
        with self._lock:
            every = self._listed(only)
            hits = [item for item in every if wanted in item.casefold()] if wanted else every
        return hits[start : start + limit], len(hits)

    def _listed(self, only: Only) -> list[str]:
        if only == "recent":
            return list(reversed(self._as_of_ms))
        if only == "warnings":
            return sorted(self._warned)
        if self._sorted is None:
            self._sorted = sorted(self._as_of_ms)
        return self._sorted

    def exceptions(self, limit: int) -> list[ExceptionRow]:
        """Open exceptions: the most severe first, and of those the one whose time is up first."""
        self.touch()
        with self._lock:
            rows = list(self._open.values())
        return sorted(rows, key=lambda r: (_SEVERITY.get(r.severity, 1), r.first_at_ms + r.sla_ms, r.fingerprint))[:limit]

    def page(self, ids: Iterable[str], total: int, following: int | None, read: Callable[[str], Atp | None]) -> ItemPage:
        """A page of items with their rows as they are now."""
        rows = [row for row in map(read, ids) if row is not None]
        return ItemPage([(row, self._describe(row.item)) for row in rows], total, following)


def _put(members: set[str], member: str, belongs: bool) -> None:
    if belongs:
        members.add(member)
    else:
        members.discard(member)


def _partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
