"""The oracle itself, against cases worked by hand or taken from vendors' documentation."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.simulation.facts import ChangeFact, ErpFact, Execution, HoldFact, OrderFact, ReleaseFact, WantedLine, WmsFact
from infra.simulation.oracle import Oracle
from infra.simulation.order_oracle import OrderOracle
from infra.simulation.policies import POLICIES

CASES = Path(__file__).parent.parent / "data" / "cases"
ATP: list[dict[str, Any]] = json.loads((CASES / "atp.json").read_text())
SEQUENCES: dict[str, list[dict[str, Any]]] = {c["id"]: c["steps"] for c in json.loads((CASES / "sequences.json").read_text())}
KEY = ("SKU-1", "DC1", "usable", "")
DAY = date(2026, 11, 2)
NOON_MS = 1_793_620_800_000  # 2026-11-02T12:00:00Z


def known(oracle: Oracle, *items: str) -> Oracle:
    for site in ("DC1", "EU1"):
        oracle.tell(ErpFact("site", (site,), {"timezone": "UTC"}, 0))
    for number, item in enumerate(items or ("SKU-1",)):
        oracle.tell(ErpFact("item", (item,), {"item_no": item}, number))
    return oracle


def at(clock: str) -> int:
    hours, minutes = clock.split(":")
    return NOON_MS + ((int(hours) - 12) * 60 + int(minutes)) * 60_000


class Feed:
    """Numbers warehouse facts."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.sequence = 0

    def move(self, qty: int, at_ms: int, key: tuple[str, str, str, str] = KEY, kind: str = "stock.adjusted") -> WmsFact:
        return self.tell(kind, at_ms, moves=((*key, Decimal(qty)),))

    def count(self, qty: int, at_ms: int) -> WmsFact:
        return self.tell("stock.snapshot", at_ms, count=(*KEY, Decimal(qty)))

    def tell(self, kind: str, at_ms: int, **meaning: Any) -> WmsFact:
        self.sequence += 1
        fact = WmsFact(f"W-{self.sequence}", self.sequence, kind, at_ms, **meaning)
        assert self.oracle.tell(fact) == "applied"
        return fact

    def work(self, kind: str, qty: int, **more: Any) -> WmsFact:
        return self.tell(kind, NOON_MS, executions=(Execution("web:1", 1, "SKU-1", Decimal(qty), **more),))


@pytest.mark.parametrize("case", ATP, ids=[case["id"] for case in ATP])
def test_atp_cases_of_vendors(case: dict[str, Any]) -> None:
    """Each documented case comes out as documented."""
    days = case["days"]
    supply, demand = ([Decimal(case[name].get(str(d), 0)) for d in range(days)] for name in ("supply", "demand"))
    found = POLICIES[case["policy"]]([Decimal(case["opening"])] * days, Decimal(0), supply, demand)
    expected = dict(enumerate(case["atp"])) if "atp" in case else {int(day): qty for day, qty in case["atp_at"].items()}
    assert {day: found[day] for day in expected} == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("projected", [3, 1, 7, 4, -1]),
        ("lookahead", [-1, -1, -1, -1, -1]),
        ("backward", [0, 0, 0, 0, -1]),
        ("backward_accumulate", [0, 0, 0, 0, -1]),
        ("discrete", [1, 0, -2, 0, 0]),
        ("cumulative", [1, 1, -1, -1, -1]),
    ],
)
def test_policies_by_hand(policy: str, expected: list[int]) -> None:
    """Opening 5 less safety 1, supply 6 on day 2, demand 1, 2, 0, 3, 5."""
    usable, supply, demand = [Decimal(5)] * 5, [Decimal(q) for q in (0, 0, 6, 0, 0)], [Decimal(q) for q in (1, 2, 0, 3, 5)]
    assert POLICIES[policy](usable, Decimal(1), supply, demand) == expected


def test_backward_takes_the_nearest_earlier_surplus_first() -> None:
    """The shortage of day 2 eats day 1 before day 0."""
    zero = [Decimal(0)] * 3
    supply, demand = [Decimal(4), Decimal(3), Decimal(0)], [Decimal(0), Decimal(0), Decimal(5)]
    assert POLICIES["backward"](zero, Decimal(0), supply, demand) == [2, 0, 0]
    assert POLICIES["backward_accumulate"](zero, Decimal(0), supply, demand) == [2, 2, 2]


