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
from tables import feeds
from tables.feeds import FeedTables, admit
from tables.table import in_memory

DUPLICATE: list[Any] = ["duplicate"]


def hear(t: FeedTables, sequence: int, at_ms: int | None = None) -> list[Any]:
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
    t = in_memory(FeedTables)
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
    t = in_memory(FeedTables)
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
    monkeypatch.setattr(feeds, "MAX_GAPS", 10)
    t = in_memory(FeedTables)
    notes = [e for s in range(0, 1000, 2) for e in hear(t, s) if isinstance(e, ExceptionNoted)]
    assert len(list(t.gaps.under("wms"))) == t.feeds[("wms",)].gaps == 10
    assert any("now counts as one" in note.sentence for note in notes)
    assert t.feeds[("wms",)].missing == sum(last - gap.first + 1 for (_, last), gap in t.gaps.under("wms"))
    assert {note.fingerprint for note in notes} == {"sequence_gap:wms"}


def test_a_gap_is_noted_in_words_and_cleared_when_its_last_message_comes() -> None:
    """The sentence names the missing numbers; filling a part does not clear it."""
    t = in_memory(FeedTables)
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
    """An old number on a message newer than all before is no repetition: dropping it would lose stock."""
    t = in_memory(FeedTables)
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
    t = in_memory(FeedTables)
    for source in ("wms", "wms:EU", "wm"):
        assert list(admit(t, FeedPosition(source, 5, 0))) == []
    for source in ("wms", "wms:EU", "wm"):
        with pytest.raises(AlreadyApplied):
            list(admit(t, FeedPosition(source, 5, 0)))
