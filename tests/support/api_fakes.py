"""Ports in plain Python, for tests of the routes alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from connectors.api.ports import (
    Accepted,
    AtpQuery,
    AuditPage,
    AuditQuery,
    Busy,
    CheckAnswer,
    CheckLine,
    CommandResponse,
    ContactFact,
    CustomerView,
    Halted,
    HeldOrder,
    Interruptions,
    Invalid,
    KeyReused,
    LimitsShown,
    NotKnown,
    Paused,
    Ports,
    Quote,
    QuoteDay,
    Readiness,
    ReplayResult,
    ReserveCommand,
    SiteQuote,
    SourceFreshness,
    UnknownFieldShown,
    Unsigned,
    WaitingFor,
)
from schemas.deliveries import EndpointStatus
from schemas.inventory import Atp, LedgerChange, LedgerEntry, SiteAtp
from schemas.operations import ExceptionRow
from schemas.orders import ChangeAnswered, Milestone, OrderStatus
from streams.queries.audits import audited

TODAY = date(2026, 11, 2)
SITE = SiteAtp("DC1", TODAY, 24_211, 0, 0, 0, 0, 3_000, 0, 0, 21_211, 21_211, [], [], [])
ROW = Atp(
    item="A/1",
    version=7,
    as_of_ms=1_793_610_847_123,
    policy="lookahead",
    uom="KG",
    item_status="A",
    safety_stock_milli=0,
    atp_milli=21_211,
    promise_milli=21_211,
    sites=[SITE],
    marks=[],
    suspects=[],
)
CHANGE = ChangeAnswered(
    change="c/7",
    kind="cancel",
    line=None,
    outcome="refused",
    sentence="The cancellation of order web:W/1 comes too late for 3 of SKU-1 (line 1).",
    hint="Refuse the delivery",
    at_ms=0,
    order_id="web:W/1",
    cause="e",
)
ORDER = OrderStatus(
    order_id="web:W/1",
    version=3,
    as_of_ms=0,
    status="allocated",
    channel="web",
    external_ref="W/1",
    customer="C",
    placed_at_ms=0,
    requested_on=None,
    erp_order_nos=[],
    lines=[],
    decision="",
    holds=[],
)


ENDPOINT = EndpointStatus(
    endpoint="wms",
    version=3,
    as_of_ms=1_000,
    circuit="open",
    waiting=2,
    in_flight=0,
    exhausted=0,
    done=5,
    replaced=0,
    refused=0,
    failed=6,
    oldest_ms=0,
    retry_at_ms=2_000,
    last_error="503 down",
)


def exception(fingerprint: str, state: str = "open") -> ExceptionRow:
    """A row."""
    return ExceptionRow(
        fingerprint=fingerprint,
        version=1,
        code="oversold",
        severity="high",
        sentence="s",
        item="A/1",
        order_id=None,
        owner="o",
        sla_ms=1,
        action="count it",
        state=state,
        count=2,
        first_at_ms=0,
        last_at_ms=1,
        events=[],
        person="",
        note="",
    )


def entry(before: int, after: int, measure: str = "on_hand.usable") -> LedgerEntry:
    """A ledger row with one change."""
    return LedgerEntry(
        item="A/1",
        cause="e",
        cause_type="StockReceived",
        source="wms",
        occurred_at_ms=0,
        recorded_at_ms=0,
        trace_id="raw.wms/0/1",
        note="",
        changes=[LedgerChange("DC1", measure, None, before, after)],
    )


class Fake:
    """Every port in one."""

    def __init__(self) -> None:
        self.rows = {"A/1": ROW}
        self.order = ORDER
        self.entries = [(1, entry(0, 30_000)), (2, entry(30_000, 24_211)), (3, entry(0, 3_000, "demand"))]
        self.commands: list[ReserveCommand] = []
        self.answer: CommandResponse | Exception = CommandResponse(201, {"reservation_id": "r1", "item": "A/1"})
        self.taken: list[tuple[str, list[bytes]]] = []
        self.worked: list[tuple[str, str, str, str]] = []
        self.readiness = Readiness(is_ready=True, is_live=True, checks={"workers": "running"})
        self.stale: int | None = 0
        self.exception_rows = [exception("f1"), exception("f2", "resolved"), exception("f3", "assigned")]

    def policies(self) -> Sequence[str]:
        return ("lookahead", "projected")

    def atp(self, item: str) -> Atp | None:
        return self.rows.get(item)

    def atp_page(self, after: str | None, limit: int) -> list[Atp]:
        return [row for item, row in sorted(self.rows.items()) if after is None or item > after][:limit]

    def quote(self, atp: Atp, query: AtpQuery) -> Quote:
        if query.site not in {None, "DC1"}:
            raise NotKnown("Site is not known.")
        day = QuoteDay(TODAY, 0, 3_000, 21_211, 21_211, 21_211)
        return Quote(
            query.policy or "lookahead", query.channel, 21_211, 21_211, [day], [SiteQuote("DC1", TODAY, 21_211, 21_211, [day])]
        )

    def check(self, lines: Sequence[CheckLine], channel: str | None) -> list[CheckAnswer]:
        return [CheckAnswer(line.item, line.uom, line.qty_milli, True, line.qty_milli, TODAY, [], None) for line in lines]

    def calculate(
        self, policy: str, opening_milli: int, safety_milli: int, supply_milli: Sequence[int], demand_milli: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        running, out = opening_milli - safety_milli, []
        for supply, demand in zip(supply_milli, demand_milli, strict=True):
            running += supply - demand
            out.append(running)
        return out, out

    def freshness(self) -> list[SourceFreshness]:
        return [SourceFreshness("raw.wms", 2, 0)]

    def ledger(self, item: str, before: int | None, limit: int) -> list[tuple[int, LedgerEntry]]:
        return [e for e in self.entries if before is None or e[0] < before][-limit:]

    def audit(self, item: str, query: AuditQuery) -> AuditPage:
        def forward(item: str, start: int, limit: int) -> list[tuple[int, LedgerEntry]]:
            return [e for e in self.entries if e[0] >= start][:limit]

        return audited(forward, item, query, 2**42, is_fenced=False)

    async def reserve(self, command: ReserveCommand) -> CommandResponse:
        self.commands.append(command)
        return self._answered()

    async def release(self, reservation_id: str) -> CommandResponse:
        return CommandResponse(200, {"state": "released"})

    def _answered(self) -> CommandResponse:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def sources(self) -> Sequence[str]:
        return ("erp", "wms")

    def accept(self, source: str, messages: Sequence[bytes]) -> Accepted:
        self.taken.append((source, list(messages)))
        return Accepted(len(messages), "raw.wms/0/9")

    def place(self, document: bytes) -> tuple[str, Accepted]:
        if b"bad" in document:
            raise Invalid("customer is missing", "add it")
        self.taken.append(("order", [document]))
        return "web:W/1", Accepted(1, "raw.channel.web/0/0")

    def changes(self, order_id: str) -> list[ChangeAnswered]:
        return [CHANGE] if order_id == "web:W/1" else []

    def cancel(self, order_id: str, line: int | None, reason: str) -> tuple[str, Accepted]:
        if order_id != "web:W/1":
            raise NotKnown("There is no such order.")
        if line == 9:
            raise Invalid("The line has shipped", "Return it.", is_conflict=True)
        return "c/7", Accepted(1, "raw.channel.web/0/1")

    def status(self, order_id: str) -> OrderStatus | None:
        return self.order if order_id == "web:W/1" else None

    def status_page(self, after: str | None, limit: int) -> list[OrderStatus]:
        return [ORDER]

    def events(self, order_id: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        return [(4, entry(0, 1))] if order_id == "web:W/1" else []

    def milestones(self, order_id: str) -> list[Milestone]:
        return []

    def codes(self) -> Sequence[str]:
        return ("oversold", "waiting")

    def page(self, after: str | None, limit: int) -> list[ExceptionRow]:
        return [row for row in self.exception_rows if after is None or row.fingerprint > after][:limit]

    def get(self, fingerprint: str) -> ExceptionRow | None:
        return next((row for row in self.exception_rows if row.fingerprint == fingerprint), None)

    def work(self, fingerprint: str, action: str, person: str, note: str) -> None:
        if self.get(fingerprint) is None:
            raise NotKnown("There is no such exception.")
        self.worked.append((fingerprint, action, person, note))

    def replay(self, exception_id: str, person: str = "") -> ReplayResult:
        if exception_id != "f1":
            raise Invalid("Nothing was quarantined for it", is_conflict=True)
        return ReplayResult(["raw.wms/0/4"])

    def names(self) -> Sequence[str]:
        return ("promise.items",)

    def rows_of(self, table: str, key: str | None, after: str | None, limit: int) -> list[tuple[str, Any]]:
        if table != "promise.items":
            raise NotKnown("There is no such table. There are promise.items.")
        return [("A/1", SITE)] if key in {None, "A/1"} else []

    def endpoints(self) -> list[EndpointStatus]:
        return [ENDPOINT]

    def state(self) -> Readiness:
        return self.readiness

    def stale_ms(self) -> int | None:
        return self.stale

    def refresh_metrics(self) -> None:
        return


class FakeTables:
    """The table port of a `Fake`."""

    def __init__(self, fake: Fake) -> None:
        self.names = fake.names
        self.rows = fake.rows_of

    def packed(self, table: str, after: str | None, limit: int) -> list[tuple[str, str, str]]:
        if table != "promise.items":
            raise NotKnown("There is no such table. There are promise.items.")
        return [("0/QQ==", "QQ==", "gA==")] if after is None else []


class FakeWebhooks:
    """The web shop may call; its signature is `right`."""

    def accept(self, channel: str, body: bytes, signature: str) -> Accepted:
        if channel != "web":
            raise NotKnown("No such channel may call here (those that may: web)")
        if signature != "right":
            raise Unsigned("The body is not signed right")
        return Accepted(1, f"raw.channel.web/0/{len(body)}")


class FakeHolds:
    """One order is held, for its credit."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def release(self, order_id: str, reason: str, person: str, note: str) -> tuple[str, Accepted]:
        if order_id != "web:W/1":
            raise NotKnown("There is no such order.")
        if reason not in {"", "credit_limit"}:
            raise Invalid("It is not held for that", "It is held for credit_limit.", is_conflict=True)
        self._fake.worked.append((order_id, reason, person, note))
        return "api:7", Accepted(1, "order.inbox.v1/0/1")


