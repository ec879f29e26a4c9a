"""What the ERP says of an order's lines counts as it was said, also what it said before their header came."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.documents import SalesOrderLineRow, SalesOrderRow
from schemas.errors import AlreadyApplied
from schemas.frozen import replace
from schemas.orders import OrderStatus
from streams.flows.documents import documents
from tables.common.table import in_memory
from tables.documents.state import DocumentsTables
from tests.properties.test_orders import settled
from tests.support import erp_world
from tests.support.orders import NOON, World, placed, set_qty

HEADER: dict[str, Any] = {"order_no": "SO1", "channel": "WEB", "external_ref": "W1", "customer": "C1"}
LINES = (1, 2)


class Joined:
    """The documents fold, and the order fold behind it. Instants of the feed are those of the channel."""

    def __init__(self, *channel: Any) -> None:
        self.documents = in_memory(DocumentsTables)
        self.orders = World().feed(*channel)

    def apply(self, row: Any) -> list[Any]:
        event = replace(row, occurred_at_ms=NOON + row.source_position)
        self.orders.feed(*list(documents.rules[type(event)](self.documents, event)))
        return []

    def status(self) -> OrderStatus:
        """Without the unit of cancelled lines: of what was gone before it was told, nobody was asked for it."""
        status = settled(self.orders)
        lines = [replace(line, uom=None) if line.state == "cancelled" else line for line in status.lines]
        return replace(status, lines=lines)


def history(random: Random, steps: int) -> erp_world.World:
    """An order in the ERP, and what becomes of its lines. A line that has shipped stays what it is."""
    world = erp_world.World(random)
    world.put(SalesOrderRow, **HEADER)
    for line in LINES:
        world.put(SalesOrderLineRow, order_no="SO1", line_no=line, item="AB"[line - 1], ordered_milli=4_000)
    for _ in range(steps):
        key: dict[str, Any] = {"order_no": "SO1", "line_no": random.choice(LINES)}
        row = world.rows.get((SalesOrderLineRow, tuple(key.values())))
        has_shipped = row is not None and "shipped_milli" in row
        item = row["item"] if row is not None and has_shipped else random.choice("ABC")
        match random.choice("qqqqixdsh"):
            case "q":
                world.put(SalesOrderLineRow, **key, item=item, ordered_milli=random.randint(1, 9) * 1000)
            case "i":
                world.put(SalesOrderLineRow, **key, item=item, ordered_milli=4_000)
            case "x":
                world.put(SalesOrderLineRow, **key, item=item, ordered_milli=4_000, line_status=random.choice("XO"))
            case "d" if not has_shipped:
                world.delete(SalesOrderLineRow, *key.values())
            case "s" if row is not None:
                world.put(SalesOrderLineRow, **key, shipped_milli=random.randint(1, 3) * 1000)
            case _:
                world.put(SalesOrderRow, **HEADER | {"status": random.choice(("OPEN", "HOLD"))})
    return world


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(0, 10), st.booleans())
def test_a_late_header_changes_nothing(seed: int, steps: int, is_placed: bool) -> None:
    random = Random(seed)
    world = history(random, steps)
    channel = [placed((1, "A", 4), (2, "B", 4)), set_qty(1, 7, position=random.randint(101, 113))] if is_placed else []
    in_order, mixed = Joined(*channel), Joined(*channel)
    for row in sorted((row for rows in world.feed.values() for row in rows), key=lambda row: row.source_position):
        in_order.apply(row)
    erp_world.deliver(world, mixed.apply, lambda row: str(type(row)), random)
    assert mixed.status() == in_order.status()


@pytest.mark.parametrize("header_at", range(4))
def test_the_last_word_is_the_erps_wherever_the_header_comes(header_at: int) -> None:
    """Found by the chaos run: 8 of the channel's stood, where the ERP had changed the line to 5 after it."""
    line: dict[str, Any] = {"order_no": "SO1", "line_no": 1, "item": "A"}
    rows = [
        erp_world.row_event(SalesOrderLineRow, at, **line, ordered_milli=qty) for at, qty in ((1, 4_000), (2, 3_000), (9, 5_000))
    ]
    rows.insert(header_at, erp_world.row_event(SalesOrderRow, 5, **HEADER))
    joined = Joined(placed((1, "A", 4)), set_qty(1, 8, position=4))
    for row in rows:
        joined.apply(row)
    assert joined.orders.units(1)["ordered"] == 5


def test_a_line_that_went_before_its_header_came_is_cancelled() -> None:
    joined = Joined(placed((1, "A", 4)))
    line: dict[str, Any] = {"order_no": "SO1", "line_no": 1}
    joined.apply(erp_world.row_event(SalesOrderLineRow, 1, **line, item="A", ordered_milli=4_000))
    joined.apply(erp_world.row_event(SalesOrderLineRow, 2, "d", **line))
    joined.apply(erp_world.row_event(SalesOrderRow, 3, **HEADER))
    assert joined.orders.line(1).state == "cancelled"


def test_a_line_only_ever_heard_to_be_gone_is_not_told() -> None:
    joined = Joined(placed((1, "A", 4)))
    joined.apply(erp_world.row_event(SalesOrderLineRow, 2, "d", order_no="SO1", line_no=1))
    joined.apply(erp_world.row_event(SalesOrderRow, 3, **HEADER))
    assert joined.orders.line(1).state == "allocated"
    with pytest.raises(AlreadyApplied):
        joined.apply(erp_world.row_event(SalesOrderRow, 3, **HEADER))
