"""The promise fold's state: everything about an item that a promise depends on, as many small rows under the item's key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from schemas.frozen import Frozen
from schemas.inventory import SourceMark
from schemas.orders import SitePart
from tables.common.cdc_tables import CdcTable
from tables.common.position_ranges import Span
from tables.common.row_version import Version
from tables.common.table import Table

ON_HOLD = "H"
"""The status of an item that the ERP does not let anybody sell."""

DISCONTINUED = "D"
"""The status of an item of which what is there is sold, and nothing waits for supply."""


class Item(Frozen, frozen=True):
    """The item master's row (see `schemas.inventory.ItemChanged`). A deleted item keeps its last facts, for the renumbered one.

    `text_version`: the change the description is from; `text_wanted_from`: the old item number it is still asked of.
    """

    item: str
    version: Version
    is_deleted: bool
    description: str | None
    text_version: Version
    text_wanted_from: str | None
    base_uom: str
    pack_uom: str | None
    pack_milli: int | None
    lot_tracked: bool
    shelf_life_days: int | None
    status: str
    safety_stock_milli: int
    hazmat_class: str | None
    updated_at: str
    extra: dict[str, str]


class OldText(Frozen, frozen=True):
    """The long text an item had when it was deleted: a renumbered item may come for it, even when the number lives again.

    `wanted_since`: the change that brought the item here without its text, while that text is still asked for.
    """

    description: str | None
    wanted_since: Version | None


class TextRequest(Frozen, frozen=True):
    """A renumbered item that waits for this one's long text, as of the renumbering's change."""

    new_item: str
    version: Version


class PriceReference(Frozen, frozen=True):
    """A price reference."""

    version: Version
    is_deleted: bool
    unit_price: Decimal
    valid_to: date | None
    extra: dict[str, str]


class LastDays(Frozen, frozen=True):
    """By block of days, ascending: the last day on which a price that begins in it is valid (see
    `tables.inventory.price_list`).
    """

    days: tuple[tuple[int, int], ...]


class ErpBalance(Frozen, frozen=True):
    """What the ERP says the balance is."""

    version: Version
    is_deleted: bool
    on_hand_milli: int
    allocated_milli: int
    on_order_milli: int
    row_version: int
    updated_at: str
    extra: dict[str, str]


class Site(Frozen, frozen=True):
    """A site and its calendar."""

    version: Version
    is_deleted: bool
    name: str
    timezone: str
    extra: dict[str, str]


class DayPlan(Frozen, frozen=True):
    """What is expected in and wanted out on a day (days since 1970-01-01), of one item at one site."""

    day: int
    supply_milli: int
    demand_milli: int


class Stock(Frozen, frozen=True):
    """An item at a site: the sums that answers need, kept as events come. `days` and `expiries` ascend and hold no zero rows.

    `as_of_ms`: when the last event about it was recorded; `marks`: how far each source has been heard (see SourceMark).

    `demand_milli`: dated open demand of orders, backorders with a promise date included; `reserved_milli`: soft
    reservations; `days` has both. `backordered_milli`: what is not on hand yet, dated or not. `supply_milli`: open, dated.
    `is_oversold`: more is promised here than there is or will be, because stock or supply was taken away.
    """

    usable_milli: int
    held_milli: int
    quality_milli: int
    damaged_milli: int
    staged_milli: int
    demand_milli: int
    reserved_milli: int
    backordered_milli: int
    supply_milli: int
    is_oversold: bool
    as_of_ms: int
    days: tuple[DayPlan, ...]
    expiries: tuple[tuple[int, int], ...]  # last day, usable units
    channels: tuple[tuple[str, int], ...]  # channel, open demand and reservations
    marks: tuple[SourceMark, ...]


class Overview(Frozen, frozen=True):
    """What is known about an item across its sites. `backorders`: how many lines wait for stock.

    `as_of_ms`, `marks`: of events that concern no site (its master row); those of a site are in its `Stock`.
    """

    as_of_ms: int
    sites: tuple[str, ...]
    backorders: int
    suspects: tuple[str, ...]
    marks: tuple[SourceMark, ...]


class Balance(Frozen, frozen=True):
    """On hand of a lot ("" where lots are not tracked) in a status.

    `counted_at_ms`, `counted_position`: instant and source position of the newest count; movements at or before the instant
    are in it. `movements`: how many are remembered one by one; `newest_ms`: the instant of the newest; `floor_ms`: of the
    newest that is not remembered any more; `forgotten`: between which positions of their feeds those were.
    """

    on_hand_milli: int
    counted_at_ms: int
    counted_position: int
    floor_ms: int
    newest_ms: int
    movements: int
    expires_day: int | None
    forgotten: tuple[Span, ...] = ()


class LotExpiry(Frozen, frozen=True):
    """A lot's last day by the newest fact that names it (its instant, and its position in its feed)."""

    expires_day: int
    told_at_ms: int
    told_position: int


