"""Settings: `crossdock.toml` in the working directory, `CROSSDOCK_*` in the environment (which wins). Parsed once.

A `crossdock.toml` in the data directory holds what goes with that data alone; both others win over it.

log = "embedded:./data"          # CROSSDOCK_LOG
api = "127.0.0.1:8080"           # CROSSDOCK_API
channels = ["web", "marketplace", "crm", "edi", "phone"]
horizon_days = 30
policy = "lookahead"
safety_stock = "network"         # an item's safety stock is kept back once, over all sites; "site": each site keeps all of it

[site.DC2]
physical_owner = "erp"           # no WMS there: the ERP's balances are its stock
past_due = 2                     # late supply is expected in two days; "drop" (the default) does not count on it
timezone = "America/Chicago"     # instead of the ERP's
safety_stock = { "00010000" = "25" } # this site's own, by item; it counts towards the network's

[channel.web]
webhook_secret = "change me"     # this channel may call POST /v1/webhooks/web, signed with it

[poll.market]                    # a marketplace's pages of orders are asked for
channel = "marketplace"
url = "http://127.0.0.1:9090/marketplace"
every_s = 5                      # or at = "30 6 * * 1-5" (crontab), with timezone = "America/Chicago"

[drop.acme]                      # order files dropped into a folder
channel = "edi"
directory = "drop/acme"
complete = "newline"             # a file is whole when its last line ends; or "rest", "rename", "marker"
decimal = ","                    # 2,5 is two and a half, and 1.000 a thousand; dates = "dmy", encoding = "cp1252"

[channel.marketplace]
sites = ["DC1", "DC2"]           # it may be promised from these only
cap = "500"                      # at most so much of an item
floor = "20"                     # so much of an item that others may not take
hold_count = 100                 # reservations of an item alive at once,
hold_units = "50"                # of so much of it in all,
hold_s = 1800                    # each for so long at most,
hold_total = 10000               # and alive at once over all items (see streams.commands.hold_counts)

[endpoint.erp]                   # orders that channels place are posted here: crossdock runs them
role = "erp"
url = "http://127.0.0.1:9090/erp"
window = 8                       # so many calls at once
timeout_s = 10

[endpoint.dc]                    # where orders are released to be picked
role = "wms"
url = "http://127.0.0.1:9090/wms"

[endpoint.portal]                # hears of each new status
role = "notify"
url = "http://127.0.0.1:9090/portal/notices"
secret = "change me"             # notices are signed with it

[erp]                            # how Debezium's connector writes; found from its first records where not said
decimals = "string"              # its decimal.handling.mode: string or precise
schema = "public"                # tables of other schemas are none of ours

[kafka]                          # with log = "kafka://broker1:9092,broker2:9092"
standby = 1                      # another worker keeps each partition's rows current
[kafka.clients]                  # properties of librdkafka, for every client
"security.protocol" = "SASL_SSL" # secrets rather: CROSSDOCK_KAFKA__CLIENTS__SASL_PASSWORD

[http]                           # what one process serves at once, and how long a client may take
connections = 256                # requests (160) being answered, streams (64) of live pages, and health
body_s = 60

[clock]                          # a larger step of the machine's clock is not believed at once
bound_s = 60                     # it is once it has lasted confirm_s, or a person says so: crossdock clock --confirm

[disk]                           # with less room than that, crossdock is not ready
least_free_mb = 256

[limits]                         # a source of which so much is refused is paused until crossdock resume SOURCE
dead_letters = 1000              # within window_s seconds, if they are more than share of what came
window_s = 3600
share = 0.5
flow_dead_letters = 10000        # refused by one partition of a fold, whoever sent it: the fold stands still
[limits.source.wms]
dead_letters = 5000

[order]                          # how orders are run, and how long each stage may take before a person is told
confirm_s = 900
short_pause_s = 3600             # a warehouse that found nothing of a line is not sent for it again before
change_s = 604800                # a change that comes before its order waits so long for it, then it has expired
price_tolerance = "0.01"
credit_currency = "USD"          # of the ERP's credit limits, where its customers do not say theirs
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from connectors.texts import masked
from schemas.near import nearest
from streams.agents.inbound import Door, FolderSource, PolledSource
from streams.engine.limits import Limits
from streams.settings.sections import (
    PARTS,
    ChannelName,
    ChannelSettings,
    ClockSettings,
    DiskSettings,
    DropSettings,
    EndpointSettings,
    ErpSettings,
    HttpPart,
    KafkaPart,
    LimitsPart,
    OrderSettings,
    PollSettings,
    SiteSettings,
    milliseconds,
)
from tables.common.policy import MAX_HORIZON_DAYS, AtpPolicy, ChannelPolicy, OrderPolicy, Policy, SafetyPolicy, SitePolicy
from tables.deliveries.state import EndpointPolicies

FILE = Path("crossdock.toml")
PREFIX = "CROSSDOCK_"
KAFKA = "kafka://"


class BadSettings(Exception):
    """A setting is wrong: the sentence names it and what is allowed."""


class Settings(BaseSettings):
    """All settings. Make them with `load`, which says in words what is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, toml_file=FILE, env_nested_delimiter="__")

    data: Path = Path("data")
    log: str = ""
    api: str = "127.0.0.1:8080"
    channels: tuple[ChannelName, ...] = ("web", "marketplace", "crm", "edi", "phone")
    horizon_days: Annotated[int, Field(ge=1, le=MAX_HORIZON_DAYS)] = 30
    policy: AtpPolicy = "lookahead"
    safety_stock: SafetyPolicy = "network"
    infinite_after_days: Annotated[int, Field(ge=0, le=MAX_HORIZON_DAYS)] | None = None
    site: dict[str, SiteSettings] = Field(default_factory=dict)
    channel: dict[str, ChannelSettings] = Field(default_factory=dict)
    default_site: SiteSettings = SiteSettings()
    default_channel: ChannelSettings = ChannelSettings()
    poll: dict[str, PollSettings] = Field(default_factory=dict)
    drop: dict[str, DropSettings] = Field(default_factory=dict)
    endpoint: dict[ChannelName, EndpointSettings] = Field(default_factory=dict)
    order: OrderSettings = OrderSettings()
    erp: ErpSettings = Field(default_factory=lambda: ErpSettings(schema=None))
    kafka: KafkaPart = KafkaPart()
    http: HttpPart = HttpPart()
    clock: ClockSettings = ClockSettings()
    disk: DiskSettings = DiskSettings()
    limits: LimitsPart = LimitsPart()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file over the data's own file."""
        given = {**env_settings(), **getattr(init_settings, "init_kwargs", {})}
        beside = Path(str(given.get("data", settings_cls.model_fields["data"].default))) / FILE
        own, its = (TomlConfigSettingsSource(settings_cls, toml_file=file) for file in (FILE, beside))
        return init_settings, env_settings, own, its

    @field_validator("log")
    @classmethod
    def _log(cls, value: str) -> str:
        kind, _, where = value.partition(":")
        if kind == "kafka":
            _require_brokers(value)
        elif value and (kind != "embedded" or not where):
            raise ValueError(
                f"{value!r} is not understood: use embedded:<directory>, like embedded:./data, or kafka://<host>:<port>"
            )
        return value

    @field_validator("api")
    @classmethod
    def _api(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"{value!r} is not understood: use <address>:<port>, like 127.0.0.1:8080")
        if not _is_loopback(host):
            raise ValueError(
                f"{host!r} is not a loopback address: until there is authentication, the API listens on 127.0.0.1 only"
            )
        return value

    @model_validator(mode="after")
    def _channels_known(self) -> Settings:
        for name in self.channel:
            if name not in self.channels:
                known = ", ".join(self.channels)
                raise ValueError(f"channel.{name} is not among channels ({known}): add it there{_or(name, self.channels)}")
        for kind, doors in (("poll", self.poll), ("drop", self.drop)):
            for name, door in doors.items():
                if door.channel not in self.channels:
                    says = f"{kind}.{name} brings orders of {door.channel!r}, which is not among channels: add it there"
                    raise ValueError(says + _or(door.channel, self.channels))
        return self

    @model_validator(mode="after")
    def _limited_known(self) -> Settings:
        known = ("erp", "wms", "crm-customers", *self.channels)
        for name in self.limits.source:
            if name not in known:
                raise ValueError(f"limits.source.{name} is not a source: the sources are {', '.join(known)}{_or(name, known)}")
        return self

    @field_validator("endpoint")
    @classmethod
    def _one_of_a_kind(cls, value: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
        for role in ("erp", "wms"):
            names = [name for name, endpoint in value.items() if endpoint.role == role]
            if len(names) > 1:
                raise ValueError(f"{' and '.join(names)} both have role {role}: there can be one")
        if value and not any(endpoint.role == "erp" for endpoint in value.values()):
            raise ValueError(
                f"no endpoint has role erp: orders are run only with one, so {', '.join(value)} would never hear of any"
            )
        return value

    @property
    def is_kafka(self) -> bool:
        """Whether the log is on Kafka, where other processes share it."""
        return self.log.startswith(KAFKA)

    @property
    def brokers(self) -> str:
        """The addresses to begin with, as Kafka clients take them."""
        return self.log.removeprefix(KAFKA)

    @property
    def directory(self) -> Path:
        """Where the embedded log and everything else local is kept."""
        return Path(self.log.partition(":")[2]) if self.log and not self.is_kafka else self.data

    @property
    def api_host(self) -> str:
        """The address the API listens on."""
        return self.api.rpartition(":")[0].strip("[]")

    @property
    def api_port(self) -> int:
        """The port the API listens on; 0 takes a free one."""
        return int(self.api.rpartition(":")[2])

    def to_limits(self) -> Limits:
        """How much may be refused before it is paused."""
        return self.limits.to_limits()

    def hold_total(self, channel: str) -> int:
        """How many reservations a channel may have alive over all items."""
        return self.channel.get(channel, self.default_channel).hold_total

    def webhook_secrets(self) -> dict[str, bytes]:
        """The channels that may call, and with what they sign."""
        named = ((name, channel.webhook_secret) for name, channel in self.channel.items())
        return {name: secret.get_secret_value().encode() for name, secret in named if secret is not None}

    def doors(self) -> list[Door]:
        """What brings orders in by itself."""
        polled = [PolledSource(name, p.channel, p.url, p.every_s, p.timeout_s, p.at, p.timezone) for name, p in self.poll.items()]
        return [*polled, *(FolderSource(name, d.channel, d.directory, d.every_s, d.declared()) for name, d in self.drop.items())]

    def to_policy(self) -> Policy:
        """The choices the rules need."""
        return Policy(
            horizon_days=self.horizon_days,
            atp_policy=self.policy,
            safety_stock=self.safety_stock,
            infinite_after_days=self.infinite_after_days,
            sites={name: _site(site) for name, site in self.site.items()},
            channels={name: _channel(channel) for name, channel in self.channel.items()},
            default_site=_site(self.default_site),
            default_channel=_channel(self.default_channel),
        )

    def to_order_policy(self) -> OrderPolicy:
        """How orders are run."""
        by_role: dict[str, list[str]] = {"erp": [], "wms": [], "notify": []}
        for name, endpoint in self.endpoint.items():
            by_role[endpoint.role].append(name)
        order = self.order
        return OrderPolicy(
            erp=next(iter(by_role["erp"]), None),
            wms=next(iter(by_role["wms"]), None),
            notify=tuple(sorted(by_role["notify"])),
            price_tolerance=order.price_tolerance,
            check_ms=milliseconds(order.check_s),
            confirm_ms=milliseconds(order.confirm_s),
            release_ms=milliseconds(order.release_s),
            ship_ms=milliseconds(order.ship_s),
            invoice_ms=milliseconds(order.invoice_s),
            invoice_pause_ms=milliseconds(order.invoice_pause_s),
            short_pause_ms=milliseconds(order.short_pause_s),
            change_ms=milliseconds(order.change_s),
        )

    def to_endpoint_policies(self) -> EndpointPolicies:
        """How each endpoint is served."""
        return EndpointPolicies({name: endpoint.to_policy() for name, endpoint in sorted(self.endpoint.items())})

    def to_policies(self) -> tuple[Policy, OrderPolicy, EndpointPolicies, str]:
        """All that rules decide by."""
        return self.to_policy(), self.to_order_policy(), self.to_endpoint_policies(), self.order.credit_currency


def _site(site: SiteSettings) -> SitePolicy:
    past_due = None if site.past_due == "drop" else site.past_due
    return SitePolicy(site.physical_owner, past_due, site.timezone, site.safety_stock)


def _channel(channel: ChannelSettings) -> ChannelPolicy:
    return ChannelPolicy(
        sites=channel.sites,
        cap_milli=channel.cap,
        floor_milli=channel.floor,
        hold_count=channel.hold_count,
        hold_milli=channel.hold_units,
        hold_ms=channel.hold_s * 1_000,
    )


def _or(name: str, known: Iterable[str]) -> str:
    """What was probably meant, if anything is like it."""
    meant = nearest(name, known)
    return f", or did you mean {meant}?" if meant else ""


def _require_brokers(value: str) -> None:
    """Raises `ValueError` for what is not a list of brokers."""
    if "@" in value:
        raise ValueError("has a user: brokers' security goes into kafka.clients, and log is kafka://<host>:<port>")
    for address in value.removeprefix(KAFKA).split(","):
        host, _, port = address.rpartition(":")
        if not value.startswith(KAFKA) or not host or "/" in host or not port.isascii() or not port.isdigit():
            raise ValueError(f"{value!r} is not understood: use kafka://<host>:<port>, several separated by commas")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load(**given: Any) -> Settings:
    """Read the settings; `given` (from the command line) wins over the environment, that over the file.

    Raises `BadSettings`, one line for each thing wrong.
    """
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower().partition("__")[0] not in Settings.model_fields
    )
    if unknown:
        known = ", ".join(PREFIX + name.upper() for name in Settings.model_fields)
        meant = nearest(unknown[0].removeprefix(PREFIX).lower().partition("__")[0], Settings.model_fields)
        hint = f" Did you mean {PREFIX}{meant.upper()}?" if meant else ""
        raise BadSettings(f"{unknown[0]} is not a setting. There are {known}.{hint}")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise BadSettings("\n".join(_sentence(e) for e in error.errors())) from None
    except (SettingsError, tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"The settings cannot be read ({FILE}, {PREFIX}*): {error}") from None


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part not in {"literal['drop']", "constrained-int"}) or "settings"
    if error["type"] == "extra_forbidden":
        fields = PARTS.get(str(error["loc"][0]), []) if len(error["loc"]) > 1 else list(Settings.model_fields)
        meant = nearest(str(error["loc"][-1]), fields)
        return f"{key}: there is no such setting. Allowed: {', '.join(fields)}." + (f" Did you mean {meant}?" if meant else "")
    sentence = f"{key}: {error['msg'].removeprefix('Value error, ')}"
    is_secret = "secret" in key or "clients" in key
    is_shown = not is_secret and isinstance(error["input"], str | int | float)  # a whole part may have a secret in it
    return f"{sentence} (given: {masked(str(error['input']))[:80]!r})." if is_shown else f"{sentence}."
