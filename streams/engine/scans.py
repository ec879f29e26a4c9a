"""Scans of RocksDB that tell the end of the rows from a failure. Every scan of every store goes through here.

rocksdict's own iterators (`items`, `values`, `keys`) end quietly where RocksDB cannot read on: a block whose checksum does not
fit, a file that is gone. Its `RdictIter` has a status: these scans ask for it at their end, and raise what it raises, which
names the file. Two more things are worked around here: read options must outlive the iterator that points into them, and
`set_iterate_lower_bound` sets the upper bound (rocksdict 0.3.29), so what has to be bounded from below is read forwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rocksdict import Rdict, RdictIter, ReadOptions


def scan_items(family: Rdict, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of `low <= key < high` (to the end if none) in key order, as of the call.

    Raises what RocksDB finds wrong with a file, once it gets there.
    """
    options = _bounded(high)
    return _items(_from(family, options, low), options)


def scan_keys(family: Rdict, low: bytes, high: bytes | None) -> Iterator[bytes]:
    """Keys alone, likewise."""
    options = _bounded(high)
    return _keys(_from(family, options, low), options)


def scan_values(family: Rdict, low: bytes, high: bytes | None) -> Iterator[bytes]:
    """Values alone, likewise. For long runs that are read once: they leave the cache to others."""
    options = _bounded(high)
    options.fill_cache(False)  # type: ignore[call-arg]  # the stub forgot the argument
    return _values(_from(family, options, low), options)


def scan_keys_back(family: Rdict, prefix: bytes, high: bytes) -> Iterator[bytes]:
    """Keys that begin with `prefix`, from `high` (or the next lower one) down, as of the call.

    Not for rows that are often deleted: at the end it passes by whatever was deleted below `prefix`.
    """
    options = ReadOptions()
    rows = family.iter(options)
    rows.seek_for_prev(high)
    return _keys_back(rows, prefix, options)


def last_key(family: Rdict, prefix: bytes, high: bytes) -> bytes | None:
    """The greatest key below `high` that begins with `prefix`; none if there is none."""
    options = _bounded(high)
    rows = family.iter(options)
    rows.seek_to_last()
    key: bytes | None = rows.key()
    if key is None:
        rows.status()
    return key if key is not None and key.startswith(prefix) else None


def _bounded(high: bytes | None) -> ReadOptions:
    options = ReadOptions()
    if high is not None:
        options.set_iterate_upper_bound(high)
    return options


def _from(family: Rdict, options: ReadOptions, low: bytes) -> RdictIter:
    rows = family.iter(options)
    rows.seek(low)
    return rows


# An iterator that is not at a row has neither key nor value: asking for one of them says both, which saves a call a row.


def _items(rows: RdictIter, held: ReadOptions) -> Iterator[tuple[bytes, bytes]]:
    key, value, advance = rows.key, rows.value, rows.next
    at: Any
    while (at := key()) is not None:
        yield at, value()
        advance()
    rows.status()
    del held


def _keys(rows: RdictIter, held: ReadOptions) -> Iterator[bytes]:
    key, advance = rows.key, rows.next
    at: Any
    while (at := key()) is not None:
        yield at
        advance()
    rows.status()
    del held


def _values(rows: RdictIter, held: ReadOptions) -> Iterator[bytes]:
    value, advance = rows.value, rows.next
    row: Any
    while (row := value()) is not None:
        yield row
        advance()
    rows.status()
    del held


def _keys_back(rows: RdictIter, prefix: bytes, held: ReadOptions) -> Iterator[bytes]:
    key, retreat = rows.key, rows.prev
    at: Any
    while (at := key()) is not None and at.startswith(prefix):
        yield at
        retreat()
    if at is None:
        rows.status()
    del held
