"""The warehouse management system's events: one JSON object a record on `raw.wms`.

Every event has `event_id`, `sequence` (the feed's own numbering, without holes), `type`, `site` and `occurred_at` (ISO 8601
with its zone). Quantities are text ("24", "2.5") or whole numbers, in `uom`, or in the item's base unit if there is none.
Stock: `stock.received` (item, qty; status, lot, expires_on, reference {po, line}), `stock.receipt_reversed` (the same: it takes
back what was received by mistake), `stock.adjusted` (signed qty, reason),
`stock.moved` (to_site), `stock.status_changed` (from_status, to_status), `stock.snapshot` (qty as of occurred_at, may be 0;
expires_on). The newest expires_on of a lot counts.
Execution, each with `order` (our order id) and `line`: `pick.released`, `pick.completed`, `pick.short` (qty picked, may be 0,
and qty_short), `pick.substituted` (qty of the line served by substitute_qty of substitute_item), and `shipment.confirmed`
(order, shipment, carrier, tracking, lines of line, item, qty, lot: a line and lot of a shipment is one fact, the newest message
counts, and qty 0 takes it back). `return.received` may name order and line. An event about
stock and an order becomes one event for each. A second WMS with a numbering of its own, or one whose numbering was reset,
names itself in `instance`.

`client.py` goes the other way: `POST /releases` adds units to pick, `POST /withdrawals` takes back what was not picked yet and
says how much that was, each under an idempotency key. The warehouse decides: what it had picked ships.
"""
