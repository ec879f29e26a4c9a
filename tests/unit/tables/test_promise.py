"""The promise: what happens to an item, and what can be promised after it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from schemas.inventory import DemandSubstituted, LedgerEntry, ReviewBackorders, Status, StockStatusChanged
from schemas.orders import LineAnswered
from schemas.quantity import show
from tables.common.policy import ChannelPolicy, Policy, SitePolicy
from tests.support.promises import Bench, shown


@pytest.fixture
def bench() -> Bench:
    """A bench with one item."""
    b = Bench()
    b.item()
    return b


def answered(answer: LineAnswered | str) -> LineAnswered:
    assert isinstance(answer, LineAnswered), answer
    return answer


# --- stock ---


def test_snapshot_and_late_movements(bench: Bench) -> None:
    """IBM Sterling's sequence: a count as of an instant keeps later movements and swallows earlier ones."""
    bench.count("102", at=-60)
    bench.adjust("-1", at=4)
    assert bench.on_hand() == "101"
    bench.count("100", at=3)
    assert bench.on_hand() == "99"
    bench.adjust("-2", at=2)
    assert bench.on_hand() == "99"


def test_a_fact_told_twice_changes_nothing(bench: Bench) -> None:
    """The same movement again is recognised, also after a count."""
    assert bench.receive("24", event_id="W-1", at=1) == "applied"
    assert bench.receive("24", event_id="W-1", at=1) == "AlreadyApplied"
    bench.count("20", at=2)
    assert bench.receive("24", event_id="W-1", at=1) == "AlreadyApplied"
    assert bench.on_hand() == "20"
    assert bench.count("7", at=1) == "AlreadyApplied", "an older count than the last"


def test_old_movements_are_forgotten_but_never_guessed() -> None:
    """What is from where its feed was forgotten is refused: it might be a repetition. What the feed numbers above is new."""
    b = Bench(Policy(remembered_movements=4))
    b.item()
    for minute in range(9):
        b.receive("1", at=minute)
    assert b.on_hand() == "9"
    b.number = 2
    assert b.receive("1", at=2) == "Refused"
    assert b.count("5", at=1) == "Refused"
    b.number = 20
    assert b.receive("1", at=7, event_id="new") == "applied"
    assert b.receive("1", at=2) == "applied", "late, but never heard before"
    assert b.on_hand() == "11"


@pytest.mark.parametrize("positions", [range(1, 61), range(60, 0, -1)])
def test_movements_of_one_instant_are_all_taken(positions: range) -> None:
    """A feed that stamps a whole batch with one instant is told apart by its own numbers, however many there are."""
    b = Bench(Policy(remembered_movements=4))
    b.item()
    for position in positions:
        b.number = position - 1
        assert b.receive("1", at=0, event_id=f"W-{position}") == "applied"
    for position in positions:
        b.number = position - 1
        assert b.receive("1", at=0, event_id=f"W-{position}") in ("AlreadyApplied", "Refused")
    assert b.on_hand() == "60"
    b.number = 100
    b.count("7", at=0)
    assert b.on_hand() == "7"


def test_units_are_converted_exactly(bench: Bench) -> None:
    """A box holds twelve; half a piece does not exist; a unit the item does not have is waited for."""
    assert bench.receive("2", uom="BX") == "applied"
    assert bench.on_hand() == "24"
    assert bench.receive("0.5") == "Refused"
    assert bench.receive("1", uom="PAL") == "NotYet"
    assert bench.receive("0.25", uom="BX") == "applied"
    assert bench.on_hand() == "27"


def test_an_unknown_item_waits() -> None:
    """Stock of an item the ERP has not sent is parked, not lost and not guessed."""
    b = Bench()
    assert b.receive("5") == "NotYet"
    b.item()
    assert b.receive("5") == "applied"


def test_only_usable_stock_is_promised(bench: Bench) -> None:
    """Held, quality and damaged units are on hand and not available; a status change moves them."""
    bench.receive("10")
    bench.receive("5", status=Status.QUALITY)
    assert bench.available() == "10"
    assert show(bench.site().quality_milli) == "5"


def test_a_negative_balance_is_kept_and_named(bench: Bench) -> None:
    """A source may say less than nothing: the answer is 0, the exception names the event, and goes when stock comes."""
    bench.adjust("-3", event_id="W-9")
    assert (bench.on_hand(), bench.available()) == ("-3", "0")
    assert bench.open_exceptions() == {"negative:SKU-1:DC1:usable:"}
    bench.receive("10")
    assert bench.open_exceptions() == set()
    assert bench.available() == "7"


