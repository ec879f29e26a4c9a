"""Orders that crossdock runs: each path from the channel's order to the ERP's invoice, and what may come between."""

from __future__ import annotations

from collections import deque
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from schemas.deliveries import ObligationSettled
from schemas.frozen import replace
from schemas.inventory import PriceChanged
from schemas.operations import ExceptionNoted
from schemas.orders import ErpOrderLineChanged, LineReturned
from tables.common.policy import DAY_MS, OrderPolicy
from tables.orders.state import LineLot
from tests.support.erp_world import row_event
from tests.support.order_runs import POLICY, Yard, order
from tests.support.orders import ORDER, cancel, head, set_qty


def placed(*lines: tuple[int, str, int], stock: int = 100, **more: Any) -> Yard:
    """A yard with an order that has gone as far as it goes by itself."""
    return Yard(A=stock, B=100, Z=100).tell(order(*(lines or ((1, "A", 10),)), **more)).rest()


# --- the whole way ------------------------------------------------------------------------------------------------------


def test_the_way_of_an_order() -> None:
    y = placed((1, "A", 10), (2, "B", 5))
    assert (y.status, y.decision, y.kinds()) == ("released", "accepted", ["post_order", "release_order"])
    assert y.asked("post_order") == y.asked("release_order") == [{1: 10, 2: 5}]
    y.wms.work_off()
    y.rest()
    assert y.asked("request_invoice") == [{1: 10, 2: 5}]
    assert (y.status, y.open(), y.waits()) == ("invoiced", set(), set())
    statuses = [n.status for n in y.notices]
    assert statuses[0] == "received"
    assert statuses[-1] == "invoiced"
    assert [n.sequence for n in y.notices] == list(range(1, len(statuses) + 1))
    assert [x.milestone for x in y.world.milestones()] == [
        "order_accepted", "allocation_confirmed", "pick_released", "shipment_posted", "invoice_generated",
    ]  # fmt: skip


def test_without_an_erp_to_post_to_nothing_is_run() -> None:
    y = Yard(OrderPolicy(), A=100).tell(order((1, "A", 10))).rest()
    assert (y.status, y.decision, y.obligations) == ("allocated", "", [])


def test_an_order_born_in_the_erp_is_not_run() -> None:
    y = Yard(A=100)
    y.erp.take((1, "A", 10))
    y.rest()
    assert (y.status, y.decision, y.obligations) == ("allocated", "", [])


def test_everything_again_changes_nothing() -> None:
    y = Yard(A=100)
    seen: list[tuple[str, Any]] = []
    y.tell(order((1, "A", 10), price="1"))
    while busy := y.busy():
        name = busy[0]
        seen.append((name, y.lanes[name][0]))
        y.move(name)
        y.wms.work_off()
        y.pass_ms(600)
    obligations, said = len(y.obligations), len(y.world.out)
    for name, event in seen:
        if not name.startswith(("call", "clock")):
            y.lanes[name].append(event)
            y.move(name)
    y.rest()
    assert (len(y.obligations), len(y.world.out)) == (obligations, said)
    assert y.status == "invoiced"


def test_the_price_goes_to_the_erp_per_base_unit() -> None:
    y = placed((1, "A", 2), price="24.00", uom="CS")
    (row,) = y.bodies("post_order")[0].lines
    assert (row.qty_milli, row.uom, row.unit_price) == (24_000, "EA", Decimal("2.0000"))
    assert y.tables.credits[(ORDER,)].amount == Decimal(48)


# --- checks and holds ---------------------------------------------------------------------------------------------------


