"""Procure to receive, and the stock's own changes: each function is one transaction's statements."""

from __future__ import annotations

from decimal import Decimal

from infra.erp.database import Cursor
from infra.erp.user import ErpUser

SUPPLIERS = ("Acme Industrial Supply", "Midwest Fastener Inc", "Shenzhen Bright Co., Ltd.", "Iberia Suministros")
OVER_RECEIVED = 0.08


def order_goods(cursor: Cursor, user: ErpUser) -> None:
    """A purchase order is placed."""
    po_no = f"PO{user.number(cursor, 'po_seq'):06d}"
    cursor.execute("INSERT INTO purchase_order VALUES (%s, %s, 'OPEN')", (po_no, user.dice.choice(SUPPLIERS)))
    for line_no in range(10, 10 * user.dice.randint(2, 4), 10):
        site, item = user.place()
        quantity = Decimal(user.dice.choice((40, 60, 100, 250)))
        expected = user.day(1, 60)
        cursor.execute(
            "INSERT INTO purchase_order_line (po_no, line_no, item_no, site_code, qty_ordered, expected_date)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (po_no, line_no, item, site, quantity, expected),
        )
        book(cursor, site, item, on_order=quantity)


def receive(cursor: Cursor, user: ErpUser) -> None:
    """Goods come: some of a line, all of it, or more."""
    found = user.one(cursor, "SELECT po_no, line_no FROM purchase_order_line WHERE status IN ('O', 'P') ORDER BY po_no, line_no")
    line = (
        found
        and cursor.execute(
            "SELECT item_no, site_code, qty_ordered, qty_received FROM purchase_order_line"
            " WHERE po_no = %s AND line_no = %s AND status IN ('O', 'P') FOR UPDATE",
            found,
        ).fetchone()
    )
    if not found or not line:
        return
    (po_no, line_no), (item, site, ordered, received) = found, line
    rest = ordered - received
    comes = user.dice.choice((rest, rest, (rest / 2).quantize(Decimal(1)) or rest))
    if user.dice.random() < OVER_RECEIVED:
        comes = rest + 5
    is_whole = received + comes >= ordered
    cursor.execute(
        "UPDATE purchase_order_line SET qty_received = qty_received + %s, status = %s WHERE po_no = %s AND line_no = %s",
        (comes, "C" if is_whole else "P", po_no, line_no),
    )
    book(cursor, site, item, on_hand=comes, on_order=-min(comes, rest))
    is_left = cursor.execute(
        "SELECT EXISTS (SELECT FROM purchase_order_line WHERE po_no = %s AND status IN ('O', 'P'))", (po_no,)
    ).fetchone() == (True,)
    cursor.execute("UPDATE purchase_order SET status = %s WHERE po_no = %s", ("PART" if is_left else "CLOSED", po_no))


def expect_later(cursor: Cursor, user: ErpUser) -> None:
    """A supplier is late."""
    found = user.one(cursor, "SELECT po_no FROM purchase_order WHERE status IN ('OPEN', 'PART') ORDER BY po_no")
    if found is not None:
        cursor.execute(
            "UPDATE purchase_order_line SET expected_date = expected_date + %s WHERE po_no = %s AND status = 'O'",
            (user.dice.randint(1, 14), found[0]),
        )


def cancel_goods(cursor: Cursor, user: ErpUser) -> None:
    """A purchase order nothing of which has come is cancelled."""
    found = user.one(cursor, "SELECT po_no FROM purchase_order WHERE status = 'OPEN' ORDER BY po_no")
    if found is None:
        return
    lines = cursor.execute(
        "UPDATE purchase_order_line SET status = 'X' WHERE po_no = %s AND status = 'O' RETURNING site_code, item_no, qty_ordered",
        found,
    ).fetchall()
    for site, item, quantity in lines:
        book(cursor, site, item, on_order=-quantity)
    cursor.execute("UPDATE purchase_order SET status = 'CANCEL' WHERE po_no = %s", found)


def count_stock(cursor: Cursor, user: ErpUser) -> None:
    """A count finds more or less than the books say."""
    site, item = user.place()
    book(cursor, site, item, on_hand=user.amount(-3, 8, 3))


def book(cursor: Cursor, site: str, item: str, on_hand: Decimal = Decimal(0), on_order: Decimal = Decimal(0)) -> None:
    """Change what is there and what is to come."""
    cursor.execute(
        "UPDATE inventory_balance SET on_hand = on_hand + %s, on_order = on_order + %s, row_version = row_version + 1,"
        " updated_at = now() WHERE site_code = %s AND item_no = %s",
        (on_hand, on_order, site, item),
    )
