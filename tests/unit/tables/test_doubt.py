"""What waits names the items whose numbers it would change, and only those: an item is suspect for what bears on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from schemas.documents import WarehouseReported
from schemas.errors import NotYet
from schemas.inventory import CheckPrice, ItemSuspected, StockShipped, SuspicionCleared
from schemas.orders import ErpNumberReported, LineShipped
from schemas.reported import written
from streams.flows.documents import documents
from streams.flows.orders import orders_fold
from tables.common.policy import Policy, SitePolicy
from tables.common.table import in_memory
from tables.documents.state import DocumentsTables
from tables.orders.state import OrderTables
from tests.support.promises import Bench


def waiting(b: Bench, happens: Callable[[Bench], Any]) -> NotYet:
    """What an event says that waits."""
    assert happens(b) == "NotYet"
    assert isinstance(b.answer, NotYet)
    return b.answer


EVENTS: dict[str, Callable[[Bench, str], Any]] = {
    "a receipt": lambda b, site: b.receive("5", site=site),
    "a correction": lambda b, site: b.adjust("-1", site=site),
    "a count": lambda b, site: b.count("9", site=site),
    "a pick": lambda b, site: b.pick("1", "web:1", site=site),
    "a shipment": lambda b, site: b.ship("1", "web:1", site=site),
    "a short pick": lambda b, site: b.short("1", "1", "web:1", site=site),
    "a return": lambda b, site: b.give_back("1", "web:1", site=site),
    "supply": lambda b, site: b.supply("5", "2026-12-01", site=site),
    "an order line": lambda b, site: b.order("1", site=site),
}


@pytest.mark.parametrize("what", EVENTS)
def test_what_waits_for_a_site_or_an_item_names_the_item(what: str) -> None:
    b = Bench()
    for_item = waiting(b, lambda b: EVENTS[what](b, "DC1"))
    assert (for_item.waits_for, for_item.items) == ("", ("SKU-1",))
    b.item()
    for_site = waiting(b, lambda b: EVENTS[what](b, "DC-1"))
    assert (for_site.waits_for, for_site.items) == ("site:DC-1", ("SKU-1",))


def test_what_waits_for_a_unit_and_the_erps_own_stock_names_the_item() -> None:
    b = Bench(Policy(sites={"EU1": SitePolicy(physical_owner="erp")}))
    assert waiting(b, lambda b: b.erp_balance("5", 1)).items == ("SKU-1",)
    b.item()
    assert waiting(b, lambda b: b.receive("1", uom="PAL")).items == ("SKU-1",)


def test_a_price_to_check_raises_no_doubt_about_stock() -> None:
    b = Bench()
    check = CheckPrice(
        **b.head(source="orders"), item="SKU-1", order_id="web:1", line=1, revision=1, price_list="STD",
        unit_price=Decimal(1), currency="USD", uom=None, day=date(2026, 11, 2),
    )  # fmt: skip
    assert waiting(b, lambda b: b.apply(check)).items == ()


@pytest.mark.parametrize("stage", ["order", "line"])
def test_a_warehouses_report_under_an_order_number_that_has_not_come_names_the_item_of_stock_only(stage: str) -> None:
    b = Bench()
    shipped = StockShipped(
        **b.head(), item="SKU-1", site="DC1", lot=None, qty_milli=1, uom=None, order_id="SO-9", line=1, shipment="S-1"
    )
    fields = {name: getattr(shipped, name) for name in LineShipped.__struct_fields__ if hasattr(shipped, name)}
    line = LineShipped(**fields, carrier="UPS", tracking="1Z")
    for event, items in ((shipped, ("SKU-1",)), (line, ())):
        body: dict[str, Any] = {"order_no": "SO-9", "type": type(event).__name__, "body": written(event)}
        rule: Any
        if stage == "order":
            rule = partial(documents.rules[WarehouseReported], in_memory(DocumentsTables), WarehouseReported(**b.head(), **body))
        else:
            told = ErpNumberReported(**b.head(), order_id="web:1", **body)
            rule = partial(orders_fold().rules[ErpNumberReported], in_memory(OrderTables), told)
        with pytest.raises(NotYet) as found:
            list(rule())
        assert found.value.items == items


def test_what_waits_marks_the_item_without_an_exception_of_its_own_and_leaves_that_of_dead_letters() -> None:
    """A thousand items that wait for one site are one exception: the site's."""
    b = Bench()
    b.item()
    waits: dict[str, Any] = {"item": "SKU-1", "dead_letter_id": "waiting:promise/0:site:DC-1"}
    b.apply(ItemSuspected(**b.head(source="engine"), **waits, reason="an event of it waits for site DC-1", is_waiting=True))
    assert b.atp().suspects == ["waiting:promise/0:site:DC-1"]
    assert b.open_exceptions() == set()
    b.apply(ItemSuspected(**b.head(source="engine"), item="SKU-1", dead_letter_id="raw.wms/0/1", reason="?"))
    assert b.open_exceptions() == {"suspect:SKU-1"}
    b.apply(SuspicionCleared(**b.head(source="engine"), item="SKU-1", dead_letter_id="raw.wms/0/1"))
    assert b.open_exceptions() == set()
    assert b.atp().suspects == ["waiting:promise/0:site:DC-1"]
    b.apply(SuspicionCleared(**b.head(source="engine"), **waits))
    assert b.atp().suspects == []
