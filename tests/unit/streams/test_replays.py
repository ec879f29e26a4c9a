"""Dead letters fed again: each once, whoever asks and however often, however long the history, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.api.ports import Invalid, NotKnown
from schemas import topics
from schemas.inventory import StockReceived, SuspicionCleared
from schemas.operations import DeadLetter, LetterReplayed
from schemas.records import Record, Translation
from streams.commands.replay import ALL, Replays, replay
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.flow import Translator
from streams.engine.limits import Limits
from streams.engine.log import Outgoing, TopicPartition, Unavailable
from streams.engine.memory.log import MemoryLog
from tests.support.toy_flows import CODEC, drain, fates, new_log, new_worker, raw, received, sent, toy_translator

DAY_MS = 86_400_000


def again(log: Any, what: str = ALL, person: str = "ada") -> list[str]:
    return replay(Replays(log, CODEC, lambda: 9), None, what, person).ids


def translating(log: Any, limits: Limits | None = None, *flows: Translator) -> dict[str, int]:
    worker = new_worker(log, flows or [toy_translator()], limits=limits)
    drain(worker)
    found = fates(worker)
    worker.close()
    return found


def lenient() -> Translator:
    """The next version understands everything."""
    return Translator("translate.wms", [topics.RAW_WMS], lambda record: Translation([received("SKU-1", f"W-{record.offset}")]))


def test_a_letter_is_fed_again_once_and_that_is_a_fact_in_the_log() -> None:
    log = new_log([raw(b"junk", (("own", b"header"),))])
    translating(log)
    assert again(log) == ["raw.wms/0/0"]
    assert again(log) == []
    (fact,) = sent(log, LetterReplayed)
    assert (fact.dead_letter_id, fact.person) == ("raw.wms/0/0", "ada")
    with pytest.raises(Invalid, match="was fed again already"):
        again(log, "raw.wms/0/0")
    (_, record) = log.read(TopicPartition("raw.wms", 0), 0, 9)
    assert record.value == b"junk"
    assert dict(record.headers)["own"] == b"header"
    assert translating(log, None, lenient()) == {"inputs": 2, "applied": 1, "dead_lettered": 1}
    assert [e.dead_letter_id for e in sent(log, SuspicionCleared)] == ["raw.wms/0/0"]


def test_what_nobody_knows_is_refused() -> None:
    log = new_log()
    with pytest.raises(NotKnown, match=r"no exception or dead letter 'raw.wms/0/7'"):
        again(log, "raw.wms/0/7")
    assert again(log) == []


def test_letters_of_one_cause_are_fed_and_no_others() -> None:
    log = new_log([raw(b"junk"), raw(b'{"sequence": 1, "item": "\\ud800"}')])
    translating(log)
    found = Replays(log, CODEC, lambda: 9).many("dead-letter:translate.wms:bytes-are-no-json", "ada")
    assert found is not None
    assert found.ids == ["raw.wms/0/0"]


@pytest.mark.parametrize("weeks", [6])
def test_replaying_all_each_week_does_not_double_what_raw_retention_has_trimmed(tmp_path: Path, weeks: int) -> None:
    """Refused again each time: one letter more a week, whatever is left of the raw messages."""
    log = EmbeddedLog(tmp_path)
    log.create(topics.DEFINED)
    log.append([raw(b"junk")])
    translating(log)
    counts = []
    for week in range(1, weeks + 1):
        assert len(again(log)) == 1
        assert again(log) == []
        translating(log)
        while log.trim(time.time_ns() // 1_000_000 + 8 * DAY_MS * week):
            pass
        counts.append(len(sent(log, DeadLetter)))
    assert log.bounds(TopicPartition("raw.wms", 0))[0] > 0
    assert counts == [week + 1 for week in range(1, weeks + 1)]
    again(log)
    translating(log, None, lenient())
    assert again(log) == []
    assert len(sent(log, StockReceived)) == 1
    log.close()


@pytest.mark.parametrize("is_shared", [True, False])
def test_two_callers_at_once_feed_each_letter_once(tmp_path: Path, is_shared: bool) -> None:
    """In one process they wait for each other; of two processes' copies the flow takes the first."""
    log = EmbeddedLog(tmp_path)
    log.create(topics.DEFINED)
    log.append([raw(b"junk %d" % n) for n in range(50)])
    translating(log)
    one = Replays(log, CODEC, lambda: 9)
    callers = [one, one] if is_shared else [one, Replays(log, CODEC, lambda: 9)]
    start = threading.Barrier(2)
    found: list[list[str]] = []

    def call(replays: Replays) -> None:
        start.wait()
        found.append(replay(replays, None, ALL, "ada").ids)

    threads = [threading.Thread(target=call, args=(replays,)) for replays in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if is_shared:
        assert sorted(map(len, found)) == [0, 50]
    translating(log, None, lenient())
    assert len(sent(log, StockReceived)) == 50
    assert len({e.event_id for e in sent(log, StockReceived)}) == 50
    log.close()


def test_another_copy_of_a_letter_is_a_duplicate_also_after_a_restart() -> None:
    log = new_log([raw(b"junk")])
    translating(log)
    Replays(log, CODEC, lambda: 9).one("raw.wms/0/0", "ada")
    (_, record) = log.read(TopicPartition("raw.wms", 0), 0, 9)
    log.append([Outgoing("raw.wms", 0, None, record.value, record.headers)])
    assert translating(log, None, lenient()) == {"inputs": 3, "applied": 1, "duplicate": 1, "dead_lettered": 1}
    log.append([Outgoing("raw.wms", 0, None, record.value, record.headers)])
    assert translating(log.reopen(), None, lenient())["duplicate"] == 2


class Failing:
    """A log whose second write of a call fails: the fact is not written."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.left = 1

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        if not self.left:
            raise Unavailable("it has gone")
        self.left -= 1
        return self._log.append(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def test_who_dies_before_the_fact_is_written_loses_and_doubles_nothing() -> None:
    log = new_log([raw(b"junk")])
    translating(log)
    with pytest.raises(Exception, match="it has gone"):
        again(Failing(log))
    assert again(log) == ["raw.wms/0/0"]
    translating(log, None, lenient())
    assert len(sent(log, StockReceived)) == 1


def test_a_letter_that_refers_to_its_record_is_fed_from_there() -> None:
    body = b"junk" * 100
    log = new_log([raw(body, (("own", b"header"),))])
    translating(log, Limits(letter_bytes=100))
    assert sent(log, DeadLetter)[0].value is None
    assert again(log) == ["raw.wms/0/0"]
    (_, record) = log.read(TopicPartition("raw.wms", 0), 0, 9)
    assert (record.value, dict(record.headers)["own"]) == (body, b"header")


def test_a_record_that_is_no_longer_there_is_told(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path)
    log.create(topics.DEFINED)
    log.append([raw(b"junk" * 100), raw(b"small junk")])
    translating(log, Limits(letter_bytes=100))
    while log.trim(time.time_ns() // 1_000_000 + 8 * DAY_MS):
        pass
    found = Replays(log, CODEC, lambda: 9).many(ALL, "ada")
    assert found is not None
    assert (found.ids, found.gone) == (["raw.wms/0/1"], ["raw.wms/0/0"])
    with pytest.raises(Invalid, match="no longer in the log"):
        again(log, "raw.wms/0/0")
    log.close()


def test_one_request_feeds_so_many_and_says_that_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.commands.replay.MOST", 7)
    monkeypatch.setattr("streams.commands.replay.CHUNK_LETTERS", 3)
    log = new_log([raw(b"junk %d" % n) for n in range(10)])
    translating(log)
    replays = Replays(log, CODEC, lambda: 9)
    first, second = replays.many(ALL, ""), replays.many(ALL, "")
    assert first is not None
    assert second is not None
    assert (len(first.ids), first.is_more) == (7, True)
    assert (len(second.ids), second.is_more) == (3, False)
    assert len(log.read(TopicPartition("raw.wms", 0), 0, 99)) == 20


def test_what_is_refused_again_meanwhile_is_no_part_of_the_request() -> None:
    """A crossdock that runs refuses it at once: the request still ends."""
    log = new_log([raw(b"junk %d" % n) for n in range(5)])
    translating(log)

    class Running(Failing):
        def append(self, records: Sequence[Outgoing]) -> list[int]:
            offsets = log.append(records)
            translating(log)
            return offsets

    assert len(again(Running(log))) == 5
    assert len(sent(log, DeadLetter)) == 10


def test_large_letters_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.commands.replay.PAGE_BYTES", 4_000)
    log = new_log([raw(b"junk" * 500 + b"%d" % n) for n in range(40)])
    translating(log)
    limits: list[int] = []

    class Seen(Failing):
        def read(self, at: TopicPartition, offset: int, limit: int) -> list[Record]:
            limits.append(limit)
            return log.read(at, offset, limit)

        def append(self, records: Sequence[Outgoing]) -> list[int]:
            return log.append(records)

    assert len(again(Seen(log))) == 40
    assert limits[0] == 16
    assert max(limits[3:]) <= 2
