"""Deliveries: in order by aggregate, within the window, again after failures, left alone while the endpoint is away."""

from __future__ import annotations

import pytest

from schemas.deliveries import Dispatch, ObligationSettled
from schemas.errors import AlreadyApplied, Refused
from schemas.operations import ExceptionNoted
from streams.flows.deliveries import deliveries_fold
from tables.common.policy import EndpointPolicy
from tables.deliveries.circuit_breaker import backoff_ms
from tables.deliveries.state import MEMORY_MS, EndpointPolicies
from tests.support.deliveries import START_MS, Counter, exceptions, sent, settled

DOWN = "endpoint_down:wms"


def test_every_event_of_the_inbox_has_a_rule() -> None:
    assert deliveries_fold(EndpointPolicies({})).unhandled() == []


def test_an_obligation_goes_out_with_its_key_its_attempt_and_its_lease() -> None:
    counter = Counter()
    (dispatch,) = counter.owe("A1")
    assert isinstance(dispatch, Dispatch)
    assert (dispatch.obligation_id, dispatch.attempt, dispatch.lease_until_ms) == ("A1", 1, START_MS + 30_000)
    assert (dispatch.endpoint, dispatch.aggregate, dispatch.trace_id) == ("wms", "A", "raw/0/raise A1")


def test_of_an_aggregate_one_goes_at_a_time_in_the_order_raised() -> None:
    counter = Counter()
    assert sent(counter.owe("A1") + counter.owe("A2") + counter.owe("A3") + counter.owe("B1")) == ["A1", "B1"]
    assert sent(counter.answer("A1")) == ["A2"]
    assert sent(counter.answer("A2", "refused")) == ["A3"]
    assert sent(counter.answer("A3")) == []
    assert (counter.status().waiting, counter.status().in_flight, counter.status().done) == (1, 1, 2)


def test_what_only_says_how_things_stand_gives_way_to_the_next_of_its_kind_until_it_is_sent() -> None:
    """A notice that waits is replaced in its place; one in flight, or of another nature, is not."""
    counter = Counter()
    counter.owe("A1", is_replaceable=True)
    counter.owe("A2", is_replaceable=True)
    (told,) = counter.owe("A3", is_replaceable=True)
    assert (told.obligation_id, told.outcome, told.order_id) == ("A2", "replaced", "A")
    assert (counter.status().waiting, counter.status().replaced) == (2, 1)
    with pytest.raises(AlreadyApplied):
        counter.owe("A2", is_replaceable=True)
    counter.owe("A4")
    counter.owe("A5", is_replaceable=True)
    assert sent(counter.answer("A1")) == ["A3"]
    assert sent(counter.answer("A3")) == ["A4"]
    assert sent(counter.answer("A4")) == ["A5"]
    counter.answer("A5")
    assert (counter.status().waiting, counter.status().done) == (0, 4)


def test_no_more_than_the_window_is_in_flight_and_the_oldest_goes_next() -> None:
    counter = Counter()
    for name in ("A1", "B1", "C1", "D1"):
        counter.owe(name)
    assert list(counter.in_flight) == ["A1", "B1"]
    assert sent(counter.answer("B1")) == ["C1"]
    assert sent(counter.answer("A1")) == ["D1"]


@pytest.mark.parametrize("outcome", ["done", "refused"])
def test_the_order_hears_what_became_of_it(outcome: str) -> None:
    counter = Counter()
    counter.owe("A1")
    (told,) = counter.answer("A1", outcome)
    assert isinstance(told, ObligationSettled)
    assert (told.order_id, told.endpoint, told.kind, told.outcome, told.answer) == ("A", "wms", "release_order", outcome, outcome)
    assert counter.status().waiting == 0
    assert counter.status().oldest_ms is None


def test_a_repetition_changes_nothing() -> None:
    counter = Counter()
    counter.owe("A1")
    with pytest.raises(AlreadyApplied):
        counter.owe("A1")
    counter.answer("A1")
    with pytest.raises(AlreadyApplied):
        counter.owe("A1")
    with pytest.raises(AlreadyApplied):
        counter.answer("A1", attempt=1)
    with pytest.raises(AlreadyApplied):
        counter.retry("A1")
    assert counter.status().done == 1


