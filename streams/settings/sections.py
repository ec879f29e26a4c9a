"""The parts of the settings: what a site, a channel, a door, an endpoint can be told, and what is wrong with a value."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from connectors.api.http_server import ConnectionLimits
from connectors.erp.known import FeedState
from connectors.files.layout import Dates, Layout
from connectors.files.orders_csv.wire import MAX_FILE_BYTES
from connectors.texts import masked
from schemas.errors import BadMessage
from schemas.quantity import parse_milli
from streams.agents.drop_folder import PATIENCE_S, SETTLED_S, Complete, DropFolderFormat
from streams.engine.limits import Limits, SourceLimit
from streams.monitoring.trusted_clock import ClockPolicy
from tables.common.policy import MAX_HORIZON_DAYS, EndpointPolicy, OrderPolicy, PhysicalOwner


def _milli(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('is a quantity as text, like "24" or "2.5"')
    try:
        milli = parse_milli(value, "the quantity")
    except BadMessage as error:
        raise ValueError(error.reason) from None
    if milli < 0:
        raise ValueError("is not below 0")
    return milli


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    try:
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and bool(httpx.URL(text).host)
    except (ValueError, httpx.InvalidURL):  # a port out of range, a control character
        is_address = False
    if not is_address:
        raise ValueError(f"{masked(text)!r} is not an address, like http://127.0.0.1:9090/marketplace")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone, like America/Chicago") from None
    return name


def _crontab(line: str) -> str:
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - few settings have one

    if len(line.split()) != 5 or not croniter.is_valid(line):
        raise ValueError(f"{line!r} is not a crontab line of five fields, like '30 6 * * 1-5' (6:30 on working days)")
    return line


def _text(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError('is a number as text, like "0.01"')
    return value


MAX_HOLD_S = 7 * 86_400
LEAST_SLACK_S = 1.0  # for the answer to be written before the lease ends
Quantity = Annotated[int, BeforeValidator(_milli)]
Crontab = Annotated[str, AfterValidator(_crontab)]
Zone = Annotated[str, AfterValidator(_zone)]
Secret = Annotated[SecretStr, Field(min_length=8)]
Url = Annotated[str, AfterValidator(_http_url)]
Tolerance = Annotated[Decimal, BeforeValidator(_text), Field(ge=0, le=1, decimal_places=6)]
StageTime = Annotated[float, Field(gt=0, le=366 * 86_400)]
ChannelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


_ORDER = OrderPolicy()
_LIMITS = Limits()


def milliseconds(seconds: float) -> int:
    """Seconds of a setting in the rules' unit."""
    return round(seconds * 1000)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SiteSettings(_Part):
    """How one site is run."""

    physical_owner: PhysicalOwner = "wms"
    past_due: Literal["drop"] | Annotated[int, Field(ge=0, le=MAX_HORIZON_DAYS)] = "drop"
    timezone: Zone | None = None
    safety_stock: dict[str, Quantity] = {}


class ChannelSettings(_Part):
    """What one channel may take and hold of an item, and the secret with which it signs its calls, if it may call.

    `hold_total`: reservations of all items alive at once (see `streams.commands.hold_counts` for how exact that is).
    """

    sites: tuple[str, ...] | None = None
    cap: Quantity | None = None
    floor: Quantity = 0
    hold_count: Annotated[int, Field(ge=0, le=1_000_000)] = 1_000
    hold_units: Quantity | None = None
    hold_s: Annotated[int, Field(ge=1, le=MAX_HOLD_S)] = MAX_HOLD_S
    hold_total: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    webhook_secret: Secret | None = None


class PollSettings(_Part):
    """A marketplace whose pages are asked for every so often, or `at` the times of a crontab line, read in `timezone`."""

    channel: ChannelName
    url: Url
    every_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    at: Crontab | None = None
    timezone: Zone = "UTC"
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0

    @model_validator(mode="after")
    def _one_rhythm(self) -> PollSettings:
        if self.at is not None and "every_s" in self.model_fields_set:
            raise ValueError("give every_s or at, not both")
        if self.at is None and "timezone" in self.model_fields_set:
            raise ValueError("timezone says how at is read, and there is no at")
        return self


