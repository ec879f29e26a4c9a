"""Which runs make a benchmark, how long they take, and doing them one by one, going on where it was interrupted."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from confluent_kafka import KafkaException

from infra.bench.peers.children import prepare
from infra.bench.peers.cluster import CannotMeasure, broker
from infra.bench.peers.jobs import ENGINES, FEWEST, LATENCY_S, MEASURES, PARTITIONS, RATES, Engine, Measurement, Workload
from infra.bench.peers.runs import KINDS, MeasurementRig
from streams.runtime.compiled_check import is_compiled

DEFAULT_EVENTS: dict[str, int] = {"a": 2_000_000, "b": 1_000_000, "b-keyed": 1_000_000}
DEFAULT_KEYS = (20_000, 1_000_000)
Result = dict[str, Any]
Told = Callable[[str, float, float], None]
"""Gets what is being done, seconds of the estimate behind, and seconds of it in all."""


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """What to measure. `events`: none for each workload's own number; `rows`: of the store that is restored.

    `with_half`: latency is measured at half of what an engine can do too, beside `rates`.
    """

    workloads: Sequence[Workload] = ("a", "b")
    measures: Sequence[str] = MEASURES
    keys: Sequence[int] = DEFAULT_KEYS
    engines: Sequence[Engine] = ENGINES
    events: int | None = None
    rows: int = 5_000_000
    repeats: int = 5
    rates: Sequence[int] = RATES
    latency_s: float = LATENCY_S
    with_half: bool = True

    def throughput(self) -> list[Measurement]:
        """Engines take turns, so that whatever else the machine does meets all of them."""
        return [
            Measurement(
                "throughput", workload, keys, engine, engine.events(workload, self.events or DEFAULT_EVENTS[workload]), number
            )
            for workload in self.workloads
            for keys in self.keys
            for number in range(1, self.repeats + 1)
            for engine in self._engines("throughput")
        ]

    def latency(self, results: Sequence[Result]) -> list[Measurement]:
        """At the rates an engine can do, and at half of what it did."""
        found = []
        for workload in self.workloads:
            for engine in self._engines("latency"):
                most = _most(results, workload, self.keys[0], engine) or engine.expected[workload]
                half = [int(most / 2) // 100 * 100] if self.with_half else []
                rates = [*(rate for rate in self.rates if rate < most * 0.8), *half]
                found += [
                    Measurement("latency", workload, self.keys[0], engine, int(rate * self.latency_s), 1, rate)
                    for rate in dict.fromkeys(rates)
                    if rate
                ]
        return found

    def restore(self) -> list[Measurement]:
        """One each: it takes long, and varies little."""
        return [
            Measurement("restore", "a", self.rows, engine, max(FEWEST, min(self.rows, int(engine.expected["a"] * 120))), 1)
            for engine in self._engines("restore")
        ]

    def phases(self, results: Callable[[], list[Result]]) -> Iterator[list[Measurement]]:
        """The runs, measure by measure. Latency looks at the throughput that was found."""
        for measure in MEASURES:
            if measure in self.measures:
                yield self.latency(results()) if measure == "latency" else getattr(self, measure)()

    def _engines(self, measure: str) -> list[Engine]:
        return [engine for engine in self.engines if measure in engine.measures]


def _most(results: Sequence[Result], workload: Workload, keys: int, engine: Engine) -> float:
    name = engine.name.removesuffix("-10ms")
    found = [
        result["events_per_s"]
        for result in results
        if (result["measure"], result["workload"], result["keys"], result["engine"]) == ("throughput", workload, keys, name)
        and "events_per_s" in result
    ]
    return median(found) if found else 0.0


@dataclass(slots=True)
class PeersBench:
    """A benchmark in a directory: `runs/<name>.json` each, and what engines and broker need meanwhile."""

    plan: MeasurementPlan
    directory: Path
    failed: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        """Where the results are."""
        return self.directory / "runs"

    def results(self) -> list[Result]:
        """What has been measured so far, failed runs left out."""
        found = [orjson.loads(path.read_bytes()) for path in sorted(self.runs.glob("*.json"))]
        return [result for result in found if not result.get("error")]

    def left(self) -> list[Measurement]:
        """What is not measured yet."""
        done = {result["name"] for result in self.results()}
        return [run for phase in self.plan.phases(self.results) for run in phase if run.name not in done]

    def run(self, told: Told) -> None:
        """Measure what is left. Raises `CannotMeasure` if a tool or the broker is missing; a run that fails is noted."""
        prepare(self.plan.engines)
        self.runs.mkdir(parents=True, exist_ok=True)
        behind = 0.0
        with broker(self.directory / "broker") as cluster:
            for phase in self.plan.phases(self.results):
                todo = {run.name for run in self.left()}
                for run in [run for run in phase if run.name in todo]:
                    total = behind + sum(other.seconds for other in self.left())
                    label = f"{run.measure} ({run.workload}) {run.engine.name}"
                    self._one(cluster, run, lambda what, label=label, b=behind, t=total: told(f"{label}: {what}", b, t))  # type: ignore[misc]
                    behind += run.seconds

    def _one(self, cluster: Any, run: Measurement, told: Callable[[str], None]) -> None:
        result = {
            "name": run.name,
            "measure": run.measure,
            "workload": run.workload,
            "keys": run.keys,
            "engine": run.engine.name,
            "events": run.events,
            "number": run.number,
            "rate": run.rate,
            "partitions": PARTITIONS,
            "is_compiled": is_compiled(),
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        try:
            rig = MeasurementRig(cluster, run, self.directory / "engines" / run.name, told)
            try:
                result |= KINDS[run.measure](rig)
            finally:
                rig.close()
        except (CannotMeasure, KafkaException, OSError) as error:
            result["error"] = str(error)
        if wrong := result.get("error") or result.get("wrong"):
            self.failed.append(f"{run.name}: {wrong}")
        (self.runs / f"{run.name}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
