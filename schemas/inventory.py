"""Inventory: what is said to the promise fold (inbox keyed by item) and what it says (ATP, ledger)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from schemas.base import ErpRow, ErpRowsReview, ErpTableNews, Event
from schemas.frozen import Frozen
from schemas.orders import SitePart


class Status(StrEnum):
    """Where a unit stands in the warehouse. Only `usable` units can be promised."""

    USABLE = "usable"
    HELD = "held"
    QUALITY = "quality"
    DAMAGED = "damaged"
    STAGED = "staged"


# --- facts of the ERP --------------------------------------------------------------------------------------------------


class ItemChanged(ErpRow, frozen=True, kw_only=True):
    """The item master's row. `pack_milli`: base units a `pack_uom` holds. `status`: A active, H hold, D discontinued.

    `description_is_unavailable`: the database kept the long text out of the change (TOAST): the text held stays, or the
    one of `renumbered_from`, the number the item had before. `updated_at`: the ERP's local wall clock, as it writes it.
    """

    item: str
    description: str | None
    description_is_unavailable: bool
    base_uom: str
    pack_uom: str | None
    pack_milli: int | None
    lot_tracked: bool
    shelf_life_days: int | None
    status: str
    safety_stock_milli: int
    hazmat_class: str | None
    updated_at: str
    renumbered_from: str | None


class ItemTextRequested(Event, frozen=True, kw_only=True):
    """`new_item` was renumbered from `item` with its long text untouched, at (`commit_position`, `source_position`)."""

    item: str
    new_item: str
    commit_position: int


class ItemTextProvided(Event, frozen=True, kw_only=True):
    """The long text `old_item` had when it was renumbered to `item`, at (`commit_position`, `source_position`)."""

    item: str
    old_item: str
    commit_position: int
    description: str | None


class PriceChanged(ErpRow, frozen=True, kw_only=True):
    """A price reference, valid from day to day (both included, open-ended if `valid_to` is none)."""

    item: str
    price_list: str
    currency: str
    valid_from: date
    unit_price: Decimal
    valid_to: date | None


class ErpBalanceChanged(ErpRow, frozen=True, kw_only=True):
    """The ERP's own balance of an item at a site. Physical truth only where the site is `physical_owner = "erp"`."""

    item: str
    site: str
    on_hand_milli: int
    allocated_milli: int
    on_order_milli: int
    row_version: int
    updated_at: str


class SiteChanged(ErpRow, frozen=True, kw_only=True):
    """A site and its calendar (IANA zone). Broadcast: every partition needs every site's calendar."""

    site: str
    name: str
    timezone: str


class ErpItemsNews(ErpTableNews, frozen=True, kw_only=True):
    """News of item, item_price, inventory_balance or site."""


class ReviewErpItems(ErpRowsReview, frozen=True, kw_only=True):
    """Go on with the rows of `item` and the items behind it."""

    item: str


class SupplyChanged(Event, frozen=True, kw_only=True):
    """A purchase or transfer line with its header, as it is now. `revision` rises with each change of the line."""

    item: str
    document: str
    line: int
    revision: int
    site: str
    supplier: str
    ordered_milli: int
    received_milli: int
    expected_on: date | None
    is_open: bool


# --- facts of the WMS: `qty_milli` counts thousandths of `uom` (the item's base unit if none) ---------------------------


class StockEvent(Event, frozen=True, kw_only=True):
    """What every warehouse fact names: an item at a site, a lot where tracked, a quantity in a unit."""

    item: str
    site: str
    lot: str | None
    qty_milli: int
    uom: str | None


class StockReceived(StockEvent, frozen=True, kw_only=True):
    """Units arrived; the purchase line they came on, if any, expects them no longer. A negative quantity takes that back.

    `expires_on` is the lot's last day, wherever its units stand: the newest word counts.
    """

    status: Status
    expires_on: date | None
    document: str | None
    document_line: int | None


class StockAdjusted(StockEvent, frozen=True, kw_only=True):
    """A signed correction with its reason."""

    status: Status
    reason: str


class StockMoved(StockEvent, frozen=True, kw_only=True):
    """Units left `site` for `to_site`."""

    status: Status
    to_site: str


