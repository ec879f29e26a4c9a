"""A world for the order fold's tests: its rules on dicts as the engine runs them, and a promise fold simple enough to foresee."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from schemas.errors import AlreadyApplied, NotYet, Refused
from schemas.inventory import DemandSubstituted, PickShorted, RequestAllocation, StockPicked, StockShipped
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.orders import (
    ChangeAnswered,
    ErpOrderChanged,
    ErpOrderLineChanged,
    InvoiceLinePosted,
    LineAnswered,
    LineExecution,
    LinePicked,
    LineReturned,
    LineShipped,
    LineShorted,
    LineStatus,
    LineSubstituted,
    Milestone,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
    OrderStatus,
    PickReleased,
    PlacedLine,
    SitePart,
)
from streams.engine.flow import Fold
from streams.flows.orders import orders_fold
from tables.common.row_version import Version
from tables.common.table import DictTable, in_memory
from tables.orders.state import KnownSite, OrderTables
from tables.orders.status import order_status
from tests.support.records import as_dict

orders = orders_fold()
ORDER = "web:W1"
PACKS = {"CS": 12}
NOON = 1_800_000_000_000


def head(event_id: str, at: int = 0, position: int = 0, source: str = "test") -> dict[str, Any]:
    return {
        "event_id": event_id,
        "source": source,
        "source_position": position,
        "occurred_at_ms": NOON + at,
        "recorded_at_ms": NOON + at,
        "trace_id": f"t/{event_id}",
    }


def placed(
    *lines: tuple[int, str, int] | tuple[int, str, int, str | None],
    backorder: bool = True,
    content: str = "c1",
    order: str = ORDER,
) -> OrderPlaced:
    return OrderPlaced(
        **head(f"placed {order} {content}"),
        order_id=order,
        channel="web",
        external_ref=order.partition(":")[2],
        customer="C1",
        requested_on=date(2027, 1, 20),
        priority=5,
        allow_partial=True,
        allow_backorder=backorder,
        allow_substitute=True,
        content_hash=content,
        lines=[
            PlacedLine(
                line=row[0],
                item=row[1],
                qty_milli=row[2] * 1000,
                uom=row[3] if len(row) == 4 else None,
                unit_price=None,
                currency=None,
                site=None,
            )
            for row in lines
        ],
    )


def cancel(line: int | None = None, event_id: str = "cancel", at: int = 1, order: str = ORDER) -> OrderCancelRequested:
    return OrderCancelRequested(**head(event_id, at), order_id=order, line=line, reason="changed my mind")


def set_qty(line: int, qty: int, position: int = 1, uom: str | None = None) -> OrderQuantityChangeRequested:
    header = head(f"set {line} {qty} {position}", at=position, position=position)
    return OrderQuantityChangeRequested(**header, order_id=ORDER, line=line, qty_milli=qty * 1000, uom=uom)


def erp(
    no: str = "SO1",
    status: str = "OPEN",
    rev: int = 1,
    *,
    deleted: bool = False,
    order: str = ORDER,
    at: int = 0,
    customer: str = "C1",
) -> ErpOrderChanged:
    return ErpOrderChanged(
        **head(f"erp {no} {rev}", at),
        order_id=order,
        order_no=no,
        revision=rev,
        channel="web",
        customer=customer,
        status=status,
        requested_on=None,
        created_at_ms=NOON,
        priority=5,
        is_deleted=deleted,
    )


def erp_line(
    line: int, item: str, qty: int, rev: int = 1, *, no: str = "SO1", status: str = "O", shipped: int = 0, site: str = "DC1",
    deleted: bool = False, order: str = ORDER, at: int = 0,
) -> ErpOrderLineChanged:  # fmt: skip
    return ErpOrderLineChanged(
        **head(f"erp {no}/{line} {rev}", at),
        order_id=order,
        order_no=no,
        line_no=line,
        revision=rev,
        item=item,
        site=site,
        ordered_milli=qty * 1000,
        allocated_milli=0,
        shipped_milli=shipped * 1000,
        invoiced_milli=0,
        unit_price=None,
        line_status=status,
        commit_position=rev,
        is_deleted=deleted,
    )


def invoice(
    line: int, qty: int, rev: int = 1, *, no: str = "SO1", invoice_no: str = "I1", void: bool = False
) -> InvoiceLinePosted:
    return InvoiceLinePosted(
        **head(f"invoice {invoice_no}/{line} {rev}"),
        order_id=ORDER,
        order_no=no,
        invoice_no=invoice_no,
        invoice_line=line,
        order_line_no=line,
        revision=rev,
        item="A",
        qty_milli=qty * 1000,
        amount=Decimal(1),
        posted_at_ms=NOON,
        is_void=void,
    )


def _done(event_id: str, line: int, item: str, qty: int, uom: str | None, at: int, order: str) -> dict[str, Any]:
    return {
        **head(event_id, at),
        "order_id": order,
        "line": line,
        "item": item,
        "site": "DC1",
        "qty_milli": qty * 1000,
        "uom": uom,
    }


def released(line: int, item: str, qty: int, n: int = 1, uom: str | None = None, order: str = ORDER) -> PickReleased:
    return PickReleased(**_done(f"released {line} {n}", line, item, qty, uom, 10, order))


def picked(line: int, item: str, qty: int, n: int = 1, uom: str | None = None, order: str = ORDER) -> LinePicked:
    return LinePicked(**_done(f"picked {line} {n}", line, item, qty, uom, 20 + n, order))


def shorted(line: int, item: str, qty: int, short: int, n: int = 1, uom: str | None = None, order: str = ORDER) -> LineShorted:
    return LineShorted(**_done(f"shorted {line} {n}", line, item, qty, uom, 30 + n, order), short_milli=short * 1000)


def substituted(line: int, item: str, qty: int, other: str, other_qty: int, n: int = 1) -> LineSubstituted:
    header = _done(f"substituted {line} {n}", line, item, qty, None, 40 + n, ORDER)
    return LineSubstituted(**header, substitute_item=other, substitute_milli=other_qty * 1000)


def shipped(line: int, item: str, qty: int, n: int = 1, uom: str | None = None, order: str = ORDER, at: int = 50) -> LineShipped:
    header = _done(f"shipped {line} {n}", line, item, qty, uom, at + n, order)
    return LineShipped(**header, shipment=f"S{n}", carrier=None, tracking=None, lot=None)


def returned(line: int, item: str, qty: int, n: int = 1, uom: str | None = None) -> LineReturned:
    return LineReturned(**_done(f"returned {line} {n}", line, item, qty, uom, 60 + n, ORDER))


def stock_facts(e: LineExecution) -> list[Any]:
    """What the promise fold hears of it."""
    fact: dict[str, Any] = {
        "event_id": e.event_id, "source": "wms", "source_position": 0, "occurred_at_ms": e.occurred_at_ms,
        "recorded_at_ms": e.recorded_at_ms, "trace_id": e.trace_id, "site": e.site, "lot": None, "uom": e.uom,
        "order_id": e.order_id, "line": e.line, "item": e.item, "qty_milli": e.qty_milli,
    }  # fmt: skip
    match e:
        case LinePicked():
            return [StockPicked(**fact, substitute_for=None)]
        case LineShorted():
            return [PickShorted(**fact, short_milli=e.short_milli)]
        case LineShipped():
            return [StockShipped(**fact, shipment=e.shipment)]
        case LineSubstituted():
            other = fact | {"item": e.substitute_item, "qty_milli": e.substitute_milli}
            served = DemandSubstituted(**fact, substitute_item=e.substitute_item)
            return [served, StockPicked(**other, substitute_for=e.item)]
        case _:
            return []


@dataclass
class Demand:
    """A line's demand at the fake promise fold, in base units."""

    request: RequestAllocation | None = None
    answers: int = 0
    picked: dict[str, int] = field(default_factory=dict)
    shipped: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)


