"""What channels and the ERP say about an order: its header, its lines, changes, cancellations, invoices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from schemas.base import Event
from schemas.errors import AlreadyApplied, NotYet, Refused
from schemas.frozen import replace
from schemas.orders import (
    ErpOrderChanged,
    ErpOrderLineChanged,
    ErpOrderRecalled,
    InvoiceLinePosted,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
)
from schemas.quantity import show
from tables.common.position_ranges import covers, widened
from tables.common.raise_exception import cleared, note, several
from tables.orders.change_requests import REFUSED, answer, begin, refuse, request_of, settle_changes, wanted_milli
from tables.orders.emits import OrderEmit
from tables.orders.erp_confirmation import heard
from tables.orders.line_quantities import in_base
from tables.orders.lines import settle, settle_erp_line, settle_line
from tables.orders.milestones import reach
from tables.orders.references import (
    addressed,
    hand_over_facts,
    owner_of,
    pass_on_header,
    pass_on_order,
    passed_to,
    recall_copies,
)
from tables.orders.references import others as others_under
from tables.orders.restatements import restate
from tables.orders.state import ChannelLine, ErpLine, ErpOrder, InvoicedLine, OpenChange, Order, OrderTables, Placement, SeenFact

MAX_SEEN = 10_000
"""Ids of facts remembered an order. An order of 500 lines has some 2,000 facts."""


def order_placed(t: OrderTables, e: OrderPlaced) -> Iterator[OrderEmit]:
    """The channel's order. A plain resend is a duplicate. Another content is a change if the channel sends orders as they stand,
    else it is noted and changes nothing. Another customer's order under the same reference is another order.
    """
    key = (e.order_id,)
    current = t.placements.get(key)
    others = pass_on_order(t, e)
    if others is not None:
        yield others
        return
    if current is not None:
        if current.content_hash == e.content_hash:
            raise AlreadyApplied
        if e.is_restated:
            yield from restate(t, e, current)
            yield from _refresh(t, e.order_id, e)
            return
        sentence = f"Order {e.order_id} was sent again with another content; the first one stands."
        yield note(e, "order_conflict", f"order_conflict:{e.order_id}", sentence, order_id=e.order_id)
        hint = "Send the difference as a change, or what is wanted besides as an order under a reference of its own"
        yield from answer(t, e, e.order_id, e.content_hash, "place", None, REFUSED, sentence, hint)
        return
    yield from recall_copies(t, e)
    t.placements[key] = Placement(
        channel=e.channel,
        external_ref=e.external_ref,
        customer=e.customer,
        requested_on=e.requested_on,
        priority=e.priority,
        allow_partial=e.allow_partial,
        allow_backorder=e.allow_backorder,
        allow_substitute=e.allow_substitute,
        content_hash=e.content_hash,
        placed_at_ms=e.occurred_at_ms,
        stated_at_ms=e.stated_at_ms,
    )
    for line in e.lines:
        t.placed[e.order_id, line.line] = ChannelLine(
            item=line.item,
            qty_milli=line.qty_milli,
            most_milli=line.qty_milli,
            uom=line.uom,
            site=line.site,
            changed_at_ms=0,
            change_position=-1,
            cancel_reason=None,
            unit_price=line.unit_price,
            currency=line.currency,
        )
    yield from _refresh(t, e.order_id, e)


def order_cancel_requested(t: OrderTables, e: OrderCancelRequested) -> Iterator[OrderEmit]:
    """The channel's cancellation is final. It takes what has not been picked, also of what the ERP adds later."""
    others = addressed(t, e)
    if others is not None:
        yield others
        return
    order = t.orders.get((e.order_id,))
    if order is None or (e.line is not None and (e.order_id,) not in t.placements):
        raise NotYet(f"order {e.order_id} has not arrived; the cancellation waits for it")
    remember(t, e.order_id, e)
    change, kind, under = request_of(e)
    if _is_ambiguous(t, e):
        yield from _refuse_ambiguous(t, e, kind, e.line)
        return
    before = OpenChange(kind, e.line, wanted_milli(t, e.order_id, e.line), under=under)
    placed = None if e.line is None else t.placed.get((e.order_id, e.line))
    if e.line is None:
        is_over = order.cancel_reason is not None
        t.orders[(e.order_id,)] = replace(t.orders[(e.order_id,)], cancel_reason=order.cancel_reason or e.reason)
        if not is_over:
            yield from settle(t, e.order_id, e)
    elif placed is None:
        yield from refuse(t, e, e.order_id, kind, e.line, *_no_line(t, e.order_id, e.line))
        return
    else:
        is_over = placed.cancel_reason is not None
        t.placed[e.order_id, e.line] = replace(placed, cancel_reason=placed.cancel_reason or e.reason)
        if not is_over:
            yield from settle_line(t, e.order_id, e.line, e)
    yield from begin(t, e, e.order_id, change, before)
    yield from conclude(t, e.order_id, e)


