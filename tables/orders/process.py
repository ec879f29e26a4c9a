"""One order while its process is advanced: its rows, the choices, the event that caused it, and what is to be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.base import Event
from schemas.bounds import bounded_ms
from schemas.deliveries import ObligationRaised
from schemas.frozen import replace
from schemas.obligations import KIND_OF, to_json
from tables.common.policy import OrderPolicy, Policy
from tables.orders.lifecycle import State
from tables.orders.process_state import Process, Task, TaskLine
from tables.orders.state import ErpLine, Line, Order, OrderTables

CLOSED = frozenset({State.CANCELLED, State.SHORT, State.REFUSED})
_NUMBERED = {
    "post_order": "post",
    "release_order": "release",
    "withdraw_release": "withdraw",
    "request_invoice": "invoice",
    "request_credit_note": "credit",
}


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """How orders are run, and who owns the stock of a site."""

    orders: OrderPolicy
    sites: Policy


class OrderProcess:
    """An order's process, open for change. `now_ms`: the instant it is worked on, by its cause."""

    __slots__ = ("cause", "lines", "now_ms", "order", "order_id", "policy", "process", "t")

    def __init__(self, policy: RunPolicy, t: OrderTables, order_id: str, cause: Event, now_ms: int) -> None:
        self.policy = policy
        self.t = t
        self.order_id = order_id
        self.cause = cause
        self.now_ms = bounded_ms(now_ms)
        self.order: Order = t.orders[(order_id,)]
        self.process = t.processes.get((order_id,)) or Process()
        self.lines: list[tuple[int, Line]] = [(number, line) for (_, number), line in t.lines.under(order_id) if line.is_listed]

    def change(self, **facts: Any) -> None:
        """Change the process."""
        self.process = replace(self.process, **facts)

    def live(self) -> list[tuple[int, Line]]:
        """Lines that go on, or have gone all their way."""
        return [(number, line) for number, line in self.lines if line.state not in CLOSED]

    def erp_line(self, line: Line) -> ErpLine | None:
        """The ERP's line, of the ERP's order that counts."""
        if line.erp_line_no is None or self.order.erp_order_no is None:
            return None
        return self.t.erp_lines.get((self.order_id, self.order.erp_order_no, line.erp_line_no))

    def task(self, kind: str) -> Task | None:
        """The newest obligation of a kind."""
        return self.t.tasks.get((self.order_id, kind))

    def is_waiting(self, *kinds: str) -> bool:
        """Whether an obligation of one of the kinds is not settled yet."""
        return any(task is not None and task.is_waiting for task in map(self.task, kinds))

    def next_number(self, kind: str) -> int:
        """The number of a kind's next obligation."""
        old = self.task(kind)
        return old.number + 1 if old else 1

    def begin(self, endpoint: str, body: object, lines: tuple[TaskLine, ...]) -> ObligationRaised:
        """The next obligation of the body's kind. It waits to be settled, and none of its kind begins before."""
        kind = KIND_OF[type(body)]
        number = self.next_number(kind)
        obligation_id = f"{self.order_id}/{_NUMBERED[kind]}/{number}"
        self.t.tasks[self.order_id, kind] = Task(number, obligation_id, True, False, self.now_ms, lines)
        return self.raised(endpoint, obligation_id, body)

    def raised(self, endpoint: str, obligation_id: str, body: object, *, is_replaceable: bool = False) -> ObligationRaised:
        """An obligation of the order."""
        cause = self.cause
        return ObligationRaised(
            event_id=obligation_id,
            source="orders",
            source_position=cause.source_position,
            occurred_at_ms=cause.occurred_at_ms,
            recorded_at_ms=cause.recorded_at_ms,
            trace_id=cause.trace_id,
            endpoint=endpoint,
            aggregate=self.order_id,
            obligation_id=obligation_id,
            kind=KIND_OF[type(body)],
            body=to_json(body),
            is_replaceable=is_replaceable,
        )


def is_current(line: Line) -> bool:
    """Whether the promise fold's answer is to the line's newest request."""
    return line.answer is not None and line.answer.revision == line.revision
