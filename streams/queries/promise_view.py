"""Promises as the API asks for them: an item's number by any policy, carts, audits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from connectors.api.ports import (
    AtpQuery,
    AuditPage,
    AuditQuery,
    CheckAnswer,
    CheckLine,
    Quote,
    SourceFreshness,
)
from schemas.inventory import Atp
from streams.engine.log import ReadableLog as ReadableLog  # noqa: PLC0414 - its importers move to the engine
from streams.queries import atp_quotes
from streams.queries.audits import audited
from streams.queries.published import Published
from streams.queries.references import check_channel, check_site
from streams.queries.table_views import TableView
from tables.common.policy import ATP_POLICIES, Policy
from tables.inventory.state import Item, Site


class PromiseView:
    """ATP as the API serves it: published rows, and the quotes that follow from them."""

    def __init__(
        self,
        published: Published,
        tables: TableView,
        policy: Policy,
        clock_ms: Callable[[], int],
        freshness: Callable[[], list[SourceFreshness]],
        channels: Collection[str],
    ) -> None:
        self._published = published
        self._tables = tables
        self._policy = policy
        self._channels = frozenset(channels)
        self._clock_ms = clock_ms
        self._quotes = atp_quotes.Quotes(policy, self._zone, clock_ms)
        self.freshness = freshness
        self.atp = published.atp
        self.atp_page = published.atp_page
        self.ledger = published.ledger

    def audit(self, item: str, query: AuditQuery) -> AuditPage:
        """The next rows of an item's ledger (see `streams.queries.audits`). A site the ERP has deleted since has a past, too."""
        check_site(query.site, self._tables, or_deleted=True)
        is_fenced = self._policy.infinite_after_days is not None
        return audited(self._published.ledger_from, item, query, self._clock_ms(), is_fenced=is_fenced)

    def policies(self) -> Sequence[str]:
        """The names of the policies."""
        return ATP_POLICIES

    def calculate(
        self, policy: str, opening_milli: int, safety_milli: int, supply_milli: Sequence[int], demand_milli: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """The formula alone."""
        return atp_quotes.calculate(policy, opening_milli, safety_milli, supply_milli, demand_milli)

    def quote(self, atp: Atp, query: AtpQuery) -> Quote:
        """The row seen as asked."""
        check_channel(query.channel, self._channels)
        check_site(query.site, self._tables)
        return self._quotes.quote(atp, query)

    def check(self, lines: Sequence[CheckLine], channel: str | None) -> list[CheckAnswer]:
        """Whether the lines can be had together."""
        check_channel(channel, self._channels)
        for site, first in {line.site: n for n, line in reversed(list(enumerate(lines)))}.items():
            check_site(site, self._tables, f"body/lines/{first}/site: ")
        names = {line.item for line in lines}
        rows: Mapping[str, Atp | None] = {name: self.atp(name) for name in names}
        items: Mapping[str, Item | None] = {name: self._tables.row("promise.items", (name,), name) for name in names}
        cart = atp_quotes.Cart(self._quotes, channel, rows, items)
        return [cart.check(line) for line in lines]

    def _zone(self, site: str) -> str:
        chosen = self._policy.site(site).timezone
        if chosen is not None:
            return chosen
        row: Site | None = self._tables.row("promise.sites", (site,), site)
        return "UTC" if row is None or row.is_deleted else row.timezone
