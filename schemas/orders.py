"""Orders: what is said to the order fold (inbox keyed by order) and what it says (status, milestones).

The order id is `<channel>:<external reference>`, so a resend is the same order. Another customer's order under the same reference
is `<channel>:<external reference>@<customer>`; an order born in the ERP without a reference, or as a further one under one that
no channel has placed, is `erp:<order number>` (see `tables.orders.references`).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from schemas.base import ErpRow, Event, Tick
from schemas.frozen import Frozen


class PlacedLine(Frozen, frozen=True):
    """A line as the channel sent it: `qty_milli` thousandths of `uom` (base unit if none)."""

    line: int
    item: str
    qty_milli: int
    uom: str | None
    unit_price: Decimal | None
    currency: str | None
    site: str | None


class OrderPlaced(Event, frozen=True, kw_only=True):
    """A channel placed an order. `content_hash`: equal for a plain resend, different for a contradicting one.

    `is_restated`: the channel always sends the order as it now stands, so another content is a change of it; `stated_at_ms`: as
    of when (0: it does not say).
    """

    order_id: str
    channel: str
    external_ref: str
    customer: str
    requested_on: date | None
    priority: int
    allow_partial: bool
    allow_backorder: bool
    allow_substitute: bool
    content_hash: str
    lines: list[PlacedLine]
    is_restated: bool = False
    stated_at_ms: int = 0


class OrderCancelRequested(Event, frozen=True, kw_only=True):
    """The channel wants the order (or `line` of it) cancelled, as far as that can still be done.

    `customer`: whose order it is, where several customers use the reference ("": not said). `asked_under`: the order id it was
    sent under, if that turned out to be another customer's: its outcome is told under both.
    """

    order_id: str
    line: int | None
    reason: str
    customer: str = ""
    asked_under: str = ""


class OrderQuantityChangeRequested(Event, frozen=True, kw_only=True):
    """The channel wants another quantity on a line. `asked_under`: see `OrderCancelRequested`."""

    order_id: str
    line: int
    qty_milli: int
    uom: str | None
    customer: str = ""
    asked_under: str = ""


class ReleaseHold(Event, frozen=True, kw_only=True):
    """A person lets a held order go on in spite of `reason` (see `OrderStatus.holds`), or of all reasons if it is empty."""

    order_id: str
    reason: str
    person: str
    note: str


class OrderTick(Tick, frozen=True, kw_only=True):
    """Time, for the order fold: stages that are due."""


class OrderSiteChanged(ErpRow, frozen=True, kw_only=True):
    """The ERP has a site, or has it no longer (see `schemas.inventory.SiteChanged`). Broadcast, for the order fold."""

    site: str


# --- the customers and promise folds' checks ----------------------------------------------------------------------------


class CreditAnswered(Event, frozen=True, kw_only=True):
    """Whether a customer may have the order. `verdict`: granted, held. Answered anew whenever that changes (`answer` rises).

    `reason` of a hold: unknown_customer, credit_hold, credit_limit, credit_currency, customer_inactive; `sentence` says it in
    words.
    `price_list`: the customer's ("" while unknown). `is_limited`: whether the customer has a credit limit.
    """

    order_id: str
    customer: str
    revision: int
    answer: int
    verdict: str
    reason: str
    sentence: str
    terms: str
    price_list: str
    is_limited: bool = False


class PriceChecked(Event, frozen=True, kw_only=True):
    """How a line's price compares with the item's reference. `reference` is per `uom` asked for; none if there is none.

    `listed_in`: the currencies in which the list has the item that day. Without a reference, but listed, the price is in none of
    them, or does not say in which: it cannot be compared.
    """

    order_id: str
    line: int
    revision: int
    item: str
    unit_price: Decimal
    currency: str
    reference: Decimal | None
    is_match: bool
    listed_in: list[str] = []


# --- the ERP's documents, joined to their header by the documents fold; `revision` rises with each change ----------------


class ErpOrderChanged(Event, frozen=True, kw_only=True):
    """The ERP's header for this order (OPEN HOLD ALLOC PART SHIPPED INVOICED CANCEL). `is_deleted`: gone, or not ours."""

    order_id: str
    order_no: str
    revision: int
    channel: str
    customer: str
    status: str
    requested_on: date | None
    created_at_ms: int
    priority: int
    is_deleted: bool


class ErpOrderLineChanged(Event, frozen=True, kw_only=True):
    """The ERP's line for this order. `line_status`: O open, A allocated, P part shipped, S shipped, I invoiced, X cancelled.

    A line may have a history before its order is known: `first_item` is what it began with (as `item` if none), `most_milli` the
    most it ever had (0: no more than now), `changed_at_ms` when its quantity last changed (0: never, or with this event).
    """

    order_id: str
    order_no: str
    line_no: int
    revision: int
    item: str
    site: str
    ordered_milli: int
    allocated_milli: int
    shipped_milli: int
    invoiced_milli: int
    unit_price: Decimal | None
    line_status: str
    commit_position: int
    is_deleted: bool
    first_item: str | None = None
    most_milli: int = 0
    changed_at_ms: int = 0


class ErpOrderRecalled(Event, frozen=True, kw_only=True):
    """The ERP's order under this id is a copy of the order `to`: all that is known of it goes there."""

    order_id: str
    order_no: str
    to: str


class ErpNumberReported(Event, frozen=True, kw_only=True):
    """A warehouse's report that names the order by the ERP's number. `type`, `body`: the event and its fields, as JSON."""

    order_id: str
    order_no: str
    type: str
    body: str


