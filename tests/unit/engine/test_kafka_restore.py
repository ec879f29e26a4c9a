"""Catching up by whole commits, with messages as the consumer hands them out."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Message

from streams.engine.kafka.commits import MARK_KEY, Mark
from streams.engine.kafka.restore import CatchUp
from streams.engine.kafka.store import Lease, open_store
from streams.engine.log import Unavailable
from streams.engine.scans import scan_items


class Said:
    """A message, as far as it is looked at."""

    def __init__(
        self, partition: int, offset: int, key: bytes | None = None, error: int | None = None, value: bytes | None = b"v"
    ) -> None:
        self._what = (partition, offset, key, error)
        self._value = value

    def partition(self) -> int:
        return self._what[0]

    def offset(self) -> int:
        return self._what[1]

    def key(self) -> bytes | None:
        return self._what[2]

    def value(self) -> bytes | None:
        return self._value

    def topic(self) -> str:
        return "t"

    def error(self) -> Any:
        code = self._what[3]
        return None if code is None else KafkaError(code)


def said(partition: int, *offsets: int) -> list[Message]:
    return [cast(Message, Said(partition, offset, b"%d" % offset)) for offset in offsets]


def mark(partition: int, offset: int, number: int, records: int) -> list[Message]:
    """The end of a commit."""
    packed = Mark(number, records, b"%08d" % offset).packed()
    return [cast(Message, Said(partition, offset, MARK_KEY, value=packed))]


def commit(partition: int, first: int, rows: int, number: int) -> list[Message]:
    """A whole one, from an offset on."""
    return [*said(partition, *range(first, first + rows)), *mark(partition, first + rows, number, rows + 1)]


def end(partition: int, offset: int) -> list[Message]:
    return [cast(Message, Said(partition, offset, error=KafkaError._PARTITION_EOF))]


def unknown(index: int) -> int:
    return -1


@pytest.fixture
def leases(tmp_path: Path) -> dict[int, Lease]:
    """Followed, and shown."""
    found = {index: open_store(tmp_path / str(index), "id").take("followed") for index in range(2)}
    for lease in found.values():
        lease.store.fresh_ms = 1
    return found


def reached(lease: Lease) -> tuple[int, int]:
    return lease.store.position, lease.store.commits


def test_half_a_commit_is_held_back(leases: dict[int, Lease]) -> None:
    """A commit is over at its mark, whatever gaps there are in its offsets."""
    catch_up = CatchUp(leases)
    catch_up.take(said(0, 0, 1), unknown)
    assert reached(leases[0]) == (0, 0)
    catch_up.take([*said(0, 2), *mark(0, 3, 1, 4), *said(0, 9, 11)], unknown)
    assert reached(leases[0]) == (4, 1)
    assert leases[0].restored == 3
    assert leases[0].store.db.get(b"2") == b"v"
    assert leases[0].store.db.get(b"9") is None
    catch_up.take(mark(0, 12, 2, 3), unknown)
    assert reached(leases[0]) == (13, 2)
    assert leases[0].store.is_shown


@pytest.mark.parametrize(
    "read",
    [
        [*said(0, 1), *mark(0, 2, 1, 4)],
        [*mark(0, 3, 1, 4)],
        [*said(0, 0, 1, 2), *mark(0, 3, 2, 4)],
        [*said(0, 0, 1, 2), *mark(0, 9, 7, 4)],
        [*commit(0, 0, 2, 1), *said(0, 7), *mark(0, 8, 2, 3)],
    ],
    ids=["a row gone", "all rows gone", "a commit gone", "marks gone", "the second one"],
)
def test_what_was_compacted_is_shown_only_at_the_end(leases: dict[int, Lease], read: list[Message]) -> None:
    """Its records were replaced by later ones: no state before those was ever committed."""
    catch_up = CatchUp(leases)
    catch_up.take(read, unknown)
    assert not leases[0].store.is_shown
    catch_up.take(said(0, 20), unknown)
    assert leases[0].store.position == 21, "what nobody sees is not held back"
    catch_up.take([*mark(0, 21, 9, 2), *end(0, 23)], unknown)
    assert reached(leases[0]) == (23, 9)
    leases[0].store.fresh_ms = 2  # its holder has been told that it is at the end
    catch_up.take(commit(0, 23, 3, 10), unknown)
    assert reached(leases[0]) == (27, 10)
    assert leases[0].store.is_shown


def test_a_commit_too_large_to_hold_back_hides_the_store(leases: dict[int, Lease], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.engine.kafka.restore._MOST_HELD", 5)
    catch_up = CatchUp(leases)
    catch_up.take(said(0, *range(5)), unknown)
    assert leases[0].store.is_shown
    catch_up.take(said(0, 5), unknown)
    assert not leases[0].store.is_shown
    assert leases[0].store.position == 6


def test_a_single_offset_more_is_the_transactions_mark(leases: dict[int, Lease]) -> None:
    """Whatever follows a commit's last record in the log, that comes first."""
    catch_up = CatchUp(leases)
    catch_up.take(said(0, 0, 1), lambda index: 5)
    assert leases[0].store.position == 0
    assert catch_up.take([*said(0, 2), *mark(0, 3, 1, 4)], lambda index: 5) == {0: 5}
    assert (leases[0].store.position, leases[0].restored) == (5, 3)