def test_units_that_expire_are_gone_the_day_after() -> None:
    """Three of five expire after day 1."""
    usable, zero = [Decimal(q) for q in (5, 5, 2)], [Decimal(0)] * 3
    assert POLICIES["projected"](usable, Decimal(0), zero, zero) == [5, 5, 2]
    assert POLICIES["lookahead"](usable, Decimal(0), zero, zero) == [2, 2, 2]
    assert POLICIES["discrete"](usable, Decimal(0), zero, zero) == [2, 0, 0]


def test_snapshot_and_late_movements() -> None:
    """A count replaces the balance as of its instant; what moved later is applied again, what moved earlier is in it."""
    feed = Feed(known(Oracle()))
    for step in SEQUENCES["snapshot-and-late-movements"]:
        if "balance" in step:
            feed.count(step["balance"], at("11:00"))
        elif "snapshot" in step:
            feed.count(step["snapshot"], at(step["as_of"]))
        else:
            feed.move(step["adjust"], at(step["at"]))
        if "expect_on_hand" in step:
            assert feed.oracle.on_hand("SKU-1", "DC1", "usable") == step["expect_on_hand"]


def test_reservation_ttl() -> None:
    """Held units are not available until their time is over."""
    first, hold, later = SEQUENCES["reservation-ttl"]
    oracle = known(Oracle(now_ms=NOON_MS))
    Feed(oracle).count(first["on_hand"], NOON_MS)
    oracle.hold(
        HoldFact(
            "R1", "SKU-1", {"DC1": Decimal(hold["reserve"])}, Decimal(hold["reserve"]), NOON_MS + hold["ttl_minutes"] * 60_000
        )
    )

    def available() -> Decimal:
        return oracle.atp("SKU-1", "DC1", {DAY: oracle.held("SKU-1", "DC1")})[0]

    assert available() == hold["expect_available"]
    oracle.now_ms += later["minutes"] * 60_000
    assert available() == later["expect_available"]


def test_a_released_reservation_holds_nothing() -> None:
    """Given back is available again."""
    oracle = Oracle(now_ms=0)
    oracle.hold(HoldFact("R1", "SKU-1", {"DC1": Decimal(2)}, Decimal(2), 10))
    assert oracle.held("SKU-1", "DC1") == 2
    oracle.hold(ReleaseFact("R1"))
    assert oracle.held("SKU-1", "DC1") == 0


def test_same_item_twice_in_one_cart() -> None:
    """Five units are not promised to two lines of five."""
    first, cart = SEQUENCES["same-item-twice-in-one-cart"]
    oracle = known(Oracle(now_ms=NOON_MS))
    Feed(oracle).count(first["on_hand"], NOON_MS)
    assert oracle.atp("SKU-1", "DC1", {DAY: Decimal(cart["check_lines"][0])})[0] == 0
    assert oracle.atp("SKU-1", "DC1", {DAY: Decimal(sum(cart["check_lines"]))})[0] < 0, cart["expect"]


def test_a_late_snapshot_read_changes_nothing() -> None:
    """A read that shows an older commit than the change already heard."""
    oracle = Oracle()
    change, read = SEQUENCES["late-snapshot-read"]
    oracle.tell(ErpFact("item", ("SKU-1",), {"value": change["value"]}, 2))
    oracle.tell(ErpFact("item", ("SKU-1",), {"value": read["value"]}, 1))
    assert oracle.table("item") == {("SKU-1",): {"value": read["expect"]}}


def test_reservation_cycle() -> None:
    """[available, physical, reserved] of an order: demand is counted once, a pick and a shipment leave available alone."""
    opening, ordered, shipped = SEQUENCES["reservation-cycle"]
    oracle = known(Oracle(now_ms=NOON_MS))
    feed = Feed(oracle)
    feed.count(opening["physical"], NOON_MS)
    staged = (*KEY[:2], "staged", "")

    def stands(unpicked: int, reserved: int) -> list[Decimal]:
        physical = oracle.on_hand("SKU-1", "DC1", "usable") + oracle.on_hand("SKU-1", "DC1", "staged")
        return [oracle.atp("SKU-1", "DC1", {DAY: Decimal(unpicked)})[0], physical, Decimal(reserved)]

    assert stands(ordered["order"], 1) == ordered["expect"]
    feed.tell("pick.completed", NOON_MS + 1, moves=((*KEY, Decimal(-1)), (*staged, Decimal(1))))
    assert stands(0, 1) == ordered["expect"]
    feed.move(-shipped["ship"], NOON_MS + 2, staged, "shipment.confirmed")
    assert stands(0, 0) == shipped["expect"]


