"""Operations: exceptions for people, replies to requests, dead letters."""

from __future__ import annotations

from schemas.base import Event
from schemas.frozen import Frozen


class ExceptionNoted(Event, frozen=True, kw_only=True):
    """Something a person should know. Same cause, same `fingerprint`: one row with a count, not a thousand rows.

    `code` is one of `tables.operations.exceptions.CODES`, which gives its severity, owner, SLA and suggested action.
    """

    fingerprint: str
    code: str
    sentence: str
    item: str | None
    order_id: str | None


class ExceptionCleared(Event, frozen=True, kw_only=True):
    """The cause is gone: the exception closes by itself."""

    fingerprint: str


class ExceptionWorked(Event, frozen=True, kw_only=True):
    """A person took it (`action` = assign, to `person`) or settled it (`action` = resolve, with a `note`)."""

    fingerprint: str
    action: str
    person: str
    note: str


class ErpRowsUnread(Event, frozen=True, kw_only=True):
    """How many rows of a table the ERP's new snapshot has not read yet, in the part of it named by its first key, `place`.

    `fingerprint`: the exception that this is told with.
    """

    fingerprint: str
    table: str
    place: str
    rows: int


class ExceptionRow(Frozen, frozen=True, kw_only=True):
    """An exception as it stands. `state`: open, assigned, resolved, cleared. `events`: the last few behind it."""

    fingerprint: str
    version: int
    code: str
    severity: str
    sentence: str
    item: str | None
    order_id: str | None
    owner: str
    sla_ms: int
    action: str
    state: str
    count: int
    first_at_ms: int
    last_at_ms: int
    events: list[str]
    person: str
    note: str


class Reply(Frozen, frozen=True, kw_only=True):
    """The answer to a request: `status` and `body` (JSON) as HTTP gives them."""

    request_id: str
    status: int
    body: str


class LetterHeader(Frozen, frozen=True):
    """A header the quarantined record came with."""

    name: str
    value: bytes


class DeadLetter(Frozen, frozen=True, kw_only=True):
    """An input that could not be applied, whole: raw bytes and headers, where it came from, why, and what to do.

    `dead_letter_id` is `<topic>/<partition>/<offset>` of the input. `flow`: the translator or fold that refused it.
    An input too large to be kept here is left where it came from: then `value` is none, and `value_bytes` and `value_sha256` say
    what is there; key and headers may be left out too.
    """

    dead_letter_id: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[LetterHeader]
    flow: str
    reason: str
    hint: str
    items: list[str]
    recorded_at_ms: int
    value_bytes: int = 0
    value_sha256: str = ""


class LetterReplayed(Event, frozen=True, kw_only=True):
    """A person had a dead letter fed again. Written together with the record that feeds it; a letter is fed once."""

    dead_letter_id: str
    person: str


class SourcePaused(Event, frozen=True, kw_only=True):
    """So much of a source is refused that it is read no further, until a person resumes it.

    `target`: the source, or `flow.<name>` for a fold that refuses whatever comes. `flow` refused the record at `topic`,
    `partition`, `offset`, which is a dead letter like those before it; nothing after it is read meanwhile.
    """

    target: str
    reason: str
    flow: str
    topic: str
    partition: int
    offset: int


class SourceResumed(Event, frozen=True, kw_only=True):
    """A person resumed a source. `pauses`: event ids of the pauses this ends; one that came later goes on."""

    target: str
    pauses: list[str]
    person: str
    reason: str


class RecordSkipped(Event, frozen=True, kw_only=True):
    """A person had a record set aside at which a partition cannot go on. `record`: `<topic>/<partition>/<offset>`."""

    record: str
    person: str
    reason: str
