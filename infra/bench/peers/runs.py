"""One run of one engine: throughput over a backlog, latency at a steady rate, or how fast its rows come back.

A backlog is written in one transaction, while the engine, warmed up, waits: it is seen at once, and nobody else works while
it is done.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka import TopicPartition as Place

from infra.bench.peers import traffic
from infra.bench.peers.checks import check_promises, check_sums
from infra.bench.peers.children import Children
from infra.bench.peers.cluster import BenchCluster, CannotMeasure, Loader, OutputCount, ResourceWatch, client, cpu_s, ends, reader
from infra.bench.peers.jobs import PARTITIONS, STARTED_S, EngineJob, Measurement
from infra.bench.peers.preload import preload_items
from schemas.codec import Codec

POLL_S = 0.03
SETTLING_S = 2.0  # of a latency run are not counted
STRAGGLING_S = 20.0
PATIENCE = 5  # a run may take so many times as long as expected
SEED = 1
Told = Callable[[str], None]


class MeasurementRig:
    """What all kinds of runs need: fresh topics, a load, the engine's processes."""

    def __init__(self, cluster: BenchCluster, run: Measurement, directory: Path, told: Told) -> None:
        self.cluster = cluster
        self.run = run
        self.told = told
        self.id = f"bench-{zlib.crc32(run.name.encode()):08x}-{time.time_ns() // 1_000_000_000:x}"
        self.input = f"{self.id}-in"
        self.output = run.engine.output(self.id, run.workload)
        groups = run.engine.groups(self.id, run.workload)
        self._watch = ResourceWatch(cluster, self.input, groups, lambda name: run.engine.is_between(name, self.id))
        self.is_milli = run.workload != "a"
        cluster.clear()
        cluster.create({self.input, f"{self.id}-out"})
        if run.engine.kind == "crossdock" and run.workload != "a":
            preload_items(cluster, f"{self.id}.fold", run.keys)
        is_restore = run.measure == "restore"
        commit_ms = run.engine.latency_commit_ms if run.measure == "latency" else run.engine.commit_ms
        job = EngineJob(
            brokers=cluster.address,
            workload=run.workload[0],
            is_keyed=run.workload == "b-keyed",
            input=self.input,
            output=self.output,
            group=self.id,
            directory="",
            threads=run.engine.threads,
            partitions=PARTITIONS,
            commit_ms=commit_ms,
        )
        self.load = (
            traffic.Sums(run.keys, SEED, is_each_once=True) if is_restore else traffic.load_of(run.workload, run.keys, SEED)
        )
        self.loader = Loader(cluster, self.input)
        self.children = Children(run.engine, job, directory)
        self.sent = 0

    def write(self, count: int) -> Callable[[], float]:
        """Write events. Returns what lets them be seen, waits until they are done, and tells how many seconds that took."""
        self.sent += count
        began = time.perf_counter()
        wanted = self.loader.write(self.load.messages(count), is_milli=self.is_milli)

        def done() -> float:
            seen = self.loader.commit()
            self.wait(wanted, count)
            return time.perf_counter() - (seen if self.run.engine.is_transactional else began)

        return done

    def wait(self, wanted: Mapping[int, int], count: int) -> None:
        """Until the engine has committed so much. Raises `CannotMeasure` if it takes much too long."""
        engine = self.run.engine
        until = time.monotonic() + STARTED_S + PATIENCE * count / engine.expected[self.run.workload]
        while not self._is_done(wanted):
            self.children.check()
            if time.monotonic() > until:
                raise CannotMeasure(
                    f"{engine.name} did not get to the end of {count} events in time: see {self.children.logs[0]}"
                )
            time.sleep(POLL_S)

    def _is_done(self, wanted: Mapping[int, int]) -> bool:
        if not self.run.engine.is_transactional:
            return OutputCount(self.cluster, self.output).count() >= self.sent
        return self._watch.is_done(wanted)

    def close(self) -> None:
        """Let the clients go."""
        self._watch.close()

    def check(self) -> dict[str, Any]:
        """How many outputs there are, and what is wrong with them."""
        self.told("checking")
        if isinstance(self.load, traffic.Sums):
            outputs, wrong = check_sums(self.cluster, self.output, self.load, is_copy=self.run.engine.kind == "ceiling")
        elif self.run.engine.kind == "ceiling":
            outputs, wrong = sum(ends(self.cluster.admin, [self.output]).values()), ""
        else:
            outputs, wrong = check_promises(self.cluster, self.output, self.load, is_avro=self.run.engine.kind == "crossdock")
        return {"outputs_per_event": outputs / self.sent, "wrong": wrong}


