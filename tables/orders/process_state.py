"""The state of an order that crossdock runs: what was decided, what other systems were told, what is waited for.

Nothing here is nudged by events. Each event changes what sources said (`tables.orders.state`); then what should be true now is
compared with what was asked, and the difference is asked for (`tables.orders.process_manager`).
"""

from __future__ import annotations

from decimal import Decimal

from schemas.frozen import Frozen


class Process(Frozen, frozen=True):
    """The order's run. `decision`, `holds`: as in `schemas.orders.OrderStatus`.

    `refusals`: what a system refused, in its words, until a person lets it be tried again. `overridden`: holds a person lifted
    though their cause stands. `was_in_erp`: the ERP has shown the order. `status`, `notices`: the last one told and how many.
    `bill_at_ms`: when shipped units are billed next.
    """

    decision: str = "checking"
    holds: tuple[str, ...] = ()
    is_accepted: bool = False
    refusals: tuple[tuple[str, str], ...] = ()
    overridden: tuple[str, ...] = ()
    was_in_erp: bool = False
    status: str = ""
    notices: int = 0
    bill_at_ms: int | None = None


class CreditCheck(Frozen, frozen=True):
    """What the customers fold was asked last, and what it answered last.

    `released_amount`: up to this amount a person lets the order go on, none if nobody does; `is_released`: it was told so.
    `good_for`: the amount the answer is about. `currency`: as in `schemas.customers.RequestCredit`.
    `is_limited`: the customer has a credit limit, so each line needs a price.
    """

    revision: int
    amount: Decimal
    is_closed: bool = False
    released_amount: Decimal | None = None
    is_released: bool = False
    answered_revision: int = 0
    answer: int = 0
    good_for: Decimal | None = None
    verdict: str = ""
    reason: str = ""
    sentence: str = ""
    price_list: str = ""
    is_limited: bool = False
    currency: str = ""


class PriceCheck(Frozen, frozen=True):
    """A line's price (none: unsaid), as it was asked about and what was answered. `is_match` is none until then.

    `listed_in`: the currencies in which the price list has the item.
    """

    revision: int
    price_list: str
    unit_price: Decimal | None
    is_match: bool | None = None
    reference: Decimal | None = None
    listed_in: tuple[str, ...] = ()

    def is_in_another_currency(self) -> bool:
        """Whether the list has the item, but not in the currency of the price. If that is asked again: as it was before."""
        is_open = self.is_match is None and self.revision > 1
        return (is_open or self.is_match is False) and self.reference is None and len(self.listed_in) > 0


class PostedQuantity(Frozen, frozen=True):
    """A quantity the ERP was told in a revision."""

    revision: int
    qty_milli: int


class PostedLine(Frozen, frozen=True):
    """What the ERP was told of a line. `pending`: quantities its change feed has not shown yet, oldest first.

    `shown_milli`: the one it has shown last.
    """

    site: str
    shown_milli: int = 0
    pending: tuple[PostedQuantity, ...] = ()


class Handoff(Frozen, frozen=True):
    """Units of a line at a warehouse, adding up: what it was told to ship, and what it said it did.

    `withdrawn_milli`: given back when asked. `sure_milli`: it could not give back more, so of this much all is picked or short.
    `short_at_ms`: when it last found nothing of what it was sent for, 0 if never. `counted_milli`: short units for which it was
    asked to count.
    """

    instructed_milli: int = 0
    withdrawn_milli: int = 0
    picked_milli: int = 0
    substituted_milli: int = 0
    short_milli: int = 0
    shipped_milli: int = 0
    sure_milli: int = 0
    short_at_ms: int = 0
    counted_milli: int = 0

    def taken_milli(self) -> int:
        """Units picked, shipped or served by another item, reported or sure to be."""
        told = max(self.picked_milli, self.shipped_milli) + self.substituted_milli
        return max(told, self.sure_milli - self.short_milli)

    def committed_milli(self) -> int:
        """Units that are taken, or that the warehouse may still take."""
        return max(self.taken_milli(), self.instructed_milli - self.withdrawn_milli - self.short_milli)

    def open_milli(self) -> int:
        """Units the warehouse may still take."""
        return self.committed_milli() - self.taken_milli()


class RequestedInvoice(Frozen, frozen=True):
    """Units the ERP was asked to bill, adding up."""

    requested_milli: int


class TaskLine(Frozen, frozen=True):
    """Units of a line (at a site) that a task is about. `item`, `item_milli`: as so much of a substitute, if they are."""

    line: int
    site: str
    qty_milli: int
    item: str = ""
    item_milli: int = 0


class Task(Frozen, frozen=True):
    """The newest obligation of a kind. One at a time: the next is worked out when this is settled."""

    number: int
    obligation_id: str
    is_waiting: bool
    is_refused: bool
    at_ms: int
    lines: tuple[TaskLine, ...]


class Wait(Frozen, frozen=True):
    """Something the order waits for. `mark`: what exactly; another one starts anew."""

    due_ms: int
    mark: int


class OpenException(Frozen, frozen=True):
    """An exception that is open. `sentence`: as it was noted."""

    sentence: str


class DeferredProcess(Frozen, frozen=True):
    """A large order's process is to be brought on, at `due_ms` at the latest: what the newest event about it was.

    `events`: how many since it was brought on last. `is_unmatched`: lines of the ERP are still to be matched to its own.
    """

    due_ms: int
    events: int = 0
    is_unmatched: bool = False
    event_id: str = ""
    source: str = ""
    source_position: int = 0
    occurred_at_ms: int = 0
    recorded_at_ms: int = 0
    trace_id: str = ""


class OrderDeadline(Frozen, frozen=True):
    """Something is due (the key says it all)."""

    order_id: str
