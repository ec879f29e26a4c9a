"""What the API may write besides commands: raw messages, orders and their cancellation, work on exceptions, replays."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import connectors.channels.orders.translate as channel_orders
from connectors.api.ports import Accepted, Invalid, NotKnown, ReplayResult, Unsigned
from connectors.channels.formats import WEBSHOP, headers_of
from connectors.channels.webshop.signature import HEADER, is_signed
from connectors.texts import suggestion
from schemas import topics
from schemas.codec import Codec
from schemas.errors import BadMessage
from schemas.operations import ExceptionRow, ExceptionWorked
from schemas.orders import OrderCancelRequested, OrderPlaced, OrderQuantityChangeRequested
from schemas.records import Record
from streams.commands.file_ingest import BadInput, MessageRouter
from streams.commands.hold_release import GIVEN_UP, retry_exhausted
from streams.commands.replay import Replays, replay
from streams.commands.send import append, said_now, send
from streams.engine.log import Log, Outgoing, ReadableLog
from streams.queries.published import Published
from streams.queries.references import check_channel
from tables.operations.exceptions import CODES
from tables.orders.change_requests import change_of
from tables.orders.references import twin_id

_ERP_ORDERS = "erp"


class RawIntake:
    """`connectors.api.ports.Ingest` on the log."""

    def __init__(self, log: Log, channels: Sequence[str]) -> None:
        self._log = log
        self._intake = MessageRouter(log, channels)

    def sources(self) -> Sequence[str]:
        """The sources there are."""
        return self._intake.sources()

    def accept(self, source: str, messages: Sequence[bytes]) -> Accepted:
        """Append raw messages, all or none."""
        records = []
        for n, message in enumerate(messages, 1):
            try:
                self._intake.check(source)
                records.append(self._intake.outgoing(source, message))
            except BadInput as error:
                raise Invalid(f"Message {n}: {error}", "Nothing of the request was taken.") from None
        return append(self._log, records)


class WebhookIntake:
    """`connectors.api.ports.Webhooks` on the log. `secrets`: of the channels that may call."""

    def __init__(self, log: Log, secrets: Mapping[str, bytes]) -> None:
        self._log = log
        self._secrets = dict(secrets)

    def accept(self, channel: str, body: bytes, signature: str) -> Accepted:
        """Append the body as it came."""
        secret = self._secrets.get(channel)
        if secret is None:
            # Whoever calls has shown no signature yet: the names of the others are not for them.
            raise NotKnown(f"No channel {channel[:100]!r} may call here. Check its name, and set its webhook_secret.")
        if not is_signed(secret, body, signature):
            raise Unsigned(f"The body is not signed right. Send in {HEADER} the base64 of its HMAC-SHA256 under the secret.")
        topic = topics.raw_channel(channel).name
        return append(self._log, [Outgoing(topic, 0, None, body, headers_of(WEBSHOP))])


class OrderIntake:
    """`connectors.api.ports.Orders` on the log: orders go the way of any channel message."""

    def __init__(self, log: Log, published: Published, channels: Sequence[str], clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._published = published
        self._channels = tuple(channels)
        self._clock_ms = clock_ms
        self.status = published.order
        self.status_page = published.order_page
        self.events = published.order_events
        self.milestones = published.milestones
        self.changes = published.order_changes

    def place(self, document: bytes) -> tuple[str, Accepted]:
        """Append an order document as it is; one without `placed_at` is placed now."""
        try:
            said: dict[str, Any] = json.loads(document)
            channel = str(said.get("channel") or "").strip().lower()
        except ValueError:
            said, channel = {}, ""
        if not channel:
            raise Invalid("channel is missing", suggestion("channel", "", self._channels))
        check_channel(channel, self._channels)
        if said and "placed_at" not in said and "change" not in said:
            now = datetime.fromtimestamp(self._clock_ms() / 1000, UTC).isoformat(timespec="milliseconds")
            document = b'{"placed_at": "%b", %b' % (now.encode(), document.lstrip()[1:])
        event = self._understood(channel, document)
        order_id = str(event.order_id)
        if isinstance(event, OrderPlaced):
            first = self._published.order(order_id)
            if first is not None and first.customer.strip() != event.customer.strip():
                order_id = twin_id(order_id, event.customer)  # another customer used the reference first
        accepted = append(self._log, [self._raw(channel, document)])
        is_change = isinstance(event, OrderCancelRequested | OrderQuantityChangeRequested)
        return order_id, replace(accepted, change=change_of(order_id, event.event_id)) if is_change else accepted

    def _understood(self, channel: str, document: bytes) -> Any:
        """What the channel's translator makes of it. Raises `Invalid` for what it would put in quarantine."""
        record = Record(topics.raw_channel(channel).name, 0, 0, self._clock_ms(), None, document)
        try:
            (event,) = channel_orders.translate(record).events
        except BadMessage as error:
            raise Invalid(error.reason, error.hint) from None
        return event

    def _raw(self, channel: str, document: bytes) -> Outgoing:
        topic = topics.raw_channel(channel)
        return Outgoing(topic.name, 0, None, document)

    def cancel(self, order_id: str, line: int | None, reason: str) -> tuple[str, Accepted]:
        """Append the channel's wish to cancel; the change it is, and where it stands."""
        row = self._published.order(order_id)
        if row is None:
            raise NotKnown(f"Order {order_id[:100]!r} is not known. Ids are <channel>:<external reference>.")
        if row.channel not in self._channels or order_id.startswith(f"{_ERP_ORDERS}:"):
            raise Invalid(f"Order {order_id} was born in the ERP", "Cancel it there: its change feed tells us.", is_conflict=True)
        if line is not None and all(known.line != line for known in row.lines):
            raise NotKnown(f"Order {order_id} has no line {line}. Its lines: {', '.join(str(k.line) for k in row.lines)}.")
        wish: dict[str, Any] = {"channel": row.channel, "external_ref": row.external_ref, "reason": reason}
        wish |= {"customer": row.customer} if row.customer else {}
        wish |= {"change": "cancel"} if line is None else {"change": "cancel_line", "line": line}
        document = json.dumps(wish).encode()
        event = self._understood(row.channel, document)
        change = change_of(f"{row.channel}:{row.external_ref}", event.event_id)
        return change, append(self._log, [self._raw(row.channel, document)])


