"""The desk of one endpoint: what one event changes about its queue, kept in step. Open it with the event, close it once."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from schemas.base import Event
from schemas.bounds import bounded_ms
from schemas.deliveries import Dispatch, ObligationSettled
from schemas.frozen import replace
from schemas.topics import DELIVERIES
from tables.common.raise_exception import cleared, note
from tables.deliveries.circuit_breaker import after_failure, after_service, after_silence, backoff_ms, may_probe
from tables.deliveries.emits import DeliveryEmit
from tables.deliveries.state import (
    MAX_SEQ,
    MEMORY_MS,
    Circuit,
    DeliveryDeadline,
    DeliveryTables,
    EndpointPolicies,
    EndpointState,
    Head,
    Newest,
    Obligation,
    ObligationState,
    ObligationStatus,
    Ready,
)

FORGOTTEN_TOGETHER_MS = 60_000  # ids are forgotten by the minute: a tick each would keep the log busy
MAX_ERROR = 300
UNSENT_TRIES = 3
"""So often an obligation that does not leave crossdock is tried: a lack of memory passes, what is wrong with it does not."""
EXHAUSTED = "obligation_exhausted"
UNSENDABLE = "obligation_unsendable"
_DUE = DeliveryDeadline()
_DEADLINE_OF = {ObligationState.IN_FLIGHT: "lease", ObligationState.RETRYING: "retry"}


class Dispatcher:
    """One event's changes to one endpoint. After them, `close` sends what may go and says what became of the circuit."""

    __slots__ = ("_at_start", "event", "name", "policy", "row", "tables")

    def __init__(self, policies: EndpointPolicies, tables: DeliveryTables, name: str, event: Event) -> None:
        self.policy = policies.of(name)
        self.tables = tables
        self.name = name
        self.event = event
        row = tables.endpoints.get((name,)) or EndpointState()
        # What happened may be long ago when a backlog is worked off; that it is told now says what time it is at least.
        self.row = replace(row, now_ms=max(row.now_ms, bounded_ms(event.recorded_at_ms)))
        self._at_start = row

    # --- the queue -------------------------------------------------------------------------------------------------------

    def add(self, aggregate: str, obligation: Obligation) -> None:
        """A new obligation, behind those of its aggregate."""
        seq = self.row.next_seq
        first = self._first(aggregate, 0)
        self.row = replace(self.row, next_seq=seq + 1, waiting=self.row.waiting + 1)
        self.tables.obligations[self.name, aggregate, seq] = obligation
        self.tables.known[self.name, obligation.obligation_id] = ObligationStatus(aggregate, seq, is_settled=False)
        self.tables.newest[self.name, aggregate] = Newest(seq)
        if first is None:
            self._make_head(aggregate, seq, obligation)

    def last(self, aggregate: str) -> tuple[int, Obligation] | None:
        """The newest obligation of an aggregate and its arrival."""
        newest = self.tables.newest.get((self.name, aggregate))
        return None if newest is None else (newest.seq, self.tables.obligations[self.name, aggregate, newest.seq])

    def put_in_place(self, aggregate: str, seq: int, old: Obligation, new: Obligation) -> ObligationSettled:
        """A new obligation takes the place of one that was never sent, and its turn."""
        at = ObligationStatus(aggregate, seq, is_settled=False)
        self.tables.obligations[self.name, aggregate, seq] = replace(new, raised_at_ms=old.raised_at_ms)
        self.tables.known[self.name, new.obligation_id] = at
        self._remember(old.obligation_id, at)
        self.row = replace(self.row, replaced=self.row.replaced + 1)
        return self._settled(at, old, "replaced", 0, f"{new.obligation_id} took its place")

    def settle(self, at: ObligationStatus, current: Obligation, outcome: str, status: int, answer: str) -> Iterator[DeliveryEmit]:
        """It is done or refused: the next of its aggregate is the head."""
        if current.stage is ObligationState.EXHAUSTED:
            yield from self._no_longer_exhausted(current)
        else:
            del self.tables.heads[self.name, at.seq]
        self._take_out(at, current)
        del self.tables.obligations[self.name, at.aggregate, at.seq]
        self._remember(current.obligation_id, at)
        row = replace(self.row, waiting=self.row.waiting - 1)
        row = replace(row, done=row.done + 1) if outcome == "done" else replace(row, refused=row.refused + 1)
        self._set_circuit(after_service(row))
        yield self._settled(at, current, outcome, status, answer)
        following = self._first(at.aggregate, at.seq + 1)
        if following is not None:
            self._make_head(at.aggregate, *following)
        else:
            del self.tables.newest[self.name, at.aggregate]

    def fail(
        self, at: ObligationStatus, current: Obligation, status: int, answer: str, retry_after_ms: int | None
    ) -> Iterator[DeliveryEmit]:
        """An attempt failed: another one follows, later or when the circuit lets it, unless it was the last."""
        self._take_out(at, current)
        served = self.row.served
        # An endpoint that asks for time, or serves nobody at all, says nothing about this obligation.
        counts = served > current.served and retry_after_ms is None
        current = replace(current, tries=current.tries + 1, failures=current.failures + counts, served=served, unsent=0)
        error = f"{status} {answer}"[:MAX_ERROR] if status else answer[:MAX_ERROR]
        self._set_circuit(after_failure(self.policy, self.row, at.seq, error, retry_after_ms))
        if current.failures >= self.policy.attempts:
            yield from self._exhaust(at, current, status, answer)
        elif self.row.circuit is not Circuit.CLOSED:
            self._make_ready(at, current)
        else:
            self._retry_later(at, current, retry_after_ms or 0)

    def not_sent(self, at: ObligationStatus, current: Obligation, answer: str) -> Iterator[DeliveryEmit]:
        """An attempt that never left crossdock: it says nothing about the endpoint, so its circuit stays as it is."""
        self._take_out(at, current)
        current = replace(current, tries=current.tries + 1, unsent=current.unsent + 1)
        self._set_circuit(after_silence(self.row, at.seq))
        if current.unsent >= UNSENT_TRIES:
            yield from self._exhaust(at, replace(current, is_unsendable=True), 0, answer)
        else:
            self._retry_later(at, current, 0)

    def _retry_later(self, at: ObligationStatus, current: Obligation, least_ms: int) -> None:
        jitter = crc32(f"{current.obligation_id} {current.attempts}".encode()) & 0xFFFF
        wait_ms = max(backoff_ms(self.policy, current.tries, jitter), min(least_ms, self.policy.retry_most_ms))
        self._put(at, replace(current, stage=ObligationState.RETRYING, due_ms=self.row.now_ms + wait_ms))

    def come_due(self, at: ObligationStatus) -> None:
        """Its lease has run out, or it is to be tried again."""
        current = self.tables.obligations[self.name, at.aggregate, at.seq]
        self._take_out(at, current)
        if current.stage is ObligationState.IN_FLIGHT:
            self._set_circuit(after_silence(self.row, at.seq))
        self._make_ready(at, current)

    def retry(self, at: ObligationStatus, current: Obligation) -> Iterator[DeliveryEmit]:
        """A person wants an exhausted one tried again."""
        yield from self._no_longer_exhausted(current)
        self._make_head(
            at.aggregate, at.seq, replace(current, tries=0, failures=0, served=self.row.served, unsent=0, is_unsendable=False)
        )

    def close(self) -> Iterator[DeliveryEmit]:
        """Dispatch what may go, note what became of the circuit, and keep the endpoint's row."""
        yield from self._dispatch()
        yield from self._told()
        if self.row != self._at_start:
            self.tables.endpoints[self.name,] = self.row

    # --- dispatching -----------------------------------------------------------------------------------------------------

    def _dispatch(self) -> Iterator[DeliveryEmit]:
        while self.row.circuit is Circuit.CLOSED and self.row.in_flight < self.policy.window:
            seq = self._next_ready(self.row.ready_from)
            if seq is None:
                self.row = replace(self.row, ready_from=MAX_SEQ)
                return
            yield self._send(seq)
        if self.row.circuit is Circuit.OPEN and (self.row.now_ms >= self.row.retry_at_ms or self.row.suspect):
            seq = self._next_ready(self.row.probed + 1) or self._next_ready(self.row.ready_from)
            if seq is not None and may_probe(self.row, seq):
                self._set_circuit(replace(self.row, circuit=Circuit.HALF_OPEN, probed=seq))
                yield self._send(seq)

    def _send(self, seq: int) -> Dispatch:
        key = (self.name, seq)
        aggregate = self.tables.ready[key].aggregate
        current = self.tables.obligations[self.name, aggregate, seq]
        lease_until_ms = self.row.now_ms + self.policy.lease_ms
        served = current.served if current.attempts else self.row.served
        current = replace(
            current, stage=ObligationState.IN_FLIGHT, attempts=current.attempts + 1, due_ms=lease_until_ms, served=served
        )
        del self.tables.ready[key]
        self._put(ObligationStatus(aggregate, seq, is_settled=False), current)
        self.row = replace(self.row, in_flight=self.row.in_flight + 1)
        if self.row.circuit is Circuit.CLOSED:
            self.row = replace(self.row, ready_from=seq + 1)
        return Dispatch(
            event_id=f"{current.obligation_id} {current.attempts}",
            source=DELIVERIES,
            source_position=current.attempts,
            occurred_at_ms=self.row.now_ms,
            recorded_at_ms=self.row.now_ms,
            trace_id=current.trace_id,
            endpoint=self.name,
            aggregate=aggregate,
            obligation_id=current.obligation_id,
            kind=current.kind,
            body=current.body,
            attempt=current.attempts,
            lease_until_ms=lease_until_ms,
        )

    def _next_ready(self, low: int) -> int | None:
        found = next(self.tables.ready.range((self.name, low), (self.name, MAX_SEQ)), None)
        return None if found is None else found[0][1]

    # --- rows ------------------------------------------------------------------------------------------------------------

    def _first(self, aggregate: str, low: int) -> tuple[int, Obligation] | None:
        rows = self.tables.obligations.range((self.name, aggregate, low), (self.name, aggregate, MAX_SEQ))
        found = next(rows, None)
        return None if found is None else (found[0][2], found[1])

    def _make_head(self, aggregate: str, seq: int, current: Obligation) -> None:
        self.tables.heads[self.name, seq] = Head(aggregate, current.raised_at_ms)
        self._make_ready(ObligationStatus(aggregate, seq, is_settled=False), current)

    def _make_ready(self, at: ObligationStatus, current: Obligation) -> None:
        self.tables.obligations[self.name, at.aggregate, at.seq] = replace(current, stage=ObligationState.QUEUED, due_ms=0)
        self.tables.ready[self.name, at.seq] = Ready(at.aggregate)
        self.row = replace(self.row, ready_from=min(self.row.ready_from, at.seq))

    def _put(self, at: ObligationStatus, current: Obligation) -> None:
        self.tables.obligations[self.name, at.aggregate, at.seq] = current
        self.tables.deadlines[current.due_ms, _DEADLINE_OF[current.stage], self.name, at.aggregate, at.seq] = _DUE

    def _take_out(self, at: ObligationStatus, current: Obligation) -> None:
        """It no longer waits where it waited."""
        if current.stage in _DEADLINE_OF:
            del self.tables.deadlines[current.due_ms, _DEADLINE_OF[current.stage], self.name, at.aggregate, at.seq]
        if current.stage is ObligationState.IN_FLIGHT:
            self.row = replace(self.row, in_flight=self.row.in_flight - 1)
        if (self.name, at.seq) in self.tables.ready:
            del self.tables.ready[self.name, at.seq]

    def _remember(self, obligation_id: str, at: ObligationStatus) -> None:
        self.tables.known[self.name, obligation_id] = replace(at, is_settled=True)
        due_ms = (self.row.now_ms + MEMORY_MS) // FORGOTTEN_TOGETHER_MS * FORGOTTEN_TOGETHER_MS
        self.tables.deadlines[due_ms, "forget", self.name, obligation_id, at.seq] = _DUE

    def _set_circuit(self, row: EndpointState) -> None:
        """The endpoint's new row; an open circuit's end is a deadline."""
        was, now = (self._deadline(old) for old in (self.row, row))
        if was != now:
            if was is not None and was in self.tables.deadlines:
                del self.tables.deadlines[was]
            if now is not None:
                self.tables.deadlines[now] = _DUE
        self.row = row

    def _deadline(self, row: EndpointState) -> tuple[int, str, str, str, int] | None:
        return (row.retry_at_ms, "circuit", self.name, "", 0) if row.circuit is Circuit.OPEN else None

    # --- what is told ----------------------------------------------------------------------------------------------------

    def _exhaust(self, at: ObligationStatus, current: Obligation, status: int, answer: str) -> Iterator[DeliveryEmit]:
        self.tables.obligations[self.name, at.aggregate, at.seq] = replace(current, stage=ObligationState.EXHAUSTED, due_ms=0)
        del self.tables.heads[self.name, at.seq]
        self.row = replace(self.row, exhausted=self.row.exhausted + 1)
        if current.is_unsendable:
            code, sentence = UNSENDABLE, f"{current.kind} of {at.aggregate} cannot be sent to {self.name}: {answer[:MAX_ERROR]}."
        else:
            code = EXHAUSTED
            sentence = (
                f"{current.kind} of {at.aggregate} was given up after {current.attempts} attempts at {self.name}, which serves "
                "others: "
                f"{self.row.last_error}."
            )
        sentence += f" What follows for {at.aggregate} there waits for it."
        yield note(
            self.event, code, given_up_fingerprint(code, self.name, current.obligation_id), sentence, order_id=at.aggregate
        )
        yield self._settled(at, current, "exhausted", status, answer)

    def _no_longer_exhausted(self, current: Obligation) -> Iterator[DeliveryEmit]:
        self.row = replace(self.row, exhausted=self.row.exhausted - 1)
        code = UNSENDABLE if current.is_unsendable else EXHAUSTED
        yield cleared(self.event, given_up_fingerprint(code, self.name, current.obligation_id))

    def _settled(self, at: ObligationStatus, current: Obligation, outcome: str, status: int, answer: str) -> ObligationSettled:
        return ObligationSettled(
            event_id=f"{current.obligation_id} {current.attempts} {outcome}",
            source=DELIVERIES,
            source_position=current.attempts,
            occurred_at_ms=self.event.occurred_at_ms,
            recorded_at_ms=self.event.recorded_at_ms,
            trace_id=current.trace_id,
            order_id=at.aggregate,
            endpoint=self.name,
            obligation_id=current.obligation_id,
            kind=current.kind,
            outcome=outcome,
            status=status,
            answer=answer,
            attempts=current.attempts,
        )

    def _told(self) -> Iterator[DeliveryEmit]:
        was_served, is_served = (row.circuit is Circuit.CLOSED for row in (self._at_start, self.row))
        fingerprint = f"endpoint_down:{self.name}"
        if was_served and not is_served:
            sentence = f"{self.name} does not serve: {self.row.last_error}. What is owed to it waits and is sent in order."
            yield note(self.event, "endpoint_down", fingerprint, sentence)
        elif is_served and not was_served:
            yield cleared(self.event, fingerprint)


def given_up_fingerprint(code: str, endpoint: str, obligation_id: str) -> str:
    """Under which an obligation that was given up is noted; the exception's order is its aggregate."""
    return f"{code}:{endpoint}:{obligation_id}"
