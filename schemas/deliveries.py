"""Deliveries: what crossdock owes to other systems, and how each attempt to deliver it went (inbox keyed by endpoint).

A fold that wants something done outside raises an obligation. The delivery fold keeps it until it is settled, and dispatches
it; an agent makes the call and answers. Nothing is lost with an agent: what gets no answer in its lease is dispatched again.
"""

from __future__ import annotations

from schemas.base import Event, Tick
from schemas.frozen import Frozen


class ObligationRaised(Event, frozen=True, kw_only=True):
    """Something to be done at `endpoint`. Those of one `aggregate` (an order id) are delivered one at a time, in this order.

    `obligation_id` is the idempotency key of every attempt. `kind` names the type of `body` (see `schemas.obligations`).
    `is_replaceable`: it says how things stand, so the next of its kind says it all; before its first attempt it may give way.
    """

    endpoint: str
    aggregate: str
    obligation_id: str
    kind: str
    body: str
    is_replaceable: bool = False


class Dispatch(Event, frozen=True, kw_only=True):
    """An attempt to be made by an agent before `lease_until_ms`; `attempt` counts from 1."""

    endpoint: str
    aggregate: str
    obligation_id: str
    kind: str
    body: str
    attempt: int
    lease_until_ms: int


class DispatchAnswered(Event, frozen=True, kw_only=True):
    """How an attempt went. `outcome`: done, refused (the endpoint understood and will not), failed (try again), unsendable
    (it never left crossdock: no fault of the endpoint's).

    `status`: the HTTP status, 0 if there was no answer. `answer`: for `done` the JSON of the kind's answer type, else words.
    `retry_after_ms`: for so long the endpoint asked to be left alone.
    """

    endpoint: str
    aggregate: str
    obligation_id: str
    attempt: int
    outcome: str
    status: int
    answer: str
    took_ms: int
    retry_after_ms: int | None = None


class RetryObligation(Event, frozen=True, kw_only=True):
    """A person wants an exhausted obligation tried again."""

    endpoint: str
    aggregate: str
    obligation_id: str


class ObligationSettled(Event, frozen=True, kw_only=True):
    """What became of an obligation, to the order that raised it.

    `outcome`: done, refused, exhausted (a person may retry), replaced (by a newer one of its kind, before it was ever sent).
    """

    order_id: str
    endpoint: str
    obligation_id: str
    kind: str
    outcome: str
    status: int
    answer: str
    attempts: int


class EndpointStatus(Frozen, frozen=True, kw_only=True):
    """An endpoint as it stands. `circuit`: closed (served), open (left alone until `retry_at_ms`), half_open (one probe).

    `replaced`: obligations that gave way to newer ones. `waiting`: those not settled, in flight and `exhausted` (given up until
    a person retries them) among them.
    `oldest_ms`: when the oldest that waits was raised.
    """

    endpoint: str
    version: int
    as_of_ms: int
    circuit: str
    waiting: int
    in_flight: int
    exhausted: int
    done: int
    refused: int
    replaced: int
    failed: int
    oldest_ms: int | None
    retry_at_ms: int | None
    last_error: str | None


class DeliveryTick(Tick, frozen=True, kw_only=True):
    """Time, for the delivery fold: leases, retries and circuits."""
