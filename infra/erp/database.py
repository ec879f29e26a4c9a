"""The ERP's database: its tables in the order they are filled, and connections to it."""

from __future__ import annotations

import psycopg
from psycopg.rows import TupleRow

TABLES = (
    "site",
    "item",
    "item_price",
    "customer",
    "inventory_balance",
    "sales_order",
    "sales_order_line",
    "purchase_order",
    "purchase_order_line",
    "invoice",
    "invoice_line",
)

Connection = psycopg.Connection[TupleRow]
Cursor = psycopg.Cursor[TupleRow]


class NoDatabase(Exception):
    """The database cannot be used. The sentence says what to do."""


def connected(url: str) -> Connection:
    """A connection that commits when told to. Raises `NoDatabase`."""
    try:
        return psycopg.connect(url, connect_timeout=10, application_name="erp")
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        reason = str(error).strip().splitlines()[0]
        how = "infra/erp/start.sh DIRECTORY starts it and prints its URL."
        raise NoDatabase(f"The ERP's database cannot be reached ({reason}). {how}") from None
