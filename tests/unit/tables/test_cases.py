"""The worked sequences of vendors and defect reports, through the real rules: each step's number is the published one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.api.ports import CheckLine
from schemas.quantity import show
from streams.queries.atp_quotes import Cart, Quotes
from tables.common.policy import Policy, SitePolicy
from tests.support.promises import NOON, Bench

Steps = list[dict[str, Any]]
CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data/cases/sequences.json").read_text())


def minute(text: str) -> int:
    """Minutes from noon of "12:04"."""
    hours, minutes = text.split(":")
    return (int(hours) - 12) * 60 + int(minutes)


def movements(b: Bench, steps: Steps) -> None:
    for step in steps:
        if "balance" in step:
            b.count(str(step["balance"]), at=-60)
        elif "adjust" in step:
            b.adjust(str(step["adjust"]), at=minute(step["at"]))
        else:
            b.count(str(step["snapshot"]), at=minute(step["as_of"]))
        if "expect_on_hand" in step:
            assert b.on_hand() == str(step["expect_on_hand"])


def reservation(b: Bench, steps: Steps) -> None:
    for step in steps:
        if "on_hand" in step:
            b.receive(str(step["on_hand"]))
        elif "reserve" in step:
            assert b.reserve(str(step["reserve"]), ttl_minutes=step["ttl_minutes"]).status == 201
        else:
            b.pass_minutes(step["minutes"])
        if "expect_available" in step:
            assert b.available() == str(step["expect_available"])


def cart(b: Bench, steps: Steps) -> None:
    stock, check = steps
    b.receive(str(stock["on_hand"]))
    quotes = Quotes(b.policy, lambda _: "UTC", lambda: NOON)
    filled = Cart(quotes, None, {"SKU-1": b.atp()}, {"SKU-1": b.t.items[("SKU-1",)]})
    answers = [filled.check(CheckLine("SKU-1", qty * 1000, None, None, None)) for qty in check["check_lines"]]
    assert check["expect"] == "not both"
    assert [answer.is_available for answer in answers] == [True, False]


def late_read(b: Bench, steps: Steps) -> None:
    change, read = steps
    assert change["cdc"] == "c" and read["cdc"] == "r" and read["older"]
    b.erp_balance(str(change["value"]), commit=200)
    assert b.erp_balance(str(read["value"]), commit=100, is_read=True) == "AlreadyApplied"
    assert b.erp_balance(str(read["value"]), commit=0, is_read=True, is_base=True) == "AlreadyApplied"
    assert b.on_hand("EU1") == str(read["expect"])


def reservation_cycle(b: Bench, steps: Steps) -> None:
    b.receive(str(steps[0]["physical"]))
    for step in steps[1:]:
        if "order" in step:
            b.order(str(step["order"]))
        else:
            b.ship(str(step["ship"]), "web:1")
        site = b.site()
        assert [b.available(), b.on_hand(), show(site.demand_milli)] == [str(n) for n in step["expect"]]


DRIVERS: dict[str, Callable[[Bench, Steps], None]] = {
    "snapshot-and-late-movements": movements,
    "reservation-ttl": reservation,
    "same-item-twice-in-one-cart": cart,
    "late-snapshot-read": late_read,
    "reservation-cycle": reservation_cycle,
}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_sequence(case: dict[str, Any]) -> None:
    """Each published sequence gives its published numbers."""
    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    b.item()
    DRIVERS[case["id"]](b, case["steps"])


def test_every_sequence_has_its_driver() -> None:
    """A case added to the file cannot be forgotten here."""
    assert set(DRIVERS) == {case["id"] for case in CASES}
