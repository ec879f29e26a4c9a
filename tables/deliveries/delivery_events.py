"""The rules of deliveries: an obligation is raised, an attempt answered, a person steps in, time passes."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.deliveries import DeliveryTick, DispatchAnswered, ObligationRaised, RetryObligation
from schemas.errors import AlreadyApplied, Refused
from tables.deliveries.dispatcher import Dispatcher
from tables.deliveries.emits import DeliveryEmit
from tables.deliveries.state import DeliveryTables, EndpointPolicies, Obligation, ObligationState, ObligationStatus

WORKED_AT_ONCE = 500  # a tick's work is bounded: what is left is still due at the next
_ALWAYS_MS = -(2**62)


def obligation_raised(p: EndpointPolicies, t: DeliveryTables, e: ObligationRaised) -> Iterator[DeliveryEmit]:
    """Keep it, and send it if it is its aggregate's first and the endpoint has room."""
    if (e.endpoint, e.obligation_id) in t.known:
        raise AlreadyApplied
    dispatcher = Dispatcher(p, t, e.endpoint, e)
    new = Obligation(e.obligation_id, e.kind, e.body, dispatcher.row.now_ms, e.trace_id, e.is_replaceable)
    last = dispatcher.last(e.aggregate) if e.is_replaceable else None
    if last is not None and last[1].is_replaceable and last[1].kind == e.kind and not last[1].attempts:
        yield dispatcher.put_in_place(e.aggregate, *last, new)
    else:
        dispatcher.add(e.aggregate, new)
    yield from dispatcher.close()


def dispatch_answered(p: EndpointPolicies, t: DeliveryTables, e: DispatchAnswered) -> Iterator[DeliveryEmit]:
    """Settle it, or see to its next attempt. A late answer counts if it settles it: what was done is done."""
    at = t.known.get((e.endpoint, e.obligation_id))
    if at is None or at.is_settled:
        raise AlreadyApplied
    current = t.obligations[e.endpoint, at.aggregate, at.seq]
    if not 1 <= e.attempt <= current.attempts:
        raise Refused(
            f"attempt {e.attempt} of {e.obligation_id} was answered, but there were {current.attempts}",
            hint="only agents answer, and only what was dispatched",
        )
    dispatcher = Dispatcher(p, t, e.endpoint, e)
    if e.outcome in ("done", "refused"):
        yield from dispatcher.settle(at, current, e.outcome, e.status, e.answer)
    elif e.outcome not in ("failed", "unsendable"):
        raise Refused(f"outcome {e.outcome!r} is not known", hint="answer done, refused, failed or unsendable")
    elif current.stage is not ObligationState.IN_FLIGHT or e.attempt < current.attempts:
        raise AlreadyApplied
    elif e.outcome == "unsendable":
        yield from dispatcher.not_sent(at, current, e.answer)
    else:
        yield from dispatcher.fail(at, current, e.status, e.answer, e.retry_after_ms)
    yield from dispatcher.close()


def retry_obligation(p: EndpointPolicies, t: DeliveryTables, e: RetryObligation) -> Iterator[DeliveryEmit]:
    """An exhausted one is tried again, from the start. Raises `AlreadyApplied` for one that is not exhausted (any more)."""
    at = t.known.get((e.endpoint, e.obligation_id))
    if at is None:
        raise Refused(f"{e.endpoint} is owed no {e.obligation_id!r}", hint="the exception about it names it")
    if at.is_settled:
        raise AlreadyApplied
    current = t.obligations[e.endpoint, at.aggregate, at.seq]
    if current.stage is not ObligationState.EXHAUSTED:
        raise AlreadyApplied
    dispatcher = Dispatcher(p, t, e.endpoint, e)
    yield from dispatcher.retry(at, current)
    yield from dispatcher.close()


def tick(p: EndpointPolicies, t: DeliveryTables, e: DeliveryTick) -> Iterator[DeliveryEmit]:
    """Leases that have run out, attempts and probes that are due, and ids that need no longer be known."""
    due: list[tuple[int, str, str, str, int]] = []
    for key, _ in t.deadlines.range((_ALWAYS_MS, "", "", "", 0), (e.occurred_at_ms + 1, "", "", "", 0)):
        due.append(key)
        if len(due) == WORKED_AT_ONCE:
            break
    desks: dict[str, Dispatcher] = {}
    for key in due:
        _, what, endpoint, name, seq = key
        if what == "forget":
            del t.deadlines[key]
            del t.known[endpoint, name]
            continue
        dispatcher = desks.get(endpoint)
        if dispatcher is None:
            dispatcher = desks[endpoint] = Dispatcher(p, t, endpoint, e)
        if key not in t.deadlines:
            continue  # what was done for another one has done this too
        if what == "circuit":
            del t.deadlines[key]
        else:
            dispatcher.come_due(ObligationStatus(name, seq, is_settled=False))
    for dispatcher in desks.values():
        yield from dispatcher.close()
