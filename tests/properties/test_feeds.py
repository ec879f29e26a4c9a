"""The feed ledger: whatever the order of delivery, each sequence number is admitted exactly once, in bounded memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AlreadyApplied, Refused
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.records import FeedPosition
from schemas.topics import ROUTES, WMS
from tables.common.table import in_memory
from tables.operations import feed_sequence
from tables.operations.feed_sequence import FeedLedgerTables, admit

DUPLICATE: list[Any] = ["duplicate"]


def hear(t: FeedLedgerTables, sequence: int, at_ms: int | None = None) -> list[Any]:
    """The events of an admitted message, or `DUPLICATE`."""
    try:
        return list(admit(t, FeedPosition("wms", sequence, sequence * 10 if at_ms is None else at_ms)))
    except AlreadyApplied:
        return DUPLICATE


deliveries = st.integers(0, 50).flatmap(
    lambda start: st.integers(1, 60).flatmap(
        lambda n: st.tuples(
            st.permutations(range(start, start + n)),
            st.lists(st.tuples(st.integers(start, start + n - 1), st.integers(0, 2 * n)), max_size=30),
        )
    )
)


@given(deliveries)
def test_each_sequence_is_admitted_exactly_once_and_gaps_end_empty(delivery: tuple[list[int], list[tuple[int, int]]]) -> None:
    """Any permutation with any repetitions: the first hearing counts, all others are duplicates, nothing stays open."""
    unique, repeated = delivery
    heard = list(unique)
    for sequence, place in repeated:
        heard.insert(place, sequence)
    t = in_memory(FeedLedgerTables)
    admitted: list[int] = []
    events: list[object] = []
    for sequence in heard:
        answer = hear(t, sequence, at_ms=7)
        if answer is DUPLICATE:
            assert sequence in admitted
        else:
            assert sequence not in admitted
            admitted.append(sequence)
            events += answer
    assert sorted(admitted) == sorted(set(heard))
    assert not list(t.gaps.under("wms"))
    held = t.feeds[("wms",)]
    assert (held.start, held.high, held.gaps, held.missing) == (min(heard), max(heard), 0, 0)
    if events:
        assert isinstance(events[-1], ExceptionCleared)
    ids = [e.event_id for e in events if isinstance(e, ExceptionNoted | ExceptionCleared)]
    assert len(ids) == len(set(ids)) == len(events)
    assert all(WMS in ROUTES[type(e)].writers for e in events)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=80))
def test_gaps_and_counts_agree_with_a_set(heard: list[int]) -> None:
    """The ledger's gaps are exactly the numbers between the lowest and the highest that were not heard."""
    t = in_memory(FeedLedgerTables)
    for n, sequence in enumerate(heard):
        hear(t, sequence, at_ms=0)
        seen = set(heard[: n + 1])
        missing = set(range(min(seen), max(seen) + 1)) - seen
        rows = list(t.gaps.under("wms"))
        assert {s for (_, last), gap in rows for s in range(gap.first, last + 1)} == missing
        held = t.feeds[("wms",)]
        assert (held.gaps, held.missing) == (len(rows), len(missing))


def test_memory_is_bounded_and_merging_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every second message lost the gaps stay at the limit, and a person is told."""
    monkeypatch.setattr(feed_sequence, "MAX_GAPS", 10)
    t = in_memory(FeedLedgerTables)
    notes = [e for s in range(0, 1000, 2) for e in hear(t, s) if isinstance(e, ExceptionNoted)]
    assert len(list(t.gaps.under("wms"))) == t.feeds[("wms",)].gaps == 10
    assert any("now counts as one" in note.sentence for note in notes)
    assert t.feeds[("wms",)].missing == sum(last - gap.first + 1 for (_, last), gap in t.gaps.under("wms"))
    assert {note.fingerprint for note in notes} == {"sequence_gap:wms"}


def test_a_gap_is_noted_in_words_and_cleared_when_its_last_message_comes() -> None:
    """The sentence names the missing numbers; filling a part does not clear it."""
    t = in_memory(FeedLedgerTables)
    assert hear(t, 1026) == []
    (note,) = hear(t, 1030)
    assert isinstance(note, ExceptionNoted)
    assert note.sentence == "Feed wms: messages 1027 to 1029 are missing before 1030"
    assert note.code == "sequence_gap"
    assert hear(t, 1028) == []
    assert hear(t, 1027) == []
    (cleared,) = hear(t, 1029)
    assert isinstance(cleared, ExceptionCleared)
    assert cleared.fingerprint == note.fingerprint


def test_a_source_that_was_reset_is_refused_and_told_what_to_do() -> None:
    """An old number on a message newer than all before is not a repetition: dropping it would lose stock."""
    t = in_memory(FeedLedgerTables)
    for sequence in range(100, 105):
        hear(t, sequence)
    for sequence in (3, 102):
        with pytest.raises(Refused, match="has the source been reset") as refused:
            hear(t, sequence, at_ms=10**9)
        assert "instance" in refused.value.hint
    assert t.feeds[("wms",)].start == 100
    assert hear(t, 102) is DUPLICATE


def test_sources_are_kept_apart() -> None:
    """Two feeds with numberings of their own do not disturb each other."""
    t = in_memory(FeedLedgerTables)
    for source in ("wms", "wms:EU", "wm"):
        assert list(admit(t, FeedPosition(source, 5, 0))) == []
    for source in ("wms", "wms:EU", "wm"):
        with pytest.raises(AlreadyApplied):
            list(admit(t, FeedPosition(source, 5, 0)))


def say(t: FeedLedgerTables, sequence: int, event_id: str, content: str = "c", at_ms: int = 0) -> str:
    """What becomes of a message."""
    try:
        found = [type(e).__name__ for e in admit(t, FeedPosition("wms", sequence, at_ms, event_id, content))]
    except (AlreadyApplied, Refused) as error:
        return type(error).__name__
    return f"taken {' '.join(found)}".strip()


def test_another_message_under_a_number_that_was_used_is_no_repetition() -> None:
    """Two warehouses that count alike lose nothing: each event is taken once, and a person told; a changed one is refused."""
    t = in_memory(FeedLedgerTables)
    assert [say(t, n, f"A-{n}") for n in (1, 2, 3)] == ["taken"] * 3
    assert say(t, 2, "B-2", at_ms=9) == "taken ExceptionNoted"
    assert [say(t, 2, "A-2"), say(t, 2, "B-2", at_ms=9)] == ["AlreadyApplied"] * 2
    assert say(t, 2, "A-2", "other") == "Refused"
    assert [say(t, 3, f"C-{n}") for n in range(feed_sequence.MAX_UNDER_ONE)][-2:] == ["taken ExceptionNoted", "Refused"]


def test_what_messages_said_is_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_sequence, "REMEMBERED", 10)
    t = in_memory(FeedLedgerTables)
    for n in range(100):
        say(t, n, f"A-{n}")
    assert len(list(t.heard.under("wms"))) == 10
    assert say(t, 95, "B-95") == "taken ExceptionNoted"
    assert say(t, 5, "B-5") == "AlreadyApplied", "too long ago to be told from a repetition"