def test_at_the_end_everything_is_whole(leases: dict[int, Lease]) -> None:
    """What is committed ends where no transaction is open; partitions do not wait for each other."""
    catch_up = CatchUp(leases)
    assert catch_up.take([*commit(1, 0, 2, 1), *said(0, 0), *end(1, 4)], unknown) == {1: 4}
    assert (leases[1].store.position, leases[1].restored) == (4, 2)
    assert leases[0].store.position == 0
    assert catch_up.take([*mark(0, 1, 1, 2), *end(0, 3)], unknown) == {0: 3}
    assert (leases[0].store.position, leases[0].restored) == (3, 1)


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


def test_the_last_record_in_the_store_is_proved_to_be_in_the_changelog(leases: dict[int, Lease]) -> None:
    """It is read first, and not counted again."""
    catch_up = CatchUp(leases)
    assert catch_up.start(0) is None
    catch_up.take([*commit(0, 0, 2, 1), *end(0, 4)], unknown)
    assert catch_up.start(0) == 2
    assert not catch_up.is_proved(0)
    catch_up.take(end(0, 2), unknown)  # the brokers have not decided on it yet
    assert (catch_up.is_proved(0), catch_up.strange) == (False, set())
    catch_up.take([*mark(0, 2, 1, 3), *commit(0, 4, 1, 2)], unknown)
    assert catch_up.is_proved(0)
    assert (reached(leases[0]), leases[0].restored) == ((6, 2), 3)


@pytest.mark.parametrize(
    "read",
    [
        [cast(Message, Said(0, 2, MARK_KEY, value=Mark(1, 3, b"othertok").packed()))],
        [*said(0, 2), *end(0, 9)],
        commit(0, 7, 2, 5),
        commit(0, 0, 3, 1),
        end(0, 9),
    ],
    ids=["another commit", "a row", "only later ones", "only earlier ones", "nothing"],
)
def test_a_changelog_that_lost_its_end_and_grew_past_it_is_noticed(leases: dict[int, Lease], read: list[Message]) -> None:
    """Whatever is where the last record in the store was: nothing of it is applied."""
    catch_up = CatchUp(leases)
    catch_up.take([*commit(0, 0, 2, 1), *end(0, 4)], unknown)
    catch_up.start(0)
    assert catch_up.take(read, unknown) == {}
    assert catch_up.strange == {0}
    assert reached(leases[0]) == (4, 1)
    catch_up.forget(0)
    leases[0].wipe("it is strange")
    assert (reached(leases[0]), leases[0].store.remade, leases[0].store.is_shown) == ((0, 0), 1, False)
    assert catch_up.start(0) is None


class Changelog:
    """A compacted partition as a reader sees it: commits of a few keys, in the end rewritten by a cleaner."""

    def __init__(self, dice: Random, commits: int) -> None:
        self.records: list[tuple[int, bytes, bytes]] = []
        self.states: list[dict[bytes, bytes]] = [{}]
        offset = 0
        for number in range(1, commits + 1):
            rows = {b"%d" % dice.randrange(8): b"%d" % number for _ in range(dice.randint(1, 5))}
            for key, value in rows.items():
                self.records.append((offset, key, value))
                offset += 1
            self.records.append((offset, MARK_KEY, Mark(number, len(rows) + 1, dice.randbytes(8)).packed()))
            offset += 2 + 3 * (dice.random() < 0.2)  # its transaction's mark, and perhaps a transaction that was aborted
            self.states.append(self.states[-1] | rows)
        self.end = offset

    def clean(self, until: int) -> None:
        """Below an offset, which may be within a commit, each key's last record is left."""
        last = {key: offset for offset, key, _ in self.records if offset < until}
        self.records = [one for one in self.records if one[0] >= until or last[one[1]] == one[0]]

    def after(self, offset: int, count: int) -> list[Message]:
        found = [cast(Message, Said(0, at, key, value=value)) for at, key, value in self.records if at >= offset][:count]
        return found if found else end(0, self.end)


@pytest.mark.parametrize("seed", range(60))
def test_no_reader_sees_half_a_commit_whenever_it_is_compacted(seed: int, tmp_path: Path) -> None:
    dice = Random(seed)
    changelog = Changelog(dice, 30)
    leases = {0: open_store(tmp_path / "0", "id").take("followed")}
    store = leases[0].store
    catch_up = CatchUp(leases)
    store.fresh_ms = 1  # as a follower's that was at the end while there was nothing
    shown = at = 0
    for _ in range(400):
        if dice.random() < 0.1:
            changelog.clean(dice.randrange(changelog.end))
        messages = changelog.after(at, dice.randint(1, 6))
        for index, offset in catch_up.take(messages, unknown).items():
            assert (index, offset) == (0, changelog.end)
            store.fresh_ms = 1
        at = max(at, *((message.offset() or 0) + 1 for message in messages if message.error() is None), 0)
        if store.is_shown:
            shown += 1
            found = {key: value for key, value in scan_items(store.db, b"0", b"9") if key != MARK_KEY}
            assert found == changelog.states[store.commits]
        if store.is_shown and store.commits == 30:
            break
    assert shown
    assert store.commits == 30
    store.close()


def test_an_error_that_time_does_not_heal_is_raised(leases: dict[int, Lease]) -> None:
    denied = [cast(Message, Said(0, 0, error=KafkaError.TOPIC_AUTHORIZATION_FAILED))]
    with pytest.raises(Unavailable):
        CatchUp(leases).take(denied, unknown)