class StockStatusChanged(StockEvent, frozen=True, kw_only=True):
    """Units changed status where they are."""

    from_status: Status
    to_status: Status


class StockCounted(StockEvent, frozen=True, kw_only=True):
    """A snapshot: the balance was exactly this as of `occurred_at_ms`. `expires_on`: the lot's last day, if the count says it."""

    status: Status
    expires_on: date | None = None


class StockPicked(StockEvent, frozen=True, kw_only=True):
    """Units of an order line went from usable to staged. `substitute_for`: the item ordered, if this is another."""

    order_id: str
    line: int
    substitute_for: str | None


class PickShorted(StockEvent, frozen=True, kw_only=True):
    """`qty_milli` was picked, `short_milli` was not there: the stock is corrected by as much."""

    order_id: str
    line: int
    short_milli: int


class DemandSubstituted(StockEvent, frozen=True, kw_only=True):
    """`qty_milli` of the line's demand for `item` is served by `substitute_item` (its own event moves its stock)."""

    order_id: str
    line: int
    substitute_item: str


class StockShipped(StockEvent, frozen=True, kw_only=True):
    """Staged units of an order line left the building: `qty_milli` in all of this line, lot and part of the shipment.

    Told again, by whatever message, it is the same fact, and the newest quantity counts. `part`: the message's n-th unit for
    one line and lot (0 the first).
    """

    order_id: str
    line: int
    shipment: str
    part: int = 0


class StockReturned(StockEvent, frozen=True, kw_only=True):
    """Units came back; they stand in `quality` until somebody looks at them."""

    order_id: str | None
    line: int | None


# --- commands ----------------------------------------------------------------------------------------------------------


class RequestAllocation(Event, frozen=True, kw_only=True):
    """The order fold's request for one line, absolute: `wanted_milli` in all, shipped units included; 0 withdraws it.

    `revision` rises with each request for the line. `is_firm`: accepted elsewhere (the ERP), so it may be backordered but not
    refused. `shipped_milli`: what the ERP says has shipped by now, as of its commit `commit_position`; where the WMS tells
    of shipments too, the larger count holds. `instructed`: units by site that its warehouse was ever told to ship, less those
    withdrawn: what is allocated for them stays there. The answer is one `LineAnswered` of the same revision.
    """

    item: str
    order_id: str
    line: int
    revision: int
    wanted_milli: int
    uom: str | None
    site: str | None
    requested_on: date | None
    channel: str
    customer: str
    priority: int
    placed_at_ms: int
    is_firm: bool
    allow_partial: bool
    allow_backorder: bool
    shipped_milli: int
    commit_position: int
    instructed: list[SitePart]


class ReserveStock(Event, frozen=True, kw_only=True):
    """A channel holds units for a while. Answered by one `Reply` with `request_id`; see `tables.inventory.reservations`.

    `body_hash` tells a repeated request (same answer) from another one under the same key (422). `reservation_id` is the hold's
    if it is granted; a repetition brings one of its own, which is not used. `site` none: any, and several where one has too few.
    """

    item: str
    request_id: str
    body_hash: str
    reservation_id: str
    site: str | None
    channel: str
    qty_milli: int
    uom: str | None
    ttl_ms: int


class ReleaseReservation(Event, frozen=True, kw_only=True):
    """The channel gives its hold back. Answered by one `Reply` with `request_id`."""

    item: str
    request_id: str
    reservation_id: str


class CheckPrice(Event, frozen=True, kw_only=True):
    """Compare a line's price with the item's reference in a price list, as of a day. Answered by `PriceChecked`.

    `is_unpriced`: the line says no price, and what is asked for is the reference.
    """

    item: str
    order_id: str
    line: int
    revision: int
    price_list: str
    unit_price: Decimal
    currency: str
    uom: str | None
    day: date
    is_unpriced: bool = False


class ReviewBackorders(Event, frozen=True, kw_only=True):
    """The promise fold's note to itself: look at the item's backorders behind this one (work on one event stays bounded).

    Priority, instant, order and line: its place in the queue.
    """

    item: str
    priority: int
    placed_at_ms: int
    order_id: str
    line: int


