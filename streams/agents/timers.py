"""What agents do by the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timer:
    """What one process of all does every so often, in a thread; never twice at once. It may find the log `Unavailable`.

    With `at`, a crontab line read in `timezone`, it runs at those times instead. A time at which no process ran is passed over.
    """

    name: str
    every_s: float
    run: Callable[[], object]
    at: str | None = None
    timezone: str = "UTC"