class Movement(Frozen, frozen=True):
    """One remembered movement of a balance: it can be told from a repetition, and re-applied after a late count."""

    delta_milli: int
    source: str
    position: int


class OpenSupply(Frozen, frozen=True):
    """An open purchase or transfer line. What the site's own receipts have consumed, or the ERP has, whichever is more."""

    revision: int
    site: str
    supplier: str
    ordered_milli: int
    erp_received_milli: int
    received_milli: int
    expected_on: date | None
    is_open: bool


class DemandExecution(Frozen, frozen=True):
    """What the warehouse did for a line at a site: cumulative units picked and shipped, in whatever order they were told.

    `substituted_milli`: served by another item; `short_milli`: not found.
    """

    site: str
    picked_milli: int
    shipped_milli: int
    substituted_milli: int = 0
    short_milli: int = 0


class Shipment(Frozen, frozen=True):
    """Units of a line shipped. `implied_milli` of them have no reported pick (yet): they count as picked when they shipped."""

    lot: str
    qty_milli: int
    implied_milli: int


class ReturnedUnits(Frozen, frozen=True):
    """Units of a line came back; `accepted_milli` of them had left before, and are stock."""

    site: str
    lot: str
    qty_milli: int
    accepted_milli: int


class ShipmentLine(Frozen, frozen=True):
    """A line of a shipment: one fact, whatever the number of messages that tell of it.

    It left at the earliest instant any of them names (`at_ms`, `event_id`: its row among the shipments, if `qty_milli` is not 0);
    the quantity is the newest one's (`told_at_ms`, `told_position`).
    """

    at_ms: int
    event_id: str
    qty_milli: int
    told_at_ms: int
    told_position: int


class Unpicked(Frozen, frozen=True):
    """The first of a line's shipments from a site that reported picks do not cover, and the units shipped before it."""

    at_ms: int
    event_id: str
    before_milli: int


class Units(Frozen, frozen=True):
    """The units a line's quantities are told in, as of its first: a pack's new size is for documents to come."""

    base_uom: str
    pack_uom: str | None
    pack_milli: int | None


class Demand(Frozen, frozen=True):
    """An order line's request and what became of it: wanted = parts + backordered + served (picked, shipped or substituted).

    `parts`: allocated on hand, not yet picked, booked on `need_day`. `promised_day`: the backorder's day at `backorder_site`
    (none: no supply covers it). `erp_shipped_milli`: shipped as the ERP has it. Revision 0: executed, but never asked for.
    """

    revision: int
    answer: int
    wanted_milli: int
    site: str | None
    requested_on: date | None
    channel: str
    customer: str
    priority: int
    placed_at_ms: int
    is_firm: bool
    allow_partial: bool
    allow_backorder: bool
    need_day: int
    parts: tuple[SitePart, ...]
    executed: tuple[DemandExecution, ...]
    erp_shipped_milli: int
    substituted_milli: int
    backordered_milli: int
    backorder_site: str
    promised_day: int | None
    refused: str | None
    units: Units | None = None


class Marker(Frozen, frozen=True):
    """A row of an index: its key says it all."""


class Unposted(Frozen, frozen=True):
    """Units the ERP's order line says have shipped, of which the stock's owner has not told yet: still wanted."""

    qty_milli: int
    day: int
    channel: str
    shipped_at_ms: int