def _encoding(name: str) -> str:
    try:
        known = codecs.lookup(name)
        "".encode(name)  # a text encoding, and no other codec
    except LookupError:
        raise ValueError(f"{name!r} is not a known encoding, like utf-8, cp1252 or utf-16") from None
    return known.name


class DropSettings(_Part):
    """A folder of order files: what shows that a file is whole, and how numbers, dates and letters are written in it.

    `complete`: see `streams.agents.drop_folder.DropFolderFormat`. `decimal` and `thousands`: the marks in numbers; `dates`: the
    order of day, month and year; `timezone`: of times without one; `encoding`: of files that are not UTF-8 and have no byte
    order mark.
    """

    channel: ChannelName
    directory: Path
    every_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    complete: Complete = "newline"
    marker: Annotated[str, Field(pattern=r"^[.][A-Za-z0-9._-]{1,20}$")] = ".done"
    settled_s: Annotated[float, Field(ge=0, le=3600)] = SETTLED_S
    patience_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = PATIENCE_S
    max_bytes: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)] = MAX_FILE_BYTES
    decimal: Literal[".", ","] | None = None
    thousands: Literal["", ".", ",", " ", "'", "\u2019"] | None = None
    dates: Dates = "iso"
    timezone: Zone | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> DropSettings:
        if self.thousands is not None and self.decimal is None:
            raise ValueError("thousands says how decimal's numbers are grouped, and there is no decimal")
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError("decimal and thousands are the same mark")
        if self.marker != ".done" and self.complete != "marker":
            raise ValueError('marker is for complete = "marker"')
        return self

    def declared(self) -> DropFolderFormat:
        """What the agent needs of it."""
        layout = Layout(self.decimal or "", self.thousands, self.dates, self.timezone)
        return DropFolderFormat(
            complete=self.complete,
            marker=self.marker,
            settled_s=self.settled_s,
            patience_s=self.patience_s,
            max_bytes=self.max_bytes,
            layout=layout,
            encoding=self.encoding,
        )


class EndpointSettings(_Part):
    """A system orders are posted to (`erp`), released to (`wms`), or told of (`notify`), and how it is served."""

    role: Literal["erp", "wms", "notify"]
    url: Url
    secret: Secret | None = None
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    window: Annotated[int, Field(ge=1, le=1_000)] = 8
    lease_s: Annotated[float, Field(ge=1, le=3_600)] = 30.0
    retry_s: Annotated[float, Field(ge=0.01, le=3_600)] = 0.5
    retry_most_s: Annotated[float, Field(ge=0.01, le=86_400)] = 60.0
    attempts: Annotated[int, Field(ge=1, le=1_000)] = 10
    open_after: Annotated[int, Field(ge=1, le=1_000)] = 5
    pause_s: Annotated[float, Field(ge=0.01, le=3_600)] = 2.0
    pause_most_s: Annotated[float, Field(ge=0.01, le=86_400)] = 30.0

    @model_validator(mode="after")
    def _is_whole(self) -> EndpointSettings:
        if self.role == "notify" and self.secret is None:
            raise ValueError("secret is missing: notices are signed with it")
        if self.role != "notify" and self.secret is not None:
            raise ValueError(f"secret is for notices only, and its role is {self.role}: leave it out")
        if self.lease_s < self.timeout_s + LEAST_SLACK_S:
            raise ValueError(f"lease_s is at least timeout_s + {LEAST_SLACK_S:g}: a call has to end within its lease")
        for name in ("retry", "pause"):
            if getattr(self, f"{name}_most_s") < getattr(self, f"{name}_s"):
                raise ValueError(f"{name}_most_s is not below {name}_s")
        return self

    def to_policy(self) -> EndpointPolicy:
        """What the rules need of it."""
        return EndpointPolicy(
            window=self.window,
            lease_ms=milliseconds(self.lease_s),
            retry_ms=milliseconds(self.retry_s),
            retry_most_ms=milliseconds(self.retry_most_s),
            attempts=self.attempts,
            open_after=self.open_after,
            pause_ms=milliseconds(self.pause_s),
            pause_most_ms=milliseconds(self.pause_most_s),
        )


