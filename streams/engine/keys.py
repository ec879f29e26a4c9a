"""Keys as bytes whose order is the order of the tuples they stand for, so that a byte-ordered store ranges as a dict would.

- `str`: UTF-8 (its byte order is that of code points) and a final 00. Inside, 00 becomes 01 01 and 01 becomes 01 02: so 00
  only ever ends a part, and a shorter text sorts before all that begin with it.
- `int`: signed 64 bit, shifted to unsigned, big-endian. `date`: days since 0001-01-01, 32 bit, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from schemas.errors import BrokenInvariant

_INT = struct.Struct(">Q")
_DATE = struct.Struct(">I")
_BIAS = 1 << 63

Encode = Callable[[Sequence[Any]], bytes]
_DecodePart = Callable[[bytes, int], tuple[Any, int]]


class Unstorable(BrokenInvariant):
    """A value that no row or key can hold. It comes from an event's data, so it is that event's fault and stops no partition."""


class KeyCodec:
    """Keys of one table, all under `head`. Built once: `encode` and `decode` know the types and ask no more.

    `types`: each `str`, `int` or `date`. Raises `BrokenInvariant` for any other.
    """

    __slots__ = ("_decode_parts", "_encode_parts", "_head", "decode", "encode")

    def __init__(self, head: bytes, types: Sequence[type[Any]]) -> None:
        if not types or (unknown := [t for t in types if t not in _PARTS]):
            raise BrokenInvariant(f"a key is made of str, int and date parts, not of {unknown if types else 'nothing'}")
        self._head = head
        self._encode_parts = tuple(_PARTS[t][0] for t in types)
        self._decode_parts = tuple(_PARTS[t][1] for t in types)
        self.encode: Callable[[tuple[Any, ...]], bytes] = _encoder(head, types)
        self.decode: Callable[[bytes], tuple[Any, ...]] = self._decode_texts if set(types) == {str} else self._decode

    def prefix(self, parts: tuple[Any, ...]) -> bytes:
        """What all keys that start with `parts` start with; the least of them, and of keys above `parts`."""
        if len(parts) > len(self._encode_parts):
            raise BrokenInvariant(f"{parts!r} has more parts than the table's key, which has {len(self._encode_parts)}")
        return self._head + b"".join([encode(part) for encode, part in zip(self._encode_parts, parts, strict=False)])

    def _decode(self, data: bytes) -> tuple[Any, ...]:
        at = len(self._head)
        key = []
        for decode in self._decode_parts:
            part, at = decode(data, at)
            key.append(part)
        return tuple(key)

    def _decode_texts(self, data: bytes) -> tuple[Any, ...]:
        if b"\1" in data:
            return self._decode(data)
        return tuple(data[len(self._head) : -1].decode().split("\0"))


def after(prefix: bytes) -> bytes | None:
    """The least bytes above all that start with `prefix`; none if there are none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def _encode_text(text: str) -> bytes:
    return text.encode().replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0"


def _decode_text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].replace(b"\1\1", b"\0").replace(b"\1\2", b"\1").decode(), end + 1


def _encode_int(number: int) -> bytes:
    try:
        return _INT.pack(number + _BIAS)
    except struct.error:
        raise Unstorable(f"{number} is not a key part: it does not fit in 64 bits") from None


def _decode_int(data: bytes, at: int) -> tuple[int, int]:
    return _INT.unpack_from(data, at)[0] - _BIAS, at + 8


def _encode_date(day: date) -> bytes:
    return _DATE.pack(day.toordinal())


def _decode_date(data: bytes, at: int) -> tuple[date, int]:
    return date.fromordinal(_DATE.unpack_from(data, at)[0]), at + 4


_PARTS: dict[Any, tuple[Callable[[Any], bytes], _DecodePart]] = {
    str: (_encode_text, _decode_text),
    int: (_encode_int, _decode_int),
    date: (_encode_date, _decode_date),
}


def _encoder(head: bytes, types: Sequence[type[Any]]) -> Encode:
    """Text parts are encoded in one go, joined: most keys are nothing else, or start with several."""
    size = len(types)
    texts = next((at for at, part in enumerate(types) if part is not str), size)
    rest = [(at, _PARTS[types[at]][0]) for at in range(texts, size)]
    ends, start, join = texts - 1, slice(0, texts), "\0".join

    def encode_texts(key: Sequence[Any]) -> bytes:
        if len(key) != size:
            raise wrong(key)
        data = join(key).encode()
        if data.count(b"\0") != ends or b"\1" in data:
            return head + b"".join([_encode_text(text) for text in key])
        return head + data + b"\0"

    def encode_mixed(key: Sequence[Any]) -> bytes:
        if len(key) != size:
            raise wrong(key)
        data = head
        if texts:
            data += join(key[start]).encode() + b"\0"
            if data.count(b"\0", len(head)) != texts or b"\1" in data:
                data = head + b"".join([_encode_text(text) for text in key[start]])
        for at, encode_part in rest:
            data += encode_part(key[at])
        return data

    def wrong(key: Sequence[Any]) -> BrokenInvariant:
        return BrokenInvariant(f"{key!r} is not a key of this table: it needs {size} parts")

    return encode_mixed if rest else encode_texts
