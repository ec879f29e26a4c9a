"""The live page's port: the process in numbers, worked out at most once a second whoever asks, beside the rows as they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from connectors.api.console.ports import Changes, FeedProgress, InvariantState, ItemPage, Latency, Numbers, Only
from schemas import topics
from schemas.codec import Codec
from schemas.operations import ExceptionRow
from schemas.orders import OrderStatus
from streams.engine.fates import InputFates
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import TopicPartition
from streams.monitoring.dashboard_index import DashboardIndex
from streams.monitoring.health import HealthMonitor
from streams.queries.published import Published, ReadableLog
from streams.queries.table_views import TableView
from tables.inventory.state import Item

AGE_S = 0.9
LONGEST_RATE_S = 10.0
RECOUNTS = 5
RECOUNT_PAUSE_S = 0.02


class Dashboard:
    """`connectors.api.console.ports.Live` over one log. `start` before use, `close` after."""

    def __init__(
        self,
        log: ReadableLog,
        codec: Codec,
        published: Published,
        tables: TableView,
        watch: HealthMonitor,
        halted: Callable[[], Mapping[str, str]],
        clock_ms: Callable[[], int],
        more_invariants: Callable[[], Sequence[InvariantState]] = tuple,
        *,
        warned: Callable[[], Mapping[str, str]] = dict,
        is_dense: bool = True,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        """`is_dense`: each offset of the log is a record, so that positions count records."""
        self._log = log
        self._published = published
        self._tables = tables
        self._watch = watch
        self._halted = halted
        self._clock_ms = clock_ms
        self._more_invariants = more_invariants
        self._warned = warned
        self._is_dense = is_dense
        self._lock = threading.Lock()
        self._numbers: Numbers | None = None
        self._taken_s = 0.0
        self._read: tuple[float, int] | None = None
        self.rows = DashboardIndex(log, codec, self._description, keeper=keeper)
        self.start = self.rows.start
        self.close = self.rows.close
        self.cursor = self.rows.cursor
        self.exceptions: Callable[[int], list[ExceptionRow]] = self.rows.exceptions

    def _description(self, item: str) -> str:
        row: Item | None = self._tables.row("promise.items", (item,), item)
        return (row.description or "") if row is not None else ""

    def changes(self, since: str, limit: int) -> Changes | None:
        """What changed after a cursor."""
        return self.rows.changes(since, limit)

    def orders(self, statuses: Sequence[str], limit: int) -> list[OrderStatus]:
        """The orders in these statuses that changed last, newest first."""
        return [row for row in map(self._published.order, self.rows.order_ids(statuses, limit)) if row is not None]

    def items(self, find: str, only: Only, start: int, limit: int) -> ItemPage:
        """A page of items."""
        ids, total = self.rows.item_ids(find, only, start, limit)
        following = start + limit if start + limit < total else None
        return self.rows.page(ids, total, following, self._published.atp)

    def numbers(self) -> Numbers:
        """The process in numbers, at most one second old."""
        with self._lock:
            now_s = time.monotonic()
            if self._numbers is None or now_s - self._taken_s > AGE_S:
                self._numbers, self._taken_s = self._count(now_s), now_s
            return self._numbers

    def _count(self, now_s: float) -> Numbers:
        orders, exceptions, items, warned = self.rows.counts()
        inputs = self._watch.inputs()
        read = sum(entry.position for entry in inputs)
        before, self._read = self._read, (now_s, read)
        is_rated = before is not None and now_s - before[0] < LONGEST_RATE_S
        return Numbers(
            at_ms=self._clock_ms(),
            is_reading=self.rows.is_reading,
            events_per_s=round((read - before[1]) / (now_s - before[0])) if before is not None and is_rated else None,
            backlog_records=sum(entry.waiting for entry in inputs),
            feeds=[FeedProgress(f.source, f.waiting_records, f.as_of_ms) for f in self._watch.freshness()],
            latency=latency(sorted(self.rows.latencies_ms.copy())),
            orders=orders,
            items=items,
            item_warnings=warned,
            exceptions=exceptions,
            endpoints=[self.rows.endpoints[name] for name in sorted(self.rows.endpoints)],
            invariants=[*self._invariants(items), *self._more_invariants()],
            halted=self._halted(),
            paused={pause.source: f"{pause.reason}. crossdock resume {pause.source}" for pause in self._watch.paused()},
            warnings=self._warned(),
        )

    def _invariants(self, items: int) -> list[InvariantState]:
        """Those that can be told at any moment, whatever is under way."""
        broken = sorted(self.rows.broken)[:3]
        oversold = f"promised beyond stock: {', '.join(broken)}" if broken else f"{items:,} items, each within its stock"
        return [InvariantState("Never oversold", None if self.rows.is_reading else not broken, oversold), self._nothing_lost()]

    def _nothing_lost(self) -> InvariantState:
        """Each record read has exactly one fate.

        Counted while workers commit, so the counts lie between two readings; and a commit shows in rows a moment before it
        shows in positions, so what does not add up is counted again before it is said. Where offsets are no count of records, it
        takes a reading of the whole log to tell.
        """
        if not self._is_dense:
            read = sum(fate.inputs for fate in self._watch.fates().values())
            return InvariantState(
                "Nothing lost", None, f"{read:,} records, each with one fate; crossdock verify reads the whole log again"
            )
        for _ in range(RECOUNTS):
            fates, wrong = self._reckoned()
            if not wrong:
                break
            time.sleep(RECOUNT_PAUSE_S)
        dead = sum(fate.dead_lettered for fate in fates.values())
        total = sum(fate.inputs for fate in fates.values())
        letters = "1 dead letter" if dead == 1 else f"{dead:,} dead letters"
        return InvariantState("Nothing lost", not wrong, wrong or f"{total:,} records, each with one fate; {letters} kept")

    def _reckoned(self) -> tuple[dict[str, InputFates], str]:
        """What became of each flow's inputs, and what is wrong with it."""
        low = _positions(self._watch)
        fates = self._watch.fates()
        high = _positions(self._watch)
        kept = self._log.bounds(TopicPartition(topics.DEAD_LETTERS.name, 0))[1]
        dead = sum(fate.dead_lettered for fate in fates.values())
        lost = [name for name, fate in fates.items() if not low[name] <= fate.inputs <= high[name]]
        if lost:
            return fates, f"the records of {', '.join(lost)} do not add up"
        return fates, f"{dead - kept:,} dead letters are missing" if kept < dead else ""


def _positions(watch: HealthMonitor) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in watch.inputs():
        found[entry.flow] = found.get(entry.flow, 0) + entry.position
    return found


def latency(ordered_ms: Sequence[int]) -> Latency | None:
    """The percentiles of latencies in ascending order; none without any."""
    if not ordered_ms:
        return None
    count = len(ordered_ms)
    return Latency(ordered_ms[count // 2], ordered_ms[count * 99 // 100], count)
