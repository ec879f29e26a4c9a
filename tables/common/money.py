"""Amounts of money: exact sums, and as people write them."""

from __future__ import annotations

from decimal import Context, Decimal

EXACT = Context(prec=80)
"""Enough digits that nothing an event can hold is ever rounded."""

MOST = Decimal(10) ** 14
"""An order of more is judged as if it were this much: no credit limit is near it."""


def shown(amount: Decimal) -> str:
    """An amount without the zeros the log keeps at its end: 12.500000000 is 12.5."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
