"""The choices a distributor makes about promises: who owns a site's stock, what a channel may take, how far to look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

AtpPolicy = Literal["lookahead", "projected", "backward", "backward_accumulate", "discrete", "cumulative"]
ATP_POLICIES: tuple[AtpPolicy, ...] = ("lookahead", "projected", "backward", "backward_accumulate", "discrete", "cumulative")
PhysicalOwner = Literal["wms", "erp"]
MAX_HORIZON_DAYS = 180
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """How a site is run. `physical_owner`: whose word on its stock counts. `past_due_days`: supply that is past due is
    expected that many days from today; none drops it. `timezone` overrides the ERP's.
    """

    physical_owner: PhysicalOwner = "wms"
    past_due_days: int | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """What a channel may take of any one item: from `sites` (all if none), at most `cap_milli`, and `floor_milli` that
    others may not take.
    """

    sites: tuple[str, ...] | None = None
    cap_milli: int | None = None
    floor_milli: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """All choices together. `infinite_after_days`: the lead-time fence, from that day on any quantity can be promised.

    `remembered_movements`: so many movements of a balance are kept one by one (twice as many before the older half goes);
    `request_memory_ms`: so long the same request key gets the same answer.
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

    def site(self, site: str) -> SitePolicy:
        """How a site is run."""
        return self.sites.get(site, self.default_site)

    def channel(self, channel: str) -> ChannelPolicy:
        """What a channel may take."""
        return self.channels.get(channel, self.default_channel)
