"""Audits of an item's ledger, some thousand rows at a time: whoever asks goes on from where the last answer ended."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import msgspec

from connectors.api.ports import AuditPage, AuditQuery, Invalid
from schemas.inventory import LedgerEntry
from tables.inventory.oversell_audit import EMPTY, NOT_PROVED, PROVED, Audit, AuditState, Oversale, sentence

PAGE = 1_000
MOST_ROWS = 50_000  # a request: some seconds
MOST_TOKEN = 4_000_000
Forward = Callable[[str, int, int], list[tuple[int, LedgerEntry]]]


class _Place(msgspec.Struct, frozen=True):
    """Where an audit goes on: from which offset, of what, and what it knows so far."""

    start: int
    item: str
    site: str | None
    at_ms: int | None
    state: AuditState


def audited(forward: Forward, item: str, query: AuditQuery, now_ms: int, *, is_fenced: bool) -> AuditPage:
    """The next rows of an item's ledger. `forward` reads it: item, first offset, how many rows.

    Raises `Invalid` for an instant that is none or not past, and for a place that is not of this audit.
    """
    at_ms = instant_ms(query.at, now_ms)
    place = _Place(0, item, query.site, at_ms, EMPTY) if query.after is None else _placed(query.after)
    if (place.item, place.site, place.at_ms) != (item, query.site, at_ms):
        raise Invalid("`after` is of another audit", "Send `next` with the item, the site and the instant it was given for.")
    audit = Audit(query.site, at_ms, is_fenced=is_fenced, state=place.state)
    start, found, read, is_more = place.start, list[Oversale](), 0, True
    while is_more and read < MOST_ROWS and not audit.is_over:
        rows = forward(item, start, PAGE)
        for offset, entry in rows:
            found.extend(audit.add(entry))
            start = offset + 1
        read += len(rows)
        is_more = len(rows) == PAGE
    state = audit.state
    is_done = not is_more or audit.is_over
    if is_done:
        found.extend(state.open)
    following = None if is_done else _token(_Place(start, item, query.site, at_ms, state))
    found.sort(key=lambda x: (x.recorded_at_ms, x.site))
    return AuditPage(
        is_proved=is_done and not state.first_gap,
        events=state.events,
        oversales=found,
        sentences=[sentence(x.kind) for x in found],
        gap=state.first_gap,
        proved=PROVED,
        not_proved=NOT_PROVED,
        next=following,
    )


def instant_ms(text: str | None, now_ms: int) -> int | None:
    """An instant with its zone, the end of a day (UTC), or milliseconds since 1970. Raises `Invalid`, also for the future."""
    if text is None:
        return None
    hint = "Write 2026-11-02 (to the end of that day, UTC), 2026-11-02T09:00:00Z, or milliseconds since 1970."
    try:
        if text.isascii() and text.isdigit():
            at_ms = int(text)
        elif len(text) == len("2026-11-02"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            at_ms = min(
                int((day + timedelta(days=1)).timestamp() * 1000) - 1, now_ms if day.timestamp() * 1000 <= now_ms else 2**62
            )
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise Invalid(f"at {text[:40]!r} has no time zone", hint)
            at_ms = round(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Invalid(f"at {text[:40]!r} is not a valid instant", hint) from None
    if at_ms > now_ms:
        raise Invalid(f"at {text[:40]!r} is in the future", "An audit tells what has been: name an instant that is past.")
    return at_ms


def _token(place: _Place) -> str:
    return base64.urlsafe_b64encode(zlib.compress(msgspec.msgpack.encode(place))).decode()


def _placed(text: str) -> _Place:
    try:
        data = zlib.decompressobj().decompress(base64.urlsafe_b64decode(text), MOST_TOKEN)
        return msgspec.msgpack.decode(data, type=_Place)
    except (ValueError, zlib.error, msgspec.MsgspecError):
        raise Invalid("`after` is not a place in an audit", "Send `next` as it was given.") from None
