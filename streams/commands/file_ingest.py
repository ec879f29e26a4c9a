"""Raw messages into the log: from a file (a dump of Kafka records, NDJSON, a JSON array; gzip or not) or handed over.

What a message means is the translators' business: here it only finds its raw topic, and its bytes stay as they came.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ParamSpec, TypeVar, cast

import msgspec

from connectors.erp.topics import raw_topic
from connectors.texts import meant
from schemas.records import Headers
from schemas.topics import RAW_CRM, RAW_WMS, raw_channel
from streams.engine.log import Log, Outgoing
from streams.engine.partitions import partition_of

ERP, WMS, CHANNEL = "erp", "wms", "channel"
CRM = "crm-customers"  # a sales channel may be called crm
_WHOLE = {WMS: RAW_WMS.name, CRM: RAW_CRM.name}
BATCH_RECORDS, BATCH_BYTES = 1_000, 4 << 20
MAX_LINE_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 256 << 20
P = ParamSpec("P")
T = TypeVar("T")
_GZIP = b"\x1f\x8b"
_NULL = msgspec.Raw(b"null")

Progress = Callable[[int, int], None]


class BadInput(Exception):
    """A file or message cannot be ingested: the sentence names it, the line, and what to do."""


class DumpRecord(msgspec.Struct):
    """One Kafka record of a dump. Key, value and header values are JSON as they stand, or text."""

    topic: str
    value: msgspec.Raw
    key: msgspec.Raw = _NULL
    partition: int = -1
    headers: list[tuple[str, msgspec.Raw]] | None = None


@dataclass(slots=True)
class IngestReport:
    """What was written: records by raw topic, bytes read from the file."""

    source: str
    topics: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0

    @property
    def records(self) -> int:
        """How many records in all."""
        return self.topics.total()


_DUMP = msgspec.json.Decoder(DumpRecord)
_TEXT = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder(msgspec.Raw)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class _Named(msgspec.Struct):
    """As much of a channel's message as says whose it is."""

    channel: str = ""
    external_ref: str = ""


_NAMED = msgspec.json.Decoder(_Named)


class MessageRouter:
    """Finds the raw topic and partition of a message. `channels`: the sales channels there are."""

    def __init__(self, log: Log, channels: Sequence[str] = ()) -> None:
        self._log = log
        self._channels = tuple(channels)

    def sources(self) -> list[str]:
        """The sources there are: `erp`, `wms`, `crm-customers`, `channel` (a message says which), each channel by its name."""
        return [ERP, WMS, CRM, *([CHANNEL, *self._channels] if self._channels else [])]

    def check(self, source: str) -> None:
        """Raises `BadInput` for a source there is not."""
        if source not in self.sources():
            there = f"there is no source {source[:100]!r}: the sources are {', '.join(self.sources())}"
            raise BadInput(f"{there}{meant(source, self.sources())}")

    def outgoing(self, source: str, message: bytes) -> Outgoing:
        """The record to write for a message. Raises `BadInput` if the source needs a Kafka record and this is none."""
        if source == ERP:
            found = _kafka_record(message)
            return self._record(raw_topic(found.topic).name, found)
        record = _kafka_record_or_none(message)
        value = message if record is None else _bytes(record.value)
        topic = _WHOLE.get(source) or raw_channel(self._channel(source, value)).name
        return Outgoing(topic, 0, None, value)

    def _record(self, topic: str, record: DumpRecord) -> Outgoing:
        """Records of one partition stay together, in their order."""
        key = _bytes(record.key)
        count = self._log.partitions(topic)
        partition = record.partition % count if record.partition >= 0 else partition_of(key or b"", count)
        headers: Headers = tuple((name, bytes(value)) for name, value in record.headers or ())
        return Outgoing(topic, partition, key, _bytes(record.value), headers)

    def _channel(self, source: str, value: bytes | None) -> str:
        """The channel a message names; one that names none goes to the first, whose translator says what is wrong with it."""
        if source != CHANNEL:
            return source
        try:
            name = _NAMED.decode(value or b"").channel.strip().lower()
        except (msgspec.DecodeError, UnicodeDecodeError):
            name = ""
        return name if name in self._channels else self._channels[0]


