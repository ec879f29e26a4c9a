"""A process's name in the cluster is its own: a copy of its directory gets another, and two that have one name do not fight.

The name is in transactional ids. Whoever starts with one ends the transactions of whoever had it before, which is right for the
next life of a process, and for ever wrong for two that live at once.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from streams.engine.embedded.files import CannotOpen
from streams.engine.log import Unavailable

_log = logging.getLogger(__name__)
_OFTEN = 3
_WITHIN_S = 120.0
"""Ousted so often within so long, a member asks who else has its name. Once is a transaction that took too long."""


class GroupMember(NamedTuple):
    """A member as its group knows it. `names`: what its process calls itself."""

    member_id: str
    names: frozenset[str]
    host: str


def name_in(directory: Path) -> str:
    """This process's name in the cluster: made once, kept in its directory. A copy of the directory gets another one.

    The file says which one it is (its inode): a copy is another file.
    """
    file = directory / "name"
    name = ""
    if file.exists():
        name, _, which = file.read_text().strip().partition(" ")
        if name and which == str(file.stat().st_ino):
            return name
    new = uuid.uuid4().hex[:12]
    directory.mkdir(parents=True, exist_ok=True)
    written = directory / "name.new"
    with written.open("w") as opened:
        opened.write(f"{new} {os.fstat(opened.fileno()).st_ino}\n")
    written.replace(file)
    if name:
        _log.warning("%s is a copy of another process's directory: this one is %s in the cluster, not %s", directory, new, name)
    return new


class DuplicateProcessWatch:
    """Notices, by being ousted again and again, that another process has a member's name. Then one of the two stops.

    `members_of`: who is in a group. `session_s`: how long the brokers believe a dead member to be alive.
    """

    def __init__(self, name: str, group: str, session_s: float, members_of: Callable[[str], Iterable[GroupMember]]) -> None:
        self._name = name
        self._group = group
        self._patience_s = 1.5 * session_s + 1.0
        self._members_of = members_of
        self._ousted_s: deque[float] = deque(maxlen=_OFTEN)
        self._since_s: float | None = None

    def ousted(self) -> None:
        """The brokers have said that another has the name now."""
        self._ousted_s.append(time.monotonic())

    def require_alone(self, member_id: str | None) -> None:
        """Go on only if nobody else has the name. Raises `Unavailable` while that is not certain, then `CannotOpen`.

        Of two, the one with the greater id stops first. A former life of this process is gone after a session.
        """
        if len(self._ousted_s) < _OFTEN or self._ousted_s[-1] - self._ousted_s[0] > _WITHIN_S or not member_id:
            return
        others = [m for m in self._members_of(self._group) if self._name in m.names and m.member_id != member_id]
        if not others:
            self._since_s = None
            self._ousted_s.clear()
            return
        now_s = time.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        waited_s = now_s - self._since_s
        is_first = all(member_id < other.member_id for other in others)
        if waited_s > (self._patience_s if is_first else self._patience_s / 1.5):
            raise CannotOpen(
                f"another process (at {others[0].host}) has the name {self._name}, too, and they end each other's transactions: "
                "the data directory of one is a copy of the other's. Stop this process, delete the file `name` in its data "
                "directory, and start it again: it gets a name of its own, and keeps its rows"
            )
        raise Unavailable(f"another process (at {others[0].host}) may have the name {self._name}, too: waiting to be sure")
