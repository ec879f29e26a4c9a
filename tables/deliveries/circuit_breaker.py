"""An endpoint's circuit: failures in a row open it, then one probe at a time decides whether it is served again.

    closed --open_after failures in a row--> open --pause--> half_open --served--> closed
                                               ^-------failed, the pause doubles------+

While all failures in a row were of one obligation, that one is suspected rather than the endpoint: anything else that is ready
is sent as a probe at once.
"""

from __future__ import annotations

from schemas.frozen import replace
from tables.common.policy import EndpointPolicy
from tables.deliveries.state import Circuit, EndpointState


def after_failure(policy: EndpointPolicy, row: EndpointState, seq: int, error: str, retry_after_ms: int | None) -> EndpointState:
    """The endpoint after a failed attempt of an arrival. `retry_after_ms`: for how long it asked to be left alone."""
    row = replace(
        row,
        failed=row.failed + 1,
        last_error=error,
        streak=row.streak + 1,
        suspect=seq if row.streak == 0 or row.suspect == seq else 0,
    )
    if row.circuit is Circuit.CLOSED and row.streak >= policy.open_after:
        # A lone suspect must not be its own judge: the next probe is another one, if there is any.
        return _opened(policy, replace(row, probed=row.suspect), policy.pause_ms, retry_after_ms)
    if row.circuit is Circuit.HALF_OPEN and seq == row.probed:
        return _opened(policy, row, row.pause_ms * 2, retry_after_ms)
    return row


def _opened(policy: EndpointPolicy, row: EndpointState, pause_ms: int, retry_after_ms: int | None) -> EndpointState:
    pause_ms = min(pause_ms, policy.pause_most_ms)
    wait_ms = min(max(pause_ms, retry_after_ms or 0), policy.pause_most_ms)
    return replace(row, circuit=Circuit.OPEN, pause_ms=pause_ms, retry_at_ms=row.now_ms + wait_ms)


def after_silence(row: EndpointState, seq: int) -> EndpointState:
    """The endpoint after an attempt nobody answered for: that says nothing about it, so a probe is repeated at once."""
    if row.circuit is Circuit.HALF_OPEN and seq == row.probed:
        return replace(row, circuit=Circuit.OPEN, retry_at_ms=row.now_ms, probed=seq - 1)
    return row


def after_service(row: EndpointState) -> EndpointState:
    """The endpoint after an attempt it answered for good."""
    return replace(row, circuit=Circuit.CLOSED, streak=0, suspect=0, probed=0, pause_ms=0, retry_at_ms=0)


def may_probe(row: EndpointState, seq: int) -> bool:
    """Whether an arrival may be sent as a probe now."""
    return row.now_ms >= row.retry_at_ms or row.suspect not in (0, seq)


def backoff_ms(policy: EndpointPolicy, tries: int, jitter: int) -> int:
    """How long to wait after so many failures: half of it is fixed, the other half a part of `jitter` / 65,536."""
    most = min(policy.retry_ms << min(tries - 1, 40), policy.retry_most_ms)
    return (most << 16) + most * jitter >> 17
