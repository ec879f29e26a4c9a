"""Orders as sales channels send them: one JSON object a record on `raw.channel.<name>`.

An order has `channel` (the topic's), `external_ref` (the channel's own number), `customer`, `placed_at` (ISO 8601 with its
zone), perhaps `requested_date`, `priority` (0 to 99, 5 if none), `policy` (partial and backorder true, substitute false if
not said) and 1 to 1,000 `lines`: `line`, `item`, `qty` (text or whole number, in `uom` or the base unit), and perhaps
`unit_price` (text or whole number), `currency` and `site`. A resend is the same order; the same reference with other content
is seen to contradict it. A change has `channel`, `external_ref` and `change`: `cancel`, `cancel_line` (line) or `set_qty` (line,
qty, uom), perhaps `reason`, `changed_at`, `change_id`, and `customer`, which is needed where several customers use a reference.
Without a `change_id` a change is told from a resend by its content, so setting a quantity to what it was before needs one, or
`changed_at`. What became of a change is at `GET /v1/orders/<id>/changes`.
"""
