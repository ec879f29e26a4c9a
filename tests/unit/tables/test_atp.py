"""The formulas, against worked examples of vendors and textbooks, and against each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tables.common.policy import ATP_POLICIES
from tables.inventory.atp import accumulate_surplus, atp, backward, discrete, first_day, lookahead

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data/cases/atp.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_worked_example(case: dict[str, Any]) -> None:
    """Each published example gives its published numbers."""
    days = case["days"]
    supply = [case["supply"].get(str(d), 0) for d in range(days)]
    demand = [case["demand"].get(str(d), 0) for d in range(days)]
    got = atp(case["policy"], case["opening"], supply, demand)
    if "atp" in case:
        assert got == case["atp"]
    else:
        assert {str(d): got[int(d)] for d in case["atp_at"]} == case["atp_at"]


TABLE = [
    # policy, opening, supply, demand, atp
    ("projected", 10, [0, 5, 0], [4, 0, 3], [6, 11, 8]),
    ("lookahead", 10, [0, 5, 0], [4, 0, 3], [6, 8, 8]),
    ("lookahead", 0, [0, 0, 10], [0, 4, 0], [-4, -4, 6]),
    ("backward", 10, [0, 0, 5], [0, 12, 0], [0, -2, 5]),
    ("backward", 5, [5, 0, 0], [0, 3, 8], [-0, 0, -1]),
    ("backward_accumulate", 10, [0, 0, 5], [0, 12, 0], [0, -2, 5]),
    ("backward_accumulate", 10, [0, 5, 5], [2, 0, 1], [8, 13, 17]),
    ("discrete", 10, [0, 0, 20], [3, 4, 5], [3, 0, 15]),
    ("cumulative", 10, [0, 0, 20], [3, 4, 5], [3, 3, 18]),
]


@pytest.mark.parametrize(("policy", "opening", "supply", "demand", "expected"), TABLE)
def test_policy(policy: Any, opening: int, supply: list[int], demand: list[int], expected: list[int]) -> None:
    """Each policy, on small series worked by hand."""
    assert atp(policy, opening, supply, demand) == expected


@pytest.mark.parametrize("policy", ATP_POLICIES)
def test_expired_stock_is_not_promised(policy: Any) -> None:
    """Units of a lot whose last day is day 0 are gone from day 1 on, by every policy."""
    plain = atp(policy, 10, [0, 0, 0], [0, 0, 0])
    expired = atp(policy, 10, [0, 0, 0], [0, 0, 0], [0, 6, 6])
    assert sum(expired) < sum(plain)
    if policy == "lookahead":
        assert expired == [10, 4, 4], "sold today, they do not expire"
        assert atp(policy, 10, [0, 0, 0], [0, 0, 3], [0, 6, 6]) == [1, 1, 1], "the later order needs what does not expire"


def test_parts_of_the_policies() -> None:
    """The named functions are what the policies are made of."""
    assert lookahead([5, 3, 9]) == [3, 3, 9]
    assert backward(0, [3, 2, 0], [0, 0, 4]) == [1, 0, 0], "the nearest earlier surplus goes first"
    assert accumulate_surplus([4, -1, 2]) == [4, -1, 6]
    assert discrete(0, [], []) == []


def test_first_day_and_fence() -> None:
    """The earliest promise is the first covering day, or the lead-time fence if that is earlier."""
    assert first_day([0, 5, 9], 5) == 1
    assert first_day([0, 5, 9], 10) is None
    assert first_day([0, 5, 9], 10, infinite_after_days=2) == 2
    assert first_day([0, 5, 9], 10, infinite_after_days=30) == 30
    assert first_day([12], 10, infinite_after_days=0) == 0
