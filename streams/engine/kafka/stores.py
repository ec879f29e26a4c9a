"""The stores of one group in this process: one handle each, whoever owns the partitions.

A member takes a store when it gains the partition and gives it back when it loses it. In between, if the group is kept, the
follower has it, so that the rows stay where they are and only what is missing is read.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from streams.engine.kafka.store import KafkaRows, KafkaStore, Lease, Role
from streams.engine.log import LocalProgress, StoreId, Unavailable


class KafkaStores:
    """Safe from any thread. `identity_of`: what tells the changelog from an earlier one of its name."""

    def __init__(self, group: str, path: Path, identity_of: Callable[[], str]) -> None:
        self.group = group
        self.count = 0
        self.is_kept = False
        self._path = path
        self._identity_of = identity_of
        self._identity: str | None = None
        self._lock = threading.Lock()
        self._stores: dict[int, KafkaStore] = {}
        self._remade: Counter[int] = Counter()  # by those that are closed
        self._is_open = True
        self.problem: str | None = None

    def widen(self, count: int) -> None:
        """The changelog has so many partitions."""
        self.count = max(self.count, count)

    def identify(self) -> None:
        """Ask again which changelog it is: rows of another are wiped."""
        identity = self._identity_of()
        with self._lock:
            self._identity = identity
            for store in self._stores.values():
                store.rename(identity)

    def take(self, index: int, role: Role) -> Lease:
        """A store to be caught up, changed from now on by this holder alone. Raises `CannotOpen` or `Unavailable`."""
        if self._identity is None:
            self.identify()
        with self._lock:
            if not self._is_open:
                raise Unavailable("the log is closed")
            assert self._identity is not None
            store = self._stores.get(index)
            if store is None:
                store = KafkaStore(self._path / str(index), self._identity)
            lease = store.take(role)
            store.open()
            self._stores[index] = store
            lease.end = store.position
            return lease

    def give_back(self, index: int, lease: Lease) -> None:
        """Done with a store: it is followed again if it is kept, else closed."""
        with self._lock:
            if not lease.is_held:
                return
            lease.release()
            if not self.is_kept:
                self._stores.pop(index)
                lease.store.close()
                if lease.store.remade:
                    self._remade[index] += lease.store.remade

    def free(self) -> list[int]:
        """Partition numbers nobody has taken."""
        with self._lock:
            return [i for i in range(self.count) if (store := self._stores.get(i)) is None or store.lease is None]

    def rows(self, which: StoreId) -> KafkaRows:
        """The rows of a flow's partition. Raises `Unavailable` if they are not caught up yet, `KeyError` without one."""
        if not 0 <= which.partition < self.count:
            raise KeyError(f"group {self.group} has {self.count} partitions, no {which.partition}")
        store = self._stores.get(which.partition)
        if store is None or not store.is_shown:
            kept = self._shown(which.partition, store)
            why = f": {kept.problem}" if kept.problem else ""
            raise Unavailable(f"the rows of {which.flow}/{which.partition} are being read, {kept.remaining} changes to go{why}")
        return KafkaRows(store, which)

    def kept(self) -> list[LocalProgress]:
        """How far each is."""
        stores = dict(self._stores)
        indices = range(self.count) if self.is_kept else sorted(stores)
        return [self._shown(index, stores.get(index)) for index in indices]

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._is_open = False
            for store in self._stores.values():
                store.lease = None
                store.close()
            self._stores.clear()

    def _shown(self, index: int, store: KafkaStore | None) -> LocalProgress:
        remade = self._remade[index] + (0 if store is None else store.remade)
        lease = None if store is None else store.lease
        if store is None or lease is None:
            position, fresh_ms = (0, None) if store is None else (store.position, store.fresh_ms)
            return LocalProgress(self.group, index, "followed", position, position, fresh_ms, problem=self.problem, remade=remade)
        problem = self.problem if lease.role == "followed" else lease.problem
        end = max(lease.end, store.position)
        restored, speed = lease.restored, lease.rows_per_s
        return LocalProgress(self.group, index, lease.role, store.position, end, store.fresh_ms, restored, speed, problem, remade)
