"""A marketplace we ask: its pages of orders are polled, `GET <url>/orders?after=<cursor>&limit=<n>`.

A page has `orders` and `next`, the cursor of the page that follows. An order has `id`, `purchased`, `buyer.account`, perhaps
`ship_by` and `partial_ok`, and `items`: `no`, `sku`, `quantity`, perhaps `unit` and `price` (`amount`, `currency`). A
cancellation has `id` and `cancelled` (when), perhaps `reason`. Pages overlap, and orders come again on later ones: the same
order is the same order; with another content (`updated` says as of when) it is changed, line by line. Each order is written to
the raw topic as it stands on the page, the last of a page with its cursor: so whoever polls next goes on from there, and nobody
has to remember anything.
"""
