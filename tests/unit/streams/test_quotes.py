"""Quotes and carts from published ATP records."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from connectors.api.ports import AtpQuery, CheckAnswer, CheckLine, NotKnown
from schemas.frozen import replace
from schemas.inventory import Atp, ChannelHold, DayNet, Expiry, SiteAtp
from streams.queries.atp_quotes import Cart, Quotes, calculate
from tables.common.policy import ChannelPolicy, Policy, SitePolicy
from tables.common.row_version import Version
from tables.inventory.state import Item

TODAY = date(2026, 11, 2)
NOW_MS = 1_793_620_800_000  # noon UTC of that day


def day(n: int) -> date:
    return TODAY + timedelta(days=n)


def site(name: str, usable: int, *days: tuple[int, int, int], **more: object) -> SiteAtp:
    """A site with usable units and (day, supply, demand), all in whole units."""
    nets = [DayNet(day(n), supply * 1000, demand * 1000) for n, supply, demand in days]
    made = SiteAtp(name, TODAY, usable * 1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, nets, [], [])
    return replace(made, **more)  # type: ignore[arg-type]


def record(*sites: SiteAtp, safety: int = 0) -> Atp:
    return Atp(
        item="A",
        version=1,
        as_of_ms=NOW_MS,
        policy="lookahead",
        uom="EA",
        item_status="A",
        safety_stock_milli=safety * 1000,
        atp_milli=0,
        promise_milli=0,
        sites=list(sites),
        marks=[],
        suspects=[],
    )


def quotes(policy: Policy | None = None) -> Quotes:
    return Quotes(policy or Policy(), lambda _: "UTC", lambda: NOW_MS)


def series(row: Atp, query: AtpQuery | None = None, policy: Policy | None = None) -> list[int]:
    """Promises by day, in whole units."""
    return [d.promise_milli // 1000 for d in quotes(policy).quote(row, query or AtpQuery(days=4)).days]


def test_lookahead_promises_nothing_a_later_day_needs() -> None:
    assert series(record(site("DC1", 20, (0, 0, 3), (2, 10, 0), (3, 0, 8)))) == [17, 17, 19, 19]


def test_safety_stock_is_kept_back_at_each_site() -> None:
    assert series(record(site("DC1", 20, safety_milli=5_000), site("DC2", 3, safety_milli=5_000))) == [15] * 4


def test_safety_stock_is_kept_back_once_by_all_sites_together() -> None:
    """A site gives what the others still hold the safety stock for, on each day anew."""
    row = replace(record(site("DC1", 20, (2, 10, 0)), site("DC2", 3)), shared_safety_milli=5_000)
    assert series(row) == [18, 18, 28, 28]
    assert series(row, AtpQuery(days=4, site="DC1")) == [18, 18, 28, 28]
    assert series(row, AtpQuery(days=4, site="DC2")) == [3, 3, 3, 3]
    assert quotes().quote(row, AtpQuery(days=1)).atp_milli == 18_000


def test_lots_that_expire_are_not_promised_beyond_their_day() -> None:
    row = record(site("DC1", 20, expiries=[Expiry(day(1), 12_000)]))
    projected = [d.projected_milli // 1000 for d in quotes().quote(row, AtpQuery(days=4)).days]
    assert projected == [20, 20, 8, 8]


@pytest.mark.parametrize(("past_due_days", "promised"), [(None, [0, 0, 0, 0]), (2, [0, 0, 7, 7])])
def test_late_supply_is_dropped_or_expected_as_the_site_says(past_due_days: int | None, promised: list[int]) -> None:
    policy = Policy(sites={"DC1": SitePolicy(past_due_days=past_due_days)})
    assert series(record(site("DC1", 0, (-3, 7, 0))), policy=policy) == promised


def test_a_horizon_may_begin_later_and_a_site_or_policy_be_chosen() -> None:
    row = record(site("DC1", 5, (2, 10, 0)), site("DC2", 7))
    assert series(row, AtpQuery(start=day(2), days=2)) == [22, 22]
    assert series(row, AtpQuery(site="DC2", days=1)) == [7]
    assert quotes().quote(row, AtpQuery(policy="discrete", days=3)).policy == "discrete"
    for wrong in (AtpQuery(site="DC9"), AtpQuery(policy="hope")):
        with pytest.raises(NotKnown):
            quotes().quote(row, wrong)


def test_a_channel_is_bounded_by_its_cap_its_sites_and_what_is_kept_for_others() -> None:
    held = [ChannelHold("edi", 2_000), ChannelHold("web", 1_000)]
    row = record(site("DC1", 20, channels=held), site("DC2", 30))
    channels = {"web": ChannelPolicy(sites=("DC1",), cap_milli=9_000), "edi": ChannelPolicy(floor_milli=6_000)}
    policy = Policy(channels=channels)
    assert series(row, AtpQuery(channel="web", days=1), policy) == [8]
    assert series(row, AtpQuery(channel="crm", days=1), policy) == [46]
    assert series(row, AtpQuery(channel="edi", days=1), policy) == [50]


def test_past_the_fence_any_quantity_can_be_promised() -> None:
    days = quotes(Policy(infinite_after_days=2)).quote(record(site("DC1", 1)), AtpQuery(days=4)).days
    assert [d.is_unlimited for d in days] == [False, False, True, True]


ITEM = Item(
    item="A",
    version=Version(),
    is_deleted=False,
    description=None,
    text_version=Version(),
    text_wanted_from=None,
    base_uom="EA",
    pack_uom="BX",
    pack_milli=12_000,
    lot_tracked=False,
    shelf_life_days=None,
    status="A",
    safety_stock_milli=0,
    hazmat_class=None,
    updated_at="",
    extra={},
)


def cart(row: Atp, *lines: CheckLine, item: Item = ITEM, policy: Policy | None = None) -> list[CheckAnswer]:
    filled = Cart(quotes(policy), "web", {"A": row}, {"A": item})
    return [filled.check(line) for line in lines]


def want(qty: int, uom: str | None = None, site: str | None = None, on: int | None = None, item: str = "A") -> CheckLine:
    return CheckLine(item, qty * 1000, uom, site, None if on is None else day(on))


def test_two_lines_of_an_item_share_its_stock() -> None:
    """medusajs/medusa #16502: five on hand, two lines of five."""
    answers = cart(record(site("DC1", 5)), want(5), want(5))
    assert [(a.is_available, a.available_milli) for a in answers] == [(True, 5_000), (False, 0)]


