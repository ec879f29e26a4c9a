"""Messages of every source with anything in them: every partition goes on, every record has one fate, others' numbers stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace as changed
from functools import cache
from random import Random
from typing import Any

from hypothesis import Phase, assume, given, note, settings
from hypothesis import strategies as st

from infra.simulation.observe import CommittedState
from infra.simulation.system_under_test import all_flows, all_topics
from schemas import topics
from schemas.base import Tick
from schemas.codec import Codec
from streams.engine.fates import NAMESPACE, ONE, InputFates
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.memory.log import LogFaults, MemoryLog
from streams.engine.partition import store_id
from streams.engine.partitions import partition_of
from streams.engine.table import EngineTable, Journal
from streams.engine.worker import Pace, Worker
from tables.common.policy import OrderPolicy, Policy
from tests.support.conversations import Said, conversation

CODEC = Codec()
POLICY = Policy()
ORDERS = OrderPolicy(erp="erp", wms="dc", notify=("portal",))
NOW_MS = 1_793_620_000_000
DAY_MS = 86_400_000
OTHERS, MINE = "S", "X"

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**40, 0.1, 1e308, "", " ", "0", "-0", "1.000",
    "1,5", "1e9", "NaN", "Infinity", "-Infinity", "infinity", "99999999999999999999", "0.0005", "9999-12-31", "0001-01-01",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "10000-01-01", "2026-02-30", "20261102", "Mars/Phobos", "America/Chicago ",
    "X-1", "X-1    ", "x-1", "X-2", "X-9", "XDC", "XDC ", "YDC", "X-C", "X-D", "usable", "lost", "EA", "BX", "PAL", "c", "u", "d",
    "r", "t", "m", "last", "incremental", "mysql", "\u0000", "\ud800", "\u202e", "a/b", "a b", "Müller", "'; --", "=1+1", "<b>",
    "x" * 300, "x" * 70_000, [], {}, [[]], [None], {"a": {"b": {}}}, {"scale": 3, "value": "D0JA"}, {"scale": -5, "value": ""},
]  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, itself included."""
    found = [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        found += paths(part, (*at, key))
    return found


def put(value: Any, path: tuple[Any, ...], what: Any) -> Any:
    """The value with a place changed; `...` takes the place away."""
    if not path:
        return None if what is ... else what
    held = dict(value) if isinstance(value, dict) else list(value)
    key = path[0]
    if len(path) > 1:
        held[key] = put(held[key], path[1:], what)
    elif what is ...:
        del held[key]
    else:
        held[key] = what
    return held


@st.composite
def mutations(draw: st.DrawFn) -> list[Said]:
    """A conversation of which some messages are wrong: in their values, their fields, their bytes, or their number."""
    said = list(conversation(MINE, 5_000))
    for _ in range(draw(st.integers(1, 6))):
        n = draw(st.integers(0, len(said) - 1))
        message = said[n]
        how = draw(st.sampled_from(["value", "value", "value", "value", "gone", "more", "bytes", "again", "swap"]))
        if how == "again":
            said.insert(draw(st.integers(0, len(said))), message)
        elif how == "swap":
            said[n], said[n - 1] = said[n - 1], message
        elif how == "bytes" or isinstance(message.body, str):
            raw = message.value.decode()
            cut = draw(st.integers(0, len(raw)))
            said[n] = changed(
                message, body=raw[:cut] + draw(st.sampled_from(["", "\u0000", "\ufeff", '"', "9", "}"])) + raw[cut + 1 :]
            )
        else:
            at = draw(st.sampled_from(paths(message.body)))
            what = ... if how == "gone" else draw(st.sampled_from(NASTY))
            if how == "more":
                at = (
                    *(at[:-1] if at and not isinstance(at[-1], int) else ()),
                    draw(st.sampled_from(["extra", "ship_to", "a.b", ""])),
                )
            said[n] = changed(message, body=_with(message.body, at, what))
    return said


def _with(body: Any, at: tuple[Any, ...], what: Any) -> Any:
    try:
        return put(body, at, what)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        return what


class Run:
    """All flows over a log in memory, in one worker."""

    def __init__(self, batch: int) -> None:
        self.log = MemoryLog(1, LogFaults(), lambda: NOW_MS)
        self.log.create(all_topics())
        self.flows = all_flows(POLICY, ORDERS)
        pace = Pace(max_batch=batch, min_batch=batch, poll_s=0.0)
        self.worker = Worker(self.log, self.flows, CODEC, pace=pace, clock_ms=lambda: NOW_MS, rng=Random(1))

    def send(self, messages: Sequence[Said]) -> None:
        for message in messages:
            partitions = self.log.partitions(message.topic)
            partition = partition_of(message.key, partitions) if message.key is not None else 0
            self.log.append([Outgoing(message.topic, partition, message.key, _bytes(message), message.headers)])

    def rest(self) -> None:
        for _ in range(5_000):
            if self.worker.step().inputs == 0:
                return
        raise AssertionError("the flows make work for themselves")

    def tick(self, days: int) -> None:
        at_ms = NOW_MS + days * DAY_MS
        for fold in (topics.PROMISE_INBOX, topics.ORDER_INBOX, topics.DELIVERY_INBOX):
            (kind,) = (carried.type for carried in fold.carries if issubclass(carried.type, Tick))
            head: dict[str, Any] = {
                "event_id": f"tick:{at_ms}",
                "source": topics.CLOCK,
                "source_position": at_ms,
                "trace_id": "clock",
            }
            value = CODEC.encode(kind(**head, occurred_at_ms=at_ms, recorded_at_ms=at_ms))
            self.log.append([Outgoing(fold.name, n, b"clock", value) for n in range(fold.partitions)])
        self.rest()

    def play(self, mine: Sequence[Said], dice: Random) -> None:
        """The others' messages one by one, so that only mine can change what they come to; mine anywhere between them."""
        others = conversation(OTHERS, 1_000)
        where = sorted(dice.randint(0, len(others)) for _ in mine)
        for n in range(len(others) + 1):
            self.send([message for message, at in zip(mine, where, strict=True) if at == n])
            self.send(others[n : n + 1])
            self.rest()
        self.tick(0)
        self.tick(40)

    def check_fates(self) -> None:
        """Every record has one fate, and no partition stands still."""
        assert not self.worker.halted
        flows = {topic.name: flow for flow in self.flows for topic in getattr(flow, "topics", None) or (flow.inbox,)}  # type: ignore[union-attr]
        for name, flow in flows.items():
            for n in range(self.log.partitions(name)):
                at = TopicPartition(name, n)
                rows = EngineTable[tuple[str], InputFates](
                    NAMESPACE + "fates", (str,), InputFates, self.log.store(store_id(flow, at)), Journal()
                )
                fates = rows.get(ONE) or InputFates()
                assert fates.inputs == self.log.bounds(at)[1], at
                assert min(fates.applied, fates.duplicate, fates.ignored, fates.dead_lettered, fates.parked) >= 0, (at, fates)

    def letters(self) -> list[str]:
        """Why each dead letter is one."""
        return [letter.reason for letter in CommittedState(self.log, CODEC, POLICY).records(topics.DEAD_LETTERS)]

    def numbers(self, family: str) -> dict[str, Any]:
        """What is published of a family."""
        system = CommittedState(self.log, CODEC, POLICY)
        atp = {name: (row.promise_milli, row.atp_milli, row.sites, row.suspects) for name, row in system.atp().items()}
        orders = {name: (row.status, row.lines, row.holds, row.decision) for name, row in system.order_status().items()}
        return {name: row for name, row in {**atp, **orders}.items() if name.split(":")[-1].startswith(f"{family}-")}


def _bytes(message: Said) -> bytes:
    body = message.body
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else json.dumps(body).encode("utf-8", "surrogatepass")


def _empties_a_table(message: Said) -> bool:
    """A truncation is about all rows, the others' too."""
    body = message.body
    return isinstance(body, dict) and body.get("op") == "t" and not (body.get("after") or body.get("before"))


@cache
def undisturbed() -> dict[str, Any]:
    """The others' numbers where nobody says anything wrong."""
    run = Run(64)
    run.play([], Random(0))
    found = run.numbers(OTHERS)
    assert {"S-1", "S-2", "web:S-W1", "web:S-S1", "marketplace:S-M1", "edi:S-E1", "phone:S-P1"} <= set(found)
    return found


@given(mutations(), st.integers(0, 2**16), st.sampled_from([1, 7, 500]))
@settings(max_examples=150, derandomize=True, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_a_wrong_message_stops_and_changes_nothing_but_its_own(mine: list[Said], seed: int, batch: int) -> None:
    """Whatever one family's messages say, the other family's numbers are those it has alone."""
    run = Run(batch)
    whole = conversation(MINE, 5_000)
    for message in mine:
        assume(not _empties_a_table(message))
        if message not in whole:
            note(f"{message.topic} {_bytes(message)[:1500]!r}")
    run.play(mine, Random(seed))
    run.check_fates()
    assert run.numbers(OTHERS) == undisturbed()
    assert [reason for reason in run.letters() if "has a defect" in reason] == []


def test_a_conversation_without_faults_is_understood_whole() -> None:
    """Otherwise the test above would try little."""
    run = Run(64)
    run.send(conversation(MINE, 5_000))
    run.rest()
    assert run.letters() == []
