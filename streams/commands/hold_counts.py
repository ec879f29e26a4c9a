"""How many reservations each channel has alive over all items: what a channel asks for beyond its limit is not passed on."""

from __future__ import annotations

import heapq
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from connectors.api.ports import TooMany
from schemas.operations import Reply

REMEMBERED_ENDS = 100_000
LONGEST_WAIT_S = 60


@dataclass(slots=True)
class _Channel:
    """A channel's holds by id, with their ends; `ends` has those that were given back as well, until their time is up."""

    alive: dict[str, int] = field(default_factory=dict)
    ends: list[tuple[int, str]] = field(default_factory=list)
    asked: int = 0  # by this process, and not answered yet


class HoldCounts:
    """Admits new reservations up to a limit a channel, kept from the answers of the promise fold, which every process reads.

    The fold's own limits are by item, because holds are decided where their item is. This one is kept where requests come in, so
    it is a bound on admission: with one process no channel has more than its limit alive. With several, each counts what all
    granted, and a channel may have more by what the others were asked and have not answered yet. A repetition of a request is
    let through: it may exceed the limit if the first was not decided. Holds from before a process started count as far as its
    copy of the rows had them (`alive`). Safe from any thread.
    """

    def __init__(self, most: Callable[[str], int], clock_ms: Callable[[], int]) -> None:
        self._most = most
        self._clock_ms = clock_ms
        self._channels: dict[str, _Channel] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, channel: str) -> None:
        """One more is asked for; `answered` ends that. Raises `TooMany`."""
        most = self._most(channel)
        with self._lock:
            known = self._channels.setdefault(channel, _Channel())
            self._expire(known)
            if len(known.alive) + known.asked >= most:
                wait_s = (known.ends[0][0] - self._clock_ms()) // 1_000 + 1 if known.ends else 1
                raise TooMany(
                    f"{channel} has {len(known.alive):,} reservations alive, of the {most:,} that it may have over all items",
                    "Release some, or let them expire",
                    min(max(wait_s, 1), LONGEST_WAIT_S),
                )
            known.asked += 1

    def answered(self, channel: str) -> None:
        """What was admitted was answered, or is given up."""
        with self._lock:
            self._channels[channel].asked -= 1

    def alive(self, holds: Iterable[tuple[str, str, int]]) -> None:
        """Holds that there are already: channel, id and end."""
        for channel, reservation_id, until_ms in holds:
            with self._lock:
                self._add(channel, reservation_id, until_ms)

    def note(self, reply: Reply) -> None:
        """An answer of the fold, to whomever: a hold was granted, or given back."""
        if reply.status not in (200, 201):
            return
        try:
            body = json.loads(reply.body)
        except ValueError:
            return
        reservation_id, until_ms = (
            (body.get("reservation_id"), body.get("expires_at_ms", 0)) if isinstance(body, dict) else (None, 0)
        )
        if not isinstance(reservation_id, str) or not isinstance(until_ms, int):
            return
        channel = str(body.get("channel"))
        with self._lock:
            if reply.status == 201:
                self._add(channel, reservation_id, until_ms)
                return
            self._ended[reservation_id] = None  # a late or repeated answer that granted it does not count
            if len(self._ended) > REMEMBERED_ENDS:
                self._ended.popitem(last=False)
            if channel in self._channels:
                self._channels[channel].alive.pop(reservation_id, None)

    def _add(self, channel: str, reservation_id: str, until_ms: int) -> None:
        known = self._channels.setdefault(channel, _Channel())
        if reservation_id in known.alive or reservation_id in self._ended or until_ms <= self._clock_ms():
            return
        self._expire(known)
        known.alive[reservation_id] = until_ms
        heapq.heappush(known.ends, (until_ms, reservation_id))

    def _expire(self, known: _Channel) -> None:
        now_ms, ends = self._clock_ms(), known.ends
        while ends and (ends[0][0] <= now_ms or ends[0][1] not in known.alive):
            known.alive.pop(heapq.heappop(ends)[1], None)
