"""One run of the delivering agents: a queue of dispatches for each, and what they answer on its way to the delivery fold.

Whoever hosts agents hands dispatches over and needs to know nothing more. Nothing is kept: what is not answered for is
dispatched again when its lease runs out, under the same idempotency key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from connectors.transport import Connections
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import Agent
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Fenced, Log, Outgoing, Unavailable
from streams.engine.partitions import partition_of

GRACE_S = 2.0  # calls in flight may end when the host does; the others are made again
AGAIN_S = (0.1, 5.0)
MOST_QUEUED = 10_000
MOST_WRITTEN = 500
_log = structlog.get_logger(__name__)

Roster = Callable[[httpx.AsyncClient], Mapping[str, Agent]]


class Tally:
    """What is counted of the calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "crossdock_calls", "Calls to other systems, by how they went", ["endpoint", "outcome"], registry=registry
        )
        self._took = Histogram("crossdock_call_seconds", "How long a call took", ["endpoint"], registry=registry)

    def note(self, endpoint: str, answer: DispatchAnswered) -> None:
        """A call has ended."""
        self._calls.labels(endpoint, answer.outcome).inc()
        self._took.labels(endpoint).observe(answer.took_ms / 1000)


class DispatchRun:
    """Agents at work (`at_work`) until `stopping` is set and their queues have ended. None ends a queue."""

    def __init__(
        self,
        log: Log,
        codec: Codec,
        tally: Tally,
        clock_ms: Callable[[], int],
        stopping: threading.Event,
        keeper: ThreadKeeper | None = None,
    ) -> None:
        self._keeper = keeper or ThreadKeeper()
        self._log = log
        self._codec = codec
        self._tally = tally
        self._clock_ms = clock_ms
        self._stopping = stopping
        self._queues: dict[str, asyncio.Queue[Dispatch | None]] = {}
        self._answers: asyncio.Queue[DispatchAnswered | None] = asyncio.Queue()
        self._taken: dict[tuple[str, int], int] = {}  # (obligation, attempt) -> the end of its lease
        self._most_taken = MOST_QUEUED

    @asynccontextmanager
    async def at_work(self, roster: Roster) -> AsyncIterator[None]:
        """Agents serve meanwhile. Afterwards calls in flight get a moment to end, and what was answered is written."""
        async with httpx.AsyncClient(transport=Connections(), trust_env=False) as http:
            agents = roster(http)
            self._queues = {name: asyncio.Queue() for name in agents}
            writing = asyncio.create_task(self._keeper.task("agents' answers", self._write))
            serving = [
                asyncio.create_task(self._keeper.task(f"agent {name}", partial(self._serve, name, agent)))
                for name, agent in agents.items()
            ]
            try:
                yield
                for queue in self._queues.values():
                    queue.put_nowait(None)
                await _ended(serving)
            finally:
                self._answers.put_nowait(None)
                await _ended([writing])

    def hand_over(self, dispatch: Dispatch) -> None:
        """Have an attempt made, once however often it is handed over. One whose lease has run out comes again by itself."""
        attempt = (dispatch.obligation_id, dispatch.attempt)
        if dispatch.lease_until_ms <= self._clock_ms() or attempt in self._taken:
            return
        queue = self._queues.get(dispatch.endpoint)
        if queue is None:
            self._answers.put_nowait(self._nobody(dispatch))
        elif queue.qsize() < MOST_QUEUED:  # else its lease runs out, and it comes again
            queue.put_nowait(dispatch)
        else:
            return
        self._taken[attempt] = dispatch.lease_until_ms
        if len(self._taken) > self._most_taken:
            now_ms = self._clock_ms()
            self._taken = {key: until_ms for key, until_ms in self._taken.items() if until_ms > now_ms}
            self._most_taken = max(MOST_QUEUED, 2 * len(self._taken))

    def _nobody(self, dispatch: Dispatch) -> DispatchAnswered:
        now_ms = self._clock_ms()
        return DispatchAnswered(
            event_id=f"{dispatch.obligation_id} {dispatch.attempt} failed",
            source=topics.AGENTS,
            source_position=dispatch.attempt,
            occurred_at_ms=now_ms,
            recorded_at_ms=now_ms,
            trace_id=dispatch.trace_id,
            endpoint=dispatch.endpoint,
            aggregate=dispatch.aggregate,
            obligation_id=dispatch.obligation_id,
            attempt=dispatch.attempt,
            outcome="failed",
            status=0,
            answer=f"there is no [endpoint.{dispatch.endpoint}] in the settings",
            took_ms=0,
        )

    async def pause(self, failures: int) -> None:
        """Wait before something is tried again; not longer than until the host is to stop."""
        shortest, longest = AGAIN_S
        until_s = min(longest, shortest * 2.0 ** min(failures, 30))
        await asyncio.to_thread(self._stopping.wait, until_s)

    async def _serve(self, name: str, agent: Agent) -> None:
        """Run one agent for as long as there are dispatches. One that breaks is begun again with what comes next."""
        async for answer in agent(self._handed(name)):
            self._tally.note(name, answer)
            self._answers.put_nowait(answer)

    async def _handed(self, name: str) -> AsyncIterator[Dispatch]:
        while (dispatch := await self._queues[name].get()) is not None:
            self._keeper.beat(f"agent {name}")
            yield dispatch

    async def _write(self) -> None:
        is_open = True
        while is_open:
            batch = [await self._answers.get()]
            self._keeper.beat("agents' answers")
            while len(batch) < MOST_WRITTEN and not self._answers.empty():
                batch.append(self._answers.get_nowait())
            is_open = None not in batch
            await self._append([answer for answer in batch if answer is not None])

    async def _append(self, answers: list[DispatchAnswered]) -> None:
        """Write answers. While the log cannot take them, try for as long as the host runs: after that they count as lost."""
        inbox = topics.DELIVERY_INBOX
        records = []
        for answer in answers:
            key = answer.endpoint.encode()
            try:
                partition, value = partition_of(key, self._log.partitions(inbox.name)), self._codec.encode(answer)
            except Exception:  # this one's lease runs out; the others are none the worse
                _log.exception("an answer cannot be written", obligation=answer.obligation_id, endpoint=answer.endpoint)
                continue
            records.append(Outgoing(inbox.name, partition, key, value))
        failures = 0
        while records:
            try:
                await asyncio.to_thread(self._log.append, records)
                return
            except (Unavailable, Fenced) as error:
                _log.warning("answers wait for the log", count=len(records), reason=str(error))
                if self._stopping.is_set():
                    return
                await self.pause(failures)
                failures += 1


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Wait a moment for tasks to end by themselves, then have them end."""
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
