"""crossdock as it is measured beside its peers: `python -m infra.bench.peers.crossdock_peer JOB`.

Workload (a) is a small fold on JSON records; (b) is the WMS translator and the promise fold, each in its group as `crossdock
run` has them, in one process.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

import connectors.wms.translate
from infra.bench.peers.jobs import PARTITIONS, EngineJob
from schemas import topics
from schemas.codec import Codec
from schemas.errors import BadMessage
from schemas.inventory import RequestAllocation, SupplyChanged
from schemas.records import FeedPosition, Record, Translation
from schemas.topics import Carried, Route, Topic
from streams.engine.flow import Fold, Translator
from streams.engine.kafka.log import KafkaLog, KafkaSettings
from streams.engine.partition import Flow
from streams.engine.process import calm_collector
from streams.engine.worker import Worker
from streams.flows.promise import promise_fold
from tables.common.policy import Policy
from tables.common.table import Table
from tables.operations.feed_sequence import FeedLedgerTables, admit

NEEDED = (
    topics.PROMISE_INBOX,
    topics.ORDER_INBOX,
    topics.EXCEPTIONS_INBOX,
    topics.ATP,
    topics.LEDGER,
    topics.REPLIES,
    topics.DEAD_LETTERS,
)
"""What workload (b) writes to."""


# --- (a) ------------------------------------------------------------------------------------------------------------------


class Added(msgspec.Struct, frozen=True, gc=False):
    """A quantity for a key, sent at `t`."""

    key: str
    qty: int
    t: int


class PeerTotal(msgspec.Struct, frozen=True, gc=False):
    """A key's count and sum, as of the event sent at `t`."""

    key: str
    count: int
    sum: int
    t: int


@dataclass(frozen=True, slots=True)
class Sum:
    """The row."""

    count: int
    sum: int


@dataclass(slots=True)
class SumTables:
    """All tables of the fold."""

    sums: Table[tuple[str], Sum]


class JsonCodec(Codec):
    """The peers' JSON, instead of Avro."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Added)
        self._encoder = msgspec.json.Encoder()

    def encode(self, event: Any) -> bytes:
        """As JSON."""
        return self._encoder.encode(event)

    def encoder(self, cls: type[Any]) -> Callable[[Any], bytes]:
        """What `encode` does."""
        del cls
        return self._encoder.encode

    def decode(self, data: bytes) -> Any:
        """The event. Raises `BadMessage`."""
        try:
            return self._decoder.decode(data)
        except msgspec.DecodeError as error:
            raise BadMessage(str(error), hint="send JSON") from error


def added(t: SumTables, e: Added) -> Iterator[PeerTotal]:
    """One more."""
    held = t.sums.get((e.key,))
    row = Sum(1, e.qty) if held is None else Sum(held.count + 1, held.sum + e.qty)
    t.sums[(e.key,)] = row
    yield PeerTotal(e.key, row.count, row.sum, e.t)


def sums_fold(job: EngineJob) -> Fold[SumTables]:
    """The fold of workload (a)."""
    inbox = Topic(job.input, "key", "bench", 1_000, (Carried(Added, "key", ("bench",)),), job.partitions, is_inbox=True)
    output = Topic(job.output, "key", "bench", 1_000, (Carried(PeerTotal, "key", ("sums",)),), job.partitions)
    topics.ROUTES[PeerTotal] = Route(output, "key", ("sums",), is_broadcast=False)
    fold = Fold("sums", inbox, SumTables)
    fold.on(Added)(added)
    return fold


# --- (b) ------------------------------------------------------------------------------------------------------------------


class PeerOrderLine(msgspec.Struct, frozen=True):
    """An order's line, as the orders fold would ask for it."""

    event_id: str
    sequence: int
    instance: str
    site: str
    item: str
    qty: str
    order: str
    line: int
    requested_date: date
    channel: str
    customer: str


class PeerSupplyLine(msgspec.Struct, frozen=True):
    """A purchase line, as the documents fold would tell of it."""

    event_id: str
    sequence: int
    instance: str
    site: str
    item: str
    qty: str
    po: str
    line: int
    expected_date: date


