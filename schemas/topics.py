"""Every topic: what it carries, by which key, who writes it, how long it is kept, who answers for it. Nowhere else.

`<domain>.<what>.v<N>`. An event type belongs to one topic, so a rule yields events and the engine knows where they go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from schemas import customers, deliveries, documents, inventory, operations, orders
from schemas.base import Tick

Cleanup = Literal["keep", "delete", "compact"]
DAY_MS = 86_400_000
PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Carried:
    """An event type on a topic: the attribute that is its key, and its writers (one, but for notes any flow may make).

    `is_broadcast`: every partition gets it.
    """

    type: type[Any]
    key: str
    writers: tuple[str, ...]
    is_broadcast: bool = False


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it has to exist. `sla_ms`: how old its newest record may be under load, from the fact to the record.

    `cleanup`: `compact` keeps the newest record of each key, `delete` what is younger than `retention_ms`, `keep` all.
    `is_indexed`: readers ask for all records of one key (a ledger, a trace).
    """

    name: str
    key: str
    owner: str
    sla_ms: int
    carries: tuple[Carried, ...] = ()
    partitions: int = PARTITIONS
    cleanup: Cleanup = "keep"
    retention_ms: int | None = None
    is_inbox: bool = False
    is_indexed: bool = False
    writers: tuple[str, ...] = field(default=())

    @property
    def is_raw(self) -> bool:
        """Raw topics hold a foreign system's bytes as they came."""
        return self.name.startswith("raw.")


ERP, WMS, CHANNEL, CRM = "translate.erp", "translate.wms", "translate.channel", "translate.crm"
PROMISE, ORDERS, DOCUMENTS, CUSTOMERS, EXCEPTIONS = "promise", "orders", "documents", "customers", "exceptions"
DELIVERIES = "deliveries"
ENGINE, CLOCK, API, INGEST, AGENTS = "engine", "clock", "api", "ingest", "agents"

ERP_TABLES = (
    "site",
    "item",
    "item_price",
    "customer",
    "inventory_balance",
    "sales_order",
    "sales_order_line",
    "purchase_order",
    "purchase_order_line",
    "invoice",
    "invoice_line",
)


def _raw(name: str, key: str, owner: str, partitions: int = 1) -> Topic:
    return Topic(name, key, owner, 1_000, (), partitions, "delete", 7 * DAY_MS, writers=(INGEST,))


RAW_ERP = {table: _raw(f"raw.erp.{table}", "the row's primary key", "ERP team", 3) for table in ERP_TABLES}
RAW_ERP["other"] = _raw(
    "raw.erp.other", "whatever Debezium gives: transactions, heartbeats, signals, unmapped tables", "ERP team"
)
RAW_WMS = _raw("raw.wms", "none: one partition keeps the feed's sequence", "warehouse systems")
RAW_CRM = _raw("raw.crm", "customer", "sales systems")


def raw_channel(name: str) -> Topic:
    """The raw topic of one sales channel. One partition: a change never overtakes its order."""
    return _raw(f"raw.channel.{name}", "external reference", "channel team")


def source_of(topic: str) -> str | None:
    """The source whose messages a raw topic holds, as it is called where they are handed in; none for other topics."""
    if not topic.startswith("raw."):
        return None
    if topic.startswith("raw.erp."):
        return "erp"
    return "crm-customers" if topic == RAW_CRM.name else topic.removeprefix("raw.").removeprefix("channel.")