def order_quantity_change_requested(t: OrderTables, e: OrderQuantityChangeRequested) -> Iterator[OrderEmit]:
    """The channel wants another quantity on a line: in the unit it ordered, or one the promise fold has made known."""
    others = addressed(t, e)
    if others is not None:
        yield others
        return
    order = t.orders.get((e.order_id,))
    if order is None or (e.order_id,) not in t.placements:
        raise NotYet(f"order {e.order_id} has not arrived; the change waits for it")
    placed = t.placed.get((e.order_id, e.line))
    changed = None if placed is None else _changed(t, e, placed)
    remember(t, e.order_id, e)
    if _is_ambiguous(t, e):
        yield from _refuse_ambiguous(t, e, "set_qty", e.line)
        return
    if placed is None:
        yield from refuse(t, e, e.order_id, "set_qty", e.line, *_no_line(t, e.order_id, e.line))
        return
    if changed is None:
        unit = t.lines[e.order_id, e.line].unit
        qty = f"{show(e.qty_milli)} {e.uom or unit.uom}"
        sentence = f"Line {e.line} of order {e.order_id} cannot be {qty}: {placed.item} has no such unit."
        hint = f"Send the quantity in {unit.uom} or {unit.pack_uom or placed.uom or unit.uom}"
        yield from refuse(t, e, e.order_id, "set_qty", e.line, sentence, hint)
        return
    if e.source_position <= placed.change_position:
        sentence = f"Line {e.line} of order {e.order_id} was changed by a newer request before this one was read."
        yield from refuse(t, e, e.order_id, "set_qty", e.line, sentence, "Send the quantity that is wanted as a new change")
        return
    if order.cancel_reason is not None or placed.cancel_reason is not None:
        sentence = f"Line {e.line} of order {e.order_id} was to be changed after it was cancelled; it stays cancelled."
        yield from refuse(t, e, e.order_id, "set_qty", e.line, sentence, "Place a new order for what is wanted")
        return
    change, kind, under = request_of(e)
    before = OpenChange(kind, e.line, wanted_milli(t, e.order_id, e.line), e.qty_milli, e.uom, under)
    t.placed[e.order_id, e.line] = changed
    yield from settle_line(t, e.order_id, e.line, e)
    yield from begin(t, e, e.order_id, change, before)
    yield from conclude(t, e.order_id, e)


def _is_ambiguous(t: OrderTables, e: OrderCancelRequested | OrderQuantityChangeRequested) -> bool:
    """Whether several orders have the reference, and the request does not say whose it means."""
    return not e.customer and next(t.twins.under(e.order_id), None) is not None


def _refuse_ambiguous(
    t: OrderTables, e: OrderCancelRequested | OrderQuantityChangeRequested, kind: str, line: int | None
) -> Iterator[OrderEmit]:
    names = several([e.order_id, *others_under(t, e.order_id)])
    sentence = f"Several customers have an order under this reference ({names}), and the request does not say whose it means."
    yield from refuse(t, e, e.order_id, kind, line, sentence, "Send it again with the customer")


