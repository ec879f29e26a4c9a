"""What an obligation asks of another system, by kind, and what that system answers: typed, as JSON on the way.

Quantities are thousandths of the item's base unit. Connectors make each system's own words of these.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from schemas.errors import BadMessage
from schemas.frozen import Frozen
from schemas.orders import SitePart


class ObligedLine(Frozen, frozen=True):
    """So much of an order line at a site. `line` is the order's line number, in the ERP and the WMS too.

    `substitute`: the units left as so much (`substitute_milli`) of another item. `parts`: the sites the units come from.
    """

    line: int
    item: str
    site: str
    qty_milli: int
    uom: str
    unit_price: Decimal | None = None
    currency: str | None = None
    substitute: str | None = None
    substitute_milli: int = 0
    parts: tuple[SitePart, ...] = ()


class PostOrder(Frozen, frozen=True):
    """The order as the ERP should have it, whole: a higher `revision` replaces a lower one, a quantity of 0 cancels its line."""

    order_id: str
    revision: int
    channel: str
    external_ref: str
    customer: str
    requested_on: date | None
    priority: int
    lines: list[ObligedLine]


class OrderPosted(Frozen, frozen=True):
    """The ERP has it, under this number."""

    order_no: str


class ReleaseOrder(Frozen, frozen=True):
    """Units the warehouse should pick and ship, in addition to what it was told before."""

    order_id: str
    customer: str
    priority: int
    requested_on: date | None
    allow_substitute: bool
    lines: list[ObligedLine]


class OrderReleased(Frozen, frozen=True):
    """The warehouse has taken the release."""


class WithdrawRelease(Frozen, frozen=True):
    """Units the warehouse should no longer pick, as far as it has not."""

    order_id: str
    lines: list[ObligedLine]


class ReleaseWithdrawn(Frozen, frozen=True):
    """What the warehouse gave back: the rest of what was asked is picked, and ships."""

    lines: list[ObligedLine]


class RequestInvoice(Frozen, frozen=True):
    """Shipped units to bill, in addition to what was asked before."""

    order_id: str
    order_no: str
    lines: list[ObligedLine]


class InvoicePosted(Frozen, frozen=True):
    """The ERP has billed them."""

    invoice_no: str


class RequestCount(Frozen, frozen=True):
    """An item to count at a site: the warehouse did not find what should be there. The count comes by its feed."""

    order_id: str
    site: str
    item: str


class CountRequested(Frozen, frozen=True):
    """The warehouse will count."""


class RequestCreditNote(Frozen, frozen=True):
    """Units that were billed and came back, to credit in addition to what was asked before."""

    order_id: str
    order_no: str
    lines: list[ObligedLine]


class CreditNotePosted(Frozen, frozen=True):
    """The ERP has credited them."""

    credit_no: str


class NotifyStatus(Frozen, frozen=True):
    """The order's status as it is now; `sequence` rises with each notice of the order, so a late one can be left out."""

    order_id: str
    sequence: int
    status: str
    channel: str
    external_ref: str
    customer: str
    at_ms: int


class StatusNotified(Frozen, frozen=True):
    """The system has heard of it."""


KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "post_order": (PostOrder, OrderPosted),
    "release_order": (ReleaseOrder, OrderReleased),
    "withdraw_release": (WithdrawRelease, ReleaseWithdrawn),
    "request_invoice": (RequestInvoice, InvoicePosted),
    "request_count": (RequestCount, CountRequested),
    "request_credit_note": (RequestCreditNote, CreditNotePosted),
    "notify_status": (NotifyStatus, StatusNotified),
}
"""Kind -> what is asked, what is answered."""
KIND_OF: dict[type[Any], str] = {asked: kind for kind, (asked, _) in KINDS.items()}


def to_json(value: Any) -> str:
    """The JSON text of a body or an answer."""
    return msgspec.json.encode(value).decode()


def body_of(kind: str, text: str) -> Any:
    """What an obligation of a kind asks. Raises `BadMessage`."""
    return _read(kind, 0, text)


def answer_of(kind: str, text: str) -> Any:
    """What was answered to one. Raises `BadMessage`."""
    return _read(kind, 1, text)


def _read(kind: str, side: int, text: str) -> Any:
    types = KINDS.get(kind)
    if types is None:
        raise BadMessage(f"{kind!r} is not a kind of obligation", hint=f"there are {', '.join(KINDS)}")
    try:
        return msgspec.json.decode(text, type=types[side])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadMessage(f"{kind}: {error}", hint="see schemas/obligations.py for what it holds") from error
