"""Days in a site's calendar. Inside the tables a day is an `int`, days since 1970-01-01: it sorts, adds and packs small."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.bounds import EARLIEST, LATEST, bounded_ms, planned

_EPOCH = date(1970, 1, 1).toordinal()
_LAST = date.max.toordinal()
_FIRST_DAY, _LAST_DAY = EARLIEST.toordinal() - _EPOCH, LATEST.toordinal() - _EPOCH
_QUARTER_MS = 900_000  # every zone's offset and every change of it falls on a quarter of an hour


def to_day(value: date) -> int:
    """A date as days since 1970-01-01."""
    return value.toordinal() - _EPOCH


def to_date(day: int) -> date:
    """Days since 1970-01-01 as a date; the first or the last there is for any beyond."""
    return date.fromordinal(min(max(day + _EPOCH, 1), _LAST))


def plan_day(value: date | None) -> int | None:
    """The day a date plans something for; none where it stands for "unknown" or "never" (see `schemas.bounds`)."""
    day = planned(value)
    return None if day is None else to_day(day)


def is_zone(name: str) -> bool:
    """Whether a calendar of that name (IANA) is known."""
    return _zone(name) is not None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    """The calendar; none for a name nobody knows, however it is written."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _calendar(name: str) -> tzinfo:
    """The calendar; UTC for a name nobody knows."""
    return _zone(name) or UTC


def day_at(instant_ms: int, zone: str) -> int:
    """The day it is in a zone (IANA name, UTC if nobody knows it) at an instant."""
    return _day_at_quarter(bounded_ms(instant_ms) // _QUARTER_MS, zone)


@lru_cache(maxsize=4096)
def _day_at_quarter(quarter: int, zone: str) -> int:
    return to_day(datetime.fromtimestamp(quarter * _QUARTER_MS // 1000, UTC).astimezone(_calendar(zone)).date())


@lru_cache(maxsize=4096)
def day_end_ms(day: int, zone: str) -> int:
    """The instant the next day begins in a zone."""
    tomorrow = to_date(min(max(day, _FIRST_DAY), _LAST_DAY)) + timedelta(days=1)
    return int(datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=_calendar(zone)).timestamp() * 1000)
