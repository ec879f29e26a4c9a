"""What must hold whenever the system is at rest: its tables and topics against the oracle.

Each check yields one sentence for each thing that is wrong; none is what must come out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from infra.simulation.facts import ZERO, ChangeFact, ErpFact, Fact, WmsFact
from infra.simulation.observe import Observed, units
from infra.simulation.oracle import Oracle
from infra.simulation.order_oracle import LineTotals, OrderOracle
from tables.common.policy import ATP_POLICIES
from tables.inventory.atp_record import series

EPOCH = date(1970, 1, 1)
ORDER_TABLES = ("sales_order", "sales_order_line")
STATUSES = ("usable", "held", "quality", "damaged", "staged")
Where = tuple[str, str]  # item, site
Days = dict[date, Decimal]


def compare(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterator[str]:
    """Each key on which two mappings differ."""
    for key in sorted({*expected, *found}, key=str):
        if expected.get(key) != found.get(key):
            yield f"{what} {key}: expected {_show(expected.get(key))}, found {_show(found.get(key))}"


def _show(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_show(part) for part in value) + ")"
    return str(value)


def _day(number: int) -> date:
    return EPOCH + timedelta(days=number)


@dataclass(slots=True)
class Promised:
    """What the system has promised and not served, by item, site and day: read from its promises one by one."""

    days: dict[Where, Days] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Decimal)))
    orders: dict[Where, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    held: dict[Where, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    waiting: dict[Where, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def promised(system: Observed) -> Promised:
    """All promises of the promise fold."""
    found = Promised()
    for (item, _, _), demand in system.promise("demands"):
        parts = [(part.site, demand.need_day, part.qty_milli) for part in demand.parts]
        if demand.backordered_milli and demand.backorder_site:
            found.waiting[item, demand.backorder_site] += units(demand.backordered_milli)
            if demand.promised_day is not None:
                parts.append((demand.backorder_site, demand.promised_day, demand.backordered_milli))
        for site, day, qty in parts:
            found.days[item, site][_day(day)] += units(qty)
            found.orders[item, site] += units(qty)
    for (item, _, _, site, _), row in system.promise("unposted"):
        found.days[item, site][_day(row.day)] += units(row.qty_milli)
        found.orders[item, site] += units(row.qty_milli)
    for (item, _), row in system.promise("reservations"):
        for part in row.parts if row.state == "held" else ():
            found.days[item, part.site][_day(part.day)] += units(part.qty_milli)
            found.held[item, part.site] += units(part.qty_milli)
    return found


# --- I3: what is kept equals what was told ---------------------------------------------------------------------------------


def masters(oracle: Oracle, system: Observed) -> Iterator[str]:
    """Items, prices, ERP balances and sites are the ERP's newest rows."""
    fields = ("description", "base_uom", "pack_uom", "lot_tracked", "status")
    expected = {
        key: (*(row[name] for name in fields), row["pack_qty"], row["safety_stock"]) for key, row in oracle.table("item").items()
    }
    found = {
        key: (
            *(getattr(row, name) for name in fields),
            None if row.pack_milli is None else units(row.pack_milli),
            units(row.safety_stock_milli),
        )
        for key, row in system.promise("items")
        if not row.is_deleted
    }
    yield from compare("item", expected, found)
    prices = {(i, p, c, d): (r["unit_price"], r["valid_to"]) for (p, i, c, d), r in oracle.table("item_price").items()}
    rows = {key: (row.unit_price, row.valid_to) for key, row in system.promise("prices") if not row.is_deleted}
    yield from compare("price", prices, rows)
    balances = {(i, s): (r["on_hand"], r["row_version"]) for (s, i), r in oracle.table("inventory_balance").items()}
    kept = {k: (units(r.on_hand_milli), r.row_version) for k, r in system.promise("erp_balances") if not r.is_deleted}
    yield from compare("ERP balance", balances, kept)


def stock(oracle: Oracle, system: Observed) -> Iterator[str]:
    """On hand by item, site, status and lot, and the sums of it."""
    expected = oracle.balances()
    found = {key: units(row.on_hand_milli) for key, row in system.promise("balances")}
    yield from compare("balance", _nonzero(expected), _nonzero(found))
    sums: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (item, site, status, _), qty in expected.items():
        sums[item, site, status] += qty
    kept = {
        (item, site, status): units(getattr(row, f"{status}_milli"))
        for (item, site), row in system.promise("stock")
        for status in STATUSES
    }
    yield from compare("sum of balances", _nonzero(sums), _nonzero(kept))


