"""Channels and sites that nobody has: every read that names one refuses it, with what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.api.ports import AtpQuery, AuditQuery, CheckLine, Invalid, NotKnown
from connectors.texts import MOST_LISTED, suggestion
from streams.commands.api_commands import OrderIntake
from streams.queries.promise_view import PromiseView
from streams.queries.references import check_channel, check_site
from tables.common.policy import ChannelPolicy, Policy
from tables.common.row_version import Version
from tables.inventory.state import Site
from tests.unit.streams.test_quotes import ITEM, NOW_MS, record, site

CHANNELS = ("web", "edi", "phone")
SITES = {"DC1": Site(Version(), False, "One", "UTC", {}), "OLD": Site(Version(), True, "Closed", "UTC", {})}


class Rows:
    """The promise fold's tables, and nothing published but one item."""

    def row(self, table: str, key: tuple[Any, ...], partition_key: str) -> Any:
        found: dict[str, Any] = {"promise.sites": SITES, "promise.items": {"A": ITEM}}
        return found[table].get(key[0])

    def rows(self, table: str, key: str | None, after_key: str | None, limit: int) -> list[tuple[str, Any]]:
        assert (table, key, after_key) == ("promise.sites", None, None)
        return sorted(SITES.items())[:limit]


class Published:
    def atp(self, item: str) -> Any:
        return record(site("DC1", 88)) if item == "A" else None

    def ledger_from(self, item: str, start: int, limit: int) -> list[Any]:
        return []

    atp_page = ledger = order = order_page = order_events = milestones = order_changes = None


def view() -> PromiseView:
    policy = Policy(channels={"web": ChannelPolicy(floor_milli=5_000)})
    return PromiseView(Published(), Rows(), policy, lambda: NOW_MS, list, CHANNELS)  # type: ignore[arg-type]


def test_a_mistyped_channel_gets_no_number() -> None:
    """It has neither cap nor floor: the number would be right for nobody."""
    row = record(site("DC1", 88))
    with pytest.raises(Invalid, match="channel 'wbe' is not known") as error:
        view().quote(row, AtpQuery(channel="wbe"))
    assert error.value.hint == "Did you mean 'web'? There are: edi, phone, web."
    with pytest.raises(Invalid, match="channel 'Web' is not known"):
        view().check([CheckLine("A", 1_000, None, None, None)], "Web")
    assert view().quote(row, AtpQuery(channel="web")).promise_milli == 88_000
    assert view().quote(row, AtpQuery(channel="edi")).promise_milli == 83_000


def test_a_mistyped_site_is_not_one_without_stock_or_without_fault() -> None:
    row, line = record(site("DC1", 88)), CheckLine("A", 1_000, None, "DC1", None)
    for ask in (
        lambda: view().quote(row, AtpQuery(site="DC-1")),
        lambda: view().check([line, CheckLine("A", 1_000, None, "DC-1", None)], None),
        lambda: view().audit("A", AuditQuery(site="DC-1")),
    ):
        with pytest.raises(NotKnown, match=r"has not sent site 'DC-1'\. Did you mean 'DC1'\? There are: DC1\."):
            ask()
    with pytest.raises(NotKnown, match=r"^body/lines/1/site: "):
        view().check([line, CheckLine("A", 1_000, None, "DC-1", None)], None)
    assert view().check([line], None)[0].is_available
    assert view().audit("A", AuditQuery(site="DC1")).is_proved


def test_a_site_the_erp_has_deleted_has_a_past_and_no_promise() -> None:
    with pytest.raises(NotKnown, match="has deleted site 'OLD'"):
        view().quote(record(site("DC1", 88)), AtpQuery(site="OLD"))
    assert view().audit("A", AuditQuery(site="OLD")).is_proved


def test_an_order_of_a_mistyped_channel_says_what_was_meant() -> None:
    intake = OrderIntake(None, Published(), CHANNELS, lambda: NOW_MS)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="channel 'wbe' is not known") as error:
        intake.place(b'{"channel": "wbe"}')
    assert "'web'" in error.value.hint
    with pytest.raises(Invalid, match="channel is missing") as error:
        intake.place(b'{"channel": null}')
    assert error.value.hint == "There are: edi, phone, web."


def test_nothing_named_is_nothing_refused() -> None:
    check_channel(None, ())
    check_site(None, Rows())


def test_many_names_are_not_all_listed() -> None:
    said = suggestion("site", "S1x", [f"S{n}" for n in range(MOST_LISTED + 9)])
    assert said.startswith("Did you mean 'S1'?")
    assert said.endswith(" and 9 more.")
