"""The rows of one partition number of a group, on local disk: a cache of their changelog, which can always be made again.

A row's key here is its key in the changelog. Rows and the changelog position they reflect change in one WriteBatch, so that
after kill -9 the store is at some position of the changelog, and catches up from there.

One `KafkaStore` in a process holds the directory, and any thread may read it. Who changes it holds its `Lease`; taking it ends
the one before, so what a former holder still has in hand changes nothing.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Literal, TypeVar

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from streams.engine.embedded.files import MB, CannotOpen, number, pack_offset
from streams.engine.kafka.commits import CommitAnchor, anchor_of, proof_of
from streams.engine.kafka.topics import REMOVED_KEPT_MS
from streams.engine.log import StoreId, Unavailable
from streams.engine.scans import scan_items

# No flow has an empty name, so no row's key begins so.
_POSITION, _IDENTITY, _WRITTEN = b"\0position", b"\0identity", b"\0written"
_ANCHOR, _COMMITS = b"\0anchor", b"\0commits"
_BEYOND = b"\xff" * 8  # all keys
MAX_AGE_MS = REMOVED_KEPT_MS // 2
"""What was not written for longer may have missed removals that are no longer in the changelog."""
_CACHE = Cache(128 * MB)  # for all stores of the process
_READERS_S = 5.0
"""How long opening waits for readers of the process that still hold the directory's former handle."""

_log = logging.getLogger(__name__)
T = TypeVar("T")
Row = tuple[bytes, bytes | None]
Role = Literal["owned", "restored", "followed"]


class Damaged(Unavailable):
    """A store on disk cannot be read. It was marked, and is made again from its changelog."""


def row_prefix(flow: str) -> bytes:
    """What the row keys of a flow begin with."""
    name = flow.encode()
    return bytes((len(name),)) + name + b"\0"


