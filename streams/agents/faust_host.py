"""The host of the agents on Kafka: Faust brings the dispatches and keeps the time, the agents are the same.

The processes that act share the partitions of `dispatch.v1` as one consumer group; the one that has the first of them leads, and
its timers run. A dispatch is done with (for Faust) as soon as it is handed over: the obligation is the delivery fold's, so a
dispatch that is lost with a process, or in one of the ways in which Faust skips a record, comes again when its lease runs out.
To be faster than that, whoever gets a partition looks at its recent dispatches that were not answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter

from schemas.codec import Codec
from streams.agents.dispatch_run import DispatchRun, Roster
from streams.agents.faust_app import GROUP, FaustApp, retell
from streams.agents.faust_life import START_S, FaustDuties, FaustRun, FaustTimeouts
from streams.agents.faust_security import credentials_of
from streams.agents.host import Host, Leases
from streams.agents.timers import Timer
from streams.engine.kafka.log import KafkaSettings
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import Log

__all__ = ["FaustHost", "FaustTimeouts", "Timer"]

_log = structlog.get_logger(__name__)


class FaustHost(Host):
    """Agents and timers on Kafka. Raises `ValueError` for security settings that Faust cannot follow.

    When Faust crashes or wedges, another life of it begins; calls in flight are not touched by that. If it does not even stop,
    the host halts: the process has to end for its partitions to become free.
    """

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
        kafka: KafkaSettings,
        timers: Sequence[Timer] = (),
        group: str = GROUP,
        patience: FaustTimeouts | None = None,
    ) -> None:
        keeper = keeper or ThreadKeeper()
        super().__init__(log, codec, roster, leases, clock_ms=clock_ms, registry=registry, on_halt=on_halt, keeper=keeper)
        credentials_of(kafka.clients)
        self._kafka = kafka
        self._duty = FaustDuties(log, codec, leases, clock_ms, tuple(timers), keeper, group, patience or FaustTimeouts())
        self._lives = Counter("crossdock_agent_lives", "How often Faust was begun: once, and after each crash", registry=registry)

    async def _feed(self, run: DispatchRun) -> None:
        retell()
        asked = asyncio.create_task(self._stop_asked())
        failures = 0
        while not _is_over(asked):
            began = time.monotonic()
            self._lives.inc()
            life = FaustRun(FaustApp(self._kafka, self._duty.group, self._duty.patience.away_s), run, self._duty)
            try:
                reason = await life.run(asked)
                if reason is not None:
                    _log.warning("Faust is begun anew", reason=reason)
            finally:
                await life.end()
            if reason is not None:
                failures = 0 if time.monotonic() - began > START_S else failures + 1
                await run.pause(failures)

    async def _stop_asked(self) -> None:
        while not self._stopping.is_set():
            self._keeper.beat("agents")
            await asyncio.sleep(0.1)


def _is_over(asked: asyncio.Task[None]) -> bool:
    """Whether it was asked to stop. Raises what that question failed with."""
    if asked.done():
        asked.result()
    return asked.done()
