"""What must hold when everything has been worked off, each with the first cases where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import as_file, files
from itertools import chain
from typing import Any

from connectors.api.ledger import Totals
from infra.demo.outcome import every
from infra.demo.sandbox import SandboxClient
from schemas import topics
from schemas.inventory import Atp
from schemas.operations import ExceptionRow
from schemas.orders import OrderStatus
from schemas.quantity import show, to_decimal
from streams.engine.log import TopicPartition
from streams.queries.reconcile import reconcile
from streams.runtime.app import App
from tables.documents.sales_orders import channel_of
from tables.inventory.atp_record import is_oversold_today
from tables.orders.lifecycle import ENDED

KEPT = 5
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must hold, what it was held against, and the first violations."""

    name: str
    checked: int
    violations: list[str]

    @property
    def holds(self) -> bool:
        """No violation."""
        return not self.violations


Check = Callable[[App], tuple[int, Iterator[str]]]


def check_all(app: App, sandbox: SandboxClient) -> list[Invariant]:
    """Every invariant that can be seen from outside the rules."""
    found = [_held(name, *check(app)) for name, check in _CHECKS.items()]
    erp, wms = sandbox.state("erp"), sandbox.state("wms")
    return [
        *found,
        _held("each accepted order is in the ERP once, as it is here", *_posted_once(app, erp)),
        *_rest(app, erp, wms),
    ]


def _rest(app: App, erp: dict[str, Any], wms: dict[str, Any]) -> list[Invariant]:
    return [
        _held("billed <= shipped <= ordered, in the ERP and in the warehouse", *_billed_as_shipped(app, erp, wms)),
        _held("every order has ended, or somebody or something will see to it", *_none_forgotten(app)),
        _held("nothing is owed to any system", *_nothing_owed(app)),
    ]


def as_the_erp(app: App) -> Invariant:
    """Our tables against the ERP's final extract: before anything else than the capture has come."""
    return _held("the ERP's tables are the ERP's", *_as_the_erp(app))


def _held(name: str, checked: int, violations: Iterator[str]) -> Invariant:
    return Invariant(name, checked, [text for _, text in zip(range(KEPT), violations, strict=False)])


def _one_fate(app: App) -> tuple[int, Iterator[str]]:
    given = _given(app)
    fates = app.watch.fates()
    given_since = _given(app) if app.settings.is_kafka else given  # Debezium's heart beats on

    def violations() -> Iterator[str]:
        for flow, fate in fates.items():
            if not given[flow] <= fate.inputs <= given_since[flow]:
                yield f"{flow} was given {given[flow]} records and accounts for {fate.inputs}"
            if min(fate.applied, fate.duplicate, fate.ignored, fate.dead_lettered, fate.parked) < 0:
                yield f"{flow} counts below nothing: {fate}"
        dead = _records(app, TopicPartition(topics.DEAD_LETTERS.name, 0))
        counted = sum(fate.dead_lettered for fate in fates.values())
        if dead != counted:
            yield f"{counted} inputs were refused, {dead} dead letters were written"

    return sum(given.values()), violations()


def _given(app: App) -> dict[str, int]:
    """How many records each flow was given."""
    found: dict[str, int] = {}
    for entry in app.watch.inputs():
        found[entry.flow] = found.get(entry.flow, 0) + _records(app, entry.at)
    return found


def _records(app: App, at: TopicPartition) -> int:
    """How many records a partition holds. On Kafka the marks of transactions use up offsets too."""
    offset, end = app.log.bounds(at)
    if not app.settings.is_kafka:
        return end
    count = 0
    while offset < end and (page := app.log.read(at, offset, PAGE)):
        count += len(page)
        offset = page[-1].offset + 1
    return count


