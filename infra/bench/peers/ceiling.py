"""The ceiling: what any engine in Python on these clients could at best do. `python -m infra.bench.peers.ceiling JOB`.

Consume, produce the same record, one transaction a batch. No logic, no state, no changelog. Batches and fetches are
crossdock's, so that what lies between them is what logic and state cost.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from confluent_kafka import Consumer, Message, Producer

from infra.bench.peers.jobs import EngineJob
from streams.engine.kafka.clients import MAX_RECORD_BYTES
from streams.engine.kafka.followers import next_messages
from streams.engine.worker import Pace


def main(path: str) -> None:
    """Copy until told to stop."""
    job = EngineJob.read(Path(path))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    common = {"bootstrap.servers": job.brokers}
    consumer = Consumer(
        common
        | {
            "group.id": job.group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "fetch.message.max.bytes": MAX_RECORD_BYTES,
            "session.timeout.ms": 10_000,
        }
    )
    producer = Producer(
        common
        | {"transactional.id": job.group, "linger.ms": 5, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
    )
    producer.init_transactions(30)
    consumer.subscribe([job.input])
    pace = Pace()
    batch = pace.min_batch
    while not stop.is_set():
        messages = [message for message in next_messages(consumer, batch, 0.1) if message.error() is None]
        if messages:
            _copy(consumer, producer, job.output, messages)
        batch = min(pace.max_batch, batch * 2) if len(messages) == batch else max(pace.min_batch, batch // 2)
    consumer.close()


def _copy(consumer: Consumer, producer: Producer, output: str, messages: list[Message]) -> None:
    producer.begin_transaction()
    for message in messages:
        while True:
            try:
                producer.produce(output, message.value(), message.key(), message.partition() or 0)
                break
            except BufferError:
                producer.poll(0.01)
    producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)


if __name__ == "__main__":
    main(sys.argv[1])
