"""A bench for promise rules: say what happens, look at the numbers. Tables are dicts, time is given."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import fields
from datetime import date
from typing import Any

from schemas import inventory as say
from schemas.base import Tick
from schemas.errors import AlreadyApplied, BadMessage, NotYet
from schemas.inventory import Atp, SiteAtp, Status
from schemas.operations import ExceptionCleared, ExceptionNoted, Reply
from schemas.orders import LineAnswered
from schemas.quantity import parse_milli, show
from streams.flows.promise import promise_fold
from tables.common.policy import Policy
from tables.common.row_version import Version
from tables.common.table import DictTable, in_memory
from tables.inventory.atp_record import publish_atp
from tables.inventory.state import PromiseTables, Site

SITES = ("DC1", "DC2", "DC3", "EU1")
NOON = 1_793_620_800_000  # 2026-11-02T12:00:00Z


class Bench:
    """One item's world. Quantities are written as people write them ("24"), instants as minutes from noon."""

    def __init__(self, policy: Policy | None = None, sites: Iterable[str] = SITES) -> None:
        self.policy = policy or Policy()
        self.fold = promise_fold(self.policy)
        self.t = in_memory(PromiseTables)
        for site in sites:
            self.t.sites[(site,)] = Site(Version(), False, site, "UTC", {})
        self.minute = 0
        self.number = 0
        self.said: list[Any] = []
        self.offset = 0
        self.answer: Exception | None = None

    def head(self, at: int | None = None, event_id: str | None = None, source: str = "wms") -> dict[str, Any]:
        self.number += 1
        return {
            "event_id": event_id or f"E-{self.number}",
            "source": source,
            "source_position": self.number,
            "occurred_at_ms": NOON + (self.minute if at is None else at) * 60_000,
            "recorded_at_ms": NOON + self.minute * 60_000,
            "trace_id": f"raw.wms/0/{self.number}",
        }

    def apply(self, event: Any) -> str:
        """What the engine does with one event: its fate, and nothing changed unless it is applied."""
        kept = {f.name: copy(getattr(self.t, f.name)) for f in fields(self.t)}
        try:
            said = list(self.fold.rules[type(event)](self.t, event))
        except (AlreadyApplied, BadMessage, NotYet) as answer:
            self.answer = answer
            for name, table in kept.items():
                setattr(self.t, name, table)
            return type(answer).__name__
        self.said += said
        self.offset += 1
        own = [e for e in said if isinstance(e, say.ReviewBackorders | say.ItemTextRequested | say.ItemTextProvided)]
        for follow_up in own:
            self.apply(follow_up)
        return "applied"

    # --- facts ---

    def item(self, item: str = "SKU-1", **changed: Any) -> str:
        facts: dict[str, Any] = {
            "description": "A thing",
            "description_is_unavailable": False,
            "base_uom": "EA",
            "pack_uom": "BX",
            "pack_milli": 12_000,
            "lot_tracked": False,
            "shelf_life_days": None,
            "status": "A",
            "safety_stock_milli": 0,
            "hazmat_class": None,
            "updated_at": "2026-11-01T00:00:00",
            "renumbered_from": None,
        }
        head = self.head(source="erp")
        row: dict[str, Any] = {
            "commit_position": self.number,
            "is_base": False,
            "is_read": False,
            "is_deleted": False,
            "extra": {},
        }
        return self.apply(say.ItemChanged(item=item, **head, **(row | facts | changed)))

    def _stock(self, kind: Any, qty: str, item: str, site: str, at: int | None, event_id: str | None, **more: Any) -> str:
        lot = more.pop("lot", None)
        uom = more.pop("uom", None)
        return self.apply(
            kind(**self.head(at, event_id), item=item, site=site, lot=lot, qty_milli=parse_milli(qty), uom=uom, **more)
        )

    def receive(
        self, qty: str, item: str = "SKU-1", site: str = "DC1", *, at: int | None = None, event_id: str | None = None, **more: Any
    ) -> str:
        more = {"status": Status.USABLE, "expires_on": None, "document": None, "document_line": None} | more
        return self._stock(say.StockReceived, qty, item, site, at, event_id, **more)

    def adjust(
        self, qty: str, item: str = "SKU-1", site: str = "DC1", *, at: int | None = None, event_id: str | None = None
    ) -> str:
        return self._stock(say.StockAdjusted, qty, item, site, at, event_id, status=Status.USABLE, reason="cycle count")

    def count(
        self, qty: str, item: str = "SKU-1", site: str = "DC1", *, at: int | None = None, event_id: str | None = None, **more: Any
    ) -> str:
        return self._stock(say.StockCounted, qty, item, site, at, event_id, **({"status": Status.USABLE} | more))

    def pick(
        self, qty: str, order: str, line: int = 1, item: str = "SKU-1", site: str = "DC1", *, at: int | None = None, **more: Any
    ) -> str:
        more = {"substitute_for": None} | more
        return self._stock(say.StockPicked, qty, item, site, at, more.pop("event_id", None), order_id=order, line=line, **more)

    def ship(
        self, qty: str, order: str, line: int = 1, item: str = "SKU-1", site: str = "DC1", *, at: int | None = None, **more: Any
    ) -> str:
        more = {"shipment": f"S-{self.number}", "event_id": None} | more
        return self._stock(say.StockShipped, qty, item, site, at, more.pop("event_id"), order_id=order, line=line, **more)

    def short(self, qty: str, short: str, order: str, line: int = 1, item: str = "SKU-1", site: str = "DC1") -> str:
        return self._stock(
            say.PickShorted, qty, item, site, None, None, order_id=order, line=line, short_milli=parse_milli(short)
        )

    def give_back(self, qty: str, order: str, line: int = 1, item: str = "SKU-1", site: str = "DC1", **more: Any) -> str:
        return self._stock(say.StockReturned, qty, item, site, None, None, order_id=order, line=line, **more)

    def erp_balance(self, qty: str, commit: int, item: str = "SKU-1", site: str = "EU1", **more: bool) -> str:
        row: dict[str, Any] = {"is_base": False, "is_read": False, "is_deleted": False, "extra": {}} | more
        figures: dict[str, Any] = {"on_hand_milli": parse_milli(qty), "allocated_milli": 0, "on_order_milli": 0}
        head = self.head(source="erp") | {"source_position": commit}
        event = say.ErpBalanceChanged(
            **head, **row, **figures, row_version=commit, commit_position=commit, item=item, site=site, updated_at=""
        )
        return self.apply(event)

    def supply(
        self, qty: str, day: str | None, document: str = "PO-1", *, revision: int = 1, site: str = "DC1", **more: Any
    ) -> str:
        facts: dict[str, Any] = {"received_milli": 0, "is_open": True, "supplier": "Acme", "line": 1, "item": "SKU-1"} | more
        expected = None if day is None else date.fromisoformat(day)
        head = self.head(source="documents")
        return self.apply(
            say.SupplyChanged(
                **head,
                document=document,
                revision=revision,
                site=site,
                ordered_milli=parse_milli(qty),
                expected_on=expected,
                **facts,
            )
        )

    def order(self, qty: str, order: str = "web:1", line: int = 1, *, revision: int = 1, **more: Any) -> LineAnswered | str:
        facts: dict[str, Any] = {
            "item": "SKU-1",
            "uom": None,
            "site": None,
            "requested_on": None,
            "channel": order.split(":", maxsplit=1)[0],
            "customer": "C-1",
            "priority": 5,
            "placed_at_ms": NOON + self.number,
            "is_firm": False,
            "allow_partial": True,
            "allow_backorder": True,
            "shipped_milli": 0,
            "commit_position": 0,
            "instructed": [],
        }
        request = say.RequestAllocation(
            **self.head(source="orders"),
            order_id=order,
            line=line,
            revision=revision,
            wanted_milli=parse_milli(qty),
            **(facts | more),
        )
        fate = self.apply(request)
        return self.last(LineAnswered, order_id=order, line=line) if fate == "applied" else fate

    def reserve(
        self, qty: str, key: str = "R-1", *, channel: str = "web", ttl_minutes: int = 15, item: str = "SKU-1", **more: Any
    ) -> Reply:
        facts = {"site": None, "uom": None, "body_hash": f"{qty}{channel}"} | more
        command = say.ReserveStock(
            **self.head(source="api"),
            item=item,
            request_id=key,
            reservation_id=f"{item}:{key}",
            channel=channel,
            qty_milli=parse_milli(qty),
            ttl_ms=ttl_minutes * 60_000,
            **facts,
        )
        self.apply(command)
        reply: Reply = self.last(Reply, request_id=key)
        return reply

    def release(self, key: str, request: str, item: str = "SKU-1") -> Reply:
        command = say.ReleaseReservation(**self.head(source="api"), item=item, request_id=request, reservation_id=f"{item}:{key}")
        self.apply(command)
        reply: Reply = self.last(Reply, request_id=request)
        return reply

    def pass_minutes(self, minutes: int) -> None:
        self.minute += minutes
        self.apply(Tick(**self.head(source="clock")))

    # --- looking ---

    def last(self, kind: Any, **having: Any) -> Any:
        return next(e for e in reversed(self.said) if isinstance(e, kind) and all(getattr(e, k) == v for k, v in having.items()))

    def open_exceptions(self) -> set[str]:
        found: set[str] = set()
        for e in self.said:
            if isinstance(e, ExceptionNoted):
                found.add(e.fingerprint)
            elif isinstance(e, ExceptionCleared):
                found.discard(e.fingerprint)
        return found

    def atp(self, item: str = "SKU-1") -> Atp:
        record = publish_atp(self.policy, self.t, item, self.offset)
        assert record is not None
        return record

    def site(self, site: str = "DC1", item: str = "SKU-1") -> SiteAtp:
        return next(s for s in self.atp(item).sites if s.site == site)

    def available(self, item: str = "SKU-1") -> str:
        return show(self.atp(item).promise_milli)

    def on_hand(self, site: str = "DC1", item: str = "SKU-1") -> str:
        return show(self.site(site, item).usable_milli)


def shown(parts: Iterable[Any]) -> list[tuple[str, str]]:
    """Allocated parts as (site, quantity)."""
    return [(part.site, show(part.qty_milli)) for part in parts]


__all__ = ["NOON", "Bench", "DictTable", "shown"]
