"""What is probably a mistake of a person, for the page and `doctor`: names in settings that nobody has, misspelt fields."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from connectors.api.ports import UnknownFieldShown
from streams.engine.log import StoreFailed, Unavailable

KEPT_S = 10.0
"""What was found last is good for so long: the page asks every second, and people write settings by the hour."""
MOST_SHOWN = 3


class Warnings:
    """By what is meant, what to do. Safe from any thread."""

    def __init__(self, names: Callable[[], Sequence[str]], fields: Callable[[], Sequence[UnknownFieldShown]]) -> None:
        self._names = names
        self._fields = fields
        self._lock = threading.Lock()
        self._found: tuple[float, Mapping[str, str]] | None = None

    def found(self) -> Mapping[str, str]:
        """All of it, perhaps as it was some seconds ago; what was found last while the log is away."""
        with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > KEPT_S:
                known = self._found[1] if self._found is not None else {}
                with contextlib.suppress(Unavailable, StoreFailed):
                    known = self._looked()
                self._found = (time.monotonic(), known)
            return self._found[1]

    def _looked(self) -> dict[str, str]:
        names = self._names()
        misspelt = [f"{row.source}: {row.field}. {row.advice}" for row in self._fields() if row.is_warning]
        found = {"Names in settings": names, "Fields nobody reads": misspelt}
        return {what: _some(says) for what, says in found.items() if says}


def _some(says: Sequence[str]) -> str:
    more = f" (and {len(says) - MOST_SHOWN} more: crossdock doctor)" if len(says) > MOST_SHOWN else ""
    return "; ".join(says[:MOST_SHOWN]) + more