def test_every_change_has_its_ledger_line(bench: Bench) -> None:
    """The ledger's differences add up to each present number."""
    bench.receive("50", document="PO-1", document_line=1)
    bench.order("20", "web:1")
    bench.reserve("5")
    bench.pick("12", "web:1")
    bench.short("3", "2", "web:1")
    bench.ship("10", "web:1")
    sums: dict[str, int] = {}
    for entry in (e for e in bench.said if isinstance(e, LedgerEntry)):
        for change in entry.changes:
            sums[change.measure] = sums.get(change.measure, 0) + change.after_milli - change.before_milli
    site = bench.site()
    assert sums["on_hand.usable"] == site.usable_milli
    assert sums["on_hand.staged"] == site.staged_milli
    assert sums["demand"] == site.demand_milli
    assert sums["reserved"] == site.reserved_milli


# --- whose word counts ---


def test_the_erp_owns_a_site_without_wms() -> None:
    """There its balance is the stock, and a warehouse's word is an exception; elsewhere its balance is only compared."""
    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    b.item()
    assert b.receive("5", site="EU1") == "applied"
    assert b.open_exceptions() == {"authority:wms:stock:EU1:SKU-1"}
    assert b.atp().sites == []


def test_a_shipment_of_the_erp_before_its_balance() -> None:
    """Where the ERP owns the stock, shipped units stay wanted until its balance tells of them too: never promised again."""
    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    b.item()
    b.erp_balance("10", commit=100)
    answered(b.order("8", "erp:SO1", is_firm=True, site="EU1"))
    answered(b.order("8", "erp:SO1", revision=2, is_firm=True, site="EU1", shipped_milli=8_000, commit_position=200))
    assert b.available() == "2", "8 have shipped, the balance does not know yet"
    b.erp_balance("2", commit=200)
    assert (b.available(), b.on_hand("EU1")) == ("2", "2")


def test_a_shipment_of_the_erp_before_the_warehouse_tells() -> None:
    """Where the WMS owns the stock, the ERP's word alone frees nothing: the pick, a shipment or a count does, each unit once."""
    for tell in ("pick", "ship", "count"):
        b = Bench()
        b.item()
        b.receive("10")
        answered(b.order("8", "erp:SO1", is_firm=True, site="DC1"))
        b.minute += 1
        answered(b.order("8", "erp:SO1", revision=2, is_firm=True, site="DC1", shipped_milli=8_000, commit_position=200))
        assert b.available() == "2", "the units are still in the warehouse, as far as it has told"
        if tell == "count":
            b.minute += 1
            b.count("2")
        else:
            for qty in ("3", "5"):
                (b.pick if tell == "pick" else b.ship)(qty, "erp:SO1")
                assert b.available() == "2"
        assert (b.available(), b.on_hand()) == ("2", "2")
        assert list(b.t.unposted.under("SKU-1")) == []
        b.pass_minutes(90)
        assert b.open_exceptions() == set()


def test_a_shipment_of_the_erp_is_taken_back_or_long_ago(bench: Bench) -> None:
    """A correction gives the units back to the line; what shipped long before it is heard is not waited for."""
    bench.receive("10")
    answered(bench.order("8", "erp:SO1", is_firm=True, site="DC1"))
    answered(bench.order("8", "erp:SO1", revision=2, is_firm=True, site="DC1", shipped_milli=8_000, commit_position=200))
    answered(bench.order("8", "erp:SO1", revision=3, is_firm=True, site="DC1", shipped_milli=5_000, commit_position=300))
    assert bench.available() == "2"
    assert [show(row.qty_milli) for _, row in bench.t.unposted.under("SKU-1")] == ["5"]
    bench.minute += 120
    head = bench.head
    bench.head = lambda at=None, event_id=None, source="wms": head(0, event_id, source)  # type: ignore[method-assign]
    answered(bench.order("2", "erp:SO2", is_firm=True, site="DC1"))
    answered(bench.order("2", "erp:SO2", revision=2, is_firm=True, site="DC1", shipped_milli=2_000, commit_position=400))
    assert {key[1] for key, _ in bench.t.unposted.under("SKU-1")} == {"erp:SO1"}


def test_a_shipment_the_balance_never_tells_of() -> None:
    """After an hour the balance is believed, and a person told."""
    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    b.item()
    b.erp_balance("10", commit=100)
    answered(b.order("8", "erp:SO1", is_firm=True, site="EU1"))
    answered(b.order("8", "erp:SO1", revision=2, is_firm=True, site="EU1", shipped_milli=8_000, commit_position=200))
    b.pass_minutes(61)
    assert b.available() == "10"
    assert b.open_exceptions() == {"posting:SKU-1:EU1"}


# --- orders ---


