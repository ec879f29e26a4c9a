"""Whose order it is: a reference is unique to its customer only, and the ERP may have several orders under one.

The id `<channel>:<reference>` belongs to the customer who used it first. Another customer's order under it is
`<channel>:<reference>@<customer>`. An ERP order that nobody placed here is a demand of its own: the first under a reference has
its id, each further one of the same customer is `erp:<order number>`, until a channel turns out to have placed it: then it is a
copy of that order, and is recalled. Events that come under the first id are passed on to the order they are about.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from schemas.errors import NotYet
from schemas.frozen import Frozen, replace
from schemas.orders import (
    ErpOrderChanged,
    ErpOrderLineChanged,
    ErpOrderRecalled,
    InvoiceLinePosted,
    OrderCancelRequested,
    OrderPlaced,
    OrderQuantityChangeRequested,
)
from tables.orders.emits import OrderEmit
from tables.orders.state import ForwardedOrder, OrderTables, SameReference

ERP = "erp"
MOST_NAMED = 20


class OtherOrder(Frozen, frozen=True):
    """The order an event is about is another one: its id."""

    order_id: str


def twin_id(order_id: str, customer: str) -> str:
    """The order of another customer under the same reference."""
    return f"{order_id}@{customer.strip()}"


def customer_of(t: OrderTables, order_id: str) -> str | None:
    """Whose order has this id; none if nobody has used it."""
    placement = t.placements.get((order_id,))
    if placement is not None:
        return placement.customer
    order = t.orders.get((order_id,))
    return order.customer if order is not None and order.customer else None


def is_anothers(t: OrderTables, order_id: str, customer: str) -> bool:
    """Whether the id belongs to another customer than this one."""
    owner = customer_of(t, order_id)
    return owner is not None and customer.strip() != "" and owner.strip() != customer.strip()


def pass_on_order(t: OrderTables, e: OrderPlaced) -> OrderPlaced | None:
    """The order as it is passed on, if its reference's id belongs to another customer."""
    if e.is_restated or not is_anothers(t, e.order_id, e.customer):
        return None  # a shop's own numbers are unique in the shop: another customer there is a change
    target = twin_id(e.order_id, e.customer)
    t.twins[e.order_id, e.customer] = SameReference(target)
    return replace(e, order_id=target)


def addressed(
    t: OrderTables, e: OrderCancelRequested | OrderQuantityChangeRequested
) -> OrderCancelRequested | OrderQuantityChangeRequested | None:
    """The change as it is passed on, if it is of another customer's order. Raises `NotYet` for one that has not come."""
    if not e.customer or not is_anothers(t, e.order_id, e.customer):
        return None
    twin = t.twins.get((e.order_id, e.customer))
    if twin is None:
        raise NotYet(f"order {e.order_id} of customer {e.customer} has not arrived; the change waits for it")
    return replace(e, order_id=twin.order_id, customer="", asked_under=e.order_id)


def others(t: OrderTables, order_id: str) -> list[str]:
    """Other orders under the same reference, the first few."""
    return [twin.order_id for _, twin in islice(t.twins.under(order_id), MOST_NAMED)]


# --- the ERP's orders ----------------------------------------------------------------------------------------------------


def owner_of(t: OrderTables, e: ErpOrderChanged) -> str:
    """The id of the order that an ERP order under this reference is."""
    passed = t.passed_on.get((e.order_id, e.order_no))
    if passed is not None:
        return passed.to
    if (e.order_id, e.order_no) in t.erp_orders or e.is_deleted:
        return e.order_id
    if is_anothers(t, e.order_id, e.customer):
        return twin_id(e.order_id, e.customer)
    if (e.order_id,) not in t.placements and _has_living(t, e.order_id):
        return f"{ERP}:{e.order_no}"
    return e.order_id


def _has_living(t: OrderTables, order_id: str) -> bool:
    return any(not erp.is_deleted and erp.status != "CANCEL" for _, erp in t.erp_orders.under(order_id))


def pass_on_header(t: OrderTables, e: ErpOrderChanged, to: str) -> Iterator[OrderEmit]:
    """The ERP's header goes to the order it is; its lines follow it."""
    if (e.order_id, e.order_no) not in t.passed_on:
        t.passed_on[e.order_id, e.order_no] = ForwardedOrder(to, e.customer)
        if to != f"{ERP}:{e.order_no}":
            t.twins[e.order_id, e.customer] = SameReference(to)
    yield replace(e, order_id=to)


def passed_to(t: OrderTables, e: ErpOrderLineChanged | InvoiceLinePosted) -> str | None:
    """The order a line or an invoice of the ERP's goes to, if it is not this one."""
    passed = t.passed_on.get((e.order_id, e.order_no))
    return None if passed is None else passed.to


def recall_copies(t: OrderTables, e: OrderPlaced) -> Iterator[ErpOrderRecalled]:
    """A channel has placed the order: the customer's ERP orders under its reference are copies of it, no demands of their own."""
    for key, passed in list(t.passed_on.under(e.order_id)):
        order_no = key[1]
        if passed.to == f"{ERP}:{order_no}" and passed.customer.strip() == e.customer.strip():
            del t.passed_on[key]
            yield ErpOrderRecalled(
                event_id=f"{e.event_id}/recall/{order_no}",
                source="orders",
                source_position=e.source_position,
                occurred_at_ms=e.occurred_at_ms,
                recorded_at_ms=e.recorded_at_ms,
                trace_id=e.trace_id,
                order_id=passed.to,
                order_no=order_no,
                to=e.order_id,
            )


def hand_over_facts(t: OrderTables, e: ErpOrderRecalled, to: str) -> Iterator[OrderEmit]:
    """All that is known here of the lines and invoices of one of the ERP's orders, as events for another order."""
    header = _header(e)
    for (order_id, order_no, line_no), line in list(t.erp_lines.under(e.order_id, e.order_no)):
        yield ErpOrderLineChanged(
            **header,
            event_id=f"erp:order-line:{order_no}/{line_no}:{line.revision}",
            order_id=to,
            order_no=order_no,
            line_no=line_no,
            revision=line.revision,
            item=line.item,
            site=line.site,
            ordered_milli=line.ordered_milli,
            allocated_milli=0,
            shipped_milli=line.shipped_milli,
            invoiced_milli=0,
            unit_price=None,
            line_status=line.line_status,
            commit_position=line.commit_position,
            is_deleted=line.is_deleted,
            first_item=line.first_item,
            most_milli=line.most_milli,
            changed_at_ms=line.changed_at_ms,
        )
        for key, bill in list(t.invoice_lines.under(order_id, order_no, line_no)):
            yield InvoiceLinePosted(
                **header,
                event_id=f"erp:billed:{order_no}/{key[3]}/{key[4]}:{bill.revision}",
                order_id=to,
                order_no=order_no,
                invoice_no=key[3],
                invoice_line=key[4],
                order_line_no=line_no,
                revision=bill.revision,
                item=bill.item,
                qty_milli=bill.qty_milli,
                amount=bill.amount,
                posted_at_ms=bill.posted_at_ms,
                is_void=bill.is_void,
            )


def _header(e: Any) -> dict[str, Any]:
    return {
        "source": "orders",
        "source_position": e.source_position,
        "occurred_at_ms": e.occurred_at_ms,
        "recorded_at_ms": e.recorded_at_ms,
        "trace_id": e.trace_id,
    }
