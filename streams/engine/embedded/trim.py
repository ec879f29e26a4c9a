"""Forgetting what is older than its retention, without being in the way of those who write and read.

What is to go is found without the write lock, which is held for the write alone. RocksDB keeps a mark for each deleted entry
until it compacts: whoever scans passes by all of them. So scans are bounded on both sides, and what was trimmed is compacted.
"""

from __future__ import annotations

from collections.abc import Callable

from rocksdict import WriteBatch

from streams.engine.embedded import files
from streams.engine.embedded.catalog import CatalogPartition
from streams.engine.embedded.files import Files, pack_offset
from streams.engine.embedded.records_codec import decode, offset_of, timestamp_of
from streams.engine.embedded.writer import Writer
from streams.engine.scans import scan_values

TRIM_RECORDS = 2_000
COMPACT_RECORDS = 50_000


class Trimmer:
    """Trims partitions; used by one thread at a time."""

    def __init__(self, opened: Callable[[], Files], writer: Writer) -> None:
        self._opened = opened
        self._writer = writer
        self._trimmed: dict[CatalogPartition, int] = {}

    def trim(self, part: CatalogPartition, cutoff_ms: int) -> int:
        """Delete what is older than `cutoff_ms` and read by every known group; at most 2,000 records. Returns how many."""
        low = part.low
        with self._writer.lock:
            end = _read_by_all(part)
        end = min(end, low + TRIM_RECORDS)
        if end <= low:
            return 0
        batch, above = self._expired(part, low, end, cutoff_ms)
        if above == low:
            return 0
        with self._writer.lock:
            if part.low != low or _read_by_all(part) < above:  # a group has joined meanwhile, and begins here
                return 0
            self._writer.write_alone(batch)
            part.low = above
        self._trimmed[part] = self._trimmed.get(part, 0) + above - low
        return above - low

    def compact(self) -> None:
        """Have RocksDB drop what was trimmed, once it is a lot. Takes no lock."""
        for part in [part for part, count in self._trimmed.items() if count >= COMPACT_RECORDS]:
            del self._trimmed[part]
            opened = self._opened()
            opened.log.compact_range(part.prefix, part.prefix + pack_offset(part.low))
            if part.state.topic.is_indexed:
                opened.bykey.compact_range(part.state.prefix, files.topic_prefix(part.state.id + 1))

    def _expired(self, part: CatalogPartition, low: int, end: int, cutoff_ms: int) -> tuple[WriteBatch, int]:
        """What deletes the expired records from `low` on, and the first offset above them."""
        opened = self._opened()
        batch = WriteBatch(raw_mode=True)
        above = end
        for raw in scan_values(opened.log, part.prefix + pack_offset(low), part.prefix + pack_offset(end)):
            if timestamp_of(raw) >= cutoff_ms:
                above = offset_of(raw)
                break
            record = decode(*part.partition, raw) if part.state.topic.is_indexed else None
            if record is not None and record.key is not None:
                entry = files.index_key(part.state.id, record.key, record.offset, part.partition.partition)
                batch.delete(entry, opened.bykey_cf)
        batch.delete_range(part.prefix + pack_offset(low), part.prefix + pack_offset(above), opened.log_cf)
        batch.put(b"l" + part.prefix, pack_offset(above), opened.meta_cf)
        return batch, above


def _read_by_all(part: CatalogPartition) -> int:
    return min([part.end, *part.positions.values()])
