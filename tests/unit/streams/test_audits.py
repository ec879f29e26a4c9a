"""As of when an audit is, and where it goes on."""

from __future__ import annotations

import pytest

from connectors.api.ports import AuditQuery, Invalid
from schemas.inventory import LedgerEntry
from streams.queries import audits
from streams.queries.audits import audited, instant_ms
from tests.unit.tables.test_audit import change, told

NOW = 1_793_620_800_000  # 2026-11-02T12:00:00Z
DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        (None, None),
        ("1793620799000", NOW - 1_000),
        ("2026-11-02T11:00:00Z", NOW - 3_600_000),
        ("2026-11-02T12:00:00+02:00", NOW - 7_200_000),
        ("2026-11-01", NOW - DAY // 2 - 1),
        ("2026-11-02", NOW),
    ],
)
def test_an_instant_a_day_or_milliseconds(text: str | None, at_ms: int | None) -> None:
    assert instant_ms(text, NOW) == at_ms


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-11-02T11:00:00", "no time zone"),
        ("2026-11-03", "in the future"),
        ("2026-11-02T12:00:01Z", "in the future"),
        ("99999999999999999999999", "in the future"),
        ("2026-13-01", "not a valid instant"),
        ("yesterday", "not a valid instant"),
    ],
)
def test_what_is_no_instant_or_not_past(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        instant_ms(text, NOW)


def forward(item: str, start: int, limit: int) -> list[tuple[int, LedgerEntry]]:
    """A ledger that never ends."""
    return [(n, told("StockReceived", change("on_hand.usable", n, n + 1))) for n in range(start, start + limit)]


def test_a_long_ledger_is_not_proved_until_its_end_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "MOST_ROWS", 2_000)
    first = audited(forward, "A", AuditQuery(), NOW, is_fenced=False)
    assert (first.events, first.is_proved) == (2_000, False)
    second = audited(forward, "A", AuditQuery(after=first.next), NOW, is_fenced=False)
    assert (second.events, second.is_proved) == (4_000, False)
    for item, query in (
        ("B", AuditQuery(after=first.next)),
        ("A", AuditQuery("DC1", None, first.next)),
        ("A", AuditQuery(after="x")),
    ):
        with pytest.raises(Invalid, match="`after` is"):
            audited(forward, item, query, NOW, is_fenced=False)


def test_missing_rows_prove_nothing() -> None:
    rows = [(0, told("ReserveStock", change("reserved", 5, 8), cause="E-7"))]
    page = audited(lambda item, start, limit: rows, "A", AuditQuery(), NOW, is_fenced=False)
    assert (page.is_proved, page.gap, page.next) == (False, "E-7", None)
