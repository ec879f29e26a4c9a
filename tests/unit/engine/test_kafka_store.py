"""A Kafka store without Kafka: shared by readers and whoever holds its lease, and made again when it is damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.engine.embedded.files import CannotOpen
from streams.engine.kafka.commits import anchor_at
from streams.engine.kafka.store import KafkaRows, KafkaStore, Row, open_store, row_prefix
from streams.engine.log import StoreId, Unavailable

FLOW = "f"
KEYS = [b"%03d" % n for n in range(200)]


def rows(value: int) -> list[Row]:
    return [(row_prefix(FLOW) + key, b"%d" % value) for key in KEYS]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KafkaStore]:
    opened = open_store(tmp_path / "0", "id")
    opened.fresh_ms = 1
    yield opened
    opened.close()


def readable(store: KafkaStore) -> KafkaRows:
    return KafkaRows(store, StoreId(FLOW, 0))


def test_the_last_to_take_a_store_changes_it(store: KafkaStore) -> None:
    """What a former holder has still in hand is dropped: the new one reads it from the changelog."""
    old = store.take("owned")
    old.apply([(row_prefix(FLOW) + b"a", b"1")], 5)
    new = store.take("restored")
    old.apply([(row_prefix(FLOW) + b"a", b"0")], 3)
    old.restore([(row_prefix(FLOW) + b"a", b"0")], 3, logged=True)
    assert (readable(store).get(b"a"), store.position) == (b"1", 5)
    new.restore([(row_prefix(FLOW) + b"a", b"2")], 9, logged=False)
    assert (readable(store).get(b"a"), store.position, new.restored) == (b"2", 9, 1)
    old.release()
    assert new.is_held


def test_unlogged_rows_are_there_after_closing(store: KafkaStore) -> None:
    """And a logged write after them never survives them."""
    lease = store.take("restored")
    lease.restore(rows(1), 200, logged=False)
    lease.apply([(row_prefix(FLOW) + b"b", b"2")], 201)
    lease.restore([(row_prefix(FLOW) + b"c", b"3")], 202, logged=False)
    store.close()
    again = open_store(store.path, "id")
    again.fresh_ms = 1
    assert again.position == 202
    assert (readable(again).get(KEYS[0]), readable(again).get(b"b"), readable(again).get(b"c")) == (b"1", b"2", b"3")
    again.close()


def test_a_store_of_another_changelog_is_wiped(store: KafkaStore) -> None:
    """When it is opened, and while it is open."""
    store.apply(rows(1), 200)
    store.rename("id")
    assert store.position == 200
    store.rename("other")
    assert store.position == 0
    store.apply(rows(2), 200)
    store.close()
    again = open_store(store.path, "third")
    again.fresh_ms = 1
    assert list(readable(again).range(b"", None)) == []
    again.close()


def test_what_is_not_caught_up_is_not_shown(store: KafkaStore) -> None:
    """Nor what is damaged or closed."""
    store.apply(rows(1), 200)
    view = readable(store)
    assert view.get(KEYS[0]) == b"1"
    for end in (store.wipe, lambda: store.damaged(OSError("no disk")), store.close):
        store.fresh_ms = 1
        end()
        with pytest.raises(Unavailable):
            view.get(KEYS[0])
        with pytest.raises(Unavailable):
            view.range(b"", None)


def test_a_range_outlives_a_wipe_and_a_close(store: KafkaStore) -> None:
    """It is as of its call, and opening the store again waits until it is done."""
    store.apply(rows(1), 200)
    reading = readable(store).range(b"", None)
    next(reading)
    store.wipe()
    store.damaged(OSError("torn"))
    opening = threading.Thread(target=store.open)
    opening.start()
    assert len(list(reading)) == len(KEYS) - 1
    del reading
    opening.join(10)
    assert not opening.is_alive()
    assert (store.is_damaged, store.position) == (False, 0)


def test_readers_never_fail_otherwise(store: KafkaStore) -> None:
    """While the store is applied to, wiped, damaged and opened again: they see whole commits, or are told to come again."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        view = readable(store)
        try:
            while not stop.is_set():
                try:
                    found = [value for _, value in view.range(b"", None)]
                    assert len(set(found)) <= 1, "half a commit"
                    view.get(KEYS[7])
                except Unavailable:
                    continue
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    steps: list[Callable[[], object]] = [store.wipe, lambda: store.damaged(OSError("torn")), store.close]
    for turn in range(24):
        lease = store.take("followed")
        store.open()
        lease.restore(rows(turn), turn + 1, logged=bool(turn % 2))
        store.fresh_ms = 1
        for again in range(5):
            lease.apply(rows(1_000 + again), turn + 2)
        steps[turn % 3]()
    stop.set()
    for reader in readers:
        reader.join(30)
    assert not failures, failures


