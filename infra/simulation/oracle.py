"""The independent oracle: it keeps plain lists of everything it was told and works every answer out again from the definitions.

It shares no code with `tables/`. It is slow on purpose: no sums are kept, nothing is ever updated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.simulation.facts import (
    ZERO,
    ChangeFact,
    ErpFact,
    Fact,
    HoldFact,
    OrderFact,
    ReleaseFact,
    WmsFact,
)
from infra.simulation.policies import POLICIES

OPEN_PO = ("OPEN", "PART")
OPEN_PO_LINE = ("O", "P")
T = TypeVar("T")
FIRST_DAY, LAST_DAY = date(1950, 1, 1), date(2150, 1, 1)  # beyond, a date means "unknown" or "never"
WINDOWS = {"Eastern Standard Time": "America/New_York"}
Balance = tuple[str, str, str, str]  # item, site, status, lot


def _calendar(name: str) -> tzinfo:
    """By the name an ERP has for it; UTC if nobody knows it."""
    name = name.strip()
    try:
        return ZoneInfo(WINDOWS.get(name, name))
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _until_told(answer: Callable[..., T]) -> Callable[..., T]:
    """The same question gets the same answer until something is told: it is not worked out again."""

    @wraps(answer)
    def ask(self: Oracle, *question: Any) -> T:
        key = (answer.__name__, *question)
        if key not in self._answers:
            self._answers[key] = answer(self, *question)
        found: T = self._answers[key]
        return found

    return ask


@dataclass(slots=True)
class Oracle:
    """Everything told, in the order it was delivered. `erp_sites`: where the ERP owns the physical stock.

    `late_days`: sites that expect past-due supply so many days from today; elsewhere it is not counted on.
    """

    erp_sites: frozenset[str] = frozenset()
    late_days: Mapping[str, int] = field(default_factory=dict)
    horizon_days: int = 30
    rows: list[ErpFact] = field(default_factory=list)
    warehouse: list[WmsFact] = field(default_factory=list)
    sales: list[OrderFact | ChangeFact] = field(default_factory=list)
    holds: list[HoldFact] = field(default_factory=list)
    releases: list[ReleaseFact] = field(default_factory=list)
    now_ms: int = 0
    _answers: dict[Any, Any] = field(default_factory=dict)

    # --- being told ----------------------------------------------------------------------------------------------------

    def tell(self, fact: Fact) -> str:
        """One delivered message. The answer is what must become of it: `applied` or `duplicate`."""
        self._answers.clear()
        if isinstance(fact, WmsFact):
            if any(fact.event_id == told.event_id for told in self.warehouse):
                return "duplicate"
            self.warehouse.append(fact)
        elif isinstance(fact, ErpFact):
            if fact in self.rows:
                return "duplicate"
            self.rows.append(fact)
        else:
            if fact in self.sales:
                return "duplicate"
            self.sales.append(fact)
        return "applied"

    def hold(self, fact: HoldFact | ReleaseFact) -> None:
        """A reservation was acknowledged, or given back."""
        if isinstance(fact, HoldFact):
            self.holds.append(fact)
        else:
            self.releases.append(fact)

    # --- the ERP's rows ------------------------------------------------------------------------------------------------

    @_until_told
    def table(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The ERP's rows as the newest news of each has them."""
        newest: dict[tuple[Any, ...], ErpFact] = {}
        emptied = max((fact.truth for fact in self.rows if fact.table == name and fact.key == ()), default=-1)
        for fact in self.rows:
            if fact.table == name and fact.truth > emptied and (fact.key not in newest or fact.truth > newest[fact.key].truth):
                newest[fact.key] = fact
        return {key: dict(fact.row) for key, fact in newest.items() if fact.row is not None}

    @_until_told
    def last_rows(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        """As `table`, with the rows that are gone as they last were."""
        newest: dict[tuple[Any, ...], ErpFact] = {}
        for fact in self.rows:
            if fact.table == name and fact.row is not None and fact.truth > getattr(newest.get(fact.key), "truth", -1):
                newest[fact.key] = fact
        return {key: dict(fact.row or {}) for key, fact in newest.items()}

    @_until_told
    def known_items(self) -> frozenset[str]:
        """Items the ERP has ever sent: what the warehouse says about any other has to wait."""
        return frozenset(fact.key[0] for fact in self.rows if fact.table == "item" and fact.row is not None)

    @_until_told
    def known_sites(self) -> frozenset[str]:
        """Sites the ERP has: what anybody says about any other has to wait."""
        return frozenset(key[0] for key in self.table("site"))

    @_until_told
    def waiting(self) -> frozenset[str]:
        """Events of the warehouse that name what the ERP has not sent: they are neither stock nor demand."""
        items, sites = self.known_items(), self.known_sites()
        found = set()
        for fact in self.warehouse:
            named = [key[:2] for key in (*fact.moves, fact.count) if key is not None]
            if fact.is_uncounted or any(item not in items or site not in sites for item, site in named):
                found.add(fact.event_id)
        return frozenset(found)

    @_until_told
    def applied(self) -> list[WmsFact]:
        """What the warehouse has said and is taken."""
        waiting = self.waiting()
        return [fact for fact in self.warehouse if fact.event_id not in waiting]

    # --- stock ---------------------------------------------------------------------------------------------------------

    @_until_told
    def balances(self) -> dict[Balance, Decimal]:
        """On hand by item, site, status and lot ("" for none): the latest count as of its instant, and what moved after it."""
        keys = {move[:4] for fact in self.applied() for move in fact.moves}
        keys |= {fact.count[:4] for fact in self.applied() if fact.count is not None}
        found = {key: self._on_hand(key) for key in keys if key[1] not in self.erp_sites}
        for (site, item), row in self.table("inventory_balance").items():
            if site in self.erp_sites:
                found[(item, site, "usable", "")] = row["on_hand"]
        known = self.known_items()
        return {key: qty for key, qty in found.items() if key[0] in known}

    def _on_hand(self, key: Balance) -> Decimal:
        counted, since = ZERO, (-1, -1)
        for fact in self.applied():
            if fact.count is not None and fact.count[:4] == key and (fact.at_ms, fact.sequence) > since:
                counted, since = fact.count[4], (fact.at_ms, fact.sequence)
        back = self.accepted_returns()
        later = [
            back.get(fact.event_id, m[4]) for fact in self.applied() if fact.at_ms > since[0] for m in fact.moves if m[:4] == key
        ]
        return counted + sum(later, ZERO)

    @_until_told
    def accepted_returns(self) -> dict[str, Decimal]:
        """How much of each return of an order's line is stock: no more than has left of it, in all and of the lot."""
        left: dict[tuple[str, int, str], dict[str, Decimal]] = {}
        for fact in self.warehouse:
            if fact.kind == "shipment.confirmed":
                for done, move in zip(fact.executions, fact.moves, strict=False):
                    lots = left.setdefault((done.order_id, done.line, done.item), {})
                    lots[move[3]] = lots.get(move[3], ZERO) - move[4]
        found: dict[str, Decimal] = {}
        came: dict[tuple[str, int, str], list[WmsFact]] = {}
        for fact in self.warehouse:
            if fact.kind == "return.received" and fact.executions:
                done = fact.executions[0]
                came.setdefault((done.order_id, done.line, done.item), []).append(fact)
        for key, facts in came.items():
            lots = left.get(key, {})
            rest, used = sum(lots.values(), ZERO), dict[str, Decimal]()
            for fact in sorted(facts, key=lambda f: (f.at_ms, f"wms:{f.event_id}")):
                _, _, _, lot, qty = fact.moves[0]
                most = rest if not lot else min(rest, lots.get(lot, ZERO) + lots.get("", ZERO) - used.get(lot, ZERO))
                taken = found[fact.event_id] = min(qty, most)
                rest, used[lot] = rest - taken, used.get(lot, ZERO) + taken
        return found

    @_until_told
    def on_hand(self, item: str, site: str, status: str) -> Decimal:
        """On hand of an item at a site in a status, all lots together."""
        return sum((qty for key, qty in self.balances().items() if key[:3] == (item, site, status)), ZERO)

    def refused(self) -> list[str]:
        """The items of facts nobody can apply, once for each such fact."""
        known = self.known_items()
        return [fact.refused_for for fact in self.applied() if fact.refused_for in known and fact.refused_for is not None]

    # --- supply --------------------------------------------------------------------------------------------------------

    @_until_told
    def supply(self) -> dict[tuple[str, int], tuple[str, str, date | None, Decimal]]:
        """Open supply by purchase line: item, site, expected day, units still to come."""
        headers, sites = self.table("purchase_order"), self.known_sites()
        found = {}
        for (po_no, line_no), row in self.table("purchase_order_line").items():
            header = headers.get((po_no,))
            is_open = header is not None and header["status"] in OPEN_PO and row["status"] in OPEN_PO_LINE
            if not is_open or row["site_code"] not in sites:
                continue
            arrived = sum((f.receipt[2] for f in self.applied() if f.receipt and f.receipt[:2] == (po_no, line_no)), ZERO)
            left = row["qty_ordered"] - max(arrived, row["qty_received"])
            if left > 0:
                found[(po_no, line_no)] = (row["item_no"], row["site_code"], row["expected_date"], left)
        return found

    @_until_told
    def all_supply(self) -> set[tuple[str, str, str, int]]:
        """Item, site, document and line of every purchase line there ever was."""
        lines = [fact for fact in self.rows if fact.table == "purchase_order_line" and fact.row is not None]
        return {(str(f.row["item_no"]), str(f.row["site_code"]), str(f.key[0]), int(f.key[1])) for f in lines if f.row}

    def sites(self) -> set[str]:
        """Every site anybody has named."""
        named = {fact.key[0] for fact in self.rows if fact.table == "site"}
        told = {move[1] for fact in self.warehouse for move in fact.moves}
        return named | told | {fact.count[1] for fact in self.warehouse if fact.count is not None}

    @_until_told
    def supply_by_day(self, item: str, site: str) -> dict[date, Decimal]:
        """Units of open supply by the day they are expected; without one, or on a day that means none, it promises nothing."""
        found: dict[date, Decimal] = {}
        for supplied, where, day, qty in self.supply().values():
            if (supplied, where) == (item, site) and day is not None and FIRST_DAY < day < LAST_DAY:
                found[day] = found.get(day, ZERO) + qty
        return found

    def supply_to_come(self, item: str, site: str) -> dict[date, Decimal]:
        """As `supply_by_day`, from today on: what is past due is dropped, or expected by the site's policy."""
        today, found = self.today(site), dict[date, Decimal]()
        for day, qty in self.supply_by_day(item, site).items():
            if day >= today or site in self.late_days:
                due = day if day >= today else today + timedelta(days=self.late_days[site])
                found[due] = found.get(due, ZERO) + qty
        return found

    # --- time ----------------------------------------------------------------------------------------------------------

    def today(self, site: str) -> date:
        """The day it is at a site, by its own calendar."""
        row = self.table("site").get((site,))
        zone = _calendar(row["timezone"]) if row else UTC
        return datetime.fromtimestamp(self.now_ms / 1000, zone).date()

    def held(self, item: str, site: str) -> Decimal:
        """Units under a reservation that is alive now."""
        given_back = {release.reservation_id for release in self.releases}
        alive = [h for h in self.holds if h.expires_at_ms > self.now_ms and h.reservation_id not in given_back]
        return sum((h.sites.get(site, ZERO) for h in alive if h.item == item), ZERO)

    @_until_told
    def lost_lines(self) -> frozenset[tuple[str, int]]:
        """Order lines that are to come from a site the ERP does not have: nothing can be promised to them."""
        placed = [fact for fact in self.sales if isinstance(fact, OrderFact)]
        known = {None, *self.known_sites()}
        return frozenset((fact.order_id, line.line) for fact in placed for line in fact.lines if line.site not in known)

    # --- promises ------------------------------------------------------------------------------------------------------

    def atp(
        self, item: str, site: str, demand: dict[date, Decimal], policy: str = "lookahead", safety: Decimal = ZERO
    ) -> list[Decimal]:
        """ATP by day from today on: past-due demand is due today."""
        today = self.today(site)
        days = [today + timedelta(days=d) for d in range(self.horizon_days + 1)]
        supply = self.supply_to_come(item, site)
        wanted = [demand.get(day, ZERO) for day in days]
        wanted[0] += sum((qty for day, qty in demand.items() if day < today), ZERO)
        usable = [self.on_hand(item, site, "usable")] * len(days)
        return POLICIES[policy](usable, safety, [supply.get(day, ZERO) for day in days], wanted)