def throughput(rig: MeasurementRig) -> dict[str, Any]:
    """Events a second over a backlog, and what they cost."""
    run = rig.run
    rig.told("starting")
    with rig.children:
        rig.write(run.warm_up)()
        rig.told("loading")
        written = rig.cluster.written(rig.input)
        at_once = not run.engine.is_transactional
        before = _spent(rig) if at_once else {}
        done = rig.write(run.events)
        before = before or _spent(rig)
        rig.told("running")
        seconds = done()
        spent = {name: used - before[name] for name, used in _spent(rig).items()}
        written = rig.cluster.written(rig.input) - written
    return {
        "seconds": seconds,
        "events_per_s": run.events / seconds,
        **{f"{name}_us_per_event": used / run.events * 1e6 for name, used in spent.items()},
        "bytes_per_event": written / run.events,
        **rig.check(),
    }


def _spent(rig: MeasurementRig) -> dict[str, float]:
    return {"engine_cpu": rig.children.cpu_s(), "broker_cpu": cpu_s([rig.cluster.pid])}


def latency(rig: MeasurementRig) -> dict[str, Any]:
    """From the moment an event is sent to its committed output, at a steady rate."""
    run = rig.run
    rig.told("starting")
    with rig.children:
        rig.write(run.warm_up)()
        rig.told("pacing")
        before = _spent(rig)
        paced = PacedRun(rig)
        took_us = sorted(paced.run())
        spent = {name: used - before[name] for name, used in _spent(rig).items()}
    if not took_us:
        raise CannotMeasure(f"{run.engine.name} gave no output in time at {run.rate} events/s")
    return {
        "p50_ms": took_us[len(took_us) // 2] / 1000,
        "p99_ms": took_us[int(len(took_us) * 0.99)] / 1000,
        "max_ms": took_us[-1] / 1000,
        "unanswered": paced.unanswered,
        **{f"{name}_us_per_event": used / run.events * 1e6 for name, used in spent.items()},
        "wrong": "",
    }


class PacedRun:
    """Sends at a steady rate and sees the outputs come. One that tells of a later event of its key answers earlier ones too."""

    def __init__(self, rig: MeasurementRig) -> None:
        self.unanswered = 0
        self._rig = rig
        self._waiting: dict[bytes, deque[int]] = {}
        self._took_us: list[int] = []
        self._counted_from_us = 0
        self._time_of = _time_of_avro(Codec()) if rig.output != f"{rig.id}-out" else _time_of_json
        self._scale = 1_000 if rig.is_milli else 1
        self._producer = Producer(client(rig.cluster.address) | {"linger.ms": 0, "enable.idempotence": True})
        self._consumer = reader(rig.cluster)
        self._consumer.assign([Place(p.topic, p.partition, end) for p, end in ends(rig.cluster.admin, [rig.output]).items()])

    def run(self) -> list[int]:
        """How long each took, in us."""
        rate, total = self._rig.run.rate, self._rig.run.events
        source = self._rig.load.messages(total)
        self._rig.sent += total
        self._consumer.consume(1, 1.0)  # its fetchers are running
        self._counted_from_us = int(time.time_ns() // 1_000 + SETTLING_S * 1e6)
        began = time.perf_counter()
        sent, until = 0, began + total / rate + STRAGGLING_S
        while (sent < total or self._waiting) and time.perf_counter() < until:
            due = min(total, int((time.perf_counter() - began) * rate))
            for message in (next(source) for _ in range(due - sent)):
                self._send(message)
            sent = due
            self._producer.poll(0)
            for arrived in self._consumer.consume(1_000, 0.001):
                self._came(arrived)
        self._rig.children.check()
        self._consumer.close()
        self.unanswered = sum(map(len, self._waiting.values()))
        return self._took_us

    def _send(self, message: traffic.TrafficMessage) -> None:
        at = time.time_ns() // 1_000 // self._scale
        if self._scale > 1:
            self._producer.produce(self._rig.input, message.at(at), message.key, message.partition, timestamp=at)
        else:
            self._producer.produce(self._rig.input, message.at(at), message.key, message.partition)
        self._waiting.setdefault(self._output_key(message), deque()).append(at)

    def _output_key(self, message: traffic.TrafficMessage) -> bytes:
        if self._scale == 1 or self._rig.run.engine.kind == "ceiling":
            return message.key
        return message.head.partition(b'"item":"')[2].partition(b'"')[0]

    def _came(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise CannotMeasure(f"The outputs cannot be read: {error.str()}")
            return
        key, value = message.key(), message.value()
        assert isinstance(key, bytes)
        assert isinstance(value, bytes)
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        reflected, now_us = self._time_of(value), time.time_ns() // 1_000
        while waiting and waiting[0] <= reflected:
            at_us = waiting.popleft() * self._scale
            if at_us >= self._counted_from_us:
                self._took_us.append(now_us - at_us)
        if not waiting:
            del self._waiting[key]


class _Stamped(msgspec.Struct, gc=False):
    t: int = 0
    sent_at: int = 0


_stamped = msgspec.json.Decoder(_Stamped).decode


def _time_of_json(value: bytes) -> int:
    found = _stamped(value)
    return found.t or found.sent_at


def _time_of_avro(codec: Codec) -> Callable[[bytes], int]:
    return lambda value: int(codec.decode(value).as_of_ms)


SHORTEST_S = 0.5
"""A restore that is shorter is not told from the noise of a start."""
MARKERS = 64
"""Events, over all partitions, that say when an engine that was started again works again."""


def restore(rig: MeasurementRig) -> dict[str, Any]:
    """Rows a second that come back from the changelog: the time to work again without local files, less that with them."""
    run = rig.run
    assert isinstance(rig.load, traffic.Sums)
    rig.told("filling")
    with rig.children:
        rig.write(run.events)()
    warm_s = _restart(rig, "starting with its rows")
    rig.children.forget()
    said_from = [log.stat().st_size for log in rig.children.logs]
    cold_s = _restart(rig, "starting without its rows")
    told = _told_s(rig, said_from)
    seconds = told if told is not None else cold_s - warm_s
    return {
        "warm_s": warm_s,
        "cold_s": cold_s,
        "rows_per_s": run.events / seconds if seconds >= SHORTEST_S else None,
        "is_as_told_by_engine": told is not None,
        **rig.check(),
    }


def _restart(rig: MeasurementRig, what: str) -> float:
    """Seconds from the start of the processes until events of each partition are done."""
    rig.told(what)
    assert isinstance(rig.load, traffic.Sums)
    rig.load.again()
    done = rig.write(MARKERS)
    began = time.perf_counter()
    with rig.children:
        done()
        return time.perf_counter() - began


def _told_s(rig: MeasurementRig, said_from: list[int]) -> float | None:
    """How long the restore took by the engine's own words, if it has any."""
    times = []
    for log, start in zip(rig.children.logs, said_from, strict=True):
        lines = log.read_bytes()[start:].decode(errors="replace").splitlines()
        times += [int(line.split()[1]) for line in lines if line.startswith("restore-")]
    return (max(times) - min(times)) / 1000 if times else None


KINDS: dict[str, Callable[[MeasurementRig], dict[str, Any]]] = {"throughput": throughput, "latency": latency, "restore": restore}
