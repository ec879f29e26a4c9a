"""Whole tables of the ERP's in the promise and documents folds: a new history, a truncated table."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from schemas import documents as rows
from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import replace
from schemas.inventory import Atp, ErpBalanceChanged, ErpItemsNews, ItemChanged, ReviewErpItems, SiteChanged, SupplyChanged
from streams.engine.flow import Fold
from streams.flows.documents import documents
from streams.flows.promise import promise_fold
from tables.common.policy import Policy, SitePolicy
from tables.common.table import in_memory
from tables.inventory.atp_record import publish_atp
from tests.support.erp_world import row_event

POLICY = Policy(default_site=SitePolicy(physical_owner="erp"))
NOW_MS = 1_795_900_000_000
ITEM: dict[str, Any] = {
    "description": None,
    "description_is_unavailable": False,
    "base_uom": "EA",
    "pack_uom": None,
    "pack_milli": None,
    "lot_tracked": False,
    "shelf_life_days": None,
    "status": "A",
    "safety_stock_milli": 0,
    "hazmat_class": None,
    "updated_at": "",
    "renumbered_from": None,
}
LINE: dict[str, Any] = {
    "po_no": "P1",
    "line_no": 10,
    "item": "A",
    "site": "DC1",
    "ordered_milli": 9_000,
    "received_milli": 0,
    "expected_on": date(2026, 12, 5),
    "line_status": "O",
}


class Kept:
    """A fold on dicts that hears its own notes."""

    def __init__(self, fold: Fold[Any]) -> None:
        self.fold = fold
        self.t: Any = in_memory(fold.tables)
        self.notes = 0

    def apply(self, event: Any) -> list[Any]:
        said = []
        for caused in list(self.fold.rules[type(event)](self.t, event)):
            if type(caused) in self.fold.rules:
                self.notes += 1
                said += self.apply(caused)
            else:
                said.append(caused)
        return said

    def atp(self, item: str) -> Atp:
        found = publish_atp(POLICY, self.t, item, 1)
        assert found is not None
        return found


def promise() -> Kept:
    fold = Kept(promise_fold(POLICY))
    fold.apply(row_event(SiteChanged, 900, "r", site="DC1", name="", timezone="UTC"))
    return fold


def news(
    kind: type[Any], table: str, what: str, position: int, *, epoch: int = 1, history: int = 900, at_ms: int = NOW_MS
) -> Any:
    return kind(
        event_id=f"{table}:{what}:{position}",
        source="erp",
        source_position=position,
        occurred_at_ms=at_ms,
        recorded_at_ms=at_ms,
        trace_id="t",
        table=table,
        what=what,
        connector="erp",
        epoch=epoch,
        history=history,
        commit_position=position - 1,
    )


def of(event: Any, epoch: int, history: int) -> Any:
    return replace(event, epoch=epoch, history=history)


def item(name: str, lsn: int, op: str = "r", *, epoch: int = 1, history: int = 900) -> Any:
    return of(row_event(ItemChanged, lsn, op, item=name, **ITEM), epoch, history)


def balance(name: str, lsn: int, units: int, op: str = "u", *, epoch: int = 1, history: int = 900) -> Any:
    columns: dict[str, Any] = {
        "item": name,
        "site": "DC1",
        "on_hand_milli": units * 1000,
        "allocated_milli": 0,
        "on_order_milli": 0,
    }
    event = row_event(ErpBalanceChanged, lsn, op, **columns, row_version=1, updated_at="")
    return of(event, epoch, history)


@pytest.mark.parametrize("second", [9_000, 300])
def test_a_new_history_replaces_what_is_held_wherever_its_positions_start(second: int) -> None:
    """A is read again; C is not, so nobody can be sure of it until it is."""
    fold = promise()
    fold.apply(news(ErpItemsNews, "item", "history", 900))
    for name in ("A", "C"):
        fold.apply(item(name, 900))
        fold.apply(balance(name, 900, 100, "r"))
    fold.apply(balance("A", 2_000, 90))
    assert not fold.atp("A").suspects
    fold.apply(news(ErpItemsNews, "item", "history", second, epoch=2, history=second, at_ms=NOW_MS + 9))
    assert fold.atp("A").suspects
    fold.apply(item("A", second, epoch=2, history=second))
    assert fold.atp("A").suspects  # its balance has not been read yet
    fold.apply(balance("A", second, 40, "r", epoch=2, history=second))
    assert (fold.atp("A").promise_milli, fold.atp("A").suspects) == (40_000, [])
    assert fold.atp("C").suspects
    with pytest.raises(AlreadyApplied):  # what comes late of before stays behind
        fold.apply(balance("A", 9_999_999, 80))
    fold.apply(balance("A", second + 10, 39, epoch=2, history=second))
    assert fold.atp("A").promise_milli == 39_000
    with pytest.raises(AlreadyApplied):
        fold.apply(news(ErpItemsNews, "item", "history", second, epoch=2, history=second, at_ms=NOW_MS + 20))
    fold.apply(news(ErpItemsNews, "item_price", "history", 900, at_ms=NOW_MS - 5))  # heard of late: it was before
    assert fold.t.erp_tables[("item_price",)].history == second
    assert (fold.atp("A").promise_milli, fold.atp("A").suspects) == (39_000, [])


@pytest.mark.parametrize("newest", [9_000, 300])
def test_an_older_history_heard_of_late_is_kept_as_the_older_one(newest: int) -> None:
    """Partitions of the feed are read independently: one may lag behind with the history of before."""
    fold = promise()
    fold.apply(news(ErpItemsNews, "item", "history", newest, epoch=2, history=newest, at_ms=NOW_MS + 9))
    fold.apply(item("A", newest, epoch=2, history=newest))
    fold.apply(balance("A", newest, 40, "r", epoch=2, history=newest))
    fold.apply(news(ErpItemsNews, "item", "history", 900))
    known = fold.t.erp_tables[("item",)]
    assert (known.history, [start.history for start in known.starts]) == (newest, [900, newest])
    assert (fold.atp("A").promise_milli, fold.atp("A").suspects) == (40_000, [])
    with pytest.raises(AlreadyApplied):
        fold.apply(news(ErpItemsNews, "item", "history", 900))
    with pytest.raises(AlreadyApplied):
        fold.apply(balance("A", 900, 100, "r"))


def test_a_younger_truncation_at_a_lower_position_is_refused() -> None:
    """Its history is not known yet: fed again when it is, it takes the rows of before."""
    fold = promise()
    fold.apply(news(ErpItemsNews, "item", "history", 900))
    fold.apply(item("A", 900))
    fold.apply(news(ErpItemsNews, "item", "truncated", 2_000, at_ms=NOW_MS + 1))
    fold.apply(part(ItemChanged, 2_010, epoch=1, history=900, at_ms=NOW_MS + 2, item="B", **ITEM))
    cut = news(ErpItemsNews, "item", "truncated", 340, at_ms=NOW_MS + 700_000)
    with pytest.raises(Refused, match="began anew"):
        fold.apply(cut)
    fold.apply(news(ErpItemsNews, "item", "history", 300, epoch=2, history=300, at_ms=NOW_MS + 600_000))
    fold.apply(cut)
    assert fold.t.items[("B",)].is_deleted


def test_a_younger_change_at_a_lower_position_is_refused() -> None:
    fold = promise()
    fold.apply(item("A", 900))
    fold.apply(replace(balance("A", 2_000, 90), occurred_at_ms=NOW_MS))
    with pytest.raises(AlreadyApplied):
        fold.apply(replace(balance("A", 1_500, 95), occurred_at_ms=NOW_MS - 5))
    with pytest.raises(Refused, match="began anew"):
        fold.apply(replace(balance("A", 1_000, 10), occurred_at_ms=NOW_MS + 3_600_000))


def test_a_truncated_table_loses_the_rows_of_before() -> None:
    """In steps; what was written since stays, and what comes late of before stays gone."""
    fold = promise()
    names = [f"I{n:03}" for n in range(450)]
    for n, name in enumerate(names):
        fold.apply(item(name, 900))
        fold.apply(balance(name, 1_000 + n, 20))
    fold.apply(balance("I007", 3_010, 65))
    fold.apply(news(ErpItemsNews, "inventory_balance", "truncated", 3_000))
    assert fold.notes == 3
    assert [name for name in names if fold.atp(name).promise_milli] == ["I007"]
    assert fold.atp("I007").promise_milli == 65_000
    with pytest.raises(AlreadyApplied):
        fold.apply(balance("I008", 2_999, 20))
    with pytest.raises(AlreadyApplied):
        fold.apply(balance("I009", 900, 20, "r"))
    fold.apply(balance("I008", 3_011, 5))
    assert fold.atp("I008").promise_milli == 5_000


def test_a_truncated_table_of_documents_withdraws_its_supply() -> None:
    fold = Kept(documents)
    line: dict[str, Any] = {"po_no": "P1", "line_no": 10, "item": "A", "site": "DC1", "ordered_milli": 9_000, "received_milli": 0}
    fold.apply(row_event(rows.PurchaseOrderRow, 1_000, po_no="P1", supplier="S", status="OPEN"))
    line_row = row_event(rows.PurchaseOrderLineRow, 1_001, **line, expected_on=date(2026, 12, 5), line_status="O")
    (supply,) = fold.apply(line_row)
    assert supply.is_open
    (withdrawn,) = fold.apply(news(rows.ErpDocumentsNews, "purchase_order_line", "truncated", 3_000, history=0))
    assert (withdrawn.item, withdrawn.ordered_milli, withdrawn.is_open) == ("A", 0, False)


def test_news_of_a_table_that_is_elsewhere_is_refused() -> None:
    with pytest.raises(Refused):
        promise().apply(news(ErpItemsNews, "invoice", "truncated", 3_000))
    assert ReviewErpItems in promise().fold.rules


def supply(said: list[Any]) -> list[SupplyChanged]:
    """What was said of supply."""
    return [event for event in said if isinstance(event, SupplyChanged)]


def part(kind: Any, lsn: int, *, epoch: int, history: int, at_ms: int, **columns: Any) -> Any:
    """A row by a part of the feed that has seen so many histories, the newest of which is `history`."""
    return replace(of(row_event(kind, lsn, **columns), epoch, history), recorded_at_ms=at_ms, occurred_at_ms=at_ms)


@pytest.mark.parametrize(("history", "after_ms"), [(0, 20), (900, 20), (300, 20), (300, 8)])
def test_a_truncation_takes_rows_of_older_histories_wherever_its_part_of_the_feed_counts(history: int, after_ms: int) -> None:
    """Its part of the feed may have seen fewer histories than the row's, or none: each counts its own.

    It may also have shown the newest before the part the news of that came from.
    """
    fold = Kept(documents)
    line: dict[str, Any] = {"po_no": "P1", "line_no": 10, "item": "A", "site": "DC1", "ordered_milli": 9_000, "received_milli": 0}
    line |= {"expected_on": date(2026, 12, 5), "line_status": "O"}
    fold.apply(news(rows.ErpDocumentsNews, "purchase_order_line", "history", 900))
    fold.apply(row_event(rows.PurchaseOrderRow, 1_000, po_no="P1", supplier="S", status="OPEN"))
    fold.apply(part(rows.PurchaseOrderLineRow, 1_001, epoch=2, history=900, at_ms=NOW_MS + 5, **line))
    begun = news(rows.ErpDocumentsNews, "purchase_order_line", "history", 300, epoch=3, history=300, at_ms=NOW_MS + 9)
    fold.apply(begun)
    cut = news(rows.ErpDocumentsNews, "purchase_order_line", "truncated", 340, history=history, at_ms=NOW_MS + after_ms)
    (withdrawn,) = supply(fold.apply(cut))
    assert (withdrawn.ordered_milli, withdrawn.is_open) == (0, False)
    with pytest.raises(AlreadyApplied):  # written before the table was truncated
        fold.apply(part(rows.PurchaseOrderLineRow, 330, epoch=2, history=900, at_ms=NOW_MS + 21, **line))
    (again,) = supply(fold.apply(part(rows.PurchaseOrderLineRow, 350, epoch=2, history=900, at_ms=NOW_MS + 22, **line)))
    assert (again.ordered_milli, again.is_open) == (9_000, True)


def test_a_change_after_a_new_history_began_lower_down_is_taken_where_that_has_shown_nothing() -> None:
    """The row was deleted unseen and is written again: its part of the feed knows of no new history, the table does."""
    fold = promise()
    fold.apply(news(ErpItemsNews, "item", "history", 900))
    fold.apply(item("A", 900))
    fold.apply(replace(balance("A", 2_000, 90), occurred_at_ms=NOW_MS, recorded_at_ms=NOW_MS))
    fold.apply(news(ErpItemsNews, "item", "history", 300, epoch=2, history=300, at_ms=NOW_MS + 9))
    fold.apply(item("A", 300, epoch=2, history=300))
    fold.apply(replace(balance("A", 340, 40), occurred_at_ms=NOW_MS + 20, recorded_at_ms=NOW_MS + 20))
    assert (fold.atp("A").promise_milli, fold.atp("A").suspects) == (40_000, [])
    with pytest.raises(AlreadyApplied):
        fold.apply(replace(balance("A", 330, 50), occurred_at_ms=NOW_MS + 21, recorded_at_ms=NOW_MS + 21))


@pytest.mark.parametrize("begins_at", [2_000, 300])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_snapshot_reads_what_was_written_after_a_truncation_before_it(begins_at: int, is_late: bool) -> None:
    """The table was empty when the first connector read it, so no history of before is known, wherever positions begin now."""
    fold = Kept(documents)
    cut = news(rows.ErpDocumentsNews, "purchase_order_line", "truncated", 1_000, history=0, at_ms=NOW_MS)
    begun = news(rows.ErpDocumentsNews, "purchase_order_line", "history", begins_at, history=begins_at, at_ms=NOW_MS + 9)
    for told in (begun, cut) if is_late else (cut, begun):
        fold.apply(told)
    fold.apply(of(row_event(rows.PurchaseOrderRow, begins_at, "r", po_no="P1", supplier="S", status="OPEN"), 1, begins_at))
    read = row_event(rows.PurchaseOrderLineRow, begins_at, "r", **LINE)
    (found,) = supply(fold.apply(replace(of(read, 1, begins_at), recorded_at_ms=NOW_MS + 9)))
    assert (found.ordered_milli, found.is_open) == (9_000, True)


def test_a_snapshot_overtaken_by_the_truncation_that_followed_it_brings_nothing_back() -> None:
    """The truncation's part of the feed has shown no row of the snapshot, and is heard first."""
    fold = Kept(documents)
    fold.apply(news(rows.ErpDocumentsNews, "purchase_order_line", "truncated", 1_000, history=0, at_ms=NOW_MS + 9))
    fold.apply(news(rows.ErpDocumentsNews, "purchase_order_line", "history", 900, at_ms=NOW_MS))
    with pytest.raises(AlreadyApplied):
        fold.apply(of(row_event(rows.PurchaseOrderLineRow, 900, "r", **LINE), 1, 900))
