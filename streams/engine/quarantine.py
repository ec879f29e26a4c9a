"""Dead letters and what people are told of them: records made of a record that could not be applied. Nothing here keeps state."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from schemas.errors import BadMessage
from schemas.frozen import replace
from schemas.inventory import ItemSuspected, SuspicionCleared
from schemas.operations import DeadLetter, ExceptionCleared, ExceptionNoted, LetterHeader, RecordSkipped, SourcePaused
from schemas.records import Headers, Record
from schemas.topics import ENGINE
from streams.engine.halts import PartitionHalted, skip_command
from streams.engine.limits import LETTER_BYTES

REPLAY_OF = "crossdock.replay-of"
REPLAY_ITEMS = "crossdock.items"
"""Headers of a dead letter sent again: its id, and the items suspected because of it, comma separated, percent-encoded."""

_MAX_TEXT = 2_000
_MAX_ITEMS = 1_000
_MAX_ITEM = 500
DEFECT_HINT = "report it with this letter; replay it once the defect is corrected"
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


def defect(error: Exception) -> str:
    """An exception in the middle of the work, in a sentence: a defect of ours that the data brought to light."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return _clean(f"crossdock has a defect that this brings to light: {type(error).__name__}: {error}{where}")


def skipped(skip: RecordSkipped, error: Exception, items: tuple[str, ...]) -> BadMessage:
    """Why a record is set aside at which its partition stood."""
    reason = f"skipped by {skip.person or 'somebody'}: {skip.reason}. Its partition stood there: {error}"
    return BadMessage(reason, hint="replay it once the defect is corrected", items=items)


def dead_letter(flow: str, record: Record, error: BadMessage, items: Iterable[str], most_bytes: int = LETTER_BYTES) -> DeadLetter:
    """The record, whole, with where it came from, why it could not be applied, and what to do.

    One of more than `most_bytes` stays where it is, and the letter says what is there.
    """
    size = sum(len(part or b"") for part in (record.key, record.value, *(value for _, value in record.headers)))
    if size <= most_bytes:
        return _letter(flow, record, error, items)
    letter = _letter(flow, replace(record, key=None, value=None, headers=()), error, items)
    value = record.value or b""
    return replace(letter, value_bytes=len(value), value_sha256=sha256(value).hexdigest())


def is_same(letter: DeadLetter, record: Record) -> bool:
    """Whether a record is the one a letter refers to."""
    return record.offset == letter.offset and sha256(record.value or b"").hexdigest() == letter.value_sha256


def _letter(flow: str, record: Record, error: BadMessage, items: Iterable[str]) -> DeadLetter:
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
        items=[_clean(item, _MAX_ITEM) for item in islice(items, _MAX_ITEMS)],
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


def doubted(flow: str, record: Record, fact: str, item: str, reason: str) -> ItemSuspected:
    """An event about the item waits: its numbers are without what the event says."""
    return ItemSuspected(
        **_origin(record, f"doubted:{fact}:{item}"),
        item=item,
        dead_letter_id=_doubt(flow, record, fact),
        reason=_clean(f"an event of it waits for {waited_for(fact)}: {reason}"),
        is_waiting=True,
    )


def doubt_over(flow: str, record: Record, fact: str, item: str) -> SuspicionCleared:
    """None of the item's events waits for the fact any longer, in this partition."""
    origin = _origin(record, f"trusted:{fact}:{item}")
    return SuspicionCleared(**origin, item=item, dead_letter_id=_doubt(flow, record, fact))


def _doubt(flow: str, record: Record, fact: str) -> str:
    """What the doubt is called: events of one item may wait in several partitions, each of which counts its own."""
    return f"waiting:{flow}/{record.partition}:{_clean(fact)}"


def replay_headers(letter: DeadLetter) -> Headers:
    """What marks a record as the repetition of a dead letter."""
    items = ",".join([quote(item, safe="") for item in letter.items])
    return ((REPLAY_OF, letter.dead_letter_id.encode()), (REPLAY_ITEMS, items.encode()))


def replay_of(headers: Headers) -> tuple[str, list[str]] | None:
    """The dead letter a record repeats, and the items suspected because of it; none if it is not a replay."""
    found = {name: text_of(value) for name, value in headers if name in {REPLAY_OF, REPLAY_ITEMS}}
    if REPLAY_OF not in found:
        return None
    return found[REPLAY_OF], [unquote(item) for item in found.get(REPLAY_ITEMS, "").split(",") if item]


