"""Channel and ERP: who says what about an order, and what the promise fold is asked."""

from __future__ import annotations

from schemas.inventory import RequestAllocation
from schemas.orders import OrderStatus
from streams.orders import orders_fold
from tables import order_rules
from tables.order_lines import ERP_EXTRA
from tables.order_status import order_status
from tests.order_kit import (
    ORDER,
    World,
    cancel,
    erp,
    erp_line,
    invoice,
    picked,
    placed,
    released,
    set_qty,
    shipped,
    wishes,
    world,
)


def test_the_fold_has_a_rule_for_everything_on_its_inbox() -> None:
    assert orders_fold().unhandled() == []


def test_a_placed_order_is_asked_for_line_by_line_and_answered() -> None:
    w = world(placed((1, "A", 10), (2, "B", 5)), stock={"A": 100, "B": 3})
    assert wishes(w.asked) == [("A", 1, 1, 10), ("B", 2, 1, 5)]
    assert w.status().status == "partly_allocated"
    assert w.units(1) == {"ordered": 10, "allocated": 10}
    assert w.units(2) == {"ordered": 5, "allocated": 3, "backordered": 2}
    assert w.line(2).promised_on is not None
    assert w.line(1).promised_on is None


def test_a_plain_resend_is_a_duplicate() -> None:
    w = world(placed((1, "A", 10)), placed((1, "A", 10)))
    assert "duplicate" in w.fates
    assert len(w.asked) == 1


def test_a_contradicting_resend_is_noted_and_changes_nothing() -> None:
    w = world(placed((1, "A", 10)))
    before = w.status()
    w.feed(placed((1, "A", 99), content="c2"))
    assert w.status() == before
    assert w.noted() == ["order_conflict"]


def test_an_unknown_order_has_no_status() -> None:
    assert order_status(World().tables, "web:none", 1) is None


def test_a_change_or_cancellation_waits_for_its_order() -> None:
    w = world(set_qty(1, 4), cancel(2), placed((1, "A", 10), (2, "B", 5)))
    assert w.fates[:2] == ["parked", "parked"]
    assert w.units(1) == {"ordered": 4, "allocated": 4}
    assert w.units(2) == {"ordered": 5, "cancelled": 5}
    assert w.line(2).state == "cancelled"


def test_a_cancellation_takes_what_has_not_been_picked() -> None:
    w = world(placed((1, "A", 10)), released(1, "A", 10), picked(1, "A", 4), cancel())
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4}
    assert w.status().status == "staged"
    assert wishes(w.asked)[-1] == ("A", 1, 2, 4)


def test_a_pick_that_won_the_race_lowers_the_cancellation_once() -> None:
    """The promise fold has seen the pick when it answers the cancellation; the order fold sees it later."""
    w = world(placed((1, "A", 10)))
    pick = picked(1, "A", 4)
    w.promise.execute(pick)
    w.feed(cancel())
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "allocated": 4}
    w.feed(pick)
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4}
    assert wishes(w.asked) == [("A", 1, 1, 10), ("A", 1, 2, 0)]


def test_a_quantity_is_not_changed_below_what_was_picked() -> None:
    w = world(placed((1, "A", 10)), picked(1, "A", 8), set_qty(1, 6))
    assert w.units(1) == {"ordered": 8, "picked": 8}
    assert "over_shipped" not in w.noted()


def test_a_quantity_is_raised_and_an_older_change_does_not_count() -> None:
    w = world(placed((1, "A", 10)), set_qty(1, 15, position=7), set_qty(1, 3, position=5))
    assert w.units(1) == {"ordered": 15, "allocated": 15}
    assert w.fates[-1] == "duplicate"


def test_a_cancelled_line_is_not_changed_any_more() -> None:
    w = world(placed((1, "A", 10)), cancel(1), set_qty(1, 15))
    assert w.units(1) == {"ordered": 10, "cancelled": 10}
    assert w.noted() == ["change_after_cancel"]


def test_a_change_of_a_line_the_order_does_not_have_is_refused() -> None:
    w = world(placed((1, "A", 10)), set_qty(7, 1), cancel(7))
    assert w.fates[-2:] == ["refused", "refused"]


# --- the ERP ------------------------------------------------------------------------------------------------------------


