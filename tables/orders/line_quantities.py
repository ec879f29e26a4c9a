"""A line worked out of what its sources say: how much of it stands where, and what to request of the promise fold.

Which source has the last word on a quantity: the one that changed it last; the ERP's first confirmation outranks the order as
placed, a change by the channel outranks that confirmation; what the ERP only was told is not a word of its own. A cancellation by
the channel is final; one by the ERP stands as long as the ERP says so. Both leave what has been picked, and what a warehouse
was told to ship until it has given it back.
"""

from __future__ import annotations

from schemas.frozen import Frozen, replace
from schemas.quantity import MAX_MILLI, MILLI
from tables.orders.lifecycle import LineProgress, State, state_of
from tables.orders.state import ChannelLine, ErpLine, Line, LineAllocation, LineRequest, LineUnit, Order


class LineSources(Frozen, frozen=True):
    """All that one line is worked out of."""

    order: Order
    placed: ChannelLine | None
    erp: ErpLine | None
    erp_line_no: int | None
    is_listed: bool
    substitutes_shipped_milli: int
    returned_milli: int
    invoiced_milli: int
    instructed_milli: int = 0  # units warehouses were told to ship, and neither gave back nor missed
    committed_milli: int = 0  # the same, or what they took if that is more
    known_short_milli: int | None = None  # units not found, as the promise fold knows; none: as the warehouse told
    told_site: str | None = None  # the site the ERP was told

    def is_told(self) -> bool:
        """Whether the ERP only has what crossdock posted: then it says nothing of its own."""
        return self.placed is not None and self.erp is not None and self.erp.own_milli is None


class LineQuantities(Frozen, frozen=True):
    """A line's quantities before the promise fold is heard. `request`: to be asked for; `kept`: picked, so no longer
    cancellable.
    """

    item: str
    site: str | None
    unit: LineUnit
    has_moved: bool
    ordered_milli: int
    desired_milli: int
    request_milli: int
    kept_milli: int
    declined_milli: int
    picked_milli: int
    shipped_milli: int
    returned_milli: int
    cancelled_by: str | None


def work_out(old: Line, s: LineSources) -> tuple[Line, list[LineRequest]]:
    """The line as the sources have it now, and the requests to send for it, in order."""
    r = _reckon(old, s)
    allocation = old.answer if old.item == r.item else None
    requests = _requests(old, s, r, allocation)
    revision = old.revision + len(requests)
    is_current = allocation is not None and allocation.revision == revision
    is_refused = is_current and _is_refusal(r, allocation)
    wanted, allocated, backordered = _stand(r, allocation, is_current=is_current)
    standing = LineProgress(
        wanted_milli=wanted,
        allocated_milli=allocated,
        backordered_milli=backordered,
        released_milli=old.executed.released_milli,
        picked_milli=r.picked_milli,
        shipped_milli=r.shipped_milli,
        short_milli=old.executed.short_milli,
        substituted_milli=old.executed.substituted_milli,
        returned_milli=r.returned_milli,
        is_answered=allocation is not None,
        is_cancelled=r.cancelled_by is not None,
        is_refused=is_refused,
    )
    state = state_of(standing)
    refused = allocation.refused if allocation and is_current else None
    line = Line(
        item=r.item,
        site=r.site,
        unit=r.unit,
        erp_line_no=s.erp_line_no,
        is_listed=s.is_listed,
        has_moved=r.has_moved,
        state=state,
        revision=revision,
        wish=requests[-1] if requests else old.wish,
        answer=allocation,
        declined_milli=r.declined_milli,
        declined_of_milli=old.declined_of_milli,
        executed=old.executed,
        ordered_milli=r.ordered_milli,
        desired_milli=r.desired_milli,
        wanted_milli=wanted,
        allocated_milli=allocated,
        backordered_milli=backordered,
        picked_milli=r.picked_milli,
        shipped_milli=r.shipped_milli,
        returned_milli=r.returned_milli,
        invoiced_milli=s.invoiced_milli,
        reason=refused or r.cancelled_by or _shortfall(r, state),
    )
    return line, requests


