"""A scan that cannot be read to its end says so. It never looks like fewer rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from rocksdict import Options, Rdict, WriteBatch

from streams.engine.scans import last_key, scan_items, scan_keys, scan_keys_back, scan_values

ROWS = 20_000


def key(number: int) -> bytes:
    return b"k%08d" % number


def filled(path: Path) -> None:
    db = Rdict(str(path), Options(raw_mode=True))
    batch, random = WriteBatch(raw_mode=True), Random(1)
    for number in range(ROWS):
        batch.put(key(number), random.randbytes(40))
    db.write(batch)
    db.flush()
    db.close()


def flip_in_the_middle(path: Path) -> Path:
    victim = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    return victim


SCANS: dict[str, Callable[[Rdict], Iterator[object]]] = {
    "items": lambda db: scan_items(db, b"k", b"l"),
    "items to the end": lambda db: scan_items(db, b"", None),
    "keys": lambda db: scan_keys(db, b"k", b"l"),
    "values": lambda db: scan_values(db, b"k", b"l"),
    "keys back": lambda db: scan_keys_back(db, b"k", b"l"),
}


@pytest.mark.parametrize("name", SCANS)
def test_a_flipped_bit_is_not_the_end_of_the_rows(tmp_path: Path, name: str) -> None:
    """All rows come before the damage; after it all of them, or an error that names the file: never fewer rows."""
    filled(tmp_path)
    db = Rdict(str(tmp_path), Options(raw_mode=True))
    assert sum(1 for _ in SCANS[name](db)) == ROWS
    db.close()
    victim = flip_in_the_middle(tmp_path)
    db = Rdict(str(tmp_path), Options(raw_mode=True))
    seen = 0
    with pytest.raises(Exception, match=rf"Corruption.*{victim.name}"):
        for _ in SCANS[name](db):
            seen += 1
    assert 0 < seen < ROWS
    db.close()


def test_bounds_and_the_moment_of_the_call(tmp_path: Path) -> None:
    """A scan is between its bounds, and of the moment it was asked for."""
    filled(tmp_path)
    db = Rdict(str(tmp_path), Options(raw_mode=True))
    asked = scan_items(db, key(10), key(20))
    db.put(key(15) + b"a", b"later")
    db.delete(key(16))
    assert [name for name, _ in asked] == [key(number) for number in range(10, 20)]
    assert list(scan_keys_back(db, b"k0000001", key(13))) == [key(13), key(12), key(11), key(10)]
    assert last_key(db, b"k", key(13)) == key(12)
    assert last_key(db, b"x", b"y") is None
    db.put(b"empty", b"")
    assert list(scan_values(db, b"e", b"f")) == [b""]
    db.close()
