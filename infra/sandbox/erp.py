"""The ERP: takes orders, numbers them, bills what it is told has shipped, and now and then changes an order itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from infra.sandbox.changefeed import ChangeFeed, RowChange, days, local_ms
from infra.sandbox.master import Master
from infra.sandbox.store import Rows, SandboxStore, due_by, due_key, first_due, joined, next_number
from infra.sandbox.values import MILLI, Dice, HttpAnswer, Name, Number, RequestRefused, answered, fixed, iso, milli, plain, read

CHANNELS = {"web": "WEB", "edi": "EDI", "marketplace": "MKT", "phone": "PHONE"}
_CENT = Decimal("0.01")
_PRICE = re.compile(r"[0-9]{1,8}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class ErpOptions:
    """`confirm_ms`: how long until an order shows in the change feed, about. `own_changes`: share of orders the ERP's own people
    change or cancel, about `own_change_ms` after they came.
    """

    confirm_ms: int = 1_000
    own_changes: float = 0.0
    own_change_ms: int = 1_000


class SiteUnits(msgspec.Struct, frozen=True):
    """So much of a line from a site."""

    site: str
    qty: str


class AskedLine(msgspec.Struct, frozen=True):
    """A line as it should be. One of nothing is not delivered (any more)."""

    line: Number
    item: Name
    site: str | None
    qty: str
    unit_price: str | None = None
    sites: list[SiteUnits] = []


class AskedOrder(msgspec.Struct, frozen=True):
    """An order as it should be, whole."""

    revision: int
    customer: Name
    lines: list[AskedLine]
    requested_date: date | None = None
    priority: int = 5


class AskedInvoiceLine(msgspec.Struct, frozen=True):
    """So much of a line to bill or to credit: as the item ordered, or as so much (`item_qty`) of another that stands for it."""

    line: Number
    qty: str
    item: str | None = None
    item_qty: str | None = None


class AskedInvoice(msgspec.Struct, frozen=True):
    """What to bill."""

    lines: list[AskedInvoiceLine]


class ErpOrderLine(msgspec.Struct, frozen=True):
    """A row of sales_order_line. `status`: O open, A allocated, P partly shipped, S shipped, I invoiced, X cancelled."""

    item: str
    site: str
    ordered: int
    price: str | None
    allocated: int = 0
    shipped: int = 0
    invoiced: int = 0
    status: str = "O"
    sites: dict[str, str] = {}


class ErpSalesOrder(msgspec.Struct, frozen=True):
    """A row of sales_order and its lines. `is_stopped`: the ERP's people cancelled it; nothing brings it back."""

    order_no: str
    channel: str
    external_ref: str
    customer: str
    requested_on: date | None
    priority: int
    created_ms: int
    revision: int
    lines: dict[int, ErpOrderLine]
    status: str = "OPEN"
    is_stopped: bool = False


class CreditNote(msgspec.Struct, frozen=True):
    """What a credit note gives back of an order, by line."""

    credit_no: str
    order_no: str
    lines: dict[int, int]


class ErpInvoice(msgspec.Struct, frozen=True):
    """A row of invoice, and what it bills by order line."""

    invoice_no: str
    order_no: str
    total: str
    lines: dict[int, int]


