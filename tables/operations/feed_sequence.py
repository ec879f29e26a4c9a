"""The feed ledger: tells repetitions, gaps and resets from a source's own numbering, in bounded memory.

A source is held as the range it has been heard in (`start` to `high`) and the gaps in that range. A sequence number is new
if it is above, below or in a gap; anything else was admitted before. Where the feed began is not known: the first message
starts anywhere, and older ones may still come late. All gaps of a source are one exception, open while any gap is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice

from schemas.errors import AlreadyApplied, Refused
from schemas.frozen import Frozen, replace
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.records import FeedPosition
from tables.common.table import Table

MAX_GAPS = 1_000
REMEMBERED = 100_000
"""So many messages of a source are remembered by what they said: another one under the same number is told from a repetition."""
MAX_UNDER_ONE = 20


class SourceFeed(Frozen, frozen=True):
    """A source: lowest and highest sequence heard, the newest instant, how many gaps are open and how much is missing in them."""

    start: int
    high: int
    newest_at_ms: int
    gaps: int
    missing: int


class Gap(Frozen, frozen=True):
    """Sequences from `first` to the one in the key have not been heard."""

    first: int


class ReceivedSequence(Frozen, frozen=True):
    """What came under a number: event id and digest of the content of each message."""

    sequence: int
    told: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class FeedLedgerTables:
    """All tables of a feed ledger. The first part of each key is the source."""

    feeds: Table[tuple[str], SourceFeed]
    gaps: Table[tuple[str, int], Gap]  # source, last missing
    heard: Table[tuple[str, int], ReceivedSequence]  # source, sequence modulo `REMEMBERED`


def admit(t: FeedLedgerTables, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """Take note of a message's place in its feed; yields exceptions noted and cleared.

    Raises `AlreadyApplied` for one that came before, `Refused` if the numbering has gone back (the source was reset), or if an
    event id came before with another content. Another event under a number that was used is taken, and a person told.
    """
    yield from _admit(t, feed)
    slot = (feed.source, feed.sequence % REMEMBERED)
    row = t.heard.get(slot)
    if row is None or row.sequence < feed.sequence:
        t.heard[slot] = ReceivedSequence(feed.sequence, ((feed.event_id, feed.content),))
    elif row.sequence == feed.sequence:
        t.heard[slot] = ReceivedSequence(feed.sequence, (*row.told, (feed.event_id, feed.content)))


def _admit(t: FeedLedgerTables, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    current = t.feeds.get((feed.source,))
    if current is None:
        t.feeds[(feed.source,)] = SourceFeed(feed.sequence, feed.sequence, feed.occurred_at_ms, 0, 0)
        return
    if feed.sequence > current.high:
        yield from _advance(t, current, feed)
    elif feed.sequence < current.start:
        yield from _reach_back(t, current, feed)
    else:
        yield from _fill(t, current, feed)


def _advance(t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    first, last = current.high + 1, feed.sequence - 1
    current = replace(current, high=feed.sequence)
    if first > last:
        _keep(t, current, feed)
    else:
        yield from _open(t, current, feed, first, last)


def _reach_back(t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """A message from before the first one heard: late if it is older than the others, else the numbering began anew."""
    _check_not_reset(current, feed)
    first, last = feed.sequence + 1, current.start - 1
    current = replace(current, start=feed.sequence)
    if first > last:
        _keep(t, current, feed)
    else:
        yield from _open(t, current, feed, first, last)


def _fill(t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    source, sequence = feed.source, feed.sequence
    at, gap = next(t.gaps.range((source, sequence), (source, current.high)), (None, None))
    if at is None or gap is None or gap.first > sequence:
        yield from _again(t, current, feed)
        return
    last = at[1]
    gaps = current.gaps - 1
    del t.gaps[at]
    for low, high in ((gap.first, sequence - 1), (sequence + 1, last)):
        if low <= high:
            t.gaps[(source, high)] = Gap(low)
            gaps += 1
    current = replace(current, gaps=gaps, missing=current.missing - 1)
    current = yield from _bounded(t, current, feed)
    _keep(t, current, feed)
    if current.gaps == 0:
        yield _cleared(feed)


def _again(t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition) -> Iterator[ExceptionNoted | ExceptionCleared]:
    """A number that was heard: a repetition, or another message that somebody gave the same number."""
    row = t.heard.get((feed.source, feed.sequence % REMEMBERED))
    told = dict(row.told) if row is not None and row.sequence == feed.sequence else {}
    if not told or told.get(feed.event_id) == feed.content:
        if not feed.event_id or feed.event_id not in told:
            _check_not_reset(current, feed)
        raise AlreadyApplied
    if feed.event_id in told:
        raise Refused(
            f"{feed.event_id} of {feed.source} came before under number {feed.sequence} and said something else",
            hint="give each warehouse an `instance` of its own; a correction is an event of its own, with its own id and number",
        )
    if len(told) >= MAX_UNDER_ONE:
        raise Refused(
            f"{len(told)} different events of {feed.source} have the number {feed.sequence}",
            hint="number the messages of a feed, each by its own; give each warehouse an `instance` of its own",
        )
    _keep(t, current, feed)
    before = ", ".join(told)
    sentence = (
        f"Feed {feed.source}: {feed.event_id} has the number {feed.sequence}, which {before} had; both are taken, but gaps and"
        " repetitions cannot be told while several messages share their numbers"
    )
    yield _noted(feed, f"reused:{feed.event_id}", sentence, "sequence_reused")


def _open(
    t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition, first: int, last: int
) -> Iterator[ExceptionNoted | ExceptionCleared]:
    t.gaps[(feed.source, last)] = Gap(first)
    current = replace(current, gaps=current.gaps + 1, missing=current.missing + last - first + 1)
    which = f"message {first} is" if first == last else f"messages {first} to {last} are"
    in_all = "" if current.missing == last - first + 1 else f" ({current.missing} in all)"
    yield _noted(feed, "noted", f"Feed {feed.source}: {which} missing before {max(feed.sequence, last + 1)}{in_all}")
    current = yield from _bounded(t, current, feed)
    _keep(t, current, feed)


def _bounded(
    t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition
) -> Generator[ExceptionNoted | ExceptionCleared, None, SourceFeed]:
    """Above `MAX_GAPS` the two oldest gaps become one: what was heard between them cannot be told from missing any more."""
    if current.gaps <= MAX_GAPS:
        return current
    (low_key, low), (high_key, high) = islice(t.gaps.under(feed.source), 2)
    del t.gaps[low_key]
    t.gaps[high_key] = low
    sentence = f"Feed {feed.source}: more than {MAX_GAPS} gaps are open; {low.first} to {high_key[1]} now counts as one"
    yield _noted(feed, "merged", sentence)
    return replace(current, gaps=current.gaps - 1, missing=current.missing + high.first - low_key[1] - 1)


def _check_not_reset(current: SourceFeed, feed: FeedPosition) -> None:
    if feed.occurred_at_ms > current.newest_at_ms:
        raise Refused(
            f"sequence {feed.sequence} of {feed.source} went back from {current.high}, but the message is newer than all before "
            "it:"
            " has the source been reset?",
            hint="if its numbering began anew, let it name itself in `instance`; if not, correct the sequence and send it again",
        )


def _keep(t: FeedLedgerTables, current: SourceFeed, feed: FeedPosition) -> None:
    t.feeds[(feed.source,)] = replace(current, newest_at_ms=max(current.newest_at_ms, feed.occurred_at_ms))


def _noted(feed: FeedPosition, what: str, sentence: str, code: str = "sequence_gap") -> ExceptionNoted:
    return ExceptionNoted(
        event_id=f"feed:{feed.source}:{feed.sequence}:{what}",
        source=feed.source,
        source_position=feed.sequence,
        occurred_at_ms=feed.occurred_at_ms,
        recorded_at_ms=feed.occurred_at_ms,
        trace_id=f"{feed.source}/{feed.sequence}",
        fingerprint=f"{code}:{feed.source}",
        code=code,
        sentence=sentence,
        item=None,
        order_id=None,
    )


def _cleared(feed: FeedPosition) -> ExceptionCleared:
    return ExceptionCleared(
        event_id=f"feed:{feed.source}:{feed.sequence}:cleared",
        source=feed.source,
        source_position=feed.sequence,
        occurred_at_ms=feed.occurred_at_ms,
        recorded_at_ms=feed.occurred_at_ms,
        trace_id=f"{feed.source}/{feed.sequence}",
        fingerprint=f"sequence_gap:{feed.source}",
    )
