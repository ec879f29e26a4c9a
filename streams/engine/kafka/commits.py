"""How a changelog says where a commit ends, and how a store says which records of a changelog it is made of.

The last record of a commit in a changelog partition is its mark: the commit's number there, how many records it has, and a
random token. All marks have one key, so compaction leaves the last one. A reader that finds a number or a record left out knows
that it reads what was compacted, where no state but that of the end was ever committed. A store keeps the last record that it
reflects, by a digest: if another is in its place, the store is of another history of the changelog. A group's positions name, by
the same digest, the commit that they were made with: a changelog that does not end with it has lost commits.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from os import urandom
from typing import NamedTuple

MARK_KEY = b"\0commit"  # no flow has an empty name, so no row's key begins so
DELETED = "deleted"
"""The proof of positions whose changelog is gone: brokers forget what a group has committed in a topic that is deleted."""
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


class CommitAnchor(NamedTuple):
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


def anchor_at(offset: int, key: bytes | None, value: bytes | None) -> CommitAnchor:
    """The anchor that a record is."""
    state = blake2b(digest_size=16)
    for part in (key, value):
        state.update(b"-" if part is None else b"%d " % len(part))
        state.update(part or b"")
    return CommitAnchor(offset, state.digest())


def anchor_of(packed: bytes | None) -> CommitAnchor | None:
    """An anchor as a store keeps it."""
    return None if packed is None else CommitAnchor(*_ANCHOR.unpack(packed))


def proof_of(commits: int, anchor: CommitAnchor | None) -> str:
    """What is committed with a group's positions, to tell later whether the changelog still has what belongs to them."""
    return "" if anchor is None else f"{commits} {anchor.digest.hex()}"


def proof_by(mark: Mark) -> str:
    """The same of a commit about to be made."""
    return proof_of(mark.number, anchor_at(0, MARK_KEY, mark.packed()))


def problem_of(proof: str, found: str, commits: int, changelog: str, index: int, group: str) -> str | None:
    """Why the rows are not those that belong to a group's positions; none if they are.

    `proof`: what the positions were committed with. An empty one says nothing: there were no rows, or a person has set it.
    """
    if proof in {"", found}:
        return None
    whose = "a changelog of that name that was deleted" if proof == DELETED else f"its commit {proof.partition(' ')[0]}"
    return (
        f"{changelog}/{index} has lost commits: it ends with commit {commits}, but the positions of group {group} are of "
        f"{whose}. Stop all workers. Bring the topic back from a copy; or delete the topic and the group on the brokers, and "
        "everything is folded again from the inputs; or, to go on without what is lost, set the group's offset there: "
        f"kafka-consumer-groups.sh --group {group} --topic {changelog}:{index} --reset-offsets --to-earliest --execute. "
        "Then start again"
    )
