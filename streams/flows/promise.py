"""The promise fold: what can be promised of each item, exactly, and why. Rules are in `tables/`; here is when they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from schemas import inventory as say
from schemas import topics
from schemas.base import Tick
from streams.engine.flow import Fold
from tables.common.policy import OrderPolicy, Policy
from tables.inventory import (
    atp_record,
    demand,
    item_master,
    item_tables,
    price_check,
    reservations,
    stock_movements,
    supply,
    suspect_items,
    timers,
)
from tables.inventory.state import PromiseTables

_RULES: dict[type[Any], Callable[[Policy, PromiseTables, Any], Iterable[Any]]] = {
    say.ItemChanged: item_tables.item_changed,
    say.ErpBalanceChanged: item_tables.erp_balance_changed,
    say.ErpItemsNews: item_tables.erp_items_news,
    say.ReviewErpItems: item_tables.review_erp_items,
    say.SupplyChanged: supply.supply_changed,
    say.StockReceived: stock_movements.stock_received,
    say.StockAdjusted: stock_movements.stock_adjusted,
    say.StockMoved: stock_movements.stock_moved,
    say.StockStatusChanged: stock_movements.stock_status_changed,
    say.StockCounted: stock_movements.stock_counted,
    say.StockReturned: stock_movements.stock_returned,
    say.StockPicked: demand.stock_picked,
    say.PickShorted: demand.pick_shorted,
    say.DemandSubstituted: demand.demand_substituted,
    say.StockShipped: demand.stock_shipped,
    say.RequestAllocation: demand.request_allocation,
    say.ReviewBackorders: demand.review_backorders,
    say.ReserveStock: reservations.reserve_stock,
    say.ReleaseReservation: reservations.release_reservation,
    say.ErpLineDoubted: suspect_items.erp_line_doubted,
    say.PriceChanged: item_tables.price_changed,
    say.ItemSuspected: suspect_items.item_suspected,
    say.SuspicionCleared: suspect_items.suspicion_cleared,
    Tick: timers.tick,
}

_NO_ORDERS = OrderPolicy()


def promise_fold(policy: Policy, orders: OrderPolicy = _NO_ORDERS) -> Fold[PromiseTables]:
    """The fold for a distributor's choices. `orders`: how orders are run, of which it is the price check that matters here."""
    promise = Fold("promise", inbox=topics.PROMISE_INBOX, tables=PromiseTables)
    for event, rule in _RULES.items():
        promise.on(event)(partial(rule, policy))
    promise.on(say.CheckPrice)(partial(price_check.check_price, orders))
    promise.on(say.SiteChanged)(item_master.site_changed)
    promise.on(say.ItemTextRequested)(item_master.item_text_requested)
    promise.on(say.ItemTextProvided)(item_master.item_text_provided)
    promise.release_on(say.ItemChanged)
    promise.release_on(say.SiteChanged, waits_for=lambda e: f"site:{e.site}")
    promise.derive(on=("items", "overviews", "stock"))(partial(atp_record.publish_atp, policy))
    return promise
