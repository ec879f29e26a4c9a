"""Channel and ERP: who says what about an order, and what the promise fold is asked."""

from __future__ import annotations

from schemas.frozen import replace
from schemas.inventory import RequestAllocation
from schemas.operations import ExceptionNoted
from schemas.orders import ErpNumberReported, LinePicked, OrderPlaced, OrderStatus
from schemas.reported import written
from streams.flows.orders import orders_fold
from tables.operations.exceptions import CODES
from tables.orders import order_events
from tables.orders.lines import ERP_EXTRA
from tables.orders.status import order_status
from tests.support.orders import (
    NOON,
    ORDER,
    World,
    cancel,
    erp,
    erp_line,
    head,
    invoice,
    picked,
    placed,
    released,
    requests,
    set_qty,
    shipped,
    world,
)


def test_the_fold_has_a_rule_for_everything_on_its_inbox() -> None:
    assert orders_fold().unhandled() == []


def test_a_placed_order_is_asked_for_line_by_line_and_answered() -> None:
    w = world(placed((1, "A", 10), (2, "B", 5)), stock={"A": 100, "B": 3})
    assert requests(w.asked) == [("A", 1, 1, 10), ("B", 2, 1, 5)]
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
    assert replace(w.status(), changes=[]) == before
    assert w.noted() == ["order_conflict"]
    assert [(x.kind, x.outcome) for x in w.status().changes] == [("place", "refused")]
    assert w.changes() == {"c2": ["refused"]}, "whoever sent it can read it"


def test_an_unknown_order_has_no_status() -> None:
    assert order_status(World().tables, "web:none", 1) is None


def test_a_change_or_cancellation_waits_for_its_order() -> None:
    w = world(set_qty(1, 4), cancel(2), placed((1, "A", 10), (2, "B", 5)))
    assert w.units(1) == {"ordered": 4, "allocated": 4}
    assert w.units(2) == {"ordered": 5, "cancelled": 5}
    assert w.line(2).state == "cancelled"


def test_a_cancellation_takes_what_has_not_been_picked() -> None:
    w = world(placed((1, "A", 10)), released(1, "A", 10), picked(1, "A", 4), cancel())
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4}
    assert w.status().status == "staged"
    assert requests(w.asked)[-1] == ("A", 1, 2, 4)


def test_a_pick_that_won_the_race_lowers_the_cancellation_once() -> None:
    """The promise fold has seen the pick when it answers the cancellation; the order fold sees it later."""
    w = world(placed((1, "A", 10)))
    pick = picked(1, "A", 4)
    w.promise.execute(pick)
    w.feed(cancel())
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "allocated": 4}
    w.feed(pick)
    assert w.units(1) == {"ordered": 10, "cancelled": 6, "picked": 4}
    assert requests(w.asked) == [("A", 1, 1, 10), ("A", 1, 2, 0)]


def test_a_quantity_is_not_changed_below_what_was_picked() -> None:
    w = world(placed((1, "A", 10)), picked(1, "A", 8), set_qty(1, 6))
    assert w.units(1) == {"ordered": 8, "picked": 8}
    assert "over_shipped" not in w.noted()


def test_a_quantity_is_raised_and_an_older_change_does_not_count() -> None:
    w = world(placed((1, "A", 10)), set_qty(1, 15, position=7), set_qty(1, 3, position=5))
    assert w.units(1) == {"ordered": 15, "allocated": 15}
    assert [x.outcome for x in w.status().changes] == ["done", "refused"]


def test_a_cancelled_line_is_not_changed_any_more() -> None:
    w = world(placed((1, "A", 10)), cancel(1), set_qty(1, 15))
    assert w.units(1) == {"ordered": 10, "cancelled": 10}
    assert w.noted() == ["change_refused"]
    assert [(x.kind, x.outcome) for x in w.status().changes] == [("cancel_line", "done"), ("set_qty", "refused")]


