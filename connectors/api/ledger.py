"""The ledger of an item added up, beside the numbers it should add up to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from connectors.api.ports import Promises
from schemas.inventory import Atp, LedgerEntry

PAGE = 1_000
FEW = 20
MOST_ENTRIES = 200_000
MOST_ITEMS = 1_000
Place = tuple[str, str]  # site and measure
STATUSES = ("usable", "held", "quality", "damaged", "staged")


@dataclass(frozen=True, slots=True)
class Total:
    """A measure at a site: the sum of its ledger's differences, and what the published row says it is."""

    site: str
    measure: str
    added_milli: int
    present_milli: int


class Totals:
    """The sums of each item's ledger, kept: only entries that are new since the last time are read. Used from several threads."""

    def __init__(self, promises: Promises) -> None:
        self._promises = promises
        self._kept: OrderedDict[str, tuple[int, dict[Place, int]]] = OrderedDict()  # up to which offset
        self._lock = threading.Lock()

    def of(self, row: Atp) -> tuple[list[Total], bool]:
        """Every measure of an item. Nothing, and false, if more than 200,000 entries of its ledger would have to be read."""
        sums = self._sums(row.item)
        if sums is None:
            return [], False
        present = _present(row)
        places = sorted(sums.keys() | present.keys())
        return [Total(*place, sums.get(place, 0), present.get(place, 0)) for place in places], True

    def _sums(self, item: str) -> dict[Place, int] | None:
        with self._lock:
            upto, kept = self._kept.get(item, (-1, {}))
        sums, newest = kept.copy(), upto
        for n, (offset, entry) in enumerate(self._newer(item, upto)):
            if n >= MOST_ENTRIES:
                return None
            newest = max(newest, offset)
            for change in entry.changes:
                place = (change.site, change.measure)
                sums[place] = sums.get(place, 0) + change.after_milli - change.before_milli
        with self._lock:
            if newest >= self._kept.get(item, (-1, {}))[0]:
                self._kept[item] = (newest, sums)
                self._kept.move_to_end(item)
            if len(self._kept) > MOST_ITEMS:
                self._kept.popitem(last=False)
        return sums

    def _newer(self, item: str, upto: int) -> Iterator[tuple[int, LedgerEntry]]:
        """Its entries after an offset, newest page first. Few are asked for at first: mostly few are new."""
        before: int | None = None
        limit = PAGE if upto < 0 else FEW
        while True:
            page = self._promises.ledger(item, before, limit)
            yield from ((offset, entry) for offset, entry in page if offset > upto)
            if len(page) < limit or page[0][0] <= upto:
                return
            before, limit = page[0][0], PAGE


def _present(row: Atp) -> dict[tuple[str, str], int]:
    present: dict[tuple[str, str], int] = {}
    for site in row.sites:
        for status in STATUSES:
            present[site.site, f"on_hand.{status}"] = getattr(site, f"{status}_milli")
        for measure in ("demand", "reserved", "backordered"):
            present[site.site, measure] = getattr(site, f"{measure}_milli")
        present[site.site, "supply"] = sum(day.supply_milli for day in site.days)
    return {place: value for place, value in present.items() if value}