def test_reservation_cycle(bench: Bench) -> None:
    """PrestaShop #24735: an order takes from available, a shipment from physical, each unit once."""
    bench.receive("300")
    assert bench.available() == "300"
    answered(bench.order("1"))
    assert (bench.available(), bench.on_hand(), show(bench.site().demand_milli)) == ("299", "300", "1")
    bench.ship("1", "web:1")
    assert (bench.available(), bench.on_hand(), show(bench.site().demand_milli)) == ("299", "299", "0")


def test_available_is_unchanged_by_a_pick_or_a_ship(bench: Bench) -> None:
    """Picking moves stock and demand together; so does shipping; in either order of arrival."""
    bench.receive("100")
    answered(bench.order("30"))
    for what, qty in ((bench.pick, "10"), (bench.ship, "10"), (bench.pick, "20")):
        assert what(qty, "web:1") == "applied"
        assert bench.available() == "70"
    site = bench.site()
    assert (show(site.usable_milli), show(site.staged_milli), show(site.demand_milli)) == ("70", "20", "0")


def test_a_shipment_told_before_its_pick(bench: Bench) -> None:
    """The pick is implied, and set right when it is told, also around a count between the two."""
    bench.receive("100", at=0)
    answered(bench.order("10"))
    bench.ship("10", "web:1", at=30)
    assert (bench.on_hand(), bench.available()) == ("90", "90")
    bench.count("90", at=20)
    assert bench.on_hand() == "80", "as far as is known, the units left after the count"
    bench.pick("10", "web:1", at=10)
    assert bench.on_hand() == "90", "they were picked before it"
    assert show(bench.site().staged_milli) == "0"


def test_a_line_is_sourced_from_one_site_if_possible() -> None:
    """fewest_parcels: one site with enough, else the largest first; the rest is backordered."""
    b = Bench()
    b.item()
    b.receive("10", site="DC1")
    b.receive("25", site="DC2")
    assert shown(answered(b.order("20", "web:1")).allocated) == [("DC2", "20")]
    assert shown(answered(b.order("12", "web:2")).allocated) == [("DC1", "10"), ("DC2", "2")]
    last = answered(b.order("9", "web:3"))
    assert (shown(last.allocated), show(last.backordered_milli), last.promised_on) == ([("DC2", "3")], "6", None)
    assert b.available() == "0"


def test_backorder_is_promised_on_supply_and_filled_by_receipt(bench: Bench) -> None:
    """A backorder gets the first day that covers it, follows the supply's date, and the first stock that comes."""
    bench.supply("50", "2026-11-09")
    first = answered(bench.order("20"))
    assert (show(first.backordered_milli), str(first.promised_on)) == ("20", "2026-11-09")
    bench.supply("50", "2026-11-12", revision=2)
    moved = bench.last(LineAnswered, order_id="web:1")
    assert (str(moved.promised_on), moved.answer) == ("2026-11-12", 2)
    bench.receive("50", document="PO-1", document_line=1)
    filled = bench.last(LineAnswered, order_id="web:1")
    assert (shown(filled.allocated), show(filled.backordered_milli)) == ([("DC1", "20")], "0")
    assert bench.available() == "30"
    assert show(bench.site().days[0].demand_milli) == "20" and bench.site().days[0].supply_milli == 0


def test_urgent_backorders_first(bench: Bench) -> None:
    """Stock that comes goes by priority, then by who came first."""
    for n, priority in (("1", 5), ("2", 1), ("3", 5)):
        answered(bench.order("10", f"web:{n}", priority=priority))
    bench.receive("15")
    assert shown(bench.last(LineAnswered, order_id="web:2").allocated) == [("DC1", "10")]
    assert shown(bench.last(LineAnswered, order_id="web:1").allocated) == [("DC1", "5")]
    assert bench.last(LineAnswered, order_id="web:3").allocated == []


def test_many_backorders_are_reviewed_in_bounded_steps(bench: Bench) -> None:
    """More than one event may look at goes on in events of its own, until the stock is given out."""
    for n in range(450):
        answered(bench.order("1", f"web:{n}"))
    bench.receive("430")
    assert bench.available() == "0"
    assert show(bench.site().demand_milli) == "430"
    assert any(isinstance(e, ReviewBackorders) for e in bench.said)


def test_nobody_waits_behind_those_who_wait_for_another_site(bench: Bench) -> None:
    """However many wait before a line for what is not there, it gets what is there for it."""
    for n in range(450):
        answered(bench.order("1", f"erp:{n}", site="DC2"))
    answered(bench.order("5", "web:1"))
    bench.receive("3")
    assert shown(bench.last(LineAnswered, order_id="web:1").allocated) == [("DC1", "3")]