def _no_line(t: OrderTables, order_id: str, line: int) -> tuple[str, str]:
    known = several([str(number) for (_, number), _ in t.placed.under(order_id)])
    return f"Order {order_id} has no line {line}.", f"Send the change for one of its lines: {known}"


def _changed(t: OrderTables, e: OrderQuantityChangeRequested, placed: ChannelLine) -> ChannelLine | None:
    """The line with the quantity asked for; none for a unit it does not have. Raises `NotYet` while its units are not known."""
    qty, most, uom = e.qty_milli, placed.most_milli, placed.uom
    if qty < 0:
        raise Refused(f"line {e.line} of order {e.order_id} cannot be {qty} thousandths", hint="send 0 or more")
    if e.uom != placed.uom:
        unit = t.lines[e.order_id, e.line].unit
        if not unit.is_base:
            raise NotYet(f"the units of {placed.item} are not known yet; the change of line {e.line} waits for the promise fold")
        base, largest = in_base(unit, qty, e.uom), in_base(unit, most, placed.uom)
        if base is None or largest is None:
            return None
        qty, most, uom = base, largest, None
    most, at_ms = max(most, qty), e.occurred_at_ms
    return replace(placed, qty_milli=qty, most_milli=most, uom=uom, changed_at_ms=at_ms, change_position=e.source_position)


def erp_order_changed(t: OrderTables, e: ErpOrderChanged) -> Iterator[OrderEmit]:
    """The ERP's header. Of several copies of an order the lowest number that is not cancelled counts, once."""
    to = owner_of(t, e)
    if to != e.order_id:
        yield from pass_on_header(t, e, to)
        return
    key = (e.order_id, e.order_no)
    current = t.erp_orders.get(key)
    if current is not None and e.revision <= current.revision:
        raise AlreadyApplied
    if e.is_deleted:
        if current is None:
            return
        t.erp_orders[key] = replace(current, revision=e.revision, is_deleted=True)
    else:
        t.erp_orders[key] = ErpOrder(
            revision=e.revision,
            channel=e.channel,
            customer=e.customer,
            status=e.status,
            requested_on=e.requested_on,
            created_at_ms=e.created_at_ms,
            priority=e.priority,
            is_deleted=False,
        )
    yield from _refresh(t, e.order_id, e)


def erp_order_line_changed(t: OrderTables, e: ErpOrderLineChanged) -> Iterator[OrderEmit]:
    """The ERP's line. It waits in its table while its header has not come, or another ERP order counts."""
    to = passed_to(t, e)
    if to is not None:
        yield replace(e, order_id=to)
        return
    key = (e.order_id, e.order_no, e.line_no)
    current = t.erp_lines.get(key)
    if current is not None and e.revision <= current.revision:
        raise AlreadyApplied
    new = (
        replace(current, revision=e.revision, is_deleted=True) if current is not None and e.is_deleted else _erp_line(current, e)
    )
    t.erp_lines[key] = heard(t, e.order_id, e.order_no, e.line_no, current, new)
    order = t.orders.get((e.order_id,))
    if order is None or order.erp_order_no != e.order_no:
        return
    yield from settle_erp_line(t, e.order_id, e.order_no, e.line_no, e)
    yield from conclude(t, e.order_id, e)


def _erp_line(current: ErpLine | None, e: ErpOrderLineChanged) -> ErpLine:
    first_item, most_milli, changed_at_ms = e.first_item or e.item, max(e.most_milli, e.ordered_milli), e.changed_at_ms
    if current is not None:
        first_item, most_milli = current.first_item, max(current.most_milli, most_milli)
        is_same = current.ordered_milli == e.ordered_milli
        changed_at_ms = current.changed_at_ms if is_same else changed_at_ms or e.occurred_at_ms
    return ErpLine(
        revision=e.revision,
        first_item=first_item,
        item=e.item,
        site=e.site,
        ordered_milli=e.ordered_milli,
        most_milli=most_milli,
        changed_at_ms=changed_at_ms,
        shipped_milli=e.shipped_milli,
        line_status=e.line_status,
        commit_position=e.commit_position,
        is_deleted=e.is_deleted,
        line=current.line if current else None,
        own_milli=e.ordered_milli,
    )