def test_a_change_of_a_line_the_order_does_not_have_is_refused() -> None:
    w = world(placed((1, "A", 10)), set_qty(7, 1), cancel(7))
    assert [(x.kind, x.line, x.outcome, x.hint) for x in w.status().changes] == [
        ("set_qty", 7, "refused", "Send the change for one of its lines: 1"),
        ("cancel_line", 7, "refused", "Send the change for one of its lines: 1"),
    ]


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
    assert (status.external_ref, status.customer, status.status) == ("SO1", "C1", "allocated")
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
    assert requests(w.asked)[-1] == ("A", 10, 2, 0)


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
    assert requests(w.asked) == [("B-1", 10, 1, 10), ("B-1", 10, 2, 0), ("B-1-R", 10, 3, 10)]
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
    """Also if the ERP's copies come before the order itself: until then each is a demand of its own."""
    copies = [erp("SO2"), erp_line(10, "A", 5, no="SO2"), erp("SO1"), erp_line(10, "A", 5)]
    for events in ([placed((1, "A", 5)), *copies], [*copies, placed((1, "A", 5))]):
        w = world(*events)
        assert [(x.line, x.item, x.ordered_milli, x.state) for x in w.status().lines] == [(1, "A", 5_000, "allocated")]
        assert w.noted() == ["duplicate_order"]
        assert w.status().erp_order_nos == ["SO1", "SO2"]
        wanted = {(request.order_id, request.line): request.wanted_milli for request in w.asked}
        assert sum(wanted.values()) == 5_000
        w.feed(erp("SO1", status="CANCEL", rev=2))
        assert [(x.item, x.ordered_milli, x.state) for x in w.status().lines] == [("A", 5_000, "allocated")]
        assert w.cleared() == [f"duplicate_order:{ORDER}"]


def test_erp_orders_that_share_a_reference_are_demands_of_their_own() -> None:
    """Of three customers, two of them the same: what each wants is counted, and follows its own order's changes."""
    w = world(erp("SO1"), erp_line(10, "A", 40), erp("SO2", customer="C2"), erp_line(10, "A", 30, no="SO2"))
    w.feed(erp("SO3", customer="C2"), erp_line(10, "A", 20, no="SO3"), erp("SO4"), erp_line(10, "A", 10, no="SO4"))
    orders = [ORDER, f"{ORDER}@C2", "erp:SO3", "erp:SO4"]
    assert [w.status(name).lines[0].ordered_milli for name in orders] == [40_000, 30_000, 20_000, 10_000]
    assert w.status().same_reference == [f"{ORDER}@C2"]
    assert w.noted() == []
    w.feed(erp_line(10, "A", 25, no="SO3", rev=2), invoice(10, 5, no="SO2"), erp("SO4", status="CANCEL", rev=2))
    assert [w.line(10, name).ordered_milli for name in orders[1:3]] == [30_000, 25_000]
    assert w.line(10, orders[1]).invoiced_milli == 5_000
    assert w.status("erp:SO4").status == "cancelled"


def test_two_customers_may_use_one_reference() -> None:
    first, other = placed((1, "A", 10)), replace(placed((1, "A", 25), content="c2"), customer="C2")
    w = world(first, other, other, first)
    twin = f"{ORDER}@C2"
    assert [(w.status(name).customer, w.line(1, name).ordered_milli) for name in (ORDER, twin)] == [
        ("C1", 10_000),
        ("C2", 25_000),
    ]
    assert w.fates[-2:] == ["duplicate", "duplicate"]
    w.feed(erp("SO1"), erp_line(10, "A", 10), erp("SO2", customer="C2"), erp_line(10, "A", 25, no="SO2"))
    assert [w.status(name).erp_order_nos for name in (ORDER, twin)] == [["SO1"], ["SO2"]]
    w.feed(cancel())
    assert [x.outcome for x in w.status().changes] == ["refused"]
    w.feed(replace(cancel(), event_id="cancel of C2", customer="C2"))
    assert [w.status(name).status for name in (ORDER, twin)] == ["allocated", "cancelled"]
    assert w.noted() == ["change_refused"]


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
    monkeypatch.setattr(order_events, "MAX_SEEN", 10)
    w = world(placed((1, "A", 1000)))
    for n in range(1, 40):
        w.feed(picked(1, "A", 1, n=n))
    assert len(list(w.tables.seen.under(ORDER))) == w.tables.orders[(ORDER,)].seen_count <= 10
    assert w.units(1)["picked"] == 39
    w.feed(picked(1, "A", 1, n=1), picked(1, "A", 1, n=39))
    assert w.fates[-2:] == ["refused", "duplicate"]
    assert w.units(1)["picked"] == 39


