"""Order to cash, as the ERP's people and its EDI gateway work: each function is one transaction's statements."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from infra.erp.database import Cursor
from infra.erp.user import ErpUser

CHANNELS = ("EDI", "EDI", "WEB", "MKT", "PHONE")
RESENT = 0.06  # share of EDI orders that come with the reference of an earlier one
OPEN = ("OPEN", "ALLOC", "PART", "HOLD")


def place_order(cursor: Cursor, user: ErpUser) -> None:
    """An order is entered."""
    order_no = enter_header(cursor, user)
    for line_no in range(10, 10 * user.dice.randint(2, 6), 10):
        enter_line(cursor, user, order_no, line_no)


def enter_header(cursor: Cursor, user: ErpUser) -> str:
    """The order's header; its number."""
    order_no = f"SO{user.number(cursor, 'order_seq')}"
    channel = user.dice.choice(CHANNELS)
    reference: str | None = f"{channel}-{user.dice.randrange(10**9):09d}"
    if channel == "EDI" and user.references and user.dice.random() < RESENT:
        reference = user.dice.choice(user.references)
    elif channel == "PHONE":
        reference = None
    elif channel == "EDI":
        user.references.append(str(reference))
    wanted = None if user.dice.random() < 0.1 else user.day(1, 40)
    cursor.execute(
        "INSERT INTO sales_order (order_no, channel, external_ref, customer_no, status, requested_ship_date, priority)"
        " VALUES (%s, %s, %s, %s, 'OPEN', %s, %s)",
        (order_no, channel, reference, user.dice.choice(user.customers), wanted, user.dice.choice((3, 5, 5, 5))),
    )
    return order_no


def enter_line(cursor: Cursor, user: ErpUser, order_no: str, line_no: int) -> None:
    """A line of an order."""
    site, item = user.place()
    price = None if user.dice.random() < 0.05 else user.amount(1, 900, 4)
    cursor.execute(
        "INSERT INTO sales_order_line (order_no, line_no, item_no, site_code, qty_ordered, unit_price)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (order_no, line_no, item, site, user.quantity(), price),
    )


def allocate(cursor: Cursor, user: ErpUser) -> None:
    """What is there is given to an order's lines."""
    order_no = pick_order(cursor, user, ("OPEN", "PART"))
    given = False
    for line in lines_of(cursor, order_no):
        line_no, item, site, ordered, allocated, shipped = line
        there = stock(cursor, site, item)
        take = min(ordered - allocated - shipped, there)
        if take <= 0:
            continue
        given = True
        change_stock(cursor, site, item, allocated=take)
        cursor.execute(
            "UPDATE sales_order_line SET qty_allocated = qty_allocated + %s, status = 'A' WHERE order_no = %s AND line_no = %s",
            (take, order_no, line_no),
        )
    if given:
        set_status(cursor, order_no, "ALLOC")


def ship(cursor: Cursor, user: ErpUser) -> None:
    """What is allocated leaves, all or part of it, and is billed."""
    order_no = pick_order(cursor, user, ("ALLOC", "PART"))
    billed: list[tuple[int, str, Decimal]] = []
    for line_no, item, site, ordered, allocated, shipped in lines_of(cursor, order_no):
        leaves = allocated if user.dice.random() < 0.8 else (allocated / 2).quantize(Decimal("0.001"))
        if leaves <= 0:
            continue
        change_stock(cursor, site, item, on_hand=-leaves, allocated=-leaves)
        cursor.execute(
            "UPDATE sales_order_line SET qty_allocated = qty_allocated - %s, qty_shipped = qty_shipped + %s, status = %s"
            " WHERE order_no = %s AND line_no = %s",
            (leaves, leaves, "S" if shipped + leaves >= ordered else "P", order_no, line_no),
        )
        billed.append((line_no, item, leaves))
    if billed:
        set_status(cursor, order_no, "PART")
        bill(cursor, user, order_no, billed)


def bill(cursor: Cursor, user: ErpUser, order_no: str, billed: list[tuple[int, str, Decimal]]) -> None:
    """An invoice for what has left."""
    invoice_no, total = f"IN{user.number(cursor, 'invoice_seq'):07d}", Decimal(0)
    for number, (line_no, item, quantity) in enumerate(billed, 1):
        price = user.amount(1, 900, 4)
        amount = (quantity * price).quantize(Decimal("0.01"))
        total += amount
        cursor.execute(
            "INSERT INTO invoice_line VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (invoice_no, number, line_no, item, quantity, price, amount),
        )
        cursor.execute(
            "UPDATE sales_order_line SET qty_invoiced = qty_invoiced + %s, status = CASE status WHEN 'S' THEN 'I' ELSE status END"
            " WHERE order_no = %s AND line_no = %s",
            (quantity, order_no, line_no),
        )
    cursor.execute(
        "INSERT INTO invoice (invoice_no, order_no, status, total) VALUES (%s, %s, 'POSTED', %s)", (invoice_no, order_no, total)
    )


