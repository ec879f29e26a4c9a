"""How the embedded log keeps a record: `offset, timestamp, key length, flags, [headers], key, value`.

The offset is repeated in the value so that a scan needs values only and one unpack a record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from schemas.records import Headers, Record
from streams.engine.log import Outgoing

_HEAD = struct.Struct("<qqiB")
_COUNT = struct.Struct("<IH")
_PAIR = struct.Struct("<HI")
_NO_KEY = -1
_NO_VALUE = 1
_HAS_HEADERS = 2

pack_head = _HEAD.pack
"""`pack_head(offset, timestamp_ms, key_length, flags) + body` is a record."""


class Body(NamedTuple):
    """What can be encoded before the offset is known."""

    key_length: int
    flags: int
    body: bytes


def encode_body(record: Outgoing) -> Body:
    """Everything of a record but offset and time. Raises `TypeError` for anything but bytes."""
    key, value, headers = record.key, record.value, record.headers
    flags = 0
    parts = []
    if headers:
        flags = _HAS_HEADERS
        parts.append(_encode_headers(headers))
    if key is not None:
        parts.append(key)
    if value is None:
        flags |= _NO_VALUE
    else:
        parts.append(value)
    return Body(_NO_KEY if key is None else len(key), flags, b"".join(parts))


def decode(topic: str, partition: int, raw: bytes) -> Record:
    """One record."""
    offset, timestamp_ms, key_length, flags = _HEAD.unpack_from(raw)
    start = _HEAD.size
    headers: Headers = ()
    if flags & _HAS_HEADERS:
        headers, start = _decode_headers(raw, start)
    key = None
    if key_length != _NO_KEY:
        key = raw[start : start + key_length]
        start += key_length
    return Record(topic, partition, offset, timestamp_ms, key, None if flags & _NO_VALUE else raw[start:], headers)


def decode_run(topic: str, partition: int, raws: Iterable[bytes], limit: int, max_bytes: int) -> tuple[list[Record], int]:
    """The first records of a scan: at most `limit`, and no further one once `max_bytes` are reached; and what is left of those.

    The plain case (a key, a value, no headers) is spelled out: this loop is what reading a log costs.
    """
    found: list[Record] = []
    append, unpack, start = found.append, _HEAD.unpack_from, _HEAD.size
    for raw in raws:
        offset, timestamp_ms, key_length, flags = unpack(raw)
        if flags or key_length < 0:
            append(decode(topic, partition, raw))
        else:
            middle = start + key_length
            append(Record(topic, partition, offset, timestamp_ms, raw[start:middle], raw[middle:], ()))
        limit -= 1
        max_bytes -= len(raw)
        if limit <= 0 or max_bytes <= 0:
            break
    return found, max_bytes


def offset_of(raw: bytes) -> int:
    """Where a record is in its partition."""
    offset: int = _HEAD.unpack_from(raw)[0]
    return offset


def timestamp_of(raw: bytes) -> int:
    """When the log took a record."""
    timestamp_ms: int = _HEAD.unpack_from(raw)[1]
    return timestamp_ms


def _encode_headers(headers: Headers) -> bytes:
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_PAIR.pack(len(encoded), len(value)), encoded, value)
    block = b"".join(parts)
    return _COUNT.pack(len(block), len(headers)) + block


def _decode_headers(raw: bytes, start: int) -> tuple[Headers, int]:
    length, count = _COUNT.unpack_from(raw, start)
    at = start + _COUNT.size
    headers = []
    for _ in range(count):
        name_length, value_length = _PAIR.unpack_from(raw, at)
        at += _PAIR.size
        middle = at + name_length
        headers.append((raw[at:middle].decode(), raw[middle : middle + value_length]))
        at = middle + value_length
    return tuple(headers), start + _COUNT.size + length
