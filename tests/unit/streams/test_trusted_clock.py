"""The one clock: a step of the machine's is believed once it has lasted, or somebody says so; until then time is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.monitoring.machine import clock_told
from streams.monitoring.trusted_clock import ClockAnchor, ClockPolicy, TrustedClock, anchor_in, keep_anchor

SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000
T0 = 1_793_610_847_000
POLICY = ClockPolicy(bound_ms=MINUTE, confirm_ms=10 * MINUTE, unattended_ms=DAY, downtime_ms=7 * DAY)


class Machine:
    """A machine's two clocks. `true_ms`: what time it is."""

    def __init__(self, boot: str = "one", started_ms: int = 5_000, at_ms: int = T0) -> None:
        self.boot, self.steady_ms, self.true_ms, self.wrong_ms = boot, started_ms, at_ms, 0

    def pass_by(self, ms: int) -> None:
        self.steady_ms += ms
        self.true_ms += ms

    def clock(self, *, anchor: ClockAnchor | None = None, last_seen_ms: int | None = None) -> TrustedClock:
        clock = TrustedClock(POLICY, wall=lambda: self.true_ms + self.wrong_ms, steady=lambda: self.steady_ms, boot=self.boot)
        clock.begin(anchor, last_seen_ms)
        return clock


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY, 2 * MINUTE, -2 * MINUTE, 61 * SECOND])
def test_a_second_of_a_wrong_clock_leaves_no_trace(step: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wrong_ms = step
    for _ in range(10):
        machine.pass_by(100)
        assert clock() == machine.true_ms
    state = clock.state()
    assert (state.step_ms, state.is_gap) == (step, False)
    machine.wrong_ms = 0
    assert clock() == machine.true_ms
    assert clock.state().is_trusted


@pytest.mark.parametrize("step", [0, 5, -5, 59 * SECOND, -59 * SECOND])
def test_a_small_step_is_followed(step: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wrong_ms = step
    assert clock() == machine.true_ms + step
    assert clock.state().is_trusted


def test_many_small_steps_are_not_a_way_around_the_bound() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(30):
        machine.wrong_ms += 50 * SECOND
        machine.pass_by(100)
        clock()
    assert abs(clock() - machine.true_ms) <= MINUTE
    assert not clock.state().is_trusted


def test_a_clock_that_is_slewed_is_followed_all_the_way() -> None:
    """As time servers do it: half a millisecond a second."""
    machine = Machine()
    clock = machine.clock()
    for _ in range(10_000):
        machine.pass_by(SECOND)
        machine.wrong_ms += 1
        clock()
    assert clock() == machine.true_ms + 10_000


def test_a_step_that_lasts_is_believed_by_itself() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wrong_ms = 2 * 3_600 * SECOND
    clock()
    machine.pass_by(9 * MINUTE)
    assert clock() == machine.true_ms
    assert clock.state().confirmed_in_ms == MINUTE
    machine.pass_by(MINUTE)
    assert clock() == machine.true_ms + machine.wrong_ms
    assert clock.state().is_trusted


def test_a_step_that_changes_has_not_lasted() -> None:
    machine = Machine()
    clock = machine.clock()
    for hours in (1, 2, 3, 4):
        machine.wrong_ms = hours * 3_600 * SECOND
        clock()
        machine.pass_by(6 * MINUTE)
        assert clock() == machine.true_ms


@pytest.mark.parametrize("step", [2 * DAY, 400 * DAY, -2 * DAY])
def test_a_large_one_is_believed_by_a_person_only(step: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wrong_ms = step
    clock()
    machine.pass_by(30 * DAY)
    assert clock() == machine.true_ms
    assert clock.state().confirmed_in_ms is None
    assert clock.confirm().is_trusted
    assert clock() == machine.true_ms + step


def test_sleep_is_counted() -> None:
    """A laptop that was closed for a weekend: the machine's own count went on."""
    machine = Machine()
    clock = machine.clock()
    machine.pass_by(3 * DAY)
    assert clock() == machine.true_ms
    assert clock.state().is_trusted


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY, 2 * DAY, -10 * MINUTE])
def test_a_process_that_starts_while_the_clock_is_wrong_goes_on_from_the_last_ones_anchor(step: int) -> None:
    machine = Machine()
    anchor = machine.clock().anchor()
    machine.pass_by(DAY)
    machine.wrong_ms = step
    clock = machine.clock(anchor=anchor, last_seen_ms=T0)
    assert clock() == machine.true_ms
    assert (clock.state().step_ms, clock.state().is_gap) == (step, False)


@pytest.mark.parametrize(
    ("down", "wrong", "is_believed"),
    [
        (3 * DAY, 0, True),
        (6 * DAY, 30 * SECOND, True),
        (0, -400 * DAY, False),
        (3_600 * SECOND, -2 * 3_600 * SECOND, False),
        (3_600 * SECOND, 400 * DAY, False),
        (8 * DAY, 0, False),
    ],
)
def test_after_the_machine_was_off_the_log_says_what_time_it_is_at_least(down: int, wrong: int, is_believed: bool) -> None:
    before = Machine()
    anchor = before.clock().anchor()
    for left, last_seen_ms in ((anchor, None), (None, T0), (anchor, T0 - DAY)):
        machine = Machine("two", 100, T0 + down)
        machine.wrong_ms = wrong
        clock = machine.clock(anchor=left, last_seen_ms=last_seen_ms)
        state = clock.state()
        assert (state.is_trusted, state.is_gap) == (is_believed, not is_believed)
        assert clock() == (machine.true_ms + wrong if is_believed else T0)
        assert clock.confirm().is_trusted
        assert clock() == machine.true_ms + wrong


def test_a_clock_that_was_behind_and_is_set_right_is_believed_after_a_short_outage() -> None:
    """A machine without a battery begins in the past, until it has found its time server."""
    machine = Machine("two", 100, T0 + 30 * SECOND)
    machine.wrong_ms = -20_000 * DAY
    clock = machine.clock(last_seen_ms=T0)
    assert clock() == T0
    machine.pass_by(10 * SECOND)
    machine.wrong_ms = 0
    assert clock() == machine.true_ms
    assert clock.state().is_trusted


def test_it_is_begun_anew_when_more_is_known() -> None:
    """First by an old anchor alone, then by the log as well."""
    before = Machine().clock().anchor()
    machine = Machine("two", 100, T0 + 20 * DAY)
    clock = machine.clock(anchor=before)
    assert not clock.state().is_trusted
    clock.begin(before, T0 + 19 * DAY)
    assert (clock.state().is_trusted, clock()) == (True, machine.true_ms)


def test_what_was_never_run_believes_the_machine() -> None:
    assert Machine().clock()() == T0


def test_an_anchor_is_kept_and_found_and_rubbish_is_none(tmp_path: Path) -> None:
    assert anchor_in(tmp_path) is None
    clock = Machine().clock()
    keep_anchor(clock, tmp_path)
    assert anchor_in(tmp_path) == ClockAnchor("one", 5_000, T0)
    (tmp_path / "clock.json").write_text("{}")
    assert anchor_in(tmp_path) is None


@given(st.lists(st.tuples(st.integers(1, 3_600_000), st.integers(-500 * DAY, 500 * DAY)), max_size=30))
def test_however_it_jumps_for_less_than_it_takes_to_be_believed_time_stays_within_the_bound(jumps: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    for pause, wrong in jumps:
        machine.wrong_ms = 0
        machine.pass_by(pause)
        clock()
        machine.wrong_ms = wrong
        machine.pass_by(1_000)
        assert abs(clock() - machine.true_ms) <= MINUTE
    assert clock_told(clock.state())
