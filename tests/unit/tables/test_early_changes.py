"""Requests for change that come before what they are about: their sender reads that they wait, and what became of them."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.channels.orders.translate import translate
from schemas.frozen import replace
from schemas.orders import ChangeAnswered, LineAnswered, OrderTick
from schemas.records import Record
from tables.common.policy import OrderPolicy
from tables.orders.early_changes import MOST_EARLY
from tests.support.orders import NOON, ORDER, FakePromise, World, cancel, erp, erp_line, head, placed, set_qty, world

WAIT_MS = OrderPolicy().change_ms


def tick(at: int) -> OrderTick:
    return OrderTick(**head("tick", at))


def last(w: World) -> ChangeAnswered:
    return [x for x in w.out if isinstance(x, ChangeAnswered)][-1]


def test_whoever_sends_a_change_too_soon_reads_that_it_waits_and_then_what_became_of_it() -> None:
    w = world(set_qty(1, 4), cancel(2))
    assert w.changes() == {"set 1 4 1": ["pending"], "cancel": ["pending"]}
    assert "has not arrived" in last(w).sentence
    assert w.noted() == ["waiting", "waiting"]
    w.feed(placed((1, "A", 10), (2, "B", 5)))
    assert {name: said[-1] for name, said in w.changes().items()} == {"set 1 4 1": "done", "cancel": "done"}
    assert w.cleared() == [f"waiting:change:{ORDER}"]
    assert [list(w.tables.early_changes), list(w.tables.deadlines)] == [[], []]  # type: ignore[call-overload]


def test_a_change_that_cannot_be_carried_out_when_its_order_comes_is_refused_then() -> None:
    w = world(set_qty(7, 4), placed((1, "A", 10)))
    assert w.changes() == {"set 7 4 1": ["pending", "refused"]}
    assert "has no line 7" in last(w).sentence


def test_a_change_whose_order_does_not_come_expires_and_changes_nothing_after_that() -> None:
    w = world(cancel())
    w.feed(tick(WAIT_MS))
    assert w.changes() == {"cancel": ["pending"]}
    w.feed(tick(WAIT_MS + 1))
    assert w.changes() == {"cancel": ["pending", "expired"]}
    assert last(w).at_ms == NOON + WAIT_MS + 1
    assert last(w).sentence == f"Order {ORDER} has not arrived, and the request has expired: it changes nothing any more."
    assert w.cleared() == [f"waiting:change:{ORDER}"]
    assert w.noted() == ["waiting", "change_refused"]
    w.feed(placed((1, "A", 10)))
    assert w.units(1) == {"ordered": 10, "allocated": 10}
    assert [x.outcome for x in w.status().changes] == ["expired"]


def test_a_change_that_is_refused_as_it_stands_is_no_dead_letter_its_sender_never_hears_of() -> None:
    w = world(placed((1, "A", 10)), set_qty(1, -1))
    assert w.changes() == {"set 1 -1 1": ["refused"]}
    assert (last(w).hint, w.fates[-1]) == ("Send 0 or more", "applied")
    w.feed(set_qty(1, -1))
    assert (w.changes(), w.fates[-1]) == ({"set 1 -1 1": ["refused"]}, "duplicate"), "sent again, it keeps its outcome"


def test_the_same_request_sent_again_waits_once() -> None:
    w = world(cancel(), cancel())
    assert w.fates == ["applied", "duplicate"]
    assert w.changes() == {"cancel": ["pending"]}


def test_an_order_of_the_erp_brings_what_waits_for_it_too() -> None:
    w = world(cancel(), erp(), erp_line(10, "A", 10))
    assert w.changes()["cancel"][-1] == "done"
    assert w.status().status == "cancelled"


def test_a_quantity_in_a_unit_nobody_has_named_yet_waits_for_the_promise_folds_answer() -> None:
    w = World()
    w.apply(placed((1, "A", 24, "EA")))
    w.apply(set_qty(1, 1, uom="CS"))
    assert w.changes() == {"set 1 1 1": ["pending"]}
    assert "units of A are not known" in last(w).sentence
    w.feed(*[answer for asked in w.asked for answer in FakePromise().ask(asked)])
    assert w.units(1)["ordered"] == 12
    assert not list(w.tables.early_changes)  # type: ignore[call-overload]


def test_not_more_wait_for_an_order_than_may() -> None:
    w = world(*[cancel(event_id=f"c{n}") for n in range(MOST_EARLY + 1)])
    assert [said[-1] for said in w.changes().values()] == ["pending"] * MOST_EARLY + ["refused"]


@pytest.mark.parametrize("is_early", [True, False])
def test_the_outcome_of_a_change_of_another_customers_order_can_be_read_where_it_was_sent(*, is_early: bool) -> None:
    """Its reference is used by two customers: it is passed on, and its sender knows the first id alone."""
    mine, theirs = placed((1, "A", 10)), replace(placed((1, "B", 7), content="c2"), event_id="placed 2", customer="C2")
    mine = replace(mine, customer="C1")
    change = replace(cancel(event_id=f"{ORDER}!abc"), customer="C2")
    w = world(*([mine, change, theirs] if is_early else [mine, theirs, change]))
    for order in (ORDER, f"{ORDER}@C2"):
        assert w.changes(order)["abc"][-1] == "done", order
    assert w.units(1) == {"ordered": 10, "allocated": 10}
    assert w.status(f"{ORDER}@C2").status == "cancelled"


def test_the_change_a_channel_sends_has_the_id_its_caller_was_told() -> None:
    raw = b'{"channel": "web", "external_ref": "W1", "change": "cancel", "change_id": "abc", "reason": "x"}'
    (event,) = translate(Record("raw.channel.web", 0, 0, NOON, None, raw)).events
    w = world(event)
    assert w.changes() == {"abc": ["pending"]}


def test_what_waits_does_not_weigh_on_the_answers_of_a_line() -> None:
    """Only an order for which something waits is looked through."""
    w = world(placed((1, "A", 10)))
    looked: list[Any] = []
    w.tables.early_changes.under = lambda *prefix: looked.append(prefix)  # type: ignore[method-assign, assignment]
    (answer,) = [x for asked in w.asked for x in FakePromise().ask(asked) if isinstance(x, LineAnswered)]
    w.feed(replace(answer, answer=5, event_id="again"))
    assert looked == []
