"""Whoever waits gets what is free: by the very event that frees it, whichever that is."""

from __future__ import annotations

from datetime import date
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Tick
from schemas.inventory import DemandSubstituted
from tables.common.policy import ChannelPolicy, Policy, SitePolicy
from tables.inventory import allocation
from tables.inventory.allocation import candidates, channel_room
from tables.inventory.item_ledger import ItemLedger
from tests.support.promises import Bench

ORDERS = ("web:0", "web:1", "edi:2", "edi:3")
CHANNELS = {"web": ChannelPolicy(cap_milli=10_000), "edi": ChannelPolicy(sites=("DC1",), floor_milli=3_000)}
POLICIES = [Policy(), Policy(channels=CHANNELS), Policy(default_site=SitePolicy(past_due_days=2))]

units = st.integers(1, 9)
order = st.sampled_from(ORDERS)
site = st.sampled_from(("DC1", "DC2"))
last_day = st.none() | st.integers(3, 5)
action = st.one_of(
    st.tuples(st.just("order"), order, st.integers(0, 12), st.booleans(), st.none() | site),
    st.tuples(st.just("receive"), units, site, last_day),
    st.tuples(st.just("pick"), order, units, site, last_day),
    st.tuples(st.just("ship"), order, units, site),
    st.tuples(st.just("short"), order, st.integers(0, 3), units, site),
    st.tuples(st.just("substitute"), order, units, site),
    st.tuples(st.just("supply"), st.integers(0, 12), st.integers(2, 25), site),
    st.tuples(st.just("count"), st.integers(0, 20), site),
    st.tuples(st.just("reserve"), st.integers(0, 2), units),
    st.tuples(st.just("release"), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.integers(1, 2000)),
)

OPENING = [("receive", 9, "DC1", None), ("receive", 5, "DC2", 4), *(("order", name, 6, True, None) for name in ORDERS)]


def perform(b: Bench, n: int, step: Any) -> None:
    match step:
        case ("order", name, qty, is_partial, at):
            b.order(str(qty), name, revision=n, allow_partial=is_partial, site=at)
        case ("receive", qty, at, None):
            b.receive(str(qty), site=at)
        case ("receive", qty, at, day):
            b.receive(str(qty), site=at, lot=f"L{day}", expires_on=date(2026, 11, day))
        case ("pick", name, qty, at, day):
            b.pick(str(qty), name, site=at, lot=None if day is None else f"L{day}")
        case ("ship", name, qty, at):
            b.ship(str(qty), name, site=at)
        case ("short", name, qty, short, at):
            b.short(str(qty), str(short), name, site=at)
        case ("substitute", name, qty, at):
            b._stock(DemandSubstituted, str(qty), "SKU-1", at, None, None, order_id=name, line=1, substitute_item="SKU-2")
        case ("supply", qty, day, at):
            b.supply(str(qty), f"2026-11-{day:02}", revision=n, site=at)
        case ("count", qty, at):
            b.count(str(qty), site=at)
        case ("reserve", key, qty):
            b.reserve(str(qty), f"R-{key}")
        case ("release", key):
            b.release(f"R-{key}", f"X-{n}")
        case ("pass", minutes):
            b.pass_minutes(minutes)


def waits_in_vain(b: Bench) -> list[str]:
    """Orders that wait for units nobody else was promised and that they may have: a part, or the whole if they take no part."""
    ledger = ItemLedger(b.policy, b.t, "SKU-1", Tick(**b.head(source="clock")))
    found = []
    for (_, order_id, _), d in b.t.demands.under("SKU-1"):
        if d.backordered_milli:
            sites = candidates(ledger, d.site, d.channel)
            there = ledger.free(sites, 0)
            free = there.promise(sites)
            room = channel_room(ledger, d.channel, sites, there)
            if min(free, free if room is None else room) >= (1 if d.allow_partial else d.backordered_milli):
                found.append(order_id)
    return found


def play(policy: Policy, actions: list[Any]) -> None:
    b = Bench(policy)
    b.item()
    for n, step in enumerate([*OPENING, *actions], 1):
        b.minute += 1
        perform(b, n, step)
        b.pass_minutes(0)
        assert waits_in_vain(b) == []


@given(st.lists(action, max_size=12), st.sampled_from(POLICIES))
@settings(max_examples=300)
def test_nobody_waits_for_what_is_free(actions: list[Any], policy: Policy) -> None:
    """After each event, and the clock's stroke, nobody waits for what is there for him."""
    play(policy, actions)


def claims_nothing_to_come(step: Any) -> bool:
    """A line that wants all or nothing, or one promised on supply, keeps its claim while those before it are looked at."""
    return step[0] != "supply" and (step[0] != "order" or step[3] is True)


@given(st.lists(action.filter(claims_nothing_to_come), max_size=12), st.sampled_from(POLICIES))
@settings(max_examples=200)
def test_nobody_waits_in_a_queue_longer_than_one_event_looks_at(actions: list[Any], policy: Policy) -> None:
    """The same where each event looks at one line only and the rest follow."""
    with patch.object(allocation, "REVIEWED_AT_ONCE", 1):
        play(policy, actions)
