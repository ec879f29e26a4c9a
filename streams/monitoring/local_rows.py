"""What of a shared log a process keeps on its own machine to answer from, and how far it is."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from schemas import topics
from schemas.topics import Topic
from streams.engine.keeper import KeptThread, ThreadKeeper
from streams.engine.log import ReadableLog, Unavailable
from streams.engine.partition import Flow
from streams.flows.groups import GroupOf, Role, by_group, role_of, stores_of, topics_of

AGAIN_S = 1.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """Partitions whose rows are being caught up, of all; changes read of those to be read, and how many a second.

    `remade`: how often rows kept on this machine could not be used, and were made again.
    """

    partitions: int = 0
    of: int = 0
    done: int = 0
    total: int = 0
    rows_per_s: int = 0
    problem: str | None = None
    remade: int = 0


class LocalRows:
    """The rows of the groups whose tables a process looks at, and of those it may have to take over."""

    def __init__(self, log: ReadableLog, flows: Sequence[Flow], group: GroupOf, standby: int) -> None:
        self._log = log
        self._groups = by_group(flows, group)
        self._standby = standby

    def keep(self, roles: Collection[Role]) -> None:
        """Begin to keep what these roles need. Raises `Unavailable`."""
        for group, flows in self._groups.items():
            role = role_of(flows[0])
            is_looked_at = "serve" in roles or ("act" in roles and role == "fold")
            if is_looked_at or (self._standby and role in roles):
                self._log.keep(group, stores_of(flows), topics_of(flows))

    def catching_up(self) -> CatchingUp:
        """How far all of it is."""
        kept = self._log.kept()
        late = [entry for entry in kept if entry.caught_up_ms is None]
        return CatchingUp(
            len(late),
            len(kept),
            sum(entry.restored for entry in late),
            sum(entry.restored + entry.remaining for entry in late),
            sum(entry.rows_per_s for entry in late),
            next((entry.problem for entry in late if entry.problem), None),
            sum(entry.remade for entry in kept),
        )

    def told(self) -> tuple[str, bool]:
        """The same in words, and whether all is here."""
        now = self.catching_up()
        if not now.partitions:
            return f"{now.of} partitions are here", True
        why = f": {now.problem}" if now.problem else ""
        left = now.total - now.done
        return f"{now.partitions} of {now.of} partitions are being caught up, {left:,} changes to go{why}", False


class LocalViews:
    """The published topics that answers come from, read to their ends before anybody asks."""

    def __init__(self, log: ReadableLog, keeper: ThreadKeeper | None = None) -> None:
        self._log = log
        self._keeper = keeper or ThreadKeeper()
        self._behind = [topic for topic in topics.DEFINED if topic.cleanup == "compact" or topic.is_indexed]
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[KeptThread] = []

    def start(self) -> None:
        """Begin with all of them at once."""
        for topic in self._behind:
            name = f"views {topic.name}"
            self._threads.append(self._keeper.thread(name, partial(self._read, name, topic), self._stopping, may_end=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End. One that still waits for the brokers is left alone: it changes nothing."""
        self._stopping.set()

    def told(self) -> tuple[str, bool]:
        """In words, and whether all are here."""
        behind = [topic.name for topic in self._behind]
        return (f"{', '.join(behind)} are being read", False) if behind else ("all topics are here", True)

    def _read(self, name: str, topic: Topic) -> None:
        while not self._stopping.is_set():
            self._keeper.beat(name)
            try:
                if topic.is_indexed:
                    self._log.by_key(topic.name, b"", 1)
                else:
                    self._log.latest(topic.name, b"")
                with self._lock:
                    self._behind = [other for other in self._behind if other is not topic]
                return
            except Unavailable as error:
                _log.info("a topic is being read", topic=topic.name, reason=str(error))
                self._stopping.wait(AGAIN_S)
