"""Avro's binary primitives, as the generated code of `schemas.avro_code` calls them.

Readers are given the data and where to begin, and say where they ended. None checks that the data reaches as far as a
length says: a place behind the end shows as an `IndexError` at the next read, or at the last in where the record ends.
"""

from __future__ import annotations

from datetime import date
from decimal import Context, Decimal

EPOCH = date(1970, 1, 1).toordinal()
PRECISION, SCALE = 38, 9
_BITS_64 = 1 << 64
_UPPERS = 4_096
_CONTEXT = Context(prec=PRECISION)


def varint(z: int) -> bytes:
    """A number from 0 up, seven bits a byte, lowest first."""
    out = bytearray()
    while z > 127:
        out.append(z & 127 | 128)
        z >>= 7
    out.append(z)
    return bytes(out)


_SHORT = tuple(varint(z) for z in range(1 << 14))
_LOWER = tuple(bytes((z & 127 | 128, z >> 7 | 128)) for z in range(1 << 14))  # two bytes that more bytes follow
NUMBERS = _SHORT[::2] + _SHORT[::-2]
"""The longs from -8192 to 8191, each at its own index (Python counts negative ones from the end)."""
SOME = tuple(b"\x02" + n for n in NUMBERS[:256])
"""The lengths up to 255 of a text that could have been none."""

SMALL = tuple(z >> 1 ^ -(z & 1) for z in range(128))
"""What a long of one byte means."""
STEPS = tuple((z >> 1) + 1 if z < 128 and z & 1 == 0 else 0 for z in range(256))
"""How many bytes a text takes with its length, by the length's byte; 0 where one byte does not say it."""


def number(n: int) -> bytes:
    """A long. Raises `OverflowError` for more than 64 bits, `TypeError` for what is not an integer."""
    z = n << 1 if n >= 0 else ~(n << 1)
    if z < 1 << 14:
        return _SHORT[z]
    if z < 1 << 28:
        return _LOWER[z & 16383] + _SHORT[z >> 14]
    if z < 1 << 42:
        return _LOWER[z & 16383] + _LOWER[z >> 14 & 16383] + _SHORT[z >> 28]
    if z >= _BITS_64:
        raise OverflowError("an integer of more than 64 bits")
    return varint(z)


def blob(data: bytes) -> bytes:
    """Bytes with their length."""
    if type(data) is not bytes:
        raise TypeError("not bytes")
    return number(len(data)) + data


def day(value: date) -> bytes:
    """A date as its days since 1970. Raises `TypeError` for anything else, also for an instant, which is more than a date."""
    if type(value) is not date:
        raise TypeError("not a date")
    return number(value.toordinal() - EPOCH)


def decimal(value: Decimal) -> bytes:
    """A decimal as its count of 10^-9. Raises `ValueError` for more than 29 digits before the point or 9 after it."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError("not a finite decimal")
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) > PRECISION or (value and value.adjusted() >= PRECISION - SCALE):
        raise ValueError("more digits than the schema's precision allows")
    if exponent < -SCALE:
        raise ValueError("more decimals than the schema's scale allows")
    unscaled = int(value.scaleb(SCALE, _CONTEXT)) if value else 0
    size = (unscaled.bit_length() + 8) // 8
    return NUMBERS[size] + unscaled.to_bytes(size, "big", signed=True)


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """A long, and where it ended. Raises `ValueError` for more than 64 bits."""
    a = data[at]
    return (SMALL[a], at + 1) if a < 128 else read_long(a, data, at)


def read_long(a: int, data: bytes, at: int) -> tuple[int, int]:
    """A long whose first byte `a` says that more follow, and where it ended. Raises `ValueError` for more than 64 bits."""
    b = data[at + 1]
    if b < 128:
        z = a + (b << 7) - 128
        return z >> 1 ^ -(z & 1), at + 2
    c = data[at + 2]
    z = a + (b << 7) + (c << 14) - 16512
    if c < 128:
        return z >> 1 ^ -(z & 1), at + 3
    return _read_longer(z - (1 << 21), data, at + 3)


def _read_longer(z: int, data: bytes, at: int) -> tuple[int, int]:
    for shift in range(21, 70, 7):
        b = data[at]
        at += 1
        z |= (b & 127) << shift
        if b < 128:
            if z >= _BITS_64:
                break
            return z >> 1 ^ -(z & 1), at
    raise ValueError("an integer of more than 64 bits")


UPPERS: dict[bytes, int] = {}
"""The last four bytes of instants in ms, of six: they are the same for eight seconds. What they mean, to be added to half
the first two as they are."""


def read_instant(a: int, data: bytes, at: int) -> tuple[int, int]:
    """As `read_long`, and remembers the last bytes in `UPPERS` if this can have been an instant."""
    n, end = read_long(a, data, at)
    if end == at + 6:
        if len(UPPERS) >= _UPPERS:
            UPPERS.clear()
        UPPERS[data[at + 2 : end]] = ((n if n >= 0 else ~n) >> 13 << 13) - 8256  # less half the two bits that say more follow
    return n, end


def read_span(data: bytes, at: int) -> tuple[int, int]:
    """The place before a text and its end. Raises `ValueError` for a length below zero."""
    n, at = read_number(data, at)
    if n < 0:
        raise ValueError(f"a length of {n}")
    return at - 1, at + n


def read_count(data: bytes, at: int) -> tuple[int, int]:
    """How many items the next block of a list or a map holds, and where they begin; 0 after the last one.

    Raises `ValueError` for more items than bytes that are left: each takes at least one.
    """
    n, at = read_number(data, at)
    if n < 0:
        n = -n
        _, at = read_number(data, at)  # the block's size, of use to who skips it
    if n > len(data) - at:
        raise ValueError(f"{n} items in {len(data) - at} bytes")
    return n, at


def to_decimal(data: bytes) -> Decimal:
    """The decimal behind its count of 10^-9; of more than 38 digits the first 38."""
    return _CONTEXT.create_decimal(int.from_bytes(data, "big", signed=True)).scaleb(-SCALE, _CONTEXT)