def _ledger_adds_up(app: App) -> tuple[int, Iterator[str]]:
    rows: list[Atp] = list(every(app.published.atp_page, "item"))
    ledger = Totals(app.ports.promises)

    def violations() -> Iterator[str]:
        for row in rows:
            totals, _ = ledger.of(row)
            for total in totals:
                if total.added_milli != total.present_milli:
                    text = f"{total.measure} is {show(total.present_milli)}, its ledger says {show(total.added_milli)}"
                    yield f"{row.item} at {total.site}: {text}"

    return len(rows), violations()


def _never_oversold(app: App) -> tuple[int, Iterator[str]]:
    """More promised than there is happens only when stock that was promised goes, or the ERP says so; then it is said."""
    rows: list[Atp] = list(every(app.published.atp_page, "item"))
    told = {row.fingerprint for row in every(app.published.exception_page, "fingerprint") if row.state != "cleared"}
    negative = {tuple(fingerprint.split(":")[1:3]) for fingerprint in told if fingerprint.startswith("negative:")}

    def violations() -> Iterator[str]:
        for row in rows:
            for site in row.sites:
                where = f"{row.item} at {site.site}"
                if is_oversold_today(site):
                    yield f"{where} promises {show(site.promise_milli)} of {show(site.usable_milli)}"
                is_told = f"oversold:{row.item}:{site.site}" in told or (row.item, site.site) in negative
                if site.days and site.atp_milli + site.safety_milli + site.kept_milli < 0 and not is_told:
                    yield f"{where} is short by {show(-site.atp_milli)} and nobody was told"

    return sum(len(row.sites) for row in rows), violations()


def _as_the_erp(app: App) -> tuple[int, Iterator[str]]:
    policy = app.settings.to_policy()
    sites = {key[0] for key, _ in app.tables.scan("promise", "sites") if policy.site(key[0]).physical_owner == "erp"}
    with as_file(files("connectors.erp") / "sample" / "final") as final:
        found = reconcile(app.tables.scan, final, sites)
    fields = sum(table.fields_compared for table in found.tables)
    texts = (f"{d.table} {d.key} {d.column}: ours {d.ours}, the ERP's {d.theirs}" for d in found.differences)
    return fields, chain(texts, (f"not compared: {text}" for text in found.not_compared))


def _folds_agree(app: App) -> tuple[int, Iterator[str]]:
    """What each order line believes it was promised is what the promise fold has for it, once."""
    believed: dict[tuple[str, int], tuple[int, int]] = {}
    for row in every(app.published.order_page, "order_id"):
        for line in row.lines:
            believed[row.order_id, line.line] = line.allocated_milli, line.backordered_milli
    given: dict[tuple[str, int], tuple[int, int]] = {}
    for (_, order_id, number), demand in app.tables.scan("promise", "demands"):
        allocated, waiting = given.get((order_id, number), (0, 0))
        allocated += sum(part.qty_milli for part in demand.parts)
        given[order_id, number] = allocated, waiting + demand.backordered_milli

    def violations() -> Iterator[str]:
        for place in sorted(believed.keys() | given.keys()):
            ours, theirs = believed.get(place, (0, 0)), given.get(place, (0, 0))
            if ours != theirs:
                said = (
                    f"{show(ours[0])} allocated and {show(ours[1])} backordered, but has {show(theirs[0])} and {show(theirs[1])}"
                )
                yield f"{place[0]} line {place[1]} believes in {said}"

    return len(believed), violations()


def _open_exceptions(app: App) -> list[ExceptionRow]:
    return [row for row in every(app.published.exception_page, "fingerprint") if row.state in {"open", "assigned"}]


def _run_orders(app: App) -> list[OrderStatus]:
    return [row for row in every(app.published.order_page, "order_id") if row.decision]


