"""Reads by key whose thread fails: nobody is shown what was true a while ago, and following goes on by itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streams.engine.kafka import keys as kafka_keys
from streams.engine.kafka.keys import KafkaKeys
from streams.engine.keeper import ThreadKeeper
from streams.engine.log import TopicPartition, Unavailable
from tests.support.log_harness import topic

TOPIC = "state.v1"


class Broken(Exception):
    """Whatever a client or a database raises that nobody has foreseen."""


class Message:
    """A record of the topic, or (`is_end`) its end."""

    def __init__(self, offset: int, key: bytes = b"", value: bytes = b"", *, is_end: bool = False) -> None:
        self._offset, self._key, self._value, self.is_end = offset, key, value, is_end

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, 5

    def headers(self) -> None:
        return None


class Cluster:
    """One partition: its records, and what reading it raises."""

    request_s = 1.0

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.raises: Exception | None = None
        self.reads_from = 0
        self.clock_ms = lambda: time.time_ns() // 1_000_000

    def reader(self, wait_ms: int) -> Cluster:
        return self

    def incremental_assign(self, places: list[Any]) -> None:
        self.reads_from = places[0].offset

    def close(self) -> None:
        pass

    def ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.records))

    def cleanup(self, topic: str) -> str:
        return "compact"

    def identity(self, topic: str) -> str:
        return "1"

    def partitions(self, topic: str) -> int:
        return 1

    def next(self, *_: Any) -> list[Message]:
        time.sleep(0.002)
        if self.raises is not None:
            raise self.raises
        found = [Message(n, *self.records[n]) for n in range(self.reads_from, len(self.records))]
        self.reads_from = len(self.records)
        return [*found, Message(len(self.records), is_end=True)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(kafka_keys, "next_messages", cluster.next)
    monkeypatch.setattr(kafka_keys, "is_end", lambda message: message.is_end)
    monkeypatch.setattr(kafka_keys, "check_message", lambda message: True)
    return cluster


@pytest.fixture
def keeper() -> ThreadKeeper:
    return ThreadKeeper((0.05, 0.05))


@pytest.fixture
def keys(cluster: Cluster, keeper: ThreadKeeper, tmp_path: Path) -> Iterator[KafkaKeys]:
    keys = KafkaKeys(cluster, cluster, cluster, tmp_path / "keys", keeper)  # type: ignore[arg-type]
    yield keys
    keys.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to it in time"
        time.sleep(0.002)


def value(keys: KafkaKeys) -> bytes | None:
    record = keys.latest(TOPIC, b"k")
    return None if record is None else record.value


@pytest.mark.parametrize("error", [Broken("poisoned"), OSError(28, "No space left on device"), RuntimeError("gone")])
def test_whatever_it_fails_with_old_values_are_not_shown_and_new_ones_come(
    cluster: Cluster, keys: KafkaKeys, keeper: ThreadKeeper, error: Exception
) -> None:
    cluster.records.append((b"k", b"old"))
    assert value(keys) == b"old"
    cluster.raises = error
    until(lambda: "kafka-keys" in keeper.down())
    cluster.records.append((b"k", b"new"))
    with pytest.raises(Unavailable):
        value(keys)
    cluster.raises = None
    until(lambda: not keeper.down())
    assert value(keys) == b"new"


def test_a_write_that_fails_does_not_lose_what_was_read(
    cluster: Cluster, keys: KafkaKeys, keeper: ThreadKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.records.append((b"k", b"old"))
    assert value(keys) == b"old"
    take = KafkaKeys._take

    def full(self: KafkaKeys, messages: Any) -> None:
        if any(not message.is_end for message in messages):
            raise Broken("IO error: No space left on device")
        take(self, messages)

    monkeypatch.setattr(KafkaKeys, "_take", full)
    cluster.records.append((b"k", b"new"))
    until(lambda: keeper.restarts()["kafka-keys"] > 1)
    with pytest.raises(Unavailable, match="No space left"):
        until(lambda: value(keys) == b"never")
    monkeypatch.setattr(KafkaKeys, "_take", take)
    until(lambda: not keeper.down())
    assert value(keys) == b"new"


def rot(path: Path, where: float) -> None:
    """A byte of the rows is another. Those by key come first, then the newest of each key."""
    file = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    with file.open("r+b") as opened:
        opened.seek(int(file.stat().st_size * where))
        (byte,) = opened.read(1)
        opened.seek(-1, 1)
        opened.write(bytes((byte ^ 0xFF,)))


@pytest.mark.parametrize("how", ["latest", "scan", "by_key"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_damaged_database_answers_nothing_and_is_read_anew(
    cluster: Cluster, keeper: ThreadKeeper, tmp_path: Path, how: str, is_restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by a look-up, or by a scan: which does not end early as if there were no more."""
    count = 3_000
    dice = Random(1)
    cluster.records += [(b"%06d" % n, dice.randbytes(100)) for n in range(count)]
    indexed = topic("s", 1, "compact", is_indexed=True, name=TOPIC)

    def opened() -> KafkaKeys:
        keys = KafkaKeys(cluster, cluster, cluster, tmp_path / "keys", keeper)  # type: ignore[arg-type]
        keys.declare([indexed])
        return keys

    def asked(keys: KafkaKeys) -> int:
        if how == "scan":
            return len(keys.scan(TOPIC, None, count))
        if how == "latest":
            return sum(keys.latest(TOPIC, key) is not None for key, _ in cluster.records)
        return sum(len(keys.by_key(TOPIC, key, 5)) for key, _ in cluster.records)

    with contextlib.closing(opened()) as keys:
        assert asked(keys) == count
        keys._db.flush()
    rot(tmp_path / "keys", 0.3 if how == "by_key" else 0.7)
    with contextlib.closing(opened()) as keys:
        with pytest.raises(Unavailable, match=r"is damaged, and is read anew: .*\.sst"):
            asked(keys)
        assert ".sst" in caplog.text
        if not is_restarted:
            until(lambda: answers(lambda: asked(keys), count))
            assert sum(kept.remade for kept in keys.kept()) == 1
    with contextlib.closing(opened()) as keys:
        until(lambda: answers(lambda: asked(keys), count))
        assert sum(kept.remade for kept in keys.kept()) == 0


def test_a_database_that_does_not_tell_what_it_has_is_read_anew(
    cluster: Cluster, keeper: ThreadKeeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It opens, and the first row asked for cannot be read: a process begins all the same."""
    cluster.records += [(b"%06d" % n, b"old" * 20) for n in range(200)] + [(b"k", b"old")]
    indexed = topic("s", 1, "compact", is_indexed=True, name=TOPIC)
    for _ in range(2):
        with contextlib.closing(KafkaKeys(cluster, cluster, cluster, tmp_path / "keys", keeper)) as keys:  # type: ignore[arg-type]
            keys.declare([indexed])
            until(lambda: value(keys) == b"old")
            keys._db.flush()
        for file in (tmp_path / "keys").glob("*.sst"):
            with file.open("r+b") as opened:
                opened.write(b"\xff" * 8)  # of the first block of rows
    assert "is read anew" in caplog.text


def answers(call: Callable[[], int], wanted: int) -> bool:
    try:
        assert call() == wanted, "half of it"
    except Unavailable:
        return False
    return True
