"""The clock wakes the folds that have something due, and no others."""

from __future__ import annotations

import pytest

from schemas import topics
from schemas.base import Tick
from schemas.codec import Codec
from schemas.deliveries import DeliveryTick, ObligationRaised
from schemas.frozen import replace
from schemas.orders import OrderTick
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partition import Flow
from streams.engine.partitions import partition_of
from streams.engine.worker import Worker
from streams.flows.customers import customers
from streams.flows.deliveries import deliveries_fold
from streams.flows.orders import orders_fold
from streams.flows.promise import promise_fold
from streams.flows.ticks import TickClock, timed
from tables.common.policy import Policy
from tables.deliveries.state import EndpointPolicies

CODEC = Codec()
INBOX = topics.DELIVERY_INBOX
RAISED = ObligationRaised(
    event_id="r", source="orders", source_position=0, occurred_at_ms=0, recorded_at_ms=1_000, trace_id="t",
    endpoint="wms", aggregate="A", obligation_id="A1", kind="release_order", body="{}",
)  # fmt: skip


def test_the_folds_with_deadlines_are_found_with_their_ticks() -> None:
    flows: list[Flow] = [promise_fold(Policy()), orders_fold(), customers, deliveries_fold(EndpointPolicies({}))]
    assert {entry.fold.name: entry.tick for entry in timed(flows)} == {
        "promise": Tick,
        "orders": OrderTick,
        "deliveries": DeliveryTick,
    }


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(topics.DEFINED)
    return log


def test_a_tick_goes_to_a_partition_with_something_due_and_one_at_a_time(log: MemoryLog) -> None:
    now_ms = 1_000
    fold = deliveries_fold(EndpointPolicies({}))
    clock = TickClock(log, CODEC, lambda: now_ms, [fold, promise_fold(Policy())])
    worker = Worker(log, [fold], CODEC, clock_ms=lambda: now_ms)
    at = TopicPartition(INBOX.name, partition_of(b"wms", INBOX.partitions))
    log.append([Outgoing(*at, b"wms", CODEC.encode(replace(RAISED)))])
    assert clock.tick() == 0
    while worker.step().inputs:
        pass
    assert clock.tick() == 0
    now_ms = 31_000  # the lease has run out
    assert clock.tick() == 1
    assert clock.tick() == 0
    (record,) = log.read(at, 1, 10)
    tick = CODEC.decode(record.value or b"")
    assert (type(tick), tick.occurred_at_ms, record.key) == (DeliveryTick, 31_000, b"clock")
    while worker.step().inputs:
        pass
    assert clock.tick() == 0
    now_ms = 61_000
    assert clock.tick() == 1


def test_a_look_costs_the_same_however_much_was_worked_off(log: MemoryLog) -> None:
    """The clock asks for one row a partition, and never scans: deadlines that are done do not weigh on it."""

    class Counting:
        def __init__(self) -> None:
            self.asked: list[bytes] = []

        def get(self, key: bytes) -> bytes | None:
            self.asked.append(key)
            return None

        def range(self, low: bytes, high: bytes | None) -> object:
            raise AssertionError("the clock scanned")

    store = Counting()
    fold = deliveries_fold(EndpointPolicies({}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "store", lambda _: store)
        assert TickClock(log, CODEC, lambda: 1_000, [fold]).tick() == 0
    assert len(store.asked) == INBOX.partitions
