"""Rows as the live page shows them: JSON with exact numbers and instants people can read, and no more than is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.api.console.ports import Changes, DemoAction, ItemPage, Numbers
from connectors.api.render import instant, number, plain
from schemas.inventory import Atp
from schemas.operations import ExceptionRow
from schemas.orders import OrderStatus

STAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "new": ("New", ("received", "open")),
    "held": ("On hold", ("held",)),
    "waiting": ("Waiting for stock", ("backordered", "partly_allocated")),
    "allocated": ("Allocated", ("allocated",)),
    "warehouse": ("In the warehouse", ("released", "picking", "staged")),
    "shipped": ("Shipped", ("partly_shipped", "shipped")),
    "invoiced": ("Invoiced", ("invoiced",)),
    "ended": ("Ended otherwise", ("cancelled", "refused", "returned")),
}
"""The board's columns: title and the statuses in each. Every status has one (a test holds that)."""
STAGE_OF = {status: stage for stage, (_, statuses) in STAGES.items() for status in statuses}


def card(row: OrderStatus) -> dict[str, Any]:
    """An order on the board. An unknown status goes where somebody will see it."""
    return {
        "id": row.order_id,
        "stage": STAGE_OF.get(row.status, "new"),
        "status": row.status,
        "channel": row.channel,
        "ref": row.external_ref or ", ".join(row.erp_order_nos),
        "customer": row.customer,
        "lines": len(row.lines),
        "shipped_lines": sum(1 for line in row.lines if line.state in {"shipped", "delivered", "returned"}),
        "holds": row.holds,
        "version": row.version,
    }


def stages(counts: Mapping[str, int]) -> dict[str, int]:
    """How many orders are in each column."""
    found = dict.fromkeys(STAGES, 0)
    for status, count in counts.items():
        found[STAGE_OF.get(status, "new")] += count
    return found


def item(row: Atp, description: str | None = None) -> dict[str, Any]:
    """An item in the list. Without a description, the page keeps the one it has."""
    shown = {
        "item": row.item,
        "uom": row.uom,
        "version": row.version,
        "promise": number(row.promise_milli),
        "atp": number(row.atp_milli),
        "on_hand": number(sum(site.usable_milli for site in row.sites)),
        "demand": number(sum(site.demand_milli + site.reserved_milli for site in row.sites)),
        "backordered": number(sum(site.backordered_milli for site in row.sites)),
        "warnings": warnings(row),
    }
    return shown if description is None else shown | {"description": description}


def warnings(row: Atp) -> list[str]:
    """What a person should know about the number. Suspect: a message about it was not understood, or waits."""
    found = []
    if row.suspects:
        found.append("suspect")
    if any(site.atp_milli + site.safety_milli + site.kept_milli < 0 and site.days for site in row.sites):
        found.append("oversold")
    if any(site.usable_milli < 0 for site in row.sites):
        found.append("negative")
    if row.item_status == "H":
        found.append("on hold")
    return found


def items(page: ItemPage) -> dict[str, Any]:
    """A page of items."""
    return {"items": [item(row, text) for row, text in page.rows], "total": page.total, "next": page.next}


def exception(row: ExceptionRow) -> dict[str, Any]:
    """An exception with the instant its time is up."""
    shown: dict[str, Any] = plain(row)
    return shown | {"due_at": instant(row.first_at_ms + row.sla_ms)}


def numbers(row: Numbers, actions: Sequence[DemoAction]) -> dict[str, Any]:
    """The pulse."""
    shown: dict[str, Any] = plain(row)
    endpoints = [plain(e) | {"oldest": instant(e.oldest_ms), "retry_at": instant(e.retry_at_ms)} for e in row.endpoints]
    feeds = [plain(f) | {"as_of": instant(f.as_of_ms)} for f in row.feeds]
    return shown | {"stages": stages(row.orders), "feeds": feeds, "endpoints": endpoints, "actions": plain(actions)}


def changes(found: Changes) -> dict[str, Any]:
    """What changed, as the page takes it in."""
    return {
        "orders": [card(row) for row in found.orders],
        "items": [item(row) for row in found.items],
        "exceptions": [exception(row) for row in found.exceptions],
        "milestones": plain(found.milestones),
        "is_cut": found.is_cut,
    }