def settle_invoice(cursor: Cursor, user: ErpUser) -> None:
    """An invoice is paid, or found wrong."""
    found = user.one(cursor, "SELECT invoice_no FROM invoice WHERE status = 'POSTED' ORDER BY invoice_no")
    if found is not None:
        status = "PAID" if user.dice.random() < 0.9 else "VOID"
        cursor.execute("UPDATE invoice SET status = %s WHERE invoice_no = %s", (status, found[0]))


def drop_line(cursor: Cursor, user: ErpUser) -> None:
    """A line is deleted, or cancelled; what it held goes back."""
    order_no = pick_order(cursor, user, OPEN)
    lines = [line for line in lines_of(cursor, order_no) if line[5] == 0]
    if not lines:
        return
    line_no, item, site, _, allocated, _ = user.dice.choice(lines)
    if allocated > 0:
        change_stock(cursor, site, item, allocated=-allocated)
    if user.dice.random() < 0.5:
        cursor.execute("DELETE FROM sales_order_line WHERE order_no = %s AND line_no = %s", (order_no, line_no))
    else:
        cursor.execute(
            "UPDATE sales_order_line SET status = 'X', qty_allocated = 0 WHERE order_no = %s AND line_no = %s",
            (order_no, line_no),
        )


def change_line(cursor: Cursor, user: ErpUser) -> None:
    """A customer wants more, or less."""
    order_no = pick_order(cursor, user, ("OPEN",))
    cursor.execute(
        "UPDATE sales_order_line SET qty_ordered = %s WHERE order_no = %s AND line_no = 10 AND qty_allocated + qty_shipped = 0",
        (user.quantity(), order_no),
    )


def delete_order(cursor: Cursor, user: ErpUser) -> None:
    """An order entered by mistake goes, with its lines."""
    order_no = pick_order(cursor, user, ("OPEN",))
    if any(allocated or shipped for _, _, _, _, allocated, shipped in lines_of(cursor, order_no)):
        set_status(cursor, order_no, "HOLD")
        return
    cursor.execute("DELETE FROM sales_order_line WHERE order_no = %s", (order_no,))
    cursor.execute("DELETE FROM sales_order WHERE order_no = %s", (order_no,))


def pick_order(cursor: Cursor, user: ErpUser, statuses: tuple[str, ...]) -> str:
    """An order in one of the statuses, locked; an empty number if there is none, or another session was faster."""
    found = user.one(cursor, "SELECT order_no FROM sales_order WHERE status = ANY(%s) ORDER BY order_no DESC", (list(statuses),))
    if found is None:
        return ""
    lock = "SELECT order_no FROM sales_order WHERE order_no = %s AND status = ANY(%s) FOR UPDATE"
    held = cursor.execute(lock, (found[0], list(statuses))).fetchone()
    return "" if held is None else str(held[0])


def lines_of(cursor: Cursor, order_no: str) -> list[tuple[Any, ...]]:
    """Its lines that are not cancelled, locked: (line, item, site, ordered, allocated, shipped)."""
    return cursor.execute(
        "SELECT line_no, item_no, site_code, qty_ordered, qty_allocated, qty_shipped FROM sales_order_line"
        " WHERE order_no = %s AND status <> 'X' ORDER BY line_no FOR UPDATE",
        (order_no,),
    ).fetchall()


def stock(cursor: Cursor, site: str, item: str) -> Decimal:
    """What is there and not given to anybody; the balance is locked."""
    found = cursor.execute(
        "SELECT on_hand - allocated FROM inventory_balance WHERE site_code = %s AND item_no = %s FOR UPDATE", (site, item)
    ).fetchone()
    return Decimal(0) if found is None else Decimal(found[0])


def change_stock(cursor: Cursor, site: str, item: str, on_hand: Decimal = Decimal(0), allocated: Decimal = Decimal(0)) -> None:
    """Book a movement."""
    cursor.execute(
        "UPDATE inventory_balance SET on_hand = on_hand + %s, allocated = allocated + %s, row_version = row_version + 1,"
        " updated_at = now() WHERE site_code = %s AND item_no = %s",
        (on_hand, allocated, site, item),
    )


def set_status(cursor: Cursor, order_no: str, status: str) -> None:
    """The order's status and when it changed."""
    cursor.execute("UPDATE sales_order SET status = %s, updated_at = localtimestamp(3) WHERE order_no = %s", (status, order_no))
