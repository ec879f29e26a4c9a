"""Quantities: exact, integral, in thousandths of the item's base unit (`_milli`).

Legacy ERPs keep `numeric(14,3)`: 2.211 KG on hand is a fact, and so is 12.5 EA of safety stock. An `int` count of
thousandths holds each of them exactly, needs no per-item scale, and adds up without rounding (ADR 0003).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from schemas.errors import BadMessage

MILLI = 1000
MAX_MILLI = 10**15  # numeric(14,3) and some: anything larger is a typing error, not stock


def parse_milli(text: str | int | Decimal, field: str = "qty") -> int:
    """Read a decimal quantity ("24", "2.211", 24) as thousandths.

    Raises `BadMessage` for text that is no number, for more than three decimals and for absurd magnitudes.
    """
    if isinstance(text, int):
        milli = text * MILLI
    elif isinstance(text, str) and text.isascii() and text.isdigit():
        milli = int(text) * MILLI if len(text) <= 16 else MAX_MILLI + 1
    else:
        milli = _parse_decimal(text, field)
    if not -MAX_MILLI <= milli <= MAX_MILLI:
        raise BadMessage(f"{field} {str(text)[:40]!r} is out of range", hint="quantities are below 10^12 base units")
    return milli


def _parse_decimal(text: str | Decimal, field: str) -> int:
    try:
        value = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        raise BadMessage(f"{field} {str(text)[:40]!r} is not a number", hint='send it as text, like "24" or "2.5"') from None
    if not value.is_finite():
        raise BadMessage(f"{field} {str(text)[:40]!r} is not a finite number", hint='send it as text, like "24"')
    if value.adjusted() > 16:
        return MAX_MILLI + 1
    scaled = value.scaleb(3)
    if scaled != scaled.to_integral_value():
        raise BadMessage(f"{field} {value} has more than three decimals", hint="the finest quantity kept is 0.001")
    return int(scaled)


def to_decimal(milli: int) -> Decimal:
    """Thousandths as a decimal without trailing zeros: 24000 -> Decimal("24"), 2211 -> Decimal("2.211")."""
    whole, rest = divmod(milli, MILLI)
    return Decimal(whole) if rest == 0 else Decimal(milli).scaleb(-3).normalize()


def show(milli: int) -> str:
    """Thousandths as a person reads them: 24000 -> "24", 2211 -> "2.211", -500 -> "-0.5"."""
    return format(to_decimal(milli), "f")