def test_a_line_that_cannot_be_had_takes_nothing_from_the_next() -> None:
    answers = cart(record(site("DC1", 5)), want(6), want(5))
    assert [a.is_available for a in answers] == [False, True]


def test_a_line_waits_for_supply_and_says_when_and_in_which_steps() -> None:
    (answer,) = cart(record(site("DC1", 4, (2, 10, 0))), want(9))
    assert (answer.is_available, answer.available_milli, answer.promised_on) == (False, 4_000, day(2))
    assert [(p.day, p.qty_milli) for p in answer.parts] == [(TODAY, 4_000), (day(2), 5_000)]
    (later,) = cart(record(site("DC1", 4, (2, 10, 0))), want(9, on=2))
    assert (later.is_available, later.promised_on) == (True, day(2))


def test_a_line_is_sourced_from_one_site_where_one_has_enough() -> None:
    row = record(site("DC1", 6), site("DC2", 9))
    assert [p.site for p in cart(row, want(8))[0].parts] == ["DC2"]
    assert [(p.site, p.qty_milli) for p in cart(row, want(11))[0].parts] == [("DC2", 9_000), ("DC1", 2_000)]
    assert cart(row, want(8, site="DC1"))[0].is_available is False


def test_units_are_converted_and_what_does_not_convert_is_said() -> None:
    (answer,) = cart(record(site("DC1", 30)), want(2, "BX"))
    assert (answer.qty_milli, answer.is_available) == (24_000, True)
    assert "no unit KG" in str(cart(record(site("DC1", 30)), want(2, "KG"))[0].reason)
    assert "whole number" in str(cart(record(site("DC1", 30)), CheckLine("A", 500, None, None, None))[0].reason)


def test_what_is_not_sold_is_not_available() -> None:
    for item in (replace(ITEM, status="H"), replace(ITEM, is_deleted=True)):
        assert cart(record(site("DC1", 30)), want(1), item=item)[0].is_available is False
    assert "not known" in str(cart(record(site("DC1", 30)), want(1, item="B"))[0].reason)
    assert "nothing at site" in str(cart(record(site("DC1", 30)), want(1, site="DC9"))[0].reason)


@pytest.mark.parametrize("status", ["H", "deleted", "unknown"])
def test_what_is_not_sold_is_not_promised(status: str) -> None:
    """By no policy, for no channel, on no day, at no site; beyond the lead-time fence neither."""
    row = replace(record(site("DC1", 30, (2, 10, 0))), item_status=status)
    policy = Policy(infinite_after_days=2)
    for query in (AtpQuery(days=4), AtpQuery(policy="projected", days=4), AtpQuery(site="DC1", channel="web", days=4)):
        found = quotes(policy).quote(row, query)
        assert {day.promise_milli for day in found.days} == {found.promise_milli, found.sites[0].promise_milli} == {0}
        assert not any(day.is_unlimited for day in found.days)
        assert found.atp_milli == 30_000


def test_of_a_discontinued_item_only_what_is_there_is_promised() -> None:
    """As an order gets it: nothing of it may wait for supply."""
    row = replace(record(site("DC1", 4, (2, 10, 0))), item_status="D")
    policy = Policy(infinite_after_days=3)
    assert [series(row, policy=policy), series(row, AtpQuery(policy="discrete", days=4))] == [[4] * 4, [4, 0, 0, 0]]
    assert not any(day.is_unlimited for day in quotes(policy).quote(row, AtpQuery(days=9)).days)
    item = replace(ITEM, status="D")
    for line in (want(9), want(9, on=2)):
        (answer,) = cart(row, line, item=item, policy=policy)
        assert (answer.is_available, answer.available_milli, answer.promised_on) == (False, 4_000, None)
    (answer,) = cart(row, want(4, on=2), item=item)
    assert (answer.is_available, answer.promised_on) == (True, day(2))
    assert [(part.day, part.qty_milli) for part in answer.parts] == [(day(2), 4_000)]


def test_the_formula_alone() -> None:
    assert calculate("lookahead", 20_000, 0, [0, 0, 10_000], [3_000, 0, 0]) == (
        [17_000, 17_000, 27_000],
        [17_000, 17_000, 27_000],
    )
    with pytest.raises(NotKnown):
        calculate("hope", 0, 0, [], [])
