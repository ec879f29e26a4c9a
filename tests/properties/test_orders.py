"""A valid history of an order converges to one status, however its sources interleave and however often they repeat."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.frozen import fields, replace
from schemas.inventory import RequestAllocation
from schemas.orders import LineExecution, OrderStatus
from tables.orders.lifecycle import NEXT, State, path
from tests.support.orders import (
    ORDER,
    PACKS,
    FakePromise,
    World,
    cancel,
    erp,
    erp_line,
    invoice,
    picked,
    placed,
    released,
    returned,
    set_qty,
    shipped,
    shorted,
    substituted,
)

Feeds = list[list[Any]]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def histories(draw: Draw, *, backorder: bool = True) -> tuple[Feeds, dict[str, int]]:
    """What each source says of one order, in its own order, and the stock of each item. The warehouse's facts come in any."""
    count = draw(st.integers(1, 3))
    uoms = [draw(st.sampled_from([None, "EA", "CS"])) for _ in range(count)]
    items = [draw(st.sampled_from("AB")) for _ in range(count)]
    qtys = [draw(st.integers(1, 20)) for _ in range(count)]
    base = [qty * PACKS.get(uom or "", 1) for qty, uom in zip(qtys, uoms, strict=True)]
    lines = [(n + 1, items[n], qtys[n], uoms[n]) for n in range(count)]
    channel: list[Any] = [placed(*lines, backorder=backorder)]
    documents: list[Any] = []
    warehouse: list[Any] = []
    if draw(st.booleans()):
        documents = _documents(draw, items, base)
    for position in range(draw(st.integers(0, 2))):
        n = draw(st.integers(1, count))
        channel.append(set_qty(n, draw(st.integers(0, 25)), position=position + 1, uom=uoms[n - 1]))
    if draw(st.integers(0, 3)) == 0:
        channel.append(cancel(draw(st.sampled_from([None, 1]))))
    for n in range(count):
        warehouse += _warehouse(draw, n + 1, items[n], base[n])
    stock = {item: draw(st.integers(0, 60)) for item in "AB"} if backorder else {}
    return [channel, documents, *[[fact] for fact in warehouse]], stock


def _documents(draw: Draw, items: list[str], base: list[int]) -> list[Any]:
    rows: list[Any] = [erp(status=draw(st.sampled_from(["OPEN", "HOLD", "CANCEL"])))]
    for n, (item, qty) in enumerate(zip(items, base, strict=True)):
        rows.append(erp_line(10 * n + 10, item, qty))
        if draw(st.booleans()):
            status, now = draw(st.sampled_from(["O", "P", "X"])), draw(st.integers(1, 30))
            line = erp_line(10 * n + 10, item, now, rev=2, status=status, shipped=draw(st.integers(0, 5)), at=5)
            # What the documents fold adds of the line's history: no revision needs those before it.
            changed_at_ms = 0 if now == qty else line.occurred_at_ms
            rows.append(replace(line, first_item=item, most_milli=1000 * max(qty, now), changed_at_ms=changed_at_ms))
    if draw(st.booleans()):
        rows += [erp("SO0"), erp_line(10, items[0], base[0] + 1, no="SO0"), erp("SO0", rev=2, status="CANCEL")]
    rows.append(erp(rev=2, status="OPEN"))
    if draw(st.booleans()):
        rows.append(invoice(10, draw(st.integers(1, 20))))
    return rows


def _warehouse(draw: Draw, line: int, item: str, qty: int) -> list[Any]:
    facts: list[Any] = []
    left = draw(st.integers(0, qty))
    if left:
        facts.append(released(line, item, left))
    step = 0
    while left and step < 3:
        step += 1
        part = draw(st.integers(1, left))
        left -= part
        kind = draw(st.sampled_from(["picked", "picked", "short", "substituted"]))
        if kind == "picked":
            facts += [
                picked(line, item, part, n=step, uom=draw(st.sampled_from([None, "EA"]))),
                shipped(line, item, part, n=step),
            ]
        elif kind == "short":
            facts.append(shorted(line, item, 0, part, n=step))
        else:
            facts += [substituted(line, item, part, "Z", part, n=step), shipped(line, "Z", part, n=step)]
    if step and draw(st.booleans()):
        facts.append(returned(line, item, 1))
    return facts


def interleave(feeds: Feeds, seed: int, *, repeats: bool) -> list[Any]:
    """The feeds merged at random, each in its own order; with `repeats`, what was said is said again later, too."""
    dice = random.Random(seed)
    queues = [deque(feed) for feed in feeds if feed]
    out: list[Any] = []
    while queues:
        queue = dice.choice(queues)
        out.append(queue.popleft())
        queues = [q for q in queues if q]
        if repeats and dice.random() < 0.4:
            out.append(dice.choice(out))
    return out


def run(events: Sequence[Any], stock: dict[str, int], seed: int | None = None, promise: FakePromise | None = None) -> World:
    """The events with a promise fold beside. With a seed, requests, answers, stock facts and what an order passes on to another
    travel with random delays; what goes from one order to another arrives as it was sent.
    """
    w = World(promise or FakePromise(stock))
    states: dict[int, State] = {}
    if seed is None:
        for event in events:
            w.feed(event)
            checked(w, states)
        return w
    dice = random.Random(seed)
    inbox, to_promise, answers = deque(events), deque[Any](), deque[Any]()
    passed: dict[tuple[str, str], deque[Any]] = {}
    told: set[str] = set()
    while lanes := [lane for lane in (inbox, to_promise, answers, *passed.values()) if lane]:
        lane = dice.choice(lanes)
        event = lane.popleft()
        if lane is to_promise:
            answers.extend(w.promise.ask(event) if isinstance(event, RequestAllocation) else w.promise.execute(event))
            continue
        if isinstance(event, LineExecution) and event.event_id not in told:
            told.add(event.event_id)
            to_promise.append(event)
        for x in w.apply(event):
            if isinstance(x, RequestAllocation):
                to_promise.append(x)
            elif type(x) in w.fold.rules:
                passed.setdefault((event.order_id, x.order_id), deque()).append(x)
        checked(w, states)
    return w


