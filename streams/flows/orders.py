"""The order fold: channels, the ERP, the warehouse and the promise fold tell of an order; its status and milestones come out.

Orders that crossdock runs are brought on after each event: see `tables.orders.process_manager`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas import orders as say
from schemas import topics
from schemas.deliveries import ObligationSettled
from streams.engine.flow import Fold
from tables.common.policy import OrderPolicy, Policy
from tables.orders import early_changes, erp_numbers, order_events, process_manager, warehouse_events
from tables.orders import sites as order_sites
from tables.orders.process import RunPolicy
from tables.orders.state import OrderTables
from tables.orders.status import order_status

_RULES: dict[type[Any], process_manager.Rule] = {
    say.OrderPlaced: order_events.order_placed,
    say.ErpOrderChanged: order_events.erp_order_changed,
    say.ErpOrderRecalled: order_events.erp_order_recalled,
    say.ErpNumberReported: erp_numbers.erp_number_reported,
    say.ErpOrderLineChanged: order_events.erp_order_line_changed,
    say.InvoiceLinePosted: order_events.invoice_line_posted,
    say.LineAnswered: warehouse_events.line_answered,
    say.PickReleased: warehouse_events.pick_released,
    say.LinePicked: warehouse_events.line_picked,
    say.LineShorted: warehouse_events.line_shorted,
    say.LineSubstituted: warehouse_events.line_substituted,
    say.LineShipped: warehouse_events.line_shipped,
    say.LineReturned: warehouse_events.line_returned,
    say.CreditAnswered: process_manager.credit_answered,
    say.PriceChecked: process_manager.price_checked,
    ObligationSettled: process_manager.obligation_settled,
}


def orders_fold(policy: OrderPolicy = OrderPolicy(), sites: Policy = Policy()) -> Fold[OrderTables]:  # noqa: B008 - frozen
    """The fold for a distributor's choices. `sites` says who owns the stock of each."""
    run = RunPolicy(policy, sites)
    orders = Fold(topics.ORDERS, inbox=topics.ORDER_INBOX, tables=OrderTables)
    for event, rule in _RULES.items():
        orders.on(event)(process_manager.advancing(run, rule))
    requests: dict[type[Any], process_manager.Rule] = {
        say.OrderCancelRequested: order_events.order_cancel_requested,
        say.OrderQuantityChangeRequested: order_events.order_quantity_change_requested,
    }
    for event, rule in requests.items():
        orders.on(event)(process_manager.advancing(run, early_changes.keeping(rule, policy.change_ms)))
    release = partial(process_manager.release_hold, run)
    orders.on(say.ReleaseHold)(process_manager.advancing(run, release))
    orders.on(say.OrderTick)(partial(process_manager.order_tick, run))
    orders.on(say.OrderSiteChanged)(order_sites.site_changed)
    orders.release_on(say.OrderSiteChanged, waits_for=lambda e: f"site:{e.site}")
    orders.release_on(say.OrderPlaced, say.ErpOrderChanged, say.ErpOrderLineChanged, say.LineAnswered)
    orders.derive(on=("orders", "lines", "processes", "recent_changes"))(order_status)
    return orders