def test_a_settled_obligation_is_forgotten_after_a_day() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.answer("A1")
    counter.wait(MEMORY_MS)
    assert not any(True for _ in counter.t.known.under())
    assert counter.due_ms() is None
    with pytest.raises(AlreadyApplied):
        counter.answer("A1", attempt=1)


def test_an_answer_nobody_can_give_is_refused() -> None:
    counter = Counter()
    counter.owe("A1")
    with pytest.raises(Refused, match="attempt 2"):
        counter.answer("A1", attempt=2)
    with pytest.raises(Refused, match="maybe"):
        counter.answer("A1", "maybe")


# --- failures -----------------------------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_repeated_after_a_while_and_blocks_only_its_own_order() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.owe("A2")
    assert sent(counter.answer("A1", "failed") + counter.owe("B1") + counter.answer("B1")) == ["B1"]
    assert sent(counter.wait(499)) == []
    (again,) = [output for output in counter.wait(501) if isinstance(output, Dispatch)]
    assert (again.obligation_id, again.attempt) == ("A1", 2)
    assert sent(counter.answer("A1")) == ["A2"]


def test_the_backoff_doubles_with_jitter_up_to_its_bound() -> None:
    policy = EndpointPolicy(retry_ms=500, retry_most_ms=60_000)
    assert [backoff_ms(policy, n, 0) for n in (1, 2, 3, 8, 1_000)] == [250, 500, 1_000, 30_000, 30_000]
    assert [backoff_ms(policy, n, 65_535) for n in (1, 2, 8)] == [499, 999, 59_999]


def test_it_is_exhausted_by_failures_while_others_are_served() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.owe("A2")
    said = []
    for n in range(1, 4):
        counter.owe(f"B{n}")
        said = counter.answer(f"B{n}") + counter.answer("A1", "failed")
        if n < 3:
            counter.wait(10_000)
    assert settled(said) == [(f"B{3}", "done"), ("A1", "exhausted")]
    assert exceptions(said) == ["+obligation_exhausted:wms:A1"]
    (noted,) = [output for output in said if isinstance(output, ExceptionNoted)]
    assert noted.order_id == "A"
    assert "503 failed" in noted.sentence
    assert counter.wait(3_600_000) == []
    assert (counter.status().waiting, counter.status().exhausted) == (2, 1)


def exhausted() -> Counter:
    counter = Counter(EndpointPolicy(window=2, attempts=1))
    for name in ("A1", "A2", "B1"):
        counter.owe(name)
    counter.answer("B1")
    assert settled(counter.answer("A1", "failed")) == [("A1", "exhausted")]
    return counter


def test_a_person_has_an_exhausted_one_tried_again() -> None:
    counter = exhausted()
    said = counter.retry("A1")
    assert exceptions(said) == ["-obligation_exhausted:wms:A1"]
    assert [(d.obligation_id, d.attempt) for d in said if isinstance(d, Dispatch)] == [("A1", 2)]
    assert sent(counter.answer("A1")) == ["A2"]
    with pytest.raises(AlreadyApplied):
        counter.retry("A2")
    with pytest.raises(Refused, match="owed no 'Z9'"):
        counter.retry("Z9")


def test_a_late_answer_settles_an_exhausted_one() -> None:
    counter = exhausted()
    said = counter.answer("A1", "done", attempt=1)
    assert settled(said) == [("A1", "done")]
    assert exceptions(said) == ["-obligation_exhausted:wms:A1"]
    assert sent(said) == ["A2"]


# --- leases -------------------------------------------------------------------------------------------------------------------