def _at(number: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's answer; its complaint names the line."""
    try:
        return function(*args, **kwargs)
    except BadInput as bad:
        raise BadInput(f"line {number}: {bad}") from None


def _kafka_record(message: bytes) -> DumpRecord:
    try:
        return _DUMP.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(
            f"not a Kafka record ({error}): needed is a JSON object with topic, key, value (and partition, headers)"
        ) from None


def _kafka_record_or_none(message: bytes) -> DumpRecord | None:
    try:
        return _kafka_record(message)
    except BadInput:
        return None


def _bytes(raw: msgspec.Raw) -> bytes | None:
    """JSON as it stands; text stands for itself; null is null."""
    found = bytes(raw)
    if found == b"null":
        return None
    try:
        return _TEXT.decode(found).encode() if found.startswith(b'"') else found
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadInput(f"text that cannot be read ({error})") from None


def ingest_file(
    log: Log, path: Path, source: str, progress: Progress = lambda done, total: None, channels: Sequence[str] = ()
) -> IngestReport:
    """Write a file's messages to the log, in order, batch by batch; `progress` gets (bytes done, bytes in all).

    Raises `BadInput` naming the line. What was read before it is in the log, and ingesting the file again is harmless.
    """
    intake = MessageRouter(log, channels)
    intake.check(source)
    report = IngestReport(source)
    batch: list[Outgoing] = []
    size = 0
    try:
        with path.open("rb") as raw:
            total = path.stat().st_size
            for number, message in _messages(raw, source):
                batch.append(_at(number, intake.outgoing, source, message))
                size += len(message)
                if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
                    _write(log, batch, report)
                    batch, size = [], 0
                    progress(raw.tell(), total)
            _write(log, batch, report)
            report.bytes_read = raw.tell()
            progress(total, total)
    except BadInput as bad:
        raise BadInput(f"{path}: {bad}. {report.records} records before it are in the log; ingesting again is harmless") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read to its end ({error}). {report.records} records before it are in the log") from None
    return report


def messages_of(path: Path, source: str) -> Iterator[tuple[int, bytes]]:
    """A file's messages and their line numbers, as `ingest_file` reads them. Raises `BadInput` naming the file."""
    try:
        with path.open("rb") as raw:
            yield from _messages(raw, source)
    except BadInput as bad:
        raise BadInput(f"{path}: {bad}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read to its end: {error}") from None


def read_dump(path: Path) -> Iterator[DumpRecord]:
    """The Kafka records of a dump, one a line. Raises `BadInput` naming the line."""
    try:
        with path.open("rb") as raw:
            for number, line in _lines(_unzipped(raw)):
                yield _at(number, _kafka_record, line)
    except BadInput as bad:
        raise BadInput(f"{path}: {bad}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read to its end: {error}") from None


def _write(log: Log, batch: Sequence[Outgoing], report: IngestReport) -> None:
    if batch:
        log.append(batch)
        report.topics.update(record.topic for record in batch)


def _messages(raw: IO[bytes], source: str) -> Iterator[tuple[int, bytes]]:
    """Messages and their line numbers (in a JSON array: their places)."""
    stream = _unzipped(raw)
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        return
    number, line = first
    if source != ERP and line.startswith(b"["):
        yield from _array(line + b"\n" + stream.read(MAX_DOCUMENT_BYTES + 1))
        return
    if source != ERP:
        try:
            _ANY.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(
                f"line {number} is not JSON ({error}): needed is one message a line, or one array of messages"
            ) from None
    yield first
    yield from lines


def _array(document: bytes) -> Iterator[tuple[int, bytes]]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise BadInput(f"the array is longer than {MAX_DOCUMENT_BYTES} bytes: put one message on a line instead")
    try:
        found = _ARRAY.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"not a JSON array of messages: {error}") from None
    yield from ((number, bytes(message)) for number, message in enumerate(found, 1))


def _unzipped(raw: IO[bytes]) -> IO[bytes]:
    head = raw.read(len(_GZIP))
    raw.seek(0)
    return cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if head == _GZIP else raw


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise BadInput(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
        if stripped := line.strip():
            yield number, stripped
