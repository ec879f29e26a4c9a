"""Files of raw messages: dumps, NDJSON, arrays, zipped or not; what is wrong is said with its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Record
from schemas.topics import DEFINED, raw_channel
from streams.commands.file_ingest import BadInput, MessageRouter, ingest_file, messages_of, read_dump
from streams.engine.log import TopicPartition
from streams.engine.memory.log import MemoryLog

CHANNELS = ("web", "edi")


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog(clock_ms=lambda: 1_000)
    made.create([*DEFINED, *(raw_channel(name) for name in CHANNELS)])
    return made


def records(log: MemoryLog, topic: str) -> list[Record]:
    return [r for p in range(log.partitions(topic)) for r in log.read(TopicPartition(topic, p), 0, 1_000)]


def line(topic: str = "erp.public.item", **changed: Any) -> dict[str, Any]:
    found = {"topic": topic, "partition": 2, "offset": 0, "timestamp_ms": 5, "key": {"item_no": "A"}, "value": {"op": "c"}}
    return found | {"headers": [["a", "text"], ["b", {"k": 1}]]} | changed


def write(path: Path, *lines: Any, opener: Callable[[Path], Any] = lambda path: path.open("wb")) -> Path:
    with opener(path) as out:
        out.writelines((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)
    return path


def gzipped(path: Path) -> Any:
    return gzip.open(path, "wb")


@pytest.mark.parametrize("opener", [lambda path: path.open("wb"), gzipped], ids=["plain", "gzip"])
def test_a_dump(log: MemoryLog, tmp_path: Path, opener: Callable[[Path], Any]) -> None:
    """Topic by name, partition kept, bytes as they stand (numbers too), text as itself, null as null."""
    path = write(
        tmp_path / "dump",
        b'{"topic":"erp.public.item","partition":5,"key":{"item_no":"A"},"value":{"n": 12.500, "big": 123456789012345678901}}',
        b"",
        line("legacy.dbo.item", value=None, partition=5),
        line("erp.transaction", key="text key", value="text", headers=None),
        opener=opener,
    )
    told: list[tuple[int, int]] = []
    report = ingest_file(log, path, "erp", lambda done, total: told.append((done, total)))
    first, tombstone = records(log, "raw.erp.item")
    assert (first.partition, first.key, first.timestamp_ms) == (2, b'{"item_no":"A"}', 1_000)
    assert first.value == b'{"n": 12.500, "big": 123456789012345678901}'
    assert (tombstone.partition, tombstone.value) == (2, None)
    assert tombstone.headers == (("a", b'"text"'), ("b", b'{"k": 1}'))
    (other,) = records(log, "raw.erp.other")
    assert (other.key, other.value, other.headers) == (b"text key", b"text", ())
    assert dict(report.topics) == {"raw.erp.item": 2, "raw.erp.other": 1}
    assert (report.records, report.bytes_read) == (3, path.stat().st_size)
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert [r.topic for r in read_dump(path)] == ["erp.public.item", "legacy.dbo.item", "erp.transaction"]


def test_a_dump_without_partitions_keeps_keys_together(log: MemoryLog) -> None:
    intake = MessageRouter(log)
    placed = {}
    for key in "ABCDEFGH":
        body = json.dumps({"topic": "erp.public.item", "key": {"item_no": key}, "value": {}}).encode()
        placed[key] = intake.outgoing("erp", body).partition
        assert intake.outgoing("erp", body).partition == placed[key]
    assert len(set(placed.values())) > 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"nonsense", "line 2: not a Kafka record"),
        (b'{"event_id":"W-1"}', "missing required field `topic`"),
        (b'{"topic":"erp.public.item"}', "missing required field `value`"),
        (b'{"topic":5,"value":null}', "Expected `str`"),
        (b'{"topic":"erp.public.item","value":"\\ud800"}', "line 2"),
        (b"[1]", "not a Kafka record"),
        (b'{"topic":"a","value":' + b"[" * 100_000, "line 2: not a Kafka record"),
    ],
)
def test_a_file_that_is_no_dump(log: MemoryLog, tmp_path: Path, bad: bytes, words: str) -> None:
    path = write(tmp_path / "dump.jsonl", line(), bad)
    with pytest.raises(BadInput, match=r"dump\.jsonl") as caught:
        ingest_file(log, path, "erp")
    assert words in str(caught.value)


def test_what_came_before_the_bad_line_is_in_the_log(log: MemoryLog, tmp_path: Path) -> None:
    path = write(tmp_path / "dump.jsonl", *([line()] * 1_500), b"nonsense")
    with pytest.raises(BadInput, match=r"line 1501.*1000 records before it are in the log"):
        ingest_file(log, path, "erp")
    assert len(records(log, "raw.erp.item")) == 1_000


def test_a_gzip_cut_short(log: MemoryLog, tmp_path: Path) -> None:
    path = write(tmp_path / "dump.gz", *(line(offset=n) for n in range(3_000)), opener=gzipped)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cannot be read to its end"):
        ingest_file(log, path, "erp")
    with pytest.raises(BadInput, match="cannot be read to its end"):
        list(read_dump(path))


def test_a_file_that_is_not_there(log: MemoryLog, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        ingest_file(log, tmp_path / "nowhere", "erp")


@pytest.mark.parametrize("body", [b'{"event_id":"W-1"}\n\n{"event_id": "W-2"}\n', b'[{"event_id":"W-1"},\n {"event_id": "W-2"}]'])
def test_plain_messages(log: MemoryLog, tmp_path: Path, body: bytes) -> None:
    """NDJSON or one array: each message as it stands."""
    path = tmp_path / "wms.json"
    path.write_bytes(body)
    assert ingest_file(log, path, "wms").records == 2
    assert [r.value for r in records(log, "raw.wms")] == [b'{"event_id":"W-1"}', b'{"event_id": "W-2"}']
    assert [message for _, message in messages_of(path, "wms")] == [b'{"event_id":"W-1"}', b'{"event_id": "W-2"}']


def test_a_dump_of_plain_messages(log: MemoryLog, tmp_path: Path) -> None:
    path = write(tmp_path / "dump", line("warehouse.events", value={"event_id": "W-1"}))
    ingest_file(log, path, "wms")
    assert [r.value for r in records(log, "raw.wms")] == [b'{"event_id": "W-1"}']


def test_a_bad_message_inside_is_kept_for_the_translator(log: MemoryLog, tmp_path: Path) -> None:
    """It is not lost: its translator puts it in quarantine with its bytes."""
    ingest_file(log, write(tmp_path / "wms", b'{"event_id":"W-1"}', b"\xff broken"), "wms")
    assert records(log, "raw.wms")[1].value == b"\xff broken"


@pytest.mark.parametrize("body", [b"hello\n", b"[1, 2", b"\x00\x01\n", b'{\n "event_id": "W-1"\n}\n'])
def test_a_file_of_something_else(log: MemoryLog, tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "wms.json"
    path.write_bytes(body)
    with pytest.raises(BadInput, match=r"wms\.json: .*JSON"):
        ingest_file(log, path, "wms")
    assert records(log, "raw.wms") == []


def test_an_empty_file(log: MemoryLog, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert ingest_file(log, tmp_path / "empty", "erp").records == 0


@pytest.mark.parametrize(
    ("source", "message", "topic"),
    [
        ("channel", b'{"channel":"edi","external_ref":"E1"}', "raw.channel.edi"),
        ("channel", b'{"channel":" EDI "}', "raw.channel.edi"),
        ("channel", b'{"channel":"fax"}', "raw.channel.web"),
        ("channel", b'{"channel":7}', "raw.channel.web"),
        ("channel", b"broken", "raw.channel.web"),
        ("edi", b'{"channel":"web"}', "raw.channel.edi"),
        ("wms", b'{"channel":"web"}', "raw.wms"),
    ],
)
def test_topics_of_channel_messages(log: MemoryLog, source: str, message: bytes, topic: str) -> None:
    """What no channel can be read from goes to one whose translator refuses it: nothing is lost."""
    assert MessageRouter(log, CHANNELS).outgoing(source, message).topic == topic


def test_sources(log: MemoryLog, tmp_path: Path) -> None:
    assert MessageRouter(log, CHANNELS).sources() == ["erp", "wms", "crm-customers", "channel", "web", "edi"]
    assert MessageRouter(log).sources() == ["erp", "wms", "crm-customers"]
    with pytest.raises(BadInput, match="no source 'fax': the sources are erp, wms, crm-customers, channel, web, edi"):
        ingest_file(log, tmp_path / "any", "fax", channels=CHANNELS)
