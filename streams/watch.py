"""How the process is doing: what waits, what became of each input, whether the workers run; as metrics and for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from connectors.api.ports import Readiness, SourceFreshness
from streams.engine.fates import NAMESPACE, ONE, EngineTables, Fates
from streams.engine.flow import Fold, Translator
from streams.engine.log import TopicPartition
from streams.engine.partition import store_id
from streams.engine.table import EngineTable, Journal
from streams.engine.worker import GROUP
from streams.views import ReadableLog, partitions_of
from tables.table import row_types

FAR_BEHIND = 50_000
FATES = ("applied", "duplicate", "ignored", "dead_lettered", "parked")


@dataclass(frozen=True, slots=True)
class Input:
    """One partition a flow reads: where it is (`position`) and where it ends."""

    flow: str
    at: TopicPartition
    position: int
    end: int

    @property
    def waiting(self) -> int:
        """Records not read yet."""
        return max(0, self.end - self.position)


class Watch:
    """`connectors.api.ports.Health` over the log. `halted`: why each worker that stopped did."""

    def __init__(
        self,
        log: ReadableLog,
        flows: Sequence[Fold[Any] | Translator],
        halted: Callable[[], Mapping[str, str]],
        registry: CollectorRegistry,
    ) -> None:
        self._log = log
        self._flows = tuple(flows)
        self._halted = halted
        self._key_types, self._row_type = row_types(EngineTables)["fates"]
        self._waiting = Gauge("crossdock_lag_records", "Records a flow has not read yet", ["flow", "topic"], registry=registry)
        self._events = Gauge("crossdock_events", "Records a flow has read", ["flow"], registry=registry)
        self._fates = Gauge("crossdock_fates", "What became of a flow's inputs", ["flow", "fate"], registry=registry)
        self._up = Gauge("crossdock_workers_halted", "Workers that have stopped", registry=registry)

    def inputs(self) -> list[Input]:
        """Every partition every flow reads."""
        found: list[Input] = []
        for flow in self._flows:
            found += [Input(flow.name, at, self._log.committed(GROUP, at), self._log.bounds(at)[1]) for at in partitions_of(flow)]
        return found

    def waiting(self) -> int:
        """Records not read yet, in all."""
        return sum(entry.waiting for entry in self.inputs())

    def fates(self) -> dict[str, Fates]:
        """What became of each flow's inputs, all partitions together."""
        found = {}
        for flow in self._flows:
            total = Fates()
            for at in partitions_of(flow):
                row = self._fates_of(flow, at)
                if row is not None:
                    _add(total, row)
            found[flow.name] = total
        return found

    def _fates_of(self, flow: Fold[Any] | Translator, at: TopicPartition) -> Fates | None:
        store = self._log.store(store_id(flow, at))
        table = EngineTable[Any, Any](f"{NAMESPACE}fates", self._key_types, self._row_type, store, Journal(), cache_rows=2)
        row: Fates | None = table.get(ONE)
        return row

    def freshness(self) -> list[SourceFreshness]:
        """How far each raw source has been read, and of when its newest record is."""
        found: dict[str, SourceFreshness] = {}
        for entry in self.inputs():
            topic = entry.at.topic
            source = "erp" if topic.startswith("raw.erp.") else topic.removeprefix("raw.")
            if not topic.startswith("raw.") or topic == "raw.erp.other":
                continue
            before = found.get(source, SourceFreshness(source, 0, None))
            newest = self._log.read(entry.at, entry.position - 1, 1) if entry.position else []
            times = [at for at in (before.as_of_ms, *(r.timestamp_ms for r in newest)) if at is not None]
            found[source] = SourceFreshness(source, before.waiting_records + entry.waiting, max(times, default=None))
        return list(found.values())

    def state(self) -> Readiness:
        """Whether the workers run and keep up."""
        halted = self._halted()
        waiting = self.waiting()
        checks = {
            "workers": "; ".join(f"{name}: {why}" for name, why in halted.items()) or "running",
            "backlog": f"{waiting} records wait",
        }
        return Readiness(is_ready=not halted and waiting <= FAR_BEHIND, is_live=not halted, checks=checks)

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
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
        self._up.set(len(self._halted()))


def _add(total: Fates, row: Fates) -> None:
    total.inputs += row.inputs
    total.duplicate += row.duplicate
    total.ignored += row.ignored
    total.dead_lettered += row.dead_lettered
    total.parked += row.parked
    for reason, count in row.ignored_for.items():
        total.ignored_for[reason] = total.ignored_for.get(reason, 0) + count