def test_a_pick_elsewhere_frees_what_was_allocated() -> None:
    """Units picked at another site than the line was allocated at serve it: what it had goes to who waits, by that event."""
    for told in ("pick", "ship"):
        b = Bench()
        b.item()
        b.receive("5", site="DC1")
        answered(b.order("5", "web:1"))
        assert show(answered(b.order("7", "web:2")).backordered_milli) == "7"
        getattr(b, told)("4", "web:1", site="DC2")
        assert shown(b.last(LineAnswered, order_id="web:2").allocated) == [("DC1", "4")]
        assert show(b.site("DC1").demand_milli) == "5"


def test_a_pick_makes_room_under_a_cap() -> None:
    """What a capped channel has picked it no longer holds: its next order need not wait."""
    b = Bench(Policy(channels={"web": ChannelPolicy(cap_milli=10_000)}))
    b.item()
    b.receive("100")
    answered(b.order("8", "web:1"))
    assert show(answered(b.order("8", "web:2")).backordered_milli) == "6"
    b.pick("5", "web:1")
    assert shown(b.last(LineAnswered, order_id="web:2").allocated) == [("DC1", "7")]


def test_supply_withdrawn_moves_promises_the_urgent_keep_theirs(bench: Bench) -> None:
    """When expected supply shrinks, the less urgent lose their date."""
    bench.supply("20", "2026-11-09")
    answered(bench.order("10", "web:1", priority=1))
    answered(bench.order("10", "web:2", priority=5))
    bench.supply("10", "2026-11-09", revision=2)
    assert str(bench.last(LineAnswered, order_id="web:1").promised_on) == "2026-11-09"
    assert bench.last(LineAnswered, order_id="web:2").promised_on is None
    assert bench.open_exceptions() == set()


def test_a_later_day_is_not_broken_by_a_promise_today(bench: Bench) -> None:
    """Lookahead: units a future order holds are not promised today."""
    bench.receive("10")
    answered(bench.order("8", "web:1", requested_on=date(2026, 11, 20)))
    assert bench.available() == "2"


def test_orders_that_want_no_backorder(bench: Bench) -> None:
    """Without backorder what is not there is refused; without partial it is all or nothing."""
    bench.receive("5")
    part = answered(bench.order("8", "web:1", allow_backorder=False))
    assert (shown(part.allocated), show(part.wanted_milli), show(part.backordered_milli)) == ([("DC1", "5")], "5", "0")
    assert part.refused is not None and "only 5 of 8" in part.refused
    none = answered(bench.order("3", "web:2", allow_backorder=False, allow_partial=False))
    assert (none.allocated, none.wanted_milli) == ([], 0)
    whole = answered(bench.order("3", "web:3", allow_partial=False))
    assert show(whole.backordered_milli) == "3"


def test_a_wish_in_an_unknown_unit_is_refused_with_its_reason(bench: Bench) -> None:
    """The order learns what is wrong with its line, and what to send instead; what it had is given back."""
    bench.receive("100")
    for uom, qty, words in (("PAL", "1", "has no unit PAL"), ("EA", "2.5", "comes whole"), ("BX", "0.01", "comes whole")):
        refusal = answered(bench.order(qty, f"web:{uom}", uom=uom))
        assert refusal.refused is not None and words in refusal.refused
        assert (refusal.allocated, refusal.wanted_milli) == ([], 0)
    answered(bench.order("5", "web:9"))
    assert answered(bench.order("1", "web:9", revision=2, uom="PAL")).allocated == []
    assert bench.available() == "100"


def test_wishes_are_absolute(bench: Bench) -> None:
    """Asking again with another quantity changes the promise by the difference; the same revision again changes nothing."""
    bench.receive("100")
    answered(bench.order("10"))
    assert bench.order("10") == "AlreadyApplied"
    answered(bench.order("25", revision=2))
    assert bench.available() == "75"
    answered(bench.order("0", revision=3))
    assert bench.available() == "100"


def test_a_cancellation_gives_back_only_what_was_not_picked(bench: Bench) -> None:
    """The race between a cancel and a pick has one outcome: picked units stay the order's."""
    bench.receive("100")
    answered(bench.order("10"))
    bench.pick("4", "web:1")
    gone = answered(bench.order("0", revision=2))
    assert (show(gone.wanted_milli), shown(gone.allocated)) == ("4", [("DC1", "4")])
    assert (bench.available(), bench.on_hand()) == ("96", "96")


def test_a_short_pick_corrects_stock_and_backorders_the_rest(bench: Bench) -> None:
    """Ten asked, six found: four go from stock, and wait for other stock."""
    bench.receive("10")
    answered(bench.order("10"))
    bench.short("6", "4", "web:1")
    after = bench.last(LineAnswered, order_id="web:1")
    assert (shown(after.allocated), show(after.backordered_milli)) == ([("DC1", "6")], "4")
    assert (bench.on_hand(), bench.available()) == ("0", "0")
    bench.receive("4")
    assert show(bench.last(LineAnswered, order_id="web:1").backordered_milli) == "0"