def supply(oracle: Oracle, system: Observed) -> Iterator[str]:
    """Open purchase lines."""
    known = oracle.known_items()
    expected = {(po, line): row for (po, line), row in oracle.supply().items() if row[0] in known}
    found = {}
    for (item, document, line), row in system.promise("supplies"):
        left = units(row.ordered_milli - max(row.erp_received_milli, row.received_milli))
        if row.is_open and left > 0:
            found[document, line] = (item, row.site, row.expected_on, left)
    yield from compare("open supply", expected, found)


def plans(oracle: Oracle, system: Observed, promises: Promised) -> Iterator[str]:
    """The sums kept by day are the sums of supply, order lines and reservations."""
    rows = dict(system.promise("stock"))
    keys = {*rows, *promises.days}
    for item, site in sorted(keys):
        row = rows.get((item, site))
        if row is None:
            yield f"no stock row for {item} at {site}, but something is promised there"
            continue
        due = {_day(d.day): (units(d.supply_milli), units(d.demand_milli)) for d in row.days}
        expected = {day: (qty, ZERO) for day, qty in oracle.supply_by_day(item, site).items()}
        for day, qty in promises.days[item, site].items():
            if qty:
                expected[day] = (expected.get(day, (ZERO, ZERO))[0], qty)
        yield from compare(f"day of {item} at {site}", expected, due)
        where = (item, site)
        kept = (row.demand_milli, row.reserved_milli, row.backordered_milli)
        sums = (promises.orders[where], promises.held[where], promises.waiting[where])
        if tuple(map(units, kept)) != sums:
            yield f"demand, reserved, backordered of {where}: expected {_show(sums)}, found {_show(tuple(map(units, kept)))}"


def holds(oracle: Oracle, system: Observed, promises: Promised) -> Iterator[str]:
    """Reservations that were acknowledged and are alive, once each; none else."""
    given_back = {release.reservation_id for release in oracle.releases}
    alive = {h.reservation_id: h.qty for h in oracle.holds if h.expires_at_ms > oracle.now_ms}
    expected = {name: qty for name, qty in alive.items() if name not in given_back}
    found = {name: units(row.qty_milli) for (_, name), row in system.promise("reservations") if row.state == "held"}
    yield from compare("reservation", expected, found)
    del promises


def atp(oracle: Oracle, system: Observed, promises: Promised) -> Iterator[str]:
    """The published number, and one of the six policies in turn worked out of the same row, are what the definition says."""
    masters = oracle.table("item")
    published = system.atp()
    owner = system.policy.site
    sites = _sites(system)
    for turn, ((item, site), row) in enumerate(system.promise("stock"), len(oracle.warehouse) + len(oracle.rows)):
        master = masters.get((item,))
        safety = master["safety_stock"] if master else ZERO
        demand = promises.days[item, site]
        expected = _free(oracle, promises, item, site, sites[item], safety)
        shown = next((s for s in published[item].sites if s.site == site), None) if item in published else None
        if shown is None or units(shown.atp_milli) != expected:
            found = None if shown is None else units(shown.atp_milli)
            yield f"ATP of {item} at {site}: expected {_show(expected)}, found {_show(found)}"
        name = ATP_POLICIES[turn % len(ATP_POLICIES)]
        today, days = (oracle.today(site) - EPOCH).days, oracle.horizon_days + 1
        series_ = [units(qty) for qty in series(name, row, int(safety.scaleb(3)), today, owner(site).past_due_days, days)]
        by_day = oracle.atp(item, site, demand, name, safety)
        if series_ != by_day:
            yield f"{name} ATP of {item} at {site}: expected {_show(by_day[:8])}, found {_show(series_[:8])}"


def _sites(system: Observed) -> dict[str, list[str]]:
    """The sites each item is at."""
    sites: dict[str, list[str]] = defaultdict(list)
    for (item, site), _ in system.promise("stock"):
        sites[item].append(site)
    return sites


def _free(oracle: Oracle, promises: Promised, item: str, site: str, sites: Iterable[str], safety: Decimal) -> Decimal:
    """What a site can promise today: the safety stock is kept by all sites together, so by this one as far as no other has it."""
    alone = {where: oracle.atp(item, where, promises.days[item, where])[0] for where in {*sites, site}}
    elsewhere = sum((qty for where, qty in alone.items() if where != site and qty > 0), ZERO)
    return alone[site] - max(ZERO, safety - elsewhere)