class HeldPart(Frozen, frozen=True):
    """Units of a reservation at a site, booked on the day it was there when they were taken."""

    site: str
    day: int
    qty_milli: int


class Reservation(Frozen, frozen=True):
    """A soft hold of a channel: `qty_milli` in all. `state`: held, released, expired. Kept until its request may be forgotten."""

    request_id: str
    channel: str
    qty_milli: int
    parts: tuple[HeldPart, ...]
    expires_at_ms: int
    state: str


class Holding(Frozen, frozen=True):
    """How many reservations of an item a channel has alive, and of how many units."""

    count: int
    qty_milli: int


class AnsweredRequest(Frozen, frozen=True):
    """A request that was answered: the same again gets the same answer. `reservation_id`: the hold it was granted, else ""."""

    reservation_id: str
    body_hash: str
    status: int
    body: str


class Queued(Frozen, frozen=True):
    """A backordered line's place in the queue (the key says it all)."""

    order_id: str


class Suspicion(Frozen, frozen=True):
    """A quarantined message about the item. `is_waiting`: events about it wait, and none is in quarantine."""

    reason: str
    is_waiting: bool = False


class ItemDeadline(Frozen, frozen=True):
    """Something to do at an instant: the key says when, what and for which item."""

    item: str


@dataclass(slots=True)
class PromiseTables:
    """All tables of the promise fold. The first part of each key is the item, but for sites and deadlines."""

    items: Table[tuple[str], Item]
    overviews: Table[tuple[str], Overview]
    old_texts: Table[tuple[str, int], OldText]  # item, source position of its deletion
    text_requests: Table[tuple[str, int], TextRequest]  # old item, source position of the renumbering
    prices: Table[tuple[str, str, str, date], PriceReference]  # item, price list, currency, valid from
    price_spans: Table[tuple[str, str, str], LastDays]  # item, price list, currency
    price_blocks: Table[tuple[str, str, str, int], LastDays]  # item, price list, currency, block
    erp_balances: Table[tuple[str, str], ErpBalance]  # item, site
    sites: Table[tuple[str], Site]  # site
    stock: Table[tuple[str, str], Stock]  # item, site
    balances: Table[tuple[str, str, str, str], Balance]  # item, site, status, lot
    lots: Table[tuple[str, str], LotExpiry]  # item, lot
    movements: Table[tuple[str, str, str, str, int, str], Movement]  # item, site, status, lot, occurred at, event id
    supplies: Table[tuple[str, str, int], OpenSupply]  # item, document, line
    demands: Table[tuple[str, str, int], Demand]  # item, order id, line
    returns: Table[tuple[str, str, int, int, str], ReturnedUnits]  # item, order id, line, came back at, event id
    shipments: Table[tuple[str, str, int, str, int, str], Shipment]  # item, order id, line, site, shipped at, event id
    shipment_lines: Table[tuple[str, str, int, str, str, str, int], ShipmentLine]  # item, order, line, site, shipment, lot, part
    unpicked: Table[tuple[str, str, int, str], Unpicked]  # item, order id, line, site
    unposted: Table[tuple[str, str, int, str, int], Unposted]  # item, order id, line, site, commit position
    unposted_commits: Table[tuple[str, str, int, str, int], Marker]  # item, site, commit position, order id, line
    unposted_times: Table[tuple[str, str, int, str, int, int], Marker]  # item, site, shipped at, order id, line, commit position
    backorders: Table[tuple[str, int, int, str, int], Queued]  # item, priority (1 first), placed at, order id, line
    reservations: Table[tuple[str, str], Reservation]  # item, reservation id
    holdings: Table[tuple[str, str], Holding]  # item, channel
    requests: Table[tuple[str, str], AnsweredRequest]  # item, request id
    suspects: Table[tuple[str, str], Suspicion]  # item, dead letter id
    erp_tables: Table[tuple[str], CdcTable]  # the ERP's table
    deadlines: Table[tuple[int, str, str, str], ItemDeadline]  # due at ms, what, item, id