def test_a_substitution_moves_demand_between_items(bench: Bench) -> None:
    """Neither item's demand is lost or counted twice."""
    bench.item("SKU-2")
    bench.receive("10")
    bench.receive("10", "SKU-2")
    answered(bench.order("5"))
    bench._stock(
        DemandSubstituted,
        "5",
        "SKU-1",
        "DC1",
        None,
        None,
        order_id="web:1",
        line=1,
        substitute_item="SKU-2",
    )
    bench.pick("5", "web:1", item="SKU-2", substitute_for="SKU-1")
    bench.ship("5", "web:1", item="SKU-2")
    assert (bench.available("SKU-1"), bench.on_hand(item="SKU-1")) == ("10", "10")
    assert (bench.available("SKU-2"), bench.on_hand(item="SKU-2")) == ("5", "5")


def test_oversold_when_stock_is_taken_away(bench: Bench) -> None:
    """What was promised and is no more is an exception, and it closes when stock comes."""
    bench.receive("10")
    answered(bench.order("10"))
    bench.adjust("-4")
    assert bench.open_exceptions() == {"oversold:SKU-1:DC1"}
    assert bench.available() == "0"
    bench.receive("4")
    assert bench.open_exceptions() == set()


def test_stock_below_zero_is_no_oversale_of_what_is_covered(bench: Bench) -> None:
    """Units nobody was promised are missing today; the promise is due after supply that covers it."""
    bench.receive("2")
    bench.supply("8", "2026-11-03")
    answered(bench.order("2", requested_on=date(2026, 11, 5)))
    bench.adjust("-8")
    assert bench.open_exceptions() == {"negative:SKU-1:DC1:usable:"}
    bench.adjust("-1")
    assert "oversold:SKU-1:DC1" in bench.open_exceptions()


def test_a_shipment_the_erp_takes_back_is_wanted_again(bench: Bench) -> None:
    """What the ERP says has shipped is absolute: a reversal, or a row that was another line's, leaves nothing behind."""
    bench.receive("10")
    assert shown(answered(bench.order("5", is_firm=True, shipped_milli=2_000)).allocated) == [("DC1", "3")]
    assert shown(answered(bench.order("5", revision=2, is_firm=True)).allocated) == [("DC1", "5")]


def test_firm_demand_counts_even_if_nothing_is_there(bench: Bench) -> None:
    """What the ERP has accepted may be backordered but not refused, fractions and all."""
    answer = answered(bench.order("2.5", "erp:SO1", is_firm=True, allow_backorder=False))
    assert (show(answer.backordered_milli), answer.refused) == ("2.5", None)


def test_items_on_hold_are_not_sold(bench: Bench) -> None:
    """On hold: refused. Discontinued: what is there is sold, nothing is backordered."""
    bench.receive("5")
    bench.item(status="H")
    held = answered(bench.order("1", "web:1"))
    assert held.refused is not None and "on hold" in held.refused
    bench.item(status="D")
    last = answered(bench.order("9", "web:2"))
    assert (shown(last.allocated), show(last.backordered_milli)) == ([("DC1", "5")], "0")


def test_what_is_not_sold_is_not_promised(bench: Bench) -> None:
    """The number published is the number granted: nothing of an item on hold or deleted. Its signed ATP stays."""
    bench.receive("5")
    for changed, status in (({"status": "H"}, 409), ({"is_deleted": True}, 404)):
        bench.item(**changed)
        record = bench.atp()
        assert (record.promise_milli, record.sites[0].promise_milli) == (0, 0)
        assert (record.atp_milli, record.sites[0].atp_milli) == (5_000, 5_000)
        reply = bench.reserve("1", f"R-{status}")
        assert reply.status == status
        assert "on hold" in reply.body or "no longer" in reply.body
        bench.item()
        assert bench.available() == "5"
    assert bench.reserve("5").status == 201


def test_safety_stock_is_kept_back(bench: Bench) -> None:
    """It is not promised; when it changes, so does the promise."""
    bench.receive("10")
    bench.item(safety_stock_milli=3_000)
    assert bench.available() == "7"


# --- channels ---


def test_caps_and_floors() -> None:
    """A cap limits what a channel takes in all, a floor is what others may not take."""
    b = Bench(Policy(channels={"web": ChannelPolicy(cap_milli=30_000), "vip": ChannelPolicy(floor_milli=20_000)}))
    b.item()
    b.receive("100")
    assert show(sum(p.qty_milli for p in answered(b.order("50", "web:1")).allocated)) == "30"
    assert show(sum(p.qty_milli for p in answered(b.order("60", "edi:1")).allocated)) == "50", "20 are protected for vip"
    assert show(sum(p.qty_milli for p in answered(b.order("20", "vip:1")).allocated)) == "20"
    assert b.available() == "0"


