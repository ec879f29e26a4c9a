"""An acknowledged write survives kill -9, and what was not acknowledged is there whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from schemas.records import Record
from streams.engine.embedded.log import CannotOpen, EmbeddedLog
from streams.engine.log import DamagedLog, StoreId, TopicPartition
from tests.support.kill9_writer import COPY, GROUP, INBOX, NEWEST, fold

ROUNDS = 10
ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, seed: int, after_s: float) -> Iterator[list[str]]:
    """What the writer acknowledged until it was killed, line by line."""
    command = [sys.executable, "-m", "tests.support.kill9_writer", str(path), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.kill()
        output = first + process.stdout.read()
        assert process.wait() == -9, process.stderr.read().decode()
    for line in output[: output.rfind(b"\n") + 1].decode().splitlines():
        yield line.split(" ")


def records_of(log: EmbeddedLog, partition: TopicPartition) -> list[Record]:
    end = log.bounds(partition)[1]
    found: list[Record] = []
    while len(found) < end:
        found += log.read(partition, len(found), 10_000)
    assert [record.offset for record in found] == list(range(end))
    return found


def test_kill_at_random_moments(tmp_path: Path) -> None:
    """Ten lives of one log. After each: all acknowledged records in their places, rows, copies and position of one piece.

    A copy of each with one bit flipped has all of that, too, or is refused.
    """
    random = Random(20261123)
    appended: dict[tuple[int, int], str] = {}
    committed = {0: 0, 1: 0}
    refused = 0
    for number in range(ROUNDS):
        for what, partition, offset, *value in run_and_kill(tmp_path / "live", number, random.uniform(0.0, 0.25)):
            if what == "appended":
                assert (int(partition), int(offset)) not in appended
                appended[int(partition), int(offset)] = value[0]
            else:
                committed[int(partition)] = int(offset)
        shutil.copytree(tmp_path / "live", tmp_path / "damaged")
        log = EmbeddedLog(tmp_path / "live")
        for partition_number in committed:
            check(log, partition_number, appended, committed[partition_number])
        log.close()
        refused += is_refused(tmp_path / "damaged", random, appended, committed)
        shutil.rmtree(tmp_path / "damaged")
    assert len(appended) > 100
    assert all(committed.values())
    assert refused


def is_refused(path: Path, random: Random, appended: dict[tuple[int, int], str], committed: dict[int, int]) -> bool:
    """Flips a bit of a file the killed process left. If the log is not refused for it, all that was acknowledged is there."""
    files = [file for kind in ("*.log", "*.sst", "MANIFEST-*") for file in (path / "log").glob(kind) if file.stat().st_size]
    victim = random.choice(sorted(files))
    data = bytearray(victim.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    victim.write_bytes(data)
    try:
        log = EmbeddedLog(path)
    except CannotOpen:
        return True
    try:
        for partition, acknowledged in committed.items():
            check(log, partition, appended, acknowledged)
    except DamagedLog:
        return True
    finally:
        log.close()
    return False


def check(log: EmbeddedLog, number: int, appended: dict[tuple[int, int], str], acknowledged: int) -> None:
    inbox = records_of(log, TopicPartition(INBOX.name, number))
    held = {record.offset: record.value for record in inbox}
    for (partition, offset), value in appended.items():
        if partition == number:
            assert held[offset] == value.encode()
    position = log.committed(GROUP, TopicPartition(INBOX.name, number))
    assert acknowledged <= position <= len(inbox)
    rows: dict[bytes, bytes] = {}
    fold(rows, inbox[:position])
    assert dict(log.store(StoreId(GROUP, number)).range(b"", None)) == rows
    copies = records_of(log, TopicPartition(COPY.name, number))
    assert [(record.key, record.value) for record in copies] == [(record.key, record.value) for record in inbox[:position]]
    newest = {r.key: r.value for r in log.scan(NEWEST.name, None, 100) if r.partition == number}
    assert newest == rows
