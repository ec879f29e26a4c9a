"""A web shop that calls us: `POST /v1/webhooks/<channel>`, signed, on every change of an order.

The header `X-Webhook-Signature` is the base64 of the HMAC-SHA256 of the raw body under the channel's secret; a body whose
signature is not right is not read at all. The body is the order as it stands: `id`, `status` (`open`, `cancelled`),
`created_at`, `customer.number`, `currency`, perhaps `deliver_by`, `accept` (partial, backorder, substitute), and `line_items`:
`position`, `sku`, `quantity`, perhaps `unit`, `price`. The shop sends it again until it gets a 2xx, so the same body may come
several times: it is the same order. Another body is the order as it now stands: what differs is changed, line by line.
`updated_at` tells which of two bodies is newer; without it, one that came before is taken for a repetition. A cancelled order is
sent with `status: cancelled`, perhaps `cancelled_at` and `cancel_reason`: only the cancellation is taken from it.
"""
