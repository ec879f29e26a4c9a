"""The polling agent: asks a marketplace for pages and hands them over, from where the log says it was last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from connectors.channels.formats import MARKETPLACE, headers_of
from connectors.channels.marketplace.client import NoPage, Page
from schemas.topics import raw_channel
from streams.engine.log import Log, Outgoing, TopicPartition

CURSOR = "crossdock.cursor"
TAIL = 2_000  # a page's last record carries the cursor, so it is never far from the end
_log = structlog.get_logger(__name__)


async def poll(turns: AsyncIterator[object], ask: Callable[[str], Awaitable[Page]], cursor: str) -> AsyncIterator[Page]:
    """All new pages, each time a turn comes. Stop using it if a page could not be kept: it would go on after it."""
    is_away = False
    async for _ in turns:
        try:
            while (page := await ask(cursor)).entries:
                yield page
                if page.cursor == cursor:
                    break
                cursor = page.cursor
            is_away = False
        except NoPage as error:
            if not is_away:
                _log.warning("no page of orders this time; it is asked again", reason=str(error))
            is_away = True


def records_of(page: Page, channel: str) -> list[Outgoing]:
    """A page's raw records; the last one carries the cursor."""
    topic, marks = raw_channel(channel).name, headers_of(MARKETPLACE)
    records = [Outgoing(topic, 0, None, entry, marks) for entry in page.entries]
    records[-1] = records[-1]._replace(headers=(*marks, (CURSOR, page.cursor.encode())))
    return records


def last_cursor(log: Log, channel: str) -> str:
    """Where polling was last, as the raw topic has it; "" if it never was."""
    partition = TopicPartition(raw_channel(channel).name, 0)
    low, high = log.bounds(partition)
    while high > low:
        start = max(low, high - TAIL)
        for record in reversed(log.read(partition, start, high - start)):
            for name, value in record.headers:
                if name == CURSOR:
                    return value.decode()
        high = start
    return ""
