"""Safety stock: how much of an item is kept back, and where.

The ERP gives an item's safety stock once. By the policy `network` it is kept back once, over all sites together: a site may give
away units as long as the others still hold enough. By `site` every site keeps all of it. A quantity given for a site (in the
settings) is that site's own in either case, and counts towards the network's.

Let `alone` be a site's ATP with its own safety stock taken off, and `shared` what the network keeps back beyond that. Any sites
together, one or all, can promise

    sum of their alone - max(0, shared - sum of the other sites' max(0, alone))

so no answer takes the network below its safety stock, and an item at one site answers as if the stock were that site's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schemas.frozen import Frozen
from tables.common.policy import AtpPolicy, Policy

CUMULATIVE: frozenset[AtpPolicy] = frozenset({"lookahead", "projected", "backward_accumulate", "cumulative"})


class Safety(Frozen, frozen=True):
    """What is kept back of an item: `own` by site, `shared` by all of them together."""

    own: dict[str, int]
    shared: int


def safety_of(policy: Policy, item: str, safety_milli: int, sites: Iterable[str]) -> Safety:
    """How an item's safety stock is kept over the sites it is at."""
    is_shared = policy.safety_stock == "network"
    own = {site: policy.site(site).safety_stock.get(item, 0 if is_shared else safety_milli) for site in sites}
    shared = max(0, safety_milli - sum(own.values())) if is_shared else 0
    if shared and len(own) == 1:
        own = {site: qty + shared for site, qty in own.items()}
        shared = 0
    return Safety(own, shared)


class Free:
    """What sites can promise on a day: `alone` by site, of which `shared` is kept back by all together."""

    __slots__ = ("alone", "held", "shared")

    def __init__(self, alone: Mapping[str, int], shared: int) -> None:
        self.alone = alone
        self.shared = shared
        self.held = sum([max(0, value) for value in alone.values()])

    def kept(self, sites: Iterable[str]) -> int:
        """What some sites keep back of the shared safety stock, for the others do not hold it."""
        return max(0, self.shared - self.held + sum([max(0, self.alone[site]) for site in sites])) if self.shared else 0

    def at(self, site: str) -> int:
        """What a site can promise, signed."""
        return self.alone[site] - self.kept((site,))

    def atp(self, sites: Sequence[str]) -> int:
        """What some sites can promise together, signed: a site that lacks units takes from what the others have."""
        return sum([self.alone[site] for site in sites]) - self.kept(sites)

    def promise(self, sites: Sequence[str]) -> int:
        """What may be promised of some sites together, never below zero: a site that lacks units has none to give."""
        return max(0, sum([max(0, self.alone[site]) for site in sites]) - self.kept(sites))


def free_on(policy: AtpPolicy, day: int, alone: Mapping[str, int], shared: int) -> Free:
    """What sites can promise on the n-th day of a series; of quantities by period, the first period's keep the safety stock."""
    return Free(alone, shared if day == 0 or policy in CUMULATIVE else 0)
