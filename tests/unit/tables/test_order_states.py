"""The state machine is data: complete, reachable, and what is derived from quantities."""

from __future__ import annotations

from itertools import pairwise

import pytest

from schemas.frozen import replace
from tables.orders.lifecycle import ENDED, NEXT, STATES, STATUSES, LineProgress, LineTally, State, path, state_of, status_of

ZERO = LineProgress(0, 0, 0, 0, 0, 0, 0, 0, 0, False, False, False)


def test_the_table_is_complete() -> None:
    """Every state has its row, no state leads to itself or to something that is none."""
    assert set(NEXT) == set(State)
    for state, following in NEXT.items():
        assert following, state
        assert state not in following
        assert following <= set(State)


def test_every_state_is_reachable_and_none_is_a_trap() -> None:
    for state in State:
        assert path(State.RECEIVED, state) is not None
        assert path(state, State.CHECKED) is not None


def test_a_path_takes_only_steps_of_the_table() -> None:
    for start in State:
        for end in State:
            way = path(start, end)
            assert way is not None
            assert way[0] is start
            assert way[-1] is end
            assert all(b in NEXT[a] for a, b in pairwise(way))


def test_a_shipment_told_first_passes_through_what_it_implies() -> None:
    way = path(State.ALLOCATED, State.SHIPPED)
    assert way == (State.ALLOCATED, State.RELEASED, State.PICKED, State.STAGED, State.SHIPPED)


def test_what_was_picked_is_not_cancelled_without_leaving_the_floor() -> None:
    for state in (State.PICKED, State.STAGED, State.SUBSTITUTED):
        assert State.CANCELLED not in NEXT[state]


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"wanted_milli": 10}, State.RECEIVED),
        ({"wanted_milli": 10, "is_answered": True}, State.CHECKED),
        ({"wanted_milli": 10, "is_answered": True, "is_refused": True}, State.REFUSED),
        ({"wanted_milli": 10, "backordered_milli": 10}, State.BACKORDERED),
        ({"wanted_milli": 10, "allocated_milli": 4, "backordered_milli": 6}, State.ALLOCATED),
        ({"wanted_milli": 10, "allocated_milli": 10, "released_milli": 10}, State.RELEASED),
        ({"wanted_milli": 10, "allocated_milli": 6, "picked_milli": 4}, State.PICKED),
        ({"wanted_milli": 10, "picked_milli": 10, "shipped_milli": 3}, State.STAGED),
        ({"wanted_milli": 10, "picked_milli": 10, "substituted_milli": 2}, State.SUBSTITUTED),
        ({"wanted_milli": 10, "picked_milli": 4, "shipped_milli": 4, "backordered_milli": 6}, State.BACKORDERED),
        ({"wanted_milli": 10, "picked_milli": 10, "shipped_milli": 10}, State.SHIPPED),
        ({"wanted_milli": 10, "picked_milli": 10, "shipped_milli": 10, "returned_milli": 10}, State.RETURNED),
        ({"wanted_milli": 0, "is_cancelled": True, "short_milli": 5}, State.CANCELLED),
        ({"wanted_milli": 0, "short_milli": 5}, State.SHORT),
    ],
)
def test_a_lines_state_is_where_its_open_units_stand(facts: dict[str, int], state: State) -> None:
    assert state_of(replace(ZERO, **facts)) is state  # type: ignore[arg-type]


def test_every_state_but_delivered_can_be_derived() -> None:
    assert {state for state, _ in STATES} == set(State) - {State.DELIVERED}


def tally(state: State, wanted: int = 10, allocated: int = 0, picked: int = 0, shipped: int = 0, invoiced: int = 0) -> LineTally:
    return LineTally(state, wanted, allocated, picked, shipped, invoiced)


S = State


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], "received"),
        ([tally(S.RECEIVED), tally(S.CHECKED)], "received"),
        ([tally(S.CHECKED)], "open"),
        ([tally(S.REFUSED), tally(S.REFUSED)], "refused"),
        ([tally(S.REFUSED), tally(S.CANCELLED, 0)], "cancelled"),
        ([tally(S.BACKORDERED), tally(S.CANCELLED, 0)], "backordered"),
        ([tally(S.BACKORDERED), tally(S.ALLOCATED, 10, 10)], "partly_allocated"),
        ([tally(S.ALLOCATED, 10, 10), tally(S.REFUSED)], "allocated"),
        ([tally(S.RELEASED, 10, 10), tally(S.ALLOCATED, 10, 10)], "released"),
        ([tally(S.PICKED, 10, 6, 4)], "picking"),
        ([tally(S.STAGED, 10, 0, 10), tally(S.CANCELLED, 0)], "staged"),
        ([tally(S.BACKORDERED, 10, 0, 4, 4)], "partly_shipped"),
        ([tally(S.SHIPPED, 10, 0, 10, 10, 5), tally(S.CANCELLED, 0)], "shipped"),
        ([tally(S.SHIPPED, 10, 0, 10, 10, 10)], "invoiced"),
        ([tally(S.RETURNED, 10, 0, 10, 10, 10)], "returned"),
    ],
)
def test_an_orders_status_follows_from_its_lines(lines: list[LineTally], status: str) -> None:
    assert status_of(lines, is_held=False, is_cancelled=False) == status
    assert status_of(lines, is_held=True, is_cancelled=False) == (status if status in ENDED else "held")


def test_an_order_without_lines_is_what_its_header_says() -> None:
    assert status_of([], is_held=False, is_cancelled=True) == "cancelled"
    assert {name for name, _ in STATUSES} >= ENDED
