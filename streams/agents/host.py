"""The hosts of the delivering agents: one thread with an event loop, between `dispatch.v1` and `delivery.inbox.v1`.

A host keeps nothing. When it starts it looks at the recent dispatches again: those that are still leased and not answered are
made once more, under their idempotency key. However it ends, what it had not answered for is dispatched again when its lease
runs out. `AgentHost` follows the log itself (embedded); on Kafka, Faust feeds the agents (`faust_host`).
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch
from streams.agents.dispatch_run import DispatchRun, Roster, Tally
from streams.engine.keeper import KeptThread, ThreadKeeper
from streams.engine.log import Fenced, Log, TopicPartition, Unavailable

POLL_S = 0.2
PAGE = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Leases:
    """How far back a dispatch may still be leased, and whether an attempt is still unanswered (as far as is known)."""

    longest_ms: int
    is_open: Callable[[Dispatch], bool] = lambda dispatch: True


class DoesNotStop(Exception):
    """The host cannot be begun again in this process: it has to end."""


class Host(ABC):
    """Runs agents over a log between `start` and `stop`. `on_halt` is told if only the end of the process can help."""

    def __init__(
        self,
        log: Log,
        codec: Codec,
        roster: Roster,
        leases: Leases,
        *,
        clock_ms: Callable[[], int],
        registry: CollectorRegistry,
        on_halt: Callable[[str], None],
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._log = log
        self._codec = codec
        self._roster = roster
        self._leases = leases
        self._clock_ms = clock_ms
        self._on_halt = on_halt
        self._tally = Tally(registry)
        self._stopping = threading.Event()
        self._keeper = keeper or ThreadKeeper()
        self._thread: KeptThread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._thread = self._keeper.thread("agents", self._run, self._stopping)
        self._thread.start()

    def stop(self) -> None:
        """End. Calls in flight get a moment to end; the others are made again by whoever is next."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._work())
        except DoesNotStop as error:
            _log.exception("the agents have stopped")
            self._on_halt(str(error))
            self._stopping.wait()

    async def _work(self) -> None:
        run = DispatchRun(self._log, self._codec, self._tally, self._clock_ms, self._stopping, self._keeper)
        async with run.at_work(self._roster):
            await self._feed(run)

    @abstractmethod
    async def _feed(self, run: DispatchRun) -> None:
        """Hand each dispatch over until the host is to stop."""


def places(log: Log) -> list[TopicPartition]:
    """All partitions of dispatches."""
    topic = topics.DISPATCH.name
    return [TopicPartition(topic, partition) for partition in range(log.partitions(topic))]


def first_leased(log: Log, at: TopicPartition, horizon_ms: int) -> int:
    """An offset before which nothing was written after an instant: what is leased still is behind it."""
    low, offset = log.bounds(at)
    while offset > low:
        offset = max(low, offset - PAGE)
        found = log.read(at, offset, 1)
        if found and found[0].timestamp_ms < horizon_ms:
            break
    return offset


class AgentHost(Host):
    """Agents on the embedded log: one host serves every partition."""

    async def _feed(self, run: DispatchRun) -> None:
        ends = {at: self._log.bounds(at)[1] for at in places(self._log)}
        horizon_ms = self._clock_ms() - self._leases.longest_ms
        positions = {at: await asyncio.to_thread(first_leased, self._log, at, horizon_ms) for at in ends}
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._follow(run, positions, ends)
            except (Unavailable, Fenced) as error:
                _log.warning("the agents wait for the log", reason=str(error))
                await run.pause(failures)
                failures += 1

    async def _follow(self, run: DispatchRun, positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> None:
        follower = self._log.follow(positions)
        try:
            while not self._stopping.is_set():
                self._keeper.beat("agents")
                for record in await asyncio.to_thread(follower.poll, PAGE, POLL_S):
                    at = TopicPartition(record.topic, record.partition)
                    positions[at] = record.offset + 1
                    try:
                        dispatch: Dispatch = self._codec.decode(record.value or b"")
                    except Exception:  # who understands it gets it when its lease has run out
                        _log.exception("a dispatch was not understood", partition=record.partition, offset=record.offset)
                        continue
                    is_old = record.offset < ends[at]
                    if dispatch.lease_until_ms > self._clock_ms() and not (is_old and not self._leases.is_open(dispatch)):
                        run.hand_over(dispatch)
        finally:
            follower.close()
