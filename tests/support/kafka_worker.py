"""A worker on Kafka in a process of its own that stops or kills itself at a named point of its nth commit.

`python -m tests.support.kafka_worker BROKER DIRECTORY GROUP POINT NTH SIGNAL`. Once it goes on after SIGSTOP, it says
how often it was fenced, and leaves.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.chaos.points import name_inside
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.log import TopicPartition
from streams.engine.worker import Pace, Worker
from tests.support.toy_flows import CODEC, INBOX, toy_fold

PATIENCE_S = 60.0


def settings(broker: str) -> KafkaSettings:
    return KafkaSettings(broker, session_ms=2_000, heartbeat_ms=200, transaction_ms=4_000)


def worker_on(log: KafkaLog, group: str, at: Callable[[str], None] = lambda point: None) -> Worker:
    pace = Pace(max_batch=7, min_batch=7, poll_s=0.05, backoff_s=(0.01, 0.1))
    return Worker(log, [toy_fold()], CODEC, group=group, pace=pace, clock_ms=lambda: 0, at=at)


def partitions(log: KafkaLog) -> list[TopicPartition]:
    return [TopicPartition(INBOX, index) for index in range(log.partitions(INBOX))]


def finish(log: KafkaLog, group: str, worker: Worker) -> None:
    """Step until the group has read everything."""
    deadline = time.monotonic() + PATIENCE_S
    while worker.step(0.1).inputs or any(log.read(p, log.committed(group, p), 1) for p in partitions(log)):
        assert time.monotonic() < deadline, "the worker did not get to the end in time"


def main(broker: str, directory: str, group: str, point: str, nth: int, signal: int) -> None:
    seen = 0

    def at(now: str) -> None:
        nonlocal seen
        seen += now == point
        if now == point and seen == nth:
            os.kill(os.getpid(), signal)

    name_inside(at)
    log = KafkaLog(settings(broker), Path(directory))
    worker = worker_on(log, group, at)
    while not worker.counters.fenced and not worker.counters.unavailable:
        worker.step(0.1)
    print(f"fenced {worker.counters.fenced}", flush=True)
    worker.close()
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
