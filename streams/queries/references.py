"""What a request may name: a channel of the settings, a site the ERP has sent. Everything that takes one asks here.

A name that is not known is refused, with what was probably meant. An answer for it would look right and mean nothing: a channel
that is not there has neither cap nor floor, and at a site that is not there nothing was ever oversold.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from connectors.api.ports import Invalid, NotKnown
from connectors.texts import suggestion
from tables.inventory.state import Site

MOST_SITES = 1_000  # that what was meant is looked for among


class _Rows(Protocol):
    def row(self, table: str, key: tuple[Any, ...], partition_key: str) -> Any: ...

    def rows(self, table: str, key: str | None, after_key: str | None, limit: int) -> list[tuple[str, Any]]: ...


def check_channel(channel: str | None, known: Collection[str]) -> None:
    """Raises `Invalid` for a channel that is not in the settings, as it is written there. None: no channel is named."""
    if channel is not None and channel not in known:
        raise Invalid(f"channel {channel[:100]!r} is not known", suggestion("channel", channel, known))


def check_site(site: str | None, tables: _Rows, where: str = "", *, or_deleted: bool = False) -> None:
    """Raises `NotKnown` for a site the ERP has not sent, or has deleted. `where` it is in the request. None: no site is named."""
    if site is None:
        return
    row: Site | None = tables.row("promise.sites", (site,), site)
    if row is None:
        known = [key for key, other in tables.rows("promise.sites", None, None, MOST_SITES) if not other.is_deleted]
        raise NotKnown(f"{where}The ERP has not sent site {site[:100]!r}. {suggestion('site', site, known)}")
    if row.is_deleted and not or_deleted:
        raise NotKnown(f"{where}The ERP has deleted site {site[:100]!r}: nothing is promised there. Name another, or none.")
