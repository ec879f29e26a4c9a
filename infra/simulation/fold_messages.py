"""What the folds told each other about orders, read from the log as it grows: obligations and how they ended, credit granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.simulation.observe import ALL, CommittedState
from schemas import topics
from schemas.deliveries import ObligationRaised, ObligationSettled
from schemas.orders import CreditAnswered
from schemas.topics import Topic
from streams.engine.log import TopicPartition


@dataclass(slots=True)
class ObservedObligations:
    """By obligation id: what was raised, and settled. `granted`: by order, whether its newest answer grants it.

    `fresh`: orders granted, and not granted the last time. `attempts`: the most that any obligation took.
    """

    raised: dict[str, ObligationRaised] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    granted: dict[str, bool] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    attempts: int = 0
    _newest: dict[str, tuple[int, int]] = field(default_factory=dict)
    _read: dict[TopicPartition, int] = field(default_factory=dict)

    def listen(self, system: CommittedState) -> Iterator[str]:
        """What is new. Yields what may not be said."""
        self.fresh.clear()
        for event in self._new(system, topics.DELIVERY_INBOX):
            if isinstance(event, ObligationRaised):
                held = self.raised.setdefault(event.obligation_id, event)
                if (held.endpoint, held.kind, held.body) != (event.endpoint, event.kind, event.body):
                    yield f"{event.obligation_id} was raised as two things: {held.body} and {event.body}"
        for event in self._new(system, topics.ORDER_INBOX):
            if isinstance(event, ObligationSettled) and event.outcome in ("done", "refused", "replaced"):
                self.attempts = max(self.attempts, event.attempts)
                held_outcome = self.settled.setdefault(event.obligation_id, event.outcome)
                if held_outcome != event.outcome:
                    yield f"{event.obligation_id} was settled as {held_outcome} and as {event.outcome}"
            elif isinstance(event, CreditAnswered):
                self._credit(event)

    def _credit(self, event: CreditAnswered) -> None:
        if (event.revision, event.answer) <= self._newest.get(event.order_id, (0, 0)):
            return
        self._newest[event.order_id] = (event.revision, event.answer)
        is_granted = event.verdict == "granted"
        if is_granted and not self.granted.get(event.order_id, False):
            self.fresh.add(event.order_id)
        elif not is_granted:
            # Granted for the moment it was closed: that takes nothing.
            self.fresh.discard(event.order_id)
        self.granted[event.order_id] = is_granted

    def owed(self, order_id: str, endpoint: str) -> list[str]:
        """Obligations of an order to an endpoint that are not settled."""
        return [
            name
            for name, event in self.raised.items()
            if (event.aggregate, event.endpoint) == (order_id, endpoint) and name not in self.settled
        ]

    def open(self) -> list[ObligationRaised]:
        """All that is not settled."""
        return [event for name, event in self.raised.items() if name not in self.settled]

    def _new(self, system: CommittedState, topic: Topic) -> Iterator[Any]:
        for index in range(topic.partitions):
            at = TopicPartition(topic.name, index)
            records = system.log.read(at, self._read.get(at, 0), ALL)
            self._read[at] = self._read.get(at, 0) + len(records)
            for record in records:
                yield system.codec.decode(record.value or b"")
