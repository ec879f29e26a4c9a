"""What the sandbox's tests share: master data, short ways to ask, and crossdock's own reading of what the systems tell."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import connectors.erp.translate
import connectors.wms.translate
from connectors.erp.topics import raw_topic
from infra.sandbox.erp import SandboxErp
from infra.sandbox.master import Master
from infra.sandbox.values import HttpAnswer
from infra.sandbox.wms import SandboxWms
from schemas.records import Record

NOW = 1_795_423_454_630
DAY_MS = 86_400_000
MASTER = Master(
    items={"A": "EA", "B": "EA", "C": "KG"},
    customers={"C-17": "STD"},
    sites=frozenset({"DC1", "DC2"}),
    places=tuple((site, item) for site in ("DC1", "DC2") for item in "ABC"),
    prices={("STD", "A"): "12.5000"},
)


def order(*lines: tuple[int, str, str], revision: int = 1, customer: str = "C-17") -> dict[str, Any]:
    """The body of `PUT /orders`: lines of number, item, quantity."""
    wanted = [
        {"line": n, "item": item, "site": "DC1", "qty": qty, "unit_price": "2.5", "currency": "USD"} for n, item, qty in lines
    ]
    return {"revision": revision, "customer": customer, "requested_date": "2026-12-05", "priority": 5, "lines": wanted}


def bill(*lines: tuple[int, str]) -> dict[str, Any]:
    """The body of `POST /orders/<no>/invoices`."""
    return {"lines": [{"line": n, "qty": qty} for n, qty in lines]}


def release(*lines: tuple[int, str, str], order_id: str = "web:W1", substitute: bool = False) -> dict[str, Any]:
    """The body of `POST /releases`."""
    wanted = [{"line": n, "item": item, "site": "DC1", "qty": qty, "uom": MASTER.items.get(item, "EA")} for n, item, qty in lines]
    return {
        "order": order_id,
        "customer": "C-17",
        "priority": 5,
        "requested_date": None,
        "substitute": substitute,
        "lines": wanted,
    }


def withdrawal(*lines: tuple[int, str], order_id: str = "web:W1") -> dict[str, Any]:
    """The body of `POST /withdrawals`."""
    return {"order": order_id, "lines": [{"line": n, "site": "DC1", "qty": qty} for n, qty in lines]}


def withdrawn(answer: HttpAnswer) -> list[str]:
    """The quantities a withdrawal gave back."""
    assert answer.status == 200
    return [line["qty"] for line in answer.body["withdrawn"]]


def worked(core: SandboxErp | SandboxWms, until: int = NOW + DAY_MS) -> list[dict[str, Any]]:
    """What a core tells while it works on, each thing at its time."""
    messages = []
    while (due := core.next_due()) is not None and due <= until:
        messages += core.advance(due)
    return messages


def told(wms: SandboxWms, until: int = NOW + DAY_MS) -> list[tuple[Any, ...]]:
    """What the WMS tells by then, in short."""
    return [(m["type"], m.get("line"), m.get("qty")) for m in worked(wms, until)]


def book(wms: SandboxWms, order_id: str = "web:W1") -> dict[str, Decimal]:
    """What happened to an order, all lines together, as far as it did."""
    total: dict[str, Decimal] = {}
    for row in wms.state()["orders"][order_id]:
        for name in ("released", "withdrawn", "picked", "short", "substituted", "shipped"):
            total[name] = total.get(name, Decimal(0)) + Decimal(row[name])
    return {name: qty for name, qty in total.items() if qty}


def as_erp_event(message: dict[str, Any], at_ms: int = NOW) -> Any:
    """What crossdock makes of a message of the change feed. Raises `BadMessage` for one it would keep as a dead letter."""
    message = json.loads(json.dumps(message))
    topic = raw_topic(message["topic"]).name
    key, value = (json.dumps(message[part]).encode() for part in ("key", "value"))
    (event,) = connectors.erp.translate.translate(Record(topic, 0, 0, at_ms, key, value)).events
    return event


def as_wms_events(message: dict[str, Any], at_ms: int = NOW) -> list[Any]:
    """What crossdock makes of an event of the WMS. Raises `BadMessage` for one it would keep as a dead letter."""
    translation = connectors.wms.translate.translate(Record("raw.wms", 0, 0, at_ms, None, json.dumps(message).encode()))
    assert translation.feed is not None
    assert translation.feed.sequence == message["sequence"]
    return list(translation.events)