class InvoiceLinePosted(Event, frozen=True, kw_only=True):
    """What one ERP invoice line bills of an order line, as it is now; `is_void`: the invoice was voided or deleted."""

    order_id: str
    order_no: str
    invoice_no: str
    invoice_line: int
    order_line_no: int
    revision: int
    item: str
    qty_milli: int
    amount: Decimal
    posted_at_ms: int
    is_void: bool


# --- the promise fold's answer ------------------------------------------------------------------------------------------


class SitePart(Frozen, frozen=True):
    """Units of a line promised from one site."""

    site: str
    qty_milli: int


class SiteGone(Frozen, frozen=True):
    """Units of a line that need no promise from a site any more: shipped (or served by another item), not found there."""

    site: str
    shipped_milli: int
    short_milli: int


class LineAnswered(Event, frozen=True, kw_only=True):
    """How the line's request stands, absolute, in the item's base unit.

    `wanted_milli` = sum(`allocated`) + `backordered_milli` + what has shipped. `revision` is the request's; `answer` rises with
    each answer to it (a backorder that finds stock is answered again). `refused`: why less is promised than was wanted, or
    nothing. `uom` is the item's base unit ("" if the request was in a unit that means nothing for the item); `pack_uom`, if it
    has one, holds `pack_milli` of it. `gone`: what the warehouses told so far, as this answer has it. `backorder_site`: where
    the backorder is expected.
    """

    order_id: str
    line: int
    revision: int
    answer: int
    item: str
    uom: str
    wanted_milli: int
    shipped_milli: int
    allocated: list[SitePart]
    backordered_milli: int
    promised_on: date | None
    refused: str | None
    gone: list[SiteGone]
    backorder_site: str | None = None
    pack_uom: str | None = None
    pack_milli: int | None = None


# --- the WMS's execution -------------------------------------------------------------------------------------------------


class LineExecution(Event, frozen=True, kw_only=True):
    """What every execution fact names."""

    order_id: str
    line: int
    item: str
    site: str
    qty_milli: int
    uom: str | None


class PickReleased(LineExecution, frozen=True, kw_only=True):
    """The warehouse released the line to the floor."""


class LinePicked(LineExecution, frozen=True, kw_only=True):
    """Units of the line were picked and staged."""


class LineShorted(LineExecution, frozen=True, kw_only=True):
    """`qty_milli` of the line was picked, `short_milli` was not found."""

    short_milli: int


class LineSubstituted(LineExecution, frozen=True, kw_only=True):
    """`qty_milli` of the line is served by `substitute_milli` of another item, picked and staged."""

    substitute_item: str
    substitute_milli: int


class LineShipped(LineExecution, frozen=True, kw_only=True):
    """Units of the line left. `item` is the one shipped, perhaps a substitute. One fact a line, lot and part of a shipment, as
    `schemas.inventory.StockShipped`.
    """

    shipment: str
    carrier: str | None
    tracking: str | None
    lot: str | None
    part: int = 0


class LineReturned(LineExecution, frozen=True, kw_only=True):
    """Units of the line came back."""

    lot: str | None = None


# --- what the order fold says ----------------------------------------------------------------------------------------------


class ChangeOutcome(Frozen, frozen=True, kw_only=True):
    """What became of a request for change. `hint`: what to do instead.

    `outcome`: pending, done, in_part, refused, expired. `kind`: cancel, cancel_line, set_qty, add_line, restate, release, place.
    """

    change: str
    kind: str
    line: int | None
    outcome: str
    sentence: str
    hint: str
    at_ms: int


class ChangeAnswered(ChangeOutcome, frozen=True, kw_only=True):
    """The outcome of a request for change, as an event. One that was pending is followed by its end."""

    order_id: str
    cause: str


class SubstituteStatus(Frozen, frozen=True):
    """Another item that serves a part of a line: so much of it, for so much of the line. `is_accepted`: by order or person."""

    item: str
    qty_milli: int
    serves_milli: int
    shipped_milli: int
    returned_milli: int
    is_accepted: bool


class LineStatus(Frozen, frozen=True):
    """One line: its state and how much of it stands where, in thousandths of the base unit."""

    line: int
    item: str
    uom: str | None
    state: str
    ordered_milli: int
    cancelled_milli: int
    allocated_milli: int
    backordered_milli: int
    picked_milli: int
    shipped_milli: int
    short_milli: int
    substituted_milli: int
    returned_milli: int
    invoiced_milli: int
    promised_on: date | None
    reason: str | None
    substitutes: list[SubstituteStatus] = []


class OrderStatus(Frozen, frozen=True, kw_only=True):
    """An order as everybody may see it. `version` rises with each change.

    `decision`: checking, held (for the reasons in `holds`), accepted, refused; "" if the order is not crossdock's to run.
    `changes`: the newest requests for change, oldest first. `same_reference`: other orders under its channel and reference.
    """

    order_id: str
    version: int
    as_of_ms: int
    status: str
    channel: str
    external_ref: str
    customer: str
    placed_at_ms: int
    requested_on: date | None
    erp_order_nos: list[str]
    lines: list[LineStatus]
    decision: str
    holds: list[str]
    changes: list[ChangeOutcome] = []
    same_reference: list[str] = []


class Milestone(Frozen, frozen=True, kw_only=True):
    """A stage an order reached for the first time. `since_previous_ms` is none for the first; late if above `sla_ms`."""

    order_id: str
    milestone: str
    at_ms: int
    since_previous_ms: int | None
    sla_ms: int
    is_late: bool
    cause: str
