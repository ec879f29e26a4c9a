"""Settings: where they come from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.engine.kafka.log import KafkaSettings
from streams.runtime.open_log import kafka_settings
from streams.settings.settings import BadSettings, load
from tables.common.policy import EndpointPolicy, OrderPolicy


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


def test_a_file_beside_the_data_goes_with_them_and_gives_way_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read for that data directory alone, table by table."""
    for directory in ("mine", "other"):
        Path(directory).mkdir()
    Path("mine/crossdock.toml").write_text('horizon_days = 7\npolicy = "discrete"\n[site.DC1]\npast_due = 2\n')
    Path("crossdock.toml").write_text('policy = "projected"\n[site.DC2]\npast_due = 3\n')
    found = load(data=Path("mine"))
    assert (found.horizon_days, found.policy, sorted(found.site)) == (7, "projected", ["DC1", "DC2"])
    assert load(data=Path("other")).horizon_days == 30
    monkeypatch.setenv("CROSSDOCK_DATA", "mine")
    assert load().horizon_days == 7


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
        ('log = "kafka://broker"', "kafka://<host>:<port>"),
        ('log = "kafka:broker:9092"', "kafka://<host>:<port>"),
        ('[kafka.clients]\nacks = "1"', "kafka.clients: acks is not for you to set: exactly once depends on it"),
        ('[kafka.clients]\n"sasl.password" = ["geheim"]', "kafka.clients: sasl.password is a text"),
        ("[kafka]\nstandby = 2", "kafka.standby"),
        ("[kafka]\ntypo = 2", "kafka.typo: there is no such setting. Allowed: clients"),
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
        ('[endpoint.erp]\nrole = "boss"\nurl = "http://x"', "endpoint.erp.role"),
        ('[endpoint.erp]\nrole = "erp"', "endpoint.erp.url"),
        ('[endpoint.erp]\nrole = "erp"\nurl = "ftp://x"', "endpoint.erp.url: 'ftp://x' is not an address"),
        (
            '[endpoint.erp]\nrole = "erp"\nurl = "http://x"\ntypo = 1',
            "endpoint.erp.typo: there is no such setting. Allowed: role",
        ),
        ('[endpoint.erp]\nrole = "erp"\nurl = "http://x"\nlease_s = 5', "lease_s is at least timeout_s + 1"),
        ('[endpoint.erp]\nrole = "erp"\nurl = "http://x"\nretry_s = 90', "retry_most_s is not below retry_s"),
        ('[endpoint.erp]\nrole = "erp"\nurl = "http://x"\nwindow = 0', "endpoint.erp.window"),
        ('[endpoint.erp]\nrole = "erp"\nurl = "http://x"\nsecret = "12345678"', "secret is for notices only"),
        ('[endpoint.crm]\nrole = "notify"\nurl = "http://x"', "secret is missing"),
        ('[endpoint.crm]\nrole = "notify"\nurl = "http://x"\nsecret = "short"', "endpoint.crm.secret"),
        ('[endpoint.CRM]\nrole = "erp"\nurl = "http://x"', "endpoint.CRM"),
        (
            '[endpoint.a]\nrole = "erp"\nurl = "http://x"\n[endpoint.b]\nrole = "erp"\nurl = "http://x"',
            "a and b both have role erp",
        ),
        ('[endpoint.a]\nrole = "wms"\nurl = "http://x"', "no endpoint has role erp"),
        ("[order]\nconfirm_s = 0", "order.confirm_s"),
        ("[order]\nprice_tolerance = 0.1", 'order.price_tolerance: is a number as text, like "0.01"'),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(text: str, says: str) -> None:
    Path("crossdock.toml").write_text(text)
    with pytest.raises(BadSettings, match=r"\A[^\n]") as raised:
        load()
    assert says in str(raised.value)


def test_brokers_and_their_clients_come_from_the_file_and_secrets_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("crossdock.toml").write_text(
        'log = "kafka://one:9092,two:9093"\n[kafka]\nsession_ms = 2000\nrebalance_ms = 9000\n[kafka.clients]\n'
        '"security.protocol" = "SASL_SSL"\n"enable.ssl.certificate.verification" = false\n"sasl.password" = "in the file"'
    )
    monkeypatch.setenv("CROSSDOCK_KAFKA__CLIENTS__SASL_PASSWORD", "geheim")
    monkeypatch.setenv("CROSSDOCK_KAFKA__STANDBY", "1")
    settings = load()
    assert (settings.is_kafka, settings.brokers, settings.directory) == (True, "one:9092,two:9093", Path("data"))
    assert "geheim" not in repr(settings)
    assert kafka_settings(settings) == KafkaSettings(
        "one:9092,two:9093",
        {"security.protocol": "SASL_SSL", "enable.ssl.certificate.verification": "false", "sasl.password": "geheim"},
        session_ms=2_000,
        heartbeat_ms=666,
        rebalance_ms=9_000,
    )
    assert settings.kafka.standby == 1


