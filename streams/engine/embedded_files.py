"""The embedded log's files: what is in it, how RocksDB is set up, and what a user is told when it cannot be opened.

| column family | key | value |
|---|---|---|
| log | topic id, partition, offset | the record (`records_codec`) |
| state | flow, partition, row key | the row |
| latest | topic id, record key | log key of the newest record (compacted topics) |
| bykey | topic id, key length, record key, offset, partition | nothing (indexed topics) |
| meta | `format`; `t` topic; `e` end, `l` low of a partition; `p` position of a group | |
"""

from __future__ import annotations

import struct
from collections.abc import Callable
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

from streams.engine.log import StoreId, Unavailable

FORMAT = b"1"
FORMAT_KEY = b"format"
FAMILIES = ("log", "state", "latest", "bykey", "meta")
MB = 1024 * 1024

_PARTITION = struct.Struct(">HH")
_OFFSET = struct.Struct(">Q")
_ENTRY = struct.Struct(">QH")
_LENGTH = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
pack_offset: Callable[[int], bytes] = _OFFSET.pack
LAST_ENTRY = b"\xff" * _ENTRY.size


class CannotOpen(Exception):
    """The log's directory cannot be used. The message says which, why, and what to do."""


class Files:
    """The open database: column families to read, and their handles (`_cf`) for write batches."""

    def __init__(self, db: Rdict, *, sync: bool) -> None:
        self.db = db
        self.log, self.log_cf = db.get_column_family("log"), db.get_column_family_handle("log")
        self.state, self.state_cf = db.get_column_family("state"), db.get_column_family_handle("state")
        self.latest, self.latest_cf = db.get_column_family("latest"), db.get_column_family_handle("latest")
        self.bykey, self.bykey_cf = db.get_column_family("bykey"), db.get_column_family_handle("bykey")
        self.meta, self.meta_cf = db.get_column_family("meta"), db.get_column_family_handle("meta")
        self._is_synced = sync

    def write(self, batch: WriteBatch) -> None:
        """Write a batch whole; it is durable after `sync`."""
        self.db.write(batch)

    def sync(self) -> None:
        """Make durable what was written.

        RocksDB could do that within the write, but its binding holds the interpreter's lock there: while a disk takes its
        milliseconds no other thread would run. It does not hold it here.
        """
        if self._is_synced:
            self.db.flush_wal(True)

    def close(self) -> None:
        """Release the directory: RocksDB keeps its lock while any handle is alive."""
        db = self.db
        self.__dict__.clear()
        db.close()

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
    """The index entry of one record."""
    return index_prefix(topic_id, key) + _ENTRY.pack(offset, partition)


def log_key_of_index(entry: bytes) -> bytes:
    """Where the record of an index entry is."""
    offset, partition = _ENTRY.unpack(entry[-_ENTRY.size :])
    return entry[:2] + int(partition).to_bytes(2) + pack_offset(offset)


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


def partition_of(log_key: bytes) -> int:
    """The partition of a log key."""
    partition: int = _PARTITION.unpack_from(log_key)[1]
    return partition


def open_files(path: Path, *, sync: bool) -> Files:
    """Open or make the directory. Raises `CannotOpen`."""
    _check_directory(path)
    try:
        db = Rdict(str(path), _options(), column_families=_families())
    except Exception as error:
        raise _explained(path, str(error)) from error
    meta = db.get_column_family("meta")
    found = meta.get(FORMAT_KEY)
    if found is None:
        meta.put(FORMAT_KEY, FORMAT)
    elif found != FORMAT:
        del meta  # RocksDB keeps its lock while any handle is alive
        db.close()
        raise CannotOpen(
            f"{path} was written in log format {found.decode(errors='replace')}, this version reads {FORMAT.decode()}: "
            "use the crossdock version that wrote it, or start with another directory"
        )
    del meta
    return Files(db, sync=sync)


def _check_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise CannotOpen(f"the log directory {path} cannot be used: {error.strerror}; name another one") from error
    if "CURRENT" in names:
        return
    # RocksDB would start an empty log here, and what was promised from the old one would be forgotten.
    if any(name.endswith((".sst", ".log")) for name in names):
        raise CannotOpen(f"the log in {path} is damaged: its file CURRENT is missing; restore the directory from a backup")


def _explained(path: Path, error: str) -> CannotOpen:
    if "LOCK" in error and "lock" in error.lower():
        return CannotOpen(f"the log in {path} is in use by another process: stop it, or use another directory")
    if "Permission denied" in error:
        return CannotOpen(f"the log in {path} cannot be opened: permission denied; run as the user who owns it")
    return CannotOpen(f"the log in {path} is damaged and was left untouched: {error}; restore the directory from a backup")


def _options() -> Options:
    """The whole database.

    Memory is bounded whatever the number of events: one block cache (`_families`), 64 MB of write buffers in all, a limited
    number of open files. WAL recovery keeps RocksDB's default, point-in-time: a torn last write, never acknowledged, is dropped.
    """
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
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


def _families() -> dict[str, Options]:
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
    return options