def order_lines(oracle: Oracle, system: Observed) -> Iterator[str]:
    """How much of each line stands where. Lines of orders that crossdock runs are the business of `agreement.py`."""
    statuses = system.order_status()
    known = oracle.known_items()
    orders = OrderOracle(oracle)
    for (order_id, number), line in orders.lines().items():
        if line.item not in known or not orders.is_settled(order_id):
            continue
        status = statuses.get(order_id)
        if status is not None and status.decision:
            continue
        found = next((x for x in status.lines if x.line == number), None) if status else None
        if found is None:
            if line.is_listed:
                yield f"line {number} of {order_id}: expected {line}, found nothing"
            continue
        yield from _line(order_id, number, line, found, is_lost=(order_id, number) in oracle.lost_lines())


def _line(order_id: str, number: int, line: LineTotals, found: Any, *, is_lost: bool) -> Iterator[str]:
    names = ["picked", "short", "substituted", "shipped", "invoiced"]
    names += ["ordered"] if line.is_listed else []
    names += ["returned"] if line.returned is not None else []
    names += ["cancelled"] if line.is_listed and not line.may_decline and found.state != "refused" else []
    for name in names:
        expected, is_ = getattr(line, name), units(getattr(found, f"{name}_milli"))
        if expected != is_:
            yield f"{name} of line {number} of {order_id} ({found.state}): expected {_show(expected)}, found {_show(is_)}"
    most, is_ = line.ordered - min(line.ordered, line.picked), units(found.cancelled_milli)
    if line.is_listed and line.may_decline and not line.cancelled <= is_ <= most:
        yield f"cancelled of line {number} of {order_id}: {_show(is_)} is not between {_show(line.cancelled)} and {_show(most)}"
    open_ = 0 if is_lost else max(0, found.ordered_milli - found.cancelled_milli - found.picked_milli)
    parts = units(found.allocated_milli), units(found.backordered_milli)
    if found.state != "refused" and sum(parts, ZERO) != units(open_):
        stands = f"{_show(units(open_))} open, but (allocated, backordered) {_show(parts)}"
        yield f"line {number} of {order_id} ({found.state}): {stands}"


def suspects(oracle: Oracle, system: Observed) -> Iterator[str]:
    """An item of which something was refused is marked suspect, by each such dead letter."""
    expected: dict[str, int] = defaultdict(int)
    for item in oracle.refused():
        expected[item] += 1
    found = {item: len([s for s in atp.suspects if s.startswith("promise.")]) for item, atp in system.atp().items()}
    yield from compare("suspicions of", expected, {item: count for item, count in found.items() if count})


