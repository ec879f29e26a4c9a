"""Deliveries: what is owed to each endpoint, who is next, and how the endpoint is doing (inbox keyed by endpoint).

Of an aggregate (an order) only the oldest obligation, its head, is ever in flight: a failing order blocks only itself. Heads
that may go are `ready`, and go in the order they were raised, as far as the endpoint's window and circuit allow. The rules are
in `tables.deliveries.delivery_events`, the circuit in `tables.deliveries.circuit_breaker`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from schemas.deliveries import EndpointStatus
from schemas.frozen import Frozen
from tables.common.policy import DAY_MS, EndpointPolicy
from tables.common.table import Table

MEMORY_MS = DAY_MS  # so long a settled obligation is known again
MAX_SEQ = 2**62


class ObligationState(StrEnum):
    """Where an obligation is."""

    QUEUED = "queued"  # behind another of its aggregate, or ready
    RETRYING = "retrying"  # waits for its next attempt
    IN_FLIGHT = "in_flight"
    EXHAUSTED = "exhausted"


class Circuit(StrEnum):
    """How an endpoint is served."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class EndpointPolicies:
    """How each endpoint is served, by name; `default` for those not named."""

    by_name: dict[str, EndpointPolicy]
    default: EndpointPolicy = field(default_factory=EndpointPolicy)

    def of(self, endpoint: str) -> EndpointPolicy:
        """How an endpoint is served."""
        return self.by_name.get(endpoint, self.default)


class Obligation(Frozen, frozen=True):
    """Something owed. `due_ms`: the end of its lease, or its next attempt, while it has one.

    `tries`: failures since it was raised or retried by a person, for the backoff. `failures`: those among them that count towards
    its exhaustion, because the endpoint served others meanwhile (`served` is the endpoint's count when that was last looked at).
    `unsent`: attempts in a row that never left crossdock; `is_unsendable`: it was given up for that.
    """

    obligation_id: str
    kind: str
    body: str
    raised_at_ms: int
    trace_id: str
    is_replaceable: bool = False
    stage: ObligationState = ObligationState.QUEUED
    due_ms: int = 0
    attempts: int = 0
    tries: int = 0
    failures: int = 0
    served: int = 0
    unsent: int = 0
    is_unsendable: bool = False


class ObligationStatus(Frozen, frozen=True):
    """Where an obligation is, by its id; settled ones are remembered for a while."""

    aggregate: str
    seq: int
    is_settled: bool


class Newest(Frozen, frozen=True):
    """The last arrival of an aggregate that is not settled."""

    seq: int


class Head(Frozen, frozen=True):
    """The oldest obligation of an aggregate, unless it is exhausted."""

    aggregate: str
    raised_at_ms: int


class Ready(Frozen, frozen=True):
    """A head that may be dispatched."""

    aggregate: str


class DeliveryDeadline(Frozen, frozen=True):
    """Nothing but its key."""


class EndpointState(Frozen, frozen=True):
    """An endpoint: its counts, and its circuit.

    `next_seq`: the next arrival's number; no head below `ready_from` is ready. `streak`: failures since it last served;
    `suspect`: the arrival all of them were of, if it was one. `probed`: the last arrival sent as a probe. `pause_ms`: how long
    the circuit stays open this time, until `retry_at_ms`.
    """

    now_ms: int = 0
    next_seq: int = 1
    ready_from: int = MAX_SEQ
    waiting: int = 0
    in_flight: int = 0
    exhausted: int = 0
    done: int = 0
    refused: int = 0
    replaced: int = 0
    failed: int = 0
    circuit: Circuit = Circuit.CLOSED
    streak: int = 0
    suspect: int = 0
    probed: int = 0
    pause_ms: int = 0
    retry_at_ms: int = 0
    last_error: str | None = None

    @property
    def served(self) -> int:
        """Obligations it has answered for good."""
        return self.done + self.refused


@dataclass(slots=True)
class DeliveryTables:
    """All tables of the delivery fold."""

    endpoints: Table[tuple[str], EndpointState]  # endpoint
    obligations: Table[tuple[str, str, int], Obligation]  # endpoint, aggregate, arrival
    newest: Table[tuple[str, str], Newest]  # endpoint, aggregate
    known: Table[tuple[str, str], ObligationStatus]  # endpoint, obligation id
    heads: Table[tuple[str, int], Head]  # endpoint, arrival
    ready: Table[tuple[str, int], Ready]  # endpoint, arrival
    deadlines: Table[tuple[int, str, str, str, int], DeliveryDeadline]  # due, what, endpoint, aggregate or obligation id, arrival


def endpoint_status(t: DeliveryTables, endpoint: str, version: int) -> EndpointStatus | None:
    """The endpoint as people see it. `oldest_ms`: when its oldest obligation that is not given up was raised."""
    row = t.endpoints.get((endpoint,))
    if row is None:
        return None
    oldest = next(t.heads.range((endpoint, 0), (endpoint, MAX_SEQ)), None)
    return EndpointStatus(
        endpoint=endpoint,
        version=version,
        as_of_ms=row.now_ms,
        circuit=row.circuit.value,
        waiting=row.waiting,
        in_flight=row.in_flight,
        exhausted=row.exhausted,
        done=row.done,
        refused=row.refused,
        replaced=row.replaced,
        failed=row.failed,
        oldest_ms=None if oldest is None else oldest[1].raised_at_ms,
        retry_at_ms=row.retry_at_ms if row.circuit is Circuit.OPEN else None,
        last_error=row.last_error,
    )
