"""Server-sent events for every viewer: the pulse each second, and what changed in between. Worked out once for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi.concurrency import run_in_threadpool

from connectors.api.console import shapes
from connectors.api.console.ports import Console

PAUSE_S = 0.3
PULSE_S = 1.0
MOST_VIEWERS = 64
MOST_ROWS = 150
RETRY_MS = 1_000


class Viewers:
    """All who watch. One task reads for them while there are any; a slow one skips to where the others are."""

    def __init__(self, console: Console, most: int = MOST_VIEWERS) -> None:
        self._console = console
        self._most = most
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()
        self._is_closed = False
        self._changed = ("", "", b"")  # cursor before, cursor after, event
        self._pulse = b""
        self._pulses = 0

    def close(self) -> None:
        """End every stream, so that the server can."""
        self._is_closed = True
        self._next_turn()
        if self._task is not None:
            self._task.cancel()

    @property
    def is_full(self) -> bool:
        """Whether there are as many as can be served."""
        return self._count >= self._most or self._is_closed

    async def stream(self, since: str) -> AsyncIterator[bytes]:
        """Events from a cursor on; an unknown one gets `refresh`: everything is to be read anew."""
        if self.is_full:  # several were let in at once
            return
        self._count += 1
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._read())
            seen = self._pulses if not self._pulse else -1
            while not self._is_closed:
                turn = self._turn
                since, event = await self._after(since)
                if event:
                    yield event
                if seen != self._pulses:
                    seen = self._pulses
                    yield self._pulse
                await turn.wait()
                if self._task.done() and not self._is_closed:
                    self._task.result()  # what it failed with ends this stream too: the page tries again
        finally:
            self._count -= 1
            if self._count == 0 and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _after(self, since: str) -> tuple[str, bytes]:
        before, after, event = self._changed
        if since == before:
            return after, event
        return (since, b"") if since == after else await run_in_threadpool(self._changes, since)

    async def _read(self) -> None:
        pulsed_s = 0.0
        try:
            cursor = await run_in_threadpool(self._console.live.cursor)
            while True:
                before = cursor
                cursor, event = await run_in_threadpool(self._changes, before)
                self._changed = (before, cursor, event)
                if time.monotonic() - pulsed_s >= PULSE_S - PAUSE_S / 2:
                    pulsed_s = time.monotonic()
                    self._pulse = await run_in_threadpool(self._numbers)
                    self._pulses += 1
                self._next_turn()
                await asyncio.sleep(PAUSE_S)
        finally:
            self._next_turn()

    def _next_turn(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _changes(self, since: str) -> tuple[str, bytes]:
        found = self._console.live.changes(since, MOST_ROWS)
        if found is None:
            cursor = self._console.live.cursor()
            return cursor, _event("refresh", {}, cursor)
        if not (found.orders or found.items or found.exceptions or found.milestones):
            return found.cursor, b""
        return found.cursor, _event("changes", shapes.changes(found), found.cursor)

    def _numbers(self) -> bytes:
        return _event("pulse", numbers_of(self._console))


def numbers_of(console: Console) -> dict[str, Any]:
    """The pulse as it is sent."""
    return shapes.numbers(console.live.numbers(), console.demo.actions() if console.demo is not None else ())


def _event(name: str, data: Any, cursor: str = "") -> bytes:
    number = b"id: %b\n" % cursor.encode() if cursor else b""
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), number, orjson.dumps(data))
