"""The order fold's state: what each source said about an order, as many small rows under its id, and the lines worked out of it.

Facts are kept by source and a line is recomputed from them (`tables.orders.lines`), never nudged: so the outcome does not
depend on which source was heard first. Quantities are thousandths of the item's base unit, with one exception: a line
placed in another unit stands in that unit until the promise fold's first answer tells how much that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from schemas.frozen import Frozen
from schemas.orders import ChangeOutcome, OrderCancelRequested, OrderQuantityChangeRequested, SiteGone, SitePart
from tables.common.position_ranges import Span
from tables.common.row_version import Version
from tables.common.table import Table
from tables.orders.lifecycle import State
from tables.orders.process_state import (
    CreditCheck,
    DeferredProcess,
    Handoff,
    OpenException,
    OrderDeadline,
    PostedLine,
    PriceCheck,
    Process,
    RequestedInvoice,
    Task,
    Wait,
)

LARGE = 50
"""An order of more lines is brought on once for many events about single lines (see `tables.orders.process_manager`)."""


class Placement(Frozen, frozen=True):
    """The channel's order, without its lines."""

    channel: str
    external_ref: str
    customer: str
    requested_on: date | None
    priority: int
    allow_partial: bool
    allow_backorder: bool
    allow_substitute: bool
    content_hash: str
    placed_at_ms: int
    stated_at_ms: int = 0


class Order(Frozen, frozen=True):
    """The header as worked out of the channel's order and the ERP's.

    `erp_order_no`: the ERP order that counts, if any. `is_duplicate`: the ERP has taken it more than once. `seen_count` ids of
    applied facts are remembered. One that is not among them, at or before `floor_ms` and from where its feed was `forgotten`, may
    be a repetition.
    `line_count`: lines it has ever had.
    """

    channel: str
    external_ref: str
    customer: str
    requested_on: date | None
    priority: int
    allow_partial: bool
    allow_backorder: bool
    placed_at_ms: int
    as_of_ms: int
    cancel_reason: str | None
    erp_order_no: str | None
    is_erp_cancelled: bool
    is_held: bool
    is_duplicate: bool
    seen_count: int
    floor_ms: int
    line_count: int = 0
    forgotten: tuple[Span, ...] = ()

    def is_large(self) -> bool:
        """Whether it has so many lines that looking at all of them after each event would cost too much."""
        return self.line_count > LARGE


class ChannelLine(Frozen, frozen=True):
    """The channel's line. `qty_milli` thousandths of `uom` (base unit if none); `most_milli` is the largest ever asked for.

    `unit_price` is per `uom`. `changed_at_ms`: when the channel last changed the quantity, 0 if never; `change_position` orders
    its changes.
    """

    item: str
    qty_milli: int
    most_milli: int
    uom: str | None
    site: str | None
    changed_at_ms: int
    change_position: int
    cancel_reason: str | None
    unit_price: Decimal | None = None
    currency: str | None = None


class ErpOrder(Frozen, frozen=True):
    """The ERP's header."""

    revision: int
    channel: str
    customer: str
    status: str
    requested_on: date | None
    created_at_ms: int
    priority: int
    is_deleted: bool


class ErpLine(Frozen, frozen=True):
    """The ERP's line. `first_item` is what it is matched by; `changed_at_ms`: when its quantity last changed, 0 if never.

    A deleted line keeps its last facts. `line`: the order's line it is, none while its order does not count. `own_milli`: the
    quantity the ERP itself set last (at `changed_at_ms`); none if it only has what it was told. `told_milli`: what it was
    told and shows now; none if it has set it itself.
    """

    revision: int
    first_item: str
    item: str
    site: str
    ordered_milli: int
    most_milli: int
    changed_at_ms: int
    shipped_milli: int
    line_status: str
    commit_position: int
    is_deleted: bool
    line: int | None
    own_milli: int | None
    told_milli: int | None = None

    def last_word_milli(self) -> int:
        """The quantity the ERP itself wants."""
        return self.ordered_milli if self.own_milli is None else self.own_milli

    def stands_milli(self) -> int:
        """What the ERP will deliver of it: nothing of a line that is cancelled or gone."""
        return 0 if self.is_deleted or self.line_status == "X" else self.ordered_milli


