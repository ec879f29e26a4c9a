"""The embedded host of the agents that bring orders in: one thread, one event loop, a task for each door."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter

from connectors.channels.marketplace.client import fetch
from schemas.codec import Codec
from streams.agents.drop_folder import WHOLE_LINES, DropFolderFormat
from streams.agents.file_drop import ClaimedFile, Folder, drop
from streams.agents.file_notices import CONFIRM_S, Became, FileExceptions, not_asked, outcomes
from streams.agents.marketplace_poll import last_cursor, poll, records_of
from streams.agents.timers import Timer
from streams.engine.keeper import KeptThread, ThreadKeeper
from streams.engine.log import Log, Outgoing, Unavailable

AGAIN_S = 1.0
READY_S = 10.0
LOOK_S = 0.1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolledSource:
    """A marketplace's pages, asked for every so often; with `at`, at the times of that crontab line, read in `timezone`."""

    name: str
    channel: str
    url: str
    every_s: float
    timeout_s: float
    at: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder of a channel's order files, looked into every so often."""

    name: str
    channel: str
    path: Path
    every_s: float
    declared: DropFolderFormat = WHOLE_LINES


Door = PolledSource | FolderSource


class InboundSources:
    """Runs the doors of a log until `stop`. A door that fails is tried again: what it had not written, it brings again.

    `is_prompted`: pages are asked for when the `timers` say so, which one process of all runs. Folders are each process's own.
    `became`: what has become of an order that was written.
    """

    def __init__(
        self,
        log: Log,
        doors: Sequence[Door],
        registry: CollectorRegistry,
        *,
        is_prompted: bool = False,
        became: Became = not_asked,
        codec: Codec | None = None,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._log = log
        self._became = became
        self._notes = FileExceptions(log, codec or Codec())
        self._following: set[asyncio.Task[None]] = set()
        self._doors = tuple(doors)
        self._is_prompted = is_prompted
        self._prompts: dict[str, asyncio.Event] = {}
        self._keeper = keeper or ThreadKeeper()
        self._thread: KeptThread | None = None
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._orders = Counter("crossdock_inbound_messages", "Raw messages brought in", ["door"], registry=registry)
        self._failures = Counter("crossdock_inbound_failures", "Turns of a door that failed", ["door"], registry=registry)

    def start(self) -> None:
        """Begin, if there are doors."""
        if self._doors and self._thread is None:
            self._ending.clear()
            self._thread = self._keeper.thread("inbound", self._begin, self._ending)
            self._thread.start()
            self._ready.wait(READY_S)  # a thread that fails at once is begun again by its keeper

    def stop(self) -> None:
        """End; what is half done is done again next time."""
        if self._thread is not None:
            self._ending.set()
            self._thread.join()
            self._thread = None

    def timers(self) -> list[Timer]:
        """What prompts the doors that are prompted."""
        polled = [door for door in self._doors if isinstance(door, PolledSource)] if self._is_prompted else []
        return [Timer(f"poll.{d.name}", d.every_s, partial(self._prompt, d.name), d.at, d.timezone) for d in polled]

    def _prompt(self, door: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: the next one's first turn comes by itself
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._prompts[door].set)

    def _begin(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._prompts = {door.name: asyncio.Event() for door in self._doors}
        self._ready.set()
        tasks = [asyncio.create_task(self._keep(door, self._stop)) for door in self._doors]
        try:
            while not self._ending.is_set():
                self._keeper.beat("inbound")
                await asyncio.wait(tasks, timeout=LOOK_S, return_when=asyncio.FIRST_EXCEPTION)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            self._stop.set()
            tasks += self._following
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, door: Door, stop: asyncio.Event) -> None:
        run = self._poll if isinstance(door, PolledSource) else self._drop
        while not stop.is_set():
            try:
                await run(door, stop)  # type: ignore[arg-type]
            except (Unavailable, OSError) as error:
                self._failed(door, error)
                if isinstance(door, FolderSource) and isinstance(error, OSError):
                    with contextlib.suppress(Unavailable):  # it fails at the next turn as well
                        await asyncio.to_thread(self._notes.unreadable, door.name, door.path, error)
                _log.warning("a door is tried again", door=door.name, reason=f"{type(error).__name__}: {error}")
            except Exception as error:
                self._failed(door, error)
                _log.exception("a door has failed and is tried again", door=door.name)
            await _pause(stop, AGAIN_S)

    def _failed(self, door: Door, error: Exception) -> None:
        """It is counted, and told until a turn of it has gone well; requests are served all the same."""
        self._failures.labels(door.name).inc()
        self._keeper.report(f"door {door.name}", f"{type(error).__name__}: {error}"[:300], is_vital=False)

    async def _well(self, door: Door, turns: AsyncIterator[None]) -> AsyncIterator[None]:
        async for turn in turns:
            yield turn
            if isinstance(door, FolderSource):
                await asyncio.to_thread(self._notes.readable, door.name)
            self._keeper.report(f"door {door.name}", None, is_vital=False)

    async def _poll(self, door: PolledSource, stop: asyncio.Event) -> None:
        if self._is_prompted:
            await self._prompts[door.name].wait()
        turns = self._prompted(door) if self._is_prompted else _turns(stop, _pauses(door))
        cursor = await asyncio.to_thread(last_cursor, self._log, door.channel)
        async with httpx.AsyncClient(timeout=door.timeout_s, trust_env=False) as client:
            async for page in poll(self._well(door, turns), lambda at: fetch(client, door.url, at), cursor):
                await self._write(door.name, records_of(page, door.channel))

    async def _prompted(self, door: PolledSource) -> AsyncIterator[None]:
        """A turn for each prompt, while they keep coming: after a longer pause another process may have asked meanwhile."""
        prompt, patience_s = self._prompts[door.name], 3 * door.every_s + AGAIN_S
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.wait_for(prompt.wait(), patience_s)
                prompt.clear()
                yield None

    async def _drop(self, door: FolderSource, stop: asyncio.Event) -> None:
        folder = Folder(door.path, door.channel, door.declared)
        await asyncio.to_thread(folder.prepare)
        try:
            async for dropped in drop(self._well(door, _turns(stop, _always(door.every_s))), folder):
                await self._take(door, folder, dropped)
        finally:
            folder.pending.clear()  # what is claimed is taken again by whoever watches next

    async def _take(self, door: FolderSource, folder: Folder, dropped: ClaimedFile) -> None:
        offsets: list[int] = []
        if dropped.records:
            try:
                offsets = await self._write(door.name, dropped.records)
            except (ValueError, KeyError) as error:  # not for now, but for good: what comes behind it should not wait
                dropped = ClaimedFile(dropped.name, [], dropped.rows, f"the log does not take it: {error}", notes=dropped.notes)
        await asyncio.to_thread(self._notes.write, door.name, folder.path, dropped)
        folder.pending.add(dropped.name)
        if not offsets:
            await self._finish(door, folder, dropped)
            return
        following = asyncio.create_task(self._follow(door, folder, dropped, offsets))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _follow(self, door: FolderSource, folder: Folder, dropped: ClaimedFile, offsets: Sequence[int]) -> None:
        """Report on the rows once it is known what became of their orders, or has not been known for a while."""
        try:
            found = await outcomes(dropped, offsets, self._became, CONFIRM_S)
            await self._finish(door, folder, dropped.to(found))
        except Exception:
            self._failures.labels(door.name).inc()
            _log.exception("a file is taken again: its report could not be written", door=door.name, file=dropped.name)
        finally:
            folder.pending.discard(dropped.name)

    async def _finish(self, door: FolderSource, folder: Folder, dropped: ClaimedFile) -> None:
        try:
            await asyncio.to_thread(folder.finish, dropped)
        except FileNotFoundError:
            _log.warning("another watcher has put the file away", door=door.name, file=dropped.name)
        finally:
            folder.pending.discard(dropped.name)

    async def _write(self, door: str, records: Sequence[Outgoing]) -> list[int]:
        offsets = await asyncio.to_thread(self._log.append, records)
        self._orders.labels(door).inc(len(records))
        return offsets


def _always(every_s: float) -> Iterator[float]:
    """A turn at once, then one after each pause."""
    yield 0.0
    while True:
        yield every_s


def _pauses(door: PolledSource) -> Iterator[float]:
    if door.at is None:
        yield from _always(door.every_s)
    else:
        from faust.utils.cron import secs_for_next  # noqa: PLC0415 - Faust takes a while to load, and few doors have a schedule

        while True:
            yield secs_for_next(door.at, ZoneInfo(door.timezone))


async def _turns(stop: asyncio.Event, pauses: Iterator[float]) -> AsyncIterator[None]:
    for pause_s in pauses:
        await _pause(stop, pause_s)
        if stop.is_set():
            return
        yield None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
