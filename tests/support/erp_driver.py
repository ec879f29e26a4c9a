"""A small stand-in for the engine: translates the ERP's raw records, routes events by `ROUTES`, applies rules to dict tables.

Queues keep each partition's order; which partition goes next is up to the dice.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import connectors.erp
from schemas import inventory
from schemas.codec import Codec
from schemas.errors import AlreadyApplied
from schemas.orders import OrderSiteChanged
from schemas.records import Record
from schemas.topics import CUSTOMER_INBOX, DEFINED, DOCUMENTS_INBOX, PROMISE_INBOX, RAW_ERP, ROUTES
from streams.commands.file_ingest import ingest_file
from streams.engine.log import TopicPartition
from streams.engine.memory.log import MemoryLog
from streams.engine.partitions import partition_of
from streams.flows.customers import customers
from streams.flows.documents import documents
from streams.flows.erp_feed import ErpFeedTables, erp_translate
from tables.common.policy import Policy
from tables.common.table import DictTable, in_memory, row_types
from tables.customers.state import CustomerTables
from tables.documents.state import DocumentsTables
from tables.inventory import item_master, item_tables
from tables.inventory.state import PromiseTables

SAMPLE = Path(connectors.erp.__file__).parent / "sample"
CAPTURE = SAMPLE / "records.jsonl.gz"
FINAL = SAMPLE / "final"
CODEC = Codec()


def store_balance(t: PromiseTables, e: inventory.ErpBalanceChanged) -> Iterator[Any]:
    item_master.store_erp_balance(t, e)
    yield from ()


PROMISE_RULES: dict[type[Any], Any] = {
    inventory.ItemChanged: partial(item_tables.item_changed, Policy()),
    inventory.PriceChanged: partial(item_tables.price_changed, Policy()),
    inventory.ErpBalanceChanged: partial(item_tables.erp_balance_changed, Policy()),
    inventory.SiteChanged: item_master.site_changed,
    inventory.ItemTextRequested: item_master.item_text_requested,
    inventory.ItemTextProvided: item_master.item_text_provided,
    inventory.ErpItemsNews: partial(item_tables.erp_items_news, Policy()),
    inventory.ReviewErpItems: partial(item_tables.review_erp_items, Policy()),
}


class Driver:
    """The ERP's part of the flows, on dicts."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = None if seed is None else Random(seed)
        self.promise = in_memory(PromiseTables)
        self.documents = in_memory(DocumentsTables)
        self.customers = in_memory(CustomerTables)
        self.folds: dict[str, tuple[dict[type[Any], Any], Any]] = {
            PROMISE_INBOX.name: (PROMISE_RULES, self.promise),
            DOCUMENTS_INBOX.name: (documents.rules, self.documents),
            CUSTOMER_INBOX.name: (customers.rules, self.customers),
        }
        self.queues: dict[tuple[str, int], deque[Any]] = defaultdict(deque)
        self.told: list[Any] = []  # events for folds that are not the ERP's
        self.supplies: dict[tuple[str, str, int], inventory.SupplyChanged] = {}
        self.fates: Counter[str] = Counter()
        self.translate = erp_translate()
        self.feeds: dict[tuple[str, int], ErpFeedTables] = defaultdict(lambda: in_memory(ErpFeedTables))
        self.ignored: Counter[str] = Counter()
        self.applied_ids: list[str] = []

    def feed(self, records: Iterable[Record]) -> None:
        """Translate and apply records; with dice, work lags behind reading."""
        for record in records:
            translation = self.translate(self.feeds[record.topic, record.partition], record)
            if translation.ignored is not None:
                self.ignored[translation.ignored] += 1
            for event in translation.events:
                self.send(event)
            if self.random is None or self.random.random() < 0.5:
                self.pump(1 if self.random else None)
        self.pump(None)

    def send(self, event: Any) -> None:
        """Put an event on its inbox, through the codec."""
        route = ROUTES[type(event)]
        key = str(getattr(event, route.key)).encode()
        queue = (route.topic.name, partition_of(key, route.topic.partitions))
        self.queues[queue].append(CODEC.decode(CODEC.encode(event)))

    def pump(self, steps: int | None) -> None:
        """Apply what is queued: everything, or a few events of partitions the dice choose."""
        while steps is None or steps > 0:
            waiting = [queue for queue, events in self.queues.items() if events]
            if not waiting:
                return
            topic, partition = self.random.choice(waiting) if self.random else waiting[0]
            self.apply(topic, self.queues[(topic, partition)].popleft())
            steps = None if steps is None else steps - 1

    def apply(self, topic: str, event: Any) -> None:
        """One event to its fold."""
        rules, tables = self.folds.get(topic, ({}, None))
        if isinstance(event, OrderSiteChanged):
            return  # the order fold tells its repetitions itself
        if type(event) not in rules:
            self.told.append(event)
            if isinstance(event, inventory.SupplyChanged):
                key = (event.item, event.document, event.line)
                assert key not in self.supplies or self.supplies[key].revision < event.revision
                self.supplies[key] = event
            return
        try:
            for caused in list(rules[type(event)](tables, event)):
                self.send(caused)
            self.fates["applied"] += 1
            self.applied_ids.append(event.event_id)
        except AlreadyApplied:
            self.fates["duplicate"] += 1

    def rows(self, flow: str, table: str) -> Iterable[tuple[tuple[Any, ...], Any]]:
        """All rows of a table, as reconciliation wants them."""
        if table == "supplies":
            return [(key, Supply(event)) for key, event in self.supplies.items()]
        found: DictTable[Any, Any] = getattr(getattr(self, flow), table)
        return found.under()

    def state(self) -> dict[str, dict[Any, Any]]:
        """All tables, to compare runs."""
        tables: dict[str, Any] = {"promise": self.promise, "documents": self.documents, "customers": self.customers}
        return {f"{name}.{t}": dict(getattr(held, t)) for name, held in tables.items() for t in row_types(type(held))}