class FakeCustomers:
    """One customer."""

    def get(self, customer: str) -> CustomerView | None:
        if customer != "C/1":
            return None
        held = [HeldOrder("web:W/1", Decimal("12.50"), "unknown_customer", "The ERP has not sent it.")]
        facts = [ContactFact("email", "ap@acme.example", 0)]
        amount = Decimal("12.50")
        return CustomerView("C/1", False, None, amount, amount, 1, held, facts, [])


class FakeInterventions:
    """One partition stands, one source is paused."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []

    def standing(self) -> Interruptions:
        limits = LimitsShown(1_000, 0.5, 3_600, 10_000, {"wms": (50, 0.5)})
        halted = Halted("promise", "promise.inbox.v1/2/7", "StockReceived W-1 of A", "no", 0, "crossdock skip ...")
        paused = Paused("wms", "translate.wms", "raw.wms/0/9", "10 of 10", 1_000)
        return Interruptions([halted], [paused], [WaitingFor("promise", "site DC-9", 3, 2_000, "unknown")], [], limits)

    def skip(self, record: str, person: str, reason: str) -> None:
        if record != "promise.inbox.v1/2/7":
            raise NotKnown("No partition stands there.")
        self.done.append((record, person, reason))

    def resume(self, source: str, person: str, reason: str) -> str:
        if source != "wms":
            raise Invalid("It is not paused", "Paused: wms.", is_conflict=True)
        self.done.append((source, person, reason))
        return source

    def settle(self, table: str, person: str, reason: str) -> int:
        if table not in ("item", "site"):
            raise NotKnown("No snapshot of it is known.")
        if table == "site":
            raise Invalid("It has no rows of before", "There is nothing to settle", is_conflict=True)
        self.done.append((table, person, reason))
        return 9_000


class FakeSources:
    """The WMS misspells a field."""

    def unknown_fields(self) -> list[UnknownFieldShown]:
        advice = "Did you mean expires_on?"
        return [
            UnknownFieldShown("wms", "stock.received", "expires_one", 3, 1_000, 2_000, "raw.wms/0/9", "expires_on", advice, True)
        ]


def ports(fake: Fake) -> Ports:
    """Ports on a fake."""
    return Ports(
        promises=fake,
        reservations=fake,
        orders=fake,
        ingest=fake,
        webhooks=FakeWebhooks(),
        holds=FakeHolds(fake),
        customers=FakeCustomers(),
        exceptions=fake,
        interventions=FakeInterventions(),
        sources=FakeSources(),
        endpoints=fake,
        tables=FakeTables(fake),
        health=fake,
        registry=CollectorRegistry(),
    )


BUSY = Busy("The answer did not come in 5 s", "Send it again.", is_timeout=True)
REUSED = KeyReused("The key was used")


class Client:
    """Requests to an application, in process, one after the other."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, content: bytes | Iterator[bytes] | None = None, **more: Any) -> httpx.Response:
        """Any request; an iterator is sent in chunks."""
        body = content if content is None or isinstance(content, bytes) else _chunks(content)
        return asyncio.run(self._request(method, path, body, more))

    async def _request(self, method: str, path: str, content: Any, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            return await client.request(method, path, content=content, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PUT", path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", path, **more)


async def _chunks(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