class ItemSuspected(Event, frozen=True, kw_only=True):
    """A message about the item was quarantined as `dead_letter_id`: its numbers may be wrong until that is replayed.

    `is_waiting`: no message was quarantined. Events about the item wait for something, and `dead_letter_id` says for what.
    """

    item: str
    dead_letter_id: str
    reason: str
    is_waiting: bool = False


class ErpLineDoubted(Event, frozen=True, kw_only=True):
    """An open order or purchase line of the item's has not been read again by the ERP's new snapshot; it has been, or is gone.

    `line`: `<table>/<document>/<line>`.
    """

    item: str
    line: str
    is_doubted: bool


class SuspicionCleared(Event, frozen=True, kw_only=True):
    """The quarantined message `dead_letter_id` was replayed, what waited was settled, or the item reconciled."""

    item: str
    dead_letter_id: str


# --- what the promise fold says ------------------------------------------------------------------------------------------


class DayNet(Frozen, frozen=True):
    """What is expected in (`supply_milli`) and wanted out (`demand_milli`) on a day."""

    day: date
    supply_milli: int
    demand_milli: int


class Expiry(Frozen, frozen=True):
    """Usable units of lots whose last day is `day`."""

    day: date
    qty_milli: int


class ChannelHold(Frozen, frozen=True):
    """What a channel has taken here so far (open demand and reservations): caps and floors are reckoned against it."""

    channel: str
    consumed_milli: int


class SiteAtp(Frozen, frozen=True):
    """One site's part of an item's promise: every input of the formula, so that any policy can be worked out from it.

    `days` is sparse, ascending; entries before `Atp.today` are past due. `promise_milli`: max(0, ATP today) by `Atp.policy`.
    `safety_milli`: this site's own safety stock; `kept_milli`: what it keeps today of the shared one, as other sites do not
    hold it. `atp_milli` has both taken off.
    """

    site: str
    today: date
    usable_milli: int
    held_milli: int
    quality_milli: int
    damaged_milli: int
    staged_milli: int
    demand_milli: int
    reserved_milli: int
    backordered_milli: int
    atp_milli: int
    promise_milli: int
    days: list[DayNet]
    expiries: list[Expiry]
    channels: list[ChannelHold]
    safety_milli: int = 0
    kept_milli: int = 0


class SourceMark(Frozen, frozen=True):
    """How far a source has been heard about an item."""

    source: str
    position: int
    occurred_at_ms: int
    recorded_at_ms: int


class Atp(Frozen, frozen=True, kw_only=True):
    """Available to promise of one item, everywhere. `version` rises with each change of the item.

    `safety_stock_milli` is the item's; by `safety_policy` `network` all sites together keep it back, `shared_safety_milli` of it
    beyond the sites' own, by `site` each keeps all of it (see `tables.inventory.safety_stock`). Let `alone` be a site's
    `atp_milli` +
    `kept_milli`: `atp_milli` = their sum - `shared_safety_milli`, signed; `promise_milli` = max(0, the sum of their
    max(0, alone) - `shared_safety_milli`), and 0 of an item that is not sold: by `item_status` unknown, deleted, or on hold (H).
    `suspects`: dead letters about this item that were not replayed yet, what events about it wait for as
    `waiting:<flow>/<partition>:<what>`, and balances below zero as `negative:<site>:<status>`.
    """

    item: str
    version: int
    as_of_ms: int
    policy: str
    uom: str
    item_status: str
    safety_stock_milli: int
    atp_milli: int
    promise_milli: int
    sites: list[SiteAtp]
    marks: list[SourceMark]
    suspects: list[str]
    safety_policy: str = "site"
    shared_safety_milli: int = 0


class LedgerChange(Frozen, frozen=True):
    """One measure of a site before and after. `measure`: `on_hand.<status>`, `demand`, `reserved`, `backordered`, `supply`."""

    site: str
    measure: str
    lot: str | None
    before_milli: int
    after_milli: int


class LedgerEntry(Frozen, frozen=True, kw_only=True):
    """What one event changed about an item, and why. The differences of a measure add up to its present value."""

    item: str
    cause: str
    cause_type: str
    source: str
    occurred_at_ms: int
    recorded_at_ms: int
    trace_id: str
    note: str
    changes: list[LedgerChange]