def test_nothing_is_posted_before_credit_is_answered() -> None:
    y = Yard(A=100).tell(order((1, "A", 10)))
    y.move("channel")
    y.move("to promise")
    y.move("promise")
    assert (y.decision, y.waits(), y.kinds()) == ("checking", {"check"}, [])
    y.pass_ms(POLICY.check_ms)
    y.move("clock")
    assert y.open() == {"late_check"}
    y.rest()
    assert (y.decision, y.open()) == ("accepted", set())


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"credit_hold": True}, "credit_hold"),
        ({"credit_limit": Decimal(5)}, "credit_limit"),
        ({"status": "I"}, "customer_inactive"),
    ],
)
def test_an_order_held_for_credit_waits_for_the_cause_to_go(columns: dict[str, Any], reason: str) -> None:
    y = Yard(A=100)
    y.customers.erp("C1", **columns)
    y.tell(order((1, "A", 10), price="2.50")).rest()
    assert (y.status, y.decision, y.holds, y.open()) == ("held", "held", [reason], {"credit_hold"})
    assert y.kinds() == []
    assert not y.world.milestones() or y.world.milestones()[0].milestone != "order_accepted"
    said = len(y.customers.said)
    y.customers.erp("C1")
    y.credit_said(said)
    y.rest()
    assert (y.decision, y.open(), y.kinds()) == ("accepted", set(), ["post_order", "release_order"])


def test_a_person_lets_an_order_go_on_in_spite_of_credit() -> None:
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(5))
    y.tell(order((1, "A", 10), price="2.50")).rest().release("credit_limit").rest()
    assert (y.decision, y.open()) == ("accepted", set())
    y.tell(set_qty(1, 11)).rest()
    assert (y.decision, y.holds) == ("held", ["credit_limit"])  # that much more nobody has let go on
    assert y.erp.lines[1].ordered == 10_000


def test_what_a_person_let_go_ends_with_the_order() -> None:
    """An order that is opened again is asked anew: in between, another may have been granted the credit."""
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(5))
    y.tell(order((1, "A", 10), price="2.50")).rest().release("credit_limit").rest()
    y.erp.cancel()
    assert y.rest().status == "cancelled"
    y.erp.change(1, 10)
    y.rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["credit_limit"], {"credit_hold"})


def test_an_unknown_customer_holds_the_order() -> None:
    y = placed((1, "A", 10), customer="C404")
    assert (y.decision, y.holds) == ("held", ["unknown_customer"])


def priced(y: Yard, price: str, currency: str = "USD") -> None:
    columns: dict[str, Any] = {
        "item": "A",
        "price_list": "STD",
        "currency": currency,
        "valid_from": date(2026, 1, 1),
        "valid_to": None,
    }
    y.bench.apply(row_event(PriceChanged, 1, "c", unit_price=Decimal(price), **columns))


def test_a_price_that_is_not_the_reference_holds_the_order() -> None:
    y = Yard(A=100)
    priced(y, "3.00")
    y.tell(order((1, "A", 10), price="2.50")).rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["price_mismatch"], {"price_mismatch"})
    y.release("price_mismatch").rest()
    assert (y.decision, y.open(), y.kinds()) == ("accepted", set(), ["post_order", "release_order"])


def test_a_price_that_is_the_reference_passes() -> None:
    y = Yard(A=100)
    priced(y, "2.50")
    assert y.tell(order((1, "A", 10), price="2.50")).rest().decision == "accepted"


def test_an_order_without_prices_is_priced_by_the_list_before_its_credit_is_judged() -> None:
    """Leaving the price out lets nobody past the limit."""
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(20))
    priced(y, "2.50")
    y.tell(order((1, "A", 10))).rest()
    assert (y.decision, y.holds) == ("held", ["credit_limit"])
    assert y.asked("post_order") == []
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(25))
    priced(y, "2.50")
    assert y.tell(order((1, "A", 10))).rest().decision == "accepted"
    y.tell(set_qty(1, 11)).rest()
    assert (y.decision, y.holds) == ("held", ["credit_limit"])


def test_a_line_nobody_has_a_price_for_is_held_where_credit_is_limited() -> None:
    y = Yard(A=100, B=100)
    y.customers.erp("C1", credit_limit=Decimal(20))
    priced(y, "2.50")
    y.tell(order((1, "A", 2), (2, "B", 1))).rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["price_missing"], {"price_missing"})
    assert y.release("price_missing").rest().decision == "accepted"
    y = Yard(B=100)
    y.customers.erp("C1", credit_limit=Decimal(20), price_list="")
    assert y.tell(order((2, "B", 1))).rest().holds == ["price_missing"]
    y = Yard(B=100)
    assert y.tell(order((2, "B", 1))).rest().decision == "accepted", "nothing is limited"