_P = inventory
PROMISE_INBOX = Topic(
    "promise.inbox.v1",
    "item",
    "inventory",
    500,
    (
        Carried(_P.ItemChanged, "item", (ERP,)),
        Carried(_P.PriceChanged, "item", (ERP,)),
        Carried(_P.ErpBalanceChanged, "item", (ERP,)),
        Carried(_P.SiteChanged, "site", (ERP,), is_broadcast=True),
        Carried(_P.ErpItemsNews, "table", (ERP, API), is_broadcast=True),
        Carried(_P.ReviewErpItems, "item", (PROMISE,)),
        Carried(_P.SupplyChanged, "item", (DOCUMENTS,)),
        Carried(_P.ItemTextRequested, "item", (PROMISE,)),
        Carried(_P.ItemTextProvided, "item", (PROMISE,)),
        Carried(_P.StockReceived, "item", (WMS,)),
        Carried(_P.StockAdjusted, "item", (WMS,)),
        Carried(_P.StockMoved, "item", (WMS,)),
        Carried(_P.StockStatusChanged, "item", (WMS,)),
        Carried(_P.StockCounted, "item", (WMS,)),
        Carried(_P.StockPicked, "item", (WMS, ORDERS)),
        Carried(_P.PickShorted, "item", (WMS, ORDERS)),
        Carried(_P.DemandSubstituted, "item", (WMS, ORDERS)),
        Carried(_P.StockShipped, "item", (WMS, ORDERS)),
        Carried(_P.StockReturned, "item", (WMS, ORDERS)),
        Carried(_P.RequestAllocation, "item", (ORDERS,)),
        Carried(_P.ReserveStock, "item", (API,)),
        Carried(_P.ReleaseReservation, "item", (API,)),
        Carried(_P.CheckPrice, "item", (ORDERS,)),
        Carried(_P.ReviewBackorders, "item", (PROMISE,)),
        Carried(_P.ErpLineDoubted, "item", (DOCUMENTS,)),
        Carried(_P.ItemSuspected, "item", (ENGINE,)),
        Carried(_P.SuspicionCleared, "item", (ENGINE,)),
        Carried(Tick, "source", (CLOCK,)),
    ),
    is_inbox=True,
)
ORDER_INBOX = Topic(
    "order.inbox.v1",
    "order",
    "orders",
    500,
    (
        Carried(orders.OrderPlaced, "order_id", (CHANNEL, ORDERS)),
        Carried(orders.OrderCancelRequested, "order_id", (CHANNEL, ORDERS)),
        Carried(orders.OrderQuantityChangeRequested, "order_id", (CHANNEL, ORDERS)),
        Carried(orders.ErpOrderChanged, "order_id", (DOCUMENTS, ORDERS)),
        Carried(orders.ErpOrderLineChanged, "order_id", (DOCUMENTS, ORDERS)),
        Carried(orders.InvoiceLinePosted, "order_id", (DOCUMENTS, ORDERS)),
        Carried(orders.ErpOrderRecalled, "order_id", (ORDERS,)),
        Carried(orders.ErpNumberReported, "order_id", (DOCUMENTS, ORDERS)),
        Carried(orders.LineAnswered, "order_id", (PROMISE,)),
        Carried(orders.PickReleased, "order_id", (WMS, ORDERS)),
        Carried(orders.LinePicked, "order_id", (WMS, ORDERS)),
        Carried(orders.LineShorted, "order_id", (WMS, ORDERS)),
        Carried(orders.LineSubstituted, "order_id", (WMS, ORDERS)),
        Carried(orders.LineShipped, "order_id", (WMS, ORDERS)),
        Carried(orders.LineReturned, "order_id", (WMS, ORDERS)),
        Carried(orders.ReleaseHold, "order_id", (API,)),
        Carried(orders.CreditAnswered, "order_id", (CUSTOMERS,)),
        Carried(orders.PriceChecked, "order_id", (PROMISE,)),
        Carried(deliveries.ObligationSettled, "order_id", (DELIVERIES,)),
        Carried(orders.OrderSiteChanged, "site", (ERP,), is_broadcast=True),
        Carried(orders.OrderTick, "source", (CLOCK,)),
    ),
    is_inbox=True,
    is_indexed=True,
)
DOCUMENTS_INBOX = Topic(
    "documents.inbox.v1",
    "document number",
    "integration",
    500,
    (
        Carried(documents.SalesOrderRow, "order_no", (ERP,)),
        Carried(documents.SalesOrderLineRow, "order_no", (ERP,)),
        Carried(documents.PurchaseOrderRow, "po_no", (ERP,)),
        Carried(documents.PurchaseOrderLineRow, "po_no", (ERP,)),
        Carried(documents.InvoiceRow, "invoice_no", (ERP,)),
        Carried(documents.InvoiceLineRow, "invoice_no", (ERP,)),
        Carried(documents.ErpDocumentsNews, "table", (ERP, API), is_broadcast=True),
        Carried(documents.ReviewErpDocuments, "document", (DOCUMENTS,)),
        Carried(documents.InvoiceLineJoined, "order_no", (DOCUMENTS,)),
        Carried(documents.WarehouseReported, "order_no", (WMS,)),
    ),
    is_inbox=True,
)
CUSTOMER_INBOX = Topic(
    "customer.inbox.v1",
    "customer",
    "finance",
    1_000,
    (
        Carried(customers.CustomerChanged, "customer", (ERP,)),
        Carried(customers.ErpCustomersNews, "table", (ERP, API), is_broadcast=True),
        Carried(customers.ReviewErpCustomers, "customer", (CUSTOMERS,)),
        Carried(customers.CustomerProposed, "customer", (CRM,)),
        Carried(customers.CustomerLikeness, "likeness", (CUSTOMERS,)),
        Carried(customers.RequestCredit, "customer", (ORDERS,)),
        Carried(customers.ReviewCredit, "customer", (CUSTOMERS,)),
    ),
    is_inbox=True,
)
DELIVERY_INBOX = Topic(
    "delivery.inbox.v1",
    "endpoint",
    "integration",
    500,
    (
        Carried(deliveries.ObligationRaised, "endpoint", (ORDERS,)),
        Carried(deliveries.DispatchAnswered, "endpoint", (AGENTS,)),
        Carried(deliveries.RetryObligation, "endpoint", (API,)),
        Carried(deliveries.DeliveryTick, "source", (CLOCK,)),
    ),
    is_inbox=True,
)
EXCEPTIONS_INBOX = Topic(
    "exceptions.inbox.v1",
    "fingerprint",
    "operations",
    1_000,
    (
        Carried(
            operations.ExceptionNoted,
            "fingerprint",
            (PROMISE, ORDERS, DOCUMENTS, CUSTOMERS, DELIVERIES, WMS, CHANNEL, ERP, CRM, ENGINE, AGENTS, CLOCK),
        ),
        Carried(
            operations.ExceptionCleared, "fingerprint", (PROMISE, ORDERS, CUSTOMERS, DELIVERIES, WMS, ENGINE, AGENTS, API, CLOCK)
        ),
        Carried(operations.ExceptionWorked, "fingerprint", (API,)),
        Carried(operations.ErpRowsUnread, "fingerprint", (PROMISE, DOCUMENTS, CUSTOMERS)),
    ),
    partitions=1,
    is_inbox=True,
)

