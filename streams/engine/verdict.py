"""What a comparison has shown. What was not compared is never called the same."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of something that was to be compared."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on all of them. Of nothing at all nothing is known."""
    found = set(verdicts)
    if Verdict.DIFFERENT in found:
        return Verdict.DIFFERENT
    return Verdict.SAME if found == {Verdict.SAME} else Verdict.UNKNOWN
