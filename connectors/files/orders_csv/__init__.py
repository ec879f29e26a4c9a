"""A customer's orders as a CSV file, one line of an order a row, dropped into a watched folder.

The first row names the columns: `order`, `customer`, `placed_at`, `line`, `item`, `qty` are needed, `requested_date`, `uom`,
`unit_price`, `currency`, `partial`, `backorder`, `substitute` (yes or no) may be there; separated by comma, semicolon
or tab; how numbers, dates and letters are written is declared with the folder (`connectors.files.layout`). Rows of one order have
the same header fields. A file is claimed by renaming it, so two watchers never take the same;
its orders are written to the raw topic (the rows of each as they stand, under the column names), all or none; beside it a
report says of every row whether it was taken, and if not, why. The same file again is the same orders. An order with a
wrong row is not taken, as a whole; it is a dead letter, and its rows are in the report.
"""
