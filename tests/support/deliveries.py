"""The delivery fold's rules at a desk of their own: raise, answer, wait; what is in flight is what was dispatched."""

from __future__ import annotations

from typing import Any

from schemas.deliveries import (
    DeliveryTick,
    Dispatch,
    DispatchAnswered,
    EndpointStatus,
    ObligationRaised,
    ObligationSettled,
    RetryObligation,
)
from schemas.operations import ExceptionCleared, ExceptionNoted
from streams.engine.flow import check_writer
from streams.flows.deliveries import deliveries_fold
from tables.common.policy import EndpointPolicy
from tables.common.table import in_memory
from tables.deliveries.state import DeliveryTables, EndpointPolicies, endpoint_status

START_MS = 1_000_000
ENDPOINT = "wms"


class Counter:
    """What a test does at the fold, one event at a time."""

    def __init__(self, policy: EndpointPolicy | None = None) -> None:
        self.policy = policy or EndpointPolicy(window=2, lease_ms=30_000, retry_ms=1_000, attempts=3, open_after=3)
        self.fold = deliveries_fold(EndpointPolicies({ENDPOINT: self.policy}))
        self.t = in_memory(DeliveryTables)
        self.now_ms = START_MS
        self.said: list[Any] = []
        self.in_flight: dict[str, Dispatch] = {}

    def apply(self, event: Any) -> list[Any]:
        """What the rule yields."""
        said = list(self.fold.rules[type(event)](self.t, event))
        for output in said:
            check_writer("deliveries", output)
            if isinstance(output, Dispatch):
                self.in_flight[output.obligation_id] = output
        self.said += said
        return said

    def header(self, event_id: str) -> dict[str, Any]:
        """Any event's header, now."""
        return {
            "event_id": event_id,
            "source": "test",
            "source_position": 0,
            "occurred_at_ms": self.now_ms,
            "recorded_at_ms": self.now_ms,
            "trace_id": f"raw/0/{event_id}",
        }

    def owe(
        self, obligation_id: str, aggregate: str | None = None, endpoint: str = ENDPOINT, *, is_replaceable: bool = False
    ) -> list[Any]:
        """Raise an obligation: `A1` is one of aggregate `A`."""
        return self.apply(
            ObligationRaised(
                **self.header(f"raise {obligation_id}"),
                endpoint=endpoint,
                aggregate=aggregate or obligation_id[0],
                obligation_id=obligation_id,
                kind="release_order",
                body="{}",
                is_replaceable=is_replaceable,
            )
        )

    def answer(
        self, obligation_id: str, outcome: str = "done", *, attempt: int | None = None, retry_after_ms: int | None = None
    ) -> list[Any]:
        """Answer its last attempt, or another one."""
        if attempt is None:
            attempt = self.in_flight[obligation_id].attempt
        sent = self.in_flight.get(obligation_id)
        if sent is not None and sent.attempt == attempt:
            del self.in_flight[obligation_id]
        return self.apply(
            DispatchAnswered(
                **self.header(f"answer {obligation_id} {attempt}"),
                endpoint=ENDPOINT,
                aggregate=obligation_id[0],
                obligation_id=obligation_id,
                attempt=attempt,
                outcome=outcome,
                status={"done": 200, "refused": 422, "failed": 503}.get(outcome, 0),
                answer=outcome,
                took_ms=5,
                retry_after_ms=retry_after_ms,
            )
        )

    def retry(self, obligation_id: str) -> list[Any]:
        """A person wants it tried again."""
        return self.apply(
            RetryObligation(**self.header("person"), endpoint=ENDPOINT, aggregate=obligation_id[0], obligation_id=obligation_id)
        )

    def wait(self, ms: int) -> list[Any]:
        """Time passes; the clock ticks while something is due."""
        self.now_ms += ms
        said = []
        while self.due_ms() is not None and (self.due_ms() or 0) <= self.now_ms:
            said += self.apply(DeliveryTick(**self.header(f"tick:{self.now_ms}")))
        return said

    def due_ms(self) -> int | None:
        """The earliest deadline."""
        first = next(self.t.deadlines.under(), None)
        return None if first is None else first[0][0]

    def status(self) -> EndpointStatus:
        """The endpoint as it stands."""
        status = endpoint_status(self.t, ENDPOINT, 1)
        assert status is not None
        return status


def sent(said: list[Any]) -> list[str]:
    """The obligations dispatched."""
    return [output.obligation_id for output in said if isinstance(output, Dispatch)]


def settled(said: list[Any]) -> list[tuple[str, str]]:
    """What became of obligations."""
    return [(output.obligation_id, output.outcome) for output in said if isinstance(output, ObligationSettled)]


def exceptions(said: list[Any]) -> list[str]:
    """Exceptions noted (`+`) and cleared (`-`)."""
    marks: dict[type[Any], str] = {ExceptionNoted: "+", ExceptionCleared: "-"}
    return [marks[type(output)] + output.fingerprint for output in said if type(output) in marks]
