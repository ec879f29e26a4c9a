"""What the delivering agents have in common: attempts within their lease, so many at once, each answered for.

An agent is `async def agent(dispatches) -> AsyncIterator[DispatchAnswered]`. It holds no state: what it does not answer for is
dispatched again when the lease has run out, under the same idempotency key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from connectors.outbound import CannotSend, EndpointFailed, EndpointRefused
from schemas.deliveries import Dispatch, DispatchAnswered
from schemas.errors import BadMessage
from schemas.obligations import body_of, to_json
from schemas.topics import AGENTS

Call = Callable[[Any, str], Awaitable[Any]]  # (what is asked, idempotency key) -> what is answered
Agent = Callable[[AsyncIterator[Dispatch]], AsyncIterator[DispatchAnswered]]

SLACK_MS = 250  # an attempt ends so long before its lease, for its answer to be written in time
MAX_WORDS = 500
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """How much an agent does at once, and by which clock (ms UTC) it looks at leases."""

    at_once: int
    clock_ms: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Outcome:
    outcome: str
    status: int
    answer: str
    retry_after_ms: int | None = None


async def deliver(
    dispatches: AsyncIterator[Dispatch], calls: Mapping[str, Call], bounds: AgentLimits
) -> AsyncIterator[DispatchAnswered]:
    """Make the call of each dispatch's kind, and answer as the calls end. Ends when the dispatches do."""
    running: set[asyncio.Task[DispatchAnswered | None]] = set()
    upcoming: asyncio.Task[Dispatch | None] | None = asyncio.create_task(_next(dispatches))
    try:
        while upcoming is not None or running:
            has_room = upcoming is not None and len(running) < bounds.at_once
            waited_for: set[asyncio.Task[Any]] = {*running, upcoming} if upcoming is not None and has_room else {*running}
            ended, _ = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if upcoming is not None and upcoming in ended:
                dispatch = upcoming.result()
                upcoming = None if dispatch is None else asyncio.create_task(_next(dispatches))
                if dispatch is not None:
                    running.add(asyncio.create_task(_attempt(dispatch, calls, bounds)))
            for task in [task for task in running if task in ended]:
                running.discard(task)
                answer = task.result()
                if answer is not None:
                    yield answer
    finally:
        left: list[asyncio.Task[Any]] = [*running, *([upcoming] if upcoming is not None else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _next(dispatches: AsyncIterator[Dispatch]) -> Dispatch | None:
    return await anext(dispatches, None)


async def _attempt(dispatch: Dispatch, calls: Mapping[str, Call], bounds: AgentLimits) -> DispatchAnswered | None:
    """One attempt's answer; none if its lease has run out: it has been dispatched again."""
    began_ms = bounds.clock_ms()
    left_ms = dispatch.lease_until_ms - began_ms - SLACK_MS
    if left_ms <= 0:
        return None
    try:
        async with asyncio.timeout(left_ms / 1000):
            outcome = await _outcome(dispatch, calls)
    except TimeoutError:
        outcome = _Outcome("failed", 0, "no answer before the lease ran out")
    now_ms = bounds.clock_ms()
    return DispatchAnswered(
        event_id=f"{dispatch.obligation_id} {dispatch.attempt} {outcome.outcome}",
        source=AGENTS,
        source_position=dispatch.attempt,
        occurred_at_ms=now_ms,
        recorded_at_ms=now_ms,
        trace_id=dispatch.trace_id,
        endpoint=dispatch.endpoint,
        aggregate=dispatch.aggregate,
        obligation_id=dispatch.obligation_id,
        attempt=dispatch.attempt,
        outcome=outcome.outcome,
        status=outcome.status,
        answer=_text(outcome.answer if outcome.outcome == "done" else outcome.answer[:MAX_WORDS]),
        took_ms=max(now_ms - began_ms, 0),
        retry_after_ms=outcome.retry_after_ms,
    )


def _text(words: str) -> str:
    """Words that can be written whatever an error has quoted."""
    return words.encode(errors="backslashreplace").decode()


async def _outcome(dispatch: Dispatch, calls: Mapping[str, Call]) -> _Outcome:
    call = calls.get(dispatch.kind)
    if call is None:
        return _Outcome("refused", 0, f"{dispatch.endpoint} takes no {dispatch.kind}: its role in the settings is another")
    try:
        answer = to_json(await call(body_of(dispatch.kind, dispatch.body), dispatch.obligation_id))
    except BadMessage as error:
        return _Outcome("refused", 0, f"{error.reason}; {error.hint}")
    except EndpointRefused as error:
        return _Outcome("refused", error.status, error.reason)
    except EndpointFailed as error:
        return _Outcome("failed", error.status, error.reason, error.retry_after_ms)
    except CannotSend as error:
        return _Outcome("unsendable", 0, str(error))
    except Exception as error:
        # A defect of ours in one call says nothing about the endpoint: the others go on, and a person reads of this one.
        _log.exception("a call has failed in an unexpected way", obligation=dispatch.obligation_id, endpoint=dispatch.endpoint)
        return _Outcome("unsendable", 0, f"{type(error).__name__}: {error}")
    return _Outcome("done", 200, answer)