class FakePromise:
    """Allocates each line from its own stock, backorders the rest (or refuses it), and never takes back what was picked."""

    def __init__(self, stock: dict[str, int] | None = None) -> None:
        self.stock = stock or {}
        self.demands: dict[tuple[str, str, int], Demand] = {}

    def ask(self, e: RequestAllocation) -> list[LineAnswered]:
        d = self.demands.setdefault((e.item, e.order_id, e.line), Demand())
        assert d.request is None or e.revision > d.request.revision, "revisions rise"
        assert e.wanted_milli >= 0
        d.request = e
        return [self._answer(d)]

    def execute(self, e: LineExecution) -> list[LineAnswered]:
        d = self.demands.setdefault((e.item, e.order_id, e.line), Demand())
        ratio = PACKS.get(e.uom or "", 1)
        if isinstance(e, LinePicked | LineSubstituted | LineShorted):
            d.picked[e.event_id] = e.qty_milli * ratio
        if isinstance(e, LineSubstituted):
            d.shipped[e.event_id] = e.qty_milli
        if isinstance(e, LineShipped):
            d.shipped[e.event_id] = e.qty_milli * ratio
        if isinstance(e, LineShorted):
            d.short[e.event_id] = e.short_milli * ratio
            if d.request is not None:
                return [self._answer(d)]
        return []

    def _answer(self, d: Demand) -> LineAnswered:
        request = d.request
        assert request is not None
        d.answers += 1
        gone = max(sum(d.shipped.values()), request.shipped_milli)
        served = max(sum(d.picked.values()), gone)
        wanted = max(request.wanted_milli * PACKS.get(request.uom or "", 1), served)
        missing = wanted - served
        there = max(0, self.stock.get(request.item, 10**9) * 1000 - served - sum(d.short.values()))
        part, refused = min(missing, there), None
        waiting = missing - part
        if waiting and not (request.allow_backorder or request.is_firm):
            wanted, waiting, refused = served + part, 0, "not available"
        allocated = part + served - gone
        return LineAnswered(
            **head(f"answer {request.item} {request.line} {request.revision} {d.answers}"),
            order_id=request.order_id,
            line=request.line,
            revision=request.revision,
            answer=d.answers,
            item=request.item,
            uom="EA",
            wanted_milli=allocated + waiting + gone,
            shipped_milli=gone,
            allocated=[SitePart("DC1", allocated)] if allocated else [],
            backordered_milli=waiting,
            promised_on=date(2027, 2, 1) if waiting else None,
            refused=refused,
            gone=[],
            pack_uom="CS",
            pack_milli=12_000,
        )


