"""What the customers fold emits: the events it is a declared writer of (`schemas.topics`)."""

from __future__ import annotations

from typing import TypeAlias

from schemas.customers import CustomerLikeness, ReviewCredit, ReviewErpCustomers
from schemas.operations import ErpRowsUnread, ExceptionCleared, ExceptionNoted
from schemas.orders import CreditAnswered

CustomerEmit: TypeAlias = (
    CustomerLikeness | ReviewCredit | ReviewErpCustomers | ExceptionCleared | ExceptionNoted | CreditAnswered | ErpRowsUnread
)
