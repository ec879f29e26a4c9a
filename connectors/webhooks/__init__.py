"""Signed notices: a CRM, a portal or anybody else hears of each new status of an order.

`POST <url>` with `order_id`, `sequence`, `status`, `channel`, `external_ref`, `customer`, `at`. Notices of one order come in
their order, one at a time; after a lost reply one comes again, under the same `Idempotency-Key` and with the same `sequence`.
Any 2xx takes it. The header `X-Crossdock-Signature: t=<unix seconds>,v1=<hex>` is the HMAC-SHA256 of `<t>.<raw body>` under the
endpoint's secret (`signature.py`): whoever takes notices checks it over the raw body, and that `t` is not long ago.
"""
