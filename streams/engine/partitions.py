"""Which partition a key belongs to: the same for whoever writes, in this process or another."""

from __future__ import annotations

from zlib import crc32


def partition_of(key: bytes, partitions: int) -> int:
    """The key's partition by CRC-32, which is what librdkafka calls `consistent`."""
    return crc32(key) % partitions if partitions > 1 else 0
