"""The process that `test_kill9` kills: threads append, a member folds what they append, each says what was acknowledged."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from collections.abc import Iterable
from random import Random

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.embedded.log import EmbeddedLog
from streams.engine.log import Outgoing, StoreId, TopicPartition, Transaction

INBOX = Topic("kill.inbox", "key", "tests", 1_000, (), 2)
COPY = Topic("kill.copy", "key", "tests", 1_000, (), 2)
NEWEST = Topic("kill.newest", "key", "tests", 1_000, (), 2, "compact")
GROUP = "kill"
KEYS = 5
WRITERS = 3


class Silent:
    def assigned(self, partitions: frozenset[TopicPartition]) -> None: ...

    def revoked(self, partitions: frozenset[TopicPartition]) -> None: ...


def fold(rows: dict[bytes, bytes], records: Iterable[Record]) -> None:
    """A row that depends on every record of its key and on their order."""
    for record in records:
        assert record.key is not None
        assert record.value is not None
        before = int(rows.get(record.key, b"0"))
        rows[record.key] = b"%d" % zlib.crc32(record.value, before)


def say(*words: object) -> None:
    """One write a line, so that a kill never leaves half of it before another."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def append(log: EmbeddedLog, name: str, seed: int) -> None:
    random = Random(seed)
    n = 0
    while True:
        batch = []
        for _ in range(random.randint(1, 8)):
            key = random.randrange(KEYS)
            batch.append(Outgoing(INBOX.name, key % 2, b"k%d" % key, f"{name}/{n}".encode() + b"." * random.randrange(200)))
            n += 1
        for record, offset in zip(batch, log.append(batch), strict=True):
            assert record.value is not None
            say("appended", record.partition, offset, record.value.decode())


def work(log: EmbeddedLog) -> None:
    member = log.join(GROUP, [INBOX.name], Silent())
    while True:
        batch = member.poll(50, 1.0)
        transaction = Transaction()
        changed: dict[int, dict[bytes, bytes]] = {}
        for record in batch:
            rows = changed.setdefault(record.partition, {})
            assert record.key is not None
            known = member.store(StoreId(GROUP, record.partition)).get(record.key)
            if record.key not in rows and known is not None:
                rows[record.key] = known
            fold(rows, [record])
            transaction.outgoing.append(Outgoing(COPY.name, record.partition, record.key, record.value))
            transaction.positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        for partition, rows in changed.items():
            transaction.rows[StoreId(GROUP, partition)] = list(rows.items())
            transaction.outgoing += [Outgoing(NEWEST.name, partition, key, value) for key, value in rows.items()]
        member.commit(transaction)
        for (_, partition), position in transaction.positions.items():
            say("committed", partition, position)


def main(path: str, seed: int) -> None:
    log = EmbeddedLog(path)
    log.create([INBOX, COPY, NEWEST])
    for writer in range(WRITERS):
        threading.Thread(target=append, args=(log, f"{seed}-{writer}", seed * 100 + writer), daemon=True).start()
    work(log)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
