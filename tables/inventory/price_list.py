"""Finding the newest price valid on a day without reading the older ones, however many there are.

Per item, price list and currency: for each block of days the last day on which any price that begins in it is valid. A block that
cannot reach the day asked for is passed over, so that few rows are read and few are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from tables.common.calendars import to_date, to_day
from tables.inventory.state import LastDays, PromiseTables

Key = tuple[str, str, str]  # item, price list, currency
FOREVER = 2**31
BLOCK, WIDE = 32, 1_024  # days of a block, and of a block of blocks
_NONE = LastDays(())


def index_price(t: PromiseTables, key: Key, valid_from: date) -> None:
    """The price that begins there is another one now (or gone)."""
    block = to_day(valid_from) // BLOCK
    wide = block * BLOCK // WIDE
    ends = [end for end, _ in _prices(t, key, block * BLOCK, block * BLOCK + BLOCK - 1)]
    inner = _with(t.price_blocks.get((*key, wide)) or _NONE, block, max(ends, default=None))
    t.price_blocks[(*key, wide)] = inner
    t.price_spans[key] = _with(t.price_spans.get(key) or _NONE, wide, max([end for _, end in inner.days], default=None))


def price_on(t: PromiseTables, key: Key, on: date) -> Decimal | None:
    """The price that began last of those valid on the day."""
    day = to_day(on)
    for wide in _reaching(t.price_spans.get(key) or _NONE, day // WIDE, day):
        for block in _reaching(t.price_blocks.get((*key, wide)) or _NONE, day // BLOCK, day):
            valid = [price for end, price in _prices(t, key, block * BLOCK, min(block * BLOCK + BLOCK - 1, day)) if end >= day]
            if valid:
                return valid[-1]
    return None


def _reaching(row: LastDays, last: int, day: int) -> Iterable[int]:
    """Blocks up to `last` with a price that is valid on the day or later, the newest first."""
    return [block for block, end in reversed(row.days) if block <= last and end >= day]


def _prices(t: PromiseTables, key: Key, first: int, last: int) -> list[tuple[int, Decimal]]:
    """Prices that begin on these days, in order: last day, price."""
    found = []
    for (_, _, _, valid_from), row in t.prices.range((*key, to_date(first)), (key[0], key[1], key[2] + "\0", date.min)):
        if to_day(valid_from) > last:
            break
        if not row.is_deleted:
            found.append((FOREVER if row.valid_to is None else to_day(row.valid_to), row.unit_price))
    return found


def _with(row: LastDays, block: int, end: int | None) -> LastDays:
    days = dict(row.days)
    days.pop(block, None)
    if end is not None:
        days[block] = end
    return LastDays(tuple(sorted(days.items())))
