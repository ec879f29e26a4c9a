"""Days in a site's calendar. Inside the tables a day is an `int`, days since 1970-01-01: it sorts, adds and packs small."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH = date(1970, 1, 1).toordinal()
_QUARTER_MS = 900_000  # every zone's offset and every change of it falls on a quarter of an hour


def to_day(value: date) -> int:
    """A date as days since 1970-01-01."""
    return value.toordinal() - _EPOCH


def to_date(day: int) -> date:
    """Days since 1970-01-01 as a date."""
    return date.fromordinal(day + _EPOCH)


def day_at(instant_ms: int, zone: str) -> int:
    """The day it is in a zone (IANA name) at an instant."""
    return _day_at_quarter(instant_ms // _QUARTER_MS, zone)


@lru_cache(maxsize=4096)
def _day_at_quarter(quarter: int, zone: str) -> int:
    return to_day(datetime.fromtimestamp(quarter * _QUARTER_MS // 1000, UTC).astimezone(ZoneInfo(zone)).date())


@lru_cache(maxsize=4096)
def day_end_ms(day: int, zone: str) -> int:
    """The instant the next day begins in a zone."""
    tomorrow = to_date(day) + timedelta(days=1)
    return int(datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)