class World:
    """The order fold as the engine runs it: one event is one step, parked events wait for their release, errors undo."""

    def __init__(self, promise: FakePromise | None = None, fold: Fold[OrderTables] = orders) -> None:
        self.fold = fold
        self.tables = in_memory(OrderTables)
        self.tables.sites.update({(site,): KnownSite(Version(), False) for site in ("DC1", "DC2", "EU1")})  # type: ignore[attr-defined]
        self.promise = promise or FakePromise()
        self.parked: list[Any] = []
        self.asked: list[RequestAllocation] = []
        self.out: list[Any] = []
        self.fates: list[str] = []

    def apply(self, event: Any) -> list[Any]:
        """One event, and what it releases. Returns what the rules yielded."""
        fate, out = self._step(event)
        self.fates.append(fate)
        if fate == "parked":
            self.parked.append(event)
        if fate == "applied" and type(event) in self.fold.releasing:
            waiting, self.parked = self.parked, []
            for other in waiting:
                out += self.apply(other)
        return out

    def _step(self, event: Any) -> tuple[str, list[Any]]:
        names = [f.name for f in dataclasses.fields(OrderTables)]
        before = {name: dict(getattr(self.tables, name)) for name in names}
        try:
            out = list(self.fold.rules[type(event)](self.tables, event))
        except (AlreadyApplied, NotYet, Refused) as answer:
            for name in names:
                setattr(self.tables, name, DictTable(before[name]))
            return {AlreadyApplied: "duplicate", NotYet: "parked", Refused: "refused"}[type(answer)], []
        self.out += out
        self.asked += [x for x in out if isinstance(x, RequestAllocation)]
        return "applied", out

    def feed(self, *events: Any) -> World:
        """Events in this order, each with all its consequences before the next."""
        for event in events:
            todo = deque([event])
            while todo:
                now = todo.popleft()
                if isinstance(now, LineExecution) and now.event_id not in {x.event_id for x in self.parked}:
                    todo.extend(self.promise.execute(now))
                out = self.apply(now)
                todo.extend(a for x in out if isinstance(x, RequestAllocation) for a in self.promise.ask(x))
                todo.extend(x for x in out if type(x) in self.fold.rules)  # its notes to itself
        return self

    def status(self, order: str = ORDER) -> OrderStatus:
        found = order_status(self.tables, order, 0)
        assert found is not None
        return found

    def line(self, number: int, order: str = ORDER) -> LineStatus:
        return next(x for x in self.status(order).lines if x.line == number)

    def units(self, number: int) -> dict[str, int]:
        """The line's quantities that are not zero, in whole units."""
        row = as_dict(self.line(number))
        return {k.removesuffix("_milli"): v // 1000 for k, v in row.items() if k.endswith("_milli") and v}

    def noted(self) -> list[str]:
        return [x.code for x in self.out if isinstance(x, ExceptionNoted)]

    def cleared(self) -> list[str]:
        return [x.fingerprint for x in self.out if isinstance(x, ExceptionCleared)]

    def changes(self, order: str = ORDER) -> dict[str, list[str]]:
        """What the sender of each request for change reads of it under an order's id, one word after another."""
        found: dict[str, list[str]] = {}
        for said in [x for x in self.out if isinstance(x, ChangeAnswered) and x.order_id == order]:
            found.setdefault(said.change, []).append(said.outcome)
        return found

    def milestones(self) -> list[Milestone]:
        return [x for x in self.out if isinstance(x, Milestone)]


def world(*events: Any, stock: dict[str, int] | None = None) -> World:
    return World(FakePromise(stock)).feed(*events)


def requests(events: Iterable[RequestAllocation]) -> list[tuple[str, int, int, int]]:
    """item, line, revision, wanted in whole units."""
    return [(x.item, x.line, x.revision, x.wanted_milli // 1000) for x in events]
