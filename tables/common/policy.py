"""The choices a distributor makes about promises: who owns a site's stock, what a channel may take, how far to look."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

AtpPolicy = Literal["lookahead", "projected", "backward", "backward_accumulate", "discrete", "cumulative"]
ATP_POLICIES: tuple[AtpPolicy, ...] = ("lookahead", "projected", "backward", "backward_accumulate", "discrete", "cumulative")
PhysicalOwner = Literal["wms", "erp"]
SafetyPolicy = Literal["network", "site"]
MAX_HORIZON_DAYS = 180
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """How a site is run. `physical_owner`: whose word on its stock counts. `past_due_days`: supply that is past due is
    expected that many days from today; none drops it. `timezone` overrides the ERP's. `safety_stock`: kept back here, by item.
    """

    physical_owner: PhysicalOwner = "wms"
    past_due_days: int | None = None
    timezone: str | None = None
    safety_stock: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """What a channel may take of any one item: from `sites` (all if none), at most `cap_milli`, and `floor_milli` that
    others may not take.

    Its reservations of an item: `hold_count` alive at once, of `hold_milli` in all (none: as much as can be promised), each
    for at most `hold_ms`.
    """

    sites: tuple[str, ...] | None = None
    cap_milli: int | None = None
    floor_milli: int = 0
    hold_count: int = 1_000
    hold_milli: int | None = None
    hold_ms: int = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """All choices together. `infinite_after_days`: the lead-time fence, from that day on any quantity can be promised.

    `remembered_movements`: so many movements of a balance are kept one by one (twice as many before the older half goes);
    `request_memory_ms`: so long the same request key gets the same answer. `safety_stock`: see `tables.inventory.safety_stock`.
    """

    horizon_days: int = 30
    atp_policy: AtpPolicy = "lookahead"
    infinite_after_days: int | None = None
    sites: dict[str, SitePolicy] = field(default_factory=dict)
    channels: dict[str, ChannelPolicy] = field(default_factory=dict)
    default_site: SitePolicy = SitePolicy()
    default_channel: ChannelPolicy = ChannelPolicy()
    remembered_movements: int = 512
    request_memory_ms: int = DAY_MS
    safety_stock: SafetyPolicy = "network"

    def site(self, site: str) -> SitePolicy:
        """How a site is run."""
        return self.sites.get(site, self.default_site)

    def channel(self, channel: str) -> ChannelPolicy:
        """What a channel may take."""
        return self.channels.get(channel, self.default_channel)


@dataclass(frozen=True, slots=True)
class OrderPolicy:
    """How orders are run. `erp`, `wms`: endpoints orders are posted to and released to; none: nobody is told, and the order's
    checks decide nothing. `notify`: endpoints that hear of each new status. An order is crossdock's to run if a channel placed it
    and there is an `erp`.

    `price_tolerance`: by how much of the reference a line's price may differ from it. The `_ms` say how long each stage may
    take before a person is told: checks, the ERP's confirmation, the warehouse's, the shipment, the invoice. Units that
    ship within `invoice_pause_ms` are billed together. A warehouse that found nothing is not sent again for `short_pause_ms`.
    A change that comes before its order waits for it for `change_ms`.
    """

    erp: str | None = None
    wms: str | None = None
    notify: tuple[str, ...] = ()
    price_tolerance: Decimal = Decimal("0.01")
    check_ms: int = 60_000
    confirm_ms: int = 15 * 60_000
    release_ms: int = 60 * 60_000
    ship_ms: int = DAY_MS
    invoice_ms: int = DAY_MS
    invoice_pause_ms: int = 1_000
    short_pause_ms: int = 60 * 60_000
    change_ms: int = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """How an endpoint is served: at most `window` attempts in flight, each leased to an agent for `lease_ms`.

    A failed attempt is repeated after `retry_ms`, doubling up to `retry_most_ms`, with jitter; after `attempts` failures of its
    own an obligation is exhausted. `open_after` failures in a row open the circuit for `pause_ms`, doubling up to
    `pause_most_ms`; then one probe decides.
    """

    window: int = 8
    lease_ms: int = 30_000
    retry_ms: int = 500
    retry_most_ms: int = 60_000
    attempts: int = 10
    open_after: int = 5
    pause_ms: int = 2_000
    pause_most_ms: int = 30_000
