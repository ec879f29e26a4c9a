"""The broker the engines are measured on: its own, in a directory of the benchmark, with all of its processor time known."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from infra.bench.peers.jobs import PARTITIONS
from infra.bench.peers.traffic import TrafficMessage

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "infra" / "kafka"
# The start script's broker is made to start fast in tests; here its code is compiled as on a server.
AS_ON_A_SERVER = "-XX:TieredStopAtLevel=4 -Xmx1g"
_TICKS = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 30


class CannotMeasure(RuntimeError):
    """Something the measurement needs is missing or went wrong: the text says what to do."""


def client(address: str) -> dict[str, Any]:
    """What the benchmark's own clients are made with: what goes wrong comes back from their calls."""
    return {"bootstrap.servers": address, "log_level": 0}


class BenchCluster:
    """A running broker."""

    def __init__(self, address: str, directory: Path) -> None:
        self.address = address
        self.directory = directory
        self.admin = AdminClient(client(address))

    @property
    def pid(self) -> int:
        """The broker's process."""
        return int((self.directory / "pid").read_text())

    def create(self, names: Iterable[str]) -> None:
        """Topics of four partitions."""
        futures = self.admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
        for future in futures.values():
            future.result(_TIMEOUT_S)

    def topics(self) -> list[str]:
        """All there are, but for the broker's own."""
        return [name for name in self.admin.list_topics(timeout=_TIMEOUT_S).topics if not name.startswith("__")]

    def clear(self) -> None:
        """Delete all topics, and wait until they are gone."""
        admin = self.admin
        until = time.monotonic() + _TIMEOUT_S
        while (names := self.topics()) and time.monotonic() < until:
            for future in admin.delete_topics(names).values():
                try:
                    future.result(_TIMEOUT_S)
                except KafkaException:  # an engine's that is going anyway
                    continue
            time.sleep(0.2)

    def written(self, leaving_out: str) -> int:
        """Bytes in the logs of all topics but one, the broker's own included."""
        total = 0
        for path in (self.directory / "data").iterdir():
            if path.is_dir() and path.name.rpartition("-")[0] != leaving_out and not path.name.endswith("-delete"):
                total += sum(file.stat().st_size for file in path.glob("*.log"))
        return total


@contextmanager
def broker(directory: Path) -> Iterator[BenchCluster]:
    """A broker in a directory, stopped at the end. Raises `CannotMeasure`."""
    env = os.environ | {"_JAVA_OPTIONS": AS_ON_A_SERVER}
    started = subprocess.run(  # noqa: S603 - our own script
        [SCRIPTS / "start.sh", directory], capture_output=True, text=True, check=False, env=env, timeout=600
    )
    if started.returncode != 0:
        raise CannotMeasure(f"No broker to measure on: {started.stderr.strip()}")
    try:
        yield BenchCluster(started.stdout.split()[-1], directory)
    finally:
        subprocess.run([SCRIPTS / "stop.sh", directory], capture_output=True, check=False, timeout=60)  # noqa: S603 - our own


def cpu_s(pids: Iterable[int]) -> float:
    """Processor seconds of processes so far."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


class Loader:
    """Writes messages into the input topic: seen by readers of committed records all at once, at `commit`."""

    def __init__(self, cluster: BenchCluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._producer = Producer(
            client(cluster.address)
            | {
                "transactional.id": f"{topic}-loader",
                "transaction.timeout.ms": 600_000,
                "linger.ms": 50,
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 500_000,
            }
        )
        self._producer.init_transactions(_TIMEOUT_S)

    def write(self, messages: Iterable[TrafficMessage], *, is_milli: bool) -> dict[int, int]:
        """Write them, unseen yet. Returns where each partition ends. `is_milli`: their time is in ms, else in us."""
        producer, topic = self._producer, self._topic
        producer.begin_transaction()
        for message in messages:
            now = time.time_ns() // 1_000
            value = message.at(now // 1_000 if is_milli else now)
            while True:
                try:
                    producer.produce(topic, value, message.key, message.partition)
                    break
                except BufferError:
                    producer.poll(0.05)
        if producer.flush(120):
            raise CannotMeasure("The broker did not take the input in two minutes: look at its log.")
        return self.ends()

    def commit(self) -> float:
        """Let them be seen. Returns when."""
        now = time.perf_counter()
        self._producer.commit_transaction(_TIMEOUT_S)
        return now

    def ends(self) -> dict[int, int]:
        """Where each partition ends, open transactions included."""
        return {place.partition: end for place, end in ends(self._cluster.admin, [self._topic], is_committed=False).items()}


def ends(admin: AdminClient, names: Sequence[str], *, is_committed: bool = True) -> dict[Place, int]:
    """Where the partitions of topics end."""
    found = admin.list_topics(timeout=_TIMEOUT_S).topics
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {Place(name, p): latest for name in names for p in found[name].partitions}
    level = IsolationLevel.READ_COMMITTED if is_committed else IsolationLevel.READ_UNCOMMITTED
    answers = admin.list_offsets(asked, isolation_level=level, request_timeout=_TIMEOUT_S)
    return {place: future.result(_TIMEOUT_S).offset for place, future in answers.items()}


class ResourceWatch:
    """Tells when an engine has committed all of its input. `is_between`: whether a topic lies between the engine's two steps."""

    def __init__(self, cluster: BenchCluster, topic: str, groups: Sequence[str], is_between: Callable[[str], bool]) -> None:
        self._cluster = cluster
        self._topic = topic
        self._is_between = is_between
        common = client(cluster.address) | {"isolation.level": "read_uncommitted"}
        self._asking = [Consumer(common | {"group.id": group}) for group in groups]

    def is_done(self, wanted: Mapping[int, int]) -> bool:
        """Whether everything before `wanted` is committed, and what the engine made of it between its steps too."""
        if not self._are_committed({Place(self._topic, partition): end for partition, end in wanted.items()}):
            return False
        # The first step has committed, so nothing is added between the steps. A transaction's mark may end a partition.
        between = [name for name in self._cluster.topics() if self._is_between(name)]
        last = ends(self._cluster.admin, between) if between else {}
        return self._are_committed({place: end - 1 for place, end in last.items() if end})

    def close(self) -> None:
        """Stop asking."""
        for consumer in self._asking:
            consumer.close()

    def _are_committed(self, wanted: Mapping[Place, int]) -> bool:
        held: dict[tuple[str, int], int] = {}
        for consumer in self._asking:
            try:
                found = consumer.committed(list(wanted), timeout=5) if wanted else []
            except KafkaException:  # no such group yet, or its coordinator is busy
                continue
            for place in found:
                at = place.topic, place.partition
                held[at] = max(held.get(at, -1), place.offset)
        return all(held.get((place.topic, place.partition), -1) >= end for place, end in wanted.items())


class OutputCount:
    """Tells when an engine without transactions has written all of its outputs: one an event."""

    def __init__(self, cluster: BenchCluster, topic: str) -> None:
        self._admin = cluster.admin
        self._topic = topic

    def count(self) -> int:
        """How many there are."""
        return sum(ends(self._admin, [self._topic], is_committed=False).values())


def reader(cluster: BenchCluster) -> Consumer:
    """Reads committed records, outside any group."""
    return Consumer(
        client(cluster.address)
        | {
            "group.id": "bench-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 5,
        }
    )