_ORDER, _SUPPLY = b'"type":"order.line"', b'"type":"supply.line"'
_order_line, _supply_line = msgspec.json.Decoder(PeerOrderLine).decode, msgspec.json.Decoder(PeerSupplyLine).decode


def translate(record: Record) -> Translation:
    """A WMS message by the real translator; the two kinds of lines, which crossdock's other folds would send, by the way."""
    value = record.value or b""
    if _ORDER in value:
        order = _order_line(value)
        return Translation([_wish(order, record)], FeedPosition(f"wms:{order.instance}", order.sequence, record.timestamp_ms))
    if _SUPPLY in value:
        supply = _supply_line(value)
        return Translation(
            [_supplied(supply, record)], FeedPosition(f"wms:{supply.instance}", supply.sequence, record.timestamp_ms)
        )
    return connectors.wms.translate.translate(record)


def _head(line: PeerOrderLine | PeerSupplyLine, record: Record) -> dict[str, Any]:
    return {
        "event_id": f"{line.instance}:{line.event_id}",
        "source": f"wms:{line.instance}",
        "source_position": line.sequence,
        "occurred_at_ms": record.timestamp_ms,
        "recorded_at_ms": record.timestamp_ms,
        "trace_id": record.trace_id,
    }


def _wish(line: PeerOrderLine, record: Record) -> RequestAllocation:
    return RequestAllocation(
        **_head(line, record),
        item=line.item,
        order_id=line.order,
        line=line.line,
        revision=1,
        wanted_milli=int(line.qty) * 1000,
        uom="EA",
        site=line.site,
        requested_on=line.requested_date,
        channel=line.channel,
        customer=line.customer,
        priority=5,
        placed_at_ms=record.timestamp_ms,
        is_firm=False,
        allow_partial=True,
        allow_backorder=True,
        shipped_milli=0,
        commit_position=0,
        instructed=[],
    )


def _supplied(line: PeerSupplyLine, record: Record) -> SupplyChanged:
    return SupplyChanged(
        **_head(line, record),
        item=line.item,
        document=line.po,
        line=line.line,
        revision=1,
        site=line.site,
        supplier="V-1",
        ordered_milli=int(line.qty) * 1000,
        received_milli=0,
        expected_on=line.expected_date,
        is_open=True,
    )


def wms_translator(job: EngineJob) -> Translator:
    """The translator of workload (b). It stands in for the folds that write order and supply lines, so it may write theirs."""
    for event in (RequestAllocation, SupplyChanged):
        route = topics.ROUTES[event]
        topics.ROUTES[event] = replace(route, writers=(*route.writers, topics.WMS))
    raw = Topic(job.input, "none", "bench", 1_000, (), PARTITIONS)
    return Translator(topics.WMS, (raw,), translate, tables=FeedLedgerTables, admit=admit)


# --- the process ------------------------------------------------------------------------------------------------------------


def workers(job: EngineJob, log: KafkaLog) -> list[Worker]:
    """Who does the work of a job."""
    if job.workload == "a":
        return [Worker(log, [sums_fold(job)], JsonCodec(), group=job.group)]
    log.create(NEEDED)
    codec = Codec()
    flows: list[tuple[str, Flow]] = [("translate", wms_translator(job)), ("fold", promise_fold(Policy()))]
    return [Worker(log, [flow], codec, group=f"{job.group}.{name}") for name, flow in flows]


def main(path: str) -> None:
    """Work until told to stop."""
    job = EngineJob.read(Path(path))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = KafkaLog(KafkaSettings(job.brokers), Path(job.directory))
    found = workers(job, log)
    calm_collector()
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.5)
    halted = {f"{at.topic}/{at.partition}": str(error) for worker in found for at, error in worker.halted.items()}
    if halted:
        print(json.dumps({"halted": halted}), flush=True)
    log.close()


if __name__ == "__main__":
    main(sys.argv[1])
