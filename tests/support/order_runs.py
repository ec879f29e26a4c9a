"""A yard for orders that crossdock runs: the order, promise and customers folds, and an ERP and a WMS that answer obligations.

Everything travels in lanes, each in its own order. Tests say which lane moves next; `rest` moves all until nothing is left.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from schemas.customers import RequestCredit
from schemas.deliveries import ObligationRaised, ObligationSettled
from schemas.frozen import replace
from schemas.inventory import CheckPrice, RequestAllocation
from schemas.obligations import (
    CountRequested,
    CreditNotePosted,
    InvoicePosted,
    NotifyStatus,
    ObligedLine,
    OrderPosted,
    OrderReleased,
    PostOrder,
    ReleaseOrder,
    ReleaseWithdrawn,
    RequestCount,
    RequestCreditNote,
    RequestInvoice,
    StatusNotified,
    WithdrawRelease,
    body_of,
    to_json,
)
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.orders import (
    CreditAnswered,
    ErpOrderChanged,
    ErpOrderLineChanged,
    InvoiceLinePosted,
    LineAnswered,
    LinePicked,
    LineReturned,
    LineShipped,
    LineShorted,
    LineSubstituted,
    OrderPlaced,
    OrderTick,
    PickReleased,
    PlacedLine,
    PriceChecked,
    ReleaseHold,
)
from streams.flows.orders import orders_fold
from streams.flows.promise import promise_fold
from tables.common.policy import OrderPolicy, Policy, SitePolicy
from tables.orders.lifecycle import ENDED
from tests.support.customers import CustomersFold
from tests.support.orders import NOON, ORDER, World, head, stock_facts
from tests.support.promises import Bench

POLICY = OrderPolicy(erp="erp", wms="wms", notify=("portal",))
SITES = Policy(sites={"EU1": SitePolicy(physical_owner="erp")})


def order(
    *lines: tuple[int, str, int],
    price: str | None = None,
    customer: str = "C1",
    uom: str | None = None,
    partial: bool = True,
    backorder: bool = True,
    substitute: bool = True,
) -> OrderPlaced:
    """An order of the shop: (line, item, units)."""
    return OrderPlaced(
        **head("placed"),
        order_id=ORDER,
        channel="web",
        external_ref="W1",
        customer=customer,
        requested_on=None,
        priority=5,
        content_hash="c1",
        lines=[
            PlacedLine(number, item, units * 1000, uom, Decimal(price) if price else None, "USD" if price else None, None)
            for number, item, units in lines
        ],
        allow_partial=partial,
        allow_backorder=backorder,
        allow_substitute=substitute,
    )


@dataclass
class ErpRow:
    """A line in the ERP."""

    item: str
    site: str
    ordered: int
    shipped: int = 0
    invoiced: int = 0
    status: str = "A"

    def stands(self) -> int:
        return 0 if self.status == "X" else self.ordered


@dataclass
class Erp:
    """An ERP with one order. It tells of each change by its feed, which the yard delivers."""

    feed: list[Any] = field(default_factory=list)
    no: str = "SO1"
    is_there: bool = False
    is_stopped: bool = False
    status: str = "OPEN"
    lines: dict[int, ErpRow] = field(default_factory=dict)
    revisions: list[int] = field(default_factory=list)
    invoices: int = 0
    billed: list[tuple[str, int]] = field(default_factory=list)
    credited: dict[int, int] = field(default_factory=dict)
    refuse: str | None = None
    version: int = 0
    created: int = 0
    deleted: int = 0

    def put(self, asked: PostOrder) -> tuple[str, Any]:
        assert asked.revision not in self.revisions, "told twice"
        assert asked.revision > max(self.revisions, default=0), "revisions rise"
        self.revisions.append(asked.revision)
        wanted = {row.line: row for row in asked.lines}
        assert len(wanted) == len(asked.lines)
        if self.refuse is not None:
            return "refused", self.refuse
        if not self.is_there and not any(row.qty_milli for row in asked.lines):
            return "refused", "No line is left to deliver."
        if self.is_there and self.is_stopped and any(row.qty_milli for row in asked.lines):
            return "refused", "The order was cancelled here."
        if not self.is_there:
            self.created += 1
            self.lines, self.is_there, self.is_stopped = {}, True, False
        for number in sorted(self.lines.keys() | wanted.keys()):
            row, new = self.lines.get(number), wanted.get(number)
            qty = new.qty_milli if new else 0
            if row is None and new is not None and qty:
                self._set(number, ErpRow(new.item, new.site, qty))
            elif row is not None:
                kept = max(qty, row.shipped)
                self._set(number, dataclasses.replace(row, ordered=kept or row.ordered, status="A" if kept else "X"))
        self._header()
        return "done", OrderPosted(self.no)

    def bill(self, asked: RequestInvoice) -> tuple[str, Any]:
        assert asked.order_no == self.no
        if self.refuse is not None:
            return "refused", self.refuse
        for row in asked.lines:
            held = self.lines.get(row.line)
            units = row.qty_milli
            if not self.is_there or held is None or held.status == "X" or held.invoiced + units > held.ordered:
                return "refused", f"line {row.line} cannot be billed"
        self.invoices += 1
        for row in asked.lines:
            held = self.lines[row.line]
            units = row.qty_milli
            self._set(row.line, dataclasses.replace(held, shipped=held.shipped + units, invoiced=held.invoiced + units))
            self._invoice(row)
        return "done", InvoicePosted(f"INV{self.invoices}")

    def give_back(self, asked: RequestCreditNote) -> tuple[str, Any]:
        if self.refuse is not None:
            return "refused", self.refuse
        for row in asked.lines:
            units = row.qty_milli
            self.credited[row.line] = self.credited.get(row.line, 0) + units
            assert self.credited[row.line] <= self.lines[row.line].invoiced, "no more is credited than was billed"
        return "done", CreditNotePosted("CR1")

    # --- what its people do

    def cancel(self) -> None:
        for number, row in self.lines.items():
            self._set(number, dataclasses.replace(row, status="X"))
        self.is_stopped = True
        self._header("CANCEL")

    def cancel_line(self, number: int) -> None:
        self._set(number, dataclasses.replace(self.lines[number], status="X"))

    def change(self, number: int, units: int) -> None:
        self._set(
            number, dataclasses.replace(self.lines[number], ordered=max(units * 1000, self.lines[number].shipped), status="A")
        )
        self._header()

    def add(self, number: int, item: str, units: int) -> None:
        self._set(number, ErpRow(item, "DC1", units * 1000))
        self._header()

    def hold(self, status: str = "HOLD") -> None:
        self._header(status)

    def delete(self) -> None:
        self.is_there = False
        self.deleted += 1
        self._header(is_deleted=True)
        for number in list(self.lines):
            self._line(number, is_deleted=True)
        self.lines = {}

    def take(self, *lines: tuple[int, str, int]) -> None:
        """It has the order by another way."""
        self.is_there, self.created = True, self.created + 1
        self._header()
        for number, item, units in lines:
            self._set(number, ErpRow(item, "DC1", units * 1000))

    def _set(self, number: int, row: ErpRow) -> None:
        if self.lines.get(number) != row:
            self.lines[number] = row
            self._line(number)

    def _header(self, status: str | None = None, *, is_deleted: bool = False) -> None:
        self.version += 1
        if status is None:
            is_over = self.lines and not any(row.stands() for row in self.lines.values())
            status = "CANCEL" if is_over else "OPEN" if self.status == "CANCEL" else self.status
        self.status = status
        self.feed.append(
            ErpOrderChanged(
                **head(f"erp header {self.version}", self.version),
                order_id=ORDER,
                order_no=self.no,
                revision=self.version,
                channel="web",
                customer="C1",
                status=status,
                requested_on=None,
                created_at_ms=NOON,
                priority=5,
                is_deleted=is_deleted,
            )
        )

    def _line(self, number: int, *, is_deleted: bool = False) -> None:
        self.version += 1
        row = self.lines[number]
        self.feed.append(
            ErpOrderLineChanged(
                **head(f"erp line {number} {self.version}", self.version),
                order_id=ORDER,
                order_no=self.no,
                line_no=number,
                revision=self.version,
                item=row.item,
                site=row.site,
                ordered_milli=row.ordered,
                allocated_milli=0,
                shipped_milli=row.shipped,
                invoiced_milli=row.invoiced,
                unit_price=None,
                line_status=row.status,
                commit_position=self.version,
                is_deleted=is_deleted,
            )
        )

    def _invoice(self, row: ObligedLine) -> None:
        self.version += 1
        item, qty = (row.substitute, row.substitute_milli) if row.substitute else (row.item, row.qty_milli)
        self.billed.append((item, qty // 1000))
        self.feed.append(
            InvoiceLinePosted(
                **head(f"erp invoice {self.version}", self.version),
                order_id=ORDER,
                order_no=self.no,
                invoice_no=f"INV{self.invoices}",
                invoice_line=len(self.billed),
                order_line_no=row.line,
                revision=1,
                item=item,
                qty_milli=qty,
                amount=Decimal(1),
                posted_at_ms=NOON,
                is_void=False,
            )
        )


@dataclass
class Wms:
    """Warehouses: they pick and ship what they were released, and tell of it."""

    said: list[Any] = field(default_factory=list)
    todo: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    staged: dict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))
    items: dict[int, str] = field(default_factory=dict)
    releases: list[ReleaseOrder] = field(default_factory=list)
    withdrawals: list[WithdrawRelease] = field(default_factory=list)
    refuse: str | None = None
    number: int = 0

    def release(self, asked: ReleaseOrder) -> tuple[str, Any]:
        if self.refuse is not None:
            return "refused", self.refuse
        self.releases.append(asked)
        for row in asked.lines:
            assert row.qty_milli > 0
            assert row.uom == "EA"
            self.items[row.line] = row.item
            self.todo[row.line, row.site] += row.qty_milli
            self.said.append(PickReleased(**self._fact(row.line, row.site, row.qty_milli)))
        return "done", OrderReleased()

    def withdraw(self, asked: WithdrawRelease) -> tuple[str, Any]:
        self.withdrawals.append(asked)
        back = []
        for row in asked.lines:
            units = min(row.qty_milli, self.todo[row.line, row.site])
            self.todo[row.line, row.site] -= units
            if units:
                back.append(replace(row, qty_milli=units))
        return "done", ReleaseWithdrawn(back)

    def pick(self, line: int, units: int, site: str = "DC1") -> None:
        self._take(line, site, units)
        self.staged[line, site, self.items[line]] += units * 1000
        self.said.append(LinePicked(**self._fact(line, site, units * 1000)))

    def short(self, line: int, units: int, site: str = "DC1", picked: int = 0) -> None:
        self._take(line, site, units + picked)
        self.staged[line, site, self.items[line]] += picked * 1000
        self.said.append(LineShorted(**self._fact(line, site, picked * 1000), short_milli=units * 1000))

    def substitute(self, line: int, units: int, other: str, other_units: int, site: str = "DC1") -> None:
        self._take(line, site, units)
        self.staged[line, site, other] += other_units * 1000
        fact = self._fact(line, site, units * 1000)
        self.said.append(LineSubstituted(**fact, substitute_item=other, substitute_milli=other_units * 1000))

    def ship(self, line: int, units: int | None = None, site: str = "DC1", item: str | None = None) -> None:
        item = item or self.items[line]
        qty = self.staged[line, site, item] if units is None else units * 1000
        self.staged[line, site, item] -= qty
        fact = self._fact(line, site, qty) | {"item": item}
        self.said.append(LineShipped(**fact, shipment=f"S{self.number}", carrier=None, tracking=None, lot=None))

    def take_back(self, line: int, units: int, site: str = "DC1", item: str | None = None, lot: str | None = None) -> None:
        fact = self._fact(line, site, units * 1000) | {"item": item or self.items[line]}
        self.said.append(LineReturned(**fact, lot=lot))

    def work_off(self) -> None:
        """Pick and ship all there is."""
        for (line, site), qty in list(self.todo.items()):
            if qty:
                self.todo[line, site] = 0
                self.staged[line, site, self.items[line]] += qty
                self.said.append(LinePicked(**self._fact(line, site, qty)))
        for (line, site, item), qty in list(self.staged.items()):
            if qty:
                self.ship(line, None, site, item)

    def _take(self, line: int, site: str, units: int) -> None:
        self.todo[line, site] = max(0, self.todo[line, site] - units * 1000)

    def _fact(self, line: int, site: str, qty: int) -> dict[str, Any]:
        self.number += 1
        facts = {"order_id": ORDER, "line": line, "item": self.items[line], "site": site, "qty_milli": qty, "uom": None}
        return head(f"wms {self.number}", self.number) | facts


class Yard:
    """Everything together. `lanes`: what is under way, by where it is from and goes to."""

    def __init__(self, policy: OrderPolicy = POLICY, sites: Policy = SITES, **stock: int) -> None:
        self.bench = Bench(sites)
        self.bench.fold = promise_fold(sites, policy)
        self.customers = CustomersFold()
        self.customers.erp("C1")
        self.world = World(fold=orders_fold(policy, sites))
        self.policy = policy
        self.erp, self.wms = Erp(), Wms()
        self.lanes: dict[str, deque[Any]] = defaultdict(deque)
        self.obligations: list[ObligationRaised] = []
        self.parked: list[Any] = []
        self.notices: list[NotifyStatus] = []
        self.counts: list[tuple[str, str]] = []
        self.now = NOON
        for item in ("A", "B", "Z"):
            self.bench.item(item, pack_uom="CS")
        for item, units in stock.items():
            self.receive(item, units)

    # --- the world outside

    def receive(self, item: str, units: int, site: str = "DC1") -> None:
        """Stock comes in; lines that waited for it are answered."""
        said = len(self.bench.said)
        self.bench.receive(str(units), item, site)
        self._route_promise(said)

    def tell(self, *events: Any) -> Yard:
        """The channel, or a person, says something."""
        self.lanes["channel"].extend(events)
        return self

    def release(self, reason: str = "", event_id: str = "release") -> Yard:
        """A person lets the order go on."""
        hold = ReleaseHold(**self._head(event_id), order_id=ORDER, reason=reason, person="pat", note="")
        return self.tell(hold)

    def pass_ms(self, ms: int) -> Yard:
        """Time goes by, and the clock ticks if something is due."""
        self.now += ms
        if any(key[0] <= self.now for key in self.tables.deadlines):
            self.lanes["clock"].append(OrderTick(**self._head(f"tick {self.now}")))
        return self

    # --- moving things

    def busy(self) -> list[str]:
        """Lanes with something under way; `call <endpoint>` has the next obligation of an endpoint."""
        self.collect()
        return [name for name, lane in self.lanes.items() if lane]

    def collect(self) -> None:
        """Take up what the ERP and the WMS have said by now."""
        self.lanes["erp"].extend(self.erp.feed)
        self.erp.feed.clear()
        for fact in self.wms.said:
            self.lanes["wms"].append(fact)
            self.lanes["wms to promise"].extend(stock_facts(fact))
        self.wms.said.clear()

    def move(self, name: str, *, again: bool = False) -> None:
        """Deliver a lane's first (or, with `again`, deliver it and leave it there)."""
        thing = self.lanes[name][0] if again else self.lanes[name].popleft()
        match thing:
            case RequestAllocation() | CheckPrice():
                self._promise(thing)
            case RequestCredit():
                said = len(self.customers.said)
                self.customers.apply(thing)
                self.credit_said(said)
            case ObligationRaised():
                if not again:
                    self._call(thing)
            case _ if name == "wms to promise":
                self._promise(thing)
            case _:
                self._order(thing)

    def credit_said(self, since: int) -> None:
        """Send what the customers fold has answered."""
        said = [x for x in self.customers.said[since:] if isinstance(x, CreditAnswered)]
        self.lanes["credit"].extend(replace(x, occurred_at_ms=self.now, recorded_at_ms=self.now) for x in said)

    def rest(self) -> Yard:
        """Until nothing moves. Time does not pass but for the pause before an invoice."""
        while True:
            while busy := self.busy():
                self.move(busy[0])
            due = self.tables.processes.get((ORDER,))
            if due is None or due.bill_at_ms is None:
                return self
            self.pass_ms(max(0, due.bill_at_ms - self.now))

    def _order(self, event: Any) -> None:
        for said in self.world.apply(event):
            match said:
                case RequestAllocation() | CheckPrice():
                    self.lanes["to promise"].append(said)
                case RequestCredit():
                    self.lanes["to credit"].append(said)
                case _ if type(said) in self.world.fold.rules:
                    self.lanes["own"].append(said)
                case ObligationRaised():
                    assert said.obligation_id not in {x.obligation_id for x in self.obligations}, "asked twice"
                    self.obligations.append(said)
                    self.lanes[f"call {said.endpoint}"].append(said)

    def _promise(self, event: Any) -> None:
        said = len(self.bench.said)
        fate = self.bench.apply(event)
        assert fate in ("applied", "AlreadyApplied"), fate
        self._route_promise(said)

    def _route_promise(self, since: int) -> None:
        said = [x for x in self.bench.said[since:] if isinstance(x, LineAnswered | PriceChecked)]
        self.lanes["promise"].extend(replace(x, occurred_at_ms=self.now, recorded_at_ms=self.now) for x in said)

    def _call(self, raised: ObligationRaised) -> None:
        body = body_of(raised.kind, raised.body)
        answer: Any
        match body:
            case PostOrder():
                outcome, answer = self.erp.put(body)
            case RequestInvoice():
                outcome, answer = self.erp.bill(body)
            case RequestCount():
                self.counts.append((body.site, body.item))
                outcome, answer = "done", CountRequested()
            case RequestCreditNote():
                outcome, answer = self.erp.give_back(body)
            case ReleaseOrder():
                outcome, answer = self.wms.release(body)
            case WithdrawRelease():
                outcome, answer = self.wms.withdraw(body)
            case _:
                self.notices.append(body)
                outcome, answer = "done", StatusNotified()
        settled = ObligationSettled(
            **self._head(f"settled {raised.obligation_id}"),
            order_id=raised.aggregate,
            endpoint=raised.endpoint,
            obligation_id=raised.obligation_id,
            kind=raised.kind,
            outcome=outcome,
            status=200 if outcome == "done" else 422,
            answer=to_json(answer) if outcome == "done" else answer,
            attempts=1,
        )
        self.lanes["settled"].append(settled)

    def _head(self, event_id: str) -> dict[str, Any]:
        return head(event_id, self.now - NOON)

    # --- looking

    @property
    def tables(self) -> Any:
        return self.world.tables

    @property
    def status(self) -> str:
        return self.world.status().status

    @property
    def decision(self) -> str:
        return self.world.status().decision

    @property
    def holds(self) -> list[str]:
        return self.world.status().holds

    def units(self, line: int = 1) -> dict[str, int]:
        return self.world.units(line)

    def kinds(self) -> list[str]:
        """Kinds of all obligations, notices left out."""
        return [x.kind for x in self.obligations if x.kind not in ("notify_status", "request_count")]

    def bodies(self, kind: str) -> list[Any]:
        return [body_of(x.kind, x.body) for x in self.obligations if x.kind == kind]

    def asked(self, kind: str) -> list[dict[int, int]]:
        """Units by line of each obligation of a kind."""
        return [{row.line: row.qty_milli // 1000 for row in body.lines} for body in self.bodies(kind)]

    def open(self) -> set[str]:
        """Codes of the order's open exceptions."""
        found: dict[str, str] = {}
        for e in self.world.out:
            if isinstance(e, ExceptionNoted):
                found[e.fingerprint] = e.code
            elif isinstance(e, ExceptionCleared):
                found.pop(e.fingerprint, None)
        return set(found.values())

    def waits(self) -> set[str]:
        return {what for (_, what), _ in self.tables.waits.under(ORDER)}

    def promised(self, item: str = "A", line: int = 1) -> dict[str, int]:
        """Units the promise fold keeps for a line, by site."""
        demand = self.bench.t.demands.get((item, ORDER, line))
        return {part.site: part.qty_milli // 1000 for part in demand.parts} if demand else {}

    def is_accounted_for(self) -> bool:
        """I9: the order has ended, or an exception is open, or a deadline runs."""
        runs = any(key[2] == ORDER for key in self.tables.deadlines)
        return runs or bool(self.open()) or self.status in ENDED - {"shipped"}

    def order_is_covered(self) -> bool:
        """Whether what is allocated may be released: all of it, or the order goes in parts."""
        order = self.tables.orders[(ORDER,)]
        return order.allow_partial or not any(line.backordered_milli for _, line in self.tables.lines.under(ORDER))
