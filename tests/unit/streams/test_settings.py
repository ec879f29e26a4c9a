"""Settings: where they come from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import BadSettings, load


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_need_no_file() -> None:
    settings = load()
    assert (settings.directory, settings.api_host, settings.api_port) == (Path("data"), "127.0.0.1", 8080)
    assert settings.to_policy().horizon_days == 30


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("crossdock.toml").write_text('api = "127.0.0.1:1"\nhorizon_days = 10')
    monkeypatch.setenv("CROSSDOCK_API", "127.0.0.1:2")
    assert (load().api_port, load().horizon_days) == (2, 10)
    assert load(api="127.0.0.1:3").api_port == 3


def test_the_log_names_its_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_LOG", "embedded:./elsewhere")
    assert load().directory == Path("elsewhere")
    monkeypatch.delenv("CROSSDOCK_LOG")
    monkeypatch.setenv("CROSSDOCK_DATA", "there")
    assert load().directory == Path("there")


def test_sites_and_channels_become_the_rules_policy() -> None:
    Path("crossdock.toml").write_text(
        'channels = ["web"]\n[site.DC2]\nphysical_owner = "erp"\npast_due = 2\n'
        '[channel.web]\nsites = ["DC1"]\ncap = "2.5"\nfloor = 1'
    )
    policy = load().to_policy()
    assert (policy.site("DC2").physical_owner, policy.site("DC2").past_due_days) == ("erp", 2)
    assert (policy.site("DC1").physical_owner, policy.site("DC1").past_due_days) == ("wms", None)
    assert (policy.channel("web").sites, policy.channel("web").cap_milli, policy.channel("web").floor_milli) == (
        ("DC1",),
        2_500,
        1_000,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("horizon_days = 181", "horizon_days"),
        ('log = "kafka://broker:9092"', "not in this version"),
        ('log = "files"', "embedded:<directory>"),
        ('api = "0.0.0.0:8080"', "loopback"),
        ('api = "127.0.0.1"', "<address>:<port>"),
        ("typo = 1", "typo: there is no such setting. Allowed: data, log"),
        ('[site.DC1]\nphysical_owner = "me"', "site.DC1.physical_owner"),
        ("[site.DC1]\ntypo = 1", "site.DC1.typo: there is no such setting. Allowed: physical_owner"),
        ('[site.DC1]\ntimezone = "Mars/Olympus"', "Mars/Olympus"),
        ('[channel.tv]\ncap = "1"', "channel.tv"),
        ('[channel.web]\ncap = "1.2345"', "channel.web.cap"),
        ('[channel.web]\nfloor = "-1"', "channel.web.floor"),
        ('policy = "hope"', "lookahead"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(text: str, says: str) -> None:
    Path("crossdock.toml").write_text(text)
    with pytest.raises(BadSettings, match=r"\A[^\n]") as raised:
        load()
    assert says in str(raised.value)


def test_an_unknown_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_APPI", "127.0.0.1:1")
    with pytest.raises(BadSettings, match="CROSSDOCK_APPI is not a setting"):
        load()