def test_a_price_added_since_is_found_when_the_hold_is_released() -> None:
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(20))
    assert y.tell(order((1, "A", 10))).rest().holds == ["price_missing"]
    priced(y, "2.50")
    assert y.release("price_missing").rest().holds == ["credit_limit"]


def test_a_price_in_a_currency_the_list_does_not_have_is_held() -> None:
    y = Yard(A=100)
    priced(y, "2.50")
    event = order((1, "A", 10), price="2.50")
    y.tell(replace(event, lines=[replace(line, currency="JPY") for line in event.lines])).rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["price_currency"], {"price_currency"})
    (told,) = [e.sentence for e in y.world.out if isinstance(e, ExceptionNoted)]
    assert told == (
        f"Order {ORDER} is held: its prices cannot be compared with price list STD (line 1: A in JPY, listed in USD)."
    )
    assert y.release("price_currency").rest().decision == "accepted"


def test_a_price_added_in_the_currency_is_compared_when_the_hold_is_released() -> None:
    y = Yard(A=100)
    priced(y, "2.50")
    event = order((1, "A", 10), price="2.50")
    y.tell(replace(event, lines=[replace(line, currency="JPY") for line in event.lines])).rest()
    priced(y, "300", "JPY")
    assert y.release("price_currency").rest().holds == ["price_mismatch"]


def test_prices_in_several_currencies_are_held_where_credit_is_limited() -> None:
    y = Yard(A=100, B=100)
    y.customers.erp("C1", credit_limit=Decimal(100))
    event = order((1, "A", 1), (2, "B", 1), price="2.50")
    y.tell(replace(event, lines=[event.lines[0], replace(event.lines[1], currency="EUR")])).rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["credit_currency"], {"credit_currency"})
    assert y.release("credit_currency").rest().decision == "accepted"


def test_a_price_that_says_no_currency_is_in_the_lists() -> None:
    """So it adds up with those that say it."""
    y = Yard(A=100)
    y.customers.erp("C1", credit_limit=Decimal(100))
    priced(y, "2.50")
    event = order((1, "A", 10), price="2.50")
    y.tell(replace(event, lines=[replace(line, currency=None) for line in event.lines])).rest()
    assert y.decision == "accepted"
    assert [key[1] for key, _ in y.customers.t.funds.under("C1")] == ["USD"]


def test_a_release_of_nothing_is_refused() -> None:
    y = placed().release("credit_limit").rest()
    assert [(x.kind, x.outcome) for x in y.world.status().changes] == [("release", "refused")]


def test_an_order_no_line_of_which_goes_on_is_refused_and_never_posted() -> None:
    y = placed(stock=0, backorder=False)
    assert (y.status, y.decision, y.kinds()) == ("refused", "refused", [])


def test_a_refused_line_is_left_out() -> None:
    y = placed((1, "A", 10), (2, "B", 5), stock=0, backorder=False)
    assert y.asked("post_order") == [{2: 5}]


# --- the ERP ------------------------------------------------------------------------------------------------------------


def test_an_order_the_erp_has_already_is_not_posted() -> None:
    y = Yard(A=100)
    y.erp.take((10, "A", 10))
    y.tell(order((1, "A", 10))).rest()
    assert y.kinds() == ["release_order"]
    y.tell(set_qty(1, 7)).rest()
    assert (y.asked("withdraw_release"), y.asked("post_order")) == ([{1: 3}], [{10: 7}])
    y.wms.work_off()
    assert y.rest().asked("request_invoice") == [{10: 7}]


def test_the_erp_refuses_and_a_person_has_it_posted_again() -> None:
    y = Yard(A=100)
    y.erp.refuse = "unknown customer"
    y.tell(order((1, "A", 10))).rest()
    assert (y.decision, y.holds, y.open(), y.kinds()) == ("held", ["erp_refused"], {"erp_refused"}, ["post_order"])
    y.erp.refuse = None
    y.release("erp_refused").rest()
    assert (y.decision, y.open(), y.erp.revisions) == ("accepted", set(), [1, 2])
    assert y.status == "released"


def test_an_order_the_erp_refused_may_be_cancelled() -> None:
    y = Yard(A=100)
    y.erp.refuse = "no"
    y.tell(order((1, "A", 10))).rest().tell(cancel()).rest()
    assert (y.status, y.open(), y.erp.revisions) == ("cancelled", set(), [1])


