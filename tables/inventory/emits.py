"""What the promise fold emits: the events it is a declared writer of (`schemas.topics`)."""

from __future__ import annotations

from typing import TypeAlias

from schemas.inventory import Atp, ItemTextProvided, ItemTextRequested, LedgerEntry, ReviewBackorders, ReviewErpItems
from schemas.operations import ErpRowsUnread, ExceptionCleared, ExceptionNoted, Reply
from schemas.orders import LineAnswered, PriceChecked

PromiseEmit: TypeAlias = (
    Atp
    | ItemTextProvided
    | ItemTextRequested
    | LedgerEntry
    | ReviewBackorders
    | ReviewErpItems
    | ExceptionCleared
    | ExceptionNoted
    | Reply
    | LineAnswered
    | PriceChecked
    | ErpRowsUnread
)
