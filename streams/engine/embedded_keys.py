"""Reading the embedded log by record key, and forgetting what is older than its retention."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from rocksdict import WriteBatch

from schemas.records import Record
from streams.engine import embedded_files as files
from streams.engine.embedded_catalog import Catalog, Part, TopicState
from streams.engine.embedded_files import Files, pack_offset
from streams.engine.log import Unavailable
from streams.engine.records_codec import decode, timestamp_of
from streams.engine.scans import scan_items, scan_keys_back, scan_values

TRIM_RECORDS = 20_000


class KeyReader:
    """Looks records up by their key. `lock` is held while what was written is made durable."""

    def __init__(self, opened: Callable[[], Files], catalog: Catalog, lock: AbstractContextManager[Any]) -> None:
        self._opened = opened
        self._catalog = catalog
        self._lock = lock

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        return self._newest(self._compacted(topic), key)

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        state = self._compacted(topic)
        start = state.prefix if after is None else state.prefix + after + b"\0"
        found: list[Record] = []
        for name, _ in scan_items(self._opened().latest, start, files.topic_prefix(state.id + 1)):
            if len(found) >= limit:
                break
            record = self._newest(state, name[len(state.prefix) :])
            if record is not None:
                found.append(record)
        return found

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        state = self._catalog.topic(topic)
        if not state.topic.is_indexed:
            raise ValueError(f"topic {topic} is not indexed by key: declare it with is_indexed")
        prefix = files.index_prefix(state.id, key)
        beyond = prefix + (files.LAST_ENTRY if before is None else pack_offset(max(before, 0)))
        found: list[Record] = []
        for entry in scan_keys_back(self._opened().bykey, prefix, beyond):
            if len(found) >= limit:
                break
            pointer = files.log_key_of_index(entry)
            raw = self._opened().log.get(pointer)
            if raw is not None:  # otherwise trimmed while we look
                found.append(self._durable(decode(topic, files.partition_of(pointer), raw)))
        found.reverse()
        return found

    def _newest(self, state: TopicState, key: bytes) -> Record | None:
        while True:
            pointer = self._opened().latest.get(state.prefix + key)
            if pointer is None:
                return None
            raw = self._opened().log.get(pointer)
            if raw is not None:  # otherwise a newer one came in between
                record = self._durable(decode(state.topic.name, files.partition_of(pointer), raw))
                return None if record.value is None else record

    def _durable(self, record: Record) -> Record:
        """The record, once it is durable. Raises `Unavailable` if it cannot become so."""
        part = self._catalog.part(record.topic, record.partition)
        if record.offset >= part.end:
            with self._lock:
                if record.offset >= part.end:
                    raise Unavailable("the log could not be written: open it again")
        return record

    def _compacted(self, topic: str) -> TopicState:
        state = self._catalog.topic(topic)
        if not state.is_compacted:
            raise ValueError(f"topic {topic} is not compacted: only compacted topics keep the newest record of a key")
        return state


def trim_part(opened: Files, part: Part, cutoff_ms: int) -> int:
    """Delete what is older than `cutoff_ms` and read by every known group; at most 20,000 records. Needs the write lock."""
    end = min([part.end, *part.positions.values(), part.low + TRIM_RECORDS])
    batch = WriteBatch(raw_mode=True)
    low = part.low
    for raw in scan_values(opened.log, part.prefix + pack_offset(low), part.prefix + pack_offset(end)):
        if timestamp_of(raw) >= cutoff_ms:
            break
        if part.state.topic.is_indexed:
            record = decode(*part.partition, raw)
            if record.key is not None:
                batch.delete(files.index_key(part.state.id, record.key, low, part.partition.partition), opened.bykey_cf)
        low += 1
    trimmed = low - part.low
    if trimmed:
        batch.delete_range(part.prefix + pack_offset(part.low), part.prefix + pack_offset(low), opened.log_cf)
        batch.put(b"l" + part.prefix, pack_offset(low), opened.meta_cf)
        opened.write(batch)
        opened.sync()
        part.low = low
    return trimmed
