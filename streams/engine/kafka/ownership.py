"""Where a member stands with each partition number of its group: one object each, whose stages change as `NEXT` says.

Who owns changelog partition i owns partition i of every input and the rows of store partition i. What belongs to a stage is
made when it is entered and let go when it is left, so that nothing of a partition number outlives what it was true for.

    GIVEN -> RESTORING -> READY -> OWNED    and from each of them -> LOST -> GONE
    RESTORING, READY, OWNED -> RESTARTING -> GIVEN    the end of a commit is not known, or the rows are damaged
    LOST -> RESTARTING                                it was given again before its loss was worked off
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from schemas.errors import BrokenInvariant
from streams.engine.kafka.store import Lease
from streams.engine.log import TopicPartition


class PartitionState(StrEnum):
    """`GIVEN`: by the group; where its inputs go on is not known yet. `RESTORING`: its rows are read from the changelog.
    `READY`: all rows are here. `OWNED`: its inputs are fetched, and it can be committed. `RESTARTING`: rows and positions in hand
    are void, it begins again from what the brokers hold. `LOST`: it is another's. `GONE`: nothing is left of it.
    """

    GIVEN = "given"
    RESTORING = "restoring"
    READY = "ready"
    OWNED = "owned"
    RESTARTING = "restarting"
    LOST = "lost"
    GONE = "gone"


NEXT: Mapping[PartitionState, frozenset[PartitionState]] = {
    PartitionState.GIVEN: frozenset({PartitionState.RESTORING, PartitionState.LOST}),
    PartitionState.RESTORING: frozenset({PartitionState.READY, PartitionState.RESTARTING, PartitionState.LOST}),
    PartitionState.READY: frozenset({PartitionState.OWNED, PartitionState.RESTARTING, PartitionState.LOST}),
    PartitionState.OWNED: frozenset({PartitionState.RESTARTING, PartitionState.LOST}),
    PartitionState.RESTARTING: frozenset({PartitionState.GIVEN, PartitionState.LOST}),
    PartitionState.LOST: frozenset({PartitionState.RESTARTING, PartitionState.GONE}),
    PartitionState.GONE: frozenset(),
}
HOLDING = frozenset({PartitionState.RESTORING, PartitionState.READY, PartitionState.OWNED})
"""Stages with rows and positions."""


class IllegalTransition(BrokenInvariant):
    """A partition number was to enter a stage that does not follow from the one it is in: a defect of ours."""


class MemberPartition:
    """One partition number. Rows and positions are there from `RESTORING` to `OWNED`, seeks in `OWNED` alone.

    `is_assigned`: the listener has been told that it is the member's. `proof`: of the commit that its rows have to end with, to
    belong to the positions.
    """

    __slots__ = ("_lease", "index", "inputs", "is_assigned", "positions", "proof", "seeks", "stage")

    def __init__(self, index: int, inputs: Iterable[TopicPartition]) -> None:
        self.index = index
        self.inputs = tuple(inputs)
        self.stage = PartitionState.GIVEN
        self.positions: dict[TopicPartition, int] = {}
        self.seeks: dict[TopicPartition, int] = {}
        self.is_assigned = False
        self.proof = ""
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease:
        """Its rows. Raises `BrokenInvariant` in a stage without any."""
        if self._lease is None:
            raise BrokenInvariant(f"partition {self.index} has no rows while it is {self.stage}")
        return self._lease

    def enter(self, stage: PartitionState) -> None:
        """Go on to a stage. Raises `IllegalTransition`."""
        if stage not in NEXT[self.stage]:
            raise IllegalTransition(f"partition {self.index} is {self.stage}, and cannot become {stage}")
        self.stage = stage
        self.seeks = {}

    def restore(self, lease: Lease, positions: Mapping[TopicPartition, int], proof: str = "") -> None:
        """Its rows are caught up from now on; its inputs will go on at these positions."""
        self.enter(PartitionState.RESTORING)
        self._lease = lease
        self.positions = {partition: positions[partition] for partition in self.inputs}
        self.proof = proof

    def let_go(self) -> Lease | None:
        """Its rows, which somebody else may have now; none if it has none. Only after it was lost or is to restart."""
        if self.stage in HOLDING:
            raise BrokenInvariant(f"partition {self.index} needs its rows while it is {self.stage}")
        lease, self._lease = self._lease, None
        self.positions = {}
        return lease

    def rewind(self) -> None:
        """Fetch its inputs again from their committed positions, if they are fetched at all."""
        if self.stage is PartitionState.OWNED:
            self.seeks = dict(self.positions)

    def wants(self, topic: str | None) -> bool:
        """Whether records of an input are to be handed out: not those from before a seek."""
        return self.stage is PartitionState.OWNED and not (self.seeks and (topic, self.index) in self.seeks)


class MemberPartitions:
    """All partition numbers of a member that are not gone."""

    def __init__(self) -> None:
        self._all: dict[int, MemberPartition] = {}

    def __iter__(self) -> Iterator[MemberPartition]:
        return iter(list(self._all.values()))

    def get(self, index: int | None) -> MemberPartition | None:
        """One of them, if it is not gone."""
        return None if index is None else self._all.get(index)

    def at(self, *stages: PartitionState) -> list[MemberPartition]:
        """Those in these stages, in order."""
        return [self._all[index] for index in sorted(self._all) if self._all[index].stage in stages]

    def give(self, index: int, inputs: Iterable[TopicPartition]) -> None:
        """The group has given it. Given again before its loss was worked off, it begins again. Raises `IllegalTransition`."""
        there = self._all.get(index)
        if there is None:
            self._all[index] = MemberPartition(index, inputs)
        else:
            there.enter(PartitionState.RESTARTING)

    def lose(self, index: int) -> None:
        """It is another's. One that never was the member's, or was lost already, stays so."""
        there = self._all.get(index)
        if there is not None and there.stage is not PartitionState.LOST:
            there.enter(PartitionState.LOST)

    def restart(self, partition: MemberPartition) -> None:
        """Begin again with what is held of it: without anything it begins anyway."""
        if partition.stage in HOLDING:
            partition.enter(PartitionState.RESTARTING)

    def settle(self, partition: MemberPartition) -> None:
        """What was held of a lost or restarting one has been let go: forget it, or begin."""
        if partition.stage is PartitionState.LOST:
            partition.enter(PartitionState.GONE)
            del self._all[partition.index]
        else:
            partition.enter(PartitionState.GIVEN)
