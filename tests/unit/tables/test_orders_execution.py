"""Answers and the warehouse: picks, shorts, substitutions, shipments, returns, units, milestones."""

from __future__ import annotations

import dataclasses

import pytest

from tables.orders.milestones import HOUR_MS, STAGES
from tests.support.orders import (
    ORDER,
    FakePromise,
    World,
    cancel,
    erp,
    erp_line,
    invoice,
    picked,
    placed,
    released,
    requests,
    returned,
    set_qty,
    shipped,
    shorted,
    substituted,
    world,
)


def test_a_line_goes_through_the_warehouse() -> None:
    w = world(placed((1, "A", 10)))
    seen = [w.line(1).state]
    for event in (released(1, "A", 10), picked(1, "A", 4), picked(1, "A", 6, n=2), shipped(1, "A", 10), returned(1, "A", 10)):
        w.feed(event)
        seen.append(w.line(1).state)
    assert seen == ["allocated", "released", "picked", "staged", "shipped", "returned"]
    assert w.units(1) == {"ordered": 10, "picked": 10, "shipped": 10, "returned": 10}
    assert requests(w.asked) == [("A", 1, 1, 10)]


def test_each_fact_counts_once() -> None:
    w = world(placed((1, "A", 10)), picked(1, "A", 4), picked(1, "A", 4))
    assert w.fates[-1] == "duplicate"
    assert w.units(1)["picked"] == 4


def test_a_shipment_told_before_its_pick_implies_it() -> None:
    w = world(placed((1, "A", 10)), shipped(1, "A", 6))
    assert w.units(1) == {"ordered": 10, "allocated": 4, "picked": 6, "shipped": 6}
    w.feed(picked(1, "A", 6))
    assert w.units(1) == {"ordered": 10, "allocated": 4, "picked": 6, "shipped": 6}


def test_execution_waits_for_its_order() -> None:
    w = world(released(1, "A", 10), picked(1, "A", 10))
    assert w.fates == ["parked", "parked"]
    w.feed(placed((1, "A", 10)))
    assert w.line(1).state == "staged"


def test_a_short_pick_goes_back_to_backorder() -> None:
    w = world(placed((1, "A", 10)), released(1, "A", 10), shorted(1, "A", 4, 6), stock={"A": 10})
    assert w.units(1) == {"ordered": 10, "backordered": 6, "picked": 4, "short": 6}
    assert w.noted() == ["short_pick"]
    assert requests(w.asked) == [("A", 1, 1, 10)]
    w.feed(shipped(1, "A", 4))
    assert (w.line(1).state, w.status().status) == ("backordered", "partly_shipped")


def test_a_short_pick_of_an_order_without_backorder_is_cancelled() -> None:
    w = world(placed((1, "A", 10), backorder=False), shorted(1, "A", 4, 6))
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4, "short": 6}
    assert requests(w.asked)[-1] == ("A", 1, 2, 4)
    w.feed(shipped(1, "A", 4))
    assert w.line(1).state == "shipped"


def test_a_line_nothing_of_which_was_found_is_closed_short() -> None:
    w = world(placed((1, "A", 10), backorder=False), shorted(1, "A", 0, 10))
    assert w.line(1).state == "short"
    assert w.status().status == "cancelled"


def test_a_refused_line_says_why() -> None:
    w = world(placed((1, "A", 10), (2, "B", 1), backorder=False), stock={"A": 0})
    assert (w.line(1).state, w.line(1).reason) == ("refused", "not available")
    assert w.noted() == ["line_refused"]
    assert w.status().status == "allocated"
    assert len(w.asked) == 2


def test_what_is_not_to_be_had_of_a_line_without_backorder_is_cancelled_and_not_asked_for_again() -> None:
    w = world(placed((1, "A", 10), backorder=False), stock={"A": 6})
    assert w.units(1) == {"ordered": 10, "cancelled": 4, "allocated": 6}
    assert w.line(1).reason == "not available"
    w.feed(picked(1, "A", 6), shipped(1, "A", 6))
    assert w.line(1).state == "shipped"
    assert len(w.asked) == 1


def test_what_is_picked_of_a_refused_line_goes_on() -> None:
    w = world(placed((1, "A", 10), backorder=False), shipped(1, "A", 4), stock={"A": 0})
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4, "shipped": 4}
    assert (w.line(1).state, w.line(1).reason) == ("shipped", "not available")
    assert w.cleared() == [f"line_refused:{ORDER}:1"]


def test_a_refused_line_the_erp_accepts_is_asked_for_again() -> None:
    w = world(placed((1, "A", 10), backorder=False), erp(), erp_line(10, "A", 10), stock={"A": 0})
    assert w.units(1) == {"ordered": 10, "backordered": 10}
    assert w.cleared() == [f"line_refused:{ORDER}:1"]


def test_what_was_declined_of_a_line_the_erp_accepts_is_asked_for_again() -> None:
    w = world(placed((1, "A", 10), backorder=False), erp(), erp_line(10, "A", 10), stock={"A": 6})
    assert w.units(1) == {"ordered": 10, "allocated": 6, "backordered": 4}


def test_a_substitution_serves_the_line_by_its_ratio() -> None:
    w = world(placed((1, "A", 10)), substituted(1, "A", 10, "B", 5))
    assert w.line(1).state == "substituted"
    w.feed(shipped(1, "B", 5))
    assert w.units(1) == {"ordered": 10, "picked": 10, "shipped": 10, "substituted": 10}
    w.feed(returned(1, "B", 5))
    assert w.line(1).state == "returned"


def test_a_substitutes_shipment_may_come_first() -> None:
    w = world(placed((1, "A", 10)), shipped(1, "B", 5), substituted(1, "A", 10, "B", 5))
    assert w.units(1) == {"ordered": 10, "picked": 10, "shipped": 10, "substituted": 10}


