"""Whose name it is: a copied directory gets another, and two that have one do not fight for ever."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from streams.engine.embedded.files import CannotOpen
from streams.engine.kafka.process_name import DuplicateProcessWatch, GroupMember, name_in
from streams.engine.log import Unavailable

SESSION_S = 0.2


def member(member_id: str, *names: str) -> GroupMember:
    return GroupMember(member_id, frozenset(names), "elsewhere")


def test_a_name_is_kept(tmp_path: Path) -> None:
    assert name_in(tmp_path) == name_in(tmp_path)


def test_a_copied_directory_gets_another_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And says so, once."""
    name = name_in(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    other = name_in(tmp_path / "two")
    assert name != other
    assert "is a copy of another process's directory" in caplog.text
    assert (name_in(tmp_path / "one"), name_in(tmp_path / "two")) == (name, other)


def test_a_moved_directory_keeps_its_name(tmp_path: Path) -> None:
    name = name_in(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    assert name_in(tmp_path / "two") == name


def ousted(members: Iterable[GroupMember], times: int = 3) -> DuplicateProcessWatch:
    found = list(members)
    made = DuplicateProcessWatch("g.me.0", "g", SESSION_S, lambda group: found)
    for _ in range(times):
        made.ousted()
    return made


@pytest.mark.parametrize(("mine", "theirs"), [("b", "a"), ("a", "b")])
def test_one_of_two_stops_with_a_sentence(mine: str, theirs: str) -> None:
    """The one with the greater id first; the other too, if that one stays."""
    namesakes = ousted([member(mine, "g.me.0"), member(theirs, "g.me.0"), member("c", "g.other.0")])
    began_s = time.monotonic()
    with pytest.raises(CannotOpen, match="delete the file `name`") as refused:
        while True:
            with pytest.raises(Unavailable, match="waiting to be sure"):
                namesakes.require_alone(mine)
            time.sleep(0.05)
    assert refused
    assert time.monotonic() - began_s > SESSION_S


def test_a_former_life_is_waited_for() -> None:
    """It is in the group until its session is over."""
    members = [member("a", "g.me.0"), member("b", "g.me.0")]
    namesakes = DuplicateProcessWatch("g.me.0", "g", SESSION_S, lambda group: members)
    for _ in range(3):
        namesakes.ousted()
    with pytest.raises(Unavailable):
        namesakes.require_alone("b")
    del members[0]
    namesakes.require_alone("b")
    members.append(member("a", "g.me.0"))
    namesakes.require_alone("b")  # nobody has ousted it since


def test_being_ousted_once_is_nothing_strange() -> None:
    """A transaction took too long. Nobody is asked, nobody waits."""
    ousted([member("a", "g.me.0")], times=2).require_alone("b")


def test_a_static_members_name_counts_too() -> None:
    with pytest.raises(Unavailable):
        ousted([member("a", "rdkafka", "g.me.0")]).require_alone("b")
