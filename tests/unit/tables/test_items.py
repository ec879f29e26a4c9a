"""The ERP's master facts: newest wins, deletes stay deleted, a renumbered item finds its text."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from schemas.errors import AlreadyApplied
from schemas.inventory import ErpBalanceChanged, ItemChanged, ItemTextProvided, ItemTextRequested, PriceChanged, SiteChanged
from tables.common.table import in_memory
from tables.inventory import item_master
from tables.inventory.state import PromiseTables
from tests.support.erp_world import row_event


@pytest.fixture
def t() -> PromiseTables:
    return in_memory(PromiseTables)


def change(t: PromiseTables, number: str, lsn: int, op: str = "u", **columns: Any) -> list[Any]:
    return list(item_master.item_changed(t, row_event(ItemChanged, lsn, op=op, item=number, **columns)))


def renumbered(t: PromiseTables, old: str, new: str, lsn: int) -> ItemTextRequested:
    (request,) = change(t, new, lsn, "c", description_is_unavailable=True, renumbered_from=old)
    assert isinstance(request, ItemTextRequested)
    return request


def test_newest_wins(t: PromiseTables) -> None:
    change(t, "A", 10, "r", description="base")
    change(t, "A", 20, description="new", safety_stock_milli=500)
    for lsn, op in ((20, "u"), (15, "u"), (10, "r"), (12, "i")):
        with pytest.raises(AlreadyApplied):
            change(t, "A", lsn, op, description="old")
    change(t, "A", 25, "i", description="read later", safety_stock_milli=500)
    change(t, "A", 24, description="written before the read, committed after")
    assert t.items[("A",)].description == "written before the read, committed after"


def test_a_read_that_confirms_changes_nothing(t: PromiseTables) -> None:
    change(t, "A", 20, description="same")
    with pytest.raises(AlreadyApplied):
        change(t, "A", 30, "i", description="same")


def test_a_text_that_was_not_sent_stays(t: PromiseTables) -> None:
    change(t, "A", 10, description="long")
    change(t, "A", 20, description_is_unavailable=True, status="H")
    assert (t.items[("A",)].description, t.items[("A",)].status) == ("long", "H")


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_a_renumbered_item_gets_its_text(t: PromiseTables, is_asked_first: bool) -> None:
    """Asked before or after the old number's deletion is heard."""
    change(t, "A", 10, description="long")
    request = renumbered(t, "A", "B", 20)
    answers = list(item_master.item_text_requested(t, request)) if is_asked_first else []
    answers += change(t, "A", 20, "d")
    answers += [] if is_asked_first else list(item_master.item_text_requested(t, request))
    (answer,) = answers
    list(item_master.item_text_provided(t, answer))
    assert t.items[("B",)].description == "long"
    assert t.items[("A",)].is_deleted
    with pytest.raises(AlreadyApplied):
        list(item_master.item_text_provided(t, answer))


def test_the_old_number_lives_again_before_it_is_asked(t: PromiseTables) -> None:
    change(t, "A", 10, description="long")
    change(t, "A", 20, "d")
    change(t, "A", 30, "c", description="another thing")
    (answer,) = item_master.item_text_requested(t, renumbered(t, "A", "B", 20))
    assert isinstance(answer, ItemTextProvided)
    assert answer.description == "long"


def test_a_newer_text_of_its_own_stays(t: PromiseTables) -> None:
    change(t, "A", 10, description="long")
    change(t, "A", 20, "d")
    (answer,) = item_master.item_text_requested(t, renumbered(t, "A", "B", 20))
    change(t, "B", 30, description="rewritten")
    with pytest.raises(AlreadyApplied):
        list(item_master.item_text_provided(t, answer))
    assert t.items[("B",)].description == "rewritten"


def test_renumbered_twice_the_text_is_handed_on(t: PromiseTables) -> None:
    """B is gone before A's text reached it: C still gets it."""
    to_b, to_c = renumbered(t, "A", "B", 20), renumbered(t, "B", "C", 30)
    assert change(t, "B", 30, "d") == []
    assert list(item_master.item_text_requested(t, to_c)) == []
    assert list(item_master.item_text_requested(t, to_b)) == []
    change(t, "A", 10, "r", description="long")
    (for_b,) = change(t, "A", 20, "d")
    (for_c,) = item_master.item_text_provided(t, for_b)
    list(item_master.item_text_provided(t, for_c))
    assert t.items[("C",)].description == "long"
    assert not list(t.text_requests.under())


def test_prices_balances_and_sites(t: PromiseTables) -> None:
    day: dict[str, Any] = {"item": "A", "price_list": "STD", "currency": "USD", "valid_from": date(2026, 1, 1)}
    list(item_master.price_changed(t, row_event(PriceChanged, 20, **day, unit_price=Decimal("1.5"), valid_to=None)))
    list(item_master.price_changed(t, row_event(PriceChanged, 30, "d", **day)))
    assert t.prices[("A", "STD", "USD", date(2026, 1, 1))].is_deleted
    assert (
        item_master.store_erp_balance(t, row_event(ErpBalanceChanged, 20, item="A", site="DC1", on_hand_milli=5)).on_hand_milli
        == 5
    )
    gone = item_master.store_erp_balance(t, row_event(ErpBalanceChanged, 30, "d", item="A", site="DC1"))
    assert (gone.is_deleted, gone.on_hand_milli) == (True, 5)
    with pytest.raises(AlreadyApplied):
        item_master.store_erp_balance(t, row_event(ErpBalanceChanged, 30, "d", item="A", site="DC1"))
    list(item_master.site_changed(t, row_event(SiteChanged, 20, "r", site="DC1", name="Reno", timezone="America/Los_Angeles")))
    with pytest.raises(AlreadyApplied):
        list(item_master.site_changed(t, row_event(SiteChanged, 20, "r", site="DC1", name="Reno", timezone="UTC")))
    assert t.sites[("DC1",)].timezone == "America/Los_Angeles"