def test_the_erps_silence_is_an_exception_until_its_feed_speaks() -> None:
    y = Yard(A=100).tell(order((1, "A", 10)))
    while busy := [name for name in y.busy() if name != "erp"]:
        y.move(busy[0])
    assert (y.kinds(), "confirm" in y.waits()) == (["post_order"], True)
    y.pass_ms(POLICY.confirm_ms)
    y.move("clock")
    assert y.open() == {"late_acknowledgement"}
    y.rest()
    assert (y.open(), y.status) == (set(), "released")


def test_an_order_cancelled_before_it_was_posted_never_is() -> None:
    y = Yard(A=100).tell(order((1, "A", 10)), cancel()).rest()
    assert (y.status, y.kinds(), y.open(), y.waits()) == ("cancelled", [], set(), set())


def test_a_change_is_posted_once_and_its_echo_is_no_word_of_the_erps() -> None:
    y = placed((1, "A", 10))
    y.tell(set_qty(1, 12)).rest()
    y.tell(set_qty(1, 15, position=2)).rest()
    assert y.asked("post_order") == [{1: 10}, {1: 12}, {1: 15}]
    assert y.asked("release_order") == [{1: 10}, {1: 2}, {1: 3}]
    assert not any(e.is_firm for e in y.world.asked)


def test_a_late_echo_does_not_undo_a_newer_change() -> None:
    y = Yard(A=100).tell(order((1, "A", 10)))
    while busy := [name for name in y.busy() if name != "erp"]:
        y.move(busy[0])
    y.tell(set_qty(1, 12)).rest()
    assert (y.erp.lines[1].ordered, y.units()["ordered"]) == (12_000, 12)
    assert y.asked("post_order") == [{1: 10}, {1: 12}]


def test_what_was_posted_and_changed_before_it_was_shown_is_not_waited_for() -> None:
    """The feed shows a line first as the ERP's people left it; then the channel cancels, and that is posted."""
    y = Yard(A=100).tell(order((1, "A", 10)))
    while busy := [name for name in y.busy() if name != "erp"]:
        y.move(busy[0])
    shown = [said for said in y.lanes["erp"] if not isinstance(said, ErpOrderLineChanged)]
    y.erp.change(1, 11)
    y.collect()
    y.lanes["erp"] = deque([*shown, *list(y.lanes["erp"])[-2:]])
    y.rest()
    assert (y.units()["ordered"], "confirm" in y.waits()) == (11, False)
    y.tell(cancel()).rest()
    assert (y.status, y.erp.revisions, y.erp.lines[1].stands()) == ("cancelled", [1, 2], 0)


def test_the_erps_own_change_is_followed_and_not_posted_back() -> None:
    y = placed((1, "A", 10))
    y.erp.change(1, 6)
    y.rest()
    assert (y.kinds(), y.units()["ordered"]) == (["post_order", "release_order", "withdraw_release"], 6)
    y.erp.change(1, 9)
    y.rest()
    assert y.asked("release_order") == [{1: 10}, {1: 3}]
    assert y.erp.revisions == [1]


def test_the_erps_cancellation_is_followed_and_not_posted_back() -> None:
    y = placed((1, "A", 10))
    y.erp.cancel()
    y.rest()
    assert (y.status, y.kinds()) == ("cancelled", ["post_order", "release_order", "withdraw_release"])
    assert (y.promised(), y.wms.todo[1, "DC1"], y.open(), y.waits()) == ({}, 0, set(), set())


def test_a_line_the_erp_adds_is_shipped_and_billed_too() -> None:
    y = placed((1, "A", 10))
    y.erp.add(2, "B", 5)
    y.rest()
    y.wms.work_off()
    assert y.rest().asked("request_invoice") == [{1: 10, 2: 5}]
    assert (y.status, y.erp.revisions) == ("invoiced", [1])


def test_an_order_deleted_in_the_erp_waits_for_a_person() -> None:
    y = placed((1, "A", 10))
    y.erp.delete()
    y.rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["erp_deleted"], {"erp_deleted"})
    y.release("erp_deleted").rest()
    assert (y.decision, y.open(), y.erp.revisions, y.erp.lines[1].ordered) == ("accepted", set(), [1, 2], 10_000)
    assert len(y.wms.releases) == 1


