"""What channels, the ERP, the WMS, the CRM and crossdock must agree on about orders that crossdock runs.

Checked from the systems' own books, what was told to crossdock, and what it publishes. Each check yields a sentence for each
thing that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from infra.simulation.credit_oracle import CreditOracle
from infra.simulation.facts import ZERO, ChangeFact, OrderFact
from infra.simulation.fold_messages import ObservedObligations
from infra.simulation.observe import CommittedState, units
from infra.simulation.oracle import Oracle
from infra.simulation.systems import NAMES, Systems
from schemas import topics
from schemas.orders import LineStatus, OrderStatus
from streams.commands.hold_release import GIVEN_UP

ENDED = ("refused", "cancelled", "returned", "invoiced")
CLOSED = ("refused", "cancelled", "short")
UNBILLED = ("invoice_refused", "not_billable")
Words = dict[tuple[str, int], tuple[Decimal, Decimal]]  # line -> what its channel wants now, the most it ever wanted
NO_WORK: dict[str, Decimal] = {}


class Agreement:
    """Keeps what has to be remembered from one rest to the next. `let_go`: orders a person let go in spite of something."""

    def __init__(self, systems: Systems, oracle: Oracle) -> None:
        self.systems, self.oracle = systems, oracle
        self.heard = ObservedObligations()
        self.lending = CreditOracle(oracle)
        self.let_go: set[str] = set()
        self._never: set[str] = set()

    def at_rest(self, system: CommittedState) -> list[str]:
        """Everything that is wrong now."""
        wrong = [*self.systems.wrong, *self.heard.listen(system)]
        runs = {name: status for name, status in system.order_status().items() if status.decision}
        open_ = {row.order_id for row in system.exceptions().values() if row.state in ("open", "assigned")}
        wrong += self._nobody_is_forgotten(system, runs, open_)
        wrong += self._in_the_erp(runs)
        wrong += self._on_the_floor(runs)
        wrong += self._kept(system)
        wrong += self._told(runs)
        wrong += self._endpoints(system)
        wrong += self.lending.at_rest(runs, self.heard, self.let_go)
        return wrong

    # --- whenever the system is at rest ----------------------------------------------------------------------------------

    def _nobody_is_forgotten(self, system: CommittedState, runs: dict[str, OrderStatus], open_: set[str | None]) -> Iterator[str]:
        """I9: every order has ended, or a person knows of it, or it is waited for until some instant."""
        due = {key[2] for key, _ in system.orders("deadlines")}
        for order_id, status in runs.items():
            if status.status not in ENDED and order_id not in open_ and order_id not in due:
                yield f"{order_id} is {status.status} ({status.decision}), nobody knows of it and nothing is waited for"
        for fact in self.oracle.sales:
            if isinstance(fact, OrderFact) and fact.order_id not in runs:
                yield f"{fact.order_id} was placed, and nothing is published of it as an order that is run"

    def _in_the_erp(self, runs: dict[str, OrderStatus]) -> Iterator[str]:
        """I7, I8: what the ERP has somebody placed, it has it once, and nothing that was cancelled before it was posted."""
        posted = {event.aggregate for event in self.heard.raised.values() if event.kind == "post_order"}
        numbers: dict[str, set[str]] = {}
        for (order_no,), row in self.oracle.table("sales_order").items():
            if order_no.startswith("SO-"):
                numbers.setdefault(f"{row['channel']}/{row['external_ref']}", set()).add(order_no)
        yield from (f"{ref} is in the ERP {len(found)} times" for ref, found in numbers.items() if len(found) > 1)
        words = self._words()
        for order_id, order in self.systems.erp_orders().items():
            if order_id in self._never:
                yield f"{order_id} was cancelled before it was posted, and is in the ERP"
            for number, row in order["lines"].items():
                at = (order_id, int(number))
                ordered, shipped, invoiced = (Decimal(row[name]) for name in ("ordered", "shipped", "invoiced"))
                if at not in words:
                    yield f"nobody placed line {number} of {order_id}, which is in the ERP"
                elif order_id not in self.systems.meddled and ordered > words[at][1]:
                    yield f"the ERP has {ordered} on line {number} of {order_id}, of which at most {words[at][1]} were wanted"
                if not invoiced <= shipped <= ordered:
                    yield f"line {number} of {order_id} in the ERP: {ordered} ordered, {shipped} shipped, {invoiced} invoiced"
        wanted = {order_id for (order_id, _), (qty, _) in words.items() if qty}
        self._never |= {name for name in runs if name not in wanted and name not in posted}

    def _on_the_floor(self, runs: dict[str, OrderStatus]) -> Iterator[str]:
        """I8: nothing is billed that has not shipped, nothing ships that is not wanted, nobody works on what was cancelled."""
        floor, words = self.systems.floor(), self._words()
        for order_id, status in runs.items():
            is_owed = bool(self.heard.owed(order_id, "wms"))
            for line in status.lines:
                work = floor.get(order_id, {}).get(line.line, NO_WORK)
                yield from self._line(order_id, line, work)
                if (order_id, line.line) not in words:
                    continue
                wanted, most = words[order_id, line.line]
                if order_id in self.systems.meddled:
                    wanted, most = max(wanted, units(line.ordered_milli)), max(most, units(line.ordered_milli))
                held = sum((work.get(name, ZERO) for name in ("picked", "substituted")), ZERO)
                open_ = work.get("released", ZERO) - sum((work.get(n, ZERO) for n in ("withdrawn", "short")), ZERO) - held
                if held + open_ > most:
                    yield f"line {line.line} of {order_id}: the warehouse has {held + open_}, never more than {most} were wanted"
                if not is_owed and open_ > max(ZERO, wanted - held):
                    yield f"line {line.line} of {order_id}: {wanted} are wanted, {held} picked, {open_} are still to be picked"

    def _line(self, order_id: str, line: LineStatus, work: dict[str, Decimal]) -> Iterator[str]:
        names = ("ordered", "picked", "shipped", "invoiced", "substituted", "short")
        ordered, picked, shipped, invoiced, substituted, short = (units(getattr(line, f"{name}_milli")) for name in names)
        if not invoiced <= shipped <= ordered:
            yield f"line {line.line} of {order_id} is shown as {ordered} ordered, {shipped} shipped, {invoiced} invoiced"
        done = work.get("picked", ZERO) + work.get("substituted", ZERO)
        pairs = (("picked", picked, done), ("substituted", substituted, work.get("substituted", ZERO)))
        for name, shown, is_ in (
            *pairs,
            ("shipped", shipped, work.get("shipped", ZERO)),
            ("short", short, work.get("short", ZERO)),
        ):
            if shown > is_:
                yield f"line {line.line} of {order_id}: {shown} {name} are shown, the warehouse has {is_}"

    def _kept(self, system: CommittedState) -> Iterator[str]:
        """I2: units the warehouse may still pick are promised to nobody else: they are given back once it has given them back."""
        kept = {
            (order_id, line, part.site): units(part.qty_milli)
            for (_, order_id, line), demand in system.promise("demands")
            for part in demand.parts
        }
        for order_id, rows in self.systems.wms.state()["orders"].items():
            for row in rows:
                over = sum((Decimal(row[name]) for name in ("withdrawn", "picked", "short", "substituted")), ZERO)
                open_ = Decimal(row["released"]) - over
                if open_ > kept.get((order_id, row["line"], row["site"]), ZERO):
                    have = kept.get((order_id, row["line"], row["site"]), ZERO)
                    yield f"line {row['line']} of {order_id}: {open_} should be picked at {row['site']}, {have} are kept for it"

    def _told(self, runs: dict[str, OrderStatus]) -> Iterator[str]:
        """Whoever is told of orders knows their present status, as soon as nothing is owed."""
        for name, crm in self.systems.told.items():
            newest = crm.state()["orders"]
            for order_id, status in runs.items():
                known = newest.get(order_id, {}).get("status")
                if known != status.status and not self.heard.owed(order_id, name):
                    yield f"{order_id} is {status.status}, the {name} was told {known}, and nothing is owed to it"

    def _endpoints(self, system: CommittedState) -> Iterator[str]:
        """An endpoint that is not served, and what was given up, is an exception; nothing else is."""
        rows = [row for row in system.exceptions().values() if row.state in ("open", "assigned")]
        known = {status.endpoint: status for status in system.newest(topics.ENDPOINTS)}
        for name in NAMES:
            down = any(row.fingerprint == f"endpoint_down:{name}" for row in rows)
            if down != (name in known and known[name].circuit != "closed"):
                yield f"the {name}'s circuit is {known[name].circuit if name in known else 'unknown'}, noted as down: {down}"
            given_up = sum(1 for row in rows if row.code in GIVEN_UP and row.fingerprint.split(":")[1] == name)
            if given_up != (known[name].exhausted if name in known else 0):
                yield f"{given_up} obligations to the {name} are noted as given up, not {known[name].exhausted}"

    def _words(self) -> Words:
        """What each line's channel wants: the newest of its words; nothing once it is cancelled."""
        says: dict[tuple[str, int], list[tuple[int, Decimal]]] = {}
        cancelled: set[tuple[str, int | None]] = set()
        for fact in self.oracle.sales:
            if isinstance(fact, OrderFact):
                for line in fact.lines:
                    says.setdefault((fact.order_id, line.line), []).append((0, line.qty))
            elif isinstance(fact, ChangeFact) and fact.kind == "set_qty" and fact.line is not None:
                says.setdefault((fact.order_id, fact.line), []).append((fact.at_ms, fact.qty))
            else:
                cancelled.add((fact.order_id, fact.line))
        found = {}
        for at, told in says.items():
            is_over = at in cancelled or (at[0], None) in cancelled
            found[at] = ZERO if is_over else max(told)[1], max(qty for _, qty in told)
        return found

    # --- when everything has come to its end -----------------------------------------------------------------------------

    def at_the_end(self, system: CommittedState) -> list[str]:
        """What is wrong once nothing is owed any more and everybody has worked off what was asked of him."""
        runs = {name: status for name, status in system.order_status().items() if status.decision}
        open_ = [row for row in system.exceptions().values() if row.state in ("open", "assigned")]
        stuck = {row.order_id for row in open_ if row.code in GIVEN_UP}
        wrong = [
            f"{event.obligation_id} is neither settled nor given up, nor behind one that is"
            for event in self.heard.open()
            if event.aggregate not in stuck
        ]
        over = {row.order_id for row in open_ if row.code in UNBILLED}
        unsure = {row.order_id for row in open_ if row.code == "late_acknowledgement"}
        erp, floor = self.systems.erp_orders(), self.systems.floor()
        for order_id, status in runs.items():
            if order_id not in stuck:
                is_disputed = order_id in self.systems.meddled and order_id in unsure | over
                wrong += self._ended(
                    status, erp.get(order_id), floor.get(order_id, {}), is_unbilled=order_id in over, is_disputed=is_disputed
                )
        return wrong

    def _ended(
        self,
        status: OrderStatus,
        erp: dict[str, dict[str, dict[str, str]]] | None,
        floor: dict[int, dict[str, Decimal]],
        *,
        is_unbilled: bool,
        is_disputed: bool,
    ) -> Iterator[str]:
        """I7, I8: what we show is what the ERP has, what has shipped is billed, and the floor is empty.

        What the ERP's people have changed themselves may stand otherwise there if a person knows (`is_disputed`).
        """
        for line in status.lines:
            name = f"line {line.line} of {status.order_id} ({line.state}, {status.decision})"
            wanted = units(line.ordered_milli - line.cancelled_milli)
            row = {} if erp is None else erp["lines"].get(str(line.line), {})
            stands = ZERO if not row or row["status"] == "X" else Decimal(row["ordered"])
            if status.decision == "accepted" and not is_disputed and stands != (ZERO if line.state in CLOSED else wanted):
                yield f"{name}: we show {wanted}, the ERP has {stands}"
            work = floor.get(line.line, NO_WORK)
            done = work.get("picked", ZERO) + work.get("substituted", ZERO)
            if work and work["released"] != work["withdrawn"] + work["short"] + done:
                yield f"{name}: the warehouse has not worked off what was released to it: {work}"
            shipped, invoiced = units(line.shipped_milli), units(line.invoiced_milli)
            if not done == work.get("shipped", ZERO) == shipped:
                yield f"{name}: {done} were picked, {work.get('shipped', ZERO)} left, {shipped} are shown as shipped"
            billed = Decimal(row["invoiced"]) if row else ZERO
            if invoiced != billed or (billed != shipped and not is_unbilled):
                yield f"{name}: {shipped} shipped, {billed} are invoiced, {invoiced} are shown so"
        yield from self._released(status)

    def _released(self, status: OrderStatus) -> Iterator[str]:
        """What is allocated at a warehouse is released to it, unless the order goes whole or not at all."""
        placed = next(f for f in self.oracle.sales if isinstance(f, OrderFact) and f.order_id == status.order_id)
        if status.decision == "accepted" and placed.partial and not self.oracle.erp_sites:
            for line in status.lines:
                if line.allocated_milli and line.state not in CLOSED and not line.short_milli:
                    yield f"line {line.line} of {status.order_id}: {units(line.allocated_milli)} are allocated and not released"
