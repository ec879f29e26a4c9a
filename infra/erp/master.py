"""Master data, as people and imports change it: each function is one transaction's statements."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from string import ascii_letters, digits

from infra.erp.database import Cursor
from infra.erp.user import ErpUser

LONG_TEXT = 9_000  # characters that hardly compress: kept out of line (TOAST), so an update of others leaves them out of the feed


def change_price(cursor: Cursor, user: ErpUser) -> None:
    """A price of one item changes, on every list."""
    cursor.execute(
        "UPDATE item_price SET unit_price = round(unit_price * %s, 4) WHERE item_no = %s", (user.amount(0, 2, 2), user.place()[1])
    )


def change_list(cursor: Cursor, user: ErpUser) -> None:
    """All prices of a list go up."""
    found = user.one(cursor, "SELECT DISTINCT price_list FROM item_price ORDER BY price_list")
    if found is not None:
        cursor.execute("UPDATE item_price SET unit_price = round(unit_price * 1.02, 4) WHERE price_list = %s", found)


def import_prices(cursor: Cursor, user: ErpUser) -> None:
    """Prices of a day to come, by COPY: its rows share one position in the database's log."""
    valid_from = user.day(1, 10_000)
    items = sorted({user.place()[1] for _ in range(40)})
    key = (f"L{user.dice.randrange(100)}", "EUR", valid_from)
    cursor.execute("DELETE FROM item_price WHERE (price_list, currency, valid_from) = (%s, %s, %s)", key)
    with cursor.copy("COPY item_price (price_list, item_no, currency, unit_price, valid_from, valid_to) FROM STDIN") as copy:
        for item in items:
            copy.write_row((key[0], item, key[1], user.amount(1, 900, 4), valid_from, date(9999, 12, 31)))


def drop_price(cursor: Cursor, user: ErpUser) -> None:
    """A price that is not valid yet is withdrawn."""
    found = user.one(
        cursor,
        "SELECT price_list, item_no, currency, valid_from FROM item_price WHERE valid_from > current_date"
        " ORDER BY price_list, item_no, currency, valid_from",
    )
    if found is not None:
        cursor.execute("DELETE FROM item_price WHERE (price_list, item_no, currency, valid_from) = (%s, %s, %s, %s)", found)


def change_customer(cursor: Cursor, user: ErpUser) -> None:
    """A customer's credit is looked at."""
    cursor.execute(
        "UPDATE customer SET credit_hold = %s, credit_limit = %s WHERE customer_no = %s",
        (user.dice.random() < 0.1, Decimal(user.dice.choice(("5000", "1500.5", "25000.00"))), user.dice.choice(user.customers)),
    )


def add_customer(cursor: Cursor, user: ErpUser) -> None:
    """A customer is entered, perhaps one there is already: the same tax number."""
    number = f"{user.dice.randrange(10**8):08d}"
    cursor.execute(
        "INSERT INTO customer (customer_no, name, tax_id, email, credit_limit, terms, price_list)"
        " SELECT %s, name, tax_id, %s, NULL, 'COD', price_list FROM customer WHERE customer_no = %s ON CONFLICT DO NOTHING",
        (number, f"c{number}@mail.example", user.dice.choice(user.customers)),
    )


def change_item(cursor: Cursor, user: ErpUser) -> None:
    """Something of an item changes, its text does not."""
    cursor.execute(
        "UPDATE item SET safety_stock = %s, updated_at = localtimestamp WHERE item_no = %s",
        (user.amount(0, 20, 3), user.place()[1]),
    )


def describe_item(cursor: Cursor, user: ErpUser) -> None:
    """An item gets a long text."""
    cursor.execute("UPDATE item SET description = %s WHERE item_no = %s", (long_text(user), user.place()[1]))


def long_text(user: ErpUser) -> str:
    """A text that is stored out of line."""
    return "".join(user.dice.choices(ascii_letters + digits, k=LONG_TEXT))


def renumber_item(cursor: Cursor, user: ErpUser) -> None:
    """An item gets another number, everywhere; one in two has a long text, which the feed then leaves out of the new row."""
    old = user.place()[1]
    new = f"{old[:14]}-{user.number(cursor, 'po_seq') % 10_000}"
    if user.dice.random() < 0.5:
        cursor.execute("UPDATE item SET description = %s WHERE item_no = %s", (long_text(user), old))
        cursor.connection.commit()
    cursor.execute("UPDATE item SET item_no = %s, updated_at = localtimestamp WHERE item_no = %s", (new, old))
    cursor.execute("UPDATE item_price SET item_no = %s WHERE item_no = %s", (new, old))
    cursor.execute("UPDATE inventory_balance SET item_no = %s WHERE item_no = %s", (new, old))
    cursor.execute("UPDATE sales_order_line SET item_no = %s WHERE item_no = %s", (new, old))
    cursor.execute("UPDATE purchase_order_line SET item_no = %s WHERE item_no = %s", (new, old))
    user.places[:] = [(site, new if item == old else item) for site, item in user.places]


def add_column(cursor: Cursor, table: str, column: str, default: str) -> None:
    """The application's vendor adds a column with a default: no row is rewritten, and the feed says nothing of it."""
    cursor.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} varchar(8) NOT NULL DEFAULT '{default}'")