def _posted_once(app: App, erp: dict[str, Any]) -> tuple[int, Iterator[str]]:
    """I7: no ERP order posted twice (the ERP numbers each reference once), none forgotten, none the ERP has otherwise."""
    rows = _run_orders(app)
    theirs = {f"{channel_of(key.partition('/')[0])}:{key.partition('/')[2]}": order for key, order in erp["orders"].items()}
    # The ERP's people changed an order whose goods had left: the sides differ until somebody has decided, who was told.
    disputed = {row.order_id for row in _open_exceptions(app) if row.code in {"not_billable", "invoice_refused"}}

    def violations() -> Iterator[str]:
        for order_id in sorted(theirs.keys() - {row.order_id for row in rows}):
            yield f"the ERP has {order_id}, which nobody placed"
        for row in rows:
            order = theirs.get(row.order_id)
            if order is None:
                if row.decision == "accepted" and row.status not in {"cancelled", "refused"}:
                    yield f"{row.order_id} is {row.status}, and the ERP has never heard of it"
                continue
            if row.erp_order_nos != [order["order_no"]]:
                yield f"{row.order_id} is {order['order_no']} in the ERP, and {row.erp_order_nos} here"
            for line in row.lines:
                found = order["lines"].get(str(line.line))
                ordered = Decimal(0) if found is None or found["status"] == "X" else Decimal(found["ordered"])
                wanted = to_decimal(0 if line.state == "refused" else line.ordered_milli - line.cancelled_milli)
                if row.decision == "accepted" and ordered != wanted and row.order_id not in disputed:
                    yield f"{row.order_id} line {line.line}: the ERP has {ordered} ordered, here it is {wanted}"

    return len(rows), violations()


def _billed_as_shipped(app: App, erp: dict[str, Any], wms: dict[str, Any]) -> tuple[int, Iterator[str]]:
    """I8: what the ERP billed never exceeds what the warehouse shipped, nor that what was ordered."""
    shipped: dict[tuple[str, str], Decimal] = {}
    for order_id, lines in wms["orders"].items():
        for line in lines:
            at = order_id, str(line["line"])
            shipped[at] = shipped.get(at, Decimal(0)) + Decimal(line["shipped"])
    rows = _run_orders(app)

    def violations() -> Iterator[str]:
        for key, order in erp["orders"].items():
            order_id = f"{channel_of(key.partition('/')[0])}:{key.partition('/')[2]}"
            for number, line in order["lines"].items():
                billed, left = Decimal(line["invoiced"]), shipped.get((order_id, number), Decimal(0))
                if billed > left or billed > Decimal(line["ordered"]):
                    yield f"{order_id} line {number}: {billed} billed, {left} shipped, {line['ordered']} ordered"
        for row in rows:
            for ours in row.lines:
                if not ours.invoiced_milli <= ours.shipped_milli <= ours.ordered_milli:
                    numbers = f"{show(ours.invoiced_milli)} billed, {show(ours.shipped_milli)} shipped"
                    yield f"{row.order_id} line {ours.line}: {numbers}, {show(ours.ordered_milli)} ordered"

    return sum(len(row.lines) for row in rows), violations()


def _none_forgotten(app: App) -> tuple[int, Iterator[str]]:
    """I9: every order has ended, or has an open exception, or a running deadline."""
    told = {row.order_id for row in _open_exceptions(app)}
    timed = {key[2] for key, _ in app.tables.scan("orders", "deadlines")}
    rows = _run_orders(app)

    def violations() -> Iterator[str]:
        for row in rows:
            if row.status not in ENDED and row.order_id not in told and row.order_id not in timed:
                yield f"{row.order_id} is {row.status}, nobody was told and nothing is due"

    return len(rows), violations()


def _nothing_owed(app: App) -> tuple[int, Iterator[str]]:
    endpoints = app.published.endpoints()
    open_ones = [row for row in endpoints if row.waiting]
    texts = (f"{row.endpoint} is owed {row.waiting} ({row.exhausted} given up): {row.last_error}" for row in open_ones)
    return sum(row.done + row.refused + row.waiting for row in endpoints), texts


_CHECKS: dict[str, Check] = {
    "every record has exactly one fate": _one_fate,
    "every ledger adds up to its numbers": _ledger_adds_up,
    "nothing is oversold without being said": _never_oversold,
    "orders have what they were promised": _folds_agree,
}
