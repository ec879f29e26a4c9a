"""The people at the simulated ERP: they buy, sell, reprice, renumber and bill, and the connector delivers it in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from infra.simulation import feeds
from infra.simulation.erp import Write, heartbeat, transaction_marker
from infra.simulation.facts import RawMessage
from infra.simulation.feeds import BASE
from infra.simulation.strays import NO_DAYS, SITES
from infra.simulation.world import ERP_CHANNELS, ItemKind, SimulatedWorld, money

Writes = list[tuple[str, dict[str, Any]]]
MOST_LOWER = 6
Acts = tuple[tuple[Any, int], ...]


@dataclass(frozen=True, slots=True)
class ErpUsers:
    """The ERP's users and its connector. `acts`: what they do, and how often."""

    world: SimulatedWorld
    acts: Acts = ()

    def day(self) -> list[RawMessage]:
        """A few transactions, then what the connector delivers of them: perhaps not all yet, perhaps some of it again."""
        w = self.world
        for _ in range(w.random.randint(1, 5)):
            first, second = w.erp.begin(), w.erp.begin()
            acts = self.acts or ACTS
            w.random.choices([act for act, _ in acts], [weight for _, weight in acts])[0](self, first)
            if w.random.random() < 0.3:  # a concurrent transaction, written later, committed first
                self._reprice(second)
                first[:] = [x for x in first if all((x.table, x.key) != (y.table, y.key) for y in second)]
            w.erp.commit(second)
            w.erp.commit(first)
        if w.random.random() < 0.2:
            w.erp.read_again(w.random.choice(("item", "inventory_balance", "purchase_order_line", "sales_order_line")))
        return self._connector()

    def begin_anew(self) -> list[RawMessage]:
        """Much happens that no connector sees; then another is made, and reads everything."""
        w = self.world
        for _ in range(w.random.randint(2, 8)):
            tx = w.erp.begin()
            self._forget(tx) if w.random.random() < 0.3 else w.random.choice(ACTS)[0](self, tx)
            w.erp.commit(tx)
        is_lower = w.random.random() < 0.5 and w.erp.histories < MOST_LOWER
        w.met["history begun lower down" if is_lower else "history begun higher up"] += 1
        seen = len(w.erp.unseen)
        read = w.erp.begin_anew(w.heard, is_lower=is_lower)
        w.met["deletion unseen"] += len(w.erp.unseen) - seen
        w.delivered = [message for message in w.delivered if not message.topic.startswith("raw.erp.")]
        return w.interleave(read)

    def _forget(self, tx: list[Write]) -> None:
        """A row is deleted."""
        w = self.world
        table = w.random.choice(("purchase_order_line", "item_price", "inventory_balance", "invoice_line"))
        if rows := sorted(w.erp.rows[table]):
            w.erp.delete(tx, table, w.random.choice(rows))

    def empty(self) -> list[RawMessage]:
        """A table is truncated, and perhaps filled again."""
        w = self.world
        table = w.random.choice(("purchase_order_line", "item_price", "inventory_balance", "invoice_line"))
        w.met["table truncated"] += 1
        w.erp.truncate(table)
        tx = w.erp.begin()
        if w.random.random() < 0.5:
            self._rebalance(tx)
            self._reprice(tx)
        w.erp.commit(tx)
        return self.day()

    def _connector(self) -> list[RawMessage]:
        """What the connector delivers: it may stop anywhere; after a crash it repeats some of what it had sent."""
        w = self.world
        start, end = w.heard, len(w.erp.stream)
        if w.random.random() < 0.25:
            end = w.random.randint(start, end)
        if w.random.random() < 0.3:
            start = max(w.erp.begun, start - w.random.randint(1, 12))
        w.heard = end
        number = w.number()
        others = [transaction_marker("BEGIN", number), heartbeat(w.now_ms), transaction_marker("END", number)]
        return w.interleave([*w.erp.stream[start:end], *others])

    # --- master data ---------------------------------------------------------------------------------------------------

    def _reprice(self, tx: list[Write]) -> None:
        w = self.world
        w.erp.put(tx, "item_price", w.price_row(w.random.choice(w.items).item))

    def _change_item(self, tx: list[Write]) -> None:
        w = self.world
        kind = w.random.choice(w.items)
        hidden = ("description",) if w.random.random() < 0.5 else ()
        changes: dict[str, Any] = {"safety_stock": money(w.random.choice((0, 0, 1, 3))), "updated_at": w.now_ms * 1000}
        if not hidden:
            changes["description"] = f"thing {w.number()}"
        w.erp.put(tx, "item", w.erp.rows["item"][(kind.item,)] | changes, hidden)

    def _rebalance(self, tx: list[Write]) -> None:
        w = self.world
        kind, site = w.random.choice(w.items), w.random.choice(w.sites)
        w.erp.put(tx, "inventory_balance", w.balance_row(kind.item, site, w.some(kind, 0, 40)))

    def _renumber(self, tx: list[Write]) -> None:
        """A thing nobody stocks is created, renumbered or deleted."""
        w = self.world
        old = sorted(key for key in w.erp.rows["item"] if key[0].startswith("OLD"))
        if old and w.random.random() < 0.3:
            w.erp.delete(tx, "item", old[0])
        elif old:
            row = w.erp.rows["item"][old[0]] | {"item_no": f"OLD-{w.number()}"}
            w.erp.renumber(tx, "item", old[0], row, ("description",) if w.random.random() < 0.5 else ())
        else:
            w.erp.put(tx, "item", w.item_row(ItemKind(f"OLD-{w.number()}", "EA", BASE, ())))

    # --- buying --------------------------------------------------------------------------------------------------------

    def _buy(self, tx: list[Write]) -> None:
        w = self.world
        po_no = f"PO-{w.number()}"
        writes: Writes = [("purchase_order", {"po_no": po_no, "supplier": "ACME", "status": "OPEN"})]
        for line in range(1, w.random.randint(2, 3)):
            kind, site = w.random.choice(w.items), w.random.choice(w.sites)
            expected = w.random.choice(
                (w.day(w.random.randint(-1, 6)), w.day(w.random.randint(0, 4)), None, w.random.choice(NO_DAYS))
            )
            w.met["supply on a day that means none"] += expected in NO_DAYS
            if w.random.random() < 0.08:
                site = w.random.choice(SITES)
                w.met["supply at a mistyped site"] += 1
            row = {"po_no": po_no, "line_no": line, "item_no": kind.item, "site_code": site, "expected_date": expected}
            row |= {"qty_ordered": money(w.some(kind, 5, 30)), "qty_received": money(0), "status": "O"}
            writes.append(("purchase_order_line", row))
        self._write(tx, writes)

    def _progress_purchase(self, tx: list[Write]) -> None:
        w = self.world
        lines = sorted(w.erp.rows["purchase_order_line"])
        if not lines:
            return
        key = w.random.choice(lines)
        row = w.erp.rows["purchase_order_line"][key]
        is_dated = row["expected_date"] is not None and row["expected_date"] not in NO_DAYS
        later = None if not is_dated else row["expected_date"] + timedelta(days=w.random.randint(-2, 4))
        changes: tuple[dict[str, Any], ...] = (
            {"expected_date": later},
            {"qty_received": money(row["qty_ordered"] // 2), "status": "P"},
            {"qty_received": row["qty_ordered"], "status": "C"},
            {"status": "X"},
            {"qty_ordered": row["qty_ordered"] + 5},
        )
        choice = w.random.randrange(len(changes) + 2)
        header = w.erp.rows["purchase_order"].get((key[0],))
        if choice < len(changes):
            w.erp.put(tx, "purchase_order_line", row | changes[choice])
        elif choice == len(changes):
            w.erp.delete(tx, "purchase_order_line", key)
        elif header is not None:
            w.erp.put(tx, "purchase_order", header | {"status": w.random.choice(("CLOSED", "CANCEL", "PART"))})

    # --- selling -------------------------------------------------------------------------------------------------------

    def _sell_by_phone(self, tx: list[Write]) -> None:
        """An order that is born in the ERP: header and lines in any order."""
        w = self.world
        number = w.number()
        ref = None if w.random.random() < 0.5 else f"E{number}"
        kinds = [w.random.choice(w.items) for _ in range(w.random.randint(1, 2))]
        lines = [(kind.item, w.some(kind, 1, 9)) for kind in kinds]
        self._write(tx, self._order(f"SO{number:06}", "PHONE" if ref is None else "EDI", ref, self._requested(), lines))

    def _requested(self) -> Any:
        w = self.world
        return w.random.choice(NO_DAYS) if w.random.random() < 0.1 else w.day(w.random.randint(0, 3))

    def _echo(self, tx: list[Write]) -> None:
        """A channel's order is entered in the ERP, as it was placed."""
        w = self.world
        entered = {row["external_ref"] for row in w.erp.rows["sales_order"].values()}
        is_resend = w.random.random() < 0.2  # entered twice: EDI resends happen
        fresh = [name for name, (_, ref, _) in w.orders.items() if (ref in entered) == is_resend and name not in w.cancelled]
        if not fresh:
            return
        channel, ref, order = w.orders[w.random.choice(fresh)]
        lines = [(line.item, line.qty) for line in order.lines]
        order_no = f"SO{w.number():06}"
        self._write(tx, self._order(order_no, ERP_CHANNELS[channel], ref, order.requested_on, lines, order.customer))

    def _order(
        self,
        order_no: str,
        channel: str,
        ref: str | None,
        requested: Any,
        lines: list[tuple[str, Decimal]],
        customer: str = "C-0",
    ) -> Writes:
        w = self.world
        head: dict[str, Any] = {"order_no": order_no, "channel": channel, "external_ref": ref, "customer_no": customer}
        head |= {"status": "OPEN"}
        head |= {"requested_ship_date": requested, "created_at": feeds.instant(w.now_ms), "updated_at": w.now_ms, "priority": 5}
        writes: Writes = [("sales_order", head)]
        for number, (item, qty) in enumerate(lines, 1):
            row: dict[str, Any] = {
                "order_no": order_no,
                "line_no": number,
                "item_no": item,
                "site_code": w.random.choice(w.sites),
            }
            row |= {"qty_ordered": money(qty), "qty_allocated": money(0), "qty_shipped": money(0), "qty_invoiced": money(0)}
            writes.append(("sales_order_line", row | {"unit_price": Decimal("12.5000"), "status": "O"}))
        return writes

    def _progress_order(self, tx: list[Write]) -> None:
        """The ERP changes an order it has: another quantity, a cancelled line, a cancelled or held order, a line gone."""
        w = self.world
        lines = sorted(w.erp.rows["sales_order_line"])
        if not lines:
            return
        key = w.random.choice(lines)
        row, header = w.erp.rows["sales_order_line"][key], w.erp.rows["sales_order"][(key[0],)]
        act = w.random.choices(("qty", "ship", "hold", "cancel_line", "cancel", "delete"), (6, 6, 2, 2, 1, 1))[0]
        if act == "ship":
            self._ship(tx, row)
        elif act == "qty":
            kind = next(kind for kind in w.items if kind.item == row["item_no"])
            w.erp.put(tx, "sales_order_line", row | {"qty_ordered": money(w.some(kind, 1, 12))})
        elif act == "cancel_line":
            w.erp.put(tx, "sales_order_line", row | {"status": "X"})
        elif act == "delete":
            w.erp.delete(tx, "sales_order_line", key)
        else:
            status = "CANCEL" if act == "cancel" else "OPEN" if header["status"] == "HOLD" else "HOLD"
            w.erp.put(tx, "sales_order", header | {"status": status})

    def _ship(self, tx: list[Write], row: dict[str, Any]) -> None:
        """Where there is no WMS the ERP ships, out of its own balance; elsewhere it books what the warehouse shipped."""
        w = self.world
        site, item = row["site_code"], row["item_no"]
        if site in w.erp_sites:
            qty = min(Decimal(w.random.randint(1, 4)), row["qty_ordered"] - row["qty_shipped"])
            balance = w.erp.rows["inventory_balance"].get((site, item))
            if balance is None:  # the table was emptied
                return
            w.erp.put(tx, "inventory_balance", balance | {"on_hand": balance["on_hand"] - qty, "row_version": w.number()})
            w.erp.put(tx, "sales_order_line", row | {"qty_shipped": row["qty_shipped"] + qty, "status": "P"})
            return
        order_id = self._order_id(row["order_no"])
        line = (order_id, row["line_no"], item)
        gone = sum((s.qty for s in w.shipped if (s.order_id, s.line, s.place.item) == line), Decimal(0))
        w.erp.put(tx, "sales_order_line", row | {"qty_shipped": money(gone), "status": "P"})

    def _order_id(self, order_no: str) -> str:
        header = self.world.erp.rows["sales_order"][(order_no,)]
        channel = {theirs: ours for ours, theirs in ERP_CHANNELS.items()}.get(header["channel"])
        return f"erp:{order_no}" if header["external_ref"] is None else f"{channel}:{header['external_ref']}"

    def _bill(self, tx: list[Write]) -> None:
        """An invoice for what the warehouse shipped of an order the ERP has, sometimes for more; or an old one is voided."""
        w = self.world
        posted = sorted(key for key, row in w.erp.rows["invoice"].items() if row["status"] == "POSTED")
        if posted and w.random.random() < 0.2:
            w.erp.put(tx, "invoice", w.erp.rows["invoice"][w.random.choice(posted)] | {"status": "VOID"})
            return
        lines = sorted(w.erp.rows["sales_order_line"])
        if not lines:
            return
        order_no, line_no = w.random.choice(lines)
        row = w.erp.rows["sales_order_line"][(order_no, line_no)]
        number, qty = f"INV{w.number()}", money(w.random.randint(1, 3))
        bill = {"invoice_no": number, "order_no": order_no, "status": "POSTED", "total": Decimal("12.50")}
        line = {"invoice_no": number, "line_no": 1, "order_line_no": line_no, "item_no": row["item_no"], "qty": qty}
        line |= {"unit_price": Decimal("12.5000"), "amount": Decimal("12.50")}
        self._write(tx, [("invoice", bill | {"created_at": feeds.instant(w.now_ms)}), ("invoice_line", line)])

    def _write(self, tx: list[Write], writes: Writes) -> None:
        self.world.random.shuffle(writes)
        for table, row in writes:
            self.world.erp.put(tx, table, row)

    # --- customers -------------------------------------------------------------------------------------------------------

    def _judge_customer(self, tx: list[Write]) -> None:
        """Credit control: another limit, a hold or none, a customer that may not order any more, or one that is new."""
        w = self.world
        known = sorted(w.erp.rows["customer"])
        if w.random.random() < 0.2:
            w.erp.put(tx, "customer", w.customer_row(f"C-{len(known)}"))
            return
        row = w.erp.rows["customer"][w.random.choice(known)]
        changes: tuple[dict[str, Any], ...] = (
            {"credit_limit": w.random.choice((None, Decimal(100), Decimal(900), Decimal(5000)))},
            {"credit_hold": not row["credit_hold"]},
            {"status": "I" if row["status"] == "A" else "A"},
            {"email": f"post@{w.number()}.example"},
        )
        w.erp.put(tx, "customer", row | w.random.choice(changes))


ACTS: Acts = (
    (ErpUsers._reprice, 1),
    (ErpUsers._change_item, 2),
    (ErpUsers._rebalance, 2),
    (ErpUsers._renumber, 1),
    (ErpUsers._buy, 3),
    (ErpUsers._progress_purchase, 3),
    (ErpUsers._sell_by_phone, 3),
    (ErpUsers._echo, 3),
    (ErpUsers._progress_order, 4),
    (ErpUsers._bill, 2),
)

BESIDE_RUNS: Acts = (
    (ErpUsers._reprice, 1),
    (ErpUsers._change_item, 2),
    (ErpUsers._rebalance, 1),
    (ErpUsers._buy, 3),
    (ErpUsers._progress_purchase, 3),
    (ErpUsers._sell_by_phone, 1),
    (ErpUsers._progress_order, 1),
    (ErpUsers._judge_customer, 3),
)
"""Where crossdock runs the channels' orders: the ERP's own, all the same, and its customers."""