def test_an_order_on_hold_in_the_erp_is_not_released() -> None:
    y = Yard(A=100)
    y.erp.status = "HOLD"
    y.tell(order((1, "A", 10))).rest()
    assert (y.status, y.holds, y.open(), y.kinds()) == ("held", ["erp_hold"], {"erp_hold"}, ["post_order"])
    y.erp.hold("OPEN")
    y.rest()
    assert (y.status, y.open()) == ("released", set())


# --- the warehouse ------------------------------------------------------------------------------------------------------


def test_a_backorder_is_released_when_stock_comes() -> None:
    y = placed((1, "A", 10), stock=6)
    assert (y.asked("release_order"), y.open()) == ([{1: 6}], {"backorder_undated"})
    y.receive("A", 4)
    y.rest()
    assert (y.asked("release_order"), y.open()) == ([{1: 6}, {1: 4}], set())


def test_a_dated_backorder_has_a_deadline_at_its_day() -> None:
    y = Yard(A=0)
    y.bench.supply("10", "2027-01-20", item="A")
    y.tell(order((1, "A", 10))).rest()
    assert (y.open(), y.waits()) == (set(), {"backorder"})
    due = y.tables.waits[ORDER, "backorder"].due_ms
    assert due % DAY_MS == 0
    y.pass_ms(due - y.now).rest()
    assert y.open() == {"late_backorder"}
    y.receive("A", 10)
    assert y.rest().open() == {"late_milestone"}


def test_an_order_that_goes_in_one_piece_is_released_when_all_of_it_is_there() -> None:
    y = placed((1, "A", 10), (2, "B", 5), stock=6, partial=False)
    assert y.asked("release_order") == []
    y.receive("A", 4)
    assert y.rest().asked("release_order") == [{1: 10, 2: 5}]


def test_units_at_a_site_the_erp_owns_are_not_released() -> None:
    y = Yard(A=4)
    y.bench.erp_balance("6", 50, "A", "EU1")
    y.tell(order((1, "A", 10))).rest()
    assert sum(y.promised().values()) == 10
    assert [[(row.site, row.qty_milli) for row in body.lines] for body in y.bodies("release_order")] == [[("DC1", 4_000)]]


def test_the_warehouse_decides_the_race_between_a_cancellation_and_a_pick() -> None:
    y = placed((1, "A", 10))
    y.wms.pick(1, 4)
    y.tell(cancel())
    y.move("channel")
    assert y.units() == {"ordered": 10, "allocated": 10}  # still wanted: the warehouse has it on its list
    y.rest()
    assert y.asked("withdraw_release") == [{1: 10}]
    assert (y.units(), y.promised(), y.asked("post_order")) == (
        {"ordered": 10, "cancelled": 6, "picked": 4},
        {},
        [{1: 10}, {1: 4}],
    )
    y.wms.ship(1)
    assert y.rest().asked("request_invoice") == [{1: 4}]
    assert (y.status, y.open(), y.waits()) == ("invoiced", {"change_refused"}, set())
    (change,) = y.world.status().changes
    assert (change.kind, change.outcome) == ("cancel", "in_part")
    assert "4 of A (line 1)" in change.sentence
    assert change.hint


def test_units_stay_promised_until_the_warehouse_gives_them_back() -> None:
    y = placed((1, "A", 10))
    y.tell(cancel())
    while busy := [name for name in y.busy() if name != "call wms"]:
        y.move(busy[0])
    assert y.promised() == {"DC1": 10}
    y.rest()
    assert (y.promised(), y.status, y.erp.lines[1].status) == ({}, "cancelled", "X")


def test_a_reduction_withdraws_the_difference() -> None:
    y = placed((1, "A", 10))
    y.tell(set_qty(1, 4)).rest()
    assert (y.asked("withdraw_release"), y.asked("post_order")) == ([{1: 6}], [{1: 10}, {1: 4}])
    assert (y.units(), y.promised(), y.wms.todo[1, "DC1"]) == ({"ordered": 4, "allocated": 4}, {"DC1": 4}, 4_000)


