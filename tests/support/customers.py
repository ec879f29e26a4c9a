"""A bench for customer rules: say what happens, see who may go on. Amounts are written as people write them, tables are dicts."""

from __future__ import annotations

from copy import copy
from dataclasses import fields
from decimal import Decimal
from typing import Any

from schemas import customers as say
from schemas.codec import Codec
from schemas.errors import AlreadyApplied, BadMessage
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.orders import CreditAnswered
from schemas.topics import CUSTOMERS
from streams.engine.flow import check_writer
from streams.flows.customers import customers_fold
from tables.common.table import in_memory
from tables.customers.state import CustomerTables
from tests.support.erp_world import row_event

CODEC = Codec()
ROW: dict[str, Any] = {"name": "Acme", "terms": "NET30 ", "price_list": "STD", "status": "A", "credit_hold": False}


class CustomersFold:
    """The customers fold with its notes to itself applied at once; `open` has the exceptions that are open, by fingerprint."""

    def __init__(self, credit_currency: str = "") -> None:
        self.fold = customers_fold(credit_currency)
        self.t = in_memory(CustomerTables)
        self.lsn = 100
        self.sequence = 0
        self.revisions: dict[tuple[str, str], int] = {}
        self.said: list[Any] = []
        self.open: dict[str, str] = {}

    def apply(self, event: Any) -> str:
        """What the engine does with one event: its fate, and nothing changed unless it is applied."""
        event = CODEC.decode(CODEC.encode(event))
        kept = {f.name: copy(getattr(self.t, f.name)) for f in fields(self.t)}
        try:
            said = list(self.fold.rules[type(event)](self.t, event))
        except (AlreadyApplied, BadMessage) as answer:
            for name, table in kept.items():
                setattr(self.t, name, table)
            return type(answer).__name__
        for one in said:
            check_writer(CUSTOMERS, one)
            self.said.append(one)
            if isinstance(one, ExceptionNoted):
                self.open[one.fingerprint] = one.sentence
            elif isinstance(one, ExceptionCleared):
                assert self.open.pop(one.fingerprint, None) is not None, "cleared, but not open"
            elif not isinstance(one, CreditAnswered):
                assert self.apply(one) == "applied"
        return "applied"

    def erp(self, customer: str = "C1", op: str = "u", **columns: Any) -> str:
        self.lsn += 1
        return self.apply(row_event(say.CustomerChanged, self.lsn, op, customer=customer, **(ROW | columns)))

    def crm(self, customer: str = "C1", sequence: int | None = None, **facts: str) -> str:
        self.sequence = self.sequence + 1 if sequence is None else sequence
        event_id = f"crm:{customer}:{self.sequence}"
        return self.apply(say.CustomerProposed(**self.head(event_id, self.sequence), customer=customer, facts=facts))

    def ask(
        self,
        order: str,
        amount: str,
        customer: str = "C1",
        *,
        revision: int | None = None,
        is_released: bool = False,
        is_closed: bool = False,
        currency: str = "",
    ) -> str:
        key = (customer, order)
        if revision is None:
            revision = self.revisions[key] = self.revisions.get(key, 0) + 1
        request = say.RequestCredit(
            **self.head(f"order:{order}:{revision}", revision),
            customer=customer,
            order_id=order,
            revision=revision,
            amount=Decimal(amount),
            is_closed=is_closed,
            is_released=is_released,
            currency=currency,
        )
        return self.apply(request)

    @staticmethod
    def head(event_id: str, position: int) -> dict[str, Any]:
        head: dict[str, Any] = dict.fromkeys(("occurred_at_ms", "recorded_at_ms"), position)
        return head | {"event_id": event_id, "source": "s", "source_position": position, "trace_id": f"raw/0/{position}"}

    def answers(self, order: str) -> list[CreditAnswered]:
        """What the order was told, oldest first."""
        return [e for e in self.said if isinstance(e, CreditAnswered) and e.order_id == order]

    def verdict(self, order: str) -> str:
        """granted, or why it is held."""
        last = self.answers(order)[-1]
        assert [a.answer for a in self.answers(order)] == list(range(1, len(self.answers(order)) + 1))
        assert (last.verdict == "granted") == (last.reason == "") == (last.sentence == "")
        return last.reason or last.verdict

    def verdicts(self, *orders: str) -> list[str]:
        return [self.verdict(order) for order in orders]
