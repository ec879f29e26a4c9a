"""The embedded host of the delivering agents: one thread with an event loop, between `dispatch.v1` and `delivery.inbox.v1`.

It keeps nothing. When it starts it looks at the recent dispatches again: those that are still leased and not answered are made
once more, under their idempotency key. However it ends, what it had not answered for is dispatched again when its lease runs out.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import httpx
import structlog
import uvloop
from prometheus_client import CollectorRegistry, Counter, Histogram

from connectors.transport import Connections
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import Agent
from streams.engine.log import Fenced, Log, Outgoing, TopicPartition, Unavailable
from streams.engine.partitions import partition_of

POLL_S = 0.2
GRACE_S = 2.0  # calls in flight may end when the host does; the others are made again
AGAIN_S = (0.1, 5.0)
MOST_QUEUED = 10_000
MOST_WRITTEN = 500
PAGE = 500
_TOPIC = topics.DISPATCH
_log = structlog.get_logger(__name__)

Roster = Callable[[httpx.AsyncClient], Mapping[str, Agent]]


@dataclass(frozen=True, slots=True)
class Leases:
    """How far back a dispatch may still be leased, and whether an attempt is still unanswered (as far as is known)."""

    longest_ms: int
    is_open: Callable[[Dispatch], bool] = lambda dispatch: True


@dataclass(slots=True)
class _Shift:
    """What one run of the loop has: a queue for each agent, and what they answered. None ends a queue."""

    queues: dict[str, asyncio.Queue[Dispatch | None]]
    answers: asyncio.Queue[DispatchAnswered | None] = field(default_factory=asyncio.Queue)


class AgentHost:
    """Runs agents over a log between `start` and `stop`. `on_halt` is told why if it stops by itself."""

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
    ) -> None:
        self._log = log
        self._codec = codec
        self._roster = roster
        self._leases = leases
        self._clock_ms = clock_ms
        self._on_halt = on_halt
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._calls = Counter(
            "crossdock_calls", "Calls to other systems, by how they went", ["endpoint", "outcome"], registry=registry
        )
        self._took = Histogram("crossdock_call_seconds", "How long a call took", ["endpoint"], registry=registry)

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="agents", daemon=True)
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
        except Exception as error:
            _log.exception("the agents have stopped")
            self._on_halt(f"{type(error).__name__}: {error}")

    async def _work(self) -> None:
        async with httpx.AsyncClient(transport=Connections(), trust_env=False) as http:
            agents = self._roster(http)
            shift = _Shift({name: asyncio.Queue() for name in agents})
            writing = asyncio.create_task(self._write(shift.answers))
            serving = [asyncio.create_task(self._serve(name, agent, shift)) for name, agent in agents.items()]
            try:
                await self._feed(shift)
                for queue in shift.queues.values():
                    queue.put_nowait(None)
                await _ended(serving)
            finally:
                shift.answers.put_nowait(None)
                await _ended([writing])

    # --- dispatches in -----------------------------------------------------------------------------------------------------

    async def _feed(self, shift: _Shift) -> None:
        """Hand each dispatch to its endpoint's agent until the host is to stop."""
        ends = {at: self._log.bounds(at)[1] for at in self._places()}
        positions = {at: await asyncio.to_thread(self._still_leased, at) for at in ends}
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._follow(shift, positions, ends)
            except (Unavailable, Fenced) as error:
                _log.warning("the agents wait for the log", reason=str(error))
                await self._pause(failures)
                failures += 1

    async def _follow(self, shift: _Shift, positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> None:
        follower = self._log.follow(positions)
        try:
            while not self._stopping.is_set():
                for record in await asyncio.to_thread(follower.poll, PAGE, POLL_S):
                    at = TopicPartition(record.topic, record.partition)
                    positions[at] = record.offset + 1
                    dispatch: Dispatch = self._codec.decode(record.value or b"")
                    is_old = record.offset < ends[at]
                    if dispatch.lease_until_ms > self._clock_ms() and not (is_old and not self._leases.is_open(dispatch)):
                        self._hand_over(dispatch, shift)
        finally:
            follower.close()

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(_TOPIC.name, partition) for partition in range(self._log.partitions(_TOPIC.name))]

    def _still_leased(self, at: TopicPartition) -> int:
        """An offset before which nothing is leased any more."""
        low, offset = self._log.bounds(at)
        horizon_ms = self._clock_ms() - self._leases.longest_ms
        while offset > low:
            offset = max(low, offset - PAGE)
            found = self._log.read(at, offset, 1)
            if found and found[0].timestamp_ms < horizon_ms:
                break
        return offset

    def _hand_over(self, dispatch: Dispatch, shift: _Shift) -> None:
        queue = shift.queues.get(dispatch.endpoint)
        if queue is None:
            shift.answers.put_nowait(self._nobody(dispatch))
        elif queue.qsize() < MOST_QUEUED:  # else its lease runs out, and it comes again
            queue.put_nowait(dispatch)

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

    # --- answers out -------------------------------------------------------------------------------------------------------

    async def _serve(self, name: str, agent: Agent, shift: _Shift) -> None:
        """Run one agent for as long as there are dispatches. One that breaks is begun again with what comes next."""
        failures = 0
        while True:
            try:
                async for answer in agent(_handed(shift.queues[name])):
                    self._calls.labels(name, answer.outcome).inc()
                    self._took.labels(name).observe(answer.took_ms / 1000)
                    shift.answers.put_nowait(answer)
                return
            except Exception:
                _log.exception("an agent has failed and is begun again", endpoint=name)
                await self._pause(failures)
                failures += 1

    async def _write(self, answers: asyncio.Queue[DispatchAnswered | None]) -> None:
        is_open = True
        while is_open:
            batch = [await answers.get()]
            while len(batch) < MOST_WRITTEN and not answers.empty():
                batch.append(answers.get_nowait())
            is_open = None not in batch
            await self._append([answer for answer in batch if answer is not None])

    async def _append(self, answers: list[DispatchAnswered]) -> None:
        """Write answers. While the log cannot take them, try for as long as the host runs: after that they count as lost."""
        inbox = topics.DELIVERY_INBOX
        records = []
        for answer in answers:
            key = answer.endpoint.encode()
            partition = partition_of(key, self._log.partitions(inbox.name))
            records.append(Outgoing(inbox.name, partition, key, self._codec.encode(answer)))
        failures = 0
        while records:
            try:
                await asyncio.to_thread(self._log.append, records)
                return
            except (Unavailable, Fenced) as error:
                _log.warning("answers wait for the log", count=len(records), reason=str(error))
                if self._stopping.is_set():
                    return
                await self._pause(failures)
                failures += 1

    async def _pause(self, failures: int) -> None:
        shortest, longest = AGAIN_S
        until_s = min(longest, shortest * 2.0 ** min(failures, 30))
        await asyncio.to_thread(self._stopping.wait, until_s)


async def _handed(queue: asyncio.Queue[Dispatch | None]) -> AsyncIterator[Dispatch]:
    while (dispatch := await queue.get()) is not None:
        yield dispatch


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Wait a moment for tasks to end by themselves, then have them end."""
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