def test_a_channel_ships_from_its_sites() -> None:
    """Sites the channel may not ship from are not promised to it."""
    b = Bench(Policy(channels={"web": ChannelPolicy(sites=("DC1",))}))
    b.item()
    b.receive("5", site="DC1")
    b.receive("50", site="DC2")
    answer = answered(b.order("20", "web:1"))
    assert (shown(answer.allocated), show(answer.backordered_milli)) == ([("DC1", "5")], "15")


# --- reservations ---


def test_reservation_ttl(bench: Bench) -> None:
    """IBM Intelligent Promising: 20 of 100 held for 15 minutes, 100 again after 16, and the expiry is in the ledger."""
    bench.receive("100")
    reply = bench.reserve("20", ttl_minutes=15)
    assert reply.status == 201 and json.loads(reply.body)["qty"] == 20
    assert bench.available() == "80"
    bench.pass_minutes(14)
    assert bench.available() == "80"
    bench.pass_minutes(2)
    assert bench.available() == "100"
    entry = bench.last(LedgerEntry)
    assert [(c.measure, c.after_milli) for c in entry.changes] == [("reserved", 0)] and "reservation due" in entry.note


def test_a_request_is_answered_once(bench: Bench) -> None:
    """Same key, same body: same answer and one hold. Another body: 422. Too much: 409 with what there is."""
    bench.receive("100")
    first, again = bench.reserve("60", "K"), bench.reserve("60", "K")
    assert first == again
    assert bench.available() == "40"
    assert bench.reserve("61", "K").status == 422
    refused = bench.reserve("60", "L")
    assert refused.status == 409 and json.loads(refused.body)["available"] == 40
    assert bench.reserve("0.5", "M").status == 422
    assert bench.reserve("1", "N", item="nope").status == 404


def test_release_gives_back_once(bench: Bench) -> None:
    """Releasing twice gives back once; a request is forgotten a day after its hold would have ended, and may come anew."""
    bench.receive("100")
    bench.reserve("60", "K")
    assert bench.release("K", "X-1").status == 200
    assert bench.release("K", "X-2").status == 200
    assert bench.available() == "100"
    assert bench.release("nope", "X-3").status == 404
    bench.pass_minutes(24 * 60 + 16)
    assert list(bench.t.requests.under("SKU-1")) == [] and list(bench.t.reservations.under("SKU-1")) == []


def test_what_is_at_two_sites_can_be_held_together() -> None:
    """The number in all is the number that can be held: from one site where that has enough, else from the fewest."""
    b = Bench(Policy(channels={"vip": ChannelPolicy(floor_milli=5_000)}))
    b.item()
    b.receive("83", site="DC1")
    b.receive("10", site="DC2")
    refused = b.reserve("89", "A", channel="web")
    assert (refused.status, json.loads(refused.body)["available"]) == (409, 88)
    held = json.loads(b.reserve("88", "B", channel="web").body)
    assert (held["qty"], held["site"], held["sites"]) == (
        88,
        None,
        [{"site": "DC1", "qty": 83}, {"site": "DC2", "qty": 5}],
    )
    assert json.loads(b.reserve("1", "C", channel="web").body)["available"] == 0
    b.release("B", "X")
    assert b.available() == "93"


def test_a_channels_holds_are_bounded_in_count_units_and_time() -> None:
    """What it gives back, or lets expire, it may hold again."""
    limits = ChannelPolicy(hold_count=2, hold_milli=10_000, hold_ms=30 * 60_000)
    b = Bench(Policy(channels={"web": limits}))
    b.item()
    b.receive("100")
    assert b.reserve("1", "long", ttl_minutes=31).status == 422
    assert b.reserve("11", "much").status == 422
    assert [b.reserve("4", f"K{n}", ttl_minutes=30).status for n in range(3)] == [201, 201, 422]
    assert b.reserve("4", "other", channel="edi").status == 201
    b.release("K0", "X")
    assert b.reserve("7", "more").status == 422
    assert b.reserve("6", "fits", ttl_minutes=30).status == 201
    b.pass_minutes(31)
    assert b.reserve("10", "again", ttl_minutes=30).status == 201
    assert [(key[1], row.count, show(row.qty_milli)) for key, row in b.t.holdings.under("SKU-1")] == [("web", 1, "10")]


def test_a_hold_that_outlives_a_day_is_the_same_hold_all_along(bench: Bench) -> None:
    """Its request is remembered for as long as it lives, and both are forgotten after its end."""
    bench.receive("100")
    first = bench.reserve("60", "K", ttl_minutes=3 * 24 * 60)
    bench.pass_minutes(2 * 24 * 60)
    assert bench.reserve("60", "K", ttl_minutes=3 * 24 * 60) == first
    bench.pass_minutes(24 * 60 + 1)
    assert bench.available() == "100"
    bench.pass_minutes(24 * 60 + 1)
    assert list(bench.t.requests.under("SKU-1")) == [] and list(bench.t.reservations.under("SKU-1")) == []