def test_what_nobody_answers_for_goes_again_under_its_key_and_a_late_answer_counts_if_it_settles() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.owe("A2")
    said = counter.wait(30_000)
    assert [(d.obligation_id, d.attempt) for d in said if isinstance(d, Dispatch)] == [("A1", 2)]
    with pytest.raises(AlreadyApplied):
        counter.answer("A1", "failed", attempt=1)
    assert sent(counter.answer("A1", "done", attempt=1)) == ["A2"]
    with pytest.raises(AlreadyApplied):
        counter.answer("A1", "done", attempt=2)
    assert counter.status().failed == 0


def test_agents_that_are_away_for_hours_open_no_circuit_and_exhaust_nothing() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.owe("B1")
    for _ in range(200):
        counter.wait(30_000)
    assert (counter.status().circuit, counter.status().in_flight, counter.status().exhausted) == ("closed", 2, 0)
    assert settled(counter.answer("A1")) == [("A1", "done")]


# --- the circuit --------------------------------------------------------------------------------------------------------------


def opened(counter: Counter) -> list[object]:
    """Three orders fail, one after the other; the circuit opens with the third."""
    said: list[object] = []
    for name in ("A1", "B1", "C1"):
        said += counter.owe(name) + counter.answer(name, "failed")
    return said


def test_failures_in_a_row_open_the_circuit_and_a_person_hears_of_it_once() -> None:
    counter = Counter()
    assert exceptions(opened(counter)) == [f"+{DOWN}"]
    status = counter.status()
    assert (status.circuit, status.retry_at_ms, status.last_error) == ("open", START_MS + 2_000, "503 failed")
    assert sent(counter.owe("D1") + counter.wait(1_999)) == []
    assert sent(counter.wait(1)) == ["A1"]
    assert counter.status().circuit == "half_open"
    assert exceptions(counter.answer("A1", "failed")) == []


def test_the_pause_doubles_with_each_probe_that_fails_up_to_its_bound() -> None:
    counter = Counter()
    opened(counter)
    pauses = []
    for _ in range(6):
        until = counter.status().retry_at_ms
        assert until is not None
        pauses.append(until - counter.now_ms)
        (probe,) = sent(counter.wait(pauses[-1]))
        counter.answer(probe, "failed")
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


@pytest.mark.parametrize("outcome", ["done", "refused"])
def test_a_probe_that_gets_through_closes_it_and_the_queue_goes_in_order(outcome: str) -> None:
    counter = Counter()
    opened(counter)
    for name in ("D1", "E1", "F1"):
        counter.owe(name)
    counter.wait(2_000)
    said = counter.answer("A1", outcome)
    assert exceptions(said) == [f"-{DOWN}"]
    order = sent(said)
    while counter.in_flight:
        order += sent(counter.answer(next(iter(counter.in_flight))))
    assert order == ["B1", "C1", "D1", "E1", "F1"]
    assert counter.status().circuit == "closed"
    assert counter.status().retry_at_ms is None


def test_an_outage_exhausts_nothing_however_long_it_is() -> None:
    counter = Counter()
    opened(counter)
    for _ in range(50):
        for probe in sent(counter.wait(30_000)):
            counter.answer(probe, "failed")
    assert (counter.status().exhausted, counter.status().waiting) == (0, 3)
    assert counter.status().failed > 20


def test_probes_take_turns_so_that_an_order_that_cannot_succeed_does_not_stand_for_all() -> None:
    counter = Counter()
    opened(counter)
    probes = []
    for _ in range(4):
        probes += sent(counter.wait(30_000))
        counter.answer(probes[-1], "failed")
    assert probes == ["A1", "B1", "C1", "A1"]


def test_while_one_order_alone_has_failed_another_is_sent_at_once() -> None:
    counter = Counter()
    counter.owe("A1")
    for _ in range(3):
        counter.answer("A1", "failed")
        counter.wait(0 if counter.status().circuit == "open" else 10_000)
    assert counter.status().circuit == "open"
    assert sent(counter.owe("B1")) == ["B1"]
    assert sent(counter.answer("B1")) == ["A1"]
    assert counter.status().circuit == "closed"


def test_a_probe_nobody_answers_for_is_repeated() -> None:
    counter = Counter()
    opened(counter)
    assert sent(counter.wait(2_000)) == ["A1"]
    assert sent(counter.wait(30_000)) == ["A1"]
    assert counter.status().circuit == "half_open"


