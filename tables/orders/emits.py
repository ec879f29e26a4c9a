"""What the order fold emits: the events it is a declared writer of (`schemas.topics`)."""

from __future__ import annotations

from typing import TypeAlias

from schemas.customers import RequestCredit
from schemas.deliveries import ObligationRaised
from schemas.inventory import (
    CheckPrice,
    DemandSubstituted,
    PickShorted,
    RequestAllocation,
    StockPicked,
    StockReturned,
    StockShipped,
)
from schemas.operations import ExceptionCleared, ExceptionNoted
from schemas.orders import (
    ChangeAnswered,
    ErpNumberReported,
    ErpOrderChanged,
    ErpOrderLineChanged,
    ErpOrderRecalled,
    InvoiceLinePosted,
    LinePicked,
    LineReturned,
    LineShipped,
    LineShorted,
    LineSubstituted,
    Milestone,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
    OrderStatus,
    PickReleased,
)

OrderEmit: TypeAlias = (
    RequestCredit
    | ObligationRaised
    | CheckPrice
    | DemandSubstituted
    | PickShorted
    | RequestAllocation
    | StockPicked
    | StockReturned
    | StockShipped
    | ExceptionCleared
    | ExceptionNoted
    | ChangeAnswered
    | ErpNumberReported
    | ErpOrderChanged
    | ErpOrderLineChanged
    | ErpOrderRecalled
    | InvoiceLinePosted
    | LinePicked
    | LineReturned
    | LineShipped
    | LineShorted
    | LineSubstituted
    | Milestone
    | OrderCancelRequested
    | OrderPlaced
    | OrderQuantityChangeRequested
    | OrderStatus
    | PickReleased
)
