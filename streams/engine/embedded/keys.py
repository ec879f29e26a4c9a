"""Reading the embedded log by record key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from schemas.records import Record
from streams.engine.embedded import files
from streams.engine.embedded.catalog import Catalog, TopicState
from streams.engine.embedded.files import Files
from streams.engine.embedded.records_codec import decode
from streams.engine.log import DamagedLog, Unavailable
from streams.engine.scans import scan_keys, scan_keys_back


class KeyReader:
    """Looks records up by their key. `lock` is held while what was written is made durable, `damaged` says what to raise."""

    def __init__(
        self,
        opened: Callable[[], Files],
        catalog: Catalog,
        lock: AbstractContextManager[Any],
        damaged: Callable[[object], Exception],
    ) -> None:
        self._opened = opened
        self._catalog = catalog
        self._lock = lock
        self._damaged = damaged

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        state = self._compacted(topic)
        with self._reading():
            return self._newest(state, key)

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        state = self._compacted(topic)
        start = state.prefix if after is None else state.prefix + after + b"\0"
        found: list[Record] = []
        with self._reading():
            for name in scan_keys(self._opened().latest, start, files.topic_prefix(state.id + 1)):
                if len(found) >= limit:
                    break
                record = self._newest(state, name[len(state.prefix) :])
                if record is not None:
                    found.append(record)
        return found

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        state = self._indexed(topic)
        with self._reading():
            found = self._records(state, scan_keys(self._opened().bykey, *files.index_range(state.id, key, before)), limit)
        found.reverse()
        return found

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        state = self._indexed(topic)
        with self._reading():
            entries = scan_keys_back(self._opened().bykey, *files.index_range_back(state.id, key, start))
            return self._records(state, entries, limit)

    def _indexed(self, topic: str) -> TopicState:
        state = self._catalog.topic(topic)
        if not state.topic.is_indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        return state

    def _records(self, state: TopicState, entries: Iterator[bytes], limit: int) -> list[Record]:
        found: list[Record] = []
        for entry in entries:
            if len(found) >= limit:
                break
            pointer = files.log_key_of_index(entry)
            raw = self._opened().log.get(pointer)
            if raw is not None:  # otherwise trimmed while we look
                found.append(self._durable(decode(state.topic.name, files.partition_of(pointer), raw)))
        return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._damaged(error) from error

    def _newest(self, state: TopicState, key: bytes) -> Record | None:
        before = None
        while True:
            pointer = self._opened().latest.get(state.prefix + key)
            if pointer is None:
                return None
            raw = self._opened().log.get(pointer)
            if raw is None and pointer == before:
                raise DamagedLog(f"the newest record of {key!r} in {state.topic.name} is missing; {files.WAY_OUT}")
            before = pointer
            if raw is not None:  # otherwise a newer one came in between
                record = self._durable(decode(state.topic.name, files.partition_of(pointer), raw))
                return None if record.value is None else record

    def _durable(self, record: Record) -> Record:
        """The record, once it is durable. Raises `Unavailable` if it cannot become so."""
        part = self._catalog.part(record.topic, record.partition)
        if record.offset >= part.end:
            with self._lock:
                if record.offset >= part.end:
                    raise Unavailable("the log could not be written: start crossdock again")
        return record

    def _compacted(self, topic: str) -> TopicState:
        state = self._catalog.topic(topic)
        if not state.is_compacted:
            raise ValueError(f"topic {topic} is not compacted: only compacted topics keep the newest record of a key")
        return state
