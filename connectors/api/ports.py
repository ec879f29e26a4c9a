"""What the HTTP API needs from the rest: readers, a command port, and the inputs. The wiring hands them in (`create_api`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from connectors.api.console.ports import Console
from schemas.deliveries import EndpointStatus
from schemas.inventory import Atp, LedgerEntry
from schemas.operations import ExceptionRow
from schemas.orders import ChangeAnswered, Milestone, OrderStatus


class Busy(Exception):
    """No answer in time, or the log cannot serve now. `hint` says what to do; the request may have taken effect."""

    def __init__(self, reason: str, hint: str, *, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.is_timeout = is_timeout


class TooMany(Exception):
    """The caller has as much as it may have: nothing was done. `wait_s`: when it may be worth trying again."""

    def __init__(self, reason: str, hint: str, wait_s: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.wait_s = wait_s


class KeyReused(Exception):
    """The Idempotency-Key belongs to another request."""


class Unsigned(Exception):
    """The signature of a call is missing or wrong."""


class NotKnown(Exception):
    """There is no such thing. The sentence says what there is."""


class Invalid(Exception):
    """The document breaks a rule of its format, or the request cannot be carried out as things are."""

    def __init__(self, reason: str, hint: str = "", *, is_conflict: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.is_conflict = is_conflict


# --- promises ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AtpQuery:
    """Which view of an item's promise is wanted. None: all sites, no channel, the configured policy, from today."""

    site: str | None = None
    channel: str | None = None
    policy: str | None = None
    start: date | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class QuoteDay:
    """One day of a series; `promise_milli` = max(0, ATP): 0 of an item that is not sold; of a discontinued one, today's.

    `is_unlimited`: past the lead-time fence any quantity is promised.
    """

    day: date
    supply_milli: int
    demand_milli: int
    projected_milli: int
    atp_milli: int
    promise_milli: int
    is_unlimited: bool = False


@dataclass(frozen=True, slots=True)
class SiteQuote:
    """One site's series. `projected` and `atp` are those of its first day shown."""

    site: str
    today: date
    atp_milli: int
    promise_milli: int
    days: list[QuoteDay]


@dataclass(frozen=True, slots=True)
class Quote:
    """An item's promise by the policy asked for, per site and summed over the sites."""

    policy: str
    channel: str | None
    atp_milli: int
    promise_milli: int
    days: list[QuoteDay]
    sites: list[SiteQuote]


@dataclass(frozen=True, slots=True)
class SourceFreshness:
    """How far a source has been read and how much of it waits."""

    source: str
    waiting_records: int
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class CheckLine:
    """A wish: `qty_milli` of `uom` (base unit if none), from `site` (any if none), by `day` (as soon as possible if none)."""

    item: str
    qty_milli: int
    uom: str | None
    site: str | None
    day: date | None


@dataclass(frozen=True, slots=True)
class CheckPart:
    """A step of an answer: so much, from there, on that day."""

    site: str
    day: date
    qty_milli: int


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What a line can have. `available_milli`: by the day wanted. `promised_on`: the first day all of it can be had."""

    item: str
    uom: str | None
    qty_milli: int
    is_available: bool
    available_milli: int
    promised_on: date | None
    parts: list[CheckPart]
    reason: str | None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """An audit of a site (all if none), as of an instant (`at`, as a person writes it), from where the last answer ended."""

    site: str | None = None
    at: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Oversales that ended in these rows and, if they are the last (`next` is none), those that have not ended.

    Rows are `tables.inventory.oversell_audit.Oversale`, with a sentence for each. `gap`: the event before which ledger rows are
    missing, "" if none are. `is_proved`: the whole ledger was read, and is whole.
    """

    is_proved: bool
    events: int
    oversales: Sequence[Any]
    sentences: Sequence[str]
    gap: str
    proved: str
    not_proved: str
    next: str | None


