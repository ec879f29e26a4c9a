"""The embedded log: a durable partitioned log in one directory and one process, on RocksDB. No server at all.

Records, rows and positions of a commit are one WriteBatch and one sync of the WAL: all there or none, also after kill -9.
What is read of records and positions is durable; a row may be seen while its commit is being synced.
Compacted topics keep the newest record of each key (older ones are deleted in the same batch; a removal stays as a record
without a value), indexed topics an index by key. `embedded_writer` is group commit, `embedded_group` the readers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rocksdict import DbClosedError

from schemas.records import Record
from schemas.topics import Topic
from streams.engine.embedded.catalog import Catalog, CatalogPartition
from streams.engine.embedded.files import CannotOpen, Files, pack_offset
from streams.engine.embedded.group import MAX_POLL_BYTES, EmbeddedFollower, EmbeddedMember, EmbeddedStore, read_run
from streams.engine.embedded.keys import KeyReader
from streams.engine.embedded.opening import open_files
from streams.engine.embedded.records_codec import decode
from streams.engine.embedded.trim import Trimmer
from streams.engine.embedded.writer import WriteJob, Writer, prepare
from streams.engine.groups import Group, Membership
from streams.engine.log import (
    NO_RIGHTS,
    DamagedLog,
    Listener,
    LocalProgress,
    Outgoing,
    Rights,
    StoreId,
    TopicPartition,
    Unavailable,
)
from streams.engine.scans import scan_values

__all__ = ["CannotOpen", "EmbeddedLog"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedLog:
    """`Log` and `Reader` on a directory. Raises `CannotOpen` if it is in use, damaged, or of another format.

    `sync=False` leaves the WAL to the operating system: kill -9 loses nothing then, but a power cut does. For measurements.
    `accept_loss`: open it also if it is not all there; `losses` says what is lost then. No lost offset is given again.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock_ms: Callable[[], int] = _now_ms,
        sync: bool = True,
        accept_loss: bool = False,
    ) -> None:
        self.path = Path(path)
        self.clock = clock_ms
        self._damage: str | None = None
        # RocksDB has a directory of its own inside, so that other files may live beside it and RocksDB never meets them.
        opened, self.losses = open_files(self.path, sync=sync, accept_loss=accept_loss)
        self._files: Files | None = opened
        self.writer = Writer(self.files, clock_ms)
        self._catalog = Catalog(self.files, self.writer.write_alone)
        self._keys = KeyReader(self.files, self._catalog, self.writer.lock, self.damaged)
        self._trimmer = Trimmer(self.files, self.writer)
        self.part = self._catalog.part
        self._groups: dict[str, Group] = {}
        self._members: list[EmbeddedMember] = []
        self._followers: list[EmbeddedFollower] = []

    def files(self) -> Files:
        """The open database. Raises `Unavailable` once closed."""
        if self._files is None:
            raise Unavailable(f"the log in {self.path} is closed")
        return self._files

    @property
    def problem(self) -> str | None:
        """Why it cannot be written, or what was found damaged while reading it; none if all is well."""
        return self.writer.problem or self._damage

    def damaged(self, error: object, partition: TopicPartition | None = None) -> Exception:
        """What to raise for an error of RocksDB while reading; it is remembered."""
        if isinstance(error, Unavailable | DamagedLog):
            return error
        if isinstance(error, DbClosedError):
            return Unavailable(f"the log in {self.path} is closed")
        found = self.files().damaged(error)
        found.partition = partition
        self._damage = str(found)
        return found

    def create(self, topics: Sequence[Topic]) -> None:
        """See to it that the topics exist as declared. Raises `ValueError` if one exists and keeps its records otherwise."""
        with self.writer.lock:
            self._catalog.declare(topics)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises `KeyError` for an unknown one, with the known ones named."""
        return self._catalog.topic(topic).topic.partitions

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Write records, all or none, and return their offsets once they are durable. Safe from any thread."""
        return self.writer.submit(WriteJob(records=prepare(self.part, records))).offsets if records else []

    def read(self, partition: TopicPartition, offset: int, limit: int) -> list[Record]:
        """Up to `limit` records (or 32 MB) from `offset` on."""
        return read_run(self, self.part(*partition), offset, limit, MAX_POLL_BYTES)[0] if limit > 0 else []

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """The first kept offset and the next one to be written."""
        part = self.part(*partition)
        end = part.end
        if not part.state.is_compacted:
            return part.low, end
        try:
            first = next(self.scan_log(part, part.low, end), None)
        except Exception as error:
            raise self.damaged(error, part.partition) from error
        low = end if first is None else decode(*partition, first).offset
        part.low = max(part.low, low)  # what is deleted stays so: the next look begins here
        return low, end

    def join(self, group: str, topics: Sequence[str], listener: Listener) -> EmbeddedMember:
        """Become a member of a group that shares the topics' partitions. `trim` waits for the group from now on."""
        counts = {topic: self.partitions(topic) for topic in topics}
        with self.writer.lock:
            self.writer.require_running()
            known = self._groups.setdefault(group, Group(group, counts))
            if not known.members:
                known.topics = counts
            elif known.topics != counts:
                raise ValueError(f"group {group} shares {', '.join(known.topics)}: a member cannot join it for other topics")
            self._remember(group, topics)
            member = EmbeddedMember(self, known.join(), listener)
            self._members.append(member)
            self._wake_members()
            return member

    def leave(self, member: EmbeddedMember, membership: Membership) -> None:
        """Deal a member's partitions to the others."""
        with self.writer.lock:
            membership.group.leave(membership)
            if member in self._members:
                self._members.remove(member)
            self._wake_members()

    def follow(self, start: Mapping[TopicPartition, int]) -> EmbeddedFollower:
        """Tail partitions from the given offsets."""
        self.writer.require_running()
        follower = EmbeddedFollower(self, {self.part(*partition): offset for partition, offset in start.items()})
        with self.writer.lock:
            self._followers.append(follower)
        return follower

    def unfollow(self, follower: EmbeddedFollower) -> None:
        """Forget a closed follower."""
        with self.writer.lock:
            if follower in self._followers:
                self._followers.remove(follower)

    def store(self, store: StoreId) -> EmbeddedStore:
        """The committed rows of any store, for views and checks."""
        return EmbeddedStore(self, store)

    def committed(self, group: str, partition: TopicPartition) -> int:
        """The committed position of a group: the log's start if none."""
        position = self.part(*partition).positions.get(group)
        return self.bounds(partition)[0] if position is None else position

    def progress(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The committed positions of a group and where the partitions end."""
        return {partition: (self.committed(group, partition), self.part(*partition).end) for partition in partitions}

    def keep(self, group: str, flows: Sequence[str], topics: Sequence[str]) -> None:
        """Nothing to do: all rows are here."""

    def kept(self) -> list[LocalProgress]:
        """None: the rows are the log's own, and always as they were committed."""
        return []

    def findings(self, topics: Sequence[Topic], rights: Rights = NO_RIGHTS) -> list[str]:
        """Topics that are missing: one that exists otherwise than declared is refused by `create`."""
        del rights  # there are no users
        return [
            f"topic {t.name} is missing: start crossdock once, it makes it" for t in topics if t.name not in self._catalog.topics
        ]

    def scan_log(self, part: CatalogPartition, offset: int, end: int) -> Iterator[bytes]:
        """Raw records of a partition with `offset <= their offset < end`, as of the call."""
        low = part.prefix + pack_offset(max(offset, part.low))
        return scan_values(self.files().log, low, part.prefix + pack_offset(end))

    def latest(self, topic: str, key: bytes) -> Record | None:
        """The newest record of a key in a compacted topic; none if there is none or it was removed."""
        return self._keys.latest(topic, key)

    def scan(self, topic: str, after: bytes | None, limit: int) -> list[Record]:
        """Newest records of a compacted topic in key order, after a key."""
        return self._keys.scan(topic, after, limit)

    def by_key(self, topic: str, key: bytes, limit: int, before: int | None = None) -> list[Record]:
        """The last `limit` records of a key in an indexed topic, before an offset if given, oldest first."""
        return self._keys.by_key(topic, key, limit, before)

    def by_key_from(self, topic: str, key: bytes, limit: int, start: int) -> list[Record]:
        """The first `limit` records of a key in an indexed topic from an offset on, oldest first."""
        return self._keys.by_key_from(topic, key, limit, start)

    def trim(self, now_ms: int) -> int:
        """Delete records older than their topic's retention, but none that a known group has not read. Returns how many.

        Bounded: at most 2,000 a partition and call, so call it again while it returns any. Then it has the disk space given back.
        """
        trimmed = 0
        for state in list(self._catalog.topics.values()):
            retention_ms = state.topic.retention_ms
            if state.topic.cleanup == "delete" and retention_ms is not None:
                for part in state.parts:
                    try:
                        trimmed += self._trimmer.trim(part, now_ms - retention_ms)
                    except Exception as error:
                        raise self.damaged(error, part.partition) from error
        if not trimmed:
            self._trimmer.compact()
        return trimmed

    def close(self) -> None:
        """Release the directory. Members and followers are closed too; what they wait for ends with `Unavailable`."""
        readers: list[EmbeddedMember | EmbeddedFollower] = [*self._members, *self._followers]
        for reader in readers:
            reader.close()
        with self.writer.lock:
            self.writer.stop(f"the log in {self.path} is closed")
            opened, self._files = self._files, None
        if opened is not None:
            opened.close()

    def _remember(self, group: str, topics: Sequence[str]) -> None:
        """Note where a new group starts, so that nothing it has to read is trimmed."""
        parts = [part for topic in topics for part in self._catalog.topic(topic).parts]
        new = [(part, part.low) for part in parts if part.state.topic.cleanup == "delete" and group not in part.positions]
        if new:
            self.writer.submit_held(WriteJob(positions=new, group=group))

    def _wake_members(self) -> None:
        for member in self._members:
            member.wake()
