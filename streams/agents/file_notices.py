"""What is said of dropped files beyond their reports: exceptions for people, and what really became of their orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from connectors.texts import visible
from schemas.codec import Codec
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.topics import AGENTS, ROUTES
from streams.agents.file_drop import ClaimedFile
from streams.engine.log import Log, Outgoing
from streams.engine.partitions import partition_of

CONFIRM_S = 10.0
LOOK_PAUSE_S = 0.2

Became = Callable[[str, str, int, int], tuple[str, str] | None]
"""What became of an order (its id, and topic, partition and offset of its record): outcome and reason; none: not known yet."""


def not_asked(order_id: str, topic: str, partition: int, offset: int) -> tuple[str, str]:
    """Where nobody can say: it is in the log."""
    del order_id
    return "sent", f"it is in the log, as {topic}/{partition}/{offset}"


async def outcomes(dropped: ClaimedFile, offsets: Sequence[int], became: Became, patience_s: float) -> dict[str, tuple[str, str]]:
    """What became of a file's orders, by the order its rows name; of those not known in time, that they were sent."""
    waiting = {
        order: (dropped.ids[order], record.topic, record.partition, offset)
        for order, record, offset in zip(dropped.orders, dropped.records, offsets, strict=True)
        if order in dropped.ids
    }
    found: dict[str, tuple[str, str]] = {}
    until = time.monotonic() + patience_s
    while waiting and time.monotonic() < until:
        known = await asyncio.to_thread(_known, waiting, became, until)
        found |= known
        for order in known:
            del waiting[order]
        if waiting:
            await asyncio.sleep(LOOK_PAUSE_S)
    for order, (order_id, *_) in waiting.items():
        why = f"it is in the log, and was not an order yet after {patience_s:g} s: look for {order_id} and at the exceptions"
        found[order] = ("sent", why)
    return found


def _known(waiting: dict[str, tuple[str, str, int, int]], became: Became, until: float) -> dict[str, tuple[str, str]]:
    known: dict[str, tuple[str, str]] = {}
    for order, record in waiting.items():
        if time.monotonic() > until:
            break
        answer = became(*record)
        if answer is None:
            break  # records are read in order: those behind it are not known either
        known[order] = answer
    return known


class FileExceptions:
    """Notes exceptions about files: one that was rejected, until one of its name is taken; one whose time is in the future.

    And about folders that cannot be read, until they can: nothing of them is lost, and nothing comes in.
    """

    def __init__(self, log: Log, codec: Codec) -> None:
        self._log = log
        self._codec = codec
        self._unreadable: dict[str, bool] = {}  # what was said of each folder last: what an earlier run said is not known

    def unreadable(self, door: str, folder: Path, error: OSError) -> None:
        """Say once that a folder cannot be read. Raises `Unavailable`: then it is said the next time."""
        if self._unreadable.get(door):
            return
        where = error.filename if isinstance(error.filename, str) else str(folder)
        why = f"{error.strerror or type(error).__name__}: {visible(where)}"
        sentence = f"The folder {door} ({folder}) cannot be read or written to ({why}): order files in it wait"
        self._note(f"folder_unreadable:{door}", "folder_unreadable", sentence)
        self._unreadable[door] = True

    def readable(self, door: str) -> None:
        """The folder can be read (again). Raises `Unavailable`."""
        if self._unreadable.get(door) is not False:
            fingerprint = f"folder_unreadable:{door}"
            self._send(ExceptionCleared(**_now(fingerprint), fingerprint=fingerprint))
            self._unreadable[door] = False

    def write(self, door: str, folder: Path, dropped: ClaimedFile) -> None:
        """What is to be said of a file. Raises `Unavailable`: then the file is taken again, and said again."""
        fingerprint = f"file_rejected:{door}:{dropped.name}"
        if dropped.refused is not None:
            sentence = f"{dropped.name} in the folder {door} was not taken: {dropped.refused}"
            self._note(fingerprint, "file_rejected", sentence)
        elif (folder / "rejected" / dropped.name).exists():
            self._send(ExceptionCleared(**_now(fingerprint), fingerprint=fingerprint))
        for note in dropped.notes:
            self._note(f"file_time:{door}", "file_time", f"{dropped.name} in the folder {door}: {note}")

    def _note(self, fingerprint: str, code: str, sentence: str) -> None:
        noted = ExceptionNoted(
            **_now(fingerprint), fingerprint=fingerprint, code=code, sentence=sentence, item=None, order_id=None
        )
        self._send(noted)

    def _send(self, event: ExceptionNoted | ExceptionCleared) -> None:
        topic, key = ROUTES[type(event)].topic, event.fingerprint.encode()
        self._log.append([Outgoing(topic.name, partition_of(key, topic.partitions), key, self._codec.encode(event))])


def _now(fingerprint: str) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    return {
        "event_id": f"files:{uuid4()}",
        "source": AGENTS,
        "source_position": now_ms,
        "occurred_at_ms": now_ms,
        "recorded_at_ms": now_ms,
        "trace_id": f"file/{fingerprint}",
    }
