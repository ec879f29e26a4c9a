"""A small ERP database for property tests: changes of rows, and a feed that brings each key's in order, but nothing else."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from schemas.base import ErpRow
from schemas.customers import CustomerChanged
from schemas.documents import (
    InvoiceLineRow,
    InvoiceRow,
    PurchaseOrderLineRow,
    PurchaseOrderRow,
    SalesOrderLineRow,
    SalesOrderRow,
)
from schemas.errors import AlreadyApplied
from schemas.frozen import fields
from schemas.inventory import ErpBalanceChanged, ItemChanged, PriceChanged, SiteChanged

BLANKS: dict[Any, Any] = {str: "", int: 0, bool: False, Decimal: Decimal(0), dict[str, str]: {}}
DEFAULTS: dict[type[ErpRow], dict[str, Any]] = {
    SalesOrderRow: {"created_at": "2026-11-23T08:43:51.401678Z", "priority": 5, "status": "OPEN"},
    InvoiceRow: {"created_at": "2026-11-23T08:43:51.401678Z", "status": "POSTED"},
    PurchaseOrderRow: {"status": "OPEN"},
    SalesOrderLineRow: {"line_status": "O"},
    PurchaseOrderLineRow: {"line_status": "O", "expected_on": date(2026, 12, 1)},
    InvoiceLineRow: {},
    ItemChanged: {"base_uom": "EA", "status": "A"},
}
KEYS: dict[type[ErpRow], tuple[str, ...]] = {
    ItemChanged: ("item",),
    PriceChanged: ("item", "price_list", "currency", "valid_from"),
    ErpBalanceChanged: ("item", "site"),
    SiteChanged: ("site",),
    CustomerChanged: ("customer",),
    SalesOrderRow: ("order_no",),
    SalesOrderLineRow: ("order_no", "line_no"),
    PurchaseOrderRow: ("po_no",),
    PurchaseOrderLineRow: ("po_no", "line_no"),
    InvoiceRow: ("invoice_no",),
    InvoiceLineRow: ("invoice_no", "line_no"),
}

Key = tuple[type[ErpRow], tuple[Any, ...]]


def row_event(kind: type[ErpRow], lsn: int, op: str = "u", *, commit: int | None = None, **columns: Any) -> Any:
    """An event of a row's change; columns not given are blank."""
    blank = {f.name: BLANKS.get(f.type) for f in fields(kind)}
    key = "/".join(str(columns[name]) for name in KEYS[kind])
    common: dict[str, Any] = {
        "event_id": f"erp:{kind.__name__}:{key}:{lsn}:{op}",
        "source": "erp",
        "source_position": lsn,
        "commit_position": lsn - 1 if commit is None else commit,
        "occurred_at_ms": lsn,
        "recorded_at_ms": lsn,
        "trace_id": f"raw/0/{lsn}",
        "is_base": op == "r",
        "is_read": op in ("r", "i"),
        "is_deleted": op == "d",
    }
    values: dict[str, Any] = blank | DEFAULTS.get(kind, {}) | columns | common
    return kind(**values)


class World:
    """The database and what its feed says, key by key."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lsn = 100
        self.rows: dict[Key, dict[str, Any]] = {}
        self.feed: dict[Key, list[Any]] = defaultdict(list)

    def put(self, kind: type[ErpRow], op: str | None = None, *, tick: bool = True, **columns: Any) -> None:
        """Insert or update a row; a column that is not named keeps its value."""
        at = (kind, tuple(columns[name] for name in KEYS[kind]))
        self.lsn += tick
        row = self.rows.get(at, {}) | {
            n: v for n, v in columns.items() if n not in ("renumbered_from", "description_is_unavailable")
        }
        op = op or ("u" if at in self.rows else "c")
        self.rows[at] = row
        sent = row | columns | ({"description": None} if columns.get("description_is_unavailable") else {})
        self.feed[at].append(row_event(kind, self.lsn, op=op, **sent))

    def read(self, kind: type[ErpRow], *key: Any) -> None:
        """An incremental snapshot reads the row."""
        at = (kind, key)
        if at in self.rows:
            self.lsn += 1
            self.feed[at].append(row_event(kind, self.lsn, op="i", **self.rows[at]))

    def delete(self, kind: type[ErpRow], *key: Any, tick: bool = True) -> None:
        """Delete a row."""
        at = (kind, key)
        if at in self.rows:
            self.lsn += tick
            del self.rows[at]
            self.feed[at].append(row_event(kind, self.lsn, op="d", **dict(zip(KEYS[kind], key, strict=True))))


Apply = Callable[[Any], list[Any]]


def deliver(world: World, apply: Apply, partition: Callable[[Any], str], random: Random) -> None:
    """Bring the feed to the rules: keys in any interleaving, with replays; notes the rules make queue up behind it."""
    sources = {at: deque(_with_replays(events, random)) for at, events in world.feed.items()}
    inboxes: dict[str, deque[Any]] = defaultdict(deque)
    lazy = random.random()
    while sources or any(inboxes.values()):
        waiting = [name for name, events in inboxes.items() if events]
        if sources and (not waiting or random.random() < lazy):
            at = random.choice(list(sources))
            event = sources[at].popleft()
            if not sources[at]:
                del sources[at]
            inboxes[partition(event)].append(event)
            continue
        event = inboxes[random.choice(waiting)].popleft()
        try:
            caused = apply(event)
        except AlreadyApplied:
            continue
        for note in caused:
            inboxes[partition(note)].append(note)


def _with_replays(events: list[Any], random: Random) -> list[Any]:
    """The feed goes back to an earlier point now and then, as after a crash of the connector."""
    found: list[Any] = []
    at = 0
    while at < len(events):
        step = random.randrange(1, len(events) + 1)
        found += events[at : at + step]
        at += step
        if random.random() < 0.4:
            at = random.randrange(0, min(at, len(events)) + 1)
            if len(found) > 4 * len(events):
                found += events[at:]
                break
    return found
