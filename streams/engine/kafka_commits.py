"""How a changelog says where a commit ends, and how a store says which records of a changelog it is made of.

The last record of a commit in a changelog partition is its mark: the commit's number there, how many records it has, and a
random token. All marks have one key, so compaction leaves the last one. A reader that finds a number or a record left out knows
that it reads what was compacted, where no state but that of the end was ever committed. A store keeps the last record that it
reflects, by a digest: if another is in its place, the store is of another history of the changelog.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from os import urandom
from typing import NamedTuple

MARK_KEY = b"\0commit"  # no flow has an empty name, so no row's key begins so
_MARK = struct.Struct(">QI8s")
_ANCHOR = struct.Struct(">Q16s")


class Mark(NamedTuple):
    """The end of a commit. `number`: of those of this changelog partition, from 1. `records`: the mark counts."""

    number: int
    records: int
    token: bytes

    def packed(self) -> bytes:
        """As the value of its record."""
        return _MARK.pack(*self)


class Anchor(NamedTuple):
    """The last record of its changelog that a store reflects."""

    offset: int
    digest: bytes

    def packed(self) -> bytes:
        """As a store keeps it."""
        return _ANCHOR.pack(*self)


def new_mark(number: int, records: int) -> Mark:
    """The mark of a commit about to be made."""
    return Mark(number, records, urandom(8))


def mark_of(value: bytes | None) -> Mark | None:
    """The mark that a record's value is; none if it is something else."""
    return Mark(*_MARK.unpack(value)) if value is not None and len(value) == _MARK.size else None


def anchor_at(offset: int, key: bytes | None, value: bytes | None) -> Anchor:
    """The anchor that a record is."""
    state = blake2b(digest_size=16)
    for part in (key, value):
        state.update(b"-" if part is None else b"%d " % len(part))
        state.update(part or b"")
    return Anchor(offset, state.digest())


def anchor_of(packed: bytes | None) -> Anchor | None:
    """An anchor as a store keeps it."""
    return None if packed is None else Anchor(*_ANCHOR.unpack(packed))
