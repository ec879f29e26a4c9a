"""Opening the embedded log: never quietly with less than was acknowledged.

Before RocksDB may change anything in the directory, the log is opened for reading and held against its anchor. What is missing
or cannot be read is refused with what to do. `accept_loss` goes on all the same, says what is lost, and sees to it that no lost
offset is given again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rocksdict import AccessType, Rdict, WriteBatch

from streams.engine.embedded import files
from streams.engine.embedded.anchor import Anchored, AnchorInUse, LogAnchor, ManifestMark, manifest_problem
from streams.engine.embedded.files import CannotOpen, Files, number, pack_offset
from streams.engine.scans import scan_items, scan_keys, scan_values

ANCHOR_FILE = "log.anchor"
_ACCEPT = "crossdock run --accept-loss"


@dataclass(frozen=True, slots=True)
class Found:
    """What a log holds, read without touching it. `ends`: by key prefix of the partition; `topics`: names by number."""

    identity: bytes
    commit: int
    ends: Mapping[bytes, int]
    topics: Mapping[int, str]


def open_files(path: Path, *, sync: bool, accept_loss: bool = False) -> tuple[Files, list[str]]:
    """Open or make the log in a directory, and what was lost with it, if that is accepted. Raises `CannotOpen`."""
    inside = path / "log"
    _check_directory(inside)
    try:
        anchor = LogAnchor(path / ANCHOR_FILE)
    except AnchorInUse:
        raise _explained(inside, "LOCK: lock") from None
    except OSError as error:
        raise CannotOpen(f"the log directory {path} cannot be used: {error.strerror}; name another one") from error
    try:
        return _Opening(inside, anchor, sync=sync).open(accept_loss=accept_loss)
    except BaseException:
        anchor.close()
        raise


class _Opening:
    def __init__(self, path: Path, anchor: LogAnchor, *, sync: bool) -> None:
        self._path = path
        self._anchor = anchor
        self._sync = sync
        self._is_made = False

    def open(self, *, accept_loss: bool) -> tuple[Files, list[str]]:
        problem = self._problem()
        if problem is not None and not accept_loss:
            raise problem
        if problem is None and accept_loss:
            problem = self._unreadable_rows()
        losses = [] if problem is None else self._accept(problem)
        opened = self._opened()
        try:
            self._check_ends(opened)
        except CannotOpen:
            opened.close()
            raise
        except Exception as error:  # whatever RocksDB finds wrong with it
            opened.close()
            raise self._total(str(error)) from error
        return opened, losses

    # --- what is wrong ----------------------------------------------------------------------------------------------------

    def _problem(self) -> CannotOpen | None:
        """Why the log is not as it was acknowledged; none if it is."""
        anchored = self._anchor.found
        acknowledged = 0 if anchored is None else anchored.commit
        if not (self._path / "CURRENT").exists():
            # RocksDB would start an empty log here, and what was promised from the old one would be forgotten.
            if any(file.suffix in (".sst", ".log") for file in self._path.iterdir()):
                return self._total("its file CURRENT is missing")
            return self._total(f"it is gone, and {acknowledged} commits were acknowledged there") if acknowledged else None
        try:
            found = self._found()
        except CannotOpen:
            raise
        except _OfSeveralCommits as error:
            return self._total(str(error))
        except Exception as error:  # whatever RocksDB finds wrong with it
            return self._of_rocksdb(str(error))
        if found is None:  # its making was not finished
            return self._total(f"it is empty, and {acknowledged} commits were acknowledged there") if acknowledged else None
        self._is_made = True
        problem = self._compared(found, anchored)
        if problem is None and anchored is not None and (trouble := manifest_problem(self._path, anchored.manifest)) is not None:
            return self._total(trouble)
        return problem

    def _total(self, trouble: str) -> _Unreadable:
        return _Unreadable(
            f"the log in {self._path} is damaged and was left untouched: {trouble}. {_restore(_EMPTY)}", trouble, is_total=True
        )

    def _of_rocksdb(self, error: str) -> CannotOpen:
        if "Permission denied" in error:
            return CannotOpen(f"the log in {self._path} cannot be opened: permission denied; run as the user who owns it")
        return _Unreadable(f"the log in {self._path} is damaged and was left untouched: {error}. {_restore(_PREFIX)}", error)

    def _compared(self, found: Found, anchored: Anchored | None) -> CannotOpen | None:
        if anchored is None:
            if not found.commit:
                return None
            what = "is damaged" if self._anchor.is_damaged else "is missing"
            return _Behind(
                f"{self._anchor.path} {what}: without it nobody can tell whether the log beside it is whole. "
                f"{_restore('takes it as it is')}",
                found,
            )
        if anchored.identity != found.identity:
            return _Behind(
                f"the log in {self._path} and {self._anchor.path} are not of one log. {_restore('takes the log as it is')}", found
            )
        if found.commit < anchored.commit:
            return _Behind(
                f"the log in {self._path} ends {anchored.commit - found.commit} commits before what was acknowledged "
                f"({'; '.join(_lost(found, anchored)) or 'no records among them'}): its write-ahead log is damaged or files are "
                f"missing. Nothing was changed. {_restore('goes on without them')}",
                found,
            )
        return None

    def _found(self) -> Found | None:
        """Raises whatever RocksDB finds wrong. None: there is no format yet, so nothing was ever acknowledged."""
        db = Rdict(str(self._path), files.options(), column_families=files.families(), access_type=AccessType.read_only(False))
        try:
            return _read(self._path, db)
        finally:
            db.close()

    def _unreadable_rows(self) -> CannotOpen | None:
        """Reads everything, for damage that shows only when it is read."""
        if not (self._path / "CURRENT").exists():
            return None
        db = Rdict(str(self._path), files.options(), column_families=files.families(), access_type=AccessType.read_only(False))
        try:
            for name in files.FAMILIES:
                for _ in scan_keys(db.get_column_family(name), b"", None):
                    pass
        except Exception as error:
            return self._total(str(error))
        finally:
            db.close()
        return None

    # --- going on all the same ------------------------------------------------------------------------------------------------

    def _accept(self, problem: CannotOpen) -> list[str]:
        """Make the log one that can be opened. Says what is lost."""
        if isinstance(problem, _Behind):
            return self._go_on(problem.found, str(problem))
        if isinstance(problem, _Unreadable) and not problem.is_total:
            copy = self._copied()
            try:
                found = self._before_the_gap(problem.error)
            except Exception:  # not even so
                found = None
            if found is not None and (self._anchor.found is None or found.identity == self._anchor.found.identity):
                return [*self._go_on(found, problem.error), f"the files as they were are in {copy}"]
            shutil.rmtree(self._path)
            copy.rename(self._path)
        return self._begin_again(problem)

    def _copied(self) -> Path:
        """The files as they are: what is tried next changes them. Those that never change are linked."""
        copy = self._aside("log.damaged")
        copy.mkdir()
        for file in self._path.iterdir():
            if file.suffix == ".sst":
                (copy / file.name).hardlink_to(file)
            else:
                shutil.copy2(file, copy / file.name)
        return copy

    def _before_the_gap(self, error: str) -> Found | None:
        """What is left of one piece: of a write-ahead log with a gap, what is before it. Raises whatever RocksDB finds wrong."""
        if gap := re.search(r"log number: (\d+)", error):
            for wal in self._path.glob("*.log"):
                if wal.stem.isdigit() and int(wal.stem) > int(gap[1]):
                    wal.unlink()
        # Not read-only: RocksDB then fails on a write-ahead log that is no longer checked.
        db = Rdict(str(self._path), files.options(checks_wals=False), column_families=files.families())
        try:
            return _read(self._path, db)
        finally:
            db.close()

    def _go_on(self, found: Found, why: str) -> list[str]:
        """Keep what is there: nothing that was lost is given out again, and readers know of the holes."""
        anchored = self._anchor.found
        if anchored is None or anchored.identity != found.identity:
            anchored = Anchored(found.identity, found.commit, _NO_MANIFEST, {})
        rows: list[tuple[bytes, bytes | int]] = []
        for prefix, end in anchored.ends.items():
            kept = found.ends.get(prefix, 0)
            if kept < end and prefix != _BASE_PREFIX:
                rows += [(files.hole_key(prefix, kept), end), (b"e" + prefix, end)]
        self._put([*rows, (files.COMMIT_KEY, max(found.commit, anchored.commit) + 1)], checks_wals=False)
        lost = max(0, anchored.commit - found.commit)
        return [f"accepted: {why}", f"{lost} commits are lost", *_lost(found, anchored)]

    def _begin_again(self, problem: CannotOpen) -> list[str]:
        """An empty log, whose offsets begin above all that were ever given."""
        anchored = self._anchor.found
        said = [f"accepted: {problem}"]
        if self._path.exists() and any(self._path.iterdir()):
            aside = self._aside("log.damaged")
            self._path.rename(aside)
            self._path.mkdir()
            said.append(f"what was there is set aside in {aside}")
        base = max(anchored.ends.values(), default=0) if anchored is not None else 0
        commits = anchored.commit if anchored is not None else 0
        self._make(commits + 1, base)
        return [*said, f"all {commits} commits are lost: records, rows and positions; offsets go on from {base}"]

    def _aside(self, name: str) -> Path:
        return self._path.with_name(f"{name}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")

    # --- opening ------------------------------------------------------------------------------------------------------------

    def _make(self, commit: int, base: int) -> None:
        """A new log's first rows, synced before the anchor knows of it."""
        numbers = [(files.COMMIT_KEY, commit), (files.BASE_KEY, base)]
        identity = [(files.FORMAT_KEY, files.FORMAT), (files.IDENTITY_KEY, os.urandom(16))]
        self._put([*numbers, *identity], checks_wals=True)
        self._is_made = True

    def _put(self, rows: Iterable[tuple[bytes, bytes | int]], *, checks_wals: bool) -> None:
        """Write rows of meta, `COMMIT_KEY` of all families, and close again."""
        db = Rdict(str(self._path), files.options(checks_wals=checks_wals), column_families=files.families())
        try:
            batch = WriteBatch(raw_mode=True)
            for key, value in rows:
                for family in files.FAMILIES if key == files.COMMIT_KEY else ("meta",):
                    raw = value if isinstance(value, bytes) else pack_offset(value)
                    batch.put(key, raw, db.get_column_family_handle(family))
            db.write(batch)
            del batch  # RocksDB keeps its lock while any handle is alive
            db.flush_wal(True)
        finally:
            db.close()

    def _opened(self) -> Files:
        try:
            if not self._is_made:
                self._make(0, 0)
            db = Rdict(str(self._path), files.options(), column_families=files.families())
        except Exception as error:
            raise _explained(self._path, str(error)) from error
        opened = Files(self._path, db, self._anchor, sync=self._sync)
        identity: bytes = opened.meta.get(files.IDENTITY_KEY) or bytes(16)
        ends = _ends(opened.meta) | {_BASE_PREFIX: number(opened.meta.get(files.BASE_KEY), 0)}
        self._anchor.begin(Anchored(identity, opened.commit, opened.manifest.look(), ends))
        return opened

    def _check_ends(self, opened: Files) -> None:
        """The last record of each partition is there: records and their ends are of one moment."""
        base = number(opened.meta.get(files.BASE_KEY), 0)
        for prefix, end in _ends(opened.meta).items():
            if end <= max(number(opened.meta.get(b"l" + prefix), 0), base):
                continue
            if opened.log.get(prefix + pack_offset(end - 1)) is None and end not in opened.holes(prefix).values():
                where = f"partition {int.from_bytes(prefix[2:])} of topic number {int.from_bytes(prefix[:2])}"
                raise CannotOpen(
                    f"the log in {self._path} is damaged: the last record of {where}, {end - 1}, is missing. {_restore(_EMPTY)}"
                )


