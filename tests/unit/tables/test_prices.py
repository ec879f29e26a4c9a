"""The price check: which reference counts, and how far a price may be from it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Codec
from schemas.errors import NotYet
from schemas.inventory import CheckPrice, PriceChanged
from schemas.orders import PriceChecked
from streams.flows.promise import promise_fold
from tables.common.policy import OrderPolicy, Policy
from tables.inventory.item_master import price_changed
from tables.inventory.price_check import check_price
from tables.inventory.price_list import price_on
from tests.support.erp_world import row_event
from tests.support.promises import Bench

DAY = date(2026, 11, 5)


class Prices(Bench):
    """A bench whose item has prices."""

    def price(self, price: str, valid_from: str, valid_to: str | None = None, *, op: str = "u", **key: str) -> None:
        self.number += 1
        columns: dict[str, Any] = {"item": "SKU-1", "price_list": "STD", "currency": "USD", "unit_price": Decimal(price)} | key
        columns |= {
            "valid_from": date.fromisoformat(valid_from),
            "valid_to": None if valid_to is None else date.fromisoformat(valid_to),
        }
        assert list(price_changed(self.t, row_event(PriceChanged, self.number, op, **columns))) == []

    def ask(self, price: str, uom: str | None = None, tolerance: str = "0.01", **changes: Any) -> PriceChecked:
        asked: dict[str, Any] = {"price_list": "STD", "currency": "USD", "day": DAY} | changes
        event = CheckPrice(
            **self.head(), item="SKU-1", order_id="web:W1", line=2, revision=3, unit_price=Decimal(price), uom=uom, **asked
        )
        (answer,) = check_price(OrderPolicy(price_tolerance=Decimal(tolerance)), self.t, event)
        codec = Codec()
        assert codec.decode(codec.encode(answer)) == answer
        assert isinstance(answer, PriceChecked)
        assert (answer.order_id, answer.line, answer.revision, answer.unit_price) == ("web:W1", 2, 3, Decimal(price))
        return answer


@pytest.fixture
def bench() -> Prices:
    bench = Prices()
    bench.item()
    bench.price("12.50", "2026-01-01")
    return bench


def test_the_newest_price_that_is_valid_counts(bench: Prices) -> None:
    bench.price("13.00", "2026-11-01", "2026-11-30")
    bench.price("14.00", "2026-11-04", "2026-11-04")
    bench.price("15.00", "2026-11-06")
    bench.price("16.00", "2026-11-05", op="d")
    assert bench.ask("13").reference == 13
    assert bench.ask("13", day=date(2026, 11, 4)).reference == 14
    assert bench.ask("13", day=date(2026, 11, 6)).reference == 15
    assert bench.ask("13", day=date(2026, 10, 31)).reference == Decimal("12.50")


def test_a_pack_costs_its_units(bench: Prices) -> None:
    assert bench.ask("150", "BX").reference == 150
    assert bench.ask("150", "BX").is_match
    assert not bench.ask("12.50", "BX").is_match
    assert bench.ask("12.50", "EA").is_match


@pytest.mark.parametrize(
    ("price", "tolerance", "is_match"),
    [
        ("12.50", "0", True),
        ("12.51", "0", False),
        ("12.625", "0.01", True),
        ("12.375", "0.01", True),
        ("12.6251", "0.01", False),
        ("12.3749", "0.01", False),
        ("0", "0.01", False),
        ("25", "1", True),
    ],
)
def test_how_far_a_price_may_be_off(bench: Prices, price: str, tolerance: str, is_match: bool) -> None:
    assert bench.ask(price, tolerance=tolerance).is_match is is_match


@pytest.mark.parametrize("changes", [{"price_list": "KEY"}, {"uom": "PAL"}, {"price_list": ""}, {"day": date(2025, 12, 31)}])
def test_without_a_reference_there_is_nothing_to_compare(bench: Prices, changes: dict[str, Any]) -> None:
    answer = bench.ask("999", **changes)
    assert (answer.reference, answer.is_match) == (None, True)


def test_a_price_without_a_currency_is_compared_with_the_lists_own(bench: Prices) -> None:
    assert not bench.ask("13", currency="").is_match
    bench.price("11.00", "2026-01-01", currency="EUR")
    assert bench.ask("13", currency="").reference is None
    assert bench.ask("11", currency="EUR").is_match


def test_a_check_waits_for_its_item() -> None:
    with pytest.raises(NotYet, match="the ERP has not sent this item"):
        Prices().ask("1")


def test_a_deleted_item_is_not_known(bench: Prices) -> None:
    bench.item(is_deleted=True)
    with pytest.raises(NotYet):
        bench.ask("1")


def test_the_fold_checks_by_its_policy(bench: Prices) -> None:
    event = CheckPrice(
        **bench.head(),
        item="SKU-1",
        order_id="o",
        line=1,
        revision=1,
        price_list="STD",
        unit_price=Decimal(20),
        currency="USD",
        uom=None,
        day=DAY,
    )
    for tolerance, is_match in (("0.01", False), ("0.6", True)):
        fold = promise_fold(Policy(), OrderPolicy(price_tolerance=Decimal(tolerance)))
        (answer,) = fold.rules[CheckPrice](bench.t, event)
        assert answer.is_match is is_match


@given(st.lists(st.tuples(st.integers(0, 2_500), st.none() | st.integers(-3, 2_600), st.booleans()), max_size=40), st.data())
def test_the_index_finds_what_a_look_at_all_prices_finds(
    changes: list[tuple[int, int | None, bool]], data: st.DataObject
) -> None:
    """Prices of any dates, changed and deleted in any order, however far they reach."""
    bench, first = Prices(), date(2024, 1, 1)
    for n, (begins, ends, is_deleted) in enumerate(changes):
        valid_to = None if ends is None else str(first + timedelta(days=ends))
        bench.price(str(n + 1), str(first + timedelta(days=begins)), valid_to, op="d" if is_deleted else "u")
    day = first + timedelta(days=data.draw(st.integers(-10, 2_700)))
    rows = [
        (key[3], row.unit_price)
        for key, row in bench.t.prices.under()
        if key[3] <= day and not row.is_deleted and (row.valid_to is None or row.valid_to >= day)
    ]
    assert price_on(bench.t, ("SKU-1", "STD", "USD"), day) == (max(rows)[1] if rows else None)


def test_a_price_in_a_currency_the_list_does_not_have_does_not_match(bench: Prices) -> None:
    """A number of one currency says nothing about a number of another; a line that says no price is only told that."""
    answer = bench.ask("12.50", currency="JPY")
    assert (answer.reference, answer.is_match, answer.listed_in) == (None, False, ["USD"])
    bench.price("11", "2026-01-01", currency="EUR")
    assert bench.ask("11", currency="EUR").is_match
    answer = bench.ask("11", currency="")
    assert (answer.reference, answer.is_match, answer.listed_in) == (None, False, ["EUR", "USD"])
    assert bench.ask("0", currency="JPY", is_unpriced=True).is_match
    bench.price("11", "2026-01-01", currency="EUR", op="d")
    assert bench.ask("12.50", currency="").is_match, "the list has the item in one currency"