class ExceptionCommands:
    """`connectors.api.ports.Exceptions` on the log."""

    def __init__(self, log: ReadableLog, published: Published, codec: Codec, clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._published = published
        self._codec = codec
        self._clock_ms = clock_ms
        self._replays = Replays(log, codec, clock_ms)
        self.page = published.exception_page
        self.get = published.exception

    def codes(self) -> Collection[str]:
        """All an exception can have."""
        return CODES

    def work(self, fingerprint: str, action: str, person: str, note: str) -> None:
        """Assign or resolve."""
        row = self._known(fingerprint)
        if row.state in {"resolved", "cleared"}:
            raise Invalid(f"The exception is {row.state} already", "It opens again if its cause returns.", is_conflict=True)
        said = said_now(self._clock_ms(), f"exception/{fingerprint}")
        send(self._log, self._codec, ExceptionWorked(**said, fingerprint=fingerprint, action=action, person=person, note=note))

    def _known(self, fingerprint: str) -> ExceptionRow:
        row = self._published.exception(fingerprint)
        if row is None:
            raise NotKnown(f"There is no exception {fingerprint[:100]!r}. GET /v1/exceptions lists them.")
        return row

    def replay(self, exception_id: str, person: str = "") -> ReplayResult:
        """Feed quarantined input again, by exception fingerprint, dead letter id, or `all` that were not fed again yet.

        The fingerprint of an obligation that was given up has that one tried again.
        """
        row = self.get(exception_id)
        if row is not None and row.code in GIVEN_UP:
            return ReplayResult([retry_exhausted(self._log, self._codec, self._clock_ms(), row)])
        return replay(self._replays, row, exception_id, person)
