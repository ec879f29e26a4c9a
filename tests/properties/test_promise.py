"""The promise under anything: numbers that must agree do, whatever happens and in whatever order it is told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.api.ports import AtpQuery, NotKnown
from schemas.inventory import LedgerEntry, Status, StockAdjusted, StockCounted, StockPicked, StockReceived, StockShipped
from schemas.quantity import show
from streams.queries.atp_quotes import Quotes
from tables.common.calendars import day_at
from tables.common.policy import ChannelPolicy, Policy
from tables.inventory.atp_record import series
from tables.inventory.demand_line import DemandLine
from tables.inventory.site_position import SitePosition, lowest
from tests.support.promises import NOON, Bench

SITES = ("DC1", "DC2")
units = st.integers(1, 30)
orders = st.integers(0, 3)
site = st.sampled_from(SITES)

giving = st.one_of(
    st.tuples(st.just("receive"), units, site),
    st.tuples(st.just("order"), orders, st.integers(0, 40), st.integers(1, 3), st.none() | st.integers(2, 28)),
    st.tuples(st.just("reserve"), st.integers(0, 5), units),
)
action = st.one_of(
    giving,
    st.tuples(st.just("lot"), units, st.integers(3, 25), site),
    st.tuples(st.just("adjust"), st.integers(-20, 20).filter(bool), site),
    st.tuples(st.just("count"), st.integers(0, 60), site),
    st.tuples(st.just("pick"), orders, units, site),
    st.tuples(st.just("ship"), orders, units, site),
    st.tuples(st.just("short"), orders, st.integers(0, 5), units, site),
    st.tuples(st.just("supply"), st.integers(0, 40), st.integers(2, 25), st.integers(1, 2), site),
    st.tuples(st.just("pass"), st.integers(1, 2000)),
)


def perform(b: Bench, actions: list[Any]) -> None:
    revisions: dict[Any, int] = {}

    def revision(key: Any) -> int:
        revisions[key] = revisions.get(key, 0) + 1
        return revisions[key]

    for step in actions:
        b.minute += 1
        match step:
            case ("receive", qty, at):
                b.receive(str(qty), site=at)
            case ("lot", qty, last_day, at):
                b.receive(str(qty), site=at, lot=f"L{last_day}", expires_on=date(2026, 11, last_day))
            case ("adjust", qty, at):
                b.adjust(str(qty), site=at)
            case ("count", qty, at):
                b.count(str(qty), site=at)
            case ("order", n, qty, priority, day):
                wanted_on = None if day is None else date(2026, 11, day)
                b.order(str(qty), f"web:{n}", revision=revision(n), priority=priority, requested_on=wanted_on)
            case ("pick", n, qty, at):
                b.pick(str(qty), f"web:{n}", site=at)
            case ("ship", n, qty, at):
                b.ship(str(qty), f"web:{n}", site=at)
            case ("short", n, qty, short, at):
                b.short(str(qty), str(short), f"web:{n}", site=at)
            case ("supply", qty, day, line, at):
                b.supply(str(qty), f"2026-11-{day:02}", revision=revision(("po", line)), line=line, site=at)
            case ("reserve", n, qty):
                b.reserve(str(qty), f"R-{n}")
            case ("pass", minutes):
                b.pass_minutes(minutes)


def check_sums(b: Bench) -> None:
    """Every sum kept as events come equals the sum of its rows; the ledger adds up to the same."""
    demand: dict[str, int] = dict.fromkeys(SITES, 0)
    waiting: dict[str, int] = {}
    days: dict[tuple[str, int], int] = {}
    for _, d in b.t.demands.under("SKU-1"):
        for part in d.parts:
            demand[part.site] += part.qty_milli
            days[(part.site, d.need_day)] = days.get((part.site, d.need_day), 0) + part.qty_milli
        if d.backordered_milli and d.backorder_site:
            waiting[d.backorder_site] = waiting.get(d.backorder_site, 0) + d.backordered_milli
            if d.promised_day is not None:
                demand[d.backorder_site] += d.backordered_milli
                days[(d.backorder_site, d.promised_day)] = days.get((d.backorder_site, d.promised_day), 0) + d.backordered_milli
        assert d.backordered_milli >= 0 and all(part.qty_milli > 0 for part in d.parts)
        if d.revision and d.refused is None:
            line = DemandLine("", 0, d)
            assert line.allocated() + d.backordered_milli == max(0, d.wanted_milli - line.served())
    reserved = dict.fromkeys(SITES, 0)
    for _, r in b.t.reservations.under("SKU-1"):
        if r.state == "held":
            for units_there in r.parts:
                reserved[units_there.site] += units_there.qty_milli
                when = units_there.site, units_there.day
                days[when] = days.get(when, 0) + units_there.qty_milli
    queue = {(key[3], key[4]) for key, _ in b.t.backorders.under("SKU-1")}
    assert queue == {(key[1], key[2]) for key, d in b.t.demands.under("SKU-1") if d.backordered_milli}
    overview = b.t.overviews.get(("SKU-1",))
    assert (overview.backorders if overview else 0) == len(queue)
    ledger: dict[tuple[str, str], int] = {}
    for entry in (e for e in b.said if isinstance(e, LedgerEntry)):
        for change in entry.changes:
            key = (change.site, change.measure)
            ledger[key] = ledger.get(key, 0) + change.after_milli - change.before_milli
    for (_, at), row in b.t.stock.under("SKU-1"):
        assert (row.demand_milli, row.reserved_milli) == (demand[at], reserved[at])
        assert row.backordered_milli == waiting.get(at, 0)
        booked = {d.day: d.demand_milli for d in row.days if d.demand_milli}
        assert booked == {day: units for (where, day), units in days.items() if where == at and units}
        usable = sum(x.on_hand_milli for key, x in b.t.balances.under("SKU-1", at) if key[2] == "usable")
        lots = [x for key, x in b.t.balances.under("SKU-1", at) if key[2] == "usable" and x.expires_day is not None]
        assert sum(qty for _, qty in row.expiries) == sum(lot.on_hand_milli for lot in lots)
        assert row.usable_milli == usable == ledger.get((at, "on_hand.usable"), 0)
        assert ledger.get((at, "demand"), 0) == row.demand_milli
        assert ledger.get((at, "supply"), 0) == row.supply_milli == sum(d.supply_milli for d in row.days)


@given(st.lists(action, max_size=25))
@settings(max_examples=150)
def test_sums_rows_and_ledger_agree(actions: list[Any]) -> None:
    """After anything at all, the sums answers are made of equal the rows behind them."""
    b = Bench()
    b.item()
    perform(b, actions)
    check_sums(b)


@given(st.lists(giving, max_size=30))
@settings(max_examples=100)
def test_promises_never_exceed_what_is_there(actions: list[Any]) -> None:
    """As long as no source takes stock away, what is allocated and held never exceeds what is usable."""
    b = Bench()
    b.item()
    perform(b, actions)
    for _, row in b.t.stock.under("SKU-1"):
        assert row.demand_milli + row.reserved_milli <= row.usable_milli
    assert not [x for x in b.open_exceptions() if x.startswith("oversold")]


CHANNELS = {
    "web": ChannelPolicy(cap_milli=40_000),
    "vip": ChannelPolicy(floor_milli=20_000),
    "edi": ChannelPolicy(sites=("DC1",)),
}
sharing = st.one_of(
    st.tuples(st.just("receive"), units, site),
    st.tuples(st.just("order"), st.sampled_from(["web", "vip", "edi"]), orders, st.integers(0, 40)),
    st.tuples(st.just("reserve"), st.sampled_from(["web", "vip", "edi"]), st.integers(0, 9), units),
)


def share(b: Bench, actions: list[Any]) -> Iterator[None]:
    """Channels order and reserve; yields after each step."""
    revisions: dict[str, int] = {}
    for step in actions:
        b.minute += 1
        match step:
            case ("receive", qty, at):
                b.receive(str(qty), site=at)
            case ("order", channel, n, qty):
                order_id = f"{channel}:{n}"
                revisions[order_id] = revisions.get(order_id, 0) + 1
                b.order(str(qty), order_id, revision=revisions[order_id])
            case ("reserve", channel, n, qty):
                b.reserve(str(qty), f"{channel}-{n}", channel=channel)
        yield


@given(st.lists(sharing, max_size=30))
@settings(max_examples=100)
def test_a_channels_cap_and_anothers_floor_hold_after_everything(actions: list[Any]) -> None:
    """Nobody takes more than his cap, nor what is kept for another; a channel ships from its own sites only."""
    b = Bench(Policy(channels=CHANNELS))
    b.item()
    for _ in share(b, actions):
        taken = dict.fromkeys(CHANNELS, 0)
        for (_, at), row in b.t.stock.under("SKU-1"):
            for channel, consumed in row.channels:
                taken[channel] += consumed
                assert channel != "edi" or at == "DC1"
            assert row.demand_milli + row.reserved_milli <= row.usable_milli
        usable = sum(row.usable_milli for _, row in b.t.stock.under("SKU-1"))
        assert taken["web"] <= 40_000
        assert taken["web"] + taken["edi"] <= max(0, usable - max(0, 20_000 - taken["vip"]))
    check_sums(b)


@given(st.lists(sharing, max_size=20), st.sampled_from([*CHANNELS, "phone"]), st.sampled_from([None, *SITES]))
@settings(max_examples=200)
def test_what_is_quoted_to_a_channel_is_what_it_can_hold(actions: list[Any], channel: str, at: str | None) -> None:
    """The promise of today, all of it and not a unit more, in all and at a site."""
    policy = Policy(channels=CHANNELS)
    b = Bench(policy)
    b.item()
    list(share(b, actions))
    now_ms = NOON + b.minute * 60_000
    quotes = Quotes(policy, lambda site: "UTC", lambda: now_ms)
    try:
        quoted = quotes.quote(b.atp(), AtpQuery(site=at, channel=channel)).promise_milli
    except NotKnown:
        quoted = 0
    assert b.reserve(show(quoted + 1_000), "more", channel=channel, site=at).status == 409
    if quoted:
        assert b.reserve(show(quoted), "all", channel=channel, site=at).status == 201


@given(st.lists(action, max_size=25))
@settings(max_examples=300)
def test_short_form_of_lookahead_equals_the_definition(actions: list[Any]) -> None:
    """ATP of today as kept for the hot path is the first day of the series worked out by the definition."""
    b = Bench()
    b.item()
    perform(b, actions)
    today = day_at(NOON + b.minute * 60_000, "UTC")
    for past_due in (None, 3):
        for _, row in b.t.stock.under("SKU-1"):
            assert lowest(SitePosition(row), today, past_due, 0) == series("lookahead", row, 0, today, past_due, 1)[0]


@st.composite
def facts(draw: st.DrawFn) -> list[Any]:
    """Warehouse facts of one position at different instants, counts among them."""
    b = Bench()
    found: list[Any] = []
    for n in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from([StockReceived, StockAdjusted, StockCounted, StockPicked, StockShipped]))
        head = b.head(at=draw(st.integers(0, 12)), event_id=f"W-{n}")
        details: dict[Any, dict[str, Any]] = {
            StockReceived: {"status": Status.USABLE, "expires_on": None, "document": None, "document_line": None},
            StockAdjusted: {"status": Status.USABLE, "reason": "count"},
            StockCounted: {"status": Status.USABLE},
            StockPicked: {"order_id": "web:1", "line": 1, "substitute_for": None},
            StockShipped: {"order_id": "web:1", "line": 1, "shipment": "S"},
        }
        qty = draw(st.integers(1, 9)) * 1000
        found.append(kind(**head, item="SKU-1", site="DC1", lot=None, qty_milli=qty, uom=None, **details[kind]))
    return found


@given(facts(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_any_order_of_arrival_gives_the_same_stock(events: list[Any], rng: random.Random) -> None:
    """Balances depend on what happened and when, not on when it was told; telling it again changes nothing."""

    def told(order: list[Any]) -> dict[Any, int]:
        b = Bench(Policy())
        b.item()
        for event in order:
            b.apply(event)
        for event in order:
            assert b.apply(event) == "AlreadyApplied"
        return {key: row.on_hand_milli for key, row in b.t.balances.under("SKU-1")}

    shuffled = list(events)
    rng.shuffle(shuffled)
    # Two counts of one instant are ordered by the source's own numbering, so no instant decides between them.
    assert told(events) == told(shuffled)
