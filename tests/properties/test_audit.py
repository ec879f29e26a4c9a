"""The audit against sums of the rows behind the numbers, after each event of any history."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.api.ports import AuditQuery
from schemas.inventory import LedgerEntry
from streams.queries import audits
from tables.inventory.supply import open_units
from tests.properties.test_promise import SITES, action, perform
from tests.support.promises import Bench


def exceeding(b: Bench) -> set[str]:
    """Sites that promise more than they have or expect, by the rows of orders, holds, balances and purchase lines."""
    promised, there = dict.fromkeys(SITES, 0), dict.fromkeys(SITES, 0)
    for _, demand in b.t.demands.under("SKU-1"):
        for part in demand.parts:
            promised[part.site] += part.qty_milli
        if demand.promised_day is not None:
            promised[demand.backorder_site] += demand.backordered_milli
    for _, hold in b.t.reservations.under("SKU-1"):
        for held in hold.parts if hold.state == "held" else ():
            promised[held.site] += held.qty_milli
    for name in SITES:
        rows = b.t.balances.under("SKU-1", name, "usable")
        there[name] = max(0, sum(row.on_hand_milli for _, row in rows))
    for _, line in b.t.supplies.under("SKU-1"):
        if line.expected_on is not None and line.site:
            there[line.site] += open_units(line)
    return {name for name in SITES if promised[name] > there[name]}


class Watched(Bench):
    """A bench that looks after each event."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[tuple[str, str]] = []
        self.now: set[str] = set()

    def apply(self, event: Any) -> str:
        fate = super().apply(event)
        if fate == "applied":
            found = exceeding(self)
            self.ever += [(name, event.event_id) for name in sorted(found - self.now)]
            self.now = found
        return fate


@given(st.lists(action, max_size=25), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_audit_says_none_exactly_when_nothing_was_ever_oversold(actions: list[Any], page: int) -> None:
    """Each time is found with the event that began it, whatever the parts in which the ledger is read."""
    b = Watched()
    b.item()
    perform(b, actions)
    ledger = list(enumerate(e for e in b.said if isinstance(e, LedgerEntry)))
    found: list[tuple[str, str]] = []
    after: str | None = None
    was = audits.PAGE, audits.MOST_ROWS
    audits.PAGE, audits.MOST_ROWS = page, page
    try:
        while True:
            query = AuditQuery(None, None, after)
            answer = audits.audited(lambda _, start, n: ledger[start : start + n], "SKU-1", query, 2**60, is_fenced=False)
            found += [(row.site, row.cause) for row in answer.oversales]
            after = answer.next
            if after is None:
                break
    finally:
        audits.PAGE, audits.MOST_ROWS = was
    assert answer.is_proved and answer.events == len(ledger)
    assert sorted(found) == sorted(b.ever)
