"""The oracle's credit control: what each customer's granted orders add up to, against the limits the ERP has told."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from infra.simulation.facts import ZERO, ErpFact, OrderFact
from infra.simulation.fold_messages import ObservedObligations
from infra.simulation.observe import units
from infra.simulation.oracle import Oracle
from schemas.orders import OrderStatus

CLOSED = ("refused", "cancelled", "short")
ROUNDING = Decimal("0.01")


class CreditOracle:
    """Keeps how much of the ERP's rows it has seen: within a step, any of the rows told may have been the one that counted."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._seen = 0
        self._before: dict[str, list[dict[str, Any]]] = {}

    def at_rest(self, runs: dict[str, OrderStatus], heard: ObservedObligations, let_go: set[str]) -> Iterator[str]:
        """An order that was granted since the last time fits its customer's limit, and the customer may order."""
        told = self._told()
        placed = {fact.order_id: fact for fact in self._oracle.sales if isinstance(fact, OrderFact)}
        fresh = {name for name in heard.fresh - let_go if name in runs and self._amount(placed[name], runs[name])}
        excused = heard.fresh & let_go
        for customer in sorted({placed[name].customer for name in fresh}):
            rows = told.get(customer, [])
            names = [name for name in runs if placed[name].customer == customer]
            mine = [name for name in names if name in fresh]
            if not any(row["status"] == "A" and not row["credit_hold"] for row in rows):
                yield f"{mine} were granted, but customer {customer} may not order: {rows}"
                continue
            limits = [row["credit_limit"] for row in rows]
            granted = {
                name: self._amount(placed[name], runs[name]) for name in names if heard.granted[name] and name not in excused
            }
            total = sum(granted.values(), ZERO)
            if None not in limits and total > max(limits) + ROUNDING and any(granted.get(name) for name in mine):
                yield f"{mine} were granted, and customer {customer} has {total} of {max(limits)}: {granted}"

    def _told(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each customer that may have counted since the last time."""
        found = {customer: list(rows) for customer, rows in self._before.items()}
        for fact in self._oracle.rows[self._seen :]:
            if isinstance(fact, ErpFact) and fact.table == "customer" and fact.row is not None:
                found.setdefault(fact.key[0], []).append(dict(fact.row))
        self._seen = len(self._oracle.rows)
        self._before = {key[0]: [row] for key, row in self._oracle.table("customer").items()}
        return found

    @staticmethod
    def _amount(placed: OrderFact, status: OrderStatus) -> Decimal:
        """What is wanted of an order, at its prices, but for lines that are shipped and billed."""
        prices = {line.line: line.price or ZERO for line in placed.lines}
        amount = ZERO
        for line in status.lines:
            wanted, shipped, invoiced = line.ordered_milli - line.cancelled_milli, line.shipped_milli, line.invoiced_milli
            is_settled = shipped >= wanted and invoiced >= shipped > 0
            if line.state not in CLOSED and not is_settled:
                amount += units(wanted) * prices.get(line.line, ZERO)
        return amount