ATP = Topic("atp.v1", "item", "inventory", 500, (Carried(_P.Atp, "item", (PROMISE,)),), cleanup="compact")
LEDGER = Topic("inventory.ledger.v1", "item", "inventory", 500, (Carried(_P.LedgerEntry, "item", (PROMISE,)),), is_indexed=True)
ORDER_STATUS = Topic(
    "order-status.v1", "order", "orders", 500, (Carried(orders.OrderStatus, "order_id", (ORDERS,)),), cleanup="compact"
)
MILESTONES = Topic(
    "milestones.v1",
    "order",
    "orders",
    1_000,
    (Carried(orders.Milestone, "order_id", (ORDERS,)),),
    is_indexed=True,
)
ORDER_CHANGES = Topic(
    "order-changes.v1",
    "order",
    "orders",
    1_000,
    (Carried(orders.ChangeAnswered, "order_id", (ORDERS,)),),
    is_indexed=True,
)
EXCEPTION_ROWS = Topic(
    "exceptions.v1",
    "fingerprint",
    "operations",
    1_000,
    (Carried(operations.ExceptionRow, "fingerprint", (EXCEPTIONS,)),),
    partitions=1,
    cleanup="compact",
)
REPLIES = Topic(
    "replies.v1",
    "request",
    "integration",
    100,
    (Carried(operations.Reply, "request_id", (PROMISE,)),),
    cleanup="delete",
    retention_ms=DAY_MS,
    is_indexed=True,
)
DEAD_LETTERS = Topic(
    "dead-letter.v1",
    "dead letter",
    "operations",
    1_000,
    (Carried(operations.DeadLetter, "dead_letter_id", (ENGINE,)),),
    partitions=1,
)
REPLAYS = Topic(
    "dead-letter-replays.v1",
    "dead letter",
    "operations",
    1_000,
    (Carried(operations.LetterReplayed, "dead_letter_id", (API,)),),
    partitions=1,
    is_indexed=True,
)
PAUSES = Topic(
    "source-pauses.v1", "source", "operations", 1_000, (Carried(operations.SourcePaused, "target", (ENGINE,)),), partitions=1
)
INTERVENTIONS = Topic(
    "interventions.v1",
    "source, or record",
    "operations",
    1_000,
    (
        Carried(operations.SourceResumed, "target", (API,)),
        Carried(operations.RecordSkipped, "record", (API,)),
    ),
    partitions=1,
)

DISPATCH = Topic(
    "dispatch.v1",
    "endpoint",
    "integration",
    500,
    (Carried(deliveries.Dispatch, "endpoint", (DELIVERIES,)),),
    cleanup="delete",
    retention_ms=DAY_MS,
)
ENDPOINTS = Topic(
    "endpoints.v1",
    "endpoint",
    "integration",
    1_000,
    (Carried(deliveries.EndpointStatus, "endpoint", (DELIVERIES,)),),
    partitions=1,
    cleanup="compact",
)

DEFINED: tuple[Topic, ...] = (
    *RAW_ERP.values(),
    RAW_WMS,
    RAW_CRM,
    PROMISE_INBOX,
    ORDER_INBOX,
    DOCUMENTS_INBOX,
    CUSTOMER_INBOX,
    DELIVERY_INBOX,
    EXCEPTIONS_INBOX,
    ATP,
    LEDGER,
    ORDER_STATUS,
    MILESTONES,
    ORDER_CHANGES,
    EXCEPTION_ROWS,
    REPLIES,
    DEAD_LETTERS,
    REPLAYS,
    PAUSES,
    INTERVENTIONS,
    DISPATCH,
    ENDPOINTS,
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes."""

    topic: Topic
    key: str
    writers: tuple[str, ...]
    is_broadcast: bool


ROUTES: dict[type[Any], Route] = {
    carried.type: Route(topic, carried.key, carried.writers, carried.is_broadcast)
    for topic in DEFINED
    for carried in topic.carries
}
