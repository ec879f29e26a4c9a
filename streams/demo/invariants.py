"""What must hold when everything has been worked off, each with the first cases where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files

from connectors.api.ledger import totals_of
from schemas import topics
from schemas.inventory import Atp
from schemas.quantity import show
from streams.app import App
from streams.demo.day import every
from streams.engine.log import TopicPartition
from streams.reconcile import reconcile

KEPT = 5


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must hold, what it was held against, and the first violations."""

    name: str
    checked: int
    violations: list[str]

    @property
    def holds(self) -> bool:
        """No violation."""
        return not self.violations


Check = Callable[[App], tuple[int, Iterator[str]]]


def check_all(app: App) -> list[Invariant]:
    """Every invariant that can be seen from outside the rules."""
    found = []
    for name, check in _CHECKS.items():
        checked, violations = check(app)
        found.append(Invariant(name, checked, [text for _, text in zip(range(KEPT), violations, strict=False)]))
    return found


def _one_fate(app: App) -> tuple[int, Iterator[str]]:
    ends: dict[str, int] = {}
    for entry in app.watch.inputs():
        ends[entry.flow] = ends.get(entry.flow, 0) + entry.end
    fates = app.watch.fates()

    def violations() -> Iterator[str]:
        for flow, fate in fates.items():
            if fate.inputs != ends[flow]:
                yield f"{flow} was given {ends[flow]} records and accounts for {fate.inputs}"
            if min(fate.applied, fate.duplicate, fate.ignored, fate.dead_lettered, fate.parked) < 0:
                yield f"{flow} counts below nothing: {fate}"
        dead = app.log.bounds(TopicPartition(topics.DEAD_LETTERS.name, 0))[1]
        counted = sum(fate.dead_lettered for fate in fates.values())
        if dead != counted:
            yield f"{counted} inputs were refused, {dead} dead letters were written"

    return sum(ends.values()), violations()


def _ledger_adds_up(app: App) -> tuple[int, Iterator[str]]:
    rows: list[Atp] = list(every(app.published.atp_page, "item"))

    def violations() -> Iterator[str]:
        for row in rows:
            totals, _ = totals_of(row, app.ports.promises)
            for total in totals:
                if total.added_milli != total.present_milli:
                    text = f"{total.measure} is {show(total.present_milli)}, its ledger says {show(total.added_milli)}"
                    yield f"{row.item} at {total.site}: {text}"

    return len(rows), violations()


def _never_oversold(app: App) -> tuple[int, Iterator[str]]:
    """More promised than there is happens only when stock that was promised goes, or the ERP says so; then it is said."""
    rows: list[Atp] = list(every(app.published.atp_page, "item"))
    told = {row.fingerprint for row in every(app.published.exception_page, "fingerprint") if row.state != "cleared"}
    negative = {tuple(fingerprint.split(":")[1:3]) for fingerprint in told if fingerprint.startswith("negative:")}

    def violations() -> Iterator[str]:
        for row in rows:
            for site in row.sites:
                where = f"{row.item} at {site.site}"
                if site.promise_milli > max(0, site.usable_milli - row.safety_stock_milli):
                    yield f"{where} promises {show(site.promise_milli)} of {show(site.usable_milli)}"
                is_told = f"oversold:{row.item}:{site.site}" in told or (row.item, site.site) in negative
                if site.days and site.atp_milli + row.safety_stock_milli < 0 and not is_told:
                    yield f"{where} is short by {show(-site.atp_milli)} and nobody was told"

    return sum(len(row.sites) for row in rows), violations()


def _as_the_erp(app: App) -> tuple[int, Iterator[str]]:
    policy = app.settings.to_policy()
    sites = {key[0] for key, _ in app.tables.scan("promise", "sites") if policy.site(key[0]).physical_owner == "erp"}
    with as_file(files("connectors.erp") / "sample" / "final") as final:
        found = reconcile(app.tables.scan, final, sites)
    fields = sum(table.fields_compared for table in found.tables)
    texts = (f"{d.table} {d.key} {d.column}: ours {d.ours}, the ERP's {d.theirs}" for d in found.differences)
    return fields, texts


def _folds_agree(app: App) -> tuple[int, Iterator[str]]:
    """What each order line believes it was promised is what the promise fold has for it, once."""
    believed: dict[tuple[str, int], tuple[int, int]] = {}
    for row in every(app.published.order_page, "order_id"):
        for line in row.lines:
            believed[row.order_id, line.line] = line.allocated_milli, line.backordered_milli
    given: dict[tuple[str, int], tuple[int, int]] = {}
    for (_, order_id, number), demand in app.tables.scan("promise", "demands"):
        allocated, waiting = given.get((order_id, number), (0, 0))
        allocated += sum(part.qty_milli for part in demand.parts)
        given[order_id, number] = allocated, waiting + demand.backordered_milli

    def violations() -> Iterator[str]:
        for place in sorted(believed.keys() | given.keys()):
            ours, theirs = believed.get(place, (0, 0)), given.get(place, (0, 0))
            if ours != theirs:
                said = (
                    f"{show(ours[0])} allocated and {show(ours[1])} backordered, but has {show(theirs[0])} and {show(theirs[1])}"
                )
                yield f"{place[0]} line {place[1]} believes in {said}"

    return len(believed), violations()


_CHECKS: dict[str, Check] = {
    "every record has exactly one fate": _one_fate,
    "every ledger adds up to its numbers": _ledger_adds_up,
    "nothing is oversold without being said": _never_oversold,
    "the ERP's tables are the ERP's": _as_the_erp,
    "orders have what they were promised": _folds_agree,
}
