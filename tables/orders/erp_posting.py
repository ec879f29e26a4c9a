"""The order in the ERP: what it should have, compared with what it has or was last told."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from schemas.deliveries import ObligationRaised
from schemas.frozen import Frozen, replace
from schemas.obligations import ObligedLine, PostOrder
from schemas.orders import SitePart
from schemas.quantity import MILLI
from tables.common.money import EXACT
from tables.orders.line_quantities import is_cancelled_by_erp
from tables.orders.process import CLOSED, OrderProcess, is_current
from tables.orders.process_state import PostedLine, PostedQuantity, TaskLine
from tables.orders.state import ErpLine, Line, OrderTables

_CENTS = Decimal("0.0001")


class ErpPostLine(Frozen, frozen=True):
    """A line of the order in the ERP. `number`: the order's line; `stands_milli`: what the ERP has or was last told."""

    number: int
    line: Line
    wanted_milli: int
    stands_milli: int


def entries(run: OrderProcess) -> dict[int, ErpPostLine]:
    """What the ERP should have, by the ERP's line number."""
    found = {}
    for number, line in run.lines:
        no = number if line.erp_line_no is None else line.erp_line_no
        stands = _stands(run, line, no)
        erp = run.erp_line(line)
        if is_cancelled_by_erp(run.order, erp) or (line.wish is not None and not is_current(line)):
            wanted = stands  # it follows the ERP's own word, or is not decided yet
        else:
            wanted = 0 if line.state in CLOSED else line.wanted_milli
            wanted = min(wanted, stands) if _is_own_word(run, number, erp) else wanted
        found[no] = ErpPostLine(number, line, wanted, stands)
    return found


def _is_own_word(run: OrderProcess, number: int, erp: ErpLine | None) -> bool:
    """Whether the ERP's quantity is its own, and the last word: then it may be told of less, but not of more."""
    if erp is None or erp.own_milli is None or erp.told_milli is not None:
        return False
    placed = run.t.placed.get((run.order_id, number))
    return placed is None or (erp.changed_at_ms or 1) >= placed.changed_at_ms


def _stands(run: OrderProcess, line: Line, no: int) -> int:
    posted = run.t.told.get((run.order_id, no))
    if posted is not None and posted.pending:
        return posted.pending[-1].qty_milli
    erp = run.erp_line(line)
    if erp is None:
        return posted.shown_milli if posted is not None else 0  # its header has not come yet
    return 0 if run.order.is_erp_cancelled else erp.stands_milli()


def differs(run: OrderProcess) -> bool:
    """Whether the ERP should have anything else than it has."""
    return any(entry.wanted_milli != entry.stands_milli for entry in entries(run).values())


def post(run: OrderProcess) -> Iterator[ObligationRaised]:
    """Tell the ERP the order as it should be, if that differs; one revision at a time, and only what may go on."""
    endpoint = run.policy.orders.erp
    assert endpoint is not None
    is_there = run.order.erp_order_no is not None
    is_gone = run.process.was_in_erp and not is_there
    run.change(was_in_erp=run.process.was_in_erp or is_there)
    if run.is_waiting("post_order"):
        return
    if is_gone:
        _forget_told(run)
    found = entries(run)
    if all(entry.wanted_milli == entry.stands_milli for entry in found.values()):
        return
    if run.process.decision != "accepted" and not _is_less(run, found):
        return
    content = tuple(
        TaskLine(no, _site(run, no, entry), entry.wanted_milli)
        for no, entry in sorted(found.items())
        if entry.wanted_milli or entry.stands_milli or entry.line.erp_line_no is not None
    )
    last = run.task("post_order")
    if last is not None and last.is_refused and last.lines == content:
        return  # the ERP has refused just that: a person decides
    revision = run.next_number("post_order")
    for row in content:
        if row.qty_milli != found[row.line].stands_milli:
            posted = run.t.told.get((run.order_id, row.line)) or PostedLine(row.site)
            run.t.told[run.order_id, row.line] = replace(
                posted, pending=(*posted.pending, PostedQuantity(revision, row.qty_milli))
            )
    if is_gone:
        run.change(was_in_erp=False)  # a person wants it there again: it is as new
    yield run.begin(endpoint, _body(run, revision, content, found), content)


