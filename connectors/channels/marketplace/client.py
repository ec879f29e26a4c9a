"""Asks the marketplace for a page."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import msgspec

from connectors.texts import masked

PAGE = 100
MAX_PAGE_BYTES = 8 << 20


class NoPage(Exception):
    """The marketplace gave no page this time. The sentence says why."""


class _Page(msgspec.Struct):
    orders: list[msgspec.Raw]
    next: str


@dataclass(frozen=True, slots=True)
class Page:
    """Entries as they stand on the page, and the cursor of the page that follows."""

    entries: list[bytes]
    cursor: str


async def fetch(client: httpx.AsyncClient, url: str, cursor: str) -> Page:
    """The page after a cursor ("" for the first). Raises `NoPage` for anything that is not one."""
    shown = masked(url)
    try:
        async with client.stream("GET", f"{url.rstrip('/')}/orders", params={"after": cursor, "limit": PAGE}) as answer:
            if answer.status_code != 200:
                raise NoPage(f"{shown} answered {answer.status_code}")
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_PAGE_BYTES:
                    raise NoPage(f"{shown} sent a page of more than {MAX_PAGE_BYTES:,} bytes")
    except httpx.HTTPError as error:
        raise NoPage(masked(f"{shown} cannot be reached: {type(error).__name__} {error}".strip())) from None
    try:
        page = msgspec.json.decode(content, type=_Page)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise NoPage(f"{shown} sent what is not a page: {error}") from None
    return Page([bytes(entry) for entry in page.orders], page.next)