class HttpPart(_Part):
    """How much one process serves over HTTP at once, and how long a client may take.

    `connections`: at once; of those, `requests` are being answered and `streams` are live pages. `head_s`, `body_s`: for a
    request's head and body to come whole; `write_s`: for a client to read on.
    """

    connections: Annotated[int, Field(ge=8, le=65_536)] = 256
    requests: Annotated[int, Field(ge=4, le=65_536)] = 160
    streams: Annotated[int, Field(ge=1, le=10_000)] = 64
    head_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    body_s: Annotated[float, Field(ge=0.1, le=3_600)] = 60.0
    write_s: Annotated[float, Field(ge=0.1, le=3_600)] = 30.0

    @model_validator(mode="after")
    def _leaves_room(self) -> HttpPart:
        if self.requests + self.streams >= self.connections:
            raise ValueError("connections is more than requests and streams together: health is asked over the rest")
        return self

    def bounds(self) -> ConnectionLimits:
        """What the server needs of it."""
        return ConnectionLimits(self.connections, self.head_s, self.body_s, self.write_s)


_OURS = {
    "bootstrap.servers": "the addresses are in log",
    "group.id": "the roles decide it",
    "group.instance.id": "static decides it",
    "transactional.id": "the data directory decides it",
    "transaction.timeout.ms": "it is transaction_ms",
    "session.timeout.ms": "it is session_ms",
    "max.poll.interval.ms": "it is rebalance_ms",
    **dict.fromkeys(
        ("enable.idempotence", "acks", "isolation.level", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset"),
        "exactly once depends on it",
    ),
}
"""Properties of Kafka clients that nobody may set, and why."""


def _properties(value: Any) -> Any:
    """Properties as librdkafka names them. The environment's names can hold no dots: there `_` stands for one."""
    if not isinstance(value, Mapping):
        raise ValueError('are properties of librdkafka, like {"security.protocol" = "SASL_SSL"}')
    found: dict[str, Any] = {}
    for given, raw in value.items():
        name = str(given) if "." in str(given) else str(given).replace("_", ".")
        if name in _OURS:
            raise ValueError(f"{name} is not for you to set: {_OURS[name]}")
        if not isinstance(raw, str | int | float):
            raise ValueError(f"{name} is a text, a number, true or false")
        found[name] = str(raw).lower() if isinstance(raw, bool) else str(raw)
    return found


class KafkaPart(_Part):
    """How the brokers of `log = "kafka://..."` are used.

    `clients` goes to every client as it is (security). `replication`: of topics that are made (none: the brokers' default).
    `standby`: how many other workers keep the rows of each partition current, so that they take over at once. `static`: a worker
    that comes back within `session_ms` finds its partitions waiting. `rebalance_ms` (`session_ms` if that is more): how long a
    worker may take for a batch, and how long the others then wait for it before they go on without.
    """

    clients: Annotated[dict[str, SecretStr], BeforeValidator(_properties)] = Field(default_factory=dict)
    replication: Annotated[int, Field(ge=1, le=32)] | None = None
    standby: Annotated[int, Field(ge=0, le=1)] = 0
    static: bool = False
    session_ms: Annotated[int, Field(ge=1_000, le=1_800_000)] = 10_000
    rebalance_ms: Annotated[int, Field(ge=5_000, le=1_800_000)] = 60_000
    transaction_ms: Annotated[int, Field(ge=1_000, le=900_000)] = 15_000


class SourceLimitSettings(_Part):
    """How much of one source may be refused: what is not given is as for all."""

    dead_letters: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    share: Annotated[float, Field(ge=0, lt=1)] | None = None


class LimitsPart(_Part):
    """How much may be refused before a source is read no further, until `crossdock resume`.

    A source is paused after `dead_letters` within `window_s`, if they are more than `share` of what came since the first of them.
    `source`: limits of single sources (erp, wms, crm-customers, a channel). A fold that refuses `flow_dead_letters` in one
    partition, wherever they come from, stands still: that is not a source's fault.
    """

    dead_letters: Annotated[int, Field(ge=1, le=10_000_000)] = _LIMITS.source.dead_letters
    share: Annotated[float, Field(ge=0, lt=1)] = _LIMITS.source.share
    window_s: Annotated[int, Field(ge=1, le=31 * 86_400)] = _LIMITS.window_ms // 1_000
    flow_dead_letters: Annotated[int, Field(ge=1, le=100_000_000)] = _LIMITS.flow.dead_letters
    source: dict[str, SourceLimitSettings] = Field(default_factory=dict)

    def to_limits(self) -> Limits:
        """As the engine takes them."""
        return Limits(
            source=SourceLimit(self.dead_letters, self.share),
            sources={name: self._of(limit) for name, limit in self.source.items()},
            window_ms=self.window_s * 1_000,
            flow=SourceLimit(self.flow_dead_letters, self.share),
        )

    def _of(self, limit: SourceLimitSettings) -> SourceLimit:
        dead_letters = self.dead_letters if limit.dead_letters is None else limit.dead_letters
        return SourceLimit(dead_letters, self.share if limit.share is None else limit.share)


class ErpSettings(_Part):
    """How the ERP's feed is written: `decimals` is the connector's decimal.handling.mode, `schema` the one its tables are in.

    What is not said is found from the first records that show it, and holds from then on.
    """

    decimals: Literal["string", "precise"] | None = None
    schema_: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(None, alias="schema")

    def to_known(self) -> FeedState:
        """What the translator knows of the feed from the beginning."""
        return FeedState(decimals=self.decimals or "", schema=self.schema_ or "")


class OrderSettings(_Part):
    """How orders are run: how far a price may be off, how long each stage may take, what is billed together."""

    price_tolerance: Tolerance = _ORDER.price_tolerance
    check_s: StageTime = _ORDER.check_ms / 1000
    confirm_s: StageTime = _ORDER.confirm_ms / 1000
    release_s: StageTime = _ORDER.release_ms / 1000
    ship_s: StageTime = _ORDER.ship_ms / 1000
    invoice_s: StageTime = _ORDER.invoice_ms / 1000
    invoice_pause_s: Annotated[float, Field(ge=0, le=86_400)] = _ORDER.invoice_pause_ms / 1000
    short_pause_s: Annotated[float, Field(ge=0, le=7 * 86_400)] = _ORDER.short_pause_ms / 1000
    change_s: StageTime = _ORDER.change_ms / 1000
    credit_currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


class ClockSettings(_Part):
    """How far the machine's clock may step before it is not believed, and what it takes then.

    `bound_s`: a larger step is not believed at once. `confirm_s`: it is once it has lasted so long, unless it is larger than
    `unattended_s`: then a person has to confirm it. `downtime_days`: so long the machine may have been off without anybody asked.
    """

    bound_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    confirm_s: Annotated[float, Field(ge=1, le=30 * 86_400)] = 600.0
    unattended_s: Annotated[float, Field(ge=0, le=3_660 * 86_400)] = 86_400.0
    downtime_days: Annotated[float, Field(ge=0.01, le=3_660)] = 7.0

    def to_policy(self) -> ClockPolicy:
        """What the clock needs of it."""
        return ClockPolicy(
            milliseconds(self.bound_s),
            milliseconds(self.confirm_s),
            milliseconds(self.unattended_s),
            milliseconds(self.downtime_days * 86_400),
        )


class DiskSettings(_Part):
    """How much room the data directory's disk has to have: with less, crossdock is not ready."""

    least_free_mb: Annotated[int, Field(ge=1, le=10_000_000)] = 256


PARTS: dict[str, list[str]] = {
    "limits": list(LimitsPart.model_fields),
    "site": list(SiteSettings.model_fields),
    "default_site": list(SiteSettings.model_fields),
    "channel": list(ChannelSettings.model_fields),
    "poll": list(PollSettings.model_fields),
    "drop": list(DropSettings.model_fields),
    "default_channel": list(ChannelSettings.model_fields),
    "endpoint": list(EndpointSettings.model_fields),
    "order": list(OrderSettings.model_fields),
    "erp": ["decimals", "schema"],
    "kafka": list(KafkaPart.model_fields),
    "http": list(HttpPart.model_fields),
    "clock": list(ClockSettings.model_fields),
    "disk": list(DiskSettings.model_fields),
}
"""The fields of each part, by the setting's name."""