class Supply:
    """The promise fold's supply row as far as reconciliation looks at it."""

    def __init__(self, event: inventory.SupplyChanged) -> None:
        self.ordered_milli = event.ordered_milli
        self.erp_received_milli = event.received_milli
        self.site = event.site
        self.expected_on = event.expected_on
        self.is_open = event.is_open


def raw_log(path: Path = CAPTURE) -> MemoryLog:
    """A log with the capture ingested."""
    log = MemoryLog(clock_ms=lambda: 1_795_500_000_000)
    log.create(DEFINED)
    ingest_file(log, path, "erp")
    return log


def raw_partitions(log: MemoryLog) -> dict[TopicPartition, list[Record]]:
    """The raw records of a log, each partition in order."""
    found = {}
    for topic in RAW_ERP.values():
        for partition in range(topic.partitions):
            at = TopicPartition(topic.name, partition)
            if records := log.read(at, 0, 1_000_000):
                found[at] = records
    return found


def interleaved(partitions: dict[TopicPartition, list[Record]], random: Random) -> Iterator[Record]:
    """All records, partitions in random turns (uneven ones: some lag far behind)."""
    left = {at: deque(records) for at, records in partitions.items()}
    weights = {at: random.choice((0.02, 0.3, 1.0)) * len(records) for at, records in partitions.items()}
    while left:
        names = list(left)
        at = random.choices(names, [weights[name] for name in names])[0]
        for _ in range(random.randrange(1, 40)):
            yield left[at].popleft()
            if not left[at]:
                del left[at]
                break


def final(table: str) -> list[dict[str, Any]]:
    """The database's final rows of a table."""
    rows: list[dict[str, Any]] = json.loads((FINAL / f"{table}.json").read_text())
    return rows