UNTOUCHED = {State.CANCELLED, State.REFUSED, State.SHORT}


def checked(w: World, before: dict[int, State]) -> None:
    """What holds after every step."""
    for (_, number), line in w.tables.lines.under(ORDER):
        quantities = [v for f in fields(line) if f.name.endswith("_milli") for v in [getattr(line, f.name)]]
        assert min(quantities) >= 0
        assert line.wanted_milli <= line.ordered_milli
        assert line.shipped_milli <= line.picked_milli
        assert line.allocated_milli + line.backordered_milli <= max(0, line.wanted_milli - line.picked_milli)
        if line.state in UNTOUCHED:
            assert line.picked_milli == 0
        if line.state in (State.SHIPPED, State.RETURNED):
            assert line.shipped_milli >= line.wanted_milli
        way = path(before.get(number, State.RECEIVED), line.state)
        assert way is not None
        assert all(later in NEXT[earlier] for earlier, later in pairwise(way))
        before[number] = line.state


def settled(w: World) -> OrderStatus:
    """The status once nothing is under way, and that it agrees with the promise fold about what is wanted."""
    status = replace(w.status(), as_of_ms=0, changes=[])  # outcomes tell what stood when they were given
    assert not w.parked
    for line in status.lines:
        demand = w.promise.demands.get((line.item, ORDER, line.line))
        if demand is None or demand.request is None or line.state == "refused":
            continue
        served = max(sum(demand.picked.values()), sum(demand.shipped.values()), demand.request.shipped_milli)
        promised = max(demand.request.wanted_milli * PACKS.get(demand.request.uom or "", 1), served)
        assert min(line.ordered_milli, promised) == line.ordered_milli - line.cancelled_milli
    return status


@settings(max_examples=150)
@given(histories(), st.integers(0, 2**32), st.booleans())
def test_every_interleaving_ends_in_the_same_status(history: tuple[Feeds, dict[str, int]], seed: int, repeats: bool) -> None:
    feeds, stock = history
    plain = settled(run([event for feed in feeds for event in feed], stock))
    mixed = run(interleave(feeds, seed, repeats=repeats), stock, seed)
    assert settled(mixed) == plain


@settings(max_examples=150)
@given(histories(backorder=False), st.integers(0, 2**32))
def test_orders_without_backorder_converge_too(history: tuple[Feeds, dict[str, int]], seed: int) -> None:
    feeds, stock = history
    plain = settled(run([event for feed in feeds for event in feed], stock))
    mixed = run(interleave(feeds, seed, repeats=True), stock, seed)
    assert settled(mixed) == plain


@settings(max_examples=150)
@given(histories(), st.integers(0, 2**32))
def test_replaying_a_whole_history_changes_nothing(history: tuple[Feeds, dict[str, int]], seed: int) -> None:
    feeds, stock = history
    w = run(interleave(feeds, seed, repeats=False), stock, seed)
    before, said = w.status(), len(w.out)
    for event in interleave(feeds, seed + 1, repeats=True):
        assert w.apply(event) == []
    assert w.status() == before
    assert len(w.out) == said


@st.composite
def shared_references(draw: Draw) -> Feeds:
    """Two customers' orders under one reference, in the channel and in the ERP, there perhaps more than once."""
    channel = [replace(placed((1, "A", n), content=who), customer=who) for who, n in (("C1", 10), ("C2", 25))]
    rows: list[Any] = []
    for n in range(draw(st.integers(1, 4))):
        no, qty = f"SO{n}", draw(st.integers(1, 30))
        rows += [erp(no, customer=draw(st.sampled_from(["C1", "C2"]))), replace(erp_line(10, "A", qty, no=no), first_item="A")]
        if draw(st.integers(0, 2)) == 0:
            rows.append(replace(rows[-2], revision=2, status="CANCEL", event_id=f"cancelled {no}"))
    return [[order] for order in draw(st.permutations(channel))] + [rows]


def by_customer(w: World) -> dict[str, OrderStatus]:
    """The orders under the reference, whichever has the plain id."""
    found = {}
    for order_id in (ORDER, f"{ORDER}@C1", f"{ORDER}@C2"):
        if (order_id,) in w.tables.placements:
            status = replace(w.status(order_id), order_id="", as_of_ms=0, same_reference=[])
            assert status.customer not in found
            found[status.customer] = status
    return found


@settings(max_examples=150)
@given(shared_references(), st.integers(0, 2**32))
def test_orders_of_two_customers_under_one_reference_converge(feeds: Feeds, seed: int) -> None:
    """Whoever came first has the plain id; else nothing depends on it. What stood for an order before it was placed is over."""
    plain = run([event for feed in feeds for event in feed], {})
    mixed = run(interleave(feeds, seed, repeats=True), {}, seed)
    assert by_customer(mixed) == by_customer(plain)
    assert set(by_customer(plain)) == {"C1", "C2"}
    wanted = [sum(line.wanted_milli for _, line in w.tables.lines.under()) for w in (mixed, plain)]
    assert wanted[0] == wanted[1]
