"""The ledger of an item added up, beside the numbers it should add up to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.api.ports import Promises
from schemas.inventory import Atp, LedgerEntry

PAGE = 1_000
MOST_ENTRIES = 200_000
STATUSES = ("usable", "held", "quality", "damaged", "staged")


@dataclass(frozen=True, slots=True)
class Total:
    """A measure at a site: the sum of its ledger's differences, and what the published row says it is."""

    site: str
    measure: str
    added_milli: int
    present_milli: int


def totals_of(row: Atp, promises: Promises) -> tuple[list[Total], bool]:
    """Every measure of an item. Nothing, and false, if the ledger is longer than 200,000 entries."""
    sums: dict[tuple[str, str], int] = {}
    for n, entry in enumerate(_entries(row.item, promises)):
        if n >= MOST_ENTRIES:
            return [], False
        for change in entry.changes:
            place = (change.site, change.measure)
            sums[place] = sums.get(place, 0) + change.after_milli - change.before_milli
    present = _present(row)
    places = sorted(sums.keys() | present.keys())
    return [Total(*place, sums.get(place, 0), present.get(place, 0)) for place in places], True


def _entries(item: str, promises: Promises) -> Iterator[LedgerEntry]:
    before: int | None = None
    while True:
        page = promises.ledger(item, before, PAGE)
        yield from (entry for _, entry in page)
        if len(page) < PAGE:
            return
        before = page[0][0]


def _present(row: Atp) -> dict[tuple[str, str], int]:
    present: dict[tuple[str, str], int] = {}
    for site in row.sites:
        for status in STATUSES:
            present[site.site, f"on_hand.{status}"] = getattr(site, f"{status}_milli")
        for measure in ("demand", "reserved", "backordered"):
            present[site.site, measure] = getattr(site, f"{measure}_milli")
        present[site.site, "supply"] = sum(day.supply_milli for day in site.days)
    return {place: value for place, value in present.items() if value}