def _reckon(old: Line, s: LineSources) -> LineQuantities:
    item = s.erp.item if s.erp else s.placed.item if s.placed else old.item
    unit = old.unit if old.item == item else LineUnit()
    is_pending = _is_pending(unit, s, item)
    if not unit.is_base:
        unit = LineUnit(uom=s.placed.uom) if is_pending and s.placed else LineUnit()
    by_erp = s.erp.shipped_milli if s.erp else 0
    shipped = 0 if is_pending else max(old.executed.shipped_milli + s.substitutes_shipped_milli, by_erp)
    picked = max(old.executed.picked_milli, shipped)
    asked, most = _asked(unit, s, is_pending=is_pending) if s.is_listed else (old.ordered_milli, old.ordered_milli)
    held = max(picked, s.committed_milli)
    ordered = max(asked, min(max(most, s.instructed_milli), held))
    kept = min(ordered, held)
    cancelled_by = _cancelled_by(s)
    is_declined = old.declined_of_milli == ordered and old.item == item and _is_ours(s)  # what the ERP takes is not declined
    declined = old.declined_milli if is_declined else 0
    short = old.executed.short_milli if s.known_short_milli is None else s.known_short_milli
    lost = 0 if s.order.allow_backorder else short
    desired = 0 if cancelled_by else max(0, asked - declined - lost)
    return LineQuantities(
        item=item,
        site=_site(old, s),
        unit=unit,
        has_moved=old.has_moved or old.item not in ("", item),
        ordered_milli=ordered,
        desired_milli=desired,
        request_milli=max(0 if cancelled_by else ordered - declined - lost, kept),
        kept_milli=kept,
        declined_milli=declined,
        picked_milli=picked,
        shipped_milli=shipped,
        returned_milli=s.returned_milli,
        cancelled_by=cancelled_by,
    )


def _is_pending(unit: LineUnit, s: LineSources, item: str) -> bool:
    """Whether the line still stands in the unit it was placed in, because nobody has said yet how much that is."""
    if unit.is_base or s.placed is None or s.placed.uom is None:
        return False
    return s.placed.item == item


def _asked(unit: LineUnit, s: LineSources, *, is_pending: bool) -> tuple[int, int]:
    """The quantity that counts, and the most that was ever asked for."""
    if s.placed is None:
        return (s.erp.last_word_milli(), s.erp.most_milli) if s.erp else (0, 0)
    if is_pending:
        return s.placed.qty_milli, s.placed.most_milli
    placed, most = (in_base(unit, qty, s.placed.uom) for qty in (s.placed.qty_milli, s.placed.most_milli))
    if s.erp is None or (s.is_told() and placed is not None):
        return placed or 0, most or 0
    if placed is None or (s.erp.changed_at_ms or 1) >= s.placed.changed_at_ms:
        return s.erp.last_word_milli(), max(s.erp.most_milli, most or 0)
    return placed, max(s.erp.most_milli, most or 0)


def in_base(unit: LineUnit, qty_milli: int, uom: str | None) -> int | None:
    """A quantity in the line's base unit, rounded down; none if the unit is not known to hold so much."""
    if uom is None or (unit.is_base and uom == unit.uom):
        return qty_milli
    if unit.is_base and uom == unit.pack_uom and unit.pack_milli:
        base = qty_milli * unit.pack_milli // MILLI
        return base if -MAX_MILLI <= base <= MAX_MILLI else None
    return None


def _cancelled_by(s: LineSources) -> str | None:
    if s.order.cancel_reason is not None:
        return s.order.cancel_reason or "cancelled by the channel"
    if s.placed is not None and s.placed.cancel_reason is not None:
        return s.placed.cancel_reason or "cancelled by the channel"
    if is_cancelled_by_erp(s.order, s.erp):
        return "cancelled in the ERP"
    return None if s.is_listed else "no source has the line any more"


def is_cancelled_by_erp(order: Order, erp: ErpLine | None) -> bool:
    """Whether the ERP has cancelled a line, and not because it was told to."""
    if erp is None or erp.told_milli == 0:
        return False
    return order.is_erp_cancelled or erp.is_deleted or erp.line_status == "X"