# --- days ---


def test_past_due_supply(bench: Bench) -> None:
    """Supply that did not come is dropped from promises when its day is over; a site may expect it some days later."""
    bench.supply("10", "2026-11-03")
    assert str(answered(bench.order("5")).promised_on) == "2026-11-03"
    bench.pass_minutes(60 * 37)
    assert bench.last(LineAnswered, order_id="web:1").promised_on is None
    hopeful = Bench(Policy(sites={"DC1": SitePolicy(past_due_days=2)}))
    hopeful.item()
    hopeful.supply("10", "2026-11-03")
    answered(hopeful.order("5"))
    hopeful.pass_minutes(60 * 37)
    assert str(hopeful.last(LineAnswered, order_id="web:1").promised_on) == "2026-11-06"


def test_past_due_supply_is_put_off_day_by_day() -> None:
    """A promise that counted on it is oversold as soon as it is expected after the promise's day."""
    hopeful = Bench(Policy(sites={"DC1": SitePolicy(past_due_days=1)}))
    hopeful.item()
    hopeful.receive("3")
    hopeful.supply("10", "2026-11-02")
    answered(hopeful.order("5", requested_on=date(2026, 11, 4)))
    hopeful.pass_minutes(60 * 13)
    assert (hopeful.available(), hopeful.open_exceptions()) == ("3", set())
    hopeful.pass_minutes(60 * 24)
    assert (hopeful.available(), hopeful.open_exceptions()) == ("0", {"oversold:SKU-1:DC1"})


def test_supply_of_the_day_counts_from_the_day_s_beginning(bench: Bench) -> None:
    """Nothing happens to the item overnight, and still the number is the new day's."""
    bench.receive("3")
    bench.supply("10", "2026-11-03")
    assert bench.available() == "3"
    bench.pass_minutes(60 * 13)
    assert bench.available() == "13"
    bench.pass_minutes(60 * 24)
    assert bench.available() == "3"


def test_lots_expire(bench: Bench) -> None:
    """Units of a lot are not promised past its last day."""
    bench.item(lot_tracked=True, shelf_life_days=10)
    bench.receive("8", lot="L1")
    bench.receive("5", lot="L2", expires_on=date(2026, 11, 3))
    site = bench.site()
    assert [(str(x.day), show(x.qty_milli)) for x in site.expiries] == [("2026-11-03", "5"), ("2026-11-12", "8")]
    assert bench.available() == "13", "nobody wants any later, so all can be sold today"
    answered(bench.order("7", requested_on=date(2026, 11, 10)))
    assert bench.available() == "1", "of the eight left by then"


@pytest.mark.parametrize("by", ["receipt", "count"])
def test_a_lots_wrong_last_day_is_corrected_by_a_later_word(bench: Bench, by: str) -> None:
    """Wherever its units stand, and in whatever order the two words are heard."""

    def wrong() -> None:
        bench.receive("8", lot="L1", expires_on=date(2026, 11, 3), at=-50)
        bench.receive("2", lot="L1", status=Status.QUALITY, at=-45)
        bench.receive("5", site="DC2", lot="L1", at=-40)

    def right() -> None:
        if by == "receipt":
            bench.receive("1", lot="L1", expires_on=date(2026, 12, 3), at=-10)
        else:
            bench.count("9", lot="L1", expires_on=date(2026, 12, 3), at=-10)

    def inspected() -> None:
        change = {"lot": "L1", "from_status": Status.QUALITY, "to_status": Status.USABLE}
        bench._stock(StockStatusChanged, "2", "SKU-1", "DC1", None, None, **change)

    def expiries() -> list[tuple[str, str, str]]:
        return [(s.site, str(x.day), show(x.qty_milli)) for s in bench.atp().sites for x in s.expiries]

    bench.item(lot_tracked=True)
    wrong()
    assert expiries() == [("DC1", "2026-11-03", "8"), ("DC2", "2026-11-03", "5")]
    right()
    assert expiries() == [("DC1", "2026-12-03", "9"), ("DC2", "2026-12-03", "5")]
    inspected()
    assert expiries()[0] == ("DC1", "2026-12-03", "11"), "what stood in quality has the right day, too"
    bench.receive("1", lot="L1", expires_on=date(2026, 11, 20), at=-30)
    assert {day for _, day, _ in expiries()} == {"2026-12-03"}, "an older word corrects nothing"
    late = bench
    bench = Bench()
    bench.item(lot_tracked=True)
    right()
    wrong()
    inspected()
    bench.receive("1", lot="L1", expires_on=date(2026, 11, 20), at=-30)
    assert [s.expiries for s in bench.atp().sites] == [s.expiries for s in late.atp().sites]