def invoice_line_posted(t: OrderTables, e: InvoiceLinePosted) -> Iterator[OrderEmit]:
    """What an invoice bills of a line. It waits in its table for the line."""
    to = passed_to(t, e)
    if to is not None:
        yield replace(e, order_id=to)
        return
    key = (e.order_id, e.order_no, e.order_line_no, e.invoice_no, e.invoice_line)
    current = t.invoice_lines.get(key)
    if current is not None and e.revision <= current.revision:
        raise AlreadyApplied
    t.invoice_lines[key] = InvoicedLine(e.revision, e.qty_milli, e.is_void, e.item, e.amount, e.posted_at_ms)
    order = t.orders.get((e.order_id,))
    erp = t.erp_lines.get((e.order_id, e.order_no, e.order_line_no))
    if order is None or order.erp_order_no != e.order_no or erp is None or erp.line is None:
        return
    yield from settle_line(t, e.order_id, erp.line, e)
    yield from conclude(t, e.order_id, e)


def erp_order_recalled(t: OrderTables, e: ErpOrderRecalled) -> Iterator[OrderEmit]:
    """The ERP's order is a copy of one a channel has placed: all that is known of it goes there, and nothing of it stays here."""
    current = t.erp_orders.get((e.order_id, e.order_no))
    if current is None:
        raise AlreadyApplied
    yield ErpOrderChanged(
        event_id=f"erp:order:{e.order_no}:{current.revision}",
        source="orders",
        source_position=e.source_position,
        occurred_at_ms=e.occurred_at_ms,
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        order_id=e.to,
        order_no=e.order_no,
        revision=current.revision,
        channel=current.channel,
        customer=current.customer,
        status=current.status,
        requested_on=current.requested_on,
        created_at_ms=current.created_at_ms,
        priority=current.priority,
        is_deleted=current.is_deleted,
    )
    yield from hand_over_facts(t, e, e.to)
    t.erp_orders[e.order_id, e.order_no] = replace(current, is_deleted=True)
    yield from _refresh(t, e.order_id, e)


def remember(t: OrderTables, order_id: str, e: Event) -> None:
    """Raises `AlreadyApplied` for a fact that was applied before, `Refused` for one too old to tell. Needs the order's header."""
    if (order_id, e.event_id) in t.seen:
        raise AlreadyApplied
    order = t.orders[(order_id,)]
    if e.occurred_at_ms <= order.floor_ms and covers(order.forgotten, e.source, e.source_position):
        raise Refused(
            f"{e.event_id} is from before the oldest {MAX_SEEN // 2} facts remembered of order {order_id}",
            hint="see the order's trace: if it is missing there, correct the order in the ERP",
        )
    t.seen[order_id, e.event_id] = SeenFact(e.occurred_at_ms, e.source, e.source_position)
    order = replace(order, seen_count=order.seen_count + 1)
    t.orders[(order_id,)] = _forget(t, order_id, order) if order.seen_count > MAX_SEEN else order


