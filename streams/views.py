"""The read side: published rows, ledgers and traces by key, and any flow's tables, straight from the log's readers."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

import msgspec

from connectors.api.ports import (
    AtpQuery,
    AuditPage,
    AuditQuery,
    CheckAnswer,
    CheckLine,
    Invalid,
    NotKnown,
    Quote,
    SourceFreshness,
)
from schemas import topics
from schemas.codec import Codec
from schemas.deliveries import EndpointStatus
from schemas.errors import BrokenInvariant
from schemas.inventory import Atp, LedgerEntry
from schemas.operations import DeadLetter, ExceptionRow
from schemas.orders import ChangeAnswered, Milestone, OrderStatus
from schemas.records import Record
from schemas.topics import Topic
from streams import quotes
from streams.audits import audited
from streams.engine.flow import Fold, Translator
from streams.engine.keys import KeyCodec
from streams.engine.keys import after as after_all
from streams.engine.log import Log, TopicPartition
from streams.engine.log import ReadableLog as ReadableLog  # noqa: PLC0414 - its importers move to the engine
from streams.engine.partition import store_id
from streams.engine.partitions import partition_of
from streams.engine.table import EngineTable, Journal
from streams.references import check_channel, check_site
from tables.policy import ATP_POLICIES, Policy
from tables.promise import Item, Site
from tables.table import row_types

SEPARATOR = "|"
MOST_ENDPOINTS = 1_000

MOST_CHANGES = 1_000


class Published:
    """Rows and histories of the derived topics."""

    def __init__(self, log: ReadableLog, codec: Codec) -> None:
        self._log = log
        self._codec = codec

    def atp(self, item: str) -> Atp | None:
        """An item's promise."""
        row: Atp | None = self._latest(topics.ATP, item)
        return row

    def atp_page(self, after: str | None, limit: int) -> list[Atp]:
        """Promises in item order."""
        return self._page(topics.ATP, after, limit)

    def order(self, order_id: str) -> OrderStatus | None:
        """An order's state."""
        row: OrderStatus | None = self._latest(topics.ORDER_STATUS, order_id)
        return row

    def order_page(self, after: str | None, limit: int) -> list[OrderStatus]:
        """Orders in id order."""
        return self._page(topics.ORDER_STATUS, after, limit)

    def exception(self, fingerprint: str) -> ExceptionRow | None:
        """One exception."""
        row: ExceptionRow | None = self._latest(topics.EXCEPTION_ROWS, fingerprint)
        return row

    def exception_page(self, after: str | None, limit: int) -> list[ExceptionRow]:
        """Exceptions in fingerprint order."""
        return self._page(topics.EXCEPTION_ROWS, after, limit)

    def endpoints(self) -> list[EndpointStatus]:
        """Every endpoint anything was ever owed to, by name."""
        return self._page(topics.ENDPOINTS, None, MOST_ENDPOINTS)

    def ledger(self, item: str, before: int | None, limit: int) -> list[tuple[int, LedgerEntry]]:
        """The last ledger rows of an item, oldest first."""
        return self._history(topics.LEDGER, item, before, limit)

    def ledger_from(self, item: str, start: int, limit: int) -> list[tuple[int, LedgerEntry]]:
        """Ledger rows of an item from an offset on, oldest first."""
        records = self._log.by_key_from(topics.LEDGER.name, item.encode(), limit, start)
        return [(record.offset, self._codec.decode(record.value or b"")) for record in records]

    def milestones(self, order_id: str) -> list[Milestone]:
        """What the order has reached, oldest first."""
        return [milestone for _, milestone in self._history(topics.MILESTONES, order_id, None, 100)]

    def order_changes(self, order_id: str) -> list[ChangeAnswered]:
        """Requests for change of an order, the newest word on each, oldest first."""
        found: dict[str, ChangeAnswered] = {}
        for _, said in self._history(topics.ORDER_CHANGES, order_id, None, MOST_CHANGES):
            found.pop(said.change, None)
            found[said.change] = said
        return list(found.values())

    def order_events(self, order_id: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        """What was said to the order fold about an order, oldest first."""
        return self._history(topics.ORDER_INBOX, order_id, before, limit)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Every dead letter, oldest first."""
        for record in all_records(self._log, topics.DEAD_LETTERS):
            yield self._codec.decode(record.value or b"")

    def _latest(self, topic: Topic, key: str) -> Any:
        record = self._log.latest(topic.name, key.encode())
        return None if record is None else self._codec.decode(record.value or b"")

    def _page(self, topic: Topic, after: str | None, limit: int) -> list[Any]:
        records = self._log.scan(topic.name, None if after is None else after.encode(), limit)
        return [self._codec.decode(record.value or b"") for record in records]

    def _history(self, topic: Topic, key: str, before: int | None, limit: int) -> list[tuple[int, Any]]:
        records = self._log.by_key(topic.name, key.encode(), limit, before)
        return [(record.offset, self._codec.decode(record.value or b"")) for record in records]


def records_from(log: Log, at: TopicPartition, offset: int) -> Iterator[Record]:
    """The records of a partition from an offset on."""
    while records := log.read(at, offset, 1_000):
        yield from records
        offset = records[-1].offset + 1


def all_records(log: Log, topic: Topic) -> Iterator[Record]:
    """The records of a topic, partition after partition."""
    for partition in range(log.partitions(topic.name)):
        at = TopicPartition(topic.name, partition)
        yield from records_from(log, at, log.bounds(at)[0])


# --- tables ----------------------------------------------------------------------------------------------------------------


class TableTypes:
    """The tables of every flow, by `<flow>.<table>`, and the types of their rows."""

    def __init__(self, flows: Sequence[Fold[Any] | Translator]) -> None:
        self._tables: dict[str, tuple[Fold[Any] | Translator, str, tuple[type[Any], ...], type[Any]]] = {}
        for flow in flows:
            for name, (key_types, row_type) in row_types(flow.tables).items() if flow.tables else ():
                self._tables[f"{flow.name}.{name}"] = (flow, name, key_types, row_type)

    def names(self) -> list[str]:
        """All there are."""
        return sorted(self._tables)

    def unpacked(self, table: str, key: str, row: str) -> tuple[tuple[Any, ...], Any]:
        """A row that `TableView.packed` gave, perhaps in another process."""
        _, name, key_types, row_type = self._tables[table]
        codec = KeyCodec(name.encode() + b"\0", key_types)
        return codec.decode(b64decode(key)), msgspec.msgpack.decode(b64decode(row), type=row_type)


class TableView(TableTypes):
    """Committed rows of every flow, by `<flow>.<table>` (or the table's name, where only one flow has it)."""

    def __init__(self, log: ReadableLog, flows: Sequence[Fold[Any] | Translator]) -> None:
        super().__init__(flows)
        self._log = log

    def row(self, table: str, key: tuple[Any, ...], partition_key: str) -> Any:
        """One row by its typed key, from the partition that `partition_key` belongs to; or none."""
        flow, name, key_types, row_type = self._tables[table]
        topic = inputs_of(flow)[0]
        at = TopicPartition(topic.name, partition_of(partition_key.encode(), topic.partitions))
        return self._open(flow, at, name, key_types, row_type).get(key)

    def under(self, table: str, prefix: tuple[Any, ...], limit: int) -> list[tuple[tuple[Any, ...], Any]]:
        """The first rows whose typed key starts with `prefix`, whose first part is the flow's own key."""
        flow, name, key_types, row_type = self._tables[table]
        topic = inputs_of(flow)[0]
        at = TopicPartition(topic.name, partition_of(str(prefix[0]).encode(), topic.partitions))
        return list(islice(self._after(flow, at, name, (key_types, row_type), prefix, None), limit))

    def rows(self, table: str, key: str | None, after_key: str | None, limit: int) -> list[tuple[str, Any]]:
        """Rows whose key is or begins with `key`, in key order over all partitions, after a key."""
        flow, name, key_types, row_type = self._tables[self._full_name(table)]
        prefix = _parse(key, key_types, is_whole=False) if key is not None else ()
        last = _parse(after_key, key_types, is_whole=True) if after_key is not None else None
        found: dict[tuple[Any, ...], Any] = {}
        for at in partitions_of(flow):
            rows = self._after(flow, at, name, (key_types, row_type), prefix, last)
            for _, (row_key, row) in zip(range(limit), rows, strict=False):
                found[row_key] = row
        return [(shown(row_key), found[row_key]) for row_key in sorted(found)[:limit]]

    def scan(self, flow: str, table: str) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """All rows of a table, partition after partition: a broadcast row comes once from each."""
        found, name, key_types, row_type = self._tables[f"{flow}.{table}"]
        for at in partitions_of(found):
            yield from self._after(found, at, name, (key_types, row_type), (), None)

    def packed(self, table: str, after: str | None, limit: int) -> list[tuple[str, str, str]]:
        """Rows as they are stored, partition after partition: (cursor, key, row) in base64. `TableTypes.unpacked` reads them."""
        flow, name, _, _ = self._tables[self._full_name(table)]
        head = name.encode() + b"\0"
        seen, last = _cursor(after)
        found: list[tuple[str, str, str]] = []
        for number, at in enumerate(partitions_of(flow)):
            low = head if number > seen else last + b"\0"
            if number < seen or len(found) == limit:
                continue
            for key, row in islice(self._log.store(store_id(flow, at)).range(low, after_all(head)), limit - len(found)):
                packed_key = b64encode(key).decode()
                found.append((f"{number}/{packed_key}", packed_key, b64encode(row).decode()))
        return found

    def _full_name(self, table: str) -> str:
        if table in self._tables:
            return table
        matches = [name for name in self._tables if name.partition(".")[2] == table or name.rpartition(".")[2] == table]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NotKnown(f"Several flows have a table {table}: say {' or '.join(sorted(matches))}.")
        raise NotKnown(f"There is no table {table[:100]!r}. There are {', '.join(self.names())}.")

    def _open(self, flow: Any, at: TopicPartition, name: str, key_types: tuple[type[Any], ...], row_type: type[Any]) -> Any:
        store = self._log.store(store_id(flow, at))
        return EngineTable[Any, Any](name, key_types, row_type, store, Journal(), cache_rows=2)

    def _after(
        self,
        flow: Any,
        at: TopicPartition,
        name: str,
        types: tuple[tuple[type[Any], ...], type[Any]],
        prefix: tuple[Any, ...],
        last: tuple[Any, ...] | None,
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        store = self._log.store(store_id(flow, at))
        codec = KeyCodec(name.encode() + b"\0", types[0])
        low = codec.prefix(prefix)
        high = after_all(low)
        if last is not None:
            low = max(low, codec.encode(last) + b"\0")
        table = self._open(flow, at, name, *types)
        for data, _ in store.range(low, high):
            key = codec.decode(data)
            row = table.get(key)
            if row is not None:
                yield key, row


def _cursor(after: str | None) -> tuple[int, bytes]:
    """The partition's number and the last key given."""
    if after is None:
        return -1, b""
    number, _, key = after.partition("/")
    try:
        return int(number), b64decode(key, validate=True)
    except ValueError:
        raise Invalid(f"The cursor {after[:100]!r} is not one of ours", "Send `next` as it was given.") from None


def inputs_of(flow: Fold[Any] | Translator) -> tuple[Topic, ...]:
    """The topics a flow reads."""
    return (flow.inbox,) if isinstance(flow, Fold) else flow.topics


def partitions_of(flow: Fold[Any] | Translator) -> list[TopicPartition]:
    """Every partition a flow reads."""
    return [TopicPartition(topic.name, partition) for topic in inputs_of(flow) for partition in range(topic.partitions)]


def shown(key: tuple[Any, ...]) -> str:
    """A table key as text: its parts separated by `|`."""
    return SEPARATOR.join(part.isoformat() if isinstance(part, date) else str(part) for part in key)


def _parse(text: str, types: tuple[type[Any], ...], *, is_whole: bool) -> tuple[Any, ...]:
    parts = text.split(SEPARATOR)
    words = SEPARATOR.join(t.__name__ for t in types)
    if len(parts) > len(types) or (is_whole and len(parts) != len(types)):
        raise Invalid(f"The key {text[:100]!r} has {len(parts)} parts", f"This table's keys are {words}.")
    key = []
    for part, kind in zip(parts, types, strict=False):
        try:
            key.append(date.fromisoformat(part) if kind is date else kind(part))
            KeyCodec(b"", (kind,)).encode((key[-1],))
        except (ValueError, BrokenInvariant):
            raise Invalid(f"{part[:100]!r} is no {kind.__name__}", f"This table's keys are {words}.") from None
    return tuple(key)


# --- promises --------------------------------------------------------------------------------------------------------------


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
        self._quotes = quotes.Quotes(policy, self._zone, clock_ms)
        self.freshness = freshness
        self.atp = published.atp
        self.atp_page = published.atp_page
        self.ledger = published.ledger

    def audit(self, item: str, query: AuditQuery) -> AuditPage:
        """The next rows of an item's ledger (see `streams.audits`). A site the ERP has deleted since has a past, too."""
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
        return quotes.calculate(policy, opening_milli, safety_milli, supply_milli, demand_milli)

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
        cart = quotes.Cart(self._quotes, channel, rows, items)
        return [cart.check(line) for line in lines]

    def _zone(self, site: str) -> str:
        chosen = self._policy.site(site).timezone
        if chosen is not None:
            return chosen
        row: Site | None = self._tables.row("promise.sites", (site,), site)
        return "UTC" if row is None or row.is_deleted else row.timezone
