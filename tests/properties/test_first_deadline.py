"""The earliest deadline is kept as a row: always the least there is, and a tick misses none by reading from it on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.base import Tick
from schemas.frozen import replace
from schemas.inventory import StockReceived
from schemas.records import Record
from streams.engine.fates import NAMESPACE, ONE, Due, EngineTables
from streams.engine.flow import Fold
from streams.engine.log import TopicPartition
from streams.engine.memory.log import MemoryLog, MemoryStore
from streams.engine.partition import Limits, open_partition
from streams.engine.table import EngineTable, Journal
from tables.common.table import Table, row_types
from tests.support.toy_flows import CODEC, INBOX, received


@dataclass(frozen=True, slots=True)
class Booked:
    by: str


@dataclass(slots=True)
class TimedTables:
    deadlines: Table[tuple[int, str], Booked]


def on_received(t: TimedTables, e: StockReceived) -> Iterator[Any]:
    """Books a deadline, or takes it back."""
    key = (e.qty_milli, e.item)
    if e.uom == "BOOK":
        t.deadlines[key] = Booked(e.event_id)
    elif key in t.deadlines:
        del t.deadlines[key]
    yield from ()


def on_tick(t: TimedTables, e: Tick) -> Iterator[Any]:
    """Works off at most two."""
    due = [key for key, _ in t.deadlines.range((-(2**62), ""), (e.occurred_at_ms + 1, ""))]
    for key in due[:2]:
        del t.deadlines[key]
    yield from ()


def timed_fold() -> Fold[TimedTables]:
    fold = Fold("promise", inbox=topics.PROMISE_INBOX, tables=TimedTables)
    fold.on(StockReceived)(on_received)
    fold.on(Tick)(on_tick)
    return fold


def tick(now_ms: int) -> Tick:
    return Tick(
        event_id=f"t{now_ms}",
        source="clock",
        source_position=now_ms,
        occurred_at_ms=now_ms,
        recorded_at_ms=now_ms,
        trace_id="t",
    )


STEP = st.tuples(st.sampled_from(["book", "book", "drop", "tick"]), st.integers(-2, 9))


@given(st.lists(st.tuples(st.lists(STEP, max_size=6), st.booleans()), max_size=12))
def test_the_first_deadline_is_exact_whatever_is_booked_dropped_and_worked_off(batches: list[tuple[list[Any], bool]]) -> None:
    log = MemoryLog()
    log.create(topics.DEFINED)
    store = MemoryStore()
    part = open_partition(timed_fold(), TopicPartition(INBOX, 0), store, log, CODEC, Limits())
    part.begin(0)
    model: set[int] = set()
    offset = 0
    for steps, is_committed in batches:
        after, records = set(model), []
        for what, number in steps:
            event: Any = tick(number)
            if what == "tick":
                after -= set(sorted(at for at in after if at <= number)[:2])
            else:
                event = replace(received("X", f"e{offset}"), uom=what.upper(), qty_milli=number)
                (after.add if what == "book" else after.discard)(number)
            records.append(Record(INBOX, 0, offset, 0, b"X", CODEC.encode(event), ()))
            offset += 1
        part.apply(records)
        changes = part.finish()
        if not is_committed:
            part.dropped()
            continue
        for key, row in changes:
            store.put(key, row)
        part.committed()
        model = after
        due = EngineTable[Any, Due](f"{NAMESPACE}due", *row_types(EngineTables)["due"], store, Journal()).get(ONE)
        booked = EngineTable[Any, Booked]("deadlines", *row_types(TimedTables)["deadlines"], store, Journal())
        assert {key[0] for key, _ in booked.under()} == model
        assert (None if due is None else due.first_ms) == min(model, default=None)
