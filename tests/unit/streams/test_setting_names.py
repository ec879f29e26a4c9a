"""A setting under a name that nobody has decides nothing: doctor and the page say so, and what was probably meant."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.api.ports import UnknownFieldShown
from streams.engine.log import TopicPartition, Unavailable
from streams.engine.memory.log import MemoryLog
from streams.flows.promise import promise_fold
from streams.monitoring import warnings
from streams.monitoring.warnings import Warnings
from streams.queries.table_views import TableView
from streams.runtime.setting_names import SettingNames
from streams.settings.settings import BadSettings, Settings, load
from tests.support.toy_flows import INBOX, PARTITIONS, drain, item_changed, new_log, new_worker, site_changed, to_inbox

NOT_RUN = "so no site is run by these settings"


def log_of(*sites: str) -> MemoryLog:
    log = new_log([to_inbox(item_changed("00010000"))])
    log.append([to_inbox(site_changed(site))._replace(partition=p) for site in sites for p in range(PARTITIONS)])
    drain(new_worker(log, [promise_fold(Settings().to_policy())]))
    assert log.bounds(TopicPartition(INBOX, 0))
    return log


def unknown(toml: str, tmp: Path, *sites: str) -> list[str]:
    (tmp / "crossdock.toml").write_text(toml)
    settings = load(data=tmp)
    return SettingNames(settings, TableView(log_of(*sites), [promise_fold(settings.to_policy())])).unknown()


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[site.DC-1]\npast_due = 2', [f"site.DC-1: the ERP has no site 'DC-1', {NOT_RUN}. Did you mean DC1?"]),
        ('[site.dc1]\npast_due = 2', [f"site.dc1: the ERP has no site 'dc1', {NOT_RUN}. Did you mean DC1?"]),
        ('[site.DC1]\npast_due = 2\n[channel.web]\nsites = ["DC1", "DC2"]', []),
        (
            '[channel.web]\nsites = ["DC1", "LYON"]',
            [
                "channel.web.sites: the ERP has no site 'LYON', so the channel is promised nothing from there. "
                "Correct the name, or have the ERP send it"
            ],
        ),
        (
            '[default_channel]\nsites = ["DC01"]',
            [
                "default_channel.sites: the ERP has no site 'DC01', so the channel is promised nothing from there. "
                "Did you mean DC1?"
            ],
        ),
        (
            '[site.DC1]\nsafety_stock = { "00010000" = "5", "10000" = "5" }',
            [
                "site.DC1.safety_stock: the ERP has no item '10000', so no safety stock is kept of it by this. "
                "Did you mean 00010000?"
            ],
        ),
        (
            '[default_site]\nsafety_stock = { "X-1" = "5" }',
            [
                "default_site.safety_stock: the ERP has no item 'X-1', so no safety stock is kept of it by this. "
                "Correct the name, or have the ERP send it"
            ],
        ),
    ],
)  # fmt: skip
def test_names_the_erp_does_not_have_are_said_with_what_was_probably_meant(toml: str, says: list[str], tmp_path: Path) -> None:
    assert unknown(toml, tmp_path, "DC1", "DC2") == says


def test_before_the_erp_has_sent_any_site_nothing_can_be_said(tmp_path: Path) -> None:
    assert unknown("[site.DC1]\npast_due = 2", tmp_path) == []


def test_a_deleted_site_is_none(tmp_path: Path) -> None:
    (tmp_path / "crossdock.toml").write_text("[site.DC2]\npast_due = 2")
    settings, log = load(data=tmp_path), log_of("DC1", "DC2")
    gone = site_changed("DC2")
    gone = type(gone)(
        **{name: getattr(gone, name) for name in gone.__struct_fields__}
        | {"is_deleted": True, "commit_position": 9, "source_position": 9}
    )
    log.append([to_inbox(gone)._replace(partition=p) for p in range(PARTITIONS)])
    drain(new_worker(log, [promise_fold(settings.to_policy())]))
    (says,) = SettingNames(settings, TableView(log, [promise_fold(settings.to_policy())])).unknown()
    assert says.startswith("site.DC2: the ERP has no site 'DC2'")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[channel.webb]\ncap = '5'", "or did you mean web?"),
        ("[drop.a]\nchannel = 'edl'\ndirectory = 'x'", "or did you mean edi?"),
        ("[limits.source.vms]\ndead_letters = 5", "or did you mean wms?"),
        ("[site.DC1]\npastdue = 2", "Did you mean past_due?"),
        ("horizn_days = 2", "Did you mean horizon_days?"),
    ],
)
def test_a_name_that_nothing_declares_is_refused_with_what_was_probably_meant(toml: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "crossdock.toml").write_text(toml)
    with pytest.raises(BadSettings) as found:
        load(data=tmp_path)
    assert says in str(found.value)


def test_a_variable_of_another_name_is_refused_with_what_was_probably_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_CHANEL__WEB__CAP", "5")
    with pytest.raises(BadSettings, match=r"Did you mean CROSSDOCK_CHANNEL\?"):
        load()


def shown(**more: Any) -> UnknownFieldShown:
    facts: dict[str, Any] = {"source": "wms", "message": "stock.received", "field": "lots", "count": 3, "since_ms": 1}
    facts |= {"last_ms": 2, "example": "raw.wms/0/9", "meant": "lot", "advice": "Did you mean lot?", "is_warning": True}
    return UnknownFieldShown(**(facts | more))


def test_the_page_shows_both_and_what_was_found_last_while_the_log_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    names, fields = [f"site.{n}: no" for n in range(5)], [shown(), shown(field="colour", meant=None, is_warning=False)]
    looks = 0

    def look() -> list[str]:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise Unavailable("away")
        return names

    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    found = Warnings(look, lambda: fields)
    told = {
        "Names in settings": "site.0: no; site.1: no; site.2: no (and 2 more: crossdock doctor)",
        "Fields nobody reads": "wms: lots. Did you mean lot?",
    }
    assert found.found() == told
    assert found.found() == told
    assert looks == 1
    clock += warnings.KEPT_S + 1
    assert found.found() == told
    assert looks == 2


def test_nothing_is_shown_where_nothing_is_wrong() -> None:
    none: Callable[[], list[Any]] = list
    assert Warnings(none, none).found() == {}
