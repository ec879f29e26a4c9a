"""Deliveries, whatever happens: obligations raised, endpoints down or slow, agents killed, answers lost, late or told twice."""

from __future__ import annotations

from collections import Counter as Count
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deliveries import Dispatch, DispatchAnswered, ObligationRaised, ObligationSettled, RetryObligation
from schemas.errors import AlreadyApplied
from schemas.operations import ExceptionCleared, ExceptionNoted
from tables.common.policy import EndpointPolicy
from tables.deliveries.dispatcher import EXHAUSTED, given_up_fingerprint
from tables.deliveries.state import Circuit, ObligationState
from tests.support.deliveries import ENDPOINT, Counter

RAISE = st.tuples(st.just("raise"), st.integers(0, 4))
SERVE = st.tuples(st.just("serve"), st.integers(0, 9))
WAIT = st.tuples(st.just("wait"), st.sampled_from([100, 1_000, 5_000, 31_000]))
ACTION = st.one_of(
    RAISE,
    RAISE,
    SERVE,
    SERVE,
    WAIT,
    WAIT,
    st.tuples(st.just("raise again"), st.integers(0, 30)),
    st.tuples(st.just("serve, answer lost"), st.integers(0, 9)),
    st.tuples(st.just("agent dies"), st.integers(0, 9)),
    st.tuples(st.just("answer late"), st.integers(0, 30)),
    st.tuples(st.just("down"), st.booleans()),
    st.tuples(st.just("poison"), st.integers(0, 4)),
    st.tuples(st.just("person retries"), st.integers(0, 9)),
)
ACTIONS = st.lists(ACTION, min_size=40, max_size=120)
POLICIES = st.builds(
    EndpointPolicy,
    window=st.integers(1, 4),
    lease_ms=st.just(30_000),
    retry_ms=st.sampled_from([100, 1_000]),
    retry_most_ms=st.just(20_000),
    attempts=st.integers(1, 4),
    open_after=st.integers(1, 4),
    pause_ms=st.just(1_000),
    pause_most_ms=st.just(10_000),
)


