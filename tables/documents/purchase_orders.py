"""Purchase orders of the ERP: a line with its header is supply of the line's item."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from schemas.base import Event
from schemas.documents import PurchaseOrderLineRow, PurchaseOrderRow
from schemas.frozen import replace
from schemas.inventory import SupplyChanged
from tables.common.cdc_rows import accept, caused_by, merged_extra, unless_equal
from tables.documents.emits import DocumentsEmit
from tables.documents.state import DocumentsTables, PurchaseOrder, PurchaseOrderLine

OPEN_LINES = frozenset({"O", "P"})
ENDED_ORDERS = frozenset({"CLOSED", "CANCEL"})


class _Supply(NamedTuple):
    """What a purchase line means to its item."""

    item: str
    site: str
    supplier: str
    ordered_milli: int
    received_milli: int
    expected_on: date | None
    is_open: bool


def _supply(header: PurchaseOrder | None, line: PurchaseOrderLine | None) -> _Supply | None:
    if header is None or header.is_deleted or line is None or line.is_deleted:
        return None
    is_open = line.line_status in OPEN_LINES and header.status not in ENDED_ORDERS
    return _Supply(line.item, line.site, header.supplier, line.ordered_milli, line.received_milli, line.expected_on, is_open)


def is_expected(header: PurchaseOrder | None, line: PurchaseOrderLine) -> bool:
    """Whether a line still brings units."""
    supply = _supply(header, line)
    return supply is not None and supply.is_open and supply.ordered_milli > supply.received_milli


def purchase_order_changed(t: DocumentsTables, e: PurchaseOrderRow) -> Iterator[DocumentsEmit]:
    """Keeps the header; tells the items of its lines what changed for them."""
    current = t.purchase_orders.get((e.po_no,))
    row = PurchaseOrder(
        accept(current, e, t.erp_tables.get(("purchase_order",))), e.is_deleted, e.supplier, e.status, merged_extra(current, e)
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.purchase_orders[(e.po_no,)] = row
    for (po_no, line_no), line in list(t.purchase_order_lines.under(e.po_no)):
        yield from _note(t, e, (po_no, line_no), line, _supply(current, line), _supply(row, line))


def purchase_order_line_changed(t: DocumentsTables, e: PurchaseOrderLineRow) -> Iterator[DocumentsEmit]:
    """Keeps the line; tells its item as soon as the header is there. The item it was for before is told that it is not."""
    key = (e.po_no, e.line_no)
    current = t.purchase_order_lines.get(key)
    row = PurchaseOrderLine(
        version=accept(current, e, t.erp_tables.get(("purchase_order_line",))),
        is_deleted=e.is_deleted,
        revision=current.revision if current else 0,
        item=e.item,
        site=e.site,
        ordered_milli=e.ordered_milli,
        received_milli=e.received_milli,
        expected_on=e.expected_on,
        line_status=e.line_status,
        extra=merged_extra(current, e),
    )
    if e.is_deleted and current is not None:
        row = replace(current, version=row.version, is_deleted=True)
    unless_equal(current, row, e)
    t.purchase_order_lines[key] = row
    header = t.purchase_orders.get((e.po_no,))
    yield from _note(t, e, key, row, _supply(header, current), _supply(header, row))


def _note(
    t: DocumentsTables,
    e: Event,
    key: tuple[str, int],
    line: PurchaseOrderLine,
    before: _Supply | None,
    after: _Supply | None,
) -> Iterator[SupplyChanged]:
    if before == after:
        return
    revision = line.revision
    if before is not None and (after is None or after.item != before.item):
        withdrawn = before._replace(ordered_milli=0, received_milli=0, is_open=False)
        if withdrawn != before:
            revision += 1
            yield _changed(e, key, revision, withdrawn)
    if after is not None:
        revision += 1
        yield _changed(e, key, revision, after)
    t.purchase_order_lines[key] = replace(line, revision=revision)


def _changed(e: Event, key: tuple[str, int], revision: int, supply: _Supply) -> SupplyChanged:
    document, line = key
    return SupplyChanged(
        **caused_by(e, f"erp:supply:{document}/{line}:{revision}"),
        item=supply.item,
        document=document,
        line=line,
        revision=revision,
        site=supply.site,
        supplier=supply.supplier,
        ordered_milli=supply.ordered_milli,
        received_milli=supply.received_milli,
        expected_on=supply.expected_on,
        is_open=supply.is_open,
    )