class Promises(Protocol):
    """ATP: published rows, and what follows from them by any policy."""

    def policies(self) -> Sequence[str]:
        """The names of the policies there are."""
        ...

    def atp(self, item: str) -> Atp | None:
        """The published row."""
        ...

    def atp_page(self, after: str | None, limit: int) -> list[Atp]:
        """Rows in item order, after an item."""
        ...

    def quote(self, atp: Atp, query: AtpQuery) -> Quote:
        """The row seen by another policy, channel, site or horizon. Raises `NotKnown` for an unknown site or policy.

        Raises `Invalid` for an unknown channel.
        """
        ...

    def check(self, lines: Sequence[CheckLine], channel: str | None) -> list[CheckAnswer]:
        """Whether the lines can be had together: a line leaves less for those after it. Holds nothing.

        Raises `NotKnown` for an unknown site, `Invalid` for an unknown channel.
        """
        ...

    def calculate(
        self, policy: str, opening_milli: int, safety_milli: int, supply_milli: Sequence[int], demand_milli: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """The formula alone: (atp, projected) by day index. Raises `NotKnown` for an unknown policy."""
        ...

    def freshness(self) -> list[SourceFreshness]:
        """How fresh each source is."""
        ...

    def ledger(self, item: str, before: int | None, limit: int) -> list[tuple[int, LedgerEntry]]:
        """Ledger rows of an item with their offsets, oldest first, before an offset."""
        ...

    def audit(self, item: str, query: AuditQuery) -> AuditPage:
        """Goes through the next rows of an item's ledger. Raises `Invalid` for an instant or a place that is not valid.

        Raises `NotKnown` for an unknown site.
        """
        ...


# --- commands ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReserveCommand:
    """A hold wanted. `body_hash` tells a repeated request from another one under the same key."""

    key: str
    body_hash: str
    item: str
    qty_milli: int
    uom: str | None
    site: str | None
    channel: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class CommandResponse:
    """A decided answer: HTTP status and JSON body."""

    status: int
    body: dict[str, Any]


class Reservations(Protocol):
    """Commands that a fold decides; the answer is durable, so the same command again gets the same answer."""

    async def reserve(self, command: ReserveCommand) -> CommandResponse:
        """Hold units. Raises `Busy`, `KeyReused`, `TooMany`."""
        ...

    async def release(self, reservation_id: str) -> CommandResponse:
        """Give a hold back. Raises `Busy`, `NotKnown`."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """Durable: so many messages, the last one at `trace_id`. `change`: the request for change it is, if it is one."""

    count: int
    trace_id: str | None
    change: str | None = None


class Ingest(Protocol):
    """Raw messages in. Returns once they are durable."""

    def sources(self) -> Sequence[str]:
        """The sources there are."""
        ...

    def accept(self, source: str, messages: Sequence[bytes]) -> Accepted:
        """Append raw messages of a source, all or none. Raises `NotKnown`, `Invalid`, `Busy`."""
        ...


class Webhooks(Protocol):
    """Calls of systems that sign what they send. Returns once the body is durable."""

    def accept(self, channel: str, body: bytes, signature: str) -> Accepted:
        """Append a signed body. Raises `NotKnown` (no channel that may call), `Unsigned`, `Busy`."""
        ...


class Orders(Protocol):
    """Orders in and their state out."""

    def place(self, document: bytes) -> tuple[str, Accepted]:
        """Append a channel's order document; (order id, where). Raises `Invalid` for one its translator would refuse, `Busy`."""
        ...

    def cancel(self, order_id: str, line: int | None, reason: str) -> tuple[str, Accepted]:
        """Append the channel's wish to cancel; (change, where). Raises `NotKnown`, `Invalid` (conflict), `Busy`."""
        ...

    def status(self, order_id: str) -> OrderStatus | None:
        """The published row."""
        ...

    def status_page(self, after: str | None, limit: int) -> list[OrderStatus]:
        """Rows in order-id order, after an id."""
        ...

    def changes(self, order_id: str) -> list[ChangeAnswered]:
        """Requests for change of an order, the newest word on each, oldest first."""
        ...

    def events(self, order_id: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        """The order's inbox events with their offsets, oldest first, before an offset."""
        ...

    def milestones(self, order_id: str) -> list[Milestone]:
        """The milestones reached, oldest first."""
        ...


class Holds(Protocol):
    """Orders that wait for a person."""

    def release(self, order_id: str, reason: str, person: str, note: str) -> tuple[str, Accepted]:
        """Let a held order go on, in spite of a reason or of all (""); (change, where).

        Raises `NotKnown`, `Invalid` (conflict), `Busy`.
        """
        ...


@dataclass(frozen=True, slots=True)
class HeldOrder:
    """An order that waits for its customer's credit, and why."""

    order_id: str
    amount: Decimal | None
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ContactFact:
    """What the CRM says of a customer."""

    field: str
    value: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AuthorityConflict:
    """What the CRM says in a field the ERP owns: not applied."""

    field: str
    value: str
    sentence: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CurrencyAmount:
    """What a customer's open orders amount to in a currency ("": nobody says it), and those of them that go on."""

    currency: str
    open_amount: Decimal
    granted_amount: Decimal


@dataclass(frozen=True, slots=True)
class CustomerView:
    """A customer. `erp`: the ERP's row, none until it has sent it; amounts are none until an order has asked for credit.

    Amounts of several currencies do not add up: then `open_amount` and `granted_amount` are none, and `amounts` has each.
    `held_orders`: the oldest of the `held`.
    """

    customer: str
    is_known: bool
    erp: Any
    open_amount: Decimal | None
    granted_amount: Decimal | None
    held: int
    held_orders: list[HeldOrder]
    contacts: list[ContactFact]
    disagreements: list[AuthorityConflict]
    amounts: list[CurrencyAmount] = field(default_factory=list)


class Customers(Protocol):
    """Customers, to be looked at."""

    def get(self, customer: str) -> CustomerView | None:
        """The customer, if anybody has said anything of it."""
        ...


@dataclass(slots=True)
class ReplayResult:
    """What was fed again: ids of dead letters, or an obligation's. `gone`: letters whose record, too large to be kept with them,
    is no longer in the log. `is_more`: ask again for the others.
    """

    ids: list[str]
    gone: list[str] = field(default_factory=list)
    is_more: bool = False


class Exceptions(Protocol):
    """Exceptions for people, and dead letters."""

    def codes(self) -> Collection[str]:
        """All an exception can have."""
        ...

    def page(self, after: str | None, limit: int) -> list[ExceptionRow]:
        """Rows in fingerprint order, after a fingerprint."""
        ...

    def get(self, fingerprint: str) -> ExceptionRow | None:
        """One row."""
        ...

    def work(self, fingerprint: str, action: str, person: str, note: str) -> None:
        """Assign or resolve. Raises `NotKnown`, `Busy`."""
        ...

    def replay(self, exception_id: str, person: str = "") -> ReplayResult:
        """Feed the quarantined input again, each dead letter once, or have an exhausted obligation tried again.

        By exception fingerprint, dead letter id, or `all` that were not fed again yet.

        Raises `NotKnown`, `Invalid` (there is nothing to replay, or it was done), `Busy`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Halted:
    """A partition stands at a record (`<topic>/<partition>/<offset>`) that it cannot apply. `exit`: the command that skips it."""

    flow: str
    record: str
    event: str
    reason: str
    since_ms: int
    exit: str


@dataclass(frozen=True, slots=True)
class Paused:
    """A source is read no further: too much of it was refused, `record` last."""

    source: str
    flow: str
    record: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """Events that wait for something nobody has sent yet: `name`, like `site DC-1`."""

    flow: str
    name: str
    events: int
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class BlockedOutputView:
    """What follows from a key's rows cannot be worked out: what was published of it before is old."""

    flow: str
    key: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class LimitsShown:
    """When a source is paused, and when a fold. `sources`: limits of their own, (dead letters, share)."""

    dead_letters: int
    share: float
    window_s: int
    flow_dead_letters: int
    sources: Mapping[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Interruptions:
    """What does not go on. `waiting`: oldest first; `is_cut`: more things are waited for than are here.

    `settings`: names in settings that nobody has, each in a sentence.
    """

    halted: Sequence[Halted]
    paused: Sequence[Paused]
    waiting: Sequence[WaitingFor]
    unpublished: Sequence[BlockedOutputView]
    limits: LimitsShown
    is_cut: bool = False
    settings: Sequence[str] = ()


class Interventions(Protocol):
    """What stands, and what a person does about it."""

    def standing(self) -> Interruptions:
        """What does not go on."""
        ...

    def skip(self, record: str, person: str, reason: str) -> None:
        """Have the record set aside at which a partition stands. Raises `NotKnown` if none does, `Busy`."""
        ...

    def resume(self, source: str, person: str, reason: str) -> str:
        """Have a paused source read on; what it is called. Raises `Invalid` if it is not paused, `Busy`."""
        ...

    def settle(self, table: str, person: str, reason: str) -> int:
        """A table's newest snapshot is over: rows it has not read are gone. Returns its position.

        Raises `NotKnown` if there is no such table, `Invalid` if no rows of it are of before that snapshot, `Busy`.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnknownFieldShown:
    """A field of a source's messages that nobody reads, in `count` of them, the last at `example`.

    `meant`: the field that was probably meant, none if none is like it. `advice`: what to do. `is_warning`: it is probably
    misspelt, and came not long ago.
    """

    source: str
    message: str
    field: str
    count: int
    since_ms: int
    last_ms: int
    example: str
    meant: str | None
    advice: str
    is_warning: bool = False


class Sources(Protocol):
    """The feeds of foreign systems."""

    def unknown_fields(self) -> Sequence[UnknownFieldShown]:
        """What they send and nobody reads: what is probably misspelt first, then what comes most often."""
        ...


class Endpoints(Protocol):
    """The systems orders are posted to, released to and told of."""

    def endpoints(self) -> list[EndpointStatus]:
        """Each as it stands, by name."""
        ...


class Tables(Protocol):
    """Any flow's rows, as they are."""

    def names(self) -> Sequence[str]:
        """`<flow>.<table>` of every table."""
        ...

    def rows(self, table: str, key: str | None, after: str | None, limit: int) -> list[tuple[str, Any]]:
        """Rows whose key is or starts with `key` (parts separated by `|`), in key order, after a key.

        Raises `NotKnown` for an unknown table, `Invalid` for a key that is not one of its kind.
        """
        ...

    def packed(self, table: str, after: str | None, limit: int) -> list[tuple[str, str, str]]:
        """Rows as they are stored, for programs: (cursor, key, row), both base64. Raises like `rows`."""
        ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be served, and why not. `says`: the same in a sentence, with what to do."""

    is_ready: bool
    is_live: bool
    checks: Mapping[str, str] = field(default_factory=dict)
    says: str = "Not ready to serve. Try again in a moment."


class Health(Protocol):
    """How the process is."""

    def state(self) -> Readiness:
        """Liveness and readiness with each check's words."""
        ...

    def stale_ms(self) -> int | None:
        """At most how old what readers show is; none while that is not known."""
        ...

    def refresh_metrics(self) -> None:
        """Bring gauges that are read, not counted, up to date."""
        ...


@dataclass(frozen=True, slots=True)
class ClockView:
    """The clock: `now_ms` is decided by. `step_ms`: how far the machine's is from it while that is not believed, else 0.

    `confirmed_in_ms`: when it will be believed by itself; none while it is, and if it takes a person. `says`: all that in words.
    """

    now_ms: int
    machine_ms: int
    is_trusted: bool
    step_ms: int
    confirmed_in_ms: int | None
    says: str


class Clock(Protocol):
    """The clock that is decided by."""

    def state(self) -> ClockView:
        """How it stands."""
        ...

    def confirm(self, person: str, note: str) -> ClockView:
        """A person says that the machine's clock is right. Raises `Invalid` (conflict) if nobody doubts it, `Busy`."""
        ...


LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True, slots=True)
class Ports:
    """All the API is built on. `hosts`: names it answers to (a browser page of another host must not reach it).

    Without `console` there is no live page. `away`: what ports raise, beside `Busy`, while they cannot answer. `most_requests`,
    `most_streams`: how many one process answers, and how many live pages follow, at once. `channels`: those there are.
    """

    promises: Promises
    reservations: Reservations
    orders: Orders
    ingest: Ingest
    webhooks: Webhooks
    holds: Holds
    customers: Customers
    exceptions: Exceptions
    interventions: Interventions
    sources: Sources
    endpoints: Endpoints
    tables: Tables
    health: Health
    registry: CollectorRegistry
    console: Console | None = None
    clock: Clock | None = None
    hosts: tuple[str, ...] = LOOPBACK
    away: tuple[type[Exception], ...] = ()
    channels: tuple[str, ...] = ()
    most_requests: int = 160
    most_streams: int = 64