class _Unreadable(CannotOpen):
    """RocksDB cannot open it. `is_total`: nothing of it can be relied on, even if it could be opened."""

    def __init__(self, says: str, error: str, *, is_total: bool = False) -> None:
        super().__init__(says)
        self.error = error
        self.is_total = is_total


class _Behind(CannotOpen):
    """It is of one piece, but not known to be all."""

    def __init__(self, says: str, found: Found) -> None:
        super().__init__(says)
        self.found = found


_BASE_PREFIX = files.partition_prefix(0, 0)
"""Where the anchor keeps the least offset of new partitions: topics are numbered from 1."""
_NO_MANIFEST = ManifestMark(0, 0, 0)
_EMPTY = "sets it aside and begins an empty log, whose offsets go on above those that were given"
_PREFIX = "goes on with what was written before the damage or, if nothing can be read, begins an empty log, and says which"


def _restore(otherwise: str) -> str:
    return f"Restore the directory from a backup, its log and its {ANCHOR_FILE} together. Without one, {_ACCEPT} {otherwise}"


def _lost(found: Found, anchored: Anchored) -> list[str]:
    """Which records are missing."""
    said = []
    for prefix, end in sorted(anchored.ends.items()):
        topic = int.from_bytes(prefix[:2])
        if (kept := found.ends.get(prefix, 0)) < end and prefix != _BASE_PREFIX:
            name = found.topics.get(topic, f"topic number {topic}")
            said.append(f"{name}/{int.from_bytes(prefix[2:])}: offsets {kept} to {end - 1}")
    return said


