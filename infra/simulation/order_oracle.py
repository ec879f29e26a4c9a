"""The oracle's orders: how much of each line stands where, worked out again from everything that was ever said about it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from infra.simulation.facts import ZERO, ChangeFact, Execution, OrderFact
from infra.simulation.oracle import Oracle

OUR_CHANNEL = {"WEB": "web", "EDI": "edi", "MKT": "marketplace", "PHONE": "phone"}
ErpLine = tuple[str, int]
FINEST = Decimal("0.001")  # the finest quantity kept


@dataclass(frozen=True, slots=True)
class LineTotals:
    """An order line by what the sources said. `picked` includes substituted and shipped units, in units of the item ordered.

    `cancelled` is exact, or the least it can be where the system may decline units (`may_decline`). `is_listed`: a source has it.
    """

    item: str
    ordered: Decimal
    cancelled: Decimal
    picked: Decimal
    short: Decimal
    substituted: Decimal
    shipped: Decimal
    returned: Decimal | None
    invoiced: Decimal
    may_decline: bool
    is_cancelled: bool
    is_listed: bool


@dataclass(frozen=True, slots=True)
class OrderOracle:
    """Answers about orders from what an `Oracle` was told."""

    told: Oracle

    def lines(self) -> dict[tuple[str, int], LineTotals]:
        """Every line of every order whose header is known."""
        matched = self._matches()
        found = {}
        for order_id, order in self._placed().items():
            for wanted in order.lines:
                found[order_id, wanted.line] = self._totals(order_id, wanted.line, order, matched.get((order_id, wanted.line)))
        for (order_id, line), erp in matched.items():
            if (order_id, line) not in found:
                found[order_id, line] = self._totals(order_id, line, None, erp)
        return found

    def _placed(self) -> dict[str, OrderFact]:
        found: dict[str, OrderFact] = {}
        for fact in self.told.sales:
            if isinstance(fact, OrderFact):
                found.setdefault(fact.order_id, fact)
        return found

    def erp_orders(self) -> dict[str, str]:
        """The ERP's order number -> the order it is."""
        found = {}
        for (order_no,), row in self.told.table("sales_order").items():
            reference = row["external_ref"]
            found[order_no] = f"erp:{order_no}" if reference is None else f"{OUR_CHANNEL[row['channel']]}:{reference}"
        return found

    def _counting(self) -> dict[str, str]:
        """The ERP's order number that counts -> the order it is: the lowest not cancelled, if it was entered twice."""
        headers = self.told.table("sales_order")
        counting: dict[str, str] = {}
        for order_no, order_id in sorted(self.erp_orders().items(), key=lambda e: (headers[(e[0],)]["status"] == "CANCEL", e[0])):
            counting.setdefault(order_id, order_no)
        return {order_no: order_id for order_id, order_no in counting.items()}

    def _matches(self) -> dict[tuple[str, int], ErpLine]:
        """Our line -> the ERP's line. Lines of one item are the same lines in the same order; others keep their number."""
        placed, found = self._placed(), {}
        names = self._counting()
        for (order_no, line_no), row in sorted(self.told.last_rows("sales_order_line").items()):
            order_id = names.get(order_no)
            if order_id is None:
                continue
            order = placed.get(order_id)
            lines = [w.line for w in order.lines if w.item == row["item_no"]] if order else []
            free = [line for line in lines if (order_id, line) not in found]
            found[order_id, free[0] if free else line_no] = (order_no, line_no)
        return found

    def is_settled(self, order_id: str) -> bool:
        """Whether all lines of the ERP's copy have come: until then, lines of one item cannot be told apart."""
        order = self._placed().get(order_id)
        numbers = [order_no for order_no, name in self._counting().items() if name == order_id]
        if order is None or not numbers or len({w.item for w in order.lines}) == len(order.lines):
            return True
        return len([key for key in self.told.last_rows("sales_order_line") if key[0] in numbers]) == len(order.lines)

    def _totals(self, order_id: str, line: int, order: OrderFact | None, erp: ErpLine | None) -> LineTotals:
        done = self._executions(order_id, line)
        row = self.told.last_rows("sales_order_line")[erp] if erp else None
        is_gone = erp is not None and erp not in self.told.table("sales_order_line")
        item = row["item_no"] if row else next(w.item for w in (order.lines if order else ()) if w.line == line)
        asked, most = self._asked(order_id, line, order, erp, row)
        substituted = self._sum(done, "pick.substituted", None)
        shipped = self._sum(done, "shipment.confirmed", item) + self._substitutes_shipped(done)
        shipped = max(shipped, row["qty_shipped"] if row else ZERO)
        picked = max(self._sum(done, "pick.completed", item) + self._sum(done, "pick.short", item) + substituted, shipped)
        short = sum((d.short for _, d in done), ZERO)
        ordered = max(asked, min(most, picked))
        is_cancelled = self._is_cancelled(order_id, line, erp, row, is_gone=is_gone)
        takes_backorder = order is None or order.backorder
        lost = ZERO if takes_backorder else short
        wanted = min(ordered, picked) if is_cancelled else max(ordered - lost, min(ordered, picked))
        return LineTotals(
            item, ordered, ordered - wanted, picked, short, substituted, shipped,
            self._returned(order_id, line, done, shipped) if not substituted else None, self._invoiced(erp),
            may_decline=not takes_backorder and not is_cancelled and erp is None,
            is_cancelled=is_cancelled, is_listed=order is not None or not is_gone,
        )  # fmt: skip

    def _returned(self, order_id: str, line: int, done: list[tuple[str, Execution]], shipped: Decimal) -> Decimal | None:
        """What left and came back. Unsure if the ERP tells of shipments the warehouse has not told of, and lots were named."""
        told = self._sum(done, "shipment.confirmed", None)
        if shipped > told:
            back = self._sum(done, "return.received", None)
            return back if back <= told else None
        accepted = self.told.accepted_returns()
        facts = [
            f
            for f in self.told.warehouse
            if f.kind == "return.received"
            for d in f.executions
            if (d.order_id, d.line) == (order_id, line)
        ]
        return sum((accepted[f.event_id] for f in facts), ZERO)

    def _executions(self, order_id: str, line: int) -> list[tuple[str, Execution]]:
        facts = self.told.warehouse
        return [(f.kind, done) for f in facts for done in f.executions if (done.order_id, done.line) == (order_id, line)]

    @staticmethod
    def _sum(done: list[tuple[str, Execution]], kind: str, item: str | None) -> Decimal:
        return sum((d.qty for k, d in done if k == kind and item in (None, d.item)), ZERO)

    def _substitutes_shipped(self, done: list[tuple[str, Execution]]) -> Decimal:
        """Units of the line that left as something else: so much of the substitute, times what one of it serves."""
        shipped = ZERO
        for item in sorted({d.substitute_item for _, d in done if d.substitute_item is not None}):
            served = sum((d.qty for _, d in done if d.substitute_item == item), ZERO)
            by = sum((d.substitute_qty for _, d in done if d.substitute_item == item), ZERO)
            shipped += self._sum(done, "shipment.confirmed", item) * served // (by * FINEST) * FINEST
        return shipped

    def _asked(
        self, order_id: str, line: int, order: OrderFact | None, erp: ErpLine | None, row: dict[str, Any] | None
    ) -> tuple[Decimal, Decimal]:
        """The quantity that counts, and the most ever asked for: the one who changed it last has the last word."""
        says: list[tuple[int, int, int, Decimal]] = []
        if order is not None:
            says.append((0, 0, 0, next(w.qty for w in order.lines if w.line == line)))
        changes = [f for f in self.told.sales if isinstance(f, ChangeFact) and (f.order_id, f.line) == (order_id, line)]
        says.extend((change.at_ms, 0, 0, change.qty) for change in changes if change.kind == "set_qty")
        if erp is not None and row is not None:
            says.extend(self._erp_quantities(erp))
        return max(says)[3], max(qty for *_, qty in says)

    def _erp_quantities(self, erp: ErpLine) -> list[tuple[int, int, int, Decimal]]:
        """(instant of the change, or 1 for the first quantity, rank, commit, quantity), oldest first."""
        facts = [f for f in self.told.rows if f.table == "sales_order_line" and f.key == erp and f.row is not None]
        says: list[tuple[int, int, int, Decimal]] = []
        for fact in sorted(facts, key=lambda f: f.truth):
            qty = (fact.row or {})["qty_ordered"]
            if not says or says[-1][3] != qty:
                says.append((fact.at_ms if says else 1, 1, fact.truth, qty))
        return says

    def _is_cancelled(self, order_id: str, line: int, erp: ErpLine | None, row: dict[str, Any] | None, *, is_gone: bool) -> bool:
        said = [(f.kind, f.line) for f in self.told.sales if isinstance(f, ChangeFact) and f.order_id == order_id]
        if ("cancel", None) in said or ("cancel_line", line) in said:
            return True
        if erp is None or row is None:
            return False
        return is_gone or row["status"] == "X" or self.told.table("sales_order")[(erp[0],)]["status"] == "CANCEL"

    def _invoiced(self, erp: ErpLine | None) -> Decimal:
        """Billed by invoices that stand."""
        bills = self.told.table("invoice")
        billed = ZERO
        for (number, _), row in self.told.table("invoice_line").items():
            bill = bills.get((number,))
            if bill is not None and bill["status"] != "VOID" and (bill["order_no"], row["order_line_no"]) == erp:
                billed += row["qty"]
        return billed