def _is_ours(s: LineSources) -> bool:
    return s.erp is None or s.is_told()


def _site(old: Line, s: LineSources) -> str | None:
    """The site asked for. What the ERP says is one of its own only if it is not the one it was told."""
    if s.erp is None or (s.placed is not None and s.erp.site == s.told_site):
        return s.placed.site if s.placed else old.site
    return s.erp.site


def _requests(line: Line, s: LineSources, r: LineQuantities, allocation: LineAllocation | None) -> list[LineRequest]:
    """What to ask of the promise fold, if that differs from what it was asked and from how its answer stands."""
    old, wanted = line.wish, r.request_milli
    reported = _reported(line, s)
    request = LineRequest(
        item=r.item,
        wanted_milli=wanted,
        uom=None if r.unit.is_base else r.unit.uom,
        site=r.site,
        requested_on=s.order.requested_on,
        priority=s.order.priority,
        is_firm=not _is_ours(s),
        allow_partial=s.order.allow_partial,
        allow_backorder=s.order.allow_backorder,
        # The new item's demand knows nothing of what shipped under the old one.
        shipped_milli=max(reported, r.shipped_milli) if r.has_moved else reported,
    )
    if old is None:
        # A channel's line is asked for even if it is cancelled by now: the answer names the units the warehouse may report in.
        return [request] if wanted > 0 or s.placed is not None else []
    if old.item != request.item:
        withdrawn = [replace(old, wanted_milli=0)] if old.wanted_milli > 0 else []
        return [*withdrawn, request] if wanted > 0 else withdrawn
    if wanted == 0:
        return [request] if old.wanted_milli > 0 else []
    stands = allocation.wanted_milli if allocation and allocation.revision == line.revision else None
    is_same = wanted == _now(r.unit, old) or (wanted == stands and r.unit.is_base)
    return [] if is_same and _terms(old) == _terms(request) else [request]


def _reported(line: Line, s: LineSources) -> int:
    """What the ERP says has shipped, unless it says so because it was told what the warehouse shipped."""
    if s.erp is None:
        return 0
    is_echo = s.known_short_milli is not None and s.erp.shipped_milli <= line.executed.shipped_milli + s.substitutes_shipped_milli
    return 0 if is_echo else s.erp.shipped_milli


def _terms(request: LineRequest) -> tuple[object, ...]:
    return (
        request.site,
        request.requested_on,
        request.priority,
        request.is_firm,
        request.allow_partial,
        request.allow_backorder,
        request.shipped_milli,
    )


def _now(unit: LineUnit, request: LineRequest) -> int | None:
    """What a request asked for, in the unit the line stands in now."""
    return (
        request.wanted_milli
        if request.uom is None or request.uom == unit.uom
        else in_base(unit, request.wanted_milli, request.uom)
    )


def _stand(r: LineQuantities, allocation: LineAllocation | None, *, is_current: bool) -> tuple[int, int, int]:
    """Wanted, allocated and backordered by the newest answer. One for an older request still tells where units are."""
    if allocation is None or _is_refusal(r, allocation):
        return r.request_milli, 0, 0
    wanted = r.request_milli
    if is_current:
        # A cancellation that lost the race against a pick is answered with what stays.
        wanted = max(min(r.ordered_milli, allocation.wanted_milli), r.kept_milli)
    open_milli = max(0, wanted - r.picked_milli)
    allocated = min(max(0, allocation.allocated_milli + allocation.shipped_milli - r.picked_milli), open_milli)
    return wanted, allocated, min(allocation.backordered_milli, open_milli - allocated)


def _is_refusal(r: LineQuantities, allocation: LineAllocation | None) -> bool:
    """Nothing of the line is to be had. What the warehouse picked all the same goes on; then only the rest is not."""
    return allocation is not None and allocation.refused is not None and allocation.wanted_milli == 0 and r.picked_milli == 0


def _shortfall(r: LineQuantities, state: State) -> str | None:
    if state is State.SHORT:
        return "the units were not found, and the order takes no backorder"
    return "not all of it is available, and the order takes no backorder" if r.declined_milli else None