def as_final(driver: Driver) -> dict[str, list[dict[str, Any]]]:
    """Our tables written the way the database's final state is: a second opinion, apart from `streams.queries.reconcile`."""
    q = _number
    rendered: dict[str, list[dict[str, Any]]] = {
        "site": [{"site_code": k[0], "name": r.name, "timezone": r.timezone} for k, r in _live(driver.promise.sites)],
        "item": [
            {
                "item_no": k[0],
                "description": r.description,
                "base_uom": r.base_uom,
                "pack_uom": r.pack_uom,
                "pack_qty": None if r.pack_milli is None else q(r.pack_milli),
                "lot_tracked": r.lot_tracked,
                "shelf_life_days": r.shelf_life_days,
                "status": r.status,
                "safety_stock": q(r.safety_stock_milli),
                "updated_at": r.updated_at,
                "hazmat_class": r.hazmat_class,
            }
            for k, r in _live(driver.promise.items)
        ],
        "item_price": [
            {
                "price_list": k[1],
                "item_no": k[0],
                "currency": k[2],
                "unit_price": f"{r.unit_price:.4f}",
                "valid_from": k[3].isoformat(),
                "valid_to": r.valid_to and r.valid_to.isoformat(),
            }
            for k, r in _live(driver.promise.prices)
        ],
        "inventory_balance": [
            {
                "site_code": k[1],
                "item_no": k[0],
                "on_hand": q(r.on_hand_milli),
                "allocated": q(r.allocated_milli),
                "on_order": q(r.on_order_milli),
                "row_version": r.row_version,
                "updated_at": r.updated_at,
            }
            for k, r in _live(driver.promise.erp_balances)
        ],
        "customer": [
            {
                "customer_no": k[0],
                "name": r.name,
                "tax_id": r.tax_id,
                "email": r.email,
                "credit_limit": r.credit_limit,
                "credit_hold": r.credit_hold,
                "terms": r.terms,
                "price_list": r.price_list,
                "status": r.status,
            }
            for k, r in _live(driver.customers.customers)
        ],
    }
    return rendered | _documents_as_final(driver.documents)


def _documents_as_final(t: DocumentsTables) -> dict[str, list[dict[str, Any]]]:
    q = _number
    return {
        "sales_order": [
            {
                "order_no": k[0],
                "channel": r.channel,
                "external_ref": r.external_ref,
                "customer_no": r.customer,
                "status": r.status,
                "requested_ship_date": r.requested_on and r.requested_on.isoformat(),
                "created_at": r.created_at,
                "updated_at": r.updated_at,
                "priority": r.priority,
            }
            for k, r in _live(t.sales_orders)
        ],
        "sales_order_line": [
            {
                "order_no": k[0],
                "line_no": k[1],
                "item_no": r.item,
                "site_code": r.site,
                "qty_ordered": q(r.ordered_milli),
                "qty_allocated": q(r.allocated_milli),
                "qty_shipped": q(r.shipped_milli),
                "qty_invoiced": q(r.invoiced_milli),
                "unit_price": None if r.unit_price is None else f"{r.unit_price:.4f}",
                "status": r.line_status,
            }
            for k, r in _live(t.sales_order_lines)
        ],
        "purchase_order": [{"po_no": k[0], "supplier": r.supplier, "status": r.status} for k, r in _live(t.purchase_orders)],
        "purchase_order_line": [
            {
                "po_no": k[0],
                "line_no": k[1],
                "item_no": r.item,
                "site_code": r.site,
                "qty_ordered": q(r.ordered_milli),
                "qty_received": q(r.received_milli),
                "expected_date": r.expected_on and r.expected_on.isoformat(),
                "status": r.line_status,
            }
            for k, r in _live(t.purchase_order_lines)
        ],
        "invoice": [
            {
                "invoice_no": k[0],
                "order_no": r.order_no,
                "status": r.status,
                "total": f"{r.total:.2f}",
                "created_at": r.created_at,
            }
            for k, r in _live(t.invoices)
        ],
        "invoice_line": [
            {
                "invoice_no": k[0],
                "line_no": k[1],
                "order_line_no": r.order_line_no,
                "item_no": r.item,
                "qty": q(r.qty_milli),
                "unit_price": None if r.unit_price is None else f"{r.unit_price:.4f}",
                "amount": f"{r.amount:.2f}",
            }
            for k, r in _live(t.invoice_lines)
        ],
    }


def _live(table: Any) -> list[tuple[Any, Any]]:
    return [(key, row) for key, row in table.under() if not row.is_deleted]


def _number(milli: int) -> str:
    return f"{Decimal(milli) / 1000:.3f}"


def assert_final(driver: Driver) -> None:
    """Our tables are exactly the database's final state: every table, every column."""
    for table, rows in as_final(driver).items():
        theirs = final(table)
        if table == "customer":  # no declared scale: equal as numbers
            theirs = [{**row, "credit_limit": row["credit_limit"] and Decimal(row["credit_limit"])} for row in theirs]
        by_key = {json.dumps(row, sort_keys=True, default=_plain): row for row in rows}
        expected = {json.dumps(row, sort_keys=True, default=_plain): row for row in theirs}
        assert by_key == expected, table
        assert len(rows) == len(theirs)


def _plain(value: Any) -> str:
    assert isinstance(value, Decimal)
    return format(value.normalize(), "f")
