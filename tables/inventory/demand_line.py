"""One order line's page of the book: `tables.inventory.state.Demand`, open for change."""

from __future__ import annotations

from schemas.orders import SitePart
from tables.inventory.state import Demand, DemandExecution, Item, Units
from tables.inventory.units import units_of

_UNASKED = Demand(0, 0, 0, None, None, "", "", 0, 0, False, True, True, 0, (), (), 0, 0, 0, "", None, None)


class DemandLine:
    """A line while an event works on it. Its fields are those of the row; `row()` closes it.

    Units in `parts` and `backordered_milli` are booked at their sites and days: change them by `tables.inventory.allocation`
    only.
    """

    __slots__ = (
        "allow_backorder",
        "allow_partial",
        "answer",
        "backorder_site",
        "backordered_milli",
        "channel",
        "customer",
        "erp_shipped_milli",
        "executed",
        "held",
        "is_firm",
        "need_day",
        "number",
        "order_id",
        "parts",
        "placed_at_ms",
        "priority",
        "promised_day",
        "refused",
        "requested_on",
        "revision",
        "site",
        "substituted_milli",
        "units",
        "wanted_milli",
    )

    def __init__(self, order_id: str, number: int, current: Demand | None) -> None:
        self.order_id = order_id
        self.number = number
        self.held = current
        d = current or _UNASKED
        self.revision = d.revision
        self.answer = d.answer
        self.wanted_milli = d.wanted_milli
        self.site = d.site
        self.requested_on = d.requested_on
        self.channel = d.channel
        self.customer = d.customer
        self.priority = d.priority
        self.placed_at_ms = d.placed_at_ms
        self.is_firm = d.is_firm
        self.allow_partial = d.allow_partial
        self.allow_backorder = d.allow_backorder
        self.need_day = d.need_day
        self.parts = d.parts
        self.executed = d.executed
        self.erp_shipped_milli = d.erp_shipped_milli
        self.substituted_milli = d.substituted_milli
        self.backordered_milli = d.backordered_milli
        self.backorder_site = d.backorder_site
        self.promised_day = d.promised_day
        self.refused = d.refused
        self.units = d.units

    def measured(self, item: Item) -> Units:
        """The units the line is told in: those its item had when it was first told of."""
        if self.units is None:
            self.units = units_of(item)
        return self.units

    def row(self) -> Demand:
        """The page as a row."""
        return Demand(
            self.revision,
            self.answer,
            self.wanted_milli,
            self.site,
            self.requested_on,
            self.channel,
            self.customer,
            self.priority,
            self.placed_at_ms,
            self.is_firm,
            self.allow_partial,
            self.allow_backorder,
            self.need_day,
            self.parts,
            self.executed,
            self.erp_shipped_milli,
            self.substituted_milli,
            self.backordered_milli,
            self.backorder_site,
            self.promised_day,
            self.refused,
            self.units,
        )

    def taken(self) -> int:
        """Units the warehouse picked, shipped or substituted."""
        taken = self.substituted_milli
        for x in self.executed:
            taken += x.picked_milli if x.picked_milli > x.shipped_milli else x.shipped_milli
        return taken

    def served(self) -> int:
        """Units that need no promise any more: taken by the warehouse, or shipped as the ERP has it."""
        taken = self.taken()
        return taken if taken > self.erp_shipped_milli else self.erp_shipped_milli

    def shipped(self) -> int:
        """Units gone, or served by a substitute."""
        taken = self.substituted_milli
        for x in self.executed:
            taken += x.shipped_milli
        return taken if taken > self.erp_shipped_milli else self.erp_shipped_milli

    def allocated(self) -> int:
        """Units allocated on hand and not yet picked."""
        total = 0
        for part in self.parts:
            total += part.qty_milli
        return total

    def at(self, site: str) -> DemandExecution:
        """What the warehouse of a site has done for it."""
        for x in self.executed:
            if x.site == site:
                return x
        return DemandExecution(site, 0, 0)

    def execute(self, done: DemandExecution) -> None:
        """Keep what a site has done."""
        if len(self.executed) == 0 or (len(self.executed) == 1 and self.executed[0].site == done.site):
            self.executed = (done,)
        else:
            others = [x for x in self.executed if x.site != done.site]
            self.executed = tuple(sorted([*others, done], key=lambda x: x.site))

    def allot(self, found: tuple[SitePart, ...]) -> None:
        """Add parts."""
        if self.parts:
            units = {part.site: part.qty_milli for part in self.parts}
            for part in found:
                units[part.site] = units.get(part.site, 0) + part.qty_milli
            self.parts = tuple(SitePart(site, qty) for site, qty in sorted(units.items()))
        else:
            self.parts = found if len(found) == 1 else tuple(sorted(found, key=lambda part: part.site))

    def is_as(self, was: Demand) -> bool:
        """Whether the promise is what it was: same parts, same backorder, same day."""
        return (self.parts, self.backordered_milli, self.backorder_site, self.promised_day) == (
            was.parts,
            was.backordered_milli,
            was.backorder_site,
            was.promised_day,
        )
