"""Sites and items that settings name and the ERP has not sent: a setting under such a name decides nothing, silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from schemas.near import nearest
from streams.queries.table_views import TableView
from streams.settings.settings import Settings

_LONGEST_NUMBER = 18
"""Item numbers are padded with zeros to so many digits at most (SAP's)."""


class SettingNames:
    """Holds the names that settings use against the ERP's own."""

    def __init__(self, settings: Settings, tables: TableView) -> None:
        self._settings = settings
        self._tables = tables

    def unknown(self) -> list[str]:
        """What is wrong with each, in a sentence. None while the ERP has sent no site at all. Raises `Unavailable`."""
        rows = {key[0]: row for key, row in self._tables.scan("promise", "sites")}
        known = {site for site, row in rows.items() if not row.is_deleted}
        return list(self._unknown(known)) if known else []

    def _unknown(self, known: set[str]) -> Iterator[str]:
        for where, site, what in self._sites():
            if site not in known:
                yield f"{where}: the ERP has no site {site!r}, so {what}{_meant(nearest(site, known))}"
        for where, item in self._items():
            if not self._is_item(item):
                near = next((other for other in _written_otherwise(item) if self._is_item(other)), None)
                yield f"{where}: the ERP has no item {item!r}, so no safety stock is kept of it by this{_meant(near)}"

    def _sites(self) -> Iterator[tuple[str, str, str]]:
        """Where a site is named, its name, and what does not happen if it is not one."""
        settings = self._settings
        for site in settings.site:
            yield f"site.{site}", site, "no site is run by these settings"
        channels = {f"channel.{name}": channel for name, channel in settings.channel.items()}
        for where, channel in {**channels, "default_channel": settings.default_channel}.items():
            for site in channel.sites or ():
                yield f"{where}.sites", site, "the channel is promised nothing from there"

    def _items(self) -> Iterator[tuple[str, str]]:
        sites = {f"site.{name}": site for name, site in self._settings.site.items()}
        for where, site in {**sites, "default_site": self._settings.default_site}.items():
            for item in site.safety_stock:
                yield f"{where}.safety_stock", item

    def _is_item(self, item: str) -> bool:
        row = self._tables.row("promise.items", (item,), item)
        return row is not None and not row.is_deleted


def _meant(near: str | None) -> str:
    return ". Correct the name, or have the ERP send it" if near is None else f". Did you mean {near}?"


def _written_otherwise(item: str) -> Iterator[str]:
    """The same number in other letters, and with more or fewer zeros before it."""
    ways: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.strip)
    yield from (way(item) for way in ways)
    bare = item.strip().lstrip("0")
    yield from (bare.zfill(length) for length in range(len(bare), _LONGEST_NUMBER + 1))
