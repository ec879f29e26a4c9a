"""What people decide about orders that wait for them: holds released, exhausted obligations tried again."""

from __future__ import annotations

from collections.abc import Callable

from connectors.api.ports import Accepted, Invalid, NotKnown
from schemas.codec import Codec
from schemas.deliveries import RetryObligation
from schemas.operations import ExceptionRow
from schemas.orders import ReleaseHold
from streams.commands.send import said_now, send
from streams.engine.log import Log
from streams.queries.published import Published
from tables.deliveries.dispatcher import EXHAUSTED, UNSENDABLE
from tables.orders.acceptance import BILLING

GIVEN_UP = frozenset({EXHAUSTED, UNSENDABLE})


class HoldRelease:
    """`connectors.api.ports.Holds` on the log."""

    def __init__(self, log: Log, published: Published, codec: Codec, clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._published = published
        self._codec = codec
        self._clock_ms = clock_ms

    def release(self, order_id: str, reason: str, person: str, note: str) -> tuple[str, Accepted]:
        """Let a held order go on, in spite of a reason or of all (""); the change it is, and where it stands."""
        row = self._published.order(order_id)
        if row is None:
            raise NotKnown(f"Order {order_id[:100]!r} is not known. Ids are <channel>:<external reference>.")
        if reason not in BILLING and row.decision != "held":
            now = row.decision or row.status
            raise Invalid(f"Order {order_id} is not held (it is {now})", "There is nothing to release.", is_conflict=True)
        if reason and reason not in (*row.holds, *BILLING):
            known = ", ".join(row.holds)
            raise Invalid(f"Order {order_id} is not held for {reason[:100]!r}", f"It is held for {known}.", is_conflict=True)
        now_ms = self._clock_ms()
        command = ReleaseHold(**said_now(now_ms, f"order/{order_id}"), order_id=order_id, reason=reason, person=person, note=note)
        return command.event_id, send(self._log, self._codec, command)


def retry_exhausted(log: Log, codec: Codec, now_ms: int, row: ExceptionRow) -> str:
    """Have the obligation behind an exception tried again: its id. Raises `Invalid`, `Busy`.

    The fingerprint is `<code>:<endpoint>:<obligation id>`; the exception's order is the aggregate.
    """
    _, endpoint, obligation_id = [*row.fingerprint.split(":", 2), "", ""][:3]
    if row.state == "cleared" or not obligation_id or row.order_id is None:
        raise Invalid("The obligation is not exhausted any more", "There is nothing to send again.", is_conflict=True)
    command = RetryObligation(
        **said_now(now_ms, f"exception/{row.fingerprint}"),
        endpoint=endpoint,
        aggregate=row.order_id,
        obligation_id=obligation_id,
    )
    send(log, codec, command)
    return obligation_id