class KafkaStore:
    """An open store. `position`: the changelog offset it goes on from. `fresh_ms`: when it was last known to have all.

    `anchor`: the last record of the changelog in it. `commits`: the number of the last whole commit in it. `remade`: how often
    what was in it could not be used, since the process started.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.is_damaged = False
        self.position = 0
        self.anchor: CommitAnchor | None = None
        self.commits = 0
        self.remade = 0
        self.fresh_ms: int | None = None
        self.lease: Lease | None = None
        self._identity = identity.encode()
        self._lock = RLock()
        self._db: Rdict | None = None
        self._is_unlogged = False

    @property
    def db(self) -> Rdict:
        """The database, for one call. Raises `Unavailable` while it is closed."""
        db = self._db
        if db is None:
            raise Unavailable(f"the store {self.path} is closed")
        return db

    @property
    def proof(self) -> str:
        """Which commit it is up to."""
        return proof_of(self.commits, self.anchor)

    @property
    def is_shown(self) -> bool:
        """Whether its rows are those of a whole commit, and can be read."""
        return self.fresh_ms is not None and not self.is_damaged

    def open(self) -> None:
        """Open it if it is not; begin anew if it is damaged, too old, or of another changelog. Raises `CannotOpen` if in use."""
        with self._lock:
            if self.is_damaged or (self._db is None and _mark(self.path).exists()):
                self.close()
                self._destroy("it was found damaged")
                self.is_damaged = False
            if self._db is not None:
                return
            if (why := self._tried()) is not None:
                self._db = None
                self._destroy(why)
                self._take_up(_opened(self.path))

    def _tried(self) -> str | None:
        """Open what is there. Returns whatever RocksDB finds wrong with it: the changelog has it all.

        The error ends here: while it is handled, the frames it came through hold the database, which then cannot be removed.
        """
        try:
            self._take_up(_opened(self.path))
        except (CannotOpen, Unavailable):
            raise
        except Exception as error:
            return str(error)
        return None

    def _take_up(self, db: Rdict) -> None:
        self.position = number(db.get(_POSITION), 0)
        self.commits = number(db.get(_COMMITS), 0)
        self.anchor = anchor_of(db.get(_ANCHOR))
        written_ms = number(db.get(_WRITTEN), _now_ms())
        identity = db.get(_IDENTITY)
        self._db = db
        if identity is None:
            self.wipe()
        elif identity != self._identity:
            self.wipe("it is of another changelog of that name")
        elif _now_ms() - written_ms > MAX_AGE_MS:
            self.wipe("it was not written for so long that removals may be missing")

    def rename(self, identity: str) -> None:
        """The changelog's identity, if it is another one now: rows of the former are wiped."""
        with self._lock:
            if identity.encode() != self._identity:
                self._identity = identity.encode()
                self.wipe("it is of another changelog of that name")

    def apply(
        self,
        rows: Iterable[Row],
        position: int,
        *,
        anchor: CommitAnchor | None = None,
        commits: int | None = None,
        logged: bool = True,
    ) -> None:
        """Change rows (none: removed) and note the changelog position they reflect, in one write.

        `anchor`, `commits`: what they are from now on (none: as they are). Not `logged`: it may be lost with the process, whole
        batches from the end, until it is flushed.
        """
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in rows:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(_POSITION, pack_offset(position))
        put(_WRITTEN, pack_offset(_now_ms()))
        if anchor is not None:
            put(_ANCHOR, anchor.packed())
        if commits is not None:
            put(_COMMITS, pack_offset(commits))
        with self._lock:
            self._write(batch, logged=logged)
            self.position = position
            self.anchor = self.anchor if anchor is None else anchor
            self.commits = self.commits if commits is None else commits

    def wipe(self, why: str | None = None) -> None:
        """Begin again with nothing. Readers are turned away until it is caught up. `why` it cannot be used, if it cannot."""
        with self._lock:
            if why is not None:
                self._remake(why)
            self.fresh_ms = None
            batch = WriteBatch(raw_mode=True)
            batch.delete_range(b"", _BEYOND)
            batch.put(_IDENTITY, self._identity)
            self._write(batch)
            self.position, self.anchor, self.commits = 0, None, 0

    def take(self, role: Role) -> Lease:
        """The right to change it: whoever had it has it no longer."""
        with self._lock:
            self.lease = Lease(self, role)
            return self.lease

    def damaged(self, error: Exception) -> Damaged:
        """Mark the store, for the next one who opens it."""
        if not self.is_damaged:
            _log.error("the store %s is damaged, and is made again from its changelog: %s", self.path, error)
        self.is_damaged = True
        self.fresh_ms = None
        with suppress(OSError):
            _mark(self.path).touch()
        return Damaged(f"the store {self.path} cannot be used ({error}): it is made again from its changelog")

    def close(self) -> None:
        """Release the directory, as soon as the calls of other threads that are under way have ended."""
        with self._lock:
            self.fresh_ms = None
            try:
                if self._db is not None and self._is_unlogged and not self.is_damaged:
                    self._flush()
            finally:
                self._db = None  # not `close()`: that would fail reads under way. The last of them to end releases it.

    def _destroy(self, why: str) -> None:
        self._remake(why)
        destroy(self.path)

    def _remake(self, why: str) -> None:
        """Losing a cache loses nothing, but it is never lost without a word."""
        self.remade += 1
        _log.warning("the store %s cannot be used, and is made again from its changelog: %s", self.path, why)

    def _write(self, batch: WriteBatch, *, logged: bool = True) -> None:
        try:
            if logged and self._is_unlogged:
                self._flush()  # else the write-ahead log would go on after a gap
            self.db.write(batch, _LOGGED if logged else _UNLOGGED)
            self._is_unlogged = not logged
        except Unavailable:
            raise
        except Exception as error:
            raise self.damaged(error) from _bare(error)

    def _flush(self) -> None:
        try:
            self.db.flush()
            self._is_unlogged = False
        except Unavailable:
            raise
        except Exception as error:
            raise self.damaged(error) from _bare(error)


class Lease:
    """The right to change a store, until another takes it. `restored`: changes that were read from the changelog under it.

    `problem`: why its holder does not get on with it.
    """

    def __init__(self, store: KafkaStore, role: Role) -> None:
        self.store = store
        self.role = role
        self.end = store.position
        self.problem: str | None = None
        self.restored = 0
        self._began_s = time.monotonic()
        self._ended_s = self._began_s

    @property
    def is_held(self) -> bool:
        """Nobody has taken it since."""
        return self.store.lease is self

    def apply(
        self, rows: Iterable[Row], position: int, *, anchor: CommitAnchor | None = None, commits: int | None = None
    ) -> None:
        """Change the store, unless another has taken it: he has read the same from the changelog."""
        with self.store._lock:
            if self.is_held:
                self.store.apply(rows, position, anchor=anchor, commits=commits)
                self.end = max(self.end, position)

    def restore(
        self,
        rows: list[Row],
        position: int,
        *,
        anchor: CommitAnchor | None = None,
        commits: int | None = None,
        logged: bool,
    ) -> None:
        """Change the store by what was read from the changelog, unless another has taken it."""
        with self.store._lock:
            if self.is_held:
                self.store.apply(rows, position, anchor=anchor, commits=commits, logged=logged)
                self.restored += len(rows)
                self._ended_s = time.monotonic()

    def hide(self) -> None:
        """Turn readers away until it is caught up."""
        with self.store._lock:
            if self.is_held:
                self.store.fresh_ms = None

    def wipe(self, why: str) -> None:
        """What is in it cannot be used: begin again with nothing."""
        with self.store._lock:
            if self.is_held:
                self.store.wipe(why)

    def release(self) -> None:
        """Let another have it."""
        with self.store._lock:
            if self.is_held:
                self.store.lease = None

    @property
    def rows_per_s(self) -> int:
        """How fast it was read."""
        return round(self.restored / max(self._ended_s - self._began_s, 0.001))


