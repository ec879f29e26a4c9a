"""The ERP: its change feed as Debezium's PostgreSQL connector writes it, and its extracts.

Reads eleven tables (`columns.py`: item, item_price, site, customer, inventory_balance, sales orders, purchase orders and
invoices with their lines) from `raw.erp.<table>`. Transaction metadata, heartbeats, the signal table, logical decoding
messages and tables we do not map arrive on `raw.erp.other` and are ignored, each with its reason.

Settings of the connector that work: JsonConverter for keys, values and headers, with schemas or without;
`decimal.handling.mode` string or precise (base64; the scale is the schema's, without schemas the catalogue's; a numeric
without a fixed scale is a struct that brings its own), never double: which of them is said by the schema, by the setting
`erp.decimals`, or by the first record that shows it, for the whole table from then on;
`time.precision.mode` adaptive, with schemas also connect
and isostring; any replica identity; any topic prefix; tombstones or none.

What is odd, and what becomes of it:

- A record delivered twice (a connector that was killed) has the same event id and position: the folds see that.
- Order: (`source.sequence[0]`, `source.lsn`), never arrival. An initial snapshot's row ranks below every streamed change, an
  incremental one takes its position from `source.sequence[1]`, having no `lsn`.
- A delete says its key only: the other values of its `before` are invented. A tombstone adds nothing.
- A long text the database did not send (TOAST) is marked `description_is_unavailable`, unless `before` has it (REPLICA
  IDENTITY FULL). On an item just renumbered the header `__debezium.oldkey` says whose text it is. Elsewhere: a bad message.
- A column missing from a row is older than the column: it takes the default of `columns.py`. A column we do not know is
  kept as JSON text in `extra`.
- Local timestamps come as if UTC and are written as the wall clock they are. Codes lose the blanks of `char(n)`, texts keep them.
- `infinity` is the end of the calendar, in whatever form it comes. Time zones may be Windows'.
- A truncated table loses the rows of before; of a truncated partition nothing says which rows are gone: a bad message.
- A second initial snapshot begins a new history of the database, wherever its positions start (`known.py`).
- Tables are known in capitals, quoted, and by their partitions' names (`topics.py`). A table not mapped that has a mapped one's
  columns is an exception; one of a second schema is a bad message, as are other databases' envelopes and unwrapped records.

Anything malformed is a `BadMessage` that names the field, what to do, and the items as far as they can be read. `extract.py`
reads the other side of a reconciliation; `sample/` is a real capture with its final state.

`client.py` goes the other way: it posts orders whole (`PUT /orders/{channel}/{external_ref}`, a higher revision replaces a lower
one) and has what shipped billed (`POST /orders/{order_no}/invoices`), each under an idempotency key. A 422 says why not, in
`reason`.
"""
