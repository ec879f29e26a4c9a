"""The demonstration's day while a person plays with its buttons."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from infra.demo import day as demo_day
from infra.demo.day import DemoDay


class Warehouse:
    """A sandbox whose warehouse may be away."""

    def __init__(self) -> None:
        self.is_down = True
        self.asked = 0
        self.received: list[tuple[str, str, str]] = []

    def receive(self, site: str, item: str, qty: str) -> None:
        """Goods in."""
        self.asked += 1
        if self.is_down:
            raise httpx.HTTPStatusError("503", request=httpx.Request("POST", "http://wms"), response=httpx.Response(503))
        self.received.append((site, item, qty))


def page(after: str | None, limit: int) -> list[Any]:
    """Two items of which something waits, and one of which nothing does."""
    rows = [("SKU-1", 3_000), ("SKU-2", 1_500), ("SKU-3", 0)]
    sites = [SimpleNamespace(item=n, sites=[SimpleNamespace(site="DC1", backordered_milli=qty)]) for n, qty in rows]
    return sites if after is None else []


def test_trucks_wait_for_the_warehouse_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is brought while its system is away, it is not asked for each truck, and all is brought once it is there."""
    monkeypatch.setattr(demo_day, "RESTOCKED", 1.0)
    monkeypatch.setattr(demo_day, "TRUCK_PAUSE_S", 3600.0)
    warehouse = Warehouse()
    app: Any = SimpleNamespace(published=SimpleNamespace(atp_page=page))
    sandbox: Any = warehouse
    doors: Any = None
    day = DemoDay(app, sandbox, doors, "", lambda: 0, lambda *_: None)
    day.restock(Random(1))
    assert (day.unload(), warehouse.asked) == (2, 1)
    warehouse.is_down = False
    assert day.unload() == 2, "it is not asked again at once"
    monkeypatch.setattr(day, "_unload_after", 0.0)
    assert day.unload() == 0
    assert warehouse.received == [("DC1", "SKU-1", "6"), ("DC1", "SKU-2", "3")]
