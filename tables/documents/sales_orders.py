"""Sales orders of the ERP: lines and bills meet their header, which says by its channel and reference whose they are."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Event
from schemas.documents import InvoiceLineJoined, SalesOrderLineRow, SalesOrderRow, WarehouseReported
from schemas.errors import AlreadyApplied, NotYet
from schemas.frozen import replace
from schemas.orders import ErpNumberReported, ErpOrderChanged, ErpOrderLineChanged, InvoiceLinePosted
from schemas.reported import read, stock_items
from tables.common.cdc_rows import accept, caused_by, instant_ms, merged_extra, unless_equal
from tables.documents.emits import DocumentsEmit
from tables.documents.state import BilledLine, DocumentsTables, SalesOrder, SalesOrderLine

CHANNELS = {"EDI": "edi", "WEB": "web", "MKT": "marketplace", "PHONE": "phone"}


def channel_of(code: str) -> str:
    """The channel's name behind the ERP's code; an unknown code is a name of its own."""
    return CHANNELS.get(code.strip(), code.strip().lower())


def order_id_of(order_no: str, header: SalesOrder | None) -> str | None:
    """`<channel>:<external reference>`, `erp:<order number>` without a reference, none without a (living) header."""
    if header is None or header.is_deleted:
        return None
    reference = (header.external_ref or "").strip()
    return f"{channel_of(header.channel)}:{reference}" if reference else f"erp:{order_no}"


def is_demanded(header: SalesOrder | None, line: SalesOrderLine) -> bool:
    """Whether a line still takes units."""
    if header is None or header.is_deleted or header.status == "CANCEL" or line.is_deleted or line.line_status == "X":
        return False
    return line.ordered_milli > line.shipped_milli


def sales_order_changed(t: DocumentsTables, e: SalesOrderRow) -> Iterator[DocumentsEmit]:
    """Keeps the header; tells the order. A header of another order than before takes its lines and bills along."""
    current = t.sales_orders.get((e.order_no,))
    row = SalesOrder(
        version=accept(current, e, t.erp_tables.get(("sales_order",))),
        is_deleted=e.is_deleted,
        revision=current.revision if current else 0,
        channel=e.channel,
        external_ref=e.external_ref,
        customer=e.customer,
        status=e.status,
        requested_on=e.requested_on,
        priority=e.priority,
        created_at=e.created_at,
        updated_at=e.updated_at,
        extra=merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    old_id, new_id = order_id_of(e.order_no, current), order_id_of(e.order_no, row)
    if current is not None and old_id is not None and old_id != new_id:
        yield from _move_dependents(t, e, old_id, is_deleted=True)
        row = replace(row, revision=row.revision + 1)
        yield _header(e, old_id, replace(current, revision=row.revision), is_deleted=True)
    if new_id is not None and (old_id != new_id or current is None or _facts(current) != _facts(row)):
        row = replace(row, revision=row.revision + 1)
        yield _header(e, new_id, row, is_deleted=False)
    t.sales_orders[(e.order_no,)] = row
    if new_id is not None and old_id != new_id:
        yield from _move_dependents(t, e, new_id, is_deleted=False)


def _facts(row: SalesOrder) -> tuple[object, ...]:
    return row.channel, row.customer, row.status, row.requested_on, row.created_at, row.priority


def _header(e: SalesOrderRow, order_id: str, row: SalesOrder, *, is_deleted: bool) -> ErpOrderChanged:
    return ErpOrderChanged(
        **caused_by(e, f"erp:order:{e.order_no}:{row.revision}"),
        order_id=order_id,
        order_no=e.order_no,
        revision=row.revision,
        channel=channel_of(row.channel),
        customer=row.customer,
        status=row.status,
        requested_on=row.requested_on,
        created_at_ms=instant_ms(row.created_at, e.occurred_at_ms),
        priority=row.priority,
        is_deleted=is_deleted,
    )


def _move_dependents(t: DocumentsTables, e: SalesOrderRow, order_id: str, *, is_deleted: bool) -> Iterator[DocumentsEmit]:
    """The header's lines and bills leave an order, or come to one: also a line that was there and is gone before that is told."""
    for (order_no, line_no), line in list(t.sales_order_lines.under(e.order_no)):
        is_missed = line.is_deleted and line.revision == 0 and line.first_item is not None
        if not line.is_deleted or (is_missed and not is_deleted):
            told = replace(line, revision=line.revision + 1)
            t.sales_order_lines[(order_no, line_no)] = told
            yield _line(e, order_id, order_no, line_no, told, is_deleted=is_deleted or line.is_deleted)
    for key, bill in list(t.billed_lines.under(e.order_no)):
        if not bill.is_void:
            told_bill = replace(bill, revision=bill.revision + 1)
            t.billed_lines[key] = told_bill
            yield _bill(e, order_id, key, told_bill, is_void=is_deleted)


