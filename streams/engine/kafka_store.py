"""The rows of one partition number of a group, on local disk: a cache of their changelog, which can always be made again.

A row's key here is its key in the changelog. Rows and the changelog position they reflect change in one WriteBatch, so that
after kill -9 the store is at some position of the changelog, and catches up from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from streams.engine.embedded_files import MB, CannotOpen, number, pack_offset, scan_items
from streams.engine.kafka_topics import REMOVED_KEPT_MS
from streams.engine.log import StoreId, Unavailable

# No flow has an empty name, so no row's key begins so.
_POSITION, _IDENTITY, _WRITTEN = b"\0position", b"\0identity", b"\0written"
MAX_AGE_MS = REMOVED_KEPT_MS // 2
"""What was not written for longer may have missed removals that are no longer in the changelog."""
_CACHE = Cache(64 * MB)  # for all stores of the process


class Damaged(Unavailable):
    """A store on disk cannot be read. It was marked, and is made again from its changelog."""


def row_prefix(flow: str) -> bytes:
    """What the row keys of a flow begin with."""
    name = flow.encode()
    return bytes((len(name),)) + name + b"\0"


class KafkaStore:
    """An open store. `position`: the changelog offset it goes on from."""

    def __init__(self, path: Path, db: Rdict, identity: bytes) -> None:
        self._path = path
        self._db: Rdict | None = db
        self._identity = identity
        self.is_damaged = False
        self.position = number(db.get(_POSITION), 0)

    @property
    def db(self) -> Rdict:
        """The database. Raises `Unavailable` once closed."""
        if self._db is None:
            raise Unavailable(f"the store {self._path} is closed")
        return self._db

    def apply(self, rows: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """Change rows (none: removed) and note the changelog position they reflect, in one write."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_POSITION, pack_offset(position))
        batch.put(_WRITTEN, pack_offset(_now_ms()))
        self.guard(lambda: self.db.write(batch))
        self.position = position

    def wipe(self) -> None:
        """Begin again with nothing."""
        self.close()
        shutil.rmtree(self._path)
        opened = _opened(self._path, self._identity)
        self._db, self.position, self.is_damaged = opened.db, 0, False

    def guard(self, read: Callable[[], object]) -> object:
        """What a call of the database gives. Raises `Damaged`, with the store marked, if RocksDB cannot do it."""
        try:
            return read()
        except Unavailable:
            raise
        except Exception as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> Damaged:
        """Mark the store, for the next one who opens it."""
        self.is_damaged = True
        _mark(self._path).touch()
        return Damaged(f"the store {self._path} cannot be used ({error}): it is made again from its changelog")

    def close(self) -> None:
        """Release the directory."""
        opened, self._db = self._db, None
        if opened is not None:
            opened.close()


class KafkaRows:
    """The committed rows of one `StoreId`."""

    def __init__(self, store: KafkaStore, which: StoreId) -> None:
        self._store = store
        self._prefix = row_prefix(which.flow)
        self._beyond = self._prefix[:-1] + b"\1"

    def get(self, key: bytes) -> bytes | None:
        """The row, or none. Raises `Damaged`."""
        try:
            row: bytes | None = self._store.db.get(self._prefix + key)
        except Unavailable:
            raise
        except Exception as error:
            raise self._store.damaged(error) from error
        return row

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high`, as of the call. Raises `Damaged`."""
        rows = scan_items(self._store.db, self._prefix + low, self._beyond if high is None else self._prefix + high)
        return self._read(rows)

    def _read(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        length = len(self._prefix)
        try:
            for key, value in rows:
                yield key[length:], value
        except Unavailable:
            raise
        except Exception as error:
            raise self._store.damaged(error) from error


def open_store(path: Path, identity: str) -> KafkaStore:
    """Open a store, or begin it anew if it is damaged, too old, or of another changelog. Raises `CannotOpen` if it is in use."""
    if _mark(path).exists():
        shutil.rmtree(path)
    wanted = identity.encode()
    try:
        store = _opened(path, wanted)
    except CannotOpen:
        raise
    except Exception:  # whatever RocksDB finds wrong with it: the changelog has it all
        shutil.rmtree(path, ignore_errors=True)
        return _opened(path, wanted)
    written_ms = number(store.db.get(_WRITTEN), _now_ms())
    if store.db.get(_IDENTITY) != wanted or _now_ms() - written_ms > MAX_AGE_MS:
        store.wipe()
    return store


def _opened(path: Path, identity: bytes) -> KafkaStore:
    path.mkdir(parents=True, exist_ok=True)
    try:
        db = Rdict(str(path), _options())
    except Exception as error:
        if "LOCK" in str(error) and "lock" in str(error).lower():
            raise CannotOpen(
                f"the store {path} is in use by another process: stop it, or give this one a directory of its own"
            ) from error
        raise
    if db.get(_IDENTITY) is None and db.get(_POSITION) is None:
        db.put(_IDENTITY, identity)
    return KafkaStore(path, db, identity)


def _mark(path: Path) -> Path:
    return path / "damaged"


def _options() -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_CACHE)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(10, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(16 * MB)
    options.set_max_total_wal_size(64 * MB)
    options.set_max_open_files(128)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 * MB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
