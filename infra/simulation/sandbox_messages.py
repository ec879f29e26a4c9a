"""What the sandbox's ERP and WMS tell, read for the oracle: their own bytes, and the facts they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from infra.simulation.erp import KEYS
from infra.simulation.facts import ErpFact, Execution, RawMessage, WmsFact

Move = tuple[str, str, str, str, Decimal]
AMOUNTS = ("qty", "qty_ordered", "qty_allocated", "qty_shipped", "qty_invoiced")


def by_erp(told: Mapping[str, Any]) -> RawMessage:
    """A change of one row, as Debezium has it."""
    table, value = str(told["topic"]).rpartition(".")[2], told["value"]
    row = {name: Decimal(part) if name in AMOUNTS else part for name, part in value["after"].items()}
    source = value["source"]
    fact = ErpFact(table, tuple(row[name] for name in KEYS[table]), row, source["lsn"], source["ts_ms"])
    return RawMessage(f"raw.erp.{table}", _json(told["key"]), _json(value), (), fact, "applied")


def by_wms(told: Mapping[str, Any]) -> RawMessage:
    """An event of the warehouse."""
    kind, site = told["type"], told["site"]
    moves, count, done = _meaning(kind, site, told)
    at_ms = int(datetime.fromisoformat(told["occurred_at"]).timestamp() * 1000)
    fact = WmsFact(told["event_id"], told["sequence"], kind, at_ms, moves=moves, count=count, executions=done)
    return RawMessage("raw.wms", None, _json(told), (), fact, "applied")


def _meaning(
    kind: str, site: str, told: Mapping[str, Any]
) -> tuple[tuple[Move, ...], tuple[str, str, str, str, Decimal] | None, tuple[Execution, ...]]:
    if kind == "shipment.confirmed":
        lines = [(row["line"], row["item"], Decimal(row["qty"])) for row in told["lines"]]
        moves = tuple((item, site, "staged", "", -qty) for _, item, qty in lines)
        return moves, None, tuple(Execution(told["order"], line, item, qty) for line, item, qty in lines)
    item, qty = told["item"], Decimal(told["qty"])
    if kind == "stock.snapshot":
        return (), (item, site, "usable", "", qty), ()
    if kind == "stock.received":
        return ((item, site, "usable", "", qty),), None, ()
    order, line = told["order"], told["line"]
    if kind == "pick.substituted":
        other, by = told["substitute_item"], Decimal(told["substitute_qty"])
        swapped = Execution(order, line, item, qty, substitute_item=other, substitute_qty=by)
        return _picked(other, site, by, Decimal(0)), None, (swapped,)
    if kind == "return.received":
        return ((item, site, "quality", "", qty),), None, (Execution(order, line, item, qty),)
    if kind == "pick.released":
        return (), None, ()
    short = Decimal(told.get("qty_short", "0"))
    return _picked(item, site, qty, short), None, (Execution(order, line, item, qty, short=short),)


def _picked(item: str, site: str, qty: Decimal, short: Decimal) -> tuple[Move, ...]:
    return (item, site, "usable", "", -qty - short), (item, site, "staged", "", qty)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
