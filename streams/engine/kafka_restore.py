"""Brings local stores up to date with their changelog, by whole commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, Message

from streams.engine.kafka_clients import READERS, KafkaSettings, asked, check_message, is_end, place
from streams.engine.kafka_follow import next_messages
from streams.engine.kafka_store import Lease, Row
from streams.engine.log import TopicPartition

CHUNK = 10_000
_UNLOGGED = 50_000  # so many changes to go are worth the flush at their end


class CatchUp:
    """Applies what is read of a changelog to leased stores, so that a reader of them never sees half a commit.

    Only its owner writes a changelog partition, so a commit's records follow each other without a gap, and its mark leaves
    one after them: what comes after the last gap is held back until the next one, or the end of what is committed. The end is
    told late, by a fetch that finds nothing; but where a single offset follows, it is the mark.
    """

    def __init__(self, leases: dict[int, Lease]) -> None:
        self._leases = leases
        self._held: dict[int, list[Message]] = {}

    def forget(self, index: int) -> None:
        """What was held back of it is not wanted any more."""
        self._held.pop(index, None)

    def clear(self) -> None:
        """Nothing that was held back is wanted any more."""
        self._held.clear()

    def take(self, messages: Iterable[Message], high_of: Callable[[int], int]) -> dict[int, int]:
        """Apply. Returns which partition numbers were read to their end, and where that is.

        `high_of`: where a partition number's changelog ended, open transactions included, when the brokers last told.
        """
        runs: dict[int, list[Message]] = {}
        ends: dict[int, int] = {}
        for message in messages:
            index = message.partition()
            assert index is not None
            if message.error() is None:
                run = runs.get(index)
                if run is None:
                    runs[index] = run = self._held.get(index, [])
                run.append(message)
            elif is_end(message):
                offset = message.offset()
                assert offset is not None
                ends[index] = offset
            else:
                check_message(message)
        for index in runs.keys() | ends.keys():
            if index in self._leases:
                run = runs.get(index) or self._held.get(index, [])
                if index not in ends and run and run[-1].offset() == (high := high_of(index)) - 2:
                    ends[index] = high
                self._apply(self._leases[index], index, run, ends.get(index))
            else:
                self._held.pop(index, None)
        return ends

    def _apply(self, lease: Lease, index: int, run: list[Message], end: int | None) -> None:
        cut = len(run) if end is not None else _whole(run)
        self._held[index] = run[cut:]
        if not cut and end is None:
            return
        if end is None:
            last = run[cut - 1].offset()
            assert last is not None
            end = last + 1
        logged = lease.end - lease.store.position < _UNLOGGED
        lease.restore(_rows(run[:cut]), end, logged=logged)


def high_in(consumer: Consumer, changelog: str) -> Callable[[int], int]:
    """Where its partitions ended when a consumer last heard of them."""

    def high_of(index: int) -> int:
        bounds = consumer.get_watermark_offsets(place(TopicPartition(changelog, index)), cached=True)
        return bounds[1] if bounds else -1

    return high_of


def _whole(run: Sequence[Message]) -> int:
    """How many messages are of whole commits: up to the last gap in their offsets."""
    for at in range(len(run) - 1, 0, -1):
        if run[at].offset() != run[at - 1].offset() + 1:  # type: ignore[operator]
            return at
    return 0


def _rows(messages: Iterable[Message]) -> list[Row]:
    """The last change of each key: writing is most of what a restore costs."""
    return list({message.key(): message.value() for message in messages}.items())  # type: ignore[arg-type]


class Restorer:
    """Catches stores up for their member, bit by bit, so that it goes on polling meanwhile.

    A store is caught up once it has read to where the changelog ended, open transactions included, when it began: a
    predecessor's last transaction may be decided but not yet marked in each of its partitions.
    """

    def __init__(self, settings: KafkaSettings, changelog: str) -> None:
        self._settings = settings
        self._changelog = changelog
        self._consumer: Consumer | None = None
        self._leases: dict[int, Lease] = {}
        self._catch_up = CatchUp(self._leases)

    @property
    def is_busy(self) -> bool:
        """There is something to catch up."""
        return bool(self._leases)

    def begin(self, index: int, lease: Lease) -> None:
        """Take on a store. Call it only after the positions of its partition number are known to be final."""
        low, end = self._bounds(index)
        if lease.store.position > end:  # the changelog lost its end: the store knows of what never was
            lease.store.wipe()
        self._leases[index], lease.end = lease, end
        position = lease.store.position
        if position < end:
            if self._consumer is None:
                self._consumer = self._settings.reader()
            self._consumer.incremental_assign([place(TopicPartition(self._changelog, index), max(position, low))])

    def forget(self, index: int) -> None:
        """Drop a store that is no longer wanted."""
        self._catch_up.forget(index)
        if self._leases.pop(index, None) is not None and self._consumer is not None:
            which = place(TopicPartition(self._changelog, index))
            if which in self._consumer.assignment():
                self._consumer.incremental_unassign([which])

    def step(self, timeout_s: float) -> list[int]:
        """Go on. Returns what is caught up now."""
        waiting = [index for index, lease in self._leases.items() if lease.store.position < lease.end]
        if waiting and self._consumer is not None:
            self._catch_up.take(next_messages(self._consumer, CHUNK, timeout_s), high_in(self._consumer, self._changelog))
        done = [index for index, lease in self._leases.items() if lease.store.position >= lease.end]
        for index in done:
            self.forget(index)
        if not self._leases and self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        return done

    def close(self) -> None:
        """Stop."""
        self._leases.clear()
        self._catch_up.clear()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _bounds(self, index: int) -> tuple[int, int]:
        asking = Consumer({**self._settings.of_consumers(READERS), "isolation.level": "read_uncommitted"})
        which = TopicPartition(self._changelog, index)
        patience_s = self._settings.request_s
        try:
            return asked(
                lambda: asking.get_watermark_offsets(place(which), timeout=patience_s),
                f"asking for {self._changelog}/{index}",
                patience_s,
                asking,
            )
        finally:
            asking.close()