def test_more_shipped_than_ordered_is_an_exception() -> None:
    w = world(placed((1, "A", 10)), picked(1, "A", 12), shipped(1, "A", 12))
    assert w.noted() == ["over_shipped"]
    w.feed(set_qty(1, 12))
    assert w.cleared() == [f"over_shipped:{ORDER}:1"]


# --- units --------------------------------------------------------------------------------------------------------------


def test_a_line_stands_as_it_was_sent_until_the_base_unit_is_known() -> None:
    w = World()
    w.apply(placed((1, "A", 2, "CS")))
    assert (w.line(1).uom, w.line(1).ordered_milli) == ("CS", 2_000)
    w.apply(picked(1, "A", 12, uom="EA"))
    assert w.fates[-1] == "parked"
    w.feed(*[a for x in w.asked for a in FakePromise().ask(x)])
    assert w.line(1).uom == "EA"
    assert w.units(1) == {"ordered": 24, "allocated": 12, "picked": 12}
    assert len(w.asked) == 1


def test_the_warehouse_may_count_in_packs() -> None:
    w = world(placed((1, "A", 2, "CS")), picked(1, "A", 2, uom="CS"), shipped(1, "A", 24, uom="EA"))
    assert w.units(1) == {"ordered": 24, "picked": 24, "shipped": 24}
    w.feed(picked(1, "A", 1, n=2, uom="PAL"))
    assert w.fates[-1] == "refused"


def test_the_erp_in_base_units_confirms_a_line_in_packs() -> None:
    w = world(placed((1, "A", 2, "CS")), erp(), erp_line(10, "A", 24))
    assert w.units(1) == {"ordered": 24, "allocated": 24}
    assert [(x.uom, x.wanted_milli) for x in w.asked] == [("CS", 2_000), (None, 24_000)]
    v = World()
    for event in (placed((1, "A", 2, "CS")), erp(), erp_line(10, "A", 24)):
        v.apply(event)
    for request in list(v.asked):
        v.feed(*v.promise.ask(request))
    assert v.status() == w.status()


def test_a_change_comes_in_any_known_unit() -> None:
    w = world(placed((1, "A", 2, "CS")), set_qty(1, 30, position=1, uom="EA"), set_qty(1, 4, position=2, uom="CS"))
    assert w.units(1) == {"ordered": 48, "allocated": 48}
    w.feed(set_qty(1, 1, position=3, uom="PAL"))
    assert [(x.outcome, x.hint) for x in w.status().changes][-1] == ("refused", "Send the quantity in EA or CS")


def test_a_cancellation_before_the_answer() -> None:
    w = World()
    w.apply(placed((1, "A", 2, "CS")))
    w.apply(cancel())
    for request in list(w.asked):
        w.feed(*w.promise.ask(request))
    assert w.units(1) == {"ordered": 24, "cancelled": 24}


# --- milestones ---------------------------------------------------------------------------------------------------------


def test_each_milestone_is_reached_once_with_the_time_since_the_one_before() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), released(1, "A", 10), picked(1, "A", 10), shipped(1, "A", 10))
    w.feed(invoice(10, 10), shipped(1, "A", 1, n=2))
    reached = w.milestones()
    assert [x.milestone for x in reached] == [stage.name for stage in STAGES]
    assert [x.since_previous_ms for x in reached] == [None, 0, 10, 41, 0]
    assert not any(x.is_late for x in reached)
    assert all(x.sla_ms == stage.sla_ms for x, stage in zip(reached, STAGES, strict=True))


def test_a_late_milestone_is_an_exception() -> None:
    w = world(placed((1, "A", 10)), released(1, "A", 10), shipped(1, "A", 10, at=30 * HOUR_MS))
    assert [x.milestone for x in w.milestones() if x.is_late] == ["shipment_posted"]
    assert w.noted() == ["late_milestone"]


def test_allocation_is_confirmed_when_every_open_line_is_allocated() -> None:
    w = world(placed((1, "A", 10), (2, "B", 5)), stock={"B": 0})
    assert [x.milestone for x in w.milestones()] == ["order_accepted"]
    w.feed(cancel(2))
    assert [x.milestone for x in w.milestones()] == ["order_accepted", "allocation_confirmed"]


# --- replay -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [1, 2])
def test_replaying_everything_changes_nothing(again: int) -> None:
    history = [
        placed((1, "A", 10), (2, "B", 5, "CS")), erp(), erp_line(10, "A", 10), erp_line(20, "B", 60), set_qty(2, 4, uom="CS"),
        released(1, "A", 10), shorted(1, "A", 4, 6), shipped(1, "A", 4), invoice(10, 4), cancel(2, at=90), returned(1, "A", 1),
    ]  # fmt: skip
    w = world(*history, stock={"A": 10})
    tables = {f.name: dict(getattr(w.tables, f.name)) for f in dataclasses.fields(w.tables)}
    said = len(w.out)
    for event in history * again:
        w.apply(event)
    assert {f.name: dict(getattr(w.tables, f.name)) for f in dataclasses.fields(w.tables)} == tables
    assert len(w.out) == said
    assert set(w.fates[-len(history) :]) == {"duplicate"}


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    w = World()
    w.apply(placed((1, "A", 10)))
    (first,) = w.promise.ask(w.asked[0])
    w.apply(set_qty(1, 4))
    (second,) = w.promise.ask(w.asked[1])
    w.apply(second)
    before = w.status()
    w.apply(first)
    w.apply(second)
    assert w.fates[-2:] == ["duplicate", "duplicate"]
    assert w.status() == before
    assert w.units(1) == {"ordered": 4, "allocated": 4}