def test_a_repeated_fact_is_a_duplicate() -> None:
    """The same event twice changes nothing."""
    feed = Feed(known(Oracle()))
    fact = feed.move(5, NOON_MS)
    assert feed.oracle.tell(fact) == "duplicate"
    assert feed.oracle.balances() == {KEY: 5}


def test_stock_of_an_unknown_item_waits_for_it() -> None:
    """What the warehouse says about an item the ERP has not sent counts as soon as it has."""
    feed = Feed(Oracle())
    feed.move(5, NOON_MS)
    assert feed.oracle.balances() == {}
    assert known(feed.oracle).balances() == {KEY: 5}


def test_what_names_an_unknown_site_waits_for_it() -> None:
    """A move to a mistyped site takes nothing away, until the ERP has such a site."""
    feed = Feed(known(Oracle()))
    feed.move(5, NOON_MS)
    there = ("SKU-1", "DC-1", "usable", "")
    feed.tell("stock.moved", NOON_MS + 1, moves=((*KEY, Decimal(-2)), (*there, Decimal(2))))
    assert feed.oracle.balances() == {KEY: 5}
    assert feed.oracle.waiting() == {"W-2"}
    feed.oracle.tell(ErpFact("site", ("DC-1",), {"timezone": "Mars/Olympus"}, 9))
    assert feed.oracle.balances() == {KEY: 3, there: 2}
    assert feed.oracle.waiting() == frozenset()


def test_days_that_mean_none_bring_nothing() -> None:
    """Supply that comes never, or came before time began, is open and due on no day."""
    for day in (date.min, date(1900, 1, 1), date.max):
        oracle = known(Oracle(now_ms=NOON_MS, late_days={"DC1": 1}))
        purchase(oracle, expected_date=day)
        assert len(oracle.supply()) == 1
        assert oracle.supply_by_day("SKU-1", "DC1") == {}


def test_a_table_that_was_emptied_has_what_was_written_since() -> None:
    """Whatever is told late of before."""
    oracle = Oracle()
    for key, truth in ((("SKU-1",), 1), ((), 2), (("SKU-2",), 3), (("SKU-3",), 1)):
        oracle.tell(ErpFact("item", key, {"truth": truth} if key else None, truth))
    assert oracle.table("item") == {("SKU-2",): {"truth": 3}}


def test_the_erp_owns_its_own_sites_only() -> None:
    """Its balance is the stock where there is no WMS, and nowhere else."""
    oracle = known(Oracle(erp_sites=frozenset({"EU1"})))
    for site in ("DC1", "EU1"):
        oracle.tell(ErpFact("inventory_balance", (site, "SKU-1"), {"on_hand": Decimal(7)}, 1))
    assert oracle.balances() == {("SKU-1", "EU1", "usable", ""): 7}


def purchase(oracle: Oracle, status: str = "OPEN", **changes: Any) -> None:
    row = {"item_no": "SKU-1", "site_code": "DC1", "qty_ordered": Decimal(10), "qty_received": Decimal(0), "expected_date": DAY}
    truth = len(oracle.rows)
    oracle.tell(ErpFact("purchase_order_line", ("PO-1", 1), {**row, "status": "O", **changes}, truth))
    oracle.tell(ErpFact("purchase_order", ("PO-1",), {"status": status}, truth))


def test_supply_is_what_neither_the_erp_nor_the_site_has_received() -> None:
    """The larger of both counts consumes the line; a closed or cancelled document supplies nothing."""
    oracle = known(Oracle())
    purchase(oracle)
    assert oracle.supply_by_day("SKU-1", "DC1") == {DAY: 10}
    Feed(oracle).tell("stock.received", NOON_MS, receipt=("PO-1", 1, Decimal(4)))
    assert oracle.supply_by_day("SKU-1", "DC1") == {DAY: 6}
    purchase(oracle, qty_received=Decimal(3))
    assert oracle.supply_by_day("SKU-1", "DC1") == {DAY: 6}
    purchase(oracle, qty_received=Decimal(9))
    assert oracle.supply_by_day("SKU-1", "DC1") == {DAY: 1}
    purchase(oracle, status="CLOSED")
    assert oracle.supply() == {}


