"""Sites as the order fold knows them: what the warehouse did at a site the ERP has not sent waits for it."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.errors import AlreadyApplied, NotYet
from schemas.orders import OrderSiteChanged
from tables.common.row_version import next_version
from tables.orders.emits import OrderEmit
from tables.orders.state import KnownSite, OrderTables


def site_changed(t: OrderTables, e: OrderSiteChanged) -> Iterator[OrderEmit]:
    """Keeps that the ERP has the site, newest wins."""
    current = t.sites.get((e.site,))
    version = next_version(current.version if current else None, e)
    if version is None:
        raise AlreadyApplied(f"{e.event_id}: this site has it, or a newer change, already")
    t.sites[(e.site,)] = KnownSite(version, e.is_deleted)
    yield from ()


def check_site(t: OrderTables, site: str, event_id: str) -> None:
    """Raises `NotYet` for a site the ERP has not sent, or has deleted."""
    row = t.sites.get((site,))
    if row is None or row.is_deleted:
        raise NotYet(
            f"UnknownSite(site={site!r}): the ERP has not sent this site; {event_id} is applied when it does", f"site:{site}"
        )
