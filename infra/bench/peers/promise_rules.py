"""Workload (b) for the peers written in Python: warehouse messages to positions, day nets and what can be promised.

Quantities are thousandths. A position is a dict: sites by name, each with `usable`, `staged` and `days` (ISO date: what is
expected in and wanted out).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Protocol

HORIZON_DAYS = 30
Fact = dict[str, Any]


class Lines(Protocol):
    """Open order and supply lines of an item."""

    def get(self, key: str) -> Any:
        """The line, or none."""
        ...

    def set(self, key: str, value: Any) -> None:
        """Keep the line."""
        ...

    def delete(self, key: str) -> None:
        """The line is done."""
        ...


def translate(message: dict[str, Any]) -> list[Fact]:
    """What a message means to each item it names."""
    today = message["occurred_at"][:10]
    if message["type"] == "shipment.confirmed":
        return [_fact(message, line["item"], line["qty"], line["line"], today) for line in message["lines"]]
    return [_fact(message, message["item"], message["qty"], message.get("line"), today)]


def _fact(message: dict[str, Any], item: str, qty: str, line: Any, today: str) -> Fact:
    document = message.get("order") or message.get("po")
    if reference := message.get("reference"):
        document, line = reference["po"], reference["line"]
    return {
        "type": message["type"],
        "item": item,
        "site": message["site"],
        "qty": int(Decimal(qty) * 1000),
        "document": f"{document}|{line}" if document else None,
        "day": message.get("requested_date") or message.get("expected_date"),
        "today": today,
        "t": message["sent_at"],
    }


def update(fact: Fact, position: dict[str, Any], lines: Lines) -> dict[str, Any]:
    """Change an item's position by a fact. Returns the output."""
    site = position.setdefault(fact["site"], {"usable": 0, "staged": 0, "days": {}})
    _RULES[fact["type"]](fact, site, lines)
    sites = []
    for name, held in position.items():
        sites.append({"site": name, "atp": lookahead(held, fact["today"]), **held})
    return {"item": fact["item"], "atp": sum(s["atp"] for s in sites), "sites": sites, "t": fact["t"]}


def lookahead(site: dict[str, Any], today: str) -> int:
    """The least stock expected on any of the next days. Supply that is past due is not expected."""
    beyond = (date.fromisoformat(today) + timedelta(days=HORIZON_DAYS)).isoformat()
    running: int = site["usable"]
    low: int | None = None
    at = today
    for day, (supply, demand) in sorted(site["days"].items()):
        if day >= beyond:
            break
        if day > at:
            low = running if low is None or running < low else low
        at = max(at, day)
        running += (supply if day >= today else 0) - demand
    return running if low is None or running < low else low


def _received(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    site["usable"] += fact["qty"]
    if fact["document"]:
        _take(fact, site, lines, 0)


def _adjusted(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    del lines
    site["usable"] += fact["qty"]


def _picked(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    site["usable"] -= fact["qty"]
    site["staged"] += fact["qty"]
    _take(fact, site, lines, 1)


def _shipped(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    del lines
    site["staged"] -= fact["qty"]


def _ordered(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    _open(fact, site, lines, 1)


def _supplied(fact: Fact, site: dict[str, Any], lines: Lines) -> None:
    _open(fact, site, lines, 0)


def _open(fact: Fact, site: dict[str, Any], lines: Lines, what: int) -> None:
    lines.set(fact["document"], {"day": fact["day"], "open": fact["qty"]})
    site["days"].setdefault(fact["day"], [0, 0])[what] += fact["qty"]


def _take(fact: Fact, site: dict[str, Any], lines: Lines, what: int) -> None:
    line = lines.get(fact["document"])
    day = site["days"][line["day"]]
    day[what] -= fact["qty"]
    if not any(day):
        del site["days"][line["day"]]
    line["open"] -= fact["qty"]
    if line["open"]:
        lines.set(fact["document"], line)
    else:
        lines.delete(fact["document"])


_RULES: dict[str, Callable[[Fact, dict[str, Any], Lines], None]] = {
    "stock.received": _received,
    "stock.adjusted": _adjusted,
    "pick.completed": _picked,
    "shipment.confirmed": _shipped,
    "order.line": _ordered,
    "supply.line": _supplied,
}
