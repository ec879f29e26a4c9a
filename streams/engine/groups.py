"""Who owns which partition of a consumer group whose members live in one process: shared by the embedded and the in-memory log.

Partition i of every topic of the group, and with it the rows of store partition i, belong to one member (co-partitioning).
Ownership changes at once when a member joins or leaves; the member learns of it in its next `poll`. Until then its work on
a lost partition is fenced: also when it got the partition back meanwhile, because another may have committed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from streams.engine.log import Fenced, TopicPartition, Transaction

NOTHING: frozenset[TopicPartition] = frozenset()


class Group:
    """Members of one group and what each owns. Not thread-safe: the log serialises changes with its commits."""

    def __init__(self, name: str, topics: Mapping[str, int]) -> None:
        self.name = name
        self.topics = dict(topics)
        self.generation = 0
        self.members: list[Membership] = []
        self.owners: dict[int, tuple[Membership, int]] = {}

    def join(self) -> Membership:
        """A new member; the partitions are dealt anew."""
        member = Membership(self)
        self.members.append(member)
        self._deal()
        return member

    def leave(self, member: Membership) -> None:
        """The member's partitions go to the others. Leaving twice changes nothing."""
        if member in self.members:
            self.members.remove(member)
            self._deal()

    def partitions(self, index: int) -> frozenset[TopicPartition]:
        """Partition `index` of each topic that has so many."""
        return frozenset(TopicPartition(topic, index) for topic, count in self.topics.items() if index < count)

    def shuffle(self, random: Random) -> None:
        """Give one partition to a random member, perhaps back to its owner: both have to start over (fault injection)."""
        if self.members:
            self.generation += 1
            index = random.randrange(max(self.topics.values()))
            self.owners[index] = (random.choice(self.members), self.generation)

    def _deal(self) -> None:
        self.generation += 1
        if not self.members:
            self.owners.clear()
            return
        for index in range(max(self.topics.values())):
            member = self.members[index % len(self.members)]
            owner = self.owners.get(index)
            if owner is None or owner[0] is not member:
                self.owners[index] = (member, self.generation)


class Membership:
    """What one member has been told it owns."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.told: dict[int, int] = {}
        self._generation = 0

    @property
    def is_current(self) -> bool:
        """Nothing has changed since `changes` was last asked."""
        return self._generation == self.group.generation

    def changes(self) -> tuple[frozenset[TopicPartition], frozenset[TopicPartition]]:
        """Partitions lost and gained since the last call. One lost and regained is in both: its work is void."""
        if self.is_current:
            return NOTHING, NOTHING
        self._generation = self.group.generation
        now = {index: since for index, (owner, since) in self.group.owners.items() if owner is self}
        lost = NOTHING.union(*(self.group.partitions(i) for i, since in self.told.items() if now.get(i) != since))
        gained = NOTHING.union(*(self.group.partitions(i) for i, since in now.items() if self.told.get(i) != since))
        self.told = now
        return lost, gained

    def owns(self, index: int) -> bool:
        """Whether partition `index` is the member's, and has been since it was told."""
        since = self.told.get(index)
        return since is not None and self.group.owners.get(index) == (self, since)

    def check(self, transaction: Transaction) -> None:
        """Raises `Fenced` if the transaction touches a partition or rows that are not the member's."""
        for partition in transaction.positions:
            if partition.topic not in self.group.topics or not self.owns(partition.partition):
                raise self.fenced(f"{partition.topic}/{partition.partition}")
        for store in transaction.rows:
            if not self.owns(store.partition):
                raise self.fenced(f"the rows of {store.flow}/{store.partition}")
        if self not in self.group.members:
            raise self.fenced("its membership")

    def fenced(self, what: str) -> Fenced:
        """The error that says what was lost and what to do."""
        return Fenced(f"a member of group {self.group.name} no longer owns {what}: drop the batch and poll again")