def test_the_erp_confirms_a_channels_order_and_demand_counts_once() -> None:
    w = world(
        placed((1, "A", 10), (2, "A", 4), (3, "B", 5)), erp(), erp_line(10, "A", 10), erp_line(20, "B", 5), erp_line(30, "A", 4)
    )
    assert [x.line for x in w.status().lines] == [1, 2, 3]
    assert sum(x.ordered_milli for x in w.status().lines) == 19_000
    assert all(x.is_firm for x in w.asked[3:])
    assert w.status().erp_order_nos == ["SO1"]


def test_lines_are_matched_whichever_comes_first() -> None:
    channel, header, lines = placed((1, "A", 10), (10, "B", 5)), erp(), [erp_line(10, "A", 10), erp_line(20, "B", 5)]
    first = world(channel, header, *lines).status()
    assert world(header, *lines, channel).status() == first
    assert world(lines[1], header, channel, lines[0]).status() == first
    assert world(*lines, channel, header).status() == first


def test_the_erp_alone_is_an_order_too() -> None:
    w = world(erp(order="erp:SO1"), erp_line(10, "A", 10, order="erp:SO1"), erp_line(20, "B", 1, order="erp:SO1"))
    status = w.status("erp:SO1")
    assert (status.external_ref, status.customer, status.status) == ("SO1", "C9", "allocated")
    assert [x.line for x in status.lines] == [10, 20]


def test_an_erp_line_the_channel_did_not_send_gets_a_number_of_its_own() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(1, "X", 3), erp_line(2, "A", 10), erp_line(3, "Y", 1))
    assert [(x.line, x.item) for x in w.status().lines] == [(1, "A"), (3, "Y"), (ERP_EXTRA + 1, "X")]


def test_a_change_in_the_erp_is_followed() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), erp_line(10, "A", 7, rev=2, at=100))
    assert w.units(1) == {"ordered": 7, "allocated": 7}


def test_the_erps_confirmation_does_not_undo_the_channels_change_before_the_erp_follows() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), set_qty(1, 6, position=50))
    assert w.units(1) == {"ordered": 6, "allocated": 6}
    w.feed(erp_line(10, "A", 10, rev=2, status="A", at=99))
    assert w.units(1)["ordered"] == 6
    w.feed(erp_line(10, "A", 5, rev=3, at=100))
    assert w.units(1)["ordered"] == 5


def test_a_line_cancelled_in_the_erp_is_cancelled_and_comes_back_if_it_does_there() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), erp_line(10, "A", 10, rev=2, status="X"))
    assert (w.line(1).state, w.line(1).reason) == ("cancelled", "cancelled in the ERP")
    w.feed(erp_line(10, "A", 10, rev=3))
    assert w.units(1) == {"ordered": 10, "allocated": 10}


def test_an_order_cancelled_in_the_erp_is_cancelled() -> None:
    w = world(erp(), erp_line(10, "A", 10), erp(status="CANCEL", rev=2))
    assert w.status().status == "cancelled"
    assert wishes(w.asked)[-1] == ("A", 10, 2, 0)


def test_an_order_on_hold_is_held_and_still_demand() -> None:
    w = world(erp(status="HOLD"), erp_line(10, "A", 10))
    assert w.status().status == "held"
    assert w.units(10) == {"ordered": 10, "allocated": 10}


def test_a_deleted_erp_line_is_cancelled_and_a_deleted_order_leaves_the_channels() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), erp_line(20, "B", 3), erp_line(20, "B", 3, rev=2, deleted=True))
    assert w.line(20).state == "cancelled"
    w.feed(erp(rev=2, deleted=True))
    assert [(x.line, x.ordered_milli) for x in w.status().lines] == [(1, 10_000)]
    assert w.status().status == "allocated"
    assert w.status().erp_order_nos == []


def test_a_changed_item_is_withdrawn_at_the_old_one_and_asked_at_the_new_one() -> None:
    w = world(erp(), erp_line(10, "B-1", 10), erp_line(10, "B-1-R", 10, rev=2))
    assert wishes(w.asked) == [("B-1", 10, 1, 10), ("B-1", 10, 2, 0), ("B-1-R", 10, 3, 10)]
    assert w.units(10) == {"ordered": 10, "allocated": 10}


def test_what_shipped_under_the_old_item_number_is_not_asked_for_again() -> None:
    w = world(erp(), erp_line(10, "B-1", 10), picked(10, "B-1", 4), shipped(10, "B-1", 4), erp_line(10, "B-1-R", 10, rev=2))
    assert w.asked[-1].shipped_milli == 4_000
    assert w.units(10) == {"ordered": 10, "allocated": 6, "picked": 4, "shipped": 4}


