"""One life of Faust: from its start until it is asked to stop, crashes, or is found wedged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from faust import StreamT
from faust.types import TP

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch
from schemas.records import Record
from streams.agents.dispatch_run import GRACE_S, DispatchRun
from streams.agents.faust_app import FaustApp, dispatches_in
from streams.agents.host import PAGE, DoesNotStop, Leases, first_leased, places
from streams.agents.timers import Timer
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Fenced, Log, TopicPartition, Unavailable

START_S = 60.0
STOP_S = 30.0
WATCH_S = 1.0
LOOK_S = 10.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FaustTimeouts:
    """`stuck_s`: a record that waits unread for so long means that Faust has wedged. `away_s`: so has an event loop that asks for
    no records for so long, and its partitions are given to others.
    """

    stuck_s: float = 30.0
    away_s: float = 30.0


@dataclass(frozen=True, slots=True)
class FaustDuties:
    """What every life has to do."""

    log: Log
    codec: Codec
    leases: Leases
    clock_ms: Callable[[], int]
    timers: Sequence[Timer]
    keeper: ThreadKeeper
    group: str
    patience: FaustTimeouts


class FaustRun:
    """Faust hands dispatches to a run of the agents. `run` it once, then `end` it."""

    def __init__(self, app: FaustApp, dispatch_run: DispatchRun, duty: FaustDuties) -> None:
        self._app = app
        self._dispatch_run = dispatch_run
        self._duty = duty
        self._owned: frozenset[TopicPartition] = frozenset()
        self._read: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, tuple[int, float]] = {}  # where an unread record waits, and since when
        self._looks: set[asyncio.Task[None]] = set()
        # The name is given, or Faust would put the module's path into the names of topics.
        topic = app.topic(topics.DISPATCH.name, key_serializer="raw", value_serializer="raw", value_type=bytes)
        app.agent(topic, name=duty.group)(self._take_all)
        signal: Any = app.on_partitions_assigned
        signal.connect(self._assigned)
        for timer in duty.timers:
            if timer.at is None:
                app.timer(timer.every_s, on_leader=True, name=timer.name)(self._turns(timer))
            else:
                app.crontab(timer.at, timezone=ZoneInfo(timer.timezone), on_leader=True)(self._turns(timer))

    async def run(self, asked: asyncio.Task[None]) -> str | None:
        """Live. Returns why another life has to begin; none once it was asked to stop."""
        starting = asyncio.create_task(self._app.start())
        await asyncio.wait((starting, asked), timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if asked.done() or not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return None if asked.done() else f"it did not start in {START_S:g} s"
        failure = starting.exception()
        if failure is not None:
            return f"it did not start: {failure!r}"
        watching = asyncio.create_task(self._watch())
        await asyncio.wait((watching, asked), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            return watching.result()
        watching.cancel()
        return None

    async def end(self) -> None:
        """Leave the group. Raises `DoesNotStop`."""
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        try:
            await asyncio.wait_for(self._app.stop(), STOP_S)
        except TimeoutError:
            raise DoesNotStop(
                f"Faust did not stop in {STOP_S:g} s: end this process, so that others get its partitions"
            ) from None

    # --- dispatches --------------------------------------------------------------------------------------------------------

    async def _take_all(self, stream: StreamT[bytes]) -> None:
        """The Faust agent. It never fails: Faust would take what it failed at for done, and begin it anew."""
        async for event in stream.events():
            message = event.message
            self._read[TopicPartition(message.topic, message.partition)] = message.offset + 1
            dispatch = self._decoded(Record(message.topic, message.partition, message.offset, 0, None, event.value))
            if dispatch is not None and self._is_open(dispatch):
                self._dispatch_run.hand_over(dispatch)

    def _decoded(self, record: Record) -> Dispatch | None:
        try:
            dispatch: Dispatch = self._duty.codec.decode(record.value or b"")
        except Exception:  # of a newer version of ours, perhaps: who understands it gets it when its lease has run out
            _log.exception("a dispatch was not understood", partition=record.partition, offset=record.offset)
            return None
        return dispatch

    def _is_open(self, dispatch: Dispatch) -> bool:
        try:
            return self._duty.leases.is_open(dispatch)
        except Unavailable:
            return True  # a call too many is absorbed by its idempotency key, one too few would wait for its lease

    async def _assigned(self, _: FaustApp, assigned: Iterable[TP], **__: Any) -> None:
        """Faust moves every partition at each change of the group, and gives most of them back: what is in hand stays so."""
        now = dispatches_in(assigned)
        for at in now - self._owned:
            look = asyncio.create_task(self._look_back(at))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        self._read = {at: position for at, position in self._read.items() if at in now & self._owned}
        self._owned = now

    async def _look_back(self, at: TopicPartition) -> None:
        """Take what was dispatched earlier and is neither answered nor lapsed: whoever had it may be gone.

        It may also be well, and have given up the partition only: it gets a moment to end its calls.
        """
        duty = self._duty
        began_ms = duty.clock_ms()
        await asyncio.sleep(GRACE_S)
        while duty.clock_ms() < began_ms + duty.leases.longest_ms:  # after that none of them is leased any more
            try:
                for dispatch in await asyncio.to_thread(self._earlier, at, began_ms - duty.leases.longest_ms):
                    self._dispatch_run.hand_over(dispatch)
            except (Unavailable, Fenced) as error:
                _log.info("a look at earlier dispatches has to wait", partition=at.partition, reason=str(error))
                await asyncio.sleep(WATCH_S)
            except Exception:  # tried again: what is not found is dispatched again anyhow, when its lease has run out
                _log.exception("a look at earlier dispatches has failed", partition=at.partition)
                await asyncio.sleep(WATCH_S)
            else:
                return

    def _earlier(self, at: TopicPartition, horizon_ms: int) -> list[Dispatch]:
        """Dispatches that are leased and not answered, as far as is known. Raises `Unavailable` while that is not known."""
        duty, found = self._duty, []
        offset = first_leased(duty.log, at, horizon_ms)
        while records := duty.log.read(at, offset, PAGE):
            offset = records[-1].offset + 1
            dispatches = [dispatch for record in records if (dispatch := self._decoded(record)) is not None]
            found += [d for d in dispatches if d.lease_until_ms > duty.clock_ms() and duty.leases.is_open(d)]
        return found

    # --- time --------------------------------------------------------------------------------------------------------------

    def _turns(self, timer: Timer) -> Callable[[], Awaitable[None]]:
        name, failures, rests_until_s = f"timer {timer.name}", 0, 0.0

        async def turn() -> None:
            nonlocal failures, rests_until_s
            if time.monotonic() < rests_until_s:
                return
            try:
                await asyncio.to_thread(timer.run)
            except (Unavailable, Fenced) as error:
                _log.warning("a timer waits for the log", timer=timer.name, reason=str(error))
            except Exception as error:  # it would crash the whole app
                failures += 1
                rests_until_s = time.monotonic() + self._duty.keeper.pause_s(failures)
                _log.exception("a timer has failed and is tried again", timer=timer.name, failures=failures)
                self._duty.keeper.report(name, f"{type(error).__name__}: {error}")
            else:
                if failures:
                    failures = 0
                    self._duty.keeper.report(name, None)

        return turn

    # --- watch -------------------------------------------------------------------------------------------------------------

    async def _watch(self) -> str:
        """Returns why this life has to end.

        Faust says when it crashes. It does not say when its consumer no longer delivers (known to happen after a broker was
        away or a rebalance: faust-streaming 175, 523, 532): then records wait, and nobody reads them.
        """
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            if self._app.crashed:
                return f"it crashed: {self._app.crash_reason!r}"
            self._app.stay()
            if time.monotonic() - looked_at > min(LOOK_S, self._duty.patience.stuck_s / 3):
                try:
                    stuck = await self._stuck()
                except (Unavailable, Fenced):
                    stuck = None  # Faust cannot be better off
                    self._waiting.clear()
                if stuck is not None:
                    return f"nothing reads dispatches of partition {stuck.partition}"
                looked_at = time.monotonic()

    async def _stuck(self) -> TopicPartition | None:
        """A partition whose next record waits for too long.

        One of ours; or, if we have none, any: we may be a spare, or no member any more without knowing it.
        """
        owned = self._app.owned()
        patience_s = self._duty.patience.stuck_s * (1 if owned else 2)
        for at in owned or places(self._duty.log):
            position, is_waiting = await asyncio.to_thread(self._unread, at, self._read.get(at) if owned else None)
            if not is_waiting:
                self._waiting.pop(at, None)
                continue
            before, since = self._waiting.get(at, (-1, 0.0))
            if before != position:
                self._waiting[at] = (position, time.monotonic())
            elif time.monotonic() - since > patience_s:
                return at
        return None

    def _unread(self, at: TopicPartition, position: int | None) -> tuple[int, bool]:
        """A position (the group's, if none), and whether there is a record to read."""
        if position is None:
            position = self._duty.log.committed(self._duty.group, at)
        return position, bool(self._duty.log.read(at, position, 1))
