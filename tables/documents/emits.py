"""What the documents fold emits: the events it is a declared writer of (`schemas.topics`)."""

from __future__ import annotations

from typing import TypeAlias

from schemas.documents import InvoiceLineJoined, ReviewErpDocuments
from schemas.inventory import ErpLineDoubted, SupplyChanged
from schemas.operations import ErpRowsUnread, ExceptionNoted
from schemas.orders import ErpNumberReported, ErpOrderChanged, ErpOrderLineChanged, InvoiceLinePosted

DocumentsEmit: TypeAlias = (
    InvoiceLineJoined
    | ReviewErpDocuments
    | SupplyChanged
    | ErpLineDoubted
    | ExceptionNoted
    | ErpNumberReported
    | ErpOrderChanged
    | ErpOrderLineChanged
    | InvoiceLinePosted
    | ErpRowsUnread
)
