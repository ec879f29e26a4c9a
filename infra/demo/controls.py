"""The live page's buttons in a demonstration: faults that a person may cause, to see that nothing is lost by them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import httpx

from connectors.api.console.ports import DemoAction
from connectors.api.ports import Busy, NotKnown
from infra.demo import garbage
from infra.demo.sandbox import SandboxClient
from infra.demo.world import DemoPlan
from schemas import topics
from schemas.topics import raw_channel
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.runtime.app import App

POINTS = ("before_apply", "after_apply", "before_commit", "after_commit")
REPEATED = 40
GARBAGE = 8


class DemoFaultControls:
    """`connectors.api.console.ports.DemoControls` on an app and its sandbox."""

    def __init__(self, app: App, sandbox: SandboxClient, plan: Callable[[], DemoPlan], clock_ms: Callable[[], int]) -> None:
        self._app = app
        self._sandbox = sandbox
        self._plan = plan
        self._clock_ms = clock_ms
        self._rng = Random("controls")  # noqa: S311 - a game, no secret
        self._is_down = False
        self._actions: dict[str, Callable[[], str]] = {
            "wms": self._wms,
            "duplicates": self._duplicates,
            "garbage": self._garbage,
            "kill": self._kill,
        }

    def actions(self) -> Sequence[DemoAction]:
        """The buttons, as they are now."""
        down = "WMS up" if self._is_down else "WMS down"
        return (
            DemoAction(
                "wms", down, "Take the warehouse's system away, or bring it back: what is owed to it waits.", self._is_down
            ),
            DemoAction("duplicates", "Send duplicates", f"Send the last {REPEATED} messages of each source again."),
            DemoAction("garbage", "Send garbage", f"Send {GARBAGE} messages nobody can understand."),
            DemoAction(
                "kill", "Kill the worker", "Kill the worker in the middle of a batch; another goes on from its last commit."
            ),
        )

    async def run(self, name: str) -> str:
        """Do it."""
        action = self._actions.get(name)
        if action is None:
            raise NotKnown(f"There is no {name[:40]!r} here, only {', '.join(self._actions)}.")
        try:
            return await asyncio.to_thread(action)
        except (httpx.HTTPError, Unavailable) as error:
            raise Busy(f"It could not be done ({error})", "Try again in a moment.") from None

    def _wms(self) -> str:
        self._is_down = bool(self._sandbox.control("wms", down=not self._is_down)["down"])
        return (
            "The WMS is away: what is owed to it waits in order."
            if self._is_down
            else "The WMS is back: what waited is sent now."
        )

    def _duplicates(self) -> str:
        log, found = self._app.log, 0
        channels = [raw_channel(name).name for name in self._app.settings.channels]
        for topic in (topics.RAW_WMS.name, *channels):
            at = TopicPartition(topic, 0)
            low, high = log.bounds(at)
            again = log.read(at, max(low, high - REPEATED), REPEATED)
            if again:
                log.append([Outgoing(topic, 0, record.key, record.value, record.headers) for record in again])
            found += len(again)
        return f"{found} messages were sent a second time."

    def _garbage(self) -> str:
        plan = self._plan()
        for n in range(GARBAGE):
            if n % 2:
                name = self._rng.choice(list(plan.channels))
                kind = self._rng.choice(garbage.CHANNEL_KINDS)
                self._app.ports.ingest.accept(name, [garbage.channel(plan, name, kind, self._rng, self._clock_ms())])
            else:
                kind = self._rng.choice(garbage.WMS_KINDS)
                self._app.ports.ingest.accept("wms", [garbage.wms(plan, kind, self._rng, self._clock_ms())])
        return f"{GARBAGE} messages that mean nothing were sent; each is kept, with the reason."

    def _kill(self) -> str:
        point = self._rng.choice(POINTS)
        self._app.kill_worker(point)
        return f"The worker dies in its next batch, {point.replace('_', ' ')}."
