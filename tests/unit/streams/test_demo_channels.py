"""The demonstration's orders: the same ones from the same seed, and each channel's words mean what was wished."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.channels.formats import CSV, MARKETPLACE, ORDERS, WEBSHOP, headers_of, translate
from connectors.channels.webshop.signature import HEADER, is_signed
from connectors.wms.translate import translate as translate_wms
from infra.demo import garbage
from infra.demo.channels import wishes
from infra.demo.doors import ChannelEntry, marketplace_order, shop_order
from infra.demo.world import DemoItem, DemoOrder, DemoPlan, DemoPrice
from schemas.errors import BadMessage
from schemas.orders import OrderPlaced
from schemas.records import Record

NOW_MS = 1_793_620_800_000
ITEMS = [
    DemoItem("SKU-1", "EA", pack_uom="BX", pack_milli=12_000),
    DemoItem("SKU-2", "KG", is_divisible=True),
    DemoItem("SKU-3", "EA"),
]
PLAN = DemoPlan(
    seed=3,
    items=ITEMS,
    sites=["DC1"],
    customers={"C-1": "STD", "C-2": "GOLD"},
    prices={("STD", "SKU-1"): DemoPrice(Decimal("12.5"), "USD"), ("GOLD", "SKU-2"): DemoPrice(Decimal("3"), "EUR")},
    orders=200,
    garbage=28,
)


def made(plan: DemoPlan = PLAN) -> list[DemoOrder]:
    return list(wishes(plan, lambda: NOW_MS))


def event(body: Any, form: str, channel: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    (found,) = translate(Record(f"raw.channel.{channel}", 0, 7, NOW_MS, None, data, headers_of(form))).events
    return found


def said(order: OrderPlaced) -> tuple[Any, ...]:
    policy = order.allow_partial, order.allow_backorder, order.allow_substitute
    return order.order_id, order.customer, order.requested_on, order.occurred_at_ms, policy, order.lines


def test_the_same_seed_wishes_the_same() -> None:
    """And another one other things."""
    assert made() == made()
    assert made() != made(DemoPlan(**{name: getattr(PLAN, name) for name in ("items", "sites", "customers")}, seed=4))


def test_changes_come_after_their_orders() -> None:
    """All orders are there once, from every channel; a change names an order that came before."""
    seen: set[str] = set()
    for request in made():
        reference = request.body["external_ref"]
        assert (request.kind == "order") == (reference not in seen)
        seen.add(reference)
    assert len(seen) == PLAN.orders
    assert set(Counter(request.channel for request in made())) == set(PLAN.channels)
    assert {request.kind for request in made()} == {"order", "cancel", "cancel_line", "set_qty"}


def test_every_channel_says_what_was_wished() -> None:
    """Each format, translated, is the order as crossdock's own words have it."""
    for request in made():
        if request.kind != "order":
            assert event(request.body, ORDERS, request.channel)
            continue
        wished = said(event(request.body, ORDERS, request.channel))
        assert said(event(shop_order(request.body), WEBSHOP, request.channel)) == wished
        market = event(marketplace_order(request.body), MARKETPLACE, request.channel)
        assert (market.order_id, market.lines, market.allow_partial) == (wished[0], wished[-1], wished[4][0])


class World:
    """What the doors lead to: requests are kept, and answered as told."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[httpx.Request] = []
        self._statuses = list(statuses)

    def doors(self, folder: Path) -> ChannelEntry:
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        return ChannelEntry(client, "http://api", "http://market", b"a secret", folder)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self._statuses.pop(0) if self._statuses else 202)


def of(channel: str, kind: str = "order") -> DemoOrder:
    return next(request for request in made() if (request.channel, request.kind) == (channel, kind))


def test_each_channel_has_its_own_door(tmp_path: Path) -> None:
    """The shop signs, the marketplace is told, the CRM uses the API, EDI drops files; second thoughts go to the intake."""
    world = World()
    doors = world.doors(tmp_path)
    for channel in ("web", "marketplace", "crm", "edi"):
        doors.bring(of(channel))
    doors.bring(of("marketplace", "cancel"))
    doors.bring(of("web", "set_qty"))
    paths = [request.url.path for request in world.requests]
    number = of("marketplace", "cancel").body["external_ref"]
    assert paths == ["/v1/webhooks/web", "/orders", "/v1/orders", f"/orders/{number}/cancel", "/v1/ingest/web"]
    assert is_signed(b"a secret", world.requests[0].content, world.requests[0].headers[HEADER])
    (file,) = tmp_path.glob("*.csv")  # a change must not overtake the file its order is in
    assert said(event(file.read_bytes(), CSV, "edi")) == said(event(of("edi").body, ORDERS, "edi"))


def test_what_is_not_taken_now_is_sent_again(tmp_path: Path) -> None:
    """A 503 is not an answer; a 4xx is a mistake of ours, and is told."""
    world = World(503, 202, 422)
    doors = world.doors(tmp_path)
    doors.bring(of("crm"))
    assert len(world.requests) == 2
    with pytest.raises(httpx.HTTPStatusError):
        doors.bring(of("crm"))


def test_garbage_is_garbage() -> None:
    """Each kind is refused by the translator it is sent to, with a sentence."""
    found = garbage.some(PLAN, NOW_MS)
    assert len(found) == PLAN.garbage
    for source, kind, body in found:
        topic = "raw.wms" if source == "wms" else f"raw.channel.{source}"
        record = Record(topic, 0, 1, NOW_MS, None, body)
        with pytest.raises(BadMessage) as error:
            (translate_wms if source == "wms" else translate)(record)
        assert error.value.reason, kind