class KafkaRows:
    """The committed rows of one `StoreId`. Raises `Unavailable` while they are not caught up, or closed, or damaged."""

    def __init__(self, store: KafkaStore, which: StoreId) -> None:
        self._store = store
        self._prefix = row_prefix(which.flow)
        self._beyond = self._prefix[:-1] + b"\1"

    def get(self, key: bytes) -> bytes | None:
        """The row, or none."""
        store = self._store
        try:
            row: bytes | None = store.db.get(self._prefix + key)
        except Unavailable:
            raise
        except Exception as error:
            raise store.damaged(error) from _bare(error)
        if not store.is_shown:
            raise self._stale()
        return row

    def range(self, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `low <= key < high`, as of the call."""
        store = self._store
        try:
            rows = scan_items(store.db, self._prefix + low, self._beyond if high is None else self._prefix + high)
        except Unavailable:
            raise
        except Exception as error:
            raise store.damaged(error) from _bare(error)
        if not store.is_shown:
            del rows  # they hold the database as long as somebody keeps the error
            raise self._stale()
        return self._read(rows)

    def _stale(self) -> Unavailable:
        """Asked for after the read: whoever wipes a store says so first."""
        return Unavailable(f"the store {self._store.path} is not caught up with its changelog: try again")

    def _read(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        length = len(self._prefix)
        try:
            for key, value in rows:
                yield key[length:], value
        except Unavailable:
            raise
        except Exception as error:
            raise self._store.damaged(error) from _bare(error)


def _bare(error: Exception) -> Exception:
    """Without the frames it came through: they hold the database, which could not be opened again while the error is kept."""
    return error.with_traceback(None)


def open_store(path: Path, identity: str) -> KafkaStore:
    """Open a store, or begin it anew if it is damaged, too old, or of another changelog. Raises `CannotOpen` if it is in use."""
    store = KafkaStore(path, identity)
    store.open()
    return store


def _opened(path: Path) -> Rdict:
    path.mkdir(parents=True, exist_ok=True)
    return when_free(path, lambda: Rdict(str(path), _options()))


def destroy(path: Path) -> None:
    """Remove a database. Not while a reader has it: its handle writes in the directory, too."""
    try:
        when_free(path, lambda: Rdict.destroy(str(path)))
    except (CannotOpen, Unavailable):
        raise
    except Exception:  # whatever RocksDB finds wrong with it
        shutil.rmtree(path)
    shutil.rmtree(path, ignore_errors=True)  # what is not RocksDB's


def when_free(path: Path, call: Callable[[], T]) -> T:
    """What a call gives that needs the directory's lock, once readers of this process have let go of it."""
    deadline = time.monotonic() + _READERS_S
    while True:
        try:
            return call()
        except Exception as error:
            said = str(error)
            if "LOCK" not in said or "lock" not in said.lower():
                raise
            if "current process" not in said:
                raise CannotOpen(
                    f"the store {path} is in use by another process: stop it, or give this one a directory of its own"
                ) from error
            if time.monotonic() > deadline:
                raise Unavailable(f"the store {path} is still being read: try again") from error
        time.sleep(0.02)


def _unlogged() -> WriteOptions:
    options = WriteOptions()
    options.disable_wal = True  # type: ignore[method-assign,assignment]  # the stub has it as a method
    return options


_LOGGED, _UNLOGGED = WriteOptions(), _unlogged()


def _mark(path: Path) -> Path:
    return path / "damaged"


def _options() -> Options:
    blocks = BlockBasedOptions()
    # Indexes and filters stay in memory, beside the cache: a hundredth or two of what the rows take on disk. Within it they push
    # each other out once a store has some millions of rows, and every look-up reads them anew: an event took twice as long.
    blocks.set_block_cache(_CACHE)
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
