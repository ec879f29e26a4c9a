"""What became of orders that came in files: read from what the flows published."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.orders import OrderPlaced
from streams.engine.log import ReadableLog, TopicPartition
from streams.engine.partition import Flow
from streams.flows.groups import GroupOf, topics_of
from streams.queries.published import Published

_EVENTS = 200


class DroppedOrders:
    """`streams.agents.file_notices.Became` by the order's history and the position of the channel's translator."""

    def __init__(self, log: ReadableLog, published: Published, flows: Sequence[Flow], group: GroupOf) -> None:
        self._log = log
        self._published = published
        self._groups = {topic: group(flow) for flow in flows for topic in topics_of([flow])}

    def __call__(self, order_id: str, topic: str, partition: int, offset: int) -> tuple[str, str] | None:
        """Its outcome and reason; none while that is not known."""
        at = TopicPartition(topic, partition)
        position, _ = self._log.progress(self._groups[topic], [at])[at]
        if position <= offset:
            return None  # the translator has not read it yet
        trace_id = f"{topic}/{partition}/{offset}"
        placed = [e for _, e in self._published.order_events(order_id, None, _EVENTS) if isinstance(e, OrderPlaced)]
        own = next((event for event in placed if event.trace_id == trace_id), None)
        if own is None:
            return "refused", f"it is a dead letter: {trace_id}"
        if self._published.order(order_id) is None:
            return None
        if placed[0].content_hash != own.content_hash:
            return "refused", f"{order_id} is there already with another content: see the exceptions"
        return "taken", ""
