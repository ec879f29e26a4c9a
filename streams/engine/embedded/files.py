"""The embedded log's files: what is in it, how RocksDB is set up, and what a user is told when it cannot be opened.

| column family | key | value |
|---|---|---|
| log | topic id, partition, offset | the record (`records_codec`) |
| state | flow, partition, row key | the row |
| latest | topic id, record key | log key of the newest record (compacted topics) |
| bykey | topic id, key length, record key, offset from the greatest down, partition | nothing (indexed topics) |
| meta | `format`, `identity`, `base`: where new partitions begin | |
| meta | `t` topic; `e` end, `l` low, `h` holes of a partition; `p` position of a group | |

Each family has the number of the last commit under `COMMIT_KEY`, and all are flushed together: what is in the files is the log
as of one commit, and the write-ahead log goes on from it.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
)

from streams.engine.embedded.anchor import LogAnchor, Manifest
from streams.engine.log import DamagedLog, StoreId, Unavailable
from streams.engine.scans import scan_items

FORMAT = b"2"
FORMAT_KEY, IDENTITY_KEY, BASE_KEY = b"format", b"identity", b"base"
COMMIT_KEY = b"\0commit"  # below all other keys of every family
FAMILIES = ("log", "state", "latest", "bykey", "meta")
MB = 1024 * 1024

_PARTITION = struct.Struct(">HH")
_OFFSET = struct.Struct(">Q")
_ENTRY = struct.Struct(">QH")
_LENGTH = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
pack_offset: Callable[[int], bytes] = _OFFSET.pack
LAST_ENTRY = b"\xff" * _ENTRY.size
_LATEST = 2**64 - 2
WAY_OUT = (
    "stop crossdock and restore the directory from a backup, its log and its log.anchor together. Without one, crossdock run "
    "--accept-loss sets the damaged log aside, begins an empty one whose offsets go on above those that were given, and says "
    "what is lost"
)


class CannotOpen(Exception):
    """The log's directory cannot be used. The message says which, why, and what to do."""


class Files:
    """The open database: column families to read, and their handles (`_cf`) for write batches.

    `commit`: the number of the last one.
    """

    def __init__(self, path: Path, db: Rdict, anchor: LogAnchor, *, sync: bool) -> None:
        self.path = path
        self.db = db
        self.log, self.log_cf = db.get_column_family("log"), db.get_column_family_handle("log")
        self.state, self.state_cf = db.get_column_family("state"), db.get_column_family_handle("state")
        self.latest, self.latest_cf = db.get_column_family("latest"), db.get_column_family_handle("latest")
        self.bykey, self.bykey_cf = db.get_column_family("bykey"), db.get_column_family_handle("bykey")
        self.meta, self.meta_cf = db.get_column_family("meta"), db.get_column_family_handle("meta")
        self._all_cf = (self.log_cf, self.state_cf, self.latest_cf, self.bykey_cf, self.meta_cf)
        self.commit = number(self.meta.get(COMMIT_KEY), 0)
        self.manifest = Manifest(path)
        self._anchor = anchor
        self._is_synced = sync

    def write(self, batch: WriteBatch) -> None:
        """Write a batch whole, as the next commit; it is durable after `sync`. One thread at a time."""
        commit = pack_offset(self.commit + 1)
        for family in self._all_cf:
            batch.put(COMMIT_KEY, commit, family)
        self.db.write(batch)
        self.commit += 1

    def sync(self, ends: Iterable[tuple[bytes, int]] = ()) -> None:
        """Make durable what was written, and then the anchor that says so. `ends`: of the partitions that grew, by their prefix.

        RocksDB could sync within the write, but its binding holds the interpreter's lock there: while a disk takes its
        milliseconds no other thread would run. It does not hold it here.
        """
        if self._is_synced:
            self.db.flush_wal(True)
        self._anchor.note(self.commit, self.manifest.look(), ends, is_synced=self._is_synced)

    def holes(self, prefix: bytes) -> dict[int, int]:
        """Offsets of a partition whose loss was accepted: from, and up to but not including."""
        found = scan_items(self.meta, b"h" + prefix, b"h" + prefix + b"\xff" * 9)
        return {number(key[-_OFFSET.size :], 0): number(raw, 0) for key, raw in found}

    def damaged(self, error: object) -> DamagedLog:
        """What to say when the files cannot be read."""
        return DamagedLog(f"the log in {self.path} cannot be read: {error}; {WAY_OUT}")

    def close(self) -> None:
        """Release the directory: RocksDB keeps its lock while any handle is alive."""
        db, anchor, manifest, commit = self.db, self._anchor, self.manifest, self.commit
        self.__dict__.clear()
        try:
            with contextlib.suppress(Exception):  # it flushes: what it cannot write there stays in the write-ahead log
                db.close()
            with contextlib.suppress(OSError):  # what is acknowledged is anchored; this is for flushes since
                anchor.note(commit, manifest.look(), ())
        finally:
            anchor.close()

    def __getattr__(self, name: str) -> Any:
        """A thread that still reads while another closes."""
        raise Unavailable("the log is closed")


def partition_prefix(topic_id: int, partition: int) -> bytes:
    """What the log keys of a partition begin with."""
    return _PARTITION.pack(topic_id, partition)


def topic_prefix(topic_id: int) -> bytes:
    """What the log and latest keys of a topic begin with."""
    return topic_id.to_bytes(2)


