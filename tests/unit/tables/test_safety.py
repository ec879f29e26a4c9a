"""Safety stock: kept once by all sites together, by each site, or as given for a site; what is quoted is what can be had."""

from __future__ import annotations

from itertools import product

import pytest

from schemas.base import Tick
from schemas.quantity import show
from tables.common.policy import Policy, SitePolicy
from tables.inventory.item_ledger import ItemLedger
from tests.support.promises import Bench, shown
from tests.unit.tables.test_promise import answered


def numbers(b: Bench) -> tuple[str, str, list[str]]:
    """The network's ATP and promise, and each site's promise."""
    atp = b.atp()
    return show(atp.atp_milli), show(atp.promise_milli), [show(site.promise_milli) for site in atp.sites]


def bench(policy: Policy, safety: int, **stock: int) -> Bench:
    b = Bench(policy)
    b.item(safety_stock_milli=safety * 1000)
    for site, qty in stock.items():
        b.receive(str(qty), site=site)
    return b


GIVEN = {"DC1": SitePolicy(safety_stock={"SKU-1": 4_000})}


@pytest.mark.parametrize(
    ("policy", "stock", "expected"),
    [
        (Policy(), (100, 50), ("120", "120", ["100", "50"])),
        (Policy(), (20, 15), ("5", "5", ["5", "5"])),
        (Policy(), (20, 5), ("-5", "0", ["0", "0"])),
        (Policy(), (40,), ("10", "10", ["10"])),
        (Policy(safety_stock="site"), (100, 50), ("90", "90", ["70", "20"])),
        (Policy(safety_stock="site"), (100, 20), ("60", "70", ["70", "0"])),
        (Policy(sites=GIVEN), (100, 50), ("120", "120", ["96", "50"])),
        (Policy(sites=GIVEN, safety_stock="site"), (100, 50), ("116", "116", ["96", "20"])),
    ],
)
def test_what_is_kept_back(policy: Policy, stock: tuple[int, ...], expected: tuple[str, str, list[str]]) -> None:
    """30 of safety stock."""
    b = bench(policy, 30, **{f"DC{n}": qty for n, qty in enumerate(stock, 1)})
    assert numbers(b) == expected
    atp = b.atp()
    for site in atp.sites:
        assert site.atp_milli == site.usable_milli - site.safety_milli - site.kept_milli, "the answer explains itself"
    alone = [site.atp_milli + site.kept_milli for site in atp.sites]
    assert atp.atp_milli == sum(alone) - atp.shared_safety_milli


@pytest.mark.parametrize(("first", "second", "safety"), [*product((0, 7, 20), (0, 5, 30), (0, 6, 25))])
def test_what_is_quoted_can_be_had_and_no_more(first: int, second: int, safety: int) -> None:
    """An order takes all the network promises, from whatever sites, and the safety stock stays."""
    b = bench(Policy(), safety, DC1=first, DC2=second) if first and second else bench(Policy(), safety, DC1=first + second or 1)
    promise = b.atp().promise_milli
    usable = sum(site.usable_milli for site in b.atp().sites)
    answer = answered(b.order("1000"))
    assert sum(part.qty_milli for part in answer.allocated) == promise == max(0, usable - safety * 1000)
    assert b.atp().promise_milli == 0
    assert b.reserve("1").status == 409


def test_a_site_gives_all_it_has_as_long_as_others_hold_the_rest() -> None:
    b = bench(Policy(), 30, DC1=100, DC2=50)
    assert shown(answered(b.order("100", site="DC1")).allocated) == [("DC1", "100")]
    assert numbers(b) == ("20", "20", ["0", "20"])
    assert shown(answered(b.order("50", "web:2", site="DC2")).allocated) == [("DC2", "20")]


def test_supply_elsewhere_frees_what_a_site_keeps() -> None:
    """DC1 keeps 30 back until DC2's supply comes: the backorder is dated by that day."""
    b = bench(Policy(), 30, DC1=30)
    b.supply("40", "2026-11-10", site="DC2")
    answer = answered(b.order("30", site="DC1"))
    assert (answer.allocated, str(answer.promised_on), answer.backorder_site) == ([], "2026-11-10", "DC1")


def test_sites_are_looked_at_in_an_order_of_their_own() -> None:
    """Pages are opened in that order, and changes written in it: another process must write the same."""
    names = [f"DC{n}" for n in range(9)]
    b = Bench(Policy(), names)
    b.item(safety_stock_milli=30_000)
    for site in names:
        b.receive("10", site=site)
    ledger = ItemLedger(Policy(), b.t, "SKU-1", Tick(**b.head()))
    assert list(ledger.free(("DC4", "DC9"), 30_000).alone) == [*names, "DC9"]
