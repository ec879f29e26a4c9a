"""Dead letters fed again: each once, however often and by however many people it is asked, in bounded memory.

That a letter was fed is a fact in the log (`LetterReplayed`), written after the record that feeds it. Who dies between the two
feeds it again next time, and the flow takes the first copy of a letter only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from connectors.api.ports import Invalid, NotKnown, ReplayResult
from schemas import topics
from schemas.codec import Codec
from schemas.operations import DeadLetter, ExceptionRow, LetterReplayed
from schemas.records import Headers, Record
from streams.commands.send import append, record_of, said_now
from streams.engine.log import Outgoing, ReadableLog, TopicPartition
from streams.engine.quarantine import REPLAY_ITEMS, REPLAY_OF, cause_of, is_same, replay_headers

ALL = "all"
MOST = 10_000
"""Letters fed by one request: whoever wants all of them asks again."""
CHUNK_BYTES = 4 << 20
CHUNK_LETTERS = 500
PAGE_BYTES = 8 << 20
_PAGES = (16, 1_000)
_GONE_HINT = "Ask its source to send it again."


class Replays:
    """Feeds dead letters again. Safe from any thread."""

    def __init__(self, log: ReadableLog, codec: Codec, clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._codec = codec
        self._clock_ms = clock_ms
        self._lock = threading.Lock()  # who waits for it finds what the other has fed

    def one(self, dead_letter_id: str, person: str) -> ReplayResult | None:
        """Feed a letter again; none if there is no such letter. Raises `Invalid` if that was done, or its record is gone."""
        with self._lock:
            letter = next((letter for letter in self._letters() if letter.dead_letter_id == dead_letter_id), None)
            if letter is None:
                return None
            if self._is_fed(letter):
                raise Invalid(
                    f"{dead_letter_id} was fed again already",
                    "If it was refused again, there is a newer dead letter of it.",
                    is_conflict=True,
                )
            again = self._again(letter)
            if again is None:
                raise Invalid(f"The record of {dead_letter_id} is no longer in the log", _GONE_HINT, is_conflict=True)
            self._feed([(letter, again)], person)
            return ReplayResult([dead_letter_id])

    def many(self, fingerprint: str, person: str) -> ReplayResult | None:
        """Feed every letter of an exception (or `all`) that was not fed yet; none if there is no letter of it at all."""
        found, is_any = ReplayResult([]), False
        with self._lock:
            chunk: list[tuple[DeadLetter, Outgoing]] = []
            size = 0
            for letter in self._letters():
                if fingerprint not in {ALL, f"dead-letter:{letter.flow}:{cause_of(letter.reason)}"}:
                    continue
                is_any = True
                if self._is_fed(letter):
                    continue
                if len(found.ids) == MOST:
                    found.is_more = True
                    break
                again = self._again(letter)
                if again is None:
                    found.gone.append(letter.dead_letter_id)
                    continue
                found.ids.append(letter.dead_letter_id)
                chunk.append((letter, again))
                size += len(again.value or b"")
                if size >= CHUNK_BYTES or len(chunk) >= CHUNK_LETTERS:
                    self._feed(chunk, person)
                    chunk, size = [], 0
            self._feed(chunk, person)
        return found if is_any or fingerprint == ALL else None

    def _letters(self) -> Iterator[DeadLetter]:
        """Every letter there is now, oldest first: what is fed may be refused again meanwhile, and is no part of it.

        Pages get smaller where letters are large.
        """
        for index in range(self._log.partitions(topics.DEAD_LETTERS.name)):
            at = TopicPartition(topics.DEAD_LETTERS.name, index)
            (offset, end), page = self._log.bounds(at), _PAGES[0]
            while offset < end and (records := self._log.read(at, offset, min(page, end - offset))):
                for record in records:
                    if record.offset < end:
                        yield self._codec.decode(record.value or b"")
                offset = records[-1].offset + 1
                size = sum(len(record.value or b"") for record in records)
                page = min(page * 2, _PAGES[1]) if size * 2 < PAGE_BYTES else max(page // 2, 1)

    def _is_fed(self, letter: DeadLetter) -> bool:
        return bool(self._log.by_key(topics.REPLAYS.name, letter.dead_letter_id.encode(), 1))

    def _again(self, letter: DeadLetter) -> Outgoing | None:
        """The quarantined record as it came, marked as what it repeats; none if it was left in the log and is no longer there."""
        if not letter.value_sha256:
            own: Headers = tuple((header.name, header.value) for header in letter.headers)
            return _marked(letter, letter.key, letter.value, own)
        record = self._left(letter)
        return None if record is None else _marked(letter, record.key, record.value, record.headers)

    def _left(self, letter: DeadLetter) -> Record | None:
        found = self._log.read(TopicPartition(letter.topic, letter.partition), letter.offset, 1)
        return found[0] if found and is_same(letter, found[0]) else None

    def _feed(self, chunk: list[tuple[DeadLetter, Outgoing]], person: str) -> None:
        if not chunk:
            return
        try:
            append(self._log, [again for _, again in chunk])
        except ValueError as error:
            raise Invalid(f"A record cannot be fed again: {error}", _GONE_HINT, is_conflict=True) from None
        now_ms = self._clock_ms()
        facts = [
            LetterReplayed(**said_now(now_ms, letter.dead_letter_id), dead_letter_id=letter.dead_letter_id, person=person)
            for letter, _ in chunk
        ]
        append(self._log, [record_of(self._codec, fact) for fact in facts])


def _marked(letter: DeadLetter, key: bytes | None, value: bytes | None, headers: Headers) -> Outgoing:
    own = tuple((name, content) for name, content in headers if name not in {REPLAY_OF, REPLAY_ITEMS})
    return Outgoing(letter.topic, letter.partition, key, value, own + replay_headers(letter))


def replay(replays: Replays, row: ExceptionRow | None, exception_id: str, person: str) -> ReplayResult:
    """By dead letter id, exception fingerprint (`row` is the exception) or `all`. Raises `NotKnown`, `Invalid`, `Busy`."""
    if exception_id == ALL or row is not None:
        found = replays.many(exception_id, person)
        if found is None and row is not None:
            raise Invalid("Nothing was quarantined for this exception", f"{row.action}.", is_conflict=True)
    else:
        found = replays.one(exception_id, person)
    if found is None:
        raise NotKnown(f"There is no exception or dead letter {exception_id[:100]!r}. GET /v1/exceptions lists them.")
    return found
