"""Brings local stores up to date with their changelog, by whole commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Consumer, Message

from streams.engine.kafka.clients import READERS, KafkaSettings, asked, check_message, is_end, place
from streams.engine.kafka.commits import MARK_KEY, CommitAnchor, anchor_at, mark_of
from streams.engine.kafka.followers import next_messages
from streams.engine.kafka.store import Lease
from streams.engine.log import TopicPartition

CHUNK = 10_000
_UNLOGGED = 50_000  # so many changes to go are worth the flush at their end
_MOST_HELD = 500_000  # records of a commit that are held back
LOST_END = "the changelog ends before what is in it: the brokers have lost records that they had acknowledged"
OTHER_HISTORY = (
    "the changelog does not have the last record in it any more: the brokers have lost records, or it was compacted since"
)


class CatchUp:
    """Applies what is read of a changelog to leased stores, so that a reader of them never sees half a commit.

    While a store is shown, its rows change by whole commits: what comes after the last mark is held back until the next one. A
    commit that lacks a record, or whose number is not the next one, was compacted: then the store is shown again only once all
    that is committed is in it. The end is told late, by a fetch that finds nothing; but where a single offset follows, it is that
    of the transaction's own mark.

    `strange`: partition numbers whose changelog does not have what their stores were made of. They are to begin anew.
    """

    def __init__(self, leases: dict[int, Lease]) -> None:
        self.strange: set[int] = set()
        self._leases = leases
        self._held: dict[int, list[Message]] = {}
        self._expected: dict[int, CommitAnchor] = {}

    def start(self, index: int) -> int | None:
        """Where to read from, to see that the changelog still has the last record that is in the store; none if it has none."""
        anchor = self._leases[index].store.anchor
        if anchor is None:
            return None
        self._expected[index] = anchor
        return anchor.offset

    def is_proved(self, index: int) -> bool:
        """Whether the changelog has been seen to be the one that the store was made of."""
        return index not in self._expected

    def forget(self, index: int) -> None:
        """What was held back of it is not wanted any more."""
        self._held.pop(index, None)
        self._expected.pop(index, None)
        self.strange.discard(index)

    def clear(self) -> None:
        """Nothing that was held back is wanted any more."""
        self._held.clear()
        self._expected.clear()
        self.strange.clear()

    def take(self, messages: Iterable[Message], high_of: Callable[[int], int]) -> dict[int, int]:
        """Apply. Returns which partition numbers were read to their end, and where that is.

        `high_of`: where a partition number's changelog ended, open transactions included, when the brokers last told.
        """
        runs: dict[int, list[Message]] = {}
        ends: dict[int, int] = {}
        for message in messages:
            index = message.partition()
            assert index is not None
            if message.error() is not None:
                check_message(message)
            if index in self._expected:
                self._prove(index, message)
            elif message.error() is None:
                run = runs.get(index)
                if run is None:
                    runs[index] = run = self._held.get(index, [])
                run.append(message)
            elif is_end(message):
                offset = message.offset()
                assert offset is not None
                ends[index] = offset
        for index in runs.keys() | ends.keys():
            if index in self._leases:
                run = runs.get(index) or self._held.get(index, [])
                if index not in ends and run and run[-1].offset() == (high := high_of(index)) - 2:
                    ends[index] = high
                self._apply(self._leases[index], index, run, ends.get(index))
            else:
                self._held.pop(index, None)
        return ends

    def _prove(self, index: int, message: Message) -> None:
        """The first record has to be the last one in the store. At the end before it, the brokers have not decided on it yet."""
        anchor, offset = self._expected[index], message.offset()
        assert offset is not None
        if index in self.strange or (message.error() is not None and not (is_end(message) and offset > anchor.offset)):
            return
        if message.error() is None and anchor_at(offset, message.key(), message.value()) == anchor:
            del self._expected[index]
        else:
            self.strange.add(index)

    def _apply(self, lease: Lease, index: int, run: list[Message], end: int | None) -> None:
        store = lease.store
        cut = len(run)
        if store.is_shown:
            cut = cut if end is not None else _whole(run)
            if not _is_unbroken(run[:cut], store.commits) or len(run) - cut > _MOST_HELD:
                lease.hide()
                cut = len(run)
        self._held[index] = run[cut:]
        if not cut and end is None:
            return
        anchor = None
        if cut:
            last = run[cut - 1]
            offset = last.offset()
            assert offset is not None
            anchor = anchor_at(offset, last.key(), last.value())
            end = offset + 1 if end is None else end
        assert end is not None
        logged = lease.end - store.position < _UNLOGGED
        rows = _rows(run[:cut])
        mark = mark_of(rows.pop(MARK_KEY, None))
        commits = None if mark is None else mark.number
        lease.restore(list(rows.items()), end, anchor=anchor, commits=commits, logged=logged)


def high_in(consumer: Consumer, changelog: str) -> Callable[[int], int]:
    """Where its partitions ended when a consumer last heard of them."""

    def high_of(index: int) -> int:
        bounds = consumer.get_watermark_offsets(place(TopicPartition(changelog, index)), cached=True)
        return bounds[1] if bounds else -1

    return high_of


def _whole(run: Sequence[Message]) -> int:
    """How many messages are of whole commits: up to the last mark."""
    for at in range(len(run) - 1, -1, -1):
        if run[at].key() == MARK_KEY:
            return at + 1
    return 0


def _is_unbroken(run: Iterable[Message], commits: int) -> bool:
    """Whether no record and no commit is missing after the one of this number."""
    count = 0
    for message in run:
        count += 1
        if message.key() == MARK_KEY:
            mark = mark_of(message.value())
            if mark is None or (mark.number, mark.records) != (commits + 1, count):
                return False
            commits, count = mark.number, 0
    return True


def _rows(messages: Iterable[Message]) -> dict[bytes, bytes | None]:
    """The last change of each key: writing is most of what a restore costs."""
    return {message.key(): message.value() for message in messages}  # type: ignore[misc]  # rows have keys


class Restorer:
    """Catches stores up for their member, bit by bit, so that it goes on polling meanwhile.

    A store is caught up once it has read to where the changelog ended, open transactions included, when it began: a
    predecessor's last transaction may be decided but not yet marked in each of its partitions. It begins with the last record
    that it has: a changelog that lost its end and grew past it has another one there, or none.
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
        if lease.store.position > end:
            lease.wipe(LOST_END)
        self._leases[index], lease.end = lease, end
        start = self._catch_up.start(index)
        if start is not None or lease.store.position < end:
            self._read(index, max(lease.store.position, low) if start is None else start)

    def forget(self, index: int) -> None:
        """Drop a store that is no longer wanted."""
        self._catch_up.forget(index)
        if self._leases.pop(index, None) is not None and self._consumer is not None:
            which = place(TopicPartition(self._changelog, index))
            if which in self._consumer.assignment():
                self._consumer.incremental_unassign([which])

    def step(self, timeout_s: float) -> list[int]:
        """Go on. Returns what is caught up now."""
        if self._consumer is not None and len(self._done()) < len(self._leases):
            self._catch_up.take(next_messages(self._consumer, CHUNK, timeout_s), high_in(self._consumer, self._changelog))
            for index in sorted(self._catch_up.strange):
                self._begin_anew(index)
        done = self._done()
        for index in done:
            self.forget(index)
        if not self._leases and self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        return done

    def _done(self) -> list[int]:
        return [
            index
            for index, lease in self._leases.items()
            if lease.store.position >= lease.end and self._catch_up.is_proved(index)
        ]

    def _begin_anew(self, index: int) -> None:
        lease = self._leases[index]
        self.forget(index)
        lease.wipe(OTHER_HISTORY)
        self._leases[index] = lease
        self._read(index, 0)

    def _read(self, index: int, offset: int) -> None:
        if self._consumer is None:
            self._consumer = self._settings.reader()
        self._consumer.incremental_assign([place(TopicPartition(self._changelog, index), offset)])

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
