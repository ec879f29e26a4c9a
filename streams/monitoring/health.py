"""How the process is doing: what waits, what became of each input, whether the workers run; as metrics and for people.

On Kafka every question goes to the brokers. So what requests ask often is what was found last, by a thread that looks now and
then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from connectors.api.ports import Paused, Readiness, SourceFreshness
from streams.engine.controls import target_of
from streams.engine.fates import NAMESPACE, ONE, EngineTables, InputFates
from streams.engine.flow import Fold, Translator
from streams.engine.keeper import KeptThread, ThreadKeeper
from streams.engine.log import ReadableLog, TopicPartition, Unavailable
from streams.engine.partition import store_id
from streams.engine.table import EngineTable, Journal
from streams.engine.topology import partitions_of
from streams.flows.groups import GroupOf, by_group, one_group
from tables.common.table import row_types

FAR_BEHIND = 50_000
LOOK_PAUSE_S = 1.0
LOOK_SHARE = 0.1
"""Looking takes at most this share of the time."""
OLD_S = 5.0
FATES = ("applied", "duplicate", "ignored", "dead_lettered", "parked")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FlowInput:
    """One partition a flow reads: where it is (`position`) and where it ends."""

    flow: str
    at: TopicPartition
    position: int
    end: int

    @property
    def waiting(self) -> int:
        """Records not read yet."""
        return max(0, self.end - self.position)


class OwnHealth:
    """`connectors.api.ports.Health` by what the process itself knows: no question goes to the log.

    `halted`: why each worker that stopped did, and each partition stands (then it is not ready, but alive). `more`: further
    checks, what each found and whether requests can be served all the same.
    """

    def __init__(
        self,
        halted: Callable[[], Mapping[str, str]],
        registry: CollectorRegistry,
        more: Callable[[], Mapping[str, tuple[str, bool]]] = dict,
    ) -> None:
        self._halted = halted
        self._more = more
        self._up = Gauge("crossdock_workers_halted", "Workers that have stopped", registry=registry)

    def state(self) -> Readiness:
        """Whether the workers run, and what they need is here."""
        halted = self._halted()
        checks = {"workers": "; ".join(f"{name}: {why}" for name, why in halted.items()) or "running"}
        is_ready = not halted
        for name, (says, is_well) in self._more().items():
            checks[name] = says
            is_ready &= is_well
        stands = [why for name, why in halted.items() if _is_partition(name)]
        told = Readiness(is_ready, len(stands) == len(halted), checks)
        return told if not stands else replace(told, says=f"Part of the work stands. {'; '.join(stands)}")

    def stale_ms(self) -> int | None:
        """It shows nothing that could be old."""
        return 0

    def refresh_metrics(self) -> None:
        """Bring the gauge up to date."""
        self._up.set(len(self._halted()))


class HealthMonitor:
    """`connectors.api.ports.Health` over the log. `halted` and `more`: as in `OwnHealth`. `paused`: sources not read now.

    `unknown`: how often each source sent a field that nobody reads.

    Between `start` and `close` a thread looks; without it, each question looks for itself.
    """

    def __init__(
        self,
        log: ReadableLog,
        flows: Sequence[Fold[Any] | Translator],
        halted: Callable[[], Mapping[str, str]],
        registry: CollectorRegistry,
        *,
        group: GroupOf = one_group,
        clock_ms: Callable[[], int] = lambda: 0,
        paused: Callable[[], Sequence[Paused]] = tuple,
        more: Callable[[], Mapping[str, tuple[str, bool]]] = dict,
        unknown: Callable[[], Mapping[str, int]] = dict,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._log = log
        self._keeper = keeper or ThreadKeeper()
        self._flows = tuple(flows)
        self._group = group
        self.own = OwnHealth(halted, registry, more)
        self._clock_ms = clock_ms
        self._paused = paused
        self._unknown = unknown
        self._targets = {at.topic: target_of(flow, at.topic) for flow in self._flows for at in partitions_of(flow)}
        self._stopping = threading.Event()
        self._thread: KeptThread | None = None
        self._seen: tuple[float, list[FlowInput]] | None = None
        self._newest_ms: dict[TopicPartition, tuple[int, int | None]] = {}  # position, and of when the record before it is
        self._key_types, self._row_type = row_types(EngineTables)["fates"]
        self._unread = Gauge(
            "crossdock_unknown_fields", "Fields a source has sent and nobody reads", ["source"], registry=registry
        )
        self._waiting = Gauge("crossdock_lag_records", "Records a flow has not read yet", ["flow", "topic"], registry=registry)
        self._events = Gauge("crossdock_events", "Records a flow has read", ["flow"], registry=registry)
        self._pauses = Gauge("crossdock_source_paused", "1 while a source is read no further", ["source"], registry=registry)
        self._fates = Gauge("crossdock_fates", "What became of a flow's inputs", ["flow", "fate"], registry=registry)

    def start(self) -> None:
        """Look every so often, in a thread."""
        self._thread = self._keeper.thread("watch", self._run, self._stopping)
        self._thread.start()

    def close(self) -> None:
        """End looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            self._keeper.beat("watch")
            began = time.monotonic()
            try:
                for entry in self.inputs():
                    if _source(entry) is not None:
                        self._look(entry)
            except Unavailable as error:
                _log.info("the log does not say how far its readers are", reason=str(error))
            pause_s = max(LOOK_PAUSE_S, (time.monotonic() - began) / LOOK_SHARE)

    def inputs(self) -> list[FlowInput]:
        """Every partition every flow reads, as of now. Raises `Unavailable`."""
        found: list[FlowInput] = []
        for group, flows in by_group(self._flows, self._group).items():
            places = [(flow.name, at) for flow in flows for at in partitions_of(flow)]
            progress = self._log.progress(group, [at for _, at in places])
            found += [FlowInput(flow, at, *progress[at]) for flow, at in places]
        self._seen = (time.monotonic(), found)
        return found

    def _lately(self) -> list[FlowInput]:
        """The same, perhaps as it was a moment ago."""
        seen = self._seen if self._thread is not None else None
        return seen[1] if seen is not None and time.monotonic() - seen[0] < OLD_S else self.inputs()

    def _look(self, entry: FlowInput) -> None:
        """Learn of when the newest record is that was read."""
        known = self._newest_ms.get(entry.at)
        if known is None or known[0] != entry.position:
            found = self._log.read(entry.at, entry.position - 1, 1) if entry.position else []
            self._newest_ms[entry.at] = (entry.position, found[0].timestamp_ms if found else None)

    def waiting(self) -> int:
        """Records not read yet, in all, but those of paused sources: they wait for a person."""
        return self._waiting_of(self.inputs())[0]

    def paused(self) -> Sequence[Paused]:
        """Sources that are read no further."""
        return self._paused()

    def _waiting_of(self, inputs: Sequence[FlowInput]) -> tuple[int, dict[str, int]]:
        """How many are not read yet, and beside them those of each paused source."""
        paused = dict.fromkeys((pause.source for pause in self._paused()), 0)
        going = 0
        for entry in inputs:
            target = self._targets[entry.at.topic]
            if target in paused:
                paused[target] += entry.waiting
            else:
                going += entry.waiting
        return going, paused

    def fates(self) -> dict[str, InputFates]:
        """What became of each flow's inputs, all partitions together."""
        found = {}
        for flow in self._flows:
            total = InputFates()
            for at in partitions_of(flow):
                row = self._fates_of(flow, at)
                if row is not None:
                    _add(total, row)
            found[flow.name] = total
        return found

    def _fates_of(self, flow: Fold[Any] | Translator, at: TopicPartition) -> InputFates | None:
        store = self._log.store(store_id(flow, at))
        table = EngineTable[Any, Any](f"{NAMESPACE}fates", self._key_types, self._row_type, store, Journal(), cache_rows=2)
        row: InputFates | None = table.get(ONE)
        return row

    def freshness(self) -> list[SourceFreshness]:
        """How far each raw source has been read, and of when its newest record is."""
        found: dict[str, SourceFreshness] = {}
        for entry in self._lately():
            source = _source(entry)
            if source is None:
                continue
            if self._thread is None:
                self._look(entry)
            before = found.get(source, SourceFreshness(source, 0, None))
            _, newest_ms = self._newest_ms.get(entry.at, (0, None))
            times = [at for at in (before.as_of_ms, newest_ms) if at is not None]
            found[source] = SourceFreshness(source, before.waiting_records + entry.waiting, max(times, default=None))
        return list(found.values())

    def stale_ms(self) -> int | None:
        """At most how old what this process shows is; 0 where the rows are the log's own, none while that is not known."""
        kept = [entry for entry in self._log.kept() if entry.state != "owned"]
        times = [entry.caught_up_ms for entry in kept if entry.caught_up_ms is not None]
        if len(times) < len(kept):
            return None
        return max(0, self._clock_ms() - min(times)) if times else 0

    def state(self) -> Readiness:
        """Whether the workers run and keep up, and the rows that answers come from are here."""
        own = self.own.state()
        try:
            waiting, paused = self._waiting_of(self._lately())
            says, is_near = f"{waiting} records wait", waiting <= FAR_BEHIND
            stands = "; ".join(
                f"{name} is paused, {count} records wait: crossdock resume {name}" for name, count in paused.items()
            )
        except Unavailable as error:
            says, is_near, stands = f"not known: {error}", False, "not known"
        checks = {**own.checks, "backlog": says, "sources": stands or "none is paused"}
        return replace(own, is_ready=own.is_ready and is_near, checks=checks)

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
        paused = {pause.source for pause in self._paused()}
        for target in sorted(set(self._targets.values())):
            self._pauses.labels(target).set(target in paused)
        waiting: dict[tuple[str, str], int] = {}
        for entry in self.inputs():
            place = (entry.flow, entry.at.topic)
            waiting[place] = waiting.get(place, 0) + entry.waiting
        for (flow, topic), count in waiting.items():
            self._waiting.labels(flow, topic).set(count)
        for flow, fates in self.fates().items():
            self._events.labels(flow).set(fates.inputs)
            for fate in FATES:
                self._fates.labels(flow, fate).set(getattr(fates, fate))
        for source, times in self._unknown().items():
            self._unread.labels(source).set(times)
        self.own.refresh_metrics()


def _is_partition(name: str) -> bool:
    """Whether it is a partition that stands (`<topic>/<partition>`): to start the process again would change nothing."""
    return "/" in name


def _source(entry: FlowInput) -> str | None:
    """The source behind a raw topic."""
    topic = entry.at.topic
    if not topic.startswith("raw.") or topic == "raw.erp.other":
        return None
    return "erp" if topic.startswith("raw.erp.") else topic.removeprefix("raw.")


def _add(total: InputFates, row: InputFates) -> None:
    total.inputs += row.inputs
    total.duplicate += row.duplicate
    total.ignored += row.ignored
    total.dead_lettered += row.dead_lettered
    total.parked += row.parked
    for reason, count in row.ignored_for.items():
        total.ignored_for[reason] = total.ignored_for.get(reason, 0) + count