class _OfSeveralCommits(Exception):
    """The column families are not as of one commit."""


def _read(path: Path, db: Rdict) -> Found | None:
    meta = db.get_column_family("meta")
    _require_format(path, meta.get(files.FORMAT_KEY))
    identity = meta.get(files.IDENTITY_KEY)
    if identity is None:
        return None
    commits = {name: number(db.get_column_family(name).get(files.COMMIT_KEY), 0) for name in files.FAMILIES}
    if len(set(commits.values())) > 1:
        raise _OfSeveralCommits(f"its files are not of one moment (last commits: {commits})")
    topics = {entry["id"]: entry["name"] for entry in map(json.loads, scan_values(meta, b"t", b"u"))}
    return Found(identity, commits["meta"], _ends(meta), topics)


def _ends(meta: Rdict) -> dict[bytes, int]:
    return {key[1:]: number(raw, 0) for key, raw in scan_items(meta, b"e", b"f")}


def _require_format(path: Path, found: bytes | None) -> None:
    if found is not None and found != files.FORMAT:
        raise CannotOpen(
            f"{path} was written in log format {found.decode(errors='replace')}, this version reads {files.FORMAT.decode()}: "
            "use the crossdock version that wrote it, or start with another directory"
        )


def _check_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotOpen(f"the log directory {path} cannot be used: {error.strerror}; name another one") from error


def _explained(path: Path, error: str) -> CannotOpen:
    if "LOCK" in error and "lock" in error.lower():
        return CannotOpen(f"the log in {path} is in use by another process: stop it, or use another directory")
    if "Permission denied" in error:
        return CannotOpen(f"the log in {path} cannot be opened: permission denied; run as the user who owns it")
    return CannotOpen(f"the log in {path} is damaged and was left untouched: {error}; restore the directory from a backup")
