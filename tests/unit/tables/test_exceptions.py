"""Exceptions: one row for one cause, counted, reopened, worked on by people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AlreadyApplied, BadMessage, Refused
from schemas.operations import ExceptionCleared, ExceptionNoted, ExceptionRow, ExceptionWorked
from streams.flows.exceptions import exceptions
from tables.common.table import in_memory
from tables.operations.exceptions import CODES, KEPT_EVENTS, OTHER, ExceptionTables, exception_row

ROOT = Path(__file__).parents[3]
FINGERPRINT = "oversold:SKU-1:DC1"


def header(n: int) -> dict[str, Any]:
    return {
        "event_id": f"e{n}",
        "source": "wms",
        "source_position": n,
        "occurred_at_ms": n * 10,
        "recorded_at_ms": n * 10,
        "trace_id": f"t{n}",
        "fingerprint": FINGERPRINT,
    }


def noted(n: int, code: str = "oversold", sentence: str = "SKU-1 is oversold by 3") -> ExceptionNoted:
    return ExceptionNoted(**header(n), code=code, sentence=sentence, item="SKU-1", order_id=None)


def cleared(n: int) -> ExceptionCleared:
    return ExceptionCleared(**header(n))


def worked(n: int, action: str, person: str = "ada", note: str = "") -> ExceptionWorked:
    return ExceptionWorked(**header(n), action=action, person=person, note=note)


def apply(t: ExceptionTables, *events: Any) -> ExceptionRow | None:
    for event in events:
        assert list(exceptions.rules[type(event)](t, event)) == []
    return exception_row(t, FINGERPRINT, 7)


def test_a_row_says_what_its_kind_means() -> None:
    """Severity, owner, SLA and suggested action come with it."""
    code = CODES["oversold"]
    assert apply(in_memory(ExceptionTables), noted(1)) == ExceptionRow(
        fingerprint=FINGERPRINT,
        version=7,
        code="oversold",
        severity=code.severity,
        sentence="SKU-1 is oversold by 3",
        item="SKU-1",
        order_id=None,
        owner=code.owner,
        sla_ms=code.sla_ms,
        action=code.action,
        state="open",
        count=1,
        first_at_ms=10,
        last_at_ms=10,
        events=["e1"],
        person="",
        note="",
    )


def test_the_same_cause_is_one_row_with_a_count_and_the_last_events() -> None:
    """A thousand notes are one row of bounded size with the newest sentence."""
    row = apply(in_memory(ExceptionTables), *[noted(n, sentence=f"by {n}") for n in range(1, 1_001)])
    assert row is not None
    assert (row.count, row.first_at_ms, row.last_at_ms, row.sentence) == (1_000, 10, 10_000, "by 1000")
    assert row.events == [f"e{n}" for n in range(1_001 - KEPT_EVENTS, 1_001)]


STORIES: list[tuple[str, list[Any], str, int, str]] = [
    ("cleared by itself", [noted(1), cleared(2)], "cleared", 1, ""),
    ("noted and cleared by one event", [noted(1), cleared(1)], "cleared", 1, ""),
    ("opens again after it cleared", [noted(1), cleared(2), noted(3)], "open", 2, ""),
    ("taken by a person", [noted(1), worked(2, "assign")], "assigned", 1, "ada"),
    ("stays taken when noted again", [noted(1), worked(2, "assign"), noted(3)], "assigned", 2, "ada"),
    ("taken over", [noted(1), worked(2, "assign"), worked(3, "assign", "bob")], "assigned", 1, "bob"),
    ("cleared while taken", [noted(1), worked(2, "assign"), cleared(3)], "cleared", 1, "ada"),
    ("resolved", [noted(1), worked(2, "assign"), worked(3, "resolve", "")], "resolved", 1, "ada"),
    ("stays resolved when cleared", [noted(1), worked(2, "resolve"), cleared(3)], "resolved", 1, "ada"),
    ("opens again for anybody after it was resolved", [noted(1), worked(2, "resolve"), noted(3)], "open", 2, ""),
]


@pytest.mark.parametrize(("events", "state", "count", "person"), [s[1:] for s in STORIES], ids=[s[0] for s in STORIES])
def test_the_life_of_an_exception(events: list[Any], state: str, count: int, person: str) -> None:
    """Where each story ends."""
    row = apply(in_memory(ExceptionTables), *events)
    assert row is not None
    assert (row.state, row.count, row.person) == (state, count, person)


def test_a_note_is_kept_when_it_opens_again() -> None:
    """How it was settled last time helps the next person."""
    row = apply(in_memory(ExceptionTables), noted(1), worked(2, "resolve", note="recounted"), noted(3))
    assert row is not None
    assert row.note == "recounted"


REFUSED: list[tuple[list[Any], Any, str, str]] = [
    ([], worked(1, "assign"), "there is no exception", "list the exceptions"),
    ([noted(1)], worked(2, "ignore"), "action 'ignore' is not known", "assign or resolve"),
    ([noted(1)], worked(2, "assign", person=""), "person is empty", "name who"),
    ([noted(1), cleared(2)], worked(3, "assign"), "is cleared already", "opens again by itself"),
    ([noted(1), worked(2, "resolve")], worked(3, "resolve"), "is resolved already", "opens again by itself"),
]


@pytest.mark.parametrize(("before", "event", "reason", "hint"), REFUSED)
def test_what_cannot_be_done_is_refused_in_words(before: list[Any], event: Any, reason: str, hint: str) -> None:
    """The sentence says why, the hint what to do; the row is as it was."""
    t = in_memory(ExceptionTables)
    row = apply(t, *before)
    with pytest.raises(Refused) as caught:
        apply(t, event)
    assert reason in caught.value.reason
    assert hint in caught.value.hint
    assert exception_row(t, FINGERPRINT, 7) == row


def test_clearing_what_was_never_noted_changes_nothing() -> None:
    """A rule may clear without knowing whether it was noted."""
    t = in_memory(ExceptionTables)
    with pytest.raises(AlreadyApplied):
        apply(t, cleared(1))
    assert exception_row(t, FINGERPRINT, 1) is None


events = st.builds(
    lambda n, kind: noted(n) if kind == 0 else cleared(n) if kind == 1 else worked(n, ("assign", "resolve")[kind - 2]),
    st.integers(1, 9),
    st.integers(0, 3),
)


@given(st.lists(events, max_size=12))
def test_applying_an_event_twice_changes_nothing(told: list[Any]) -> None:
    """Each event once, or each event followed by a repetition: the same row."""
    once, twice = in_memory(ExceptionTables), in_memory(ExceptionTables)
    for event in told:
        for t, times in ((once, 1), (twice, 2)):
            for _ in range(times):
                try:
                    apply(t, event)
                except (AlreadyApplied, BadMessage):
                    continue
    assert exception_row(once, FINGERPRINT, 1) == exception_row(twice, FINGERPRINT, 1)


def test_every_inbox_event_has_a_rule() -> None:
    """The fold is complete."""
    assert exceptions.unhandled() == []


def test_every_code_in_use_is_described() -> None:
    """A rule cannot note a kind of exception that says nothing about severity, owner and what to do."""
    used: dict[str, str] = {}
    for folder in ("tables", "streams", "connectors"):
        for path in (ROOT / folder).rglob("*.py"):
            for code in re.findall(r'\bnote\(\s*[\w.]+,\s*"(\w+)"|ExceptionNoted\([^)]*?code="(\w+)"', path.read_text()):
                used["".join(code)] = str(path.relative_to(ROOT))
    assert used
    assert {code: where for code, where in used.items() if code not in CODES} == {}


def test_every_code_is_complete() -> None:
    """Every exception of the domain is there, each with a severity people know and a deadline."""
    domain = (
        "oversold negative_balance short_pick price_mismatch unknown_item credit_hold duplicate_customer authority_conflict "
        "invoice_before_shipment late_acknowledgement late_shipment_confirmation endpoint_down obligation_exhausted "
        "reconciliation_difference suspect_item dead_letter sequence_gap waiting"
    )
    assert set(domain.split()) <= CODES.keys()
    for code in (*CODES.values(), OTHER):
        assert code.severity in ("info", "warning", "critical")
        assert code.owner
        assert code.sla_ms > 0
        assert code.action
