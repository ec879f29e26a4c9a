"""Catching up by whole commits, with messages as the consumer hands them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from streams.engine.kafka_restore import CatchUp
from streams.engine.kafka_store import Lease, open_store
from streams.engine.log import Unavailable


class Said:
    """A message, as far as it is looked at."""

    def __init__(self, partition: int, offset: int, key: bytes | None = None, error: int | None = None) -> None:
        self._what = (partition, offset, key, error)

    def partition(self) -> int:
        return self._what[0]

    def offset(self) -> int:
        return self._what[1]

    def key(self) -> bytes | None:
        return self._what[2]

    def value(self) -> bytes | None:
        return b"v"

    def topic(self) -> str:
        return "t"

    def error(self) -> Any:
        code = self._what[3]
        return None if code is None else KafkaError(code)


def said(partition: int, *offsets: int) -> list[Message]:
    return [cast(Message, Said(partition, offset, b"%d" % offset)) for offset in offsets]


def end(partition: int, offset: int) -> list[Message]:
    return [cast(Message, Said(partition, offset, error=KafkaError._PARTITION_EOF))]


def unknown(index: int) -> int:
    return -1


@pytest.fixture
def leases(tmp_path: Path) -> dict[int, Lease]:
    return {index: open_store(tmp_path / str(index), "id").take("followed") for index in range(2)}


def test_half_a_commit_is_held_back(leases: dict[int, Lease]) -> None:
    """A commit is over where an offset is missing: that of its mark."""
    catch_up = CatchUp(leases)
    catch_up.take(said(0, 0, 1, 2), unknown)
    assert leases[0].store.position == 0
    catch_up.take(said(0, 3, 5, 6), unknown)
    assert (leases[0].store.position, leases[0].restored) == (4, 4)
    assert leases[0].store.db.get(b"3") == b"v"
    assert leases[0].store.db.get(b"5") is None
    catch_up.take(said(0, 8), unknown)
    assert (leases[0].store.position, leases[0].restored) == (7, 6)


def test_a_single_offset_more_is_the_mark(leases: dict[int, Lease]) -> None:
    """Whatever follows a commit's last record in the log, its mark comes first."""
    catch_up = CatchUp(leases)
    catch_up.take(said(0, 0, 1), lambda index: 4)
    assert leases[0].store.position == 0
    assert catch_up.take(said(0, 2), lambda index: 4) == {0: 4}
    assert (leases[0].store.position, leases[0].restored) == (4, 3)


def test_at_the_end_everything_is_whole(leases: dict[int, Lease]) -> None:
    """What is committed ends where no transaction is open; partitions do not wait for each other."""
    catch_up = CatchUp(leases)
    assert catch_up.take([*said(1, 0, 1), *said(0, 0), *end(1, 3)], unknown) == {1: 3}
    assert (leases[1].store.position, leases[1].restored) == (3, 2)
    assert leases[0].store.position == 0
    assert catch_up.take(end(0, 2), unknown) == {0: 2}
    assert (leases[0].store.position, leases[0].restored) == (2, 1)


def test_what_was_let_go_is_forgotten(leases: dict[int, Lease]) -> None:
    """Messages that still come for a store another has taken change nothing, nor does what was held back."""
    catch_up = CatchUp(leases)
    catch_up.take(said(0, 0, 1), unknown)
    lease = leases.pop(0)
    catch_up.forget(0)
    catch_up.take([*said(0, 2), *end(0, 4)], unknown)
    leases[0] = lease
    catch_up.take(end(0, 4), unknown)
    assert (lease.store.position, lease.restored) == (4, 0)


def test_an_error_that_time_does_not_heal_is_raised(leases: dict[int, Lease]) -> None:
    denied = [cast(Message, Said(0, 0, error=KafkaError.TOPIC_AUTHORIZATION_FAILED))]
    with pytest.raises(Unavailable):
        CatchUp(leases).take(denied, unknown)
