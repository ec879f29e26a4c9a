"""`crossdock bench fold`: the promise fold on the embedded log, one process, real promise events from the inbox to ATP.

Three figures, measured one after the other in a directory of its own: throughput over a backlog (decode, rule, rows, ledger,
ATP, one synced commit a batch), latency from append to committed ATP at a steady rate, and memory as events go by.
"""

from __future__ import annotations

import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.bench.traffic import Traffic
from schemas import topics
from schemas.codec import Codec
from schemas.inventory import SiteChanged
from schemas.records import Record
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import Follower, Outgoing, TopicPartition
from streams.engine.partition import Limits
from streams.engine.partitions import partition_of
from streams.engine.process import calm_collector
from streams.engine.worker import Worker
from streams.flows.promise import promise_fold
from tables.common.policy import Policy

CHUNK = 50_000
APPENDED = 5_000  # at once: records on their way to the log are no memory of the fold's
RSS_POINTS = 10
LATENCY_S = 10  # for each rate
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class FoldBench:
    """What was measured. Latencies in ms from append to the committed ATP record, by rate; `rss_mb` at ten points,
    after so many events.
    """

    events: int = 0
    keys: int = 0
    seconds: float = 0.0
    events_per_s: float = 0.0
    rows: int = 0
    outputs: int = 0
    batches: int = 0
    latency_ms: dict[int, dict[str, float]] = field(default_factory=dict)
    rss_mb: dict[int, int] = field(default_factory=dict)
    is_exact: bool = False


class FoldRig:
    """A log, a worker and a traffic in a directory."""

    def __init__(self, directory: Path, keys: int, seed: int, limits: Limits | None = None) -> None:
        self.codec = Codec()
        self.log = EmbeddedLog(directory)
        self.log.create(topics.DEFINED)
        self.traffic = Traffic(keys, seed)
        self.worker = Worker(self.log, [promise_fold(Policy())], self.codec, group="bench", limits=limits)

    def outgoing(self, events: Iterator[Any]) -> list[Outgoing]:
        """Encoded records for the inbox; a site's goes to every partition."""
        name, partitions = topics.PROMISE_INBOX.name, topics.PROMISE_INBOX.partitions
        encode, found = self.codec.encode, list[Outgoing]()
        for e in events:
            if isinstance(e, SiteChanged):
                found += [Outgoing(name, partition, e.site.encode(), encode(e)) for partition in range(partitions)]
            else:
                key = e.item.encode()
                found.append(Outgoing(name, partition_of(key, partitions), key, encode(e)))
        return found

    def load(self, count: int) -> None:
        """Append so many events."""
        for start in range(0, count, APPENDED):
            self.log.append(self.outgoing(self.traffic.event() for _ in range(min(APPENDED, count - start))))

    def drain(self) -> int:
        """Apply all there is."""
        done = 0
        while inputs := self.worker.step(0.0).inputs:
            done += inputs
        return done

    def is_exact(self) -> bool:
        """Whether every item's stock is what the traffic's own sums say."""
        for (item, site), units in self.traffic.usable.items():
            record = self.log.latest(topics.ATP.name, item.encode())
            assert record is not None and record.value is not None
            atp = self.codec.decode(record.value)
            page = next(s for s in atp.sites if s.site == site)
            if (page.usable_milli, page.staged_milli) != (units * 1000, self.traffic.staged.get((item, site), 0) * 1000):
                return False
        return True


def bench_fold(
    events: int, keys: int, *, rates: tuple[int, ...] = (100, 1_000), seed: int = 1, progress: Progress = lambda *_: None
) -> FoldBench:
    """Measure. `rates`: events a second at which latency is measured, ten seconds each."""
    found = FoldBench(keys=keys)
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as directory:
        bench = FoldRig(Path(directory), keys, seed)
        bench.log.append(bench.outgoing(bench.traffic.masters()))
        bench.drain()
        calm_collector()
        _throughput(bench, events, found, progress)
        for rate in rates:
            found.latency_ms[rate] = PacedFold(bench, rate).run(rate * LATENCY_S, progress)
        found.is_exact = bench.is_exact()
        bench.worker.close()
        bench.log.close()
    return found


def _throughput(bench: FoldRig, events: int, found: FoldBench, progress: Progress) -> None:
    while found.events < events:
        count = min(CHUNK, events - found.events)
        bench.load(count)
        began = time.perf_counter()
        bench.drain()
        found.seconds += time.perf_counter() - began
        found.events += count
        progress("events", found.events, events)
        if found.events * RSS_POINTS >= (len(found.rss_mb) + 1) * events:
            found.rss_mb[found.events] = rss_mb()
    counters = bench.worker.counters
    found.events_per_s = found.events / found.seconds
    found.rows, found.outputs, found.batches = counters.rows, counters.outputs, counters.batches


class PacedFold:
    """Appends at a steady rate in one thread, works in another, and sees each event's ATP come."""

    def __init__(self, bench: FoldRig, rate: int) -> None:
        self._bench = bench
        self._rate = rate
        self._waiting: dict[bytes, list[tuple[int, float]]] = {}
        self._taken_s: list[float] = []

    def run(self, total: int, progress: Progress) -> dict[str, float]:
        """Percentiles in ms over so many events."""
        bench = self._bench
        name = topics.ATP.name
        parts = [TopicPartition(name, p) for p in range(topics.ATP.partitions)]
        follower = bench.log.follow({part: bench.log.bounds(part)[1] for part in parts})
        stop = threading.Event()
        worker = threading.Thread(target=bench.worker.run, args=(stop,), daemon=True)
        worker.start()
        self._pace(follower, total, progress)
        stop.set()
        worker.join()
        follower.close()
        taken = sorted(self._taken_s)
        p50, p99, most = taken[len(taken) // 2], taken[int(len(taken) * 0.99)], taken[-1]
        return {"p50": p50 * 1000, "p99": p99 * 1000, "max": most * 1000}

    def _pace(self, follower: Follower, total: int, progress: Progress) -> None:
        began = time.perf_counter()
        turn = max(1, self._rate // 200)
        sent = 0
        while sent < total or self._waiting:
            due = min(total, int((time.perf_counter() - began) * self._rate))
            if sent < total and (due >= sent + turn or due == total):
                sent += self._send(due - sent)
                progress(f"latency at {self._rate}/s", sent, total)
            for record in follower.poll(1_000, 0.001):
                self._came(record)

    def _send(self, count: int) -> int:
        bench = self._bench
        records = bench.outgoing(bench.traffic.event() for _ in range(count))
        at = time.perf_counter()
        for record, offset in zip(records, bench.log.append(records), strict=True):
            assert record.key is not None
            self._waiting.setdefault(record.key, []).append((offset, at))
        return count

    def _came(self, record: Record) -> None:
        assert record.key is not None and record.value is not None
        version = self._bench.codec.decode(record.value).version
        waiting = self._waiting.pop(record.key, [])
        now = time.perf_counter()
        self._taken_s += [now - at for offset, at in waiting if offset < version]
        if left := [(offset, at) for offset, at in waiting if offset >= version]:
            self._waiting[record.key] = left


def rss_mb() -> int:
    """Resident memory of this process now, in MB (the peak where the system does not say)."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() // 1_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