def suspicion_cleared(dead_letter_id: str, items: Iterable[str], record: Record) -> list[SuspicionCleared]:
    """The items are trusted again, as far as that dead letter goes."""
    return [SuspicionCleared(**_origin(record, f"cleared:{item}"), item=item, dead_letter_id=dead_letter_id) for item in items]


# --- what stands ------------------------------------------------------------------------------------------------------------


def halted(halt: PartitionHalted, record: Record) -> ExceptionNoted:
    """A partition stands at a record, for people."""
    return ExceptionNoted(
        **_origin(record, f"halted:{cause_of(halt.reason)}"),
        fingerprint=f"halted:{record.topic}/{record.partition}",
        code="halted",
        sentence=_clean(
            f"{halt.flow} stands at {record.topic}/{record.partition}/{record.offset} ({halt.event}): {halt.reason}. "
            f"Correct the cause and start again, or set the record aside: {skip_command(halt.partition, record.offset)}"
        ),
        item=None,
        order_id=None,
    )


def halt_over(record: Record) -> ExceptionCleared:
    """The partition goes on."""
    return ExceptionCleared(**_origin(record, "halt-over"), fingerprint=f"halted:{record.topic}/{record.partition}")


def paused(target: str, flow: str, record: Record, found: tuple[int, int], window_ms: int, letter_reason: str) -> SourcePaused:
    """So much of a source is refused that it is read no further."""
    dead, inputs = found
    return SourcePaused(
        **_origin(record, f"paused:{target}"),
        target=target,
        reason=_clean(
            f"{dead:,} of {inputs:,} inputs of the last {window_ms // 60_000} minutes were refused, the last one because: "
            f"{letter_reason}"
        ),
        flow=flow,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )


def pause_noted(pause: SourcePaused) -> ExceptionNoted:
    """The pause, for people."""
    return ExceptionNoted(
        event_id=pause.event_id,
        source=ENGINE,
        source_position=pause.offset,
        occurred_at_ms=pause.occurred_at_ms,
        recorded_at_ms=pause.recorded_at_ms,
        trace_id=pause.trace_id,
        fingerprint=pause_fingerprint(pause.target),
        code="source_paused",
        sentence=_clean(
            f"{pause.target} is read no further than {pause.topic}/{pause.partition}/{pause.offset}: {pause.reason}. "
            f"Nothing is lost: correct the cause, then crossdock resume {pause.target}"
        ),
        item=None,
        order_id=None,
    )


def pause_fingerprint(target: str) -> str:
    """One exception a source."""
    return f"paused:{target}"


def unpublished(flow: str, record: Record, key: str, why: str, *, is_item: bool) -> list[ExceptionNoted | ItemSuspected]:
    """What follows from a key's rows cannot be worked out: people know it, and that what was published before is old."""
    noted = ExceptionNoted(
        **_origin(record, f"unpublished:{key}"),
        fingerprint=_unpublished_fingerprint(flow, key),
        code="unpublished",
        sentence=_clean(f"What {flow} says of {key} is old, because it cannot be worked out: {why}"),
        item=_clean(key) if is_item else None,
        order_id=None,
    )
    if not is_item:
        return [noted]
    origin = _origin(record, f"suspected:{key}")
    return [noted, ItemSuspected(**origin, item=key, dead_letter_id=_unpublished_fingerprint(flow, key), reason=why)]


def published_again(flow: str, record: Record, key: str, *, is_item: bool) -> list[ExceptionCleared | SuspicionCleared]:
    """It can be worked out again."""
    fingerprint = _unpublished_fingerprint(flow, key)
    cleared = ExceptionCleared(**_origin(record, f"published:{key}"), fingerprint=fingerprint)
    if not is_item:
        return [cleared]
    return [cleared, SuspicionCleared(**_origin(record, f"cleared:{key}"), item=key, dead_letter_id=fingerprint)]


def _unpublished_fingerprint(flow: str, key: str) -> str:
    return f"unpublished:{flow}:{_clean(key)}"


def is_about_items(note: object) -> bool:
    """Whether a note goes to the items' own inbox, not to people's."""
    return isinstance(note, ItemSuspected | SuspicionCleared)
