"""What is left of facts that are not remembered one by one any more: between which positions of their feeds they were.

Facts of one instant cannot be told apart by time, but each feed numbers its own. One from outside of what was forgotten of its
feed is new for certain, however old its instant is; only one from inside may be a repetition.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.frozen import Frozen


class Span(Frozen, frozen=True):
    """Positions of a source, both ends included."""

    source: str
    low: int
    high: int


def covers(spans: tuple[Span, ...], source: str, position: int) -> bool:
    """Whether a fact from there may be among what was forgotten."""
    for span in spans:
        if span.source == source:
            return span.low <= position <= span.high
    return False


def widened(spans: tuple[Span, ...], forgotten: Iterable[tuple[str, int]]) -> tuple[Span, ...]:
    """The spans with more facts (source, position) forgotten."""
    found = {span.source: (span.low, span.high) for span in spans}
    for source, position in forgotten:
        low, high = found.get(source, (position, position))
        found[source] = min(low, position), max(high, position)
    return tuple(Span(source, low, high) for source, (low, high) in sorted(found.items()))
