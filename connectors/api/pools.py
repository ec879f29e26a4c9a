"""Threads for what takes long, and threads for what never may: each kind of work has its own, and a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from connectors.api.ports import Busy

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """So many calls at once, so many waiting; more are refused."""

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._threads = threads
        self._most_waiting = most_waiting
        self._made: tuple[asyncio.AbstractEventLoop, CapacityLimiter] | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread. Raises `Busy` if too many wait already."""
        limiter = self._limiter()
        if limiter.statistics().tasks_waiting >= self._most_waiting:
            raise Busy("Too many requests of this kind wait for an answer", "Try again in a moment")
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=limiter)

    def _limiter(self) -> CapacityLimiter:
        """The one of this event loop: a command has a loop of its own."""
        loop = asyncio.get_running_loop()
        if self._made is None or self._made[0] is not loop:
            self._made = (loop, CapacityLimiter(self._threads))
        return self._made[1]
