"""What values may be between a feed and the rules: wide enough for any fact, narrow enough that sums and days never overflow."""

from __future__ import annotations

from datetime import date

EARLIEST, LATEST = date(2000, 1, 1), date(2199, 12, 31)
"""Days outside stand for "unknown" or "never" (0001-01-01, 1900-01-01, 9999-12-31, infinity): nothing is due on them."""

EARLIEST_MS, LATEST_MS = 0, 7_258_118_400_000
"""Instants: 1970 up to the end of 2199."""

MAX_LINE = 2**31 - 1
MAX_DAYS = 73_000
"""A shelf life of more days than in 200 years is none."""

MAX_SUM_MILLI = 10**17
"""More of an item than this at one place is a typing error, or thousands of them. Sums over places still fit in 64 bits."""


def planned(day: date | None) -> date | None:
    """The day, or none where it stands for "unknown" or "never"."""
    return day if day is not None and EARLIEST <= day <= LATEST else None


def bounded_ms(at_ms: int) -> int:
    """The instant, or the nearest there can be."""
    return EARLIEST_MS if at_ms < EARLIEST_MS else LATEST_MS if at_ms > LATEST_MS else at_ms
