"""The promise fold: what can be promised of each item, exactly, and why. Rules are in `tables/`; here is when they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from schemas import inventory as say
from schemas import topics
from schemas.base import Tick
from streams.engine.flow import Fold
from tables import deadlines, demand, erp_items, inventory, items, prices, publish, reservations, supply, suspicion
from tables.policy import OrderPolicy, Policy
from tables.promise import PromiseTables

_RULES: dict[type[Any], Callable[[Policy, PromiseTables, Any], Iterable[Any]]] = {
    say.ItemChanged: erp_items.item_changed,
    say.ErpBalanceChanged: erp_items.erp_balance_changed,
    say.ErpItemsNews: erp_items.erp_items_news,
    say.ReviewErpItems: erp_items.review_erp_items,
    say.SupplyChanged: supply.supply_changed,
    say.StockReceived: inventory.stock_received,
    say.StockAdjusted: inventory.stock_adjusted,
    say.StockMoved: inventory.stock_moved,
    say.StockStatusChanged: inventory.stock_status_changed,
    say.StockCounted: inventory.stock_counted,
    say.StockReturned: inventory.stock_returned,
    say.StockPicked: demand.stock_picked,
    say.PickShorted: demand.pick_shorted,
    say.DemandSubstituted: demand.demand_substituted,
    say.StockShipped: demand.stock_shipped,
    say.RequestAllocation: demand.request_allocation,
    say.ReviewBackorders: demand.review_backorders,
    say.ReserveStock: reservations.reserve_stock,
    say.ReleaseReservation: reservations.release_reservation,
    say.ErpLineDoubted: suspicion.erp_line_doubted,
    say.PriceChanged: erp_items.price_changed,
    say.ItemSuspected: suspicion.item_suspected,
    say.SuspicionCleared: suspicion.suspicion_cleared,
    Tick: deadlines.tick,
}

_NO_ORDERS = OrderPolicy()


def promise_fold(policy: Policy, orders: OrderPolicy = _NO_ORDERS) -> Fold[PromiseTables]:
    """The fold for a distributor's choices. `orders`: how orders are run, of which it is the price check that matters here."""
    promise = Fold("promise", inbox=topics.PROMISE_INBOX, tables=PromiseTables)
    for event, rule in _RULES.items():
        promise.on(event)(partial(rule, policy))
    promise.on(say.CheckPrice)(partial(prices.check_price, orders))
    promise.on(say.SiteChanged)(items.site_changed)
    promise.on(say.ItemTextRequested)(items.item_text_requested)
    promise.on(say.ItemTextProvided)(items.item_text_provided)
    promise.release_on(say.ItemChanged)
    promise.release_on(say.SiteChanged, waits_for=lambda e: f"site:{e.site}")
    promise.derive(on=("items", "overviews", "stock"))(partial(publish.publish_atp, policy))
    return promise