def test_an_older_revision_changes_nothing() -> None:
    w = world(erp(rev=5), erp_line(10, "A", 10, rev=5))
    before = w.status()
    w.feed(erp(rev=4, status="CANCEL"), erp_line(10, "A", 3, rev=5))
    assert w.status() == before
    assert w.fates[-2:] == ["duplicate", "duplicate"]


def test_an_edi_resend_taken_twice_counts_once_the_lowest_number_first() -> None:
    w = world(erp("SO2"), erp_line(10, "B", 5, no="SO2"))
    w.feed(erp("SO1"), erp_line(10, "A", 10))
    assert [(x.item, x.ordered_milli, x.state) for x in w.status().lines] == [("A", 10_000, "allocated")]
    assert w.noted() == ["duplicate_order"]
    assert w.status().erp_order_nos == ["SO1", "SO2"]
    w.feed(erp("SO1", status="CANCEL", rev=2))
    assert [(x.item, x.ordered_milli, x.state) for x in w.status().lines] == [("B", 5_000, "allocated")]
    assert w.cleared() == [f"duplicate_order:{ORDER}"]


def test_shipments_only_the_erp_reports_count() -> None:
    """A site without a WMS: the larger of both counts stands."""
    w = world(erp(), erp_line(10, "A", 10), erp_line(10, "A", 10, rev=2, status="P", shipped=4))
    assert w.units(10) == {"ordered": 10, "allocated": 6, "picked": 4, "shipped": 4}
    assert w.asked[-1].shipped_milli == 4_000
    assert w.status().status == "partly_shipped"


# --- invoices -----------------------------------------------------------------------------------------------------------


def test_more_invoiced_than_shipped_is_an_exception_until_it_ships() -> None:
    w = world(placed((1, "A", 10)), erp(), erp_line(10, "A", 10), invoice(10, 10))
    assert w.noted() == ["invoice_before_shipment"]
    w.feed(picked(1, "A", 10), shipped(1, "A", 10))
    assert w.cleared() == [f"invoice_before_shipment:{ORDER}:1"]
    assert w.status().status == "invoiced"


def test_an_invoice_waits_for_its_line_and_a_voided_one_bills_nothing() -> None:
    w = world(invoice(10, 10), erp(), erp_line(10, "A", 10))
    assert w.units(10)["invoiced"] == 10
    w.feed(invoice(10, 10, rev=2, void=True))
    assert w.units(10) == {"ordered": 10, "allocated": 10}


# --- bounds and derivation ----------------------------------------------------------------------------------------------


def test_remembered_facts_are_bounded_and_too_old_ones_are_refused(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(order_rules, "MAX_SEEN", 10)
    w = world(placed((1, "A", 1000)))
    for n in range(1, 40):
        w.feed(picked(1, "A", 1, n=n))
    assert len(list(w.tables.seen.under(ORDER))) == w.tables.orders[(ORDER,)].seen_count <= 10
    assert w.units(1)["picked"] == 39
    w.feed(picked(1, "A", 1, n=1), picked(1, "A", 1, n=39))
    assert w.fates[-2:] == ["refused", "duplicate"]
    assert w.units(1)["picked"] == 39


def test_a_status_says_how_much_of_each() -> None:
    w = world(placed((1, "A", 10)), picked(1, "A", 4), shipped(1, "A", 4), stock={"A": 6})
    status = w.status()
    assert isinstance(status, OrderStatus)
    assert status.status == "partly_shipped"
    assert w.units(1) == {"ordered": 10, "allocated": 2, "backordered": 4, "picked": 4, "shipped": 4}
    assert w.line(1).state == "allocated"


def test_an_order_of_500_lines() -> None:
    w = world(placed(*[(n, f"I{n % 40}", 2) for n in range(1, 501)]))
    assert len(w.status().lines) == 500
    assert w.status().status == "allocated"
    assert all(isinstance(x, RequestAllocation) for x in w.asked)
    assert len({x.event_id for x in w.asked}) == 500
    w.feed(erp(), *[erp_line(10 * n, f"I{n % 40}", 2) for n in range(1, 501)])
    assert len(w.status().lines) == 500
    assert all(x.erp_line_no is not None for _, x in w.tables.lines.under(ORDER))