class SandboxErp:
    """The core. Times are in ms."""

    def __init__(self, store: SandboxStore, master: Master, seed: int, options: ErpOptions | None = None) -> None:
        self._master = master
        self._options = options or ErpOptions()
        self._dice = Dice(seed, "erp")
        self._orders: Rows[ErpSalesOrder] = store.rows("order", ErpSalesOrder)
        self._numbers: Rows[str] = store.rows("number", str)
        self._invoices: Rows[ErpInvoice] = store.rows("invoice", ErpInvoice)
        self._credits: Rows[CreditNote] = store.rows("credit", CreditNote)
        self._answers: Rows[HttpAnswer] = store.rows("answer", HttpAnswer)
        self._due: Rows[str] = store.rows("own_change", str)
        self._counters: Rows[int] = store.rows("counter", int)
        self._feed = ChangeFeed(store)

    def put_order(self, key: str, channel: str, external_ref: str, body: Any, now: int) -> HttpAnswer:
        """Take an order, or change it to a higher revision."""
        return answered(self._answers, key, lambda: self._put(channel, external_ref, read(AskedOrder, body), now))

    def post_invoice(self, key: str, order_no: str, body: Any, now: int) -> HttpAnswer:
        """Bill units of an order."""
        return answered(self._answers, key, lambda: self._bill(order_no, read(AskedInvoice, body), now))

    def post_credit(self, key: str, order_no: str, body: Any, now: int) -> HttpAnswer:
        """Credit units of an order that came back."""
        return answered(self._answers, key, lambda: self._credit(order_no, read(AskedInvoice, body)))

    def advance(self, now: int) -> list[dict[str, Any]]:
        """What the ERP's people do by now; and the change feed's messages that are due, each once."""
        for key, order_no in due_by(self._due, now):
            self._due.remove(key)
            self._change_itself(order_no, now)
        return self._feed.show(now)

    def next_due(self) -> int | None:
        """When there is something to do next, if there is."""
        return first_due(self._due, self._feed.waiting)

    def state(self) -> dict[str, Any]:
        """Orders and invoices, for checks."""
        orders = {
            f"{order.channel}/{order.external_ref}": {
                "order_no": order.order_no,
                "revision": order.revision,
                "status": order.status,
                "lines": {
                    str(number): {
                        "item": line.item,
                        "site": line.site,
                        **({"sites": line.sites} if line.sites else {}),
                        "ordered": plain(line.ordered),
                        "shipped": plain(line.shipped),
                        "invoiced": plain(line.invoiced),
                        "status": line.status,
                    }
                    for number, line in order.lines.items()
                },
            }
            for _, order in self._orders.scan()
        }
        invoices = {
            no: {"order_no": row.order_no, "total": row.total, "lines": {str(n): plain(qty) for n, qty in row.lines.items()}}
            for no, row in self._invoices.scan()
        }
        credits = {
            no: {"order_no": row.order_no, "lines": {str(n): plain(qty) for n, qty in row.lines.items()}}
            for no, row in self._credits.scan()
        }
        return {"orders": orders, "invoices": invoices, "credits": credits}

    # --- orders

    def _put(self, channel: str, external_ref: str, asked: AskedOrder, now: int) -> HttpAnswer:
        code = CHANNELS.get(channel.lower(), channel.upper())
        order_no = self._numbers.get(joined(code, external_ref))
        held = None if order_no is None else self._orders.get(order_no)
        if held is not None and asked.revision <= held.revision:
            return HttpAnswer(200, {"order_no": held.order_no, "revision": held.revision})
        if asked.customer not in self._master.customers:
            raise RequestRefused(f"Customer {asked.customer!r} is not known.")
        if len({line.line for line in asked.lines}) < len(asked.lines):
            raise RequestRefused("A line number is there twice.")
        wanted = {line.line: self._checked(line, asked.customer) for line in asked.lines if milli(line.qty)}
        if held is not None:
            self._revise(held, asked, wanted, now)
            return HttpAnswer(200, {"order_no": held.order_no, "revision": asked.revision})
        if not wanted:
            raise RequestRefused("No line of the order is left to deliver.")
        order_no = f"SO-{next_number(self._counters, 'order', 900_001)}"
        order = ErpSalesOrder(
            order_no, code, external_ref, asked.customer, asked.requested_date, asked.priority, now, asked.revision, wanted
        )
        self._numbers.put(joined(code, external_ref), order_no)
        self._create(order, now)
        return HttpAnswer(201, {"order_no": order_no, "revision": asked.revision})

    def _checked(self, asked: AskedLine, customer: str) -> ErpOrderLine:
        if asked.item not in self._master.items:
            raise RequestRefused(f"Line {asked.line}: item {asked.item!r} is not known.")
        if asked.site is None or asked.site not in self._master.sites:
            raise RequestRefused(f"Line {asked.line}: site {asked.site!r} is not known.")
        listed = self._master.prices.get((self._master.customers[customer], asked.item))
        sites = {part.site: part.qty for part in asked.sites}
        if sites and (not sites.keys() <= self._master.sites or sum(map(milli, sites.values())) != milli(asked.qty)):
            raise RequestRefused(
                f"Line {asked.line}: its sites {', '.join(sites)} are not known, or do not add up to {asked.qty}."
            )
        return ErpOrderLine(asked.item, asked.site, milli(asked.qty), _price(asked.unit_price, asked.line) or listed, sites=sites)

    def _create(self, order: ErpSalesOrder, now: int) -> None:
        """Two transactions: the order comes in open, then its stock is allocated, as our caller found it."""
        delay = self._dice.delay_ms(self._options.confirm_ms, order.order_no)
        rows = [_header_row("c", order, now), *(_line_row("c", order, number) for number in order.lines)]
        self._feed.commit(rows, now, delay)
        lines = {number: _settled(line) for number, line in order.lines.items()}
        self._save(order, replace(order, lines=lines), now, delay)
        if self._dice.hits(self._options.own_changes, "own", order.order_no):
            due = now + self._dice.delay_ms(self._options.own_change_ms, "own", order.order_no)
            self._due.put(due_key(due, order.order_no), order.order_no)

    def _revise(self, held: ErpSalesOrder, asked: AskedOrder, wanted: dict[int, ErpOrderLine], now: int) -> None:
        if held.is_stopped and wanted:
            raise RequestRefused(f"Order {held.order_no} was cancelled here; it cannot be changed any more.")
        lines = {}
        for number in sorted(held.lines.keys() | wanted.keys()):
            was, new = held.lines.get(number), wanted.get(number)
            if was is not None and new is not None and was.shipped and was.item != new.item:
                raise RequestRefused(f"Line {number}: {was.item} has shipped, so it cannot become {new.item}.")
            lines[number] = _revised(was, new)
        order = replace(
            held,
            revision=asked.revision,
            customer=asked.customer,
            requested_on=asked.requested_date,
            priority=asked.priority,
            lines=lines,
        )
        delay = self._dice.delay_ms(self._options.confirm_ms, held.order_no, asked.revision)
        self._save(held, order, now, delay)

    def _save(
        self, old: ErpSalesOrder, new: ErpSalesOrder, now: int, delay_ms: int, also: tuple[RowChange, ...] = ()
    ) -> ErpSalesOrder:
        """Keep the order, and commit the rows in which it differs."""
        new = replace(new, status=_status(new))
        self._orders.put(new.order_no, new)
        rows = [
            _line_row("u" if number in old.lines else "c", new, number)
            for number, line in new.lines.items()
            if old.lines.get(number) != line
        ]
        self._feed.commit([*also, *rows, _header_row("u", new, now)], now, delay_ms)
        return new

    def _change_itself(self, order_no: str, now: int) -> None:
        """What the ERP's people do: cancel an order, want less or more of a line, or want it later."""
        order = self._orders.get(order_no)
        assert order is not None
        live = [number for number, line in order.lines.items() if line.status != "X" and not line.shipped]
        if not live or order.is_stopped:
            return
        dice = self._dice.of("what", order_no)
        what, number = dice.choice(("cancel", "less", "more", "later")), dice.choice(live)
        lines, line = dict(order.lines), order.lines[number]
        if what == "cancel" and len(live) == len(lines):
            lines = {n: _cancelled(line) for n, line in lines.items()}
            self._save(order, replace(order, lines=lines, is_stopped=True), now, 0)
        elif what == "later":
            later = (order.requested_on or date.fromisoformat(iso(now)[:10])) + timedelta(days=1)
            self._save(order, replace(order, requested_on=later), now, 0)
        else:
            qty = line.ordered + MILLI if what == "more" else max(min(MILLI, line.ordered), line.ordered // 2 // MILLI * MILLI)
            lines[number] = _settled(replace(line, ordered=qty))
            self._save(order, replace(order, lines=lines), now, 0)

    # --- invoices

    def _bill(self, order_no: str, asked: AskedInvoice, now: int) -> HttpAnswer:
        order = self._orders.get(order_no)
        if order is None:
            raise RequestRefused(f"Order {order_no!r} is not known.")
        billed: dict[int, int] = {}
        for line in asked.lines:
            billed[line.line] = billed.get(line.line, 0) + milli(line.qty)
        if not any(billed.values()):
            raise RequestRefused("There is nothing to bill.")
        for number, qty in billed.items():
            held = order.lines.get(number)
            if held is None or held.status == "X":
                raise RequestRefused(f"Order {order_no} has no line {number} to bill.")
            if held.invoiced + qty > held.ordered:
                raise RequestRefused(
                    f"Line {number}: {plain(held.invoiced + qty)} would be more than the {plain(held.ordered)} ordered."
                )
        lines = {n: _settled(replace(line, shipped=line.shipped + billed.get(n, 0))) for n, line in order.lines.items()}
        shipped = self._save(order, replace(order, lines=lines), now, 0)
        invoice_no = f"INV-{next_number(self._counters, 'invoice', 900_001)}"
        self._invoice(invoice_no, shipped, asked.lines, {number: qty for number, qty in billed.items() if qty}, now)
        return HttpAnswer(201, {"invoice_no": invoice_no})

    def _credit(self, order_no: str, asked: AskedInvoice) -> HttpAnswer:
        """No more is credited than was billed."""
        order = self._orders.get(order_no)
        if order is None:
            raise RequestRefused(f"Order {order_no!r} is not known.")
        back: dict[int, int] = {}
        for line in asked.lines:
            back[line.line] = back.get(line.line, 0) + milli(line.qty)
        if not any(back.values()):
            raise RequestRefused("There is nothing to credit.")
        for number, qty in back.items():
            held = order.lines.get(number)
            before = sum(row.lines.get(number, 0) for _, row in self._credits.scan() if row.order_no == order_no)
            if held is None or before + qty > held.invoiced:
                billed = plain(held.invoiced if held else 0)
                raise RequestRefused(f"Line {number}: {plain(before + qty)} would be credited of {billed} billed.")
        credit_no = f"CR-{next_number(self._counters, 'credit', 900_001)}"
        self._credits.put(credit_no, CreditNote(credit_no, order_no, back))
        return HttpAnswer(201, {"credit_no": credit_no})

    def _invoice(
        self, invoice_no: str, order: ErpSalesOrder, asked: list[AskedInvoiceLine], billed: dict[int, int], now: int
    ) -> None:
        rows, total = [], Decimal(0)
        for row_no, (number, item, qty, served) in enumerate(_merged(asked), 1):
            line = order.lines[number]
            amount = (Decimal(line.price or "0") * served / MILLI).quantize(_CENT, ROUND_HALF_UP)
            total += amount
            key = {"invoice_no": invoice_no, "line_no": row_no}
            price = line.price if item is None else str((amount * MILLI / qty).quantize(Decimal("0.0001")))
            row = {"order_line_no": number, "item_no": item or line.item, "qty": fixed(qty), "unit_price": price}
            rows.append(RowChange("c", "invoice_line", key, key | row | {"amount": str(amount)}))
        total = total.quantize(_CENT)
        header = {"order_no": order.order_no, "status": "POSTED", "total": str(total), "created_at": iso(now)}
        rows.append(RowChange("c", "invoice", {"invoice_no": invoice_no}, {"invoice_no": invoice_no} | header))
        self._invoices.put(invoice_no, ErpInvoice(invoice_no, order.order_no, str(total), billed))
        lines = {n: _settled(replace(line, invoiced=line.invoiced + billed.get(n, 0))) for n, line in order.lines.items()}
        self._save(order, replace(order, lines=lines), now, 0, tuple(rows))


def _merged(asked: list[AskedInvoiceLine]) -> list[tuple[int, str | None, int, int]]:
    """Line, another item than the one ordered, units of it, units of the line: each item of a line once, of something."""
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for line in asked:
        key = (line.line, line.item or "")
        qty, served = found.get(key, (0, 0))
        found[key] = (qty + milli(line.qty if line.item_qty is None else line.item_qty), served + milli(line.qty))
    return [(number, item or None, qty, served) for (number, item), (qty, served) in sorted(found.items()) if qty]


def _price(text: str | None, line: int) -> str | None:
    """A unit price as the column has it, with four decimals."""
    if text is None:
        return None
    if not _PRICE.fullmatch(text):
        raise RequestRefused(f"Line {line}: unit_price {text[:40]!r} is not a price.")
    return str(Decimal(text).quantize(Decimal("0.0001"), ROUND_HALF_UP))


def _settled(line: ErpOrderLine) -> ErpOrderLine:
    """What is not shipped is allocated, and the status says how far the line is. A cancelled line stays as it is."""
    if line.status == "X":
        return line
    if line.shipped < line.ordered:
        return replace(line, allocated=line.ordered - line.shipped, status="P" if line.shipped else "A")
    return replace(line, allocated=0, status="I" if line.invoiced == line.shipped else "S")


def _cancelled(line: ErpOrderLine) -> ErpOrderLine:
    return replace(line, allocated=0, status="X")


def _revised(was: ErpOrderLine | None, new: ErpOrderLine | None) -> ErpOrderLine:
    """A line as it is wanted now: what has shipped stays ordered, a line of nothing is cancelled."""
    if was is None:
        assert new is not None
        return _settled(new)
    ordered = max(new.ordered if new else 0, was.shipped)
    if not ordered:
        return _cancelled(was)
    line = was if new is None else replace(was, item=new.item, site=new.site, price=new.price, sites=new.sites)
    return _settled(replace(line, ordered=ordered, status="O"))


def _status(order: ErpSalesOrder) -> str:
    live = [line for line in order.lines.values() if line.status != "X"]
    if not live:
        return "CANCEL"
    if all(line.status == "I" for line in live):
        return "INVOICED"
    if all(line.shipped == line.ordered for line in live):
        return "SHIPPED"
    return "PART" if any(line.shipped for line in live) else "ALLOC"


def _header_row(op: str, order: ErpSalesOrder, now: int) -> RowChange:
    row = {
        "order_no": order.order_no,
        "channel": order.channel,
        "external_ref": order.external_ref,
        "customer_no": order.customer,
        "status": order.status,
        "requested_ship_date": days(order.requested_on),
        "created_at": iso(order.created_ms),
        "updated_at": local_ms(now),
        "priority": order.priority,
    }
    return RowChange(op, "sales_order", {"order_no": order.order_no}, row)


def _line_row(op: str, order: ErpSalesOrder, number: int) -> RowChange:
    line = order.lines[number]
    key = {"order_no": order.order_no, "line_no": number}
    row = {
        "item_no": line.item,
        "site_code": line.site,
        "qty_ordered": fixed(line.ordered),
        "qty_allocated": fixed(line.allocated),
        "qty_shipped": fixed(line.shipped),
        "qty_invoiced": fixed(line.invoiced),
        "unit_price": line.price,
        "status": line.status,
    }
    return RowChange(op, "sales_order_line", key, key | row)