def _forget(t: OrderTables, order_id: str, order: Order) -> Order:
    """Drop the older half of the facts remembered; of one instant, those their feeds numbered lower."""
    found = sorted((row.occurred_at_ms, row.position, key[1], row.source) for key, row in t.seen.under(order_id))
    oldest = found[: -MAX_SEEN // 2]
    for _, _, event_id, _ in oldest:
        del t.seen[order_id, event_id]
    forgotten = widened(order.forgotten, [(source, position) for _, position, _, source in oldest])
    floor_ms = max(order.floor_ms, oldest[-1][0])
    return replace(order, seen_count=len(found) - len(oldest), floor_ms=floor_ms, forgotten=forgotten)


def conclude(t: OrderTables, order_id: str, e: Event) -> Iterator[OrderEmit]:
    """What every change of an order ends with. A large one's milestones are looked at when it is brought on."""
    order = t.orders[(order_id,)]
    if e.recorded_at_ms > order.as_of_ms:
        t.orders[(order_id,)] = replace(order, as_of_ms=e.recorded_at_ms)
    if not order.is_large():
        yield from reach(t, order_id, e)
    if (order_id,) not in t.processes:  # an order that is run answers them as it is brought on
        yield from settle_changes(t, order_id, e)


def _refresh(t: OrderTables, order_id: str, e: Event) -> Iterator[OrderEmit]:
    """Work the header out again, and all lines with it."""
    old = t.orders.get((order_id,))
    new = _header(t, order_id, old)
    t.orders[(order_id,)] = new
    fingerprint = f"duplicate_order:{order_id}"
    if new.is_duplicate and not (old and old.is_duplicate):
        rows = t.erp_orders.under(order_id)
        copies = several([no for (_, no), erp in rows if not erp.is_deleted and erp.status != "CANCEL"])
        sentence = f"The ERP has order {order_id} more than once ({copies}): only {new.erp_order_no} counts here."
        yield note(e, "duplicate_order", fingerprint, sentence, order_id=order_id)
    elif old and old.is_duplicate and not new.is_duplicate:
        if lost := _parted(t, order_id, new.erp_order_no):
            sentence = (
                f"The ERP had split order {order_id}, and ended the part with {lost}: it is wanted here until it is cancelled."
            )
            yield note(e, "duplicate_order", fingerprint, sentence, order_id=order_id)
        else:
            yield cleared(e, fingerprint)
    yield from settle(t, order_id, e)
    yield from conclude(t, order_id, e)


def _parted(t: OrderTables, order_id: str, counting: str | None) -> str:
    """Lines the channel placed that the ERP has in no order that stands, but had in one that has ended: it split the order."""
    free = Counter([placed.item for _, placed in t.placed.under(order_id)])
    free.subtract([erp.first_item for key, erp in t.erp_lines.under(order_id) if key[1] == counting])
    ended = {erp.first_item for key, erp in t.erp_lines.under(order_id) if key[1] != counting}
    return several([item for item, count in free.items() if count > 0 and item in ended])


def _header(t: OrderTables, order_id: str, old: Order | None) -> Order:
    placement = t.placements.get((order_id,))
    found = [(erp.is_deleted, erp.status == "CANCEL", no, erp) for (_, no), erp in t.erp_orders.under(order_id)]
    # An order the channel placed stays its order when the ERP drops its copy: only then does no ERP order count.
    counting = min((x for x in found if not (x[0] and placement)), default=None, key=lambda x: x[:3])
    erp_order_no = counting[2] if counting else None
    erp = counting[3] if counting else None
    channel, _, reference = order_id.partition(":")
    requested_on = placement.requested_on if placement else None
    return Order(
        channel=placement.channel if placement else erp.channel if erp else channel,
        external_ref=placement.external_ref if placement else reference,
        customer=placement.customer if placement else erp.customer if erp else "",
        requested_on=(erp.requested_on or requested_on) if erp else requested_on,
        priority=erp.priority if erp else placement.priority if placement else 0,
        allow_partial=placement.allow_partial if placement else True,
        allow_backorder=placement.allow_backorder if placement else True,
        placed_at_ms=placement.placed_at_ms if placement else erp.created_at_ms if erp else 0,
        as_of_ms=old.as_of_ms if old else 0,
        cancel_reason=old.cancel_reason if old else None,
        erp_order_no=erp_order_no,
        is_erp_cancelled=erp is not None and (erp.status == "CANCEL" or erp.is_deleted),
        is_held=erp is not None and erp.status == "HOLD",
        is_duplicate=sum(not deleted and not cancelled for deleted, cancelled, _, _ in found) > 1,
        seen_count=old.seen_count if old else 0,
        floor_ms=old.floor_ms if old else -1,
        line_count=old.line_count if old else 0,
        forgotten=old.forgotten if old else (),
    )