class InvoicedLine(Frozen, frozen=True):
    """What one ERP invoice line bills."""

    revision: int
    qty_milli: int
    is_void: bool
    item: str = ""
    amount: Decimal = Decimal(0)
    posted_at_ms: int = 0


class SameReference(Frozen, frozen=True):
    """Another order under the same channel and reference."""

    order_id: str


class ForwardedOrder(Frozen, frozen=True):
    """An ERP order under this reference is another order: its id, and whose it is."""

    to: str
    customer: str


class RecentChanges(Frozen, frozen=True):
    """The newest requests for change of an order, how many are not settled yet, and how many could not be begun (`early`)."""

    outcomes: tuple[ChangeOutcome, ...] = ()
    pending: int = 0
    early: int = 0


class EarlyChange(Frozen, frozen=True):
    """A request for change that waits, why, and until when; one of the two."""

    due_ms: int
    reason: str
    cancel: OrderCancelRequested | None = None
    quantity: OrderQuantityChangeRequested | None = None

    def request(self) -> OrderCancelRequested | OrderQuantityChangeRequested:
        """It, as it came."""
        if self.cancel is not None:
            return self.cancel
        assert self.quantity is not None
        return self.quantity


class PriorContent(Frozen, frozen=True):
    """A content the order had before its channel changed it: as of when, 0 if it did not say."""

    stated_at_ms: int


class OpenChange(Frozen, frozen=True):
    """A request for change whose outcome is not known yet. `before_milli`: what was wanted of its lines when it came.

    `qty_milli`, `uom`: the quantity asked for. `under`: see `OrderCancelRequested.asked_under`.
    """

    kind: str
    line: int | None
    before_milli: int
    qty_milli: int = 0
    uom: str | None = None
    under: str = ""


class LineRequest(Frozen, frozen=True):
    """What the promise fold was last asked for the line (see `schemas.inventory.RequestAllocation`)."""

    item: str
    wanted_milli: int
    uom: str | None
    site: str | None
    requested_on: date | None
    priority: int
    is_firm: bool
    allow_partial: bool
    allow_backorder: bool
    shipped_milli: int


class LineAllocation(Frozen, frozen=True):
    """The newest answer of the promise fold (see `schemas.orders.LineAnswered`). `allocated_milli` includes staged units."""

    revision: int
    answer: int
    wanted_milli: int
    shipped_milli: int
    allocated_milli: int
    backordered_milli: int
    promised_on: date | None
    refused: str | None
    parts: tuple[SitePart, ...] = ()
    gone: tuple[SiteGone, ...] = ()
    backorder_site: str | None = None


class ExecutedLine(Frozen, frozen=True):
    """What the warehouse reported of a line, in base units, adding up over facts. Shipments and returns: of its own item."""

    released_milli: int = 0
    picked_milli: int = 0
    short_milli: int = 0
    substituted_milli: int = 0
    shipped_milli: int = 0
    returned_milli: int = 0


class LineUnit(Frozen, frozen=True):
    """The unit of a line's quantities: the item's base unit once the promise fold has named it (`is_base`), else as placed.

    A `pack_uom` holds `pack_milli` thousandths of the base unit.
    """

    uom: str | None = None
    is_base: bool = False
    pack_uom: str | None = None
    pack_milli: int | None = None


class Line(Frozen, frozen=True):
    """An order line as worked out. Quantities as in `schemas.orders.LineStatus`; `wanted_milli` is ordered less cancelled.

    `is_listed`: a source has the line; one that none has any more, and nothing happened to, is not shown. `has_moved`: its
    item was changed. `declined_milli`: what the promise fold would not take of `declined_of_milli` ordered. `desired_milli`: what
    should ship in the end; more than that is wanted as long as a warehouse has been told to ship it.
    """

    item: str = ""
    site: str | None = None
    unit: LineUnit = LineUnit()
    erp_line_no: int | None = None
    is_listed: bool = False
    has_moved: bool = False
    state: State = State.RECEIVED
    revision: int = 0
    wish: LineRequest | None = None
    answer: LineAllocation | None = None
    declined_milli: int = 0
    declined_of_milli: int = 0
    executed: ExecutedLine = ExecutedLine()
    ordered_milli: int = 0
    desired_milli: int = 0
    wanted_milli: int = 0
    allocated_milli: int = 0
    backordered_milli: int = 0
    picked_milli: int = 0
    shipped_milli: int = 0
    returned_milli: int = 0
    invoiced_milli: int = 0
    reason: str | None = None


