"""Dead letters and what people are told of them: records made of a record that could not be applied. Nothing here keeps state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from schemas.errors import BadMessage
from schemas.inventory import ItemSuspected, SuspicionCleared
from schemas.operations import DeadLetter, ExceptionCleared, ExceptionNoted, LetterHeader
from schemas.records import Headers, Record
from schemas.topics import ENGINE

REPLAY_OF = "crossdock.replay-of"
REPLAY_ITEMS = "crossdock.items"
"""Headers of a dead letter sent again: its id, and the items suspected because of it, comma separated, percent-encoded."""

_MAX_TEXT = 2_000
_MAX_ITEMS = 1_000
_CAUSE_LENGTH = 60
_VALUES = re.compile(r"""'[^']*'|"[^"]*"|\S*\d\S*""")
_NO_WORD = re.compile(r"[^a-z]+")


def _clean(text: str, limit: int = _MAX_TEXT) -> str:
    """Text that can be written: a foreign message may hold half a surrogate pair, and be of any length."""
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def text_of(key: bytes | None) -> str:
    """A record's key as text, whatever it holds; "" if it has none."""
    return "" if key is None else key.decode("utf-8", "backslashreplace")


def cause_of(reason: str) -> str:
    """What stays the same in a reason when the message is another: its words, without the values in it."""
    return _NO_WORD.sub("-", _VALUES.sub(" ", reason).lower()).strip("-")[:_CAUSE_LENGTH].strip("-") or "unknown"


def _origin(record: Record, what: str) -> dict[str, Any]:
    return {
        "event_id": f"{what}:{record.trace_id}",
        "source": ENGINE,
        "source_position": record.offset,
        "occurred_at_ms": record.timestamp_ms,
        "recorded_at_ms": record.timestamp_ms,
        "trace_id": record.trace_id,
    }


def dead_letter(flow: str, record: Record, error: BadMessage, items: Iterable[str]) -> DeadLetter:
    """The record, whole, with where it came from, why it could not be applied, and what to do."""
    return DeadLetter(
        dead_letter_id=record.trace_id,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=[LetterHeader(_clean(name), value) for name, value in record.headers],
        flow=flow,
        reason=_clean(error.reason),
        hint=_clean(error.hint),
        items=[_clean(item) for item in items][:_MAX_ITEMS],
        recorded_at_ms=record.timestamp_ms,
    )


def letter_headers(letter: DeadLetter, stage: str) -> Headers:
    """The dead letter's origin by the names Kafka Connect gives it, for tools that know those."""
    return (
        ("__connect.errors.topic", letter.topic.encode()),
        ("__connect.errors.partition", str(letter.partition).encode()),
        ("__connect.errors.offset", str(letter.offset).encode()),
        ("__connect.errors.exception.message", letter.reason.encode()),
        ("__connect.errors.stage", stage.encode()),
    )


def letter_noted(letter: DeadLetter, record: Record) -> ExceptionNoted:
    """A dead letter, for people. Letters of one cause share the exception."""
    return ExceptionNoted(
        **_origin(record, "dead-letter"),
        fingerprint=f"dead-letter:{letter.flow}:{cause_of(letter.reason)}",
        code="dead_letter",
        sentence=". ".join(text for text in (letter.reason, letter.hint) if text),
        item=letter.items[0] if letter.items else None,
        order_id=None,
    )


def suspected(letter: DeadLetter, record: Record) -> list[ItemSuspected]:
    """The items whose numbers may be wrong until the letter is replayed."""
    return [
        ItemSuspected(
            **_origin(record, f"suspected:{item}"), item=item, dead_letter_id=letter.dead_letter_id, reason=letter.reason
        )
        for item in letter.items
    ]


def waited_for(fact: str) -> str:
    """A fact as a person says it: `site DC-1`."""
    return fact.replace(":", " ", 1)


def waiting_noted(
    flow: str, record: Record, fact: str, reason: str, count: int | None, item: str | None, order_id: str | None
) -> ExceptionNoted:
    """Events wait for a fact that has not come. `count`: how many, where one partition can tell."""
    many = "Events wait" if count is None else "1 event waits" if count == 1 else f"{count} events wait"
    return ExceptionNoted(
        **_origin(record, "waiting"),
        fingerprint=waiting_fingerprint(flow, fact),
        code="waiting",
        sentence=_clean(f"{many} for {waited_for(fact)}: {reason}"),
        item=item,
        order_id=order_id,
    )


def waiting_over(flow: str, record: Record, fact: str) -> ExceptionCleared:
    """Nothing waits for the fact any longer."""
    return ExceptionCleared(**_origin(record, f"waiting-over:{fact}"), fingerprint=waiting_fingerprint(flow, fact))


def waiting_fingerprint(flow: str, fact: str) -> str:
    """One exception a fact."""
    return f"waiting:{flow}:{_clean(fact)}"


def replay_headers(letter: DeadLetter) -> Headers:
    """What marks a record as the repetition of a dead letter."""
    items = ",".join([quote(item, safe="") for item in letter.items])
    return ((REPLAY_OF, letter.dead_letter_id.encode()), (REPLAY_ITEMS, items.encode()))


def replay_of(headers: Headers) -> tuple[str, list[str]] | None:
    """The dead letter a record repeats, and the items suspected because of it; none if it is no replay."""
    found = {name: text_of(value) for name, value in headers if name in {REPLAY_OF, REPLAY_ITEMS}}
    if REPLAY_OF not in found:
        return None
    return found[REPLAY_OF], [unquote(item) for item in found.get(REPLAY_ITEMS, "").split(",") if item]


def suspicion_cleared(dead_letter_id: str, items: Iterable[str], record: Record) -> list[SuspicionCleared]:
    """The items are trusted again, as far as that dead letter goes."""
    return [SuspicionCleared(**_origin(record, f"cleared:{item}"), item=item, dead_letter_id=dead_letter_id) for item in items]