def test_facts_of_one_instant_are_told_apart_by_their_feeds_numbers(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """However many there are: none is refused as too old that never came before, and none counts twice."""
    monkeypatch.setattr(order_events, "MAX_SEEN", 10)

    def pick(n: int, source: str) -> LinePicked:
        fact = picked(1, "A", 1, n=n)
        return replace(fact, event_id=f"{source}/{n}", source=source, source_position=n, occurred_at_ms=NOON)

    w = world(placed((1, "A", 1000)))
    for n in range(1, 40):
        w.feed(pick(n, "wms-1"), pick(1000 - n, "wms-2"))
    assert (set(w.fates), w.units(1)["picked"]) == ({"applied"}, 78)
    assert w.tables.orders[(ORDER,)].seen_count <= 10
    w.fates.clear()
    for n in range(1, 40):
        w.feed(pick(n, "wms-1"), pick(1000 - n, "wms-2"))
    assert w.units(1)["picked"] == 78
    assert set(w.fates) <= {"duplicate", "refused"}
    w.feed(pick(0, "wms-1"), pick(1001, "wms-2"), pick(5, "wms-3"))
    assert w.fates[-3:] == ["applied"] * 3


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


# --- the order as it now stands ----------------------------------------------------------------------------------------


def restated(*lines: tuple[int, str, int], at: int = 0, n: int = 1, customer: str = "C1") -> OrderPlaced:
    """The shop sends the order as it stands: the content's hash follows from its lines."""
    event = placed(*lines, content=str(lines))
    return replace(event, source_position=n, is_restated=True, stated_at_ms=at, customer=customer, recorded_at_ms=NOON + n)


def quantities(w: World) -> dict[int, tuple[str, int]]:
    return {x.line: (x.item, (x.ordered_milli - x.cancelled_milli) // 1000) for x in w.status().lines}


def test_a_restated_order_becomes_what_it_now_is() -> None:
    w = world(restated((1, "A", 5), (2, "B", 2)), restated((1, "A", 3), (3, "C", 4), n=2))
    assert quantities(w) == {1: ("A", 3), 2: ("B", 0), 3: ("C", 4)}
    assert [(x.kind, x.line, x.outcome) for x in w.status().changes if x.outcome != "pending"] == [
        ("cancel_line", 2, "done"),
        ("set_qty", 1, "done"),
        ("add_line", 3, "done"),
    ]
    assert w.noted() == []
    w.feed(restated((1, "A", 3), (3, "C", 4), n=3))
    assert w.fates[-1] == "duplicate"


def test_a_line_is_found_by_its_item_if_the_numbers_have_shifted() -> None:
    w = world(restated((1, "A", 5), (2, "B", 2), (3, "A", 1)), restated((1, "B", 2), (2, "A", 1), n=2))
    assert quantities(w) == {1: ("A", 1), 2: ("B", 2), 3: ("A", 0)}
    w = world(restated((1, "A", 5)), restated((1, "B", 5), n=2))
    assert quantities(w) == {1: ("A", 0), 2: ("B", 5)}


def test_what_has_been_picked_stays_and_the_shop_reads_it() -> None:
    w = world(restated((1, "A", 5), (2, "B", 2)), picked(1, "A", 4), picked(2, "B", 2), restated((1, "A", 1), n=2))
    assert quantities(w) == {1: ("A", 4), 2: ("B", 2)}
    assert {x.line: (x.kind, x.outcome) for x in w.status().changes} == {1: ("set_qty", "in_part"), 2: ("cancel_line", "refused")}
    assert all(x.hint for x in w.status().changes)
    assert set(w.noted()) == {"change_refused"}


def test_an_older_statement_changes_nothing() -> None:
    old, new = restated((1, "A", 5), at=NOON + 1), restated((1, "A", 3), at=NOON + 2, n=2)
    w = world(old, new, replace(old, source_position=3))
    assert (quantities(w), w.fates[-1]) == ({1: ("A", 3)}, "duplicate")
    w = world(new, old)
    assert (quantities(w), w.fates[-1]) == ({1: ("A", 3)}, "duplicate")
    back = replace(old, stated_at_ms=NOON + 3, source_position=4)
    assert quantities(world(old, new, back)) == {1: ("A", 5)}


def test_without_an_instant_a_statement_from_before_is_asked_about() -> None:
    old, new = restated((1, "A", 5)), restated((1, "A", 3), n=2)
    w = world(old, new, replace(old, source_position=3))
    assert (quantities(w), w.noted()) == ({1: ("A", 3)}, ["order_restated_older", "change_refused"])


def test_a_restated_order_stays_its_customers_and_stays_cancelled() -> None:
    w = world(restated((1, "A", 5)), restated((1, "A", 4), n=2, customer="C2"))
    assert (w.status().customer, quantities(w), w.status().same_reference) == ("C1", {1: ("A", 4)}, [])
    assert ("restate", "refused") in {(x.kind, x.outcome) for x in w.status().changes}
    w = world(restated((1, "A", 5)), cancel(), restated((1, "A", 4), (2, "B", 1), n=2))
    assert quantities(w) == {1: ("A", 0)}
    assert [x.outcome for x in w.status().changes] == ["done", "refused", "refused"]


# --- the ERP's number --------------------------------------------------------------------------------------------------


def test_a_warehouse_may_name_the_order_by_the_erps_number() -> None:
    """Ours is found by the ERP's line, or by our own line number; it waits while the ERP has not shown the order."""
    for line in (10, 1):
        event = picked(1, "A", 4)
        report = ErpNumberReported(
            **head("reported"),
            order_id=ORDER,
            order_no="SO1",
            type="LinePicked",
            body=written(replace(event, order_id="SO1", line=line)),
        )
        w = world(placed((1, "A", 10)), report)
        assert w.fates[-1] == "parked"
        w.feed(erp(), erp_line(10, "A", 10))
        for said in [x for x in w.out if isinstance(x, LinePicked)]:
            w.feed(said)
        assert w.units(1)["picked"] == 4


def test_an_order_that_the_erp_splits_is_demanded_once_and_its_channel_can_change_all_lines() -> None:
    w = world(placed((1, "A", 10), (2, "B", 5)), erp("SO1"), erp("SO2"))
    w.feed(erp_line(10, "A", 10, no="SO1"), erp_line(10, "B", 5, no="SO2"))
    assert (w.units(1), w.units(2)) == ({"ordered": 10, "allocated": 10}, {"ordered": 5, "allocated": 5})
    assert w.noted() == ["duplicate_order"], "the ERP's own changes of SO2's lines are not followed, so a person is told"
    w.feed(set_qty(2, 3))
    assert w.units(2) == {"ordered": 3, "allocated": 3}
    assert w.changes() == {"set 2 3 1": ["pending", "done"]}
    assert "split" in CODES["duplicate_order"].action


def test_a_part_that_the_erp_ends_of_an_order_it_split_stays_an_exception() -> None:
    """Its lines are wanted still, and nobody but a person can say whether they should be."""
    w = world(placed((1, "A", 10), (2, "B", 5)), erp("SO1"), erp("SO2"))
    w.feed(erp_line(10, "A", 10, no="SO1"), erp_line(10, "B", 5, no="SO2"), erp("SO2", status="CANCEL", rev=2))
    noted = [x.sentence for x in w.out if isinstance(x, ExceptionNoted)]
    assert len(noted) == 2 and "ended the part with B" in noted[1] and w.cleared() == []
    assert w.units(2) == {"ordered": 5, "allocated": 5}


def test_a_copy_that_the_erp_ends_is_no_exception_any_more() -> None:
    w = world(placed((1, "A", 10)), erp("SO1"), erp("SO2"))
    w.feed(erp_line(10, "A", 10, no="SO1"), erp_line(10, "A", 10, no="SO2"), erp("SO2", status="CANCEL", rev=2))
    assert (w.noted(), w.cleared()) == (["duplicate_order"], ["duplicate_order:web:W1"])