class Substitute(Frozen, frozen=True):
    """Another item that serves a line: `served_milli` of the line by `substitute_milli` of it, of which so much has shipped.

    Shipments and returns of it are kept as they come and count by that ratio, one to one while the substitution is unknown.
    `is_accepted`: the order allows it, or a person does; `billed_milli`, `credited_milli`: what the ERP was asked for of it.
    """

    served_milli: int = 0
    substitute_milli: int = 0
    shipped_milli: int = 0
    returned_milli: int = 0
    is_accepted: bool = False
    billed_milli: int = 0
    credited_milli: int = 0

    def is_disputed(self) -> bool:
        """Whether it went out, or will, for an order that takes no substitute, and nobody has accepted it."""
        return not self.is_accepted and max(self.substitute_milli, self.shipped_milli) > self.returned_milli

    def serves(self, qty_milli: int) -> int:
        """How much of the line a quantity of the substitute stands for."""
        return qty_milli * self.served_milli // self.substitute_milli if self.substitute_milli else qty_milli


class ShipmentLineFact(Frozen, frozen=True):
    """What the newest message says of a line of a shipment."""

    qty_milli: int
    told_at_ms: int
    told_position: int


class KnownSite(Frozen, frozen=True):
    """A site the ERP has sent."""

    version: Version
    is_deleted: bool


class LineLot(Frozen, frozen=True):
    """Units of a line's item that left as a lot, and came back as it."""

    shipped_milli: int = 0
    returned_milli: int = 0


class SeenFact(Frozen, frozen=True):
    """A fact that has been applied."""

    occurred_at_ms: int
    source: str
    position: int


class Reached(Frozen, frozen=True):
    """A milestone that was reached."""

    at_ms: int


@dataclass(slots=True)
class OrderTables:
    """All tables of the order fold. The first part of each key is the order id, but for sites and deadlines."""

    orders: Table[tuple[str], Order]
    placements: Table[tuple[str], Placement]
    placed: Table[tuple[str, int], ChannelLine]  # order id, line
    lines: Table[tuple[str, int], Line]  # order id, line
    substitutes: Table[tuple[str, int, str], Substitute]  # order id, line, item
    erp_orders: Table[tuple[str, str], ErpOrder]  # order id, ERP order number
    erp_lines: Table[tuple[str, str, int], ErpLine]  # order id, ERP order number, ERP line
    lots: Table[tuple[str, int, str, str], LineLot]  # order id, line, item, lot ("": none was named)
    credited: Table[tuple[str, int], RequestedInvoice]  # order id, line: of its own item
    twins: Table[tuple[str, str], SameReference]  # order id, customer
    passed_on: Table[tuple[str, str], ForwardedOrder]  # order id, ERP order number
    recent_changes: Table[tuple[str], RecentChanges]
    stated: Table[tuple[str, str], PriorContent]  # order id, content hash
    early_changes: Table[tuple[str, str], EarlyChange]  # order id, event id
    open_changes: Table[tuple[str, str], OpenChange]  # order id, change
    invoice_lines: Table[tuple[str, str, int, str, int], InvoicedLine]  # order id, ERP order number, ERP line, invoice, line
    shipment_lines: Table[
        tuple[str, int, str, str, str, str, int], ShipmentLineFact
    ]  # order, line, site, shipment, item, lot, part
    seen: Table[tuple[str, str], SeenFact]  # order id, event id
    milestones: Table[tuple[str, str], Reached]  # order id, milestone
    processes: Table[tuple[str], Process]
    credits: Table[tuple[str], CreditCheck]
    price_checks: Table[tuple[str, int], PriceCheck]  # order id, line
    told: Table[tuple[str, int], PostedLine]  # order id, line number in the ERP
    handoffs: Table[tuple[str, int, str], Handoff]  # order id, line, site
    billed: Table[tuple[str, int], RequestedInvoice]  # order id, line
    tasks: Table[tuple[str, str], Task]  # order id, kind of obligation
    waits: Table[tuple[str, str], Wait]  # order id, what is waited for
    concerns: Table[tuple[str, str], OpenException]  # order id, fingerprint
    put_offs: Table[tuple[str], DeferredProcess]
    sites: Table[tuple[str], KnownSite]  # site
    deadlines: Table[tuple[int, str, str], OrderDeadline]  # due at ms, what, order id
