"""Follows a group's changelog into the stores that no member of this process has: for views, and as warm standby."""

from __future__ import annotations

import threading
import time

from confluent_kafka import Consumer, KafkaException

from streams.engine.embedded.files import CannotOpen
from streams.engine.kafka.admin import KafkaAdmin
from streams.engine.kafka.clients import KafkaSettings, place
from streams.engine.kafka.followers import SLICE_S, next_messages
from streams.engine.kafka.restore import CHUNK, LOST_END, OTHER_HISTORY, CatchUp, high_in
from streams.engine.kafka.store import Lease
from streams.engine.kafka.stores import KafkaStores
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import TopicPartition, Unavailable

_LOOK_S = 1.0
"""How often it asks whether it has everything: how exactly the age of the rows is known."""
_BACKOFF_S = 2.0


class KafkaStandby:
    """A thread that follows until it is closed, whatever becomes of the brokers meanwhile."""

    def __init__(
        self, settings: KafkaSettings, admin: KafkaAdmin, stores: KafkaStores, changelog: str, keeper: ThreadKeeper
    ) -> None:
        self._settings = settings
        self._admin = admin
        self._shelf = stores
        self._changelog = changelog
        self._leases: dict[int, Lease] = {}
        self._catch_up = CatchUp(self._leases)
        self._consumer: Consumer | None = None
        self._looked_s = 0.0
        self._stop = threading.Event()
        self._thread = keeper.thread(f"kafka-follow {stores.group}", self._run, self._stop)
        self._thread.start()

    def close(self) -> None:
        """Stop following, and let go of the stores."""
        self._stop.set()
        self._thread.join(self._settings.request_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._begin()
                while not self._stop.is_set():
                    self._thread.beat()
                    self._step()
            except (Unavailable, CannotOpen, KafkaException, RuntimeError, OSError) as error:
                self._shelf.problem = str(error)
                self._stop.wait(_BACKOFF_S)
            except BaseException as error:
                self._shelf.problem = f"{type(error).__name__}: {error}"
                raise
            finally:
                self._end()

    def _begin(self) -> None:
        self._shelf.identify()
        self._consumer = self._settings.reader(wait_ms=500)
        self._shelf.problem = None

    def _end(self) -> None:
        for lease in self._leases.values():
            lease.release()
        self._leases.clear()
        self._catch_up.clear()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _step(self) -> None:
        assert self._consumer is not None
        for index, lease in list(self._leases.items()):
            if not lease.is_held or lease.store.is_damaged:
                self._drop(index)
        if free := self._shelf.free():
            self._take(free)
        if not self._leases:
            self._stop.wait(SLICE_S)
            return
        now_ms = self._settings.clock_ms()
        messages = next_messages(self._consumer, CHUNK, SLICE_S)
        for index, end in self._catch_up.take(messages, high_in(self._consumer, self._changelog)).items():
            if index in self._leases and self._leases[index].is_held:
                self._leases[index].end = end
                self._leases[index].store.fresh_ms = now_ms
        for index in sorted(self._catch_up.strange):
            self._begin_anew(index)
        if time.monotonic() - self._looked_s > _LOOK_S:
            self._look()
            self._looked_s = time.monotonic()

    def _take(self, indices: list[int]) -> None:
        """Begin to follow stores, each with the last record it has. One that is ahead knows of what the changelog has lost."""
        assert self._consumer is not None
        ends = self._admin.ends(map(self._place, indices), decided=False)
        for index in indices:
            lease = self._shelf.take(index, "followed")
            self._leases[index] = lease
            lease.end = ends[self._place(index)]
            if lease.store.position > lease.end:
                lease.wipe(LOST_END)
            start = self._catch_up.start(index)
            self._consumer.incremental_assign([place(self._place(index), lease.store.position if start is None else start)])

    def _begin_anew(self, index: int) -> None:
        assert self._consumer is not None
        self._catch_up.forget(index)
        if (lease := self._leases.get(index)) is not None:
            lease.wipe(OTHER_HISTORY)
            self._consumer.incremental_unassign([place(self._place(index))])
            self._consumer.incremental_assign([place(self._place(index), 0)])

    def _drop(self, index: int) -> None:
        assert self._consumer is not None
        lease = self._leases.pop(index)
        self._catch_up.forget(index)
        self._consumer.incremental_unassign([place(self._place(index))])
        lease.release()

    def _look(self) -> None:
        """Compare with the ends. While the brokers do not answer, the rows keep the age they have."""
        asked_ms = self._settings.clock_ms()
        try:
            ends = self._admin.ends(map(self._place, self._leases))
        except Unavailable as error:
            self._shelf.problem = str(error)
            return
        self._shelf.problem = None
        for index, lease in self._leases.items():
            end = ends[self._place(index)]
            lease.end = max(end, lease.store.position)
            if lease.store.position >= end and lease.store.fresh_ms is not None and lease.is_held:
                lease.store.fresh_ms = asked_ms

    def _place(self, index: int) -> TopicPartition:
        return TopicPartition(self._changelog, index)
