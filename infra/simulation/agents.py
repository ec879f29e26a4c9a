"""The agents under simulation: the real ones, on an event loop whose time is the simulated one, calling systems in memory.

Nothing here waits. `act` does one thing that is due, whichever the dice say: a dispatch is handed over, a call arrives, a reply
comes back. A call may be slow, lost, doubled; the agents may be killed with all they had under way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import httpx

from connectors.erp.client import ErpClient
from connectors.webhooks.client import WebhookClient
from connectors.wms.client import WmsClient
from infra.simulation.systems import NAMES, SECRET, Systems
from infra.simulation.world import START_MS
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import Dispatch, DispatchAnswered
from streams.agents.delivery import Agent, AgentLimits
from streams.agents.erp import post_to_erp
from streams.agents.notices import notify
from streams.agents.wms import release_to_wms
from streams.engine.log import Outgoing, TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partitions import partition_of

TIMEOUT_S = 20.0
AT_ONCE = 4
LONG_MS = (500, 8_000, 25_000, 70_000)
ALL = 1_000_000


class _Selector(selectors.SelectSelector):
    """Tells when the loop has nothing to do, instead of waiting."""

    idle: Callable[[], None]

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            self.idle()
        return []


class _Loop(asyncio.SelectorEventLoop):
    """An event loop by another clock. `run_forever` returns when everything waits for a call's end or for time."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.idle = self.stop
        self._simulated_ms = clock_ms

    def time(self) -> float:
        return (self._simulated_ms() - START_MS) / 1000  # a small number: the loop adds nanoseconds to it


@dataclass(slots=True)
class Call:
    """A request under way. `caller`: who waits for the reply, none if nobody (any more)."""

    name: str
    request: httpx.Request
    caller: asyncio.Future[httpx.Response] | None
    due_ms: int
    is_lost: bool
    reply: httpx.Response | httpx.TransportError | None = None


class SimulatedAgents:
    """The agents, and the network between them and the systems."""

    def __init__(self, log: Callable[[], MemoryLog], codec: Codec, systems: Systems, dice: Random) -> None:
        self.kills = 0
        self._log, self._codec, self._systems, self._dice = log, codec, systems, dice
        self._loop = _Loop(self._now)
        self._calls: list[Call] = []
        self._answers: list[DispatchAnswered] = []
        self._begin()

    def _now(self) -> int:
        return self._systems.world.now_ms

    # --- agents come and go ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """As a host that starts: some dispatches that are still leased are looked at again."""
        places = [TopicPartition(topics.DISPATCH.name, index) for index in range(topics.DISPATCH.partitions)]
        self._old = {at: self._log().bounds(at)[1] for at in places}
        self._next = {at: max(0, end - self._dice.choice((0, 2, 12))) for at, end in self._old.items()}
        self._queues: dict[str, asyncio.Queue[Dispatch]] = {name: asyncio.Queue() for name in NAMES}
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._send), trust_env=False)
        self._tasks = [self._loop.create_task(self._serve(name, self._agent(name, http))) for name in NAMES]
        self.pump()

    def _agent(self, name: str, http: httpx.AsyncClient) -> Agent:
        bounds, url = AgentLimits(AT_ONCE, self._now), f"http://{name}"
        if name == "erp":
            return partial(post_to_erp, erp=ErpClient(http, url, TIMEOUT_S), bounds=bounds)
        if name == "wms":
            return partial(release_to_wms, wms=WmsClient(http, url, TIMEOUT_S), bounds=bounds)
        hook = WebhookClient(http, f"{url}/notices", TIMEOUT_S, SECRET, self._now)
        return partial(notify, hook=hook, bounds=bounds)

    async def _serve(self, name: str, agent: Agent) -> None:
        async for answer in agent(_handed(self._queues[name])):
            self._answers.append(answer)

    def kill(self) -> None:
        """The agents die. A request they had sent may still arrive; nobody hears the reply."""
        self.kills += 1
        self._end()
        self._calls = [call for call in self._calls if call.reply is None and self._dice.random() < 0.5]
        for call in self._calls:
            call.caller = None
        self._begin()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.pump()
        self._answers.clear()

    def close(self) -> None:
        """End for good."""
        self._end()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def pump(self) -> None:
        """Let the agents come to where they wait."""
        self._loop.run_forever()

    # --- what happens ----------------------------------------------------------------------------------------------------

    def act(self) -> bool:
        """One thing that is due now. Returns whether there was any. Raises what the log raises: then an answer is lost."""
        self.pump()  # time may have run out for some
        if self._answers:
            self._write()
            return True
        due: list[Callable[[], None]] = [partial(self._move, call) for call in self._calls if call.due_ms <= self._now()]
        due += [partial(self._hand_over, at) for at in self._next if self._log().bounds(at)[1] > self._next[at]]
        if not due:
            return False
        self._dice.choice(due)()
        self.pump()
        return True

    def next_due(self) -> int | None:
        """When something is due next that is under way."""
        return min((call.due_ms for call in self._calls), default=None)

    def _write(self) -> None:
        """Answers, in an order that does not depend on where tasks are in memory."""
        answers = sorted(self._answers, key=lambda answer: answer.event_id)
        self._answers.clear()
        inbox, records = topics.DELIVERY_INBOX, []
        for answer in answers:
            key = answer.endpoint.encode()
            records.append(Outgoing(inbox.name, partition_of(key, inbox.partitions), key, self._codec.encode(answer)))
        self._log().append(records)

    def _hand_over(self, at: TopicPartition) -> None:
        """The next dispatch, if it is still leased. After a start, old ones may be known to be answered, or may not."""
        record = self._log().read(at, self._next[at], 1)[0]
        self._next[at] = record.offset + 1
        dispatch: Dispatch = self._codec.decode(record.value or b"")
        is_skipped = record.offset < self._old[at] and self._dice.random() < 0.3
        if dispatch.lease_until_ms > self._now() and not is_skipped:
            self._queues[dispatch.endpoint].put_nowait(dispatch)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The network's end on our side."""
        await request.aread()
        name = request.url.host
        trouble, now, dice = self._systems.trouble[name], self._now(), self._dice
        caller: asyncio.Future[httpx.Response] = self._loop.create_future()
        due_ms = now + (dice.choice(LONG_MS) if dice.random() < trouble.slow else 0)
        self._calls.append(Call(name, request, caller, due_ms, is_lost=dice.random() < trouble.lost))
        if dice.random() < trouble.doubled:
            self._calls.append(Call(name, request, None, due_ms + dice.choice((0, *LONG_MS)), is_lost=False))
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                return await caller
        except TimeoutError:
            raise httpx.ReadTimeout("no reply", request=request) from None

    def _move(self, call: Call) -> None:
        """The request arrives, or its reply does."""
        if call.reply is not None:
            self._calls.remove(call)
            if call.caller is not None and not call.caller.done():
                if isinstance(call.reply, httpx.Response):
                    call.caller.set_result(call.reply)
                else:
                    call.caller.set_exception(call.reply)
            return
        try:
            call.reply = self._systems.handle(call.name, call.request)
        except httpx.ConnectError as error:
            call.reply = error
        if call.is_lost:
            call.reply = httpx.ReadError("the connection broke")
        slow = self._systems.trouble[call.name].slow
        call.due_ms += self._dice.choice(LONG_MS) if self._dice.random() < slow else 0
        if call.caller is None:
            self._calls.remove(call)


async def _handed(queue: asyncio.Queue[Dispatch]) -> AsyncIterator[Dispatch]:
    while True:
        yield await queue.get()
