"""Shipments: one fact a line, whatever the number of messages, and the same outcome in whatever order they are heard."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.inventory import LedgerEntry
from tests.support.promises import Bench

STOCK = 200
WANTED = 60

pick = st.tuples(st.just("pick"), st.integers(1, 9))
ship = st.tuples(st.just("ship"), st.integers(1, 3), st.integers(0, 9))
facts = st.lists(pick | ship, max_size=12).flatmap(lambda found: st.tuples(st.just(found), st.permutations(range(len(found)))))


def tell(b: Bench, at: int, fact: tuple[Any, ...]) -> None:
    """One message, of the minute and the number it has in its feed."""
    b.number = 1_000 + at
    match fact:
        case ("pick", qty):
            b.pick(str(qty), "web:1", at=at, event_id=f"W-{at}")
        case ("ship", shipment, qty):
            b.ship(str(qty), "web:1", at=at, event_id=f"W-{at}", shipment=f"SH-{shipment}")


def told(order: list[int], found: list[tuple[Any, ...]], count: int | None) -> Bench:
    b = Bench()
    b.item()
    b.receive(str(STOCK), at=-10)
    b.order(str(WANTED), "web:1")
    for n in order:
        tell(b, n, found[n])
        if order[-1] != n and n == count:
            tell(b, n, found[n])  # the same message again
    if count is not None:
        b.number = 5_000
        b.count("50", at=count)
    return b


def expected(found: list[tuple[Any, ...]], count: int | None) -> tuple[int, int, int]:
    """Usable, staged and open demand, by the definitions."""
    picks = [(at, fact[1]) for at, fact in enumerate(found) if fact[0] == "pick"]
    parcels: dict[int, tuple[int, int]] = {}
    for at, fact in enumerate(found):
        if fact[0] == "ship":
            parcels[fact[1]] = (parcels.get(fact[1], (at, 0))[0], fact[2])
    picked = sum(qty for _, qty in picks)
    left, taken = picked, list(picks)
    for at, qty in sorted(parcels.values()):
        covered = min(left, qty)
        left -= covered
        taken.append((at, qty - covered))
    shipped = sum(qty for _, qty in parcels.values())
    usable = STOCK - sum(qty for _, qty in taken) if count is None else 50 - sum(qty for at, qty in taken if at > count)
    return usable, max(picked, shipped) - shipped, max(0, WANTED - max(picked, shipped))


@given(facts, st.none() | st.integers(0, 5))
@settings(max_examples=300)
def test_shipments_and_picks_in_any_order(told_in: tuple[list[tuple[Any, ...]], list[int]], count: int | None) -> None:
    """However often and late each is told: the newest quantity of a shipment's line counts, from when it first left."""
    found, order = told_in
    b = told(order, found, count)
    usable, staged, demand = expected(found, count)
    row = b.t.stock["SKU-1", "DC1"]
    line = b.t.demands["SKU-1", "web:1", 1]
    assert (row.usable_milli, row.staged_milli) == (usable * 1000, staged * 1000)
    parts = sum(part.qty_milli for part in line.parts)
    assert parts + line.backordered_milli == demand * 1000
    ledger = [c for e in b.said if isinstance(e, LedgerEntry) for c in e.changes if c.measure == "on_hand.usable"]
    assert all(x.after_milli == y.before_milli for x, y in pairwise(ledger))


def test_a_shipment_told_again_is_the_same_fact() -> None:
    """A message more changes nothing; one that says otherwise corrects it, is noted, and gives back what did not leave."""
    b = Bench()
    b.item()
    b.receive("100")
    b.order("10", "web:1")
    b.pick("3", "web:1")
    b.ship("3", "web:1", shipment="SH-1", at=5)
    b.ship("3", "web:1", shipment="SH-1", at=6)
    assert (b.on_hand(), b.site().demand_milli, b.open_exceptions()) == ("97", 7_000, set())
    b.ship("5", "web:1", shipment="SH-1", at=7)
    assert (b.on_hand(), b.site().demand_milli) == ("95", 5_000)
    assert b.open_exceptions() == {"shipment_corrected:web:1:1:SH-1"}
    b.ship("0", "web:1", shipment="SH-1", at=8)
    assert (b.on_hand(), b.site().staged_milli, b.site().demand_milli) == ("97", 3_000, 7_000)
    b.ship("2", "web:1", shipment="SH-2", at=8)
    b.ship("2", "web:1", shipment="SH-2", at=8, lot="L1")
    assert (b.on_hand(), b.site().staged_milli) == ("96", 0), "another parcel, another lot: other facts"