def store_prefix(store: StoreId) -> bytes:
    """What the row keys of a store begin with. The next partition's prefix is greater than all of them."""
    name = store.flow.encode()
    return bytes((len(name),)) + name + _NUMBER.pack(store.partition)


def index_prefix(topic_id: int, key: bytes) -> bytes:
    """What the index entries of a record key begin with. The length keeps a key apart from longer ones."""
    return _LENGTH.pack(topic_id, len(key)) + key


def index_key(topic_id: int, key: bytes, offset: int, partition: int) -> bytes:
    """The index entry of one record. Later ones come first: what is asked for is read forwards, bounded on both sides."""
    return index_prefix(topic_id, key) + _ENTRY.pack(_LATEST - offset, partition)


def log_key_of_index(entry: bytes) -> bytes:
    """Where the record of an index entry is."""
    rank, partition = _ENTRY.unpack(entry[-_ENTRY.size :])
    return entry[:2] + int(partition).to_bytes(2) + pack_offset(_LATEST - rank)


def index_range(topic_id: int, key: bytes, before: int | None) -> tuple[bytes, bytes]:
    """The index entries of a key's records before an offset (all if none): from, and up to but not including."""
    prefix = index_prefix(topic_id, key)
    low = prefix if before is None else prefix + _ENTRY.pack(_LATEST - max(before, 0) + 1, 0)
    return low, prefix + LAST_ENTRY + b"\xff"


def index_range_back(topic_id: int, key: bytes, start: int) -> tuple[bytes, bytes]:
    """The index entries of a key's records from an offset on, to be read backwards: their prefix, and the first."""
    prefix = index_prefix(topic_id, key)
    return prefix, prefix + _ENTRY.pack(_LATEST - max(start, 0), 0xFFFF)


def number(raw: bytes | None, default: int) -> int:
    """An offset kept in meta."""
    if raw is None:
        return default
    value: int = _OFFSET.unpack(raw)[0]
    return value


def position_key(group: str, prefix: bytes) -> bytes:
    """Where meta keeps a group's position of a partition."""
    return b"p" + prefix + group.encode()


def position_of(key: bytes) -> tuple[int, int, str]:
    """Topic id, partition and group of a position's key."""
    topic_id, partition = _PARTITION.unpack_from(key, 1)
    return topic_id, partition, key[1 + _PARTITION.size :].decode()


def hole_key(prefix: bytes, first: int) -> bytes:
    """Where meta keeps that records from an offset on are lost, and that this was accepted. Its value: up to which offset."""
    return b"h" + prefix + pack_offset(first)


def partition_of(log_key: bytes) -> int:
    """The partition of a log key."""
    partition: int = _PARTITION.unpack_from(log_key)[1]
    return partition


def options(*, checks_wals: bool = True) -> Options:
    """The whole database.

    Memory is bounded whatever the number of events: one block cache (`families`), 64 MB of write buffers in all, a limited
    number of open files. WAL recovery keeps RocksDB's default, point-in-time: what follows the first damage is dropped. Whether
    that was only a torn last write, never acknowledged, the anchor tells. `checks_wals`: refuse if an earlier file of the
    write-ahead log is missing or has another size than when it was ended.
    """
    options = _checking_wals() if checks_wals else Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_atomic_flush(True)
    options.set_db_write_buffer_size(64 * MB)
    options.set_max_total_wal_size(128 * MB)  # bounds the replay at start, and forces rarely written families to flush
    options.set_max_open_files(512)
    options.set_max_background_jobs(2)
    options.set_bytes_per_sync(1 * MB)  # spreads the writing of compaction output, so that a WAL sync does not wait behind it
    options.set_keep_log_file_num(2)  # RocksDB's own messages, not ours
    options.set_max_log_file_size(1 * MB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _checking_wals() -> Options:
    """There is no call for `track_and_verify_wals_in_manifest` in rocksdict, but it reads RocksDB's own options files."""
    with tempfile.TemporaryDirectory(prefix="crossdock-options-") as directory:
        Path(directory, "OPTIONS-000001").write_text(_OPTIONS_FILE)
        Path(directory, "rocksdict-config.json").write_text('{"raw_mode":true,"prefix_extractors":{}}')
        return Options.load_latest(directory)[0]


_OPTIONS_FILE = """\
[Version]
  rocksdb_version=9.8.4
  options_file_version=1.1
[DBOptions]
  track_and_verify_wals_in_manifest=true
[CFOptions "default"]
[TableOptions/BlockBasedTable "default"]
"""


def families() -> dict[str, Options]:
    """The column families."""
    cache = Cache(64 * MB)
    return {name: _family(cache, is_log=name == "log") for name in FAMILIES}


def _family(cache: Cache, *, is_log: bool) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_cache_index_and_filter_blocks(True)  # otherwise they grow outside the cache with every file
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    if is_log:
        blocks.set_block_size(32 * 1024)  # read in runs
    else:
        blocks.set_bloom_filter(10, False)  # read row by row; many are asked for before they exist
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(16 * MB)
    if is_log:
        # A compacted topic is mostly deletions of what was just written: a follower from 0 must not wade through them.
        options.add_compact_on_deletion_collector_factory(4096, 2048, 0.5)
    else:
        # Rows that wait for their turn (deadlines, obligations) and the index of trimmed records are deleted in their order.
        options.add_compact_on_deletion_collector_factory(4096, 1024, 0.25)
    return options
