"""Quantities: exact, integral, in thousandths of the item's base unit (`_milli`).

Legacy ERPs keep `numeric(14,3)`: 2.211 KG on hand is a fact, and so is 12.5 EA of safety stock. An `int` count of
thousandths holds each of them exactly, needs no per-item scale, and adds up without rounding (ADR 0003).
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from schemas.errors import BadMessage

MILLI = 1000
MAX_MILLI = 10**15  # numeric(14,3) and some: anything larger is a typing error, not stock
_FINEST = Decimal("0.001")
_EXACT = Context(prec=20, traps=[InvalidOperation, Inexact])
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})")


def parse_milli(text: str | int | Decimal, field: str = "qty") -> int:
    """Read a decimal quantity ("24", "2.211", 24) as thousandths.

    Text is plain digits with an optional sign and point: no exponent, no blanks, no separators, no other script's digits.
    Raises `BadMessage` for anything else (a float or a truth value too), for more than three decimals and for absurd
    magnitudes.
    """
    if type(text) is int:
        milli = text * MILLI
    elif isinstance(text, str) and len(text) <= 16 and text.isascii() and text.isdigit():
        milli = int(text) * MILLI
    else:
        milli = _exact(text, field)
    if not -MAX_MILLI <= milli <= MAX_MILLI:
        raise _out_of_range(text, field)
    return milli


def _exact(text: Any, field: str) -> int:
    is_number = _NUMBER.fullmatch(text) if isinstance(text, str) else isinstance(text, Decimal) and text.is_finite()
    if not is_number:
        raise BadMessage(f"{field} {_shown(text)} is not a number", hint='send it as text, like "24" or "2.5"')
    try:
        return int(Decimal(text).quantize(_FINEST, context=_EXACT).scaleb(3))
    except Inexact:
        why = "has more than three decimals"
        raise BadMessage(f"{field} {_shown(text)} {why}", hint="the finest quantity kept is 0.001") from None
    except InvalidOperation:
        raise _out_of_range(text, field) from None


def _out_of_range(text: Any, field: str) -> BadMessage:
    return BadMessage(f"{field} {_shown(text)} is out of range", hint="a quantity is at most 10^12 base units")


def _shown(text: Any) -> str:
    """The value, short: whoever sent it may have sent a megabyte."""
    if isinstance(text, int) and text.bit_length() > 128:
        return f"of {text.bit_length()} bits"
    return repr(text[:40]) if isinstance(text, str) else str(text)[:40]


def to_decimal(milli: int) -> Decimal:
    """Thousandths as a decimal without trailing zeros: 24000 -> Decimal("24"), 2211 -> Decimal("2.211")."""
    whole, rest = divmod(milli, MILLI)
    return Decimal(whole) if rest == 0 else Decimal(milli).scaleb(-3).normalize()


def show(milli: int) -> str:
    """Thousandths as a person reads them: 24000 -> "24", 2211 -> "2.211", -500 -> "-0.5"."""
    return format(to_decimal(milli), "f")
