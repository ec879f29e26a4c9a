"""A channel sends the order as it now stands: what differs from before is found and applied, line by line, each with an outcome.

Lines are the same if number and item are; else the same item's line is meant, whatever its number is now. What is not there any
more is cancelled, what is new is added.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import AlreadyApplied
from schemas.frozen import Frozen, replace
from schemas.orders import OrderPlaced, PlacedLine
from tables.common.raise_exception import note
from tables.orders.change_requests import answer, begin, refuse, wanted_milli
from tables.orders.emits import OrderEmit
from tables.orders.state import ChannelLine, OpenChange, OrderTables, Placement, PriorContent

_NEWER = "Send when it was changed (updated_at) with each order, or send the change itself"


class OrderDifference(Frozen, frozen=True):
    """Lines of a restated order by their number here: as they stand now, new ones among them, and those that are gone."""

    now: dict[int, PlacedLine]
    gone: list[int]


def restate(t: OrderTables, e: OrderPlaced, current: Placement) -> Iterator[OrderEmit]:
    """Apply what differs. A statement from before the one that stands is a repetition, and changes nothing.

    Without an instant nobody can tell the repetition of an older statement from a change back to it: a person is asked.
    """
    if e.stated_at_ms and e.stated_at_ms <= current.stated_at_ms:
        raise AlreadyApplied
    order_id, was = e.order_id, t.stated.get((e.order_id, e.content_hash))
    if was is not None and not e.stated_at_ms:
        sentence = f"Order {order_id} was sent as it was before its last change: the newer one stands."
        yield note(e, "order_restated_older", f"order_restated_older:{order_id}", f"{sentence} {_NEWER}.", order_id=order_id)
        yield from refuse(t, e, order_id, "restate", None, sentence, _NEWER)
        return
    t.stated[order_id, current.content_hash] = PriorContent(current.stated_at_ms)
    if e.customer != current.customer:
        sentence = f"Order {order_id} was placed by customer {current.customer} and cannot become an order of {e.customer}."
        hint = "Cancel it and place a new order for the other customer"
        yield from answer(
            t, e, order_id, f"{e.content_hash}.{e.source_position}/customer", "restate", None, "refused", sentence, hint
        )
    t.placements[(order_id,)] = replace(
        current,
        requested_on=e.requested_on,
        priority=e.priority,
        allow_partial=e.allow_partial,
        allow_backorder=e.allow_backorder,
        allow_substitute=e.allow_substitute,
        content_hash=e.content_hash,
        stated_at_ms=e.stated_at_ms,
    )
    yield from _apply(t, e, difference(t, e))


def difference(t: OrderTables, e: OrderPlaced) -> OrderDifference:
    """Which of the order's lines each line of the statement is."""
    open_ = {n: placed for (_, n), placed in t.placed.under(e.order_id) if placed.cancel_reason is None}
    taken = {n for (_, n), _ in t.placed.under(e.order_id)}
    now: dict[int, PlacedLine] = {}
    left: list[PlacedLine] = []
    for line in e.lines:
        placed = open_.get(line.line)
        if placed is not None and placed.item == line.item:
            now[line.line] = line
            del open_[line.line]
        else:
            left.append(line)
    by_item: dict[str, list[int]] = {}
    for number in sorted(open_, reverse=True):
        by_item.setdefault(open_[number].item, []).append(number)
    following = max([*taken, *[line.line for line in e.lines]], default=0) + 1
    for line in left:
        numbers = by_item.get(line.item)
        if numbers:
            number = numbers.pop()
            del open_[number]
        elif line.line not in taken:
            number = line.line
        else:
            number, following = following, following + 1
        taken.add(number)
        now[number] = line
    return OrderDifference(now, sorted(open_))


def _apply(t: OrderTables, e: OrderPlaced, found: OrderDifference) -> Iterator[OrderEmit]:
    order_id = e.order_id
    order = t.orders[(order_id,)]
    is_over = order.cancel_reason is not None
    for number in found.gone:
        t.placed[order_id, number] = replace(t.placed[order_id, number], cancel_reason="taken off the order in its channel")
        yield from _begin(t, e, OpenChange("cancel_line", number, wanted_milli(t, order_id, number)))
    for number, line in sorted(found.now.items()):
        placed = t.placed.get((order_id, number))
        new = _placed(placed, line, e)
        if new == placed:
            continue
        kind = "add_line" if placed is None else "set_qty"
        if is_over:
            sentence = f"Line {number} of order {order_id} was to be changed after the order was cancelled; it stays cancelled."
            change = f"{e.content_hash}.{e.source_position}/{number}"
            hint = "Place a new order for what is wanted"
            yield from answer(t, e, order_id, change, kind, number, "refused", sentence, hint)
            continue
        t.placed[order_id, number] = new
        if placed is None or (placed.qty_milli, placed.uom) != (new.qty_milli, new.uom):
            before = wanted_milli(t, order_id, number)
            yield from _begin(t, e, OpenChange(kind, number, before, line.qty_milli, line.uom))


def _begin(t: OrderTables, e: OrderPlaced, row: OpenChange) -> Iterator[OrderEmit]:
    """The request is open until its outcome is known: no sooner than its line is worked out anew."""
    yield from begin(t, e, e.order_id, f"{e.content_hash}.{e.source_position}/{row.line}", row)


def _placed(current: ChannelLine | None, line: PlacedLine, e: OrderPlaced) -> ChannelLine:
    if current is None:
        return ChannelLine(
            item=line.item,
            qty_milli=line.qty_milli,
            most_milli=line.qty_milli,
            uom=line.uom,
            site=line.site,
            changed_at_ms=0,
            change_position=e.source_position,
            cancel_reason=None,
            unit_price=line.unit_price,
            currency=line.currency,
        )
    priced = replace(current, unit_price=line.unit_price, currency=line.currency, site=line.site)
    if (current.qty_milli, current.uom) == (line.qty_milli, line.uom):
        return priced
    most = max(current.most_milli, line.qty_milli) if current.uom == line.uom else line.qty_milli
    at_ms = e.stated_at_ms or e.recorded_at_ms
    return replace(
        priced,
        qty_milli=line.qty_milli,
        most_milli=most,
        uom=line.uom,
        changed_at_ms=at_ms,
        change_position=e.source_position,
    )
