"""Who is measured, at what, and how much of it: a slow engine gets fewer events, so that a run stays near a minute."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from schemas import topics

Workload = Literal["a", "b", "b-keyed"]
WORKLOADS: tuple[Workload, ...] = ("a", "b", "b-keyed")
MEASURES = ("throughput", "latency", "restore")
PARTITIONS = 4
RUN_S = 70.0  # a run's events are about as many as its engine does in this time
FEWEST = 2_000
WARM_UP_SHARE = 0.1
PREPARING_S = 15.0  # what a run takes beside its events: topics, start, warm-up, checks
PRELOADED_PER_S = 40_000  # items of workload (b) made known to crossdock
RATES = (1_000, 10_000)  # events a second at which latency is measured, beside half of what the engine can do
LATENCY_S = 15.0
STARTED_S = 120.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to do the work. `threads` in each of `processes`. `expected`: events/s by workload, for estimates and sizes.

    `commit_ms`: how often it commits while throughput is measured (none: its own default); latency is measured with
    `latency_commit_ms`.
    """

    name: str
    kind: Literal["crossdock", "ceiling", "kafka-streams", "quix", "faust"]
    expected: dict[str, int]
    processes: int = 1
    threads: int = 1
    commit_ms: int | None = None
    latency_commit_ms: int | None = None
    is_transactional: bool = True
    measures: tuple[str, ...] = MEASURES

    def events(self, workload: Workload, wanted: int) -> int:
        """How many events a run of this engine has."""
        return max(FEWEST, min(wanted, int(self.expected[workload] * RUN_S)))

    def groups(self, run: str, workload: Workload) -> list[str]:
        """The consumer groups of a run."""
        return [f"{run}.translate", f"{run}.fold"] if self.kind == "crossdock" and workload != "a" else [run]

    def is_between(self, topic: str, run: str) -> bool:
        """Whether a topic carries the engine's own events from its first step to its second."""
        if topic == topics.PROMISE_INBOX.name:
            return True
        return run in topic and "changelog" not in topic and ("repartition" in topic or topic.endswith("-items"))

    def output(self, run: str, workload: Workload) -> str:
        """Where the outputs come."""
        return topics.ATP.name if self.kind == "crossdock" and workload != "a" else f"{run}-out"


_JAVA, _PYTHON = {"a": 70_000, "b": 25_000, "b-keyed": 40_000}, {"a": 25_000, "b": 6_000, "b-keyed": 8_000}
ENGINES = (
    Engine("ceiling", "ceiling", {"a": 120_000, "b": 120_000, "b-keyed": 120_000}, measures=("throughput", "latency")),
    Engine("crossdock", "crossdock", {"a": 100_000, "b": 15_000, "b-keyed": 15_000}),
    Engine("crossdock-2", "crossdock", {"a": 100_000, "b": 15_000, "b-keyed": 15_000}, processes=2, measures=("throughput",)),
    Engine("kafka-streams", "kafka-streams", _JAVA, latency_commit_ms=100),
    Engine("kafka-streams-2", "kafka-streams", _JAVA, threads=2, measures=("throughput",)),
    Engine("kafka-streams-10ms", "kafka-streams", _JAVA, commit_ms=10, latency_commit_ms=10, measures=("latency",)),
    Engine("quix", "quix", _PYTHON, commit_ms=1_000, latency_commit_ms=100),
    Engine("faust", "faust", {"a": 1_500, "b": 700, "b-keyed": 900}, is_transactional=False),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement. `events`: of throughput, beside the warm-up; rows, of a restore. `rate`: of latency."""

    measure: str
    workload: Workload
    keys: int
    engine: Engine
    events: int
    number: int
    rate: int = 0

    @property
    def name(self) -> str:
        """Names its results, and its topics."""
        size = f"{self.rate}" if self.measure == "latency" else f"{self.events}"
        return f"{self.measure}-{self.workload}-{self.keys}-{self.engine.name}-{size}-{self.number}"

    @property
    def warm_up(self) -> int:
        """Events before those that are measured."""
        return max(FEWEST // 2, int(self.events * WARM_UP_SHARE))

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        is_preloaded = self.engine.kind == "crossdock" and self.workload != "a"
        preparing = PREPARING_S + (self.keys / PRELOADED_PER_S if is_preloaded else 0)
        rate = self.rate or self.engine.expected[self.workload]
        return preparing + self.events / rate + self.warm_up / self.engine.expected[self.workload]


@dataclass(frozen=True, slots=True)
class EngineJob:
    """What an engine's process is told."""

    brokers: str
    workload: str
    is_keyed: bool
    input: str
    output: str
    group: str
    directory: str
    threads: int
    partitions: int
    commit_ms: int | None

    def write(self, path: Path) -> None:
        """Into a file that the process reads."""
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> EngineJob:
        """What `write` wrote."""
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        return cls(**found)
