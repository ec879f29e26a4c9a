"""What a service tells crossdock: kept with its state, sent in order, again until it is taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from infra.sandbox.faults import Faults
from infra.sandbox.store import Rows, SqliteStore, joined, next_number

BATCH = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


Write = Callable[[list[dict[str, Any]]], None]


class NotWritten(Exception):
    """What takes the messages instead of crossdock did not. The sentence says why."""


class NotTaken(Exception):
    """crossdock did not take the messages."""


class Outbox:
    """Messages for `/v1/ingest/<source>`, or, if `write` is given, for it: in order, then, and once."""

    def __init__(self, store: SqliteStore, source: str, faults: Faults, write: Write | None = None) -> None:
        self._store = store
        self._source = source
        self._faults = faults
        self._write = write
        self._messages: Rows[dict[str, Any]] = store.rows("outbox", dict[str, Any])
        self._counters: Rows[int] = store.rows("outbox_counter", int)
        self._held: set[str] = set()
        self._filled = asyncio.Event()
        self._last_error: str | None = None

    def add(self, messages: list[dict[str, Any]]) -> None:
        """Keep messages to be sent. Inside the transaction that made them."""
        for message in messages:
            self._messages.put(joined(next_number(self._counters, "message")), message)
        self._filled.set()

    def state(self) -> dict[str, Any]:
        """What waits, what was sent, why the last attempt failed if it did."""
        waiting = self._messages.count()
        added = (self._counters.get("message") or 1) - 1
        return {"waiting": waiting, "sent": added - waiting, "last_error": self._last_error}

    async def run(self, client: httpx.AsyncClient, address: Callable[[], str | None]) -> None:
        """Send what there is, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._filled.clear()
            url = address()
            try:
                sent = 0 if url is None or self._faults.settings.down else await self._send(client, url)
            except NotTaken as failure:
                self._last_error = str(failure)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s, self._last_error = FIRST_PAUSE_S, None
            if not sent:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), FIRST_PAUSE_S)

    async def _send(self, client: httpx.AsyncClient, url: str) -> int:
        """One batch; how many messages went. What is held back goes with the next one, behind it. Raises `NotTaken`."""
        settings = self._faults.settings
        batch = self._messages.scan(limit=BATCH)
        if self._write is not None:
            if batch:
                await self._written(self._write, [message for _, message in batch])
            return self._gone([key for key, _ in batch])
        late = [row for row in batch if row[0] in self._held]
        self._held |= {key for key, _ in batch if key not in self._held and self._faults.hits(settings.shuffle)}
        going = [*(row for row in batch if row[0] not in self._held), *late]
        if not going:
            return 0
        lines = [msgspec.json.encode(message) for _, message in going]
        await self._post(client, url, [*lines, *(line for line in lines if self._faults.hits(settings.duplicate))])
        self._held -= {key for key, _ in late}
        return self._gone([key for key, _ in going])

    def _gone(self, keys: list[str]) -> int:
        with self._store.transaction():
            for key in keys:
                self._messages.remove(key)
        return len(keys)

    async def _written(self, write: Write, messages: list[dict[str, Any]]) -> None:
        try:
            await asyncio.to_thread(write, messages)
        except NotWritten as error:
            raise NotTaken(str(error)) from None

    async def _post(self, client: httpx.AsyncClient, url: str, lines: list[bytes]) -> None:
        try:
            answer = await client.post(
                f"{url.rstrip('/')}/v1/ingest/{self._source}",
                content=b"\n".join(lines),
                headers={"Content-Type": "application/x-ndjson"},
            )
        except httpx.HTTPError as error:
            raise NotTaken(f"{url} cannot be reached ({type(error).__name__})") from None
        except httpx.InvalidURL as error:
            raise NotTaken(f"{url} is not an address: {error}") from None
        if answer.status_code != 202:
            raise NotTaken(f"{url} answered {answer.status_code}: {answer.text[:300]}")