def test_nothing_is_withdrawn_that_was_not_released() -> None:
    y = placed((1, "A", 10), stock=0)
    y.tell(cancel()).rest()
    assert (y.status, y.kinds()) == ("cancelled", ["post_order", "post_order"])


def test_a_short_is_released_again_from_other_stock() -> None:
    y = placed((1, "A", 10), stock=12)
    y.wms.short(1, 6, picked=4)
    y.rest()
    assert y.asked("release_order") == [{1: 10}, {1: 2}]
    assert (y.units()["backordered"], "backorder_undated" in y.open()) == (4, True)


def test_a_warehouse_that_found_nothing_is_sent_again_after_a_while() -> None:
    """What is promised there may have yet to arrive: sent at once, it would find nothing for ever."""
    y = placed((1, "A", 4), stock=9)
    y.wms.short(1, 4)
    y.rest()
    assert y.asked("release_order") == [{1: 4}]
    y.pass_ms(POLICY.short_pause_ms // 2).rest()
    assert y.asked("release_order") == [{1: 4}]
    y.pass_ms(POLICY.short_pause_ms).rest()
    assert y.asked("release_order") == [{1: 4}, {1: 4}]


def test_units_that_ship_while_an_invoice_is_asked_for_are_waited_for() -> None:
    """The ERP has shown the first invoice, the agent has not answered yet: the rest is due all the same."""
    y = placed((1, "A", 4), (2, "B", 2), stock=9)
    y.wms.pick(1, 4)
    y.wms.ship(1)
    y.rest()
    assert "invoice" not in [key[1] for key in y.tables.waits]
    task = y.tables.tasks[ORDER, "request_invoice"]
    y.tables.tasks[ORDER, "request_invoice"] = replace(task, is_waiting=True)
    y.wms.pick(2, 2)
    y.wms.ship(2)
    y.rest()
    assert "invoice" in [key[1] for key in y.tables.waits]


def test_a_short_without_backorder_is_posted_as_less() -> None:
    y = placed((1, "A", 10), stock=10, backorder=False)
    y.wms.short(1, 6, picked=4)
    y.wms.ship(1)
    y.rest()
    assert (y.asked("post_order"), y.asked("request_invoice")) == ([{1: 10}, {1: 4}], [{1: 4}])
    assert (y.status, y.units()) == (
        "invoiced",
        {"ordered": 10, "cancelled": 6, "picked": 4, "shipped": 4, "short": 6, "invoiced": 4},
    )


def test_a_line_closed_short_is_cancelled_in_the_erp_and_stays_short() -> None:
    y = placed((1, "A", 10), stock=10, backorder=False)
    y.wms.short(1, 10)
    y.rest()
    assert (y.world.line(1).state, y.status, y.erp.lines[1].status, y.waits()) == ("short", "cancelled", "X", set())


def test_a_substitute_is_billed_as_the_line_it_serves() -> None:
    y = placed((1, "A", 10))
    y.wms.substitute(1, 10, "Z", 5)
    y.wms.work_off()
    y.rest()
    assert (y.asked("request_invoice"), y.status, y.promised()) == ([{1: 10}], "invoiced", {})


def test_a_surplus_is_not_billed_and_not_forgotten() -> None:
    y = placed((1, "A", 10))
    y.wms.pick(1, 12)
    y.wms.ship(1)
    y.rest()
    assert (y.asked("request_invoice"), y.open()) == ([{1: 10}], {"over_shipped", "not_billable"})
    y.tell(set_qty(1, 12)).rest()
    assert (y.asked("request_invoice"), y.open(), y.status) == ([{1: 10}, {1: 2}], set(), "invoiced")


def test_a_return_does_not_unbill() -> None:
    y = placed((1, "A", 10))
    y.wms.work_off()
    y.rest()
    facts: dict[str, Any] = {"order_id": ORDER, "line": 1, "item": "A", "site": "DC1", "qty_milli": 10_000, "uom": None}
    y.tell(LineReturned(**head("back", 99), **facts)).rest()
    assert (y.status, len(y.asked("request_invoice")), y.units()["invoiced"]) == ("returned", 1, 10)


def test_a_refused_release_holds_the_order_until_a_person_sends_it_again() -> None:
    y = Yard(A=100)
    y.wms.refuse = "unknown item"
    y.tell(order((1, "A", 10))).rest()
    assert (y.decision, y.holds, y.open()) == ("held", ["wms_refused"], {"wms_refused"})
    y.wms.refuse = None
    y.release("wms_refused").rest()
    assert (y.asked("release_order"), y.wms.todo[1, "DC1"], y.open()) == ([{1: 10}, {1: 10}], 10_000, set())


def test_a_change_of_the_requested_day_leaves_what_the_warehouse_has() -> None:
    y = Yard(A=4)
    y.receive("A", 6, "DC2")
    y.tell(order((1, "A", 10))).rest()
    assert y.promised() == {"DC1": 4, "DC2": 6}
    y.receive("A", 100)
    y.tell(set_qty(1, 8)).rest()
    assert sum(y.promised().values()) == 8
    assert y.promised() == {site: qty // 1000 for (_, site), qty in y.wms.todo.items() if qty}


def test_late_stages_are_exceptions_until_they_come() -> None:
    y = placed((1, "A", 10))
    assert y.waits() == {"ship"}
    y.pass_ms(POLICY.ship_ms + 1_000).rest()
    assert y.open() == {"late_shipment_confirmation"}
    y.wms.work_off()
    y.rest()
    assert (y.open(), y.status) == (set(), "invoiced")


# --- billing ------------------------------------------------------------------------------------------------------------


def test_what_ships_together_is_billed_together() -> None:
    y = placed((1, "A", 10))
    y.wms.pick(1, 10)
    for units in (3, 3):
        y.wms.ship(1, units)
        while busy := y.busy():
            y.move(busy[0])
    assert y.asked("request_invoice") == []
    assert y.rest().asked("request_invoice") == [{1: 6}]
    y.wms.ship(1, 4)
    assert y.rest().asked("request_invoice") == [{1: 6}, {1: 4}]


def test_a_refused_invoice_is_an_exception_and_asked_for_again_by_a_person() -> None:
    y = placed((1, "A", 10))
    y.erp.refuse = "period closed"
    y.wms.work_off()
    y.rest()
    assert (y.open(), y.decision, y.status) == ({"invoice_refused"}, "accepted", "shipped")
    y.erp.refuse = None
    y.release("invoice_refused").rest()
    assert (y.asked("request_invoice"), y.open(), y.status) == ([{1: 10}, {1: 10}], set(), "invoiced")


def test_an_exhausted_obligation_leaves_the_order_as_it_is_until_it_is_settled() -> None:
    y = Yard(A=100).tell(order((1, "A", 10)))
    while busy := [name for name in y.busy() if name != "call erp"]:
        y.move(busy[0])
    (post,) = [x for x in y.obligations if x.kind == "post_order"]
    before = y.world.status()
    y.tell(
        ObligationSettled(
            **head("exhausted", 5), order_id=ORDER, endpoint="erp", obligation_id=post.obligation_id, kind="post_order",
            outcome="exhausted", status=503, answer="down", attempts=10,
        )
    )  # fmt: skip
    y.move("channel")
    assert y.world.status().status == before.status
    assert y.is_accounted_for()
    assert y.rest().status == "released"


# --- substitutes and returns -------------------------------------------------------------------------------------------


def substituted() -> Yard:
    """Two of the line's ten units go out as four of another item, which the order does not allow."""
    y = Yard(A=100, Z=100)
    y.tell(order((1, "A", 10), substitute=False)).rest()
    y.wms.substitute(1, 2, "Z", 4)
    y.wms.pick(1, 8)
    y.wms.ship(1)
    y.wms.ship(1, item="Z")
    return y.rest()


def test_a_substitute_nobody_allowed_is_not_billed_until_somebody_accepts_it() -> None:
    y = substituted()
    assert (y.status, y.decision, y.holds, y.open()) == ("shipped", "held", ["substitution"], {"substitution"})
    assert y.asked("request_invoice") == []
    (other,) = y.world.line(1).substitutes
    assert (other.item, other.qty_milli, other.serves_milli, other.is_accepted) == ("Z", 4_000, 2_000, False)
    y.release("substitution").rest()
    assert (y.status, y.holds, y.open()) == ("invoiced", [], set())
    assert y.asked("request_invoice") == [{1: 8}] or sorted(y.erp.billed) == [("A", 8), ("Z", 4)]
    assert y.units()["invoiced"] == 10


def test_a_substitute_that_comes_back_is_no_longer_in_the_way() -> None:
    y = substituted()
    y.wms.take_back(1, 4, item="Z")
    y.rest()
    assert (y.holds, y.units()["returned"]) == ([], 2)


def test_an_allowed_substitute_is_named_and_billed_as_what_it_is() -> None:
    y = Yard(A=100, Z=100)
    y.tell(order((1, "A", 10))).rest()
    y.wms.substitute(1, 10, "Z", 5)
    y.wms.ship(1, item="Z")
    y.rest()
    assert (y.status, y.holds, y.erp.billed, y.units()["invoiced"]) == ("invoiced", [], [("Z", 5)], 10)


def test_what_comes_back_is_credited_once_it_was_billed() -> None:
    y = placed((1, "A", 10))
    y.wms.work_off()
    y.rest()
    y.wms.take_back(1, 3)
    y.rest()
    assert (y.status, y.units()["returned"], y.asked("request_credit_note")) == ("invoiced", 3, [{1: 3}])
    y.wms.take_back(1, 9)
    y.rest()
    assert (y.units()["returned"], y.asked("request_credit_note"), y.erp.credited) == (10, [{1: 3}, {1: 7}], {1: 10_000})


def test_a_refused_credit_is_told_and_asked_for_again() -> None:
    y = placed((1, "A", 10))
    y.wms.work_off()
    y.rest()
    y.erp.refuse = "the period is closed"
    y.wms.take_back(1, 3)
    assert y.rest().open() == {"credit_refused"}
    y.erp.refuse = None
    assert y.release("credit_refused").rest().open() == set()
    assert y.erp.credited == {1: 3_000}


def test_a_return_counts_by_lot_where_it_names_one() -> None:
    y = placed((1, "A", 10))
    y.wms.work_off()
    y.rest()
    y.tables.lots[ORDER, 1, "A", ""] = replace(y.tables.lots[ORDER, 1, "A", ""], shipped_milli=0)
    y.tables.lots[ORDER, 1, "A", "L1"] = LineLot(4_000)
    y.tables.lots[ORDER, 1, "A", "L2"] = LineLot(6_000)
    y.wms.take_back(1, 6, lot="L1")
    assert y.rest().units()["returned"] == 4


# --- several sites -----------------------------------------------------------------------------------------------------


def test_what_one_warehouse_does_not_find_another_ships_at_once() -> None:
    """The site is not believed first, though its books say it has more; it is asked to count."""
    y = Yard(A=100)
    y.receive("A", 20, site="DC2")
    y.tell(order((1, "A", 10))).rest()
    y.wms.short(1, 10)
    y.rest()
    assert y.promised() == {"DC2": 10}
    assert [(row.site, row.qty_milli) for row in y.bodies("release_order")[-1].lines] == [("DC2", 10_000)]
    assert y.counts == [("DC1", "A")]


def test_a_warehouse_that_found_nothing_rests_as_long_as_the_settings_say() -> None:
    y = Yard(policy=OrderPolicy(erp="erp", wms="wms", notify=("portal",), short_pause_ms=60_000), A=100)
    y.tell(order((1, "A", 10))).rest()
    y.wms.short(1, 10)
    y.rest()
    assert (y.promised(), len(y.bodies("release_order"))) == ({"DC1": 10}, 1)
    y.pass_ms(61_000).rest()
    assert len(y.bodies("release_order")) == 2


def test_the_erp_is_told_which_sites_a_line_comes_from() -> None:
    y = Yard(A=6)
    y.receive("A", 5, site="DC2")
    y.tell(order((1, "A", 10), (2, "B", 1))).rest()
    split, whole = y.bodies("post_order")[0].lines
    assert [(part.site, part.qty_milli) for part in split.parts] == [("DC1", 6_000), ("DC2", 4_000)]
    assert (split.site, whole.parts) == ("DC1", ())