def _is_less(run: OrderProcess, found: dict[int, ErpPostLine]) -> bool:
    """Whether the ERP has the order and only gets to know of less: that needs nobody's leave."""
    is_known = run.process.was_in_erp or run.task("post_order") is not None
    return is_known and all(entry.wanted_milli <= entry.stands_milli for entry in found.values())


def _site(run: OrderProcess, no: int, entry: ErpPostLine) -> str:
    """Where the ERP should have the line: it stays where it was told, else where most of it comes from."""
    posted, erp, allocation = run.t.told.get((run.order_id, no)), run.erp_line(entry.line), entry.line.answer
    if erp is not None:
        return erp.site
    if posted is not None:
        return posted.site
    if allocation is not None and allocation.parts:
        return max(allocation.parts, key=lambda part: (part.qty_milli, part.site)).site
    gone = [x for x in allocation.gone if x.shipped_milli] if allocation else []
    waiting = allocation.backorder_site if allocation else None
    return gone[0].site if gone else waiting or entry.line.site or ""


def _body(run: OrderProcess, revision: int, content: tuple[TaskLine, ...], found: dict[int, ErpPostLine]) -> PostOrder:
    order = run.order
    placement = run.t.placements[(run.order_id,)]
    return PostOrder(
        order_id=run.order_id,
        revision=revision,
        channel=order.channel,
        external_ref=order.external_ref,
        customer=placement.customer,
        requested_on=order.requested_on,
        priority=order.priority,
        lines=[_line(run, row, found[row.line]) for row in content],
    )


def _by_unit(price: Decimal, pack_milli: int) -> Decimal:
    return EXACT.quantize(EXACT.divide(EXACT.multiply(price, Decimal(MILLI)), Decimal(pack_milli)), _CENTS)


def _line(run: OrderProcess, row: TaskLine, entry: ErpPostLine) -> ObligedLine:
    line = entry.line
    placed = run.t.placed.get((run.order_id, entry.number))
    price = placed.unit_price if placed else None
    if placed is not None and price is not None:
        is_pack = placed.uom not in (None, line.unit.uom) and placed.uom == line.unit.pack_uom and line.unit.pack_milli
        price = _by_unit(price, line.unit.pack_milli) if is_pack and line.unit.pack_milli else price
    return ObligedLine(
        line=row.line,
        item=line.item,
        site=row.site,
        qty_milli=row.qty_milli,
        uom=line.unit.uom or "",
        unit_price=price,
        currency=placed.currency if placed else None,
        parts=_parts(row.qty_milli, line),
    )


def _parts(qty_milli: int, line: Line) -> tuple[SitePart, ...]:
    """The sites the units come from, if there are several: allocated, left already, or expected."""
    allocation = line.answer
    if allocation is None:
        return ()
    units: dict[str, int] = {part.site: part.qty_milli for part in allocation.parts}
    for gone in allocation.gone:
        units[gone.site] = units.get(gone.site, 0) + gone.shipped_milli
    if allocation.backordered_milli and allocation.backorder_site is not None:
        units[allocation.backorder_site] = units.get(allocation.backorder_site, 0) + allocation.backordered_milli
    found = tuple([SitePart(site, qty) for site, qty in sorted(units.items()) if qty])
    return found if len(found) > 1 and sum([part.qty_milli for part in found]) == qty_milli else ()


def _forget_told(run: OrderProcess) -> None:
    """The ERP has dropped the order, and all it was told of it."""
    for key, posted in list(run.t.told.under(run.order_id)):
        if posted.pending or posted.shown_milli:
            run.t.told[key] = PostedLine(posted.site)


def forget_revision(t: OrderTables, order_id: str, revision: int) -> None:
    """The ERP has refused a revision: its quantities will not be shown."""
    for key, told in list(t.told.under(order_id)):
        pending = tuple(posted for posted in told.pending if posted.revision != revision)
        if pending != told.pending:
            t.told[key] = replace(told, pending=pending)