def test_past_due_supply_is_dropped_or_expected_some_days_from_today() -> None:
    """By the site's policy; supply of today counts today."""
    two_days_ms = 2 * 86_400_000
    for late, expected in (({}, [0, 0, 0]), ({"DC1": 1}, [0, 10, 10])):
        oracle = known(Oracle(now_ms=NOON_MS, late_days=late))
        purchase(oracle)
        assert oracle.atp("SKU-1", "DC1", {}, "projected")[:1] == [10]
        oracle.now_ms += two_days_ms
        assert oracle.atp("SKU-1", "DC1", {}, "projected")[:3] == expected


def test_what_nobody_can_count_is_refused() -> None:
    """A unit nobody has heard of moves nothing, once the item is known."""
    feed = Feed(Oracle())
    feed.tell("stock.received", NOON_MS, refused_for="SKU-1")
    assert feed.oracle.refused() == []
    assert known(feed.oracle).refused() == ["SKU-1"]
    assert feed.oracle.balances() == {}


def ordered(*, backorder: bool = True) -> tuple[Feed, OrderOracle]:
    oracle = known(Oracle())
    lines = (WantedLine(1, "SKU-1", Decimal(10), None),)
    oracle.tell(OrderFact("web:1", "C-1", DAY, True, backorder, lines))
    return Feed(oracle), OrderOracle(oracle)


def test_a_short_pick_stays_wanted_or_is_given_up() -> None:
    """By the order's policy."""
    for backorder, cancelled in ((True, 0), (False, 3)):
        feed, orders = ordered(backorder=backorder)
        feed.work("pick.short", 7, short=Decimal(3))
        line = orders.lines()["web:1", 1]
        assert [line.ordered, line.picked, line.short, line.cancelled] == [10, 7, 3, cancelled]


def test_a_cancellation_leaves_what_was_picked() -> None:
    """Four of ten were picked, six are cancelled."""
    feed, orders = ordered()
    feed.work("pick.completed", 4)
    feed.oracle.tell(ChangeFact("c", "web:1", "cancel", NOON_MS))
    line = orders.lines()["web:1", 1]
    assert [line.ordered, line.cancelled, line.picked] == [10, 6, 4]


def test_a_substitute_ships_for_the_line() -> None:
    """Six of the line are served by three of another item; two of those have left: that is four of the line."""
    feed, orders = ordered()
    feed.work("pick.substituted", 6, substitute_item="SKU-2", substitute_qty=Decimal(3))
    feed.tell("shipment.confirmed", NOON_MS, executions=(Execution("web:1", 1, "SKU-2", Decimal(2)),))
    line = orders.lines()["web:1", 1]
    assert [line.picked, line.substituted, line.shipped] == [6, 6, 4]


def erp_order(oracle: Oracle, qty: int, truth: int, at_ms: int, **changes: Any) -> None:
    oracle.tell(ErpFact("sales_order", ("SO1",), {"channel": "WEB", "external_ref": "1", "status": "OPEN"}, 1))
    row = {"item_no": "SKU-1", "qty_ordered": Decimal(qty), "qty_shipped": Decimal(0), "status": "O", **changes}
    oracle.tell(ErpFact("sales_order_line", ("SO1", 7), row, truth, at_ms))


def test_the_last_to_change_a_quantity_has_the_last_word() -> None:
    """The ERP's copy of a channel order is the same order; its first quantity yields to a change by the channel."""
    feed, orders = ordered()
    erp_order(feed.oracle, 10, 1, NOON_MS + 5)
    assert list(orders.lines()) == [("web:1", 1)]
    feed.oracle.tell(ChangeFact("c", "web:1", "set_qty", NOON_MS, 1, Decimal(4)))
    assert orders.lines()["web:1", 1].ordered == 4
    erp_order(feed.oracle, 6, 2, NOON_MS + 9)
    assert orders.lines()["web:1", 1].ordered == 6


def test_what_the_erp_cancels_or_bills() -> None:
    """A line with status X is cancelled; invoices that stand are billed, voided ones are not."""
    feed, orders = ordered()
    erp_order(feed.oracle, 10, 1, NOON_MS, status="X")
    for number, status in (("I1", "POSTED"), ("I2", "VOID")):
        feed.oracle.tell(ErpFact("invoice", (number,), {"order_no": "SO1", "status": status}, 1))
        feed.oracle.tell(ErpFact("invoice_line", (number, 1), {"order_line_no": 7, "qty": Decimal(2)}, 1))
    line = orders.lines()["web:1", 1]
    assert [line.cancelled, line.invoiced] == [10, 2]
