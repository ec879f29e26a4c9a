"""The embedded log's anchor: what was acknowledged, in a second synced file beside RocksDB's directory.

RocksDB alone cannot tell that records are missing: a write-ahead log that ends early, or is gone, looks like one that was
never longer, and so does its list of files (the manifest). So every commit has a number, which is written with it, and after
the write-ahead log is synced the anchor notes, and syncs, the number, where each partition ends, and how far the manifest went
with which checksum. Only then is the commit acknowledged. A log that is found to be behind its anchor has lost something.

Two slots are written in turns, in place, so that a torn write leaves the one before. The file is also the lock of the directory.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"xdanchor"
_VERSION = 1
_HEAD = struct.Struct(">8sH16sQQQII")
_ENTRY = struct.Struct(">4sQ")
_SUM = struct.Struct(">I")
SLOT_BYTES = 1024 * 1024


class AnchorInUse(Exception):
    """Another process, or another log of this one, has the directory."""


@dataclass(frozen=True, slots=True)
class ManifestMark:
    """A manifest up to a size: `number` is in its name, `checksum` is of its first `size` bytes."""

    number: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Anchored:
    """What was acknowledged. `ends`: the next offset of each partition that was ever written, by its key prefix."""

    identity: bytes
    commit: int
    manifest: ManifestMark
    ends: Mapping[bytes, int]


class LogAnchor:
    """The anchor's file, locked. `found`: what it held when it was opened; `is_damaged`: it held something else.

    Raises `AnchorInUse`, `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise AnchorInUse(str(path)) from error
        slots = [_slot(os.pread(self._file, SLOT_BYTES, at)) for at in (0, SLOT_BYTES)]
        self.found = max((slot for slot in slots if slot is not None), key=lambda slot: slot.commit, default=None)
        self._turn = 1 if self.found is slots[0] else 0  # the newest is the last to be written over
        self.is_damaged = self.found is None and os.fstat(self._file).st_size > 0
        self._identity = bytes(16)
        self._ends = bytearray()
        self._places: dict[bytes, int] = {}

    def begin(self, anchored: Anchored) -> None:
        """Hold this from now on, and nothing else."""
        self._identity = anchored.identity
        self._ends.clear()
        self._places.clear()
        for _ in range(2):
            self.note(anchored.commit, anchored.manifest, anchored.ends.items())
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def note(self, commit: int, manifest: ManifestMark, ends: Iterable[tuple[bytes, int]], *, is_synced: bool = True) -> None:
        """A commit, and where the partitions end that it has grown. Durable when this returns."""
        for prefix, end in ends:
            place = self._places.get(prefix)
            if place is None:
                place = self._places[prefix] = len(self._ends)
                self._ends += bytes(_ENTRY.size)
            _ENTRY.pack_into(self._ends, place, prefix, end)
        head = _HEAD.pack(
            _MAGIC, _VERSION, self._identity, commit, manifest.number, manifest.size, manifest.checksum, len(self._places)
        )
        slot = b"".join((head, self._ends))
        if len(slot) + _SUM.size > SLOT_BYTES:
            raise ValueError(f"{len(self._places)} partitions do not fit in {self.path}: use fewer, or Kafka")
        os.pwrite(self._file, slot + _SUM.pack(zlib.crc32(slot)), self._turn * SLOT_BYTES)
        self._turn ^= 1
        if is_synced:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Give the directory free."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _slot(data: bytes) -> Anchored | None:
    """What a slot holds; none if it is empty or torn."""
    if len(data) < _HEAD.size:
        return None
    magic, version, identity, commit, number, size, checksum, count = _HEAD.unpack_from(data)
    end = _HEAD.size + count * _ENTRY.size
    if magic != _MAGIC or version != _VERSION or len(data) < end + _SUM.size:
        return None
    if _SUM.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        return None
    ends = dict(_ENTRY.iter_unpack(data[_HEAD.size : end]))
    return Anchored(identity, commit, ManifestMark(number, size, checksum), ends)


class Manifest:
    """RocksDB's manifest as it grows. What `mark` covers is synced."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path: Path | None = None
        self.mark = ManifestMark(0, 0, 0)
        self.look()

    def look(self) -> ManifestMark:
        """As it is now. Called at every commit: it is read only where it has grown, which is at flushes and compactions."""
        try:
            size = self._path.stat().st_size if self._path is not None else 0
        except FileNotFoundError:  # another has taken its place
            size, self._path = 0, None
        if self._path is None:
            self._path = self._directory / current(self._directory)
            self.mark, size = ManifestMark(_number(self._path.name), 0, 0), self._path.stat().st_size
        if size > self.mark.size:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
                file.seek(self.mark.size)
                grown = file.read(size - self.mark.size)
            self.mark = ManifestMark(self.mark.number, self.mark.size + len(grown), zlib.crc32(grown, self.mark.checksum))
        return self.mark


def current(directory: Path) -> str:
    """The name of the manifest in use. Raises `ValueError` if the file that says so is damaged, `OSError` if it is gone."""
    name = (directory / "CURRENT").read_bytes().decode("ascii", "replace").strip()
    if not name.startswith("MANIFEST-") or not name.removeprefix("MANIFEST-").isdigit():
        raise ValueError(f"its file CURRENT says {name[:40]!r}")
    return name


def manifest_problem(directory: Path, mark: ManifestMark) -> str | None:
    """What is wrong with a log's manifest; nothing if it begins as it was anchored, or is a later one.

    RocksDB begins a new one whenever it opens a log: a crash before that was anchored leaves one the anchor does not know.
    """
    try:
        name = current(directory)
        data = (directory / name).read_bytes()
    except (OSError, ValueError) as error:
        return str(error)
    if _number(name) > mark.number:
        return None
    if _number(name) < mark.number:
        return f"{name} is older than the manifest that was last in use, number {mark.number}"
    if len(data) < mark.size:
        return f"{name} has {len(data)} bytes, it had {mark.size}"
    if zlib.crc32(data[: mark.size]) != mark.checksum:
        return f"{name} is not what was written"
    return None


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
