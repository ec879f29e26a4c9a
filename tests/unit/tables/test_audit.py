"""The audit names the first event after which more was promised than there was, or says that there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from schemas.inventory import LedgerChange, LedgerEntry, Status, StockMoved, StockStatusChanged
from schemas.topics import PROMISE_INBOX
from tables.common.policy import Policy, SitePolicy
from tables.inventory.oversell_audit import OF_TYPE, Audit, Cause, Oversale, sentence
from tests.support.promises import NOON, Bench


def found_in(entries: Iterable[LedgerEntry], at_ms: int | None = None, *, is_fenced: bool = False) -> list[Oversale]:
    audit = Audit(at_ms=at_ms, is_fenced=is_fenced)
    found = [oversale for entry in entries for oversale in audit.add(entry)]
    assert not audit.state.first_gap
    return sorted([*found, *audit.state.open], key=lambda x: x.recorded_at_ms)


def audited(b: Bench, at_ms: int | None = None) -> list[Oversale]:
    return found_in([e for e in b.said if isinstance(e, LedgerEntry)], at_ms, is_fenced=b.policy.infinite_after_days is not None)


def promised(site: str = "DC1") -> Bench:
    """Ten usable at a site, all of it promised."""
    b = Bench()
    b.item()
    if site == "EU1":
        b.erp_balance("10", 1)
    else:
        b.receive("10", at=0, site=site)
    b.minute = 10
    b.order("6", "web:1")
    b.reserve("4", ttl_minutes=600)
    return b


def moved(b: Bench) -> object:
    return b._stock(StockMoved, "5", "SKU-1", "DC1", None, None, status=Status.USABLE, to_site="DC2")


def damaged(b: Bench) -> object:
    change = {"from_status": Status.USABLE, "to_status": Status.DAMAGED}
    return b._stock(StockStatusChanged, "5", "SKU-1", "DC1", None, None, **change)


def on_two_sites(*steps: Callable[[Bench], object]) -> Callable[[Bench], object]:
    def script(b: Bench) -> object:
        return [step(b) for step in steps][-1]

    return script


CAUSES: list[tuple[str, Callable[[Bench], object]]] = [
    ("manual_edit", lambda b: b.adjust("-3")),
    ("late_event", lambda b: b.adjust("-3", at=5)),
    ("count", lambda b: b.count("4")),
    ("short_pick", lambda b: b.short("0", "5", "web:9")),
    ("unpromised_pick", lambda b: b.pick("5", "web:9")),
    ("unpromised_pick", lambda b: b.ship("5", "web:9")),
    ("receipt_reversed", lambda b: b.receive("-5")),
    ("wrong_site", moved),
    ("wrong_site", on_two_sites(lambda b: b.adjust("-3"), lambda b: b.adjust("3", site="DC2"))),
    ("wrong_site", on_two_sites(lambda b: b.adjust("3", site="DC2"), lambda b: b.adjust("-3"))),
    ("wrong_site", on_two_sites(lambda b: b.receive("-5"), lambda b: b.receive("5", site="DC2"))),
    ("manual_edit", on_two_sites(lambda b: b.adjust("-3"), lambda b: b.adjust("2", site="DC2"))),
    ("status_changed", damaged),
]


@pytest.mark.parametrize(("kind", "happens"), CAUSES)
def test_the_event_and_its_cause_are_named(kind: str, happens: Callable[[Bench], object]) -> None:
    b = promised()
    assert audited(b) == [], "until then there is a proof that nothing was oversold"
    b.minute = 20
    assert happens(b) in ("applied", None)
    (found, *_) = audited(b)
    assert (found.kind, found.site) == (kind, "DC1")
    assert found.short_milli == found.promised_milli - found.available_milli > 0
    assert audited(b, at_ms=NOON + 15 * 60_000) == [], "as of an earlier instant nothing was"


def test_the_erp_says_there_is_less_where_it_owns_the_stock() -> None:

    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    b.item()
    b.erp_balance("10", 1)
    b.order("6", "web:1", site="EU1")
    b.minute = 5
    b.erp_balance("2", 2)
    (found,) = audited(b)
    assert (found.kind, found.site, found.short_milli) == (Cause.ERP_BALANCE, "EU1", 4_000)


def expecting() -> Bench:
    """Five promised from ten that are expected."""
    b = Bench()
    b.item()
    b.supply("10", "2026-11-20")
    b.order("5", "web:1", site="DC1")
    b.minute = 10
    return b


def test_supply_withdrawn_and_supply_that_comes_unusable() -> None:
    b = expecting()
    before = audited(b)
    assert before == []
    # The backorder gives its claim up with the supply: what is still promised is what had a promise at the moment.
    b.supply("0", "2026-11-20", revision=2)
    assert audited(b) == []
    supply, usable = change("supply", 0, 10), change("on_hand.usable", 0, 4)
    entries = [told("SupplyChanged", supply), told("RequestAllocation", change("demand", 0, 8))]
    (found,) = found_in([*entries, told("SupplyChanged", change("supply", 10, 2))])
    assert found.kind is Cause.SUPPLY_WITHDRAWN
    (found,) = found_in([*entries, told("StockReceived", change("supply", 10, 0), usable)])
    assert found.kind is Cause.RECEIVED_UNUSABLE


def change(measure: str, before: int, after: int, site: str = "DC1") -> LedgerChange:
    return LedgerChange(site, measure, None, before * 1_000, after * 1_000)


def told(kind: str, *changes: LedgerChange, at_ms: int = 0, cause: str = "e") -> LedgerEntry:
    return LedgerEntry(
        item="SKU-1",
        cause=cause,
        cause_type=kind,
        source="wms",
        occurred_at_ms=at_ms,
        recorded_at_ms=at_ms,
        trace_id="",
        note="",
        changes=list(changes),
    )


def test_two_promises_of_the_same_units_are_a_race() -> None:
    """The fold decides one after the other, so this is a ledger it never writes: the audit would tell."""
    entries = [
        told("StockReceived", change("on_hand.usable", 0, 10)),
        told("ReserveStock", change("reserved", 0, 8)),
        told("RequestAllocation", change("demand", 0, 7), cause="second"),
    ]
    (found,) = found_in(entries)
    assert (found.kind, found.cause, found.short_milli) == (Cause.RACE, "second", 5_000)
    (found,) = found_in(entries, is_fenced=True)
    assert found.kind is Cause.LEAD_TIME_FENCE


def test_what_nobody_would_expect_is_other() -> None:
    entries = [told("StockReceived", change("on_hand.usable", 0, 10)), told("ReserveStock", change("reserved", 0, 8))]
    (found,) = found_in([*entries, told("Tick", change("on_hand.usable", 10, 1))])
    assert found.kind is Cause.OTHER


def test_every_event_that_can_take_stock_away_has_a_cause() -> None:
    """A new event of the inbox is classified here, or named as one that takes nothing away."""
    carried = {carried.type.__name__ for carried in PROMISE_INBOX.carries}
    takes_nothing = {
        name
        for name in carried
        if name
        in {
            "ItemChanged", "ItemTextRequested", "ItemTextProvided", "PriceChanged", "SiteChanged", "StockReturned",
            "DemandSubstituted", "RequestAllocation", "ReserveStock", "ReleaseReservation", "CheckPrice", "ReviewBackorders",
            "ItemSuspected", "ErpLineDoubted", "SuspicionCleared", "Tick",
        }
    }  # fmt: skip
    assert carried - takes_nothing == set(OF_TYPE)
    assert all(sentence(cause) for cause in Cause)


def test_rows_that_are_missing_are_noticed() -> None:
    audit = Audit()
    list(audit.add(told("ReserveStock", change("reserved", 3, 8), cause="E-9")))
    assert audit.state.first_gap == "E-9"


def test_it_says_when_it_ended() -> None:
    b = promised()
    b.minute = 20
    b.adjust("-3")
    b.minute = 30
    b.receive("3")
    (found,) = audited(b)
    assert (found.recorded_at_ms, found.ended_at_ms) == (NOON + 20 * 60_000, NOON + 30 * 60_000)