def test_what_was_in_flight_when_the_circuit_opened_may_close_it() -> None:
    counter = Counter(EndpointPolicy(window=4, open_after=3))
    for name in ("A1", "B1", "C1", "D1", "E1", "F1"):
        counter.owe(name)
    for name in ("A1", "B1", "C1"):
        counter.answer(name, "failed")
    assert counter.status().circuit == "open"
    said = counter.answer("D1")
    assert exceptions(said) == [f"-{DOWN}"]
    assert counter.status().circuit == "closed"


def test_an_endpoint_that_asks_for_time_gets_it_and_nothing_is_exhausted_by_it() -> None:
    counter = Counter(EndpointPolicy(window=2, attempts=1, retry_ms=1_000))
    counter.owe("A1")
    counter.owe("B1")
    counter.answer("B1")
    counter.answer("A1", "failed", retry_after_ms=20_000)
    assert sent(counter.wait(19_999)) == []
    assert sent(counter.wait(1)) == ["A1"]
    assert counter.status().exhausted == 0


def test_endpoints_do_not_touch_each_other() -> None:
    counter = Counter()
    opened(counter)
    assert sent(counter.owe("X1", endpoint="erp")) == ["X1"]


def test_a_backlog_from_long_ago_gets_leases_from_now_on() -> None:
    counter = Counter()
    counter.owe("A1")
    counter.wait(30_000)
    now_ms = counter.now_ms
    counter.now_ms = START_MS  # what is told next was recorded before
    counter.owe("B1")
    assert counter.in_flight["B1"].lease_until_ms == now_ms + 30_000


# --- what cannot be sent --------------------------------------------------------------------------------------------------------


def test_what_never_left_crossdock_opens_no_circuit_and_holds_up_its_own_order_alone() -> None:
    """As many as open a circuit three times over: each is an exception of its own, and the others go on."""
    counter = Counter(EndpointPolicy(window=20, lease_ms=30_000, retry_ms=1_000, attempts=3, open_after=3))
    names = [f"{letter}1" for letter in "ABCDEFGHI"]
    for name in [*names, "Z1"]:
        counter.owe(name)
    counter.owe("A2")
    for _ in range(3):
        for name in names:
            counter.answer(name, "unsendable")
        assert counter.status().circuit == "closed"
        counter.wait(10_000)
    status = counter.status()
    assert (status.circuit, status.failed, status.exhausted, status.waiting) == ("closed", 0, 9, 11)
    noted = [said for said in counter.said if isinstance(said, ExceptionNoted)]
    assert [said.code for said in noted] == ["obligation_unsendable"] * 9
    assert noted[0].fingerprint == "obligation_unsendable:wms:A1"
    assert noted[0].sentence == ("release_order of A cannot be sent to wms: unsendable. What follows for A there waits for it.")
    assert settled(counter.answer("Z1")) == [("Z1", "done")]
    assert "A2" not in counter.in_flight
    assert sent(counter.retry("A1")) == ["A1"]
    assert exceptions(counter.said)[-1] == "-obligation_unsendable:wms:A1"
    assert sent(counter.answer("A1")) == ["A2"]


def test_a_probe_that_never_left_crossdock_is_no_answer_of_the_endpoint() -> None:
    """The circuit stays open without a longer pause, and another one is probed."""
    counter = Counter(
        EndpointPolicy(window=3, lease_ms=30_000, retry_ms=60_000, retry_most_ms=60_000, open_after=3, pause_ms=2_000)
    )
    for name in ("A1", "B1", "C1", "D1", "E1", "F1"):
        counter.owe(name)
    for name in ("A1", "B1", "C1"):
        counter.answer(name, "failed")
    assert counter.status().circuit == "open"
    (probe,) = sent(counter.wait(2_000))
    (other,) = sent(counter.answer(probe, "unsendable"))
    assert other != probe
    counter.answer(other)
    assert counter.status().circuit == "closed"
