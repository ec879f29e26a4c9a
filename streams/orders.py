"""The order fold: channels, the ERP, the warehouse and the promise fold tell of an order; its status and milestones come out."""

from __future__ import annotations

from schemas import orders as say
from schemas import topics
from streams.engine.flow import Fold
from tables import order_execution, order_rules
from tables.order_status import order_status
from tables.orders import OrderTables

orders = Fold(topics.ORDERS, inbox=topics.ORDER_INBOX, tables=OrderTables)

orders.on(say.OrderPlaced)(order_rules.order_placed)
orders.on(say.OrderCancelRequested)(order_rules.order_cancel_requested)
orders.on(say.OrderQuantityChangeRequested)(order_rules.order_quantity_change_requested)
orders.on(say.ErpOrderChanged)(order_rules.erp_order_changed)
orders.on(say.ErpOrderLineChanged)(order_rules.erp_order_line_changed)
orders.on(say.InvoiceLinePosted)(order_rules.invoice_line_posted)
orders.on(say.LineAnswered)(order_execution.line_answered)
orders.on(say.PickReleased)(order_execution.pick_released)
orders.on(say.LinePicked)(order_execution.line_picked)
orders.on(say.LineShorted)(order_execution.line_shorted)
orders.on(say.LineSubstituted)(order_execution.line_substituted)
orders.on(say.LineShipped)(order_execution.line_shipped)
orders.on(say.LineReturned)(order_execution.line_returned)
orders.release_on(say.OrderPlaced, say.ErpOrderChanged, say.ErpOrderLineChanged, say.LineAnswered)
orders.derive(on=("orders", "lines"))(order_status)