def test_an_unknown_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_APPI", "127.0.0.1:1")
    with pytest.raises(BadSettings, match="CROSSDOCK_APPI is not a setting"):
        load()


ENDPOINTS = """
[endpoint.sap]
role = "erp"
url = "https://erp.example/api"
window = 3
retry_s = 0.25
[endpoint.dc]
role = "wms"
url = "http://127.0.0.1:1/wms"
[endpoint.portal]
role = "notify"
url = "http://127.0.0.1:1/notices"
secret = "not to be shown"
timeout_s = 3
[endpoint.crm]
role = "notify"
url = "http://127.0.0.1:1/crm"
secret = "not to be shown either"
[order]
confirm_s = 60
price_tolerance = "0.02"
"""


def test_endpoints_become_what_the_rules_need() -> None:
    Path("crossdock.toml").write_text(ENDPOINTS)
    settings = load()
    orders, endpoints = settings.to_order_policy(), settings.to_endpoint_policies()
    assert (orders.erp, orders.wms, orders.notify) == ("sap", "dc", ("crm", "portal"))
    assert (orders.confirm_ms, orders.ship_ms, str(orders.price_tolerance)) == (60_000, OrderPolicy().ship_ms, "0.02")
    assert (endpoints.of("sap").window, endpoints.of("sap").retry_ms) == (3, 250)
    assert endpoints.of("dc") == EndpointPolicy()


def test_without_endpoints_nobody_is_told_of_orders() -> None:
    assert load().to_order_policy() == OrderPolicy()


def test_no_secret_shows_in_policies_or_mistakes() -> None:
    Path("crossdock.toml").write_text(ENDPOINTS)
    assert "not to be shown" not in repr(load().to_policies()) + repr(load())
    Path("crossdock.toml").write_text(ENDPOINTS.replace("timeout_s = 3", "timeout_s = 300"))
    with pytest.raises(BadSettings, match="lease_s is at least") as raised:
        load()
    assert "not to be shown" not in str(raised.value)


def test_a_marketplace_is_asked_every_so_often_or_at_the_times_of_a_crontab_line() -> None:
    market = 'channel = "marketplace"\nurl = "http://127.0.0.1:1/x"\n'
    Path("crossdock.toml").write_text(f'[poll.m]\n{market}at = "30 6 * * 1-5"\ntimezone = "America/Chicago"\n[poll.n]\n{market}')
    timed, often = load().doors()
    assert (timed.at, timed.timezone) == ("30 6 * * 1-5", "America/Chicago")  # type: ignore[union-attr]
    assert (often.at, often.every_s) == (None, 5.0)  # type: ignore[union-attr]
    for wrong, says in (
        ('at = "half past six"', "is not a crontab line of five fields"),
        ('at = "* * * * * */1"', "is not a crontab line of five fields"),
        ('at = "0 6 * * *"\nevery_s = 5', "every_s or at, not both"),
        ('timezone = "America/Chicago"', "there is no at"),
    ):
        Path("crossdock.toml").write_text(f"[poll.m]\n{market}{wrong}\n")
        with pytest.raises(BadSettings, match=says):
            load()


def test_limits_are_of_all_sources_and_of_single_ones() -> None:
    own = {"wms": {"dead_letters": 50}, "web": {"share": 0.9}}
    limits = load(limits={"dead_letters": 20, "window_s": 60, "source": own}).to_limits()
    assert (limits.window_ms, limits.flow.dead_letters) == (60_000, 10_000)
    assert [(limits.of(name).dead_letters, limits.of(name).share) for name in ("wms", "web", "erp")] == [
        (50, 0.5),
        (20, 0.9),
        (20, 0.5),
    ]


def test_a_limit_of_no_source_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"limits.source.raw is not a source: the sources are erp, wms, crm-customers, web"):
        load(limits={"source": {"raw": {"dead_letters": 1}}})
