"""The order fold: channels, the ERP, the warehouse and the promise fold tell of an order; its status and milestones come out.

Orders that crossdock runs are brought on after each event: see `tables.order_run`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas import orders as say
from schemas import topics
from schemas.deliveries import ObligationSettled
from streams.engine.flow import Fold
from tables import order_early, order_execution, order_reported, order_rules, order_run, order_sites
from tables.order_context import RunPolicy
from tables.order_status import order_status
from tables.orders import OrderTables
from tables.policy import OrderPolicy, Policy

_RULES: dict[type[Any], order_run.Rule] = {
    say.OrderPlaced: order_rules.order_placed,
    say.ErpOrderChanged: order_rules.erp_order_changed,
    say.ErpOrderRecalled: order_rules.erp_order_recalled,
    say.ErpNumberReported: order_reported.erp_number_reported,
    say.ErpOrderLineChanged: order_rules.erp_order_line_changed,
    say.InvoiceLinePosted: order_rules.invoice_line_posted,
    say.LineAnswered: order_execution.line_answered,
    say.PickReleased: order_execution.pick_released,
    say.LinePicked: order_execution.line_picked,
    say.LineShorted: order_execution.line_shorted,
    say.LineSubstituted: order_execution.line_substituted,
    say.LineShipped: order_execution.line_shipped,
    say.LineReturned: order_execution.line_returned,
    say.CreditAnswered: order_run.credit_answered,
    say.PriceChecked: order_run.price_checked,
    ObligationSettled: order_run.obligation_settled,
}


def orders_fold(policy: OrderPolicy = OrderPolicy(), sites: Policy = Policy()) -> Fold[OrderTables]:  # noqa: B008 - frozen
    """The fold for a distributor's choices. `sites` says who owns the stock of each."""
    run = RunPolicy(policy, sites)
    orders = Fold(topics.ORDERS, inbox=topics.ORDER_INBOX, tables=OrderTables)
    for event, rule in _RULES.items():
        orders.on(event)(order_run.advancing(run, rule))
    requests: dict[type[Any], order_run.Rule] = {
        say.OrderCancelRequested: order_rules.order_cancel_requested,
        say.OrderQuantityChangeRequested: order_rules.order_quantity_change_requested,
    }
    for event, rule in requests.items():
        orders.on(event)(order_run.advancing(run, order_early.keeping(rule, policy.change_ms)))
    release = partial(order_run.release_hold, run)
    orders.on(say.ReleaseHold)(order_run.advancing(run, release))
    orders.on(say.OrderTick)(partial(order_run.order_tick, run))
    orders.on(say.OrderSiteChanged)(order_sites.site_changed)
    orders.release_on(say.OrderSiteChanged, waits_for=lambda e: f"site:{e.site}")
    orders.release_on(say.OrderPlaced, say.ErpOrderChanged, say.ErpOrderLineChanged, say.LineAnswered)
    orders.derive(on=("orders", "lines", "processes", "recent_changes"))(order_status)
    return orders