def test_an_old_count_may_still_say_when_a_lot_expires(bench: Bench) -> None:
    bench.item(lot_tracked=True)
    bench.count("9", lot="L1", at=-5)
    assert bench.count("7", lot="L1", at=-10, expires_on=date(2026, 12, 3), event_id="old") == "applied"
    assert [(str(x.day), show(x.qty_milli)) for x in bench.site().expiries] == [("2026-12-03", "9")]
    assert bench.count("7", lot="L1", at=-20, expires_on=date(2026, 11, 3)) == "AlreadyApplied"


def test_a_pack_keeps_the_size_it_had_when_the_line_was_placed(bench: Bench) -> None:
    """What is picked, shipped and comes back counts by the units fixed with the line; a receipt counts by the new size."""
    bench.receive("100")
    assert answered(bench.order("2", uom="BX")).wanted_milli == 24_000
    bench.item(pack_milli=10_000)
    bench.pick("1", "web:1", uom="BX")
    bench.ship("2", "web:1", uom="BX")
    assert (bench.on_hand(), bench.site().demand_milli, bench.site().staged_milli) == ("76", 0, 0)
    reply = answered(bench.order("36", revision=2))
    assert (reply.pack_uom, reply.pack_milli) == ("BX", 12_000)
    bench.give_back("1", "web:1", uom="BX")
    assert bench.site().quality_milli == 12_000
    bench.receive("1", uom="BX")
    assert bench.on_hand() == "86"
    assert answered(bench.order("1", "web:2", uom="BX")).wanted_milli == 10_000


def test_a_receipt_taken_back_is_expected_again(bench: Bench) -> None:
    """Its units are gone and its purchase line waits for them."""
    bench.supply("10", "2026-11-20")
    bench.receive("10", document="PO-1", document_line=1)
    assert (bench.on_hand(), bench.site().days) == ("10", [])
    bench.receive("-10", document="PO-1", document_line=1)
    assert bench.on_hand() == "0"
    assert [day.supply_milli for day in bench.site().days] == [10_000]


# --- returns, and what cannot be ---


def quality(bench: Bench) -> str:
    return show(bench.site().quality_milli)


def test_no_more_comes_back_as_stock_than_left(bench: Bench) -> None:
    """What is over is said, and is not stock; a shipment told later explains it."""
    bench.receive("10")
    bench.order("5")
    bench.pick("5", "web:1")
    bench.ship("3", "web:1")
    bench.give_back("2", "web:1")
    assert (quality(bench), bench.open_exceptions()) == ("2", set())
    bench.give_back("3", "web:1")
    assert quality(bench) == "3"
    assert bench.open_exceptions() == {"over_returned:web:1:1:SKU-1"}
    bench.ship("2", "web:1")
    assert (quality(bench), bench.open_exceptions()) == ("5", set())


def test_a_return_told_before_its_shipment_counts_when_that_is_told(bench: Bench) -> None:
    bench.receive("10")
    bench.give_back("2", "web:1")
    assert (quality(bench), len(bench.open_exceptions())) == ("0", 1)
    bench.ship("2", "web:1")
    assert (quality(bench), bench.open_exceptions()) == ("2", set())


def test_a_return_is_held_against_its_lot(bench: Bench) -> None:
    bench.receive("10", lot="L1")
    bench.receive("10", lot="L2")
    bench.ship("4", "web:1", lot="L1")
    bench.ship("6", "web:1", lot="L2")
    bench.give_back("5", "web:1", lot="L1")
    bench.give_back("6", "web:1", lot="L2")
    assert quality(bench) == "10"
    assert bench.open_exceptions() == {"over_returned:web:1:1:SKU-1"}


def test_a_return_that_names_no_order_is_stock_in_quality(bench: Bench) -> None:
    bench.give_back("2", None)  # type: ignore[arg-type]
    assert (quality(bench), bench.open_exceptions()) == ("2", set())


def test_a_balance_below_zero_makes_the_item_suspect(bench: Bench) -> None:
    bench.receive("1")
    assert bench.atp().suspects == []
    bench.pick("3", "web:1", substitute_for="SKU-9")
    assert bench.atp().suspects == ["negative:DC1:usable"]
    bench.receive("2")
    assert bench.atp().suspects == []


def test_a_short_pick_goes_to_another_site_first(bench: Bench) -> None:
    """The site that did not find its units gives only what no other has."""
    bench.receive("20")
    bench.receive("6", site="DC2")
    bench.order("10")
    bench.short("0", "10", "web:1")
    assert shown(bench.last(LineAnswered).allocated) == [("DC1", "4"), ("DC2", "6")]