def both_folds(system: Observed) -> Iterator[str]:
    """I2: what the order fold believes it was promised is what the promise fold has promised, once."""
    believed: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
    for status in system.order_status().values():
        for line in status.lines:
            believed[status.order_id, line.line] = (units(line.allocated_milli), units(line.backordered_milli))
    given: dict[tuple[str, int], tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    for (_, order_id, line), demand in system.promise("demands"):
        allocated, waiting = given[order_id, line]
        more = sum((units(part.qty_milli) for part in demand.parts), ZERO)
        given[order_id, line] = (allocated + more, waiting + units(demand.backordered_milli))
    nothing = (ZERO, ZERO)
    yield from compare(
        "allocated and backordered of line",
        {key: pair for key, pair in given.items() if pair != nothing},
        {key: pair for key, pair in believed.items() if pair != nothing},
    )


def nobody_waits_for_what_is_there(oracle: Oracle, system: Observed, promises: Promised) -> Iterator[str]:
    """Whoever takes parts and is due does not wait while units nobody else was promised stand where he may have them from."""
    items = oracle.table("item")
    sites = _sites(system)
    for (item, order_id, line), demand in system.promise("demands"):
        if not demand.backordered_milli or not demand.allow_partial or (item,) not in items:
            continue
        for site in sites[item] if demand.site is None else [demand.site]:
            free = _free(oracle, promises, item, site, sites[item], items[(item,)]["safety_stock"])
            if free > 0 and _day(demand.need_day) <= oracle.today(site):
                waits = _show(units(demand.backordered_milli))
                yield f"line {line} of {order_id} waits for {waits} {item}, while {_show(free)} are free at {site}"


# --- I2: nothing is promised twice -----------------------------------------------------------------------------------------


def shortfalls(oracle: Oracle, promises: Promised) -> dict[Where, Decimal]:
    """Where more is promised by some day than there will be by then, and how much more at most."""
    found: dict[Where, Decimal] = {}
    for (item, site), days in promises.days.items():
        today = oracle.today(site)
        supply = oracle.supply_to_come(item, site)
        usable = oracle.on_hand(item, site, "usable")
        for last in sorted({max(day, today) for day, qty in days.items() if qty}):
            due = usable + sum((qty for day, qty in supply.items() if today <= day <= last), ZERO)
            lacking = sum((qty for day, qty in days.items() if day <= last), ZERO) - due
            if lacking > found.get((item, site), ZERO):
                found[item, site] = lacking
    return found


def takers(oracle: Oracle, told: Iterable[Fact], new_days: set[str]) -> set[Where]:
    """Where something just told may have taken stock or supply away (picks take their own demand with them)."""
    found: set[Where] = set()
    for fact in told:
        if isinstance(fact, WmsFact):
            if fact.kind != "pick.completed":
                found.update((item, site) for item, site, status, _, qty in fact.moves if qty < 0 or status != "usable")
            if fact.count is not None:
                found.add(fact.count[:2])
            if fact.receipt is not None:
                row = oracle.last_rows("purchase_order_line").get(fact.receipt[:2])
                found.update({(row["item_no"], row["site_code"])} if row else ())
        elif isinstance(fact, ErpFact):
            found |= _taken_by_erp(oracle, fact)
    supplied = {(item, site) for item, site, _, _ in oracle.all_supply()}
    return found | {(item, site) for item, site in supplied if site in new_days}


def unexpected_picks(oracle: Oracle, told: Iterable[Fact], needs: Mapping[tuple[str, int], int]) -> set[Where]:
    """Where the floor took units that somebody else counts on by now: before the day they were promised for, or when the order
    was changed meanwhile.
    """
    found = set()
    told = list(told)
    is_race = any(isinstance(f, ChangeFact) or (isinstance(f, ErpFact) and f.table in ORDER_TABLES) for f in told)
    for fact in told:
        if isinstance(fact, WmsFact) and fact.kind == "pick.completed":
            done, (item, site, *_) = fact.executions[0], fact.moves[0]
            if is_race or _day(needs.get((done.order_id, done.line), 0)) > oracle.today(site):
                found.add((item, site))
    return found


def _taken_by_erp(oracle: Oracle, fact: ErpFact) -> set[Where]:
    if fact.key == ():  # all its rows are gone
        is_stock = fact.table in ("inventory_balance", "purchase_order_line")
        return {(key[0], site) for key in oracle.table("item") for site in oracle.sites()} if is_stock else set()
    if fact.table == "site":  # what waited for it is applied now: what was moved there has left another
        return {(key[0], site) for key in oracle.table("item") for site in oracle.sites()}
    if fact.table == "item":  # what waited for its item is applied now
        return {(fact.key[0], site) for site in oracle.sites()}
    if fact.table == "inventory_balance":
        return {(fact.key[1], fact.key[0])} if fact.key[0] in oracle.erp_sites else set()
    if fact.table in ("purchase_order", "purchase_order_line"):
        return {(item, site) for item, site, number, _ in oracle.all_supply() if number == fact.key[0]}
    return set()


def oversold(
    oracle: Oracle, system: Observed, promises: Promised, before: Mapping[Where, Decimal], taken: set[Where]
) -> Iterator[str]:
    """More may be promised than there is only where a source took stock away, and then an exception must say so."""
    now = shortfalls(oracle, promises)
    for (item, site), lacking in sorted(now.items()):
        if lacking > before.get((item, site), ZERO) and (item, site) not in taken:
            yield f"{item} at {site} is promised {_show(lacking)} more than there will be, and no source took anything away"
    rows = [row for row in system.exceptions().values() if row.code == "oversold" and row.state in ("open", "assigned")]
    named = {(row.item, row.fingerprint.rsplit(":", 1)[1]) for row in rows}
    yield from compare("oversold exception", dict.fromkeys(now, True), dict.fromkeys(named, True))


def _nonzero(quantities: Mapping[Any, Decimal]) -> dict[Any, Decimal]:
    return {key: qty for key, qty in quantities.items() if qty}


Check = Callable[[Oracle, Observed, Promised], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    lambda o, s, p: masters(o, s),
    lambda o, s, p: stock(o, s),
    lambda o, s, p: supply(o, s),
    plans,
    holds,
    atp,
    lambda o, s, p: order_lines(o, s),
    lambda o, s, p: suspects(o, s),
    lambda o, s, p: both_folds(s),
    nobody_waits_for_what_is_there,
)


def at_rest(oracle: Oracle, system: Observed, promises: Promised) -> list[str]:
    """Everything that is wrong."""
    return [wrong for check in CHECKS for wrong in check(oracle, system, promises)]