def test_another_process_is_told_apart(store: KafkaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in use by this process frees itself in a moment; one of another process never does."""

    def locked(path: str, options: object) -> None:
        raise RuntimeError(f"IO error: While lock file: {path}/LOCK: Resource temporarily unavailable")

    store.close()
    monkeypatch.setattr("streams.engine.kafka.store.Rdict", locked)
    with pytest.raises(CannotOpen, match="in use by another process"):
        store.open()


def flip(path: Path, near: float) -> Path:
    """One byte of a file of rows is another."""
    (file,) = path.glob("*.sst")
    with file.open("r+b") as opened:
        opened.seek(int(file.stat().st_size * near))
        byte = opened.read(1)
        opened.seek(-1, 1)
        opened.write(bytes((byte[0] ^ 0xFF,)))
    return file


@pytest.mark.parametrize("near", [0.05, 0.3, 0.6])
def test_a_flipped_byte_is_noticed_and_the_store_made_again(
    tmp_path: Path, near: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A range does not end early as if there were no more rows. Nothing of the store is shown from then on."""
    count = 5_000
    store = open_store(tmp_path / "0", "id")
    store.apply([(row_prefix(FLOW) + b"%06d" % n, b"%d" % n * 20) for n in range(count)], count, anchor=anchor_at(7, b"", b""))
    store.db.flush()
    store.close()
    file = flip(store.path, near)
    store = open_store(tmp_path / "0", "id")
    store.fresh_ms = 1
    view = readable(store)
    with pytest.raises(Unavailable, match=file.name):
        list(view.range(b"", None))
    assert file.name in caplog.text
    store.fresh_ms = 1  # a holder that has not noticed yet
    with pytest.raises(Unavailable):
        view.get(b"000001")
    with pytest.raises(Unavailable):
        view.range(b"", None)
    with pytest.raises(Unavailable):
        while True:  # a look-up meets it as well
            for n in range(count):
                readable(store).get(b"%06d" % n)
    store.open()
    assert (store.position, store.anchor, store.commits, store.remade, store.is_shown) == (0, None, 0, 1, False)
    store.apply(rows(1), 9)
    store.fresh_ms = 1
    assert len(list(readable(store).range(b"", None))) == len(KEYS)
    store.close()


def test_a_store_that_does_not_tell_where_it_is_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens, and the first row asked for cannot be read: what failed does not keep the directory's lock meanwhile."""
    monkeypatch.setattr("streams.engine.kafka.store._READERS_S", 0.5)
    store = open_store(tmp_path / "0", "id")
    store.apply(rows(1), 9)
    store.db.flush()
    store.close()
    flip(store.path, 0.0)
    again = open_store(tmp_path / "0", "id")
    assert (again.position, again.remade) == (0, 1)
    again.close()


def test_whoever_keeps_what_a_damaged_store_raised_does_not_keep_it_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.engine.kafka.store._READERS_S", 0.5)
    store = open_store(tmp_path / "0", "id")
    store.apply(rows(1), 200, logged=False)
    store.db.flush()
    flip(store.path, 0.0)
    kept: list[Exception] = []
    for call in (lambda: readable(store).get(KEYS[0]), lambda: list(readable(store).range(b"", None))):
        store.fresh_ms = 1
        with pytest.raises(Unavailable) as found:
            call()
        kept.append(found.value)
    store.open()
    assert (store.position, store.remade, len(kept)) == (0, 1, 2)
    store.close()


def test_where_it_is_outlives_the_process(tmp_path: Path) -> None:
    store = open_store(tmp_path / "0", "id")
    anchor = anchor_at(8, b"k", b"v")
    store.apply(rows(1), 9, anchor=anchor, commits=4)
    store.apply([], 11)
    store.close()
    again = open_store(tmp_path / "0", "id")
    assert (again.position, again.anchor, again.commits, again.remade) == (11, anchor, 4, 0)
    again.wipe("it is strange")
    assert (again.position, again.anchor, again.commits, again.remade) == (0, None, 0, 1)
    again.close()


def test_anchors_tell_records_apart() -> None:
    found = {anchor_at(1, k, v) for k in (b"", b"a", b"ab", None) for v in (b"", b"b", b"bb", None)}
    assert len(found) == 16