@dataclass
class World:
    """The fold, an endpoint that keeps idempotency keys, and agents between them."""

    policy: EndpointPolicy
    counter: Counter = field(init=False)
    raised: dict[str, list[str]] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    effects: dict[str, list[str]] = field(default_factory=dict)
    sent: list[Dispatch] = field(default_factory=list)
    settled: list[ObligationSettled] = field(default_factory=list)
    open_exceptions: set[str] = field(default_factory=set)
    at_agents: list[Dispatch] = field(default_factory=list)
    lost: list[tuple[Dispatch, str]] = field(default_factory=list)
    is_down: bool = False
    poison: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.counter = Counter(self.policy)

    def hear(self, said: list[Any]) -> None:
        for output in said:
            if isinstance(output, Dispatch):
                self.sent.append(output)
                self.at_agents.append(output)
            elif isinstance(output, ObligationSettled):
                self.settled.append(output)
            elif isinstance(output, ExceptionNoted):
                self.open_exceptions.add(output.fingerprint)
            elif isinstance(output, ExceptionCleared):
                self.open_exceptions.discard(output.fingerprint)

    def tell(self, event: Any) -> None:
        try:
            self.hear(self.counter.apply(event))
        except AlreadyApplied:
            return

    def obligation(self, aggregate: str, name: str) -> ObligationRaised:
        return ObligationRaised(
            **self.counter.header(name),
            endpoint=ENDPOINT, aggregate=aggregate, obligation_id=name, kind="notify_status", body="{}",
        )  # fmt: skip

    def call(self, sent: Dispatch) -> str:
        """What the endpoint does: once a key, and an effect only when it does it."""
        if self.is_down or sent.aggregate in self.poison:
            return "failed"
        if sent.obligation_id not in self.done:
            self.done[sent.obligation_id] = "refused" if sent.obligation_id.endswith("7") else "done"
            self.effects.setdefault(sent.aggregate, []).append(sent.obligation_id)
        return self.done[sent.obligation_id]

    def answered(self, sent: Dispatch, outcome: str) -> DispatchAnswered:
        return DispatchAnswered(
            **self.counter.header(f"{sent.event_id} answered"),
            endpoint=ENDPOINT, aggregate=sent.aggregate, obligation_id=sent.obligation_id, attempt=sent.attempt,
            outcome=outcome, status=0, answer="", took_ms=1,
        )  # fmt: skip

    def act(self, what: str, n: Any) -> None:
        if what == "raise":
            aggregate = f"order{n}"
            mine = self.raised.setdefault(aggregate, [])
            mine.append(f"{aggregate}/{len(mine)}")
            self.tell(self.obligation(aggregate, mine[-1]))
        elif what == "raise again":
            names = [(aggregate, name) for aggregate, mine in self.raised.items() for name in mine]
            if names:
                self.tell(self.obligation(*names[n % len(names)]))
        elif what in ("serve", "serve, answer lost", "agent dies") and self.at_agents:
            sent = self.at_agents.pop(n % len(self.at_agents))
            if what == "agent dies":
                return
            outcome = self.call(sent)
            if what == "serve":
                self.tell(self.answered(sent, outcome))
            self.lost.append((sent, outcome))
        elif what == "answer late" and self.lost:
            self.tell(self.answered(*self.lost[n % len(self.lost)]))
        elif what == "wait":
            self.hear(self.counter.wait(n))
        elif what == "down":
            self.is_down = n
        elif what == "poison":
            self.poison ^= {f"order{n}"}
        elif what == "person retries":
            given_up = self.given_up()
            if given_up:
                self.retry(*given_up[n % len(given_up)])

    def given_up(self) -> list[tuple[str, str]]:
        rows = self.counter.t.obligations.under(ENDPOINT)
        return [(key[1], row.obligation_id) for key, row in rows if row.stage is ObligationState.EXHAUSTED]

    def retry(self, aggregate: str, name: str) -> None:
        header = self.counter.header("person")
        self.tell(RetryObligation(**header, endpoint=ENDPOINT, aggregate=aggregate, obligation_id=name))

    # --- what always holds ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        t = self.counter.t
        rows = dict(t.obligations.under(ENDPOINT))
        stages = Count(row.stage for row in rows.values())
        in_flight = Count(key[1] for key, row in rows.items() if row.stage is ObligationState.IN_FLIGHT)
        assert all(count == 1 for count in in_flight.values()), "two of an aggregate in flight"
        assert in_flight.total() <= self.policy.window
        names = [name for mine in self.raised.values() for name in mine]
        ended = {s.obligation_id for s in self.settled if s.outcome != "exhausted"}
        assert sorted([*ended, *(row.obligation_id for row in rows.values())]) == sorted(names), "lost or doubled"
        told = Count(s.obligation_id for s in self.settled if s.outcome != "exhausted")
        assert all(count == 1 for count in told.values()), "settled twice"
        down = {f"endpoint_down:{ENDPOINT}"} if names and self.counter.status().circuit != "closed" else set()
        given_up = {given_up_fingerprint(EXHAUSTED, ENDPOINT, name) for _, name in self.given_up()}
        assert self.open_exceptions == down | given_up
        for aggregate, effects in self.effects.items():
            assert effects == self.raised[aggregate][: len(effects)], "out of order"
        if names:
            self.check_counts(stages, in_flight.total(), len(rows))

    def check_counts(self, stages: Count[ObligationState], in_flight: int, kept: int) -> None:
        t, status = self.counter.t, self.counter.status()
        assert (status.waiting, status.in_flight) == (kept, in_flight)
        assert status.exhausted == stages[ObligationState.EXHAUSTED]
        assert status.done + status.refused == len(self.raised_names()) - kept
        rows = dict(t.obligations.under(ENDPOINT))
        heads = {min(k for k in rows if k[1] == aggregate) for aggregate in {k[1] for k in rows}}
        live = {key[2] for key in heads if rows[key].stage is not ObligationState.EXHAUSTED}
        assert {seq for (_, seq), _ in t.heads.under(ENDPOINT)} == live
        ready = {key[2] for key in heads if rows[key].stage is ObligationState.QUEUED}
        assert {seq for (_, seq), _ in t.ready.under(ENDPOINT)} == ready
        waits = {k[4] for k, _ in t.deadlines.under() if k[1] in ("lease", "retry")}
        assert waits == {key[2] for key in heads if rows[key].stage in (ObligationState.IN_FLIGHT, ObligationState.RETRYING)}
        if status.circuit == Circuit.CLOSED:
            assert not ready or in_flight == self.policy.window, "somebody could go"
        if status.circuit == Circuit.HALF_OPEN:
            assert in_flight, "nobody decides"
        if status.circuit == Circuit.OPEN and ready:
            assert any(k[1] == "circuit" for k, _ in t.deadlines.under()), "nobody will look"

    def raised_names(self) -> list[str]:
        return [name for mine in self.raised.values() for name in mine]

    def settle_all(self, dice: Random) -> None:
        """The endpoint and the agents work again; a person retries what was given up."""
        self.is_down, self.poison = False, set()
        for _ in range(10_000):
            while self.at_agents:
                self.act("serve", dice.randrange(100))
                self.check()
            for aggregate, name in self.given_up():
                self.retry(aggregate, name)
            if not self.at_agents:
                if not any(True for _ in self.counter.t.obligations.under(ENDPOINT)):
                    return
                due_ms = self.counter.due_ms()
                assert due_ms is not None, "nothing will ever happen"
                self.act("wait", max(due_ms - self.counter.now_ms, 0))
        raise AssertionError("it never ends")


@settings(max_examples=200, deadline=None)
@given(actions=ACTIONS, policy=POLICIES, seed=st.integers(0, 1_000))
def test_nothing_is_lost_doubled_or_out_of_order(actions: list[tuple[str, Any]], policy: EndpointPolicy, seed: int) -> None:
    world = World(policy, is_down=seed % 2 == 0)
    for what, n in actions:
        world.act(what, n)
        world.check()
    world.settle_all(Random(seed))
    names = world.raised_names()
    assert sorted(name for effects in world.effects.values() for name in effects) == sorted(names)
    assert not world.open_exceptions
    assert {key[1] for key, _ in world.counter.t.deadlines.under()} <= {"forget"}
    outcomes = {s.obligation_id: s.outcome for s in world.settled}
    assert outcomes == world.done


@settings(max_examples=100, deadline=None)
@given(orders=st.integers(1, 30), outage_s=st.integers(1, 600), policy=POLICIES)
def test_after_an_outage_the_queue_goes_in_the_order_raised_but_for_what_had_been_tried(
    orders: int, outage_s: int, policy: EndpointPolicy
) -> None:
    world = World(policy)
    world.is_down = True
    for n in range(orders):
        world.act("raise", n)
    for _ in range(outage_s):
        world.act("wait", 1_000)
        while world.at_agents:
            world.act("serve", 0)
    assert not world.settled, "an outage exhausts nothing"
    tried = {sent.obligation_id for sent in world.sent}
    world.settle_all(Random(0))
    order = [sent.obligation_id for sent in world.sent if sent.obligation_id not in tried]
    assert order == sorted(order, key=world.raised_names().index)
    assert len(world.settled) == orders