def sales_order_line_changed(t: DocumentsTables, e: SalesOrderLineRow) -> Iterator[DocumentsEmit]:
    """Keeps the line; tells its order as soon as the header says which that is."""
    key = (e.order_no, e.line_no)
    current = t.sales_order_lines.get(key)
    row = SalesOrderLine(
        version=accept(current, e, t.erp_tables.get(("sales_order_line",))),
        is_deleted=e.is_deleted,
        revision=current.revision if current else 0,
        item=e.item,
        site=e.site,
        ordered_milli=e.ordered_milli,
        allocated_milli=e.allocated_milli,
        shipped_milli=e.shipped_milli,
        invoiced_milli=e.invoiced_milli,
        unit_price=e.unit_price,
        line_status=e.line_status,
        extra=merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    elif not e.is_deleted:
        row = _with_history(current, row, e)
    unless_equal(current, row, e)
    order_id = order_id_of(e.order_no, t.sales_orders.get((e.order_no,)))
    before = None if current is None or current.is_deleted else _line_facts(current)
    after = None if row.is_deleted else _line_facts(row)
    if order_id is not None and before != after:
        row = replace(row, revision=row.revision + 1)
        yield _line(e, order_id, e.order_no, e.line_no, row, is_deleted=row.is_deleted)
    t.sales_order_lines[key] = row


def _with_history(current: SalesOrderLine | None, row: SalesOrderLine, e: SalesOrderLineRow) -> SalesOrderLine:
    """What the row alone does not say, kept from its first report on: its header may come long after."""
    if current is None or current.first_item is None:
        return replace(row, first_item=e.item, most_milli=e.ordered_milli)
    changed_at_ms = current.changed_at_ms if current.ordered_milli == e.ordered_milli else e.occurred_at_ms
    most_milli = max(current.most_milli, e.ordered_milli)
    return replace(row, first_item=current.first_item, most_milli=most_milli, changed_at_ms=changed_at_ms)


def _line_facts(row: SalesOrderLine) -> tuple[object, ...]:
    quantities = (row.ordered_milli, row.allocated_milli, row.shipped_milli, row.invoiced_milli)
    return row.item, row.site, quantities, row.unit_price, row.line_status


def _line(e: Event, order_id: str, order_no: str, line_no: int, row: SalesOrderLine, *, is_deleted: bool) -> ErpOrderLineChanged:
    return ErpOrderLineChanged(
        **caused_by(e, f"erp:order-line:{order_no}/{line_no}:{row.revision}"),
        order_id=order_id,
        order_no=order_no,
        line_no=line_no,
        revision=row.revision,
        item=row.item,
        site=row.site,
        ordered_milli=row.ordered_milli,
        allocated_milli=row.allocated_milli,
        shipped_milli=row.shipped_milli,
        invoiced_milli=row.invoiced_milli,
        unit_price=row.unit_price,
        line_status=row.line_status,
        commit_position=max(0, row.version.commit_position),
        is_deleted=is_deleted,
        first_item=row.first_item,
        most_milli=row.most_milli,
        changed_at_ms=row.changed_at_ms,
    )


def warehouse_reported(t: DocumentsTables, e: WarehouseReported) -> Iterator[DocumentsEmit]:
    """A warehouse names the order by the ERP's number: the header says whose it is."""
    order_id = order_id_of(e.order_no, t.sales_orders.get((e.order_no,)))
    if order_id is None:
        hint = "is the number the ERP's own, or the order's id here?"
        raise NotYet(
            f"the ERP has not sent order {e.order_no}; the warehouse's report of it waits ({hint})",
            items=stock_items(read(e.type, e.body)),
        )
    yield ErpNumberReported(
        event_id=e.event_id,
        source=e.source,
        source_position=e.source_position,
        occurred_at_ms=e.occurred_at_ms,
        recorded_at_ms=e.recorded_at_ms,
        trace_id=e.trace_id,
        order_id=order_id,
        order_no=e.order_no,
        type=e.type,
        body=e.body,
    )


def invoice_line_joined(t: DocumentsTables, e: InvoiceLineJoined) -> Iterator[DocumentsEmit]:
    """Keeps the bill at its order; tells the order once the header says which that is. What was never billed is not voided."""
    key = (e.order_no, e.invoice_no, e.invoice_line)
    current = t.billed_lines.get(key)
    if current is not None and e.revision <= current.joined:
        raise AlreadyApplied(f"{e.event_id}: revision {current.joined} of this invoice line is known")
    row = BilledLine(
        joined=e.revision,
        revision=current.revision if current else 0,
        order_line_no=e.order_line_no,
        item=e.item,
        qty_milli=e.qty_milli,
        amount=e.amount,
        posted_at_ms=e.posted_at_ms,
        is_void=e.is_void,
    )
    order_id = order_id_of(e.order_no, t.sales_orders.get((e.order_no,)))
    is_news = not row.is_void or (current is not None and not current.is_void)
    if order_id is not None and is_news:
        row = replace(row, revision=row.revision + 1)
        yield _bill(e, order_id, key, row, is_void=row.is_void)
    t.billed_lines[key] = row


def _bill(e: Event, order_id: str, key: tuple[str, str, int], row: BilledLine, *, is_void: bool) -> InvoiceLinePosted:
    order_no, invoice_no, line = key
    return InvoiceLinePosted(
        **caused_by(e, f"erp:billed:{order_no}/{invoice_no}/{line}:{row.revision}"),
        order_id=order_id,
        order_no=order_no,
        invoice_no=invoice_no,
        invoice_line=line,
        order_line_no=row.order_line_no,
        revision=row.revision,
        item=row.item,
        qty_milli=row.qty_milli,
        amount=row.amount,
        posted_at_ms=row.posted_at_ms,
        is_void=is_void,
    )
