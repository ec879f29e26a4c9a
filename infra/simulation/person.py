"""Whoever looks after the system under test: what stands is found, the cause thought about, and it is made to go on.

Records that break a rule's invariant are made on purpose: the wrapper `breakable` has the promise fold stand at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.simulation.feeds import POISON
from infra.simulation.observe import CommittedState
from schemas import topics
from schemas.errors import BrokenInvariant
from schemas.inventory import StockAdjusted
from schemas.operations import ExceptionCleared, RecordSkipped, SourcePaused, SourceResumed
from streams.engine.controls import target_of
from streams.engine.log import TopicPartition
from streams.engine.partition import Flow, PartitionHalted
from streams.engine.quarantine import pause_fingerprint
from tables.common.policy import Policy

if TYPE_CHECKING:
    from infra.simulation.system_under_test import SystemUnderTest

Flows = Callable[[Policy], list[Flow]]


def breakable(made: Flows, policy: Policy) -> list[Flow]:
    """The flows, with a defect: the promise fold applies an adjustment whose reason is `POISON`, and finds its state broken."""
    found = made(policy)
    for flow in found:
        rules: dict[type[Any], Any] = getattr(flow, "rules", {})
        if flow.name == topics.PROMISE and StockAdjusted in rules:
            rules[StockAdjusted] = _broken(rules[StockAdjusted])
    return found


def _broken(rule: Callable[[Any, Any], Iterable[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
    def broken(t: Any, e: StockAdjusted) -> Iterator[Any]:
        yield from rule(t, e)
        if e.reason == POISON:
            raise BrokenInvariant(f"{e.event_id} {POISON}")

    return broken


@dataclass(slots=True)
class Operator:
    """The person on duty. `wrong`: what was not as it should be while something stood."""

    system: SystemUnderTest
    halted: dict[TopicPartition, PartitionHalted] = field(default_factory=dict)
    resumed: int = 0
    skipped: int = 0
    wrong: list[str] = field(default_factory=list)
    _targets: dict[TopicPartition, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        flows = {topic.name: f for f in self.system.flows(self.system.policy) for topic in _read_by(f)}
        self._targets = {at: target_of(flows[at.topic], at.topic) for at in self.system.inputs()}

    def heard_of(self, halt: PartitionHalted) -> None:
        """A partition stands. Raises what is not a defect of our making."""
        if POISON not in halt.reason:
            raise halt
        self.halted[halt.partition] = halt

    def act(self, unread: list[TopicPartition]) -> bool | None:
        """Have what stands go on, once everybody else is at rest: true if anything was done, none if others still work."""
        pauses = self._pauses()
        stands = {at for at, target in self._targets.items() if target in pauses} | self.halted.keys()
        if any(at not in stands for at in unread):
            return None
        if not stands:
            return False
        self._is_shown(pauses)
        for target, found in pauses.items():
            self._resume(target, found)
        for halt in list(self.halted.values()):
            self._skip(halt)
        return True

    def _pauses(self) -> dict[str, list[SourcePaused]]:
        """What is paused, by target."""
        found: dict[str, list[SourcePaused]] = {}
        if not self.system.log.bounds(TopicPartition(topics.PAUSES.name, 0))[1]:
            return found
        system, ended = self._system(), set[str]()
        resumptions = system.records(topics.INTERVENTIONS)
        ended.update(name for event in resumptions if isinstance(event, SourceResumed) for name in event.pauses)
        for event in system.records(topics.PAUSES):
            if event.event_id not in ended:
                found.setdefault(event.target, []).append(event)
        return found

    def _system(self) -> CommittedState:
        return CommittedState(self.system.log, self.system.codec, self.system.policy)

    def _is_shown(self, pauses: Iterable[str]) -> None:
        """A person has to hear of whatever stands."""
        known = {row.fingerprint for row in self._system().exceptions().values() if row.state in ("open", "assigned")}
        expected = {pause_fingerprint(target) for target in pauses}
        expected |= {f"halted:{at.topic}/{at.partition}" for at in self.halted}
        self.wrong += [f"{name} stands, and nobody is told" for name in sorted(expected - known)]

    def _resume(self, target: str, pauses: list[SourcePaused]) -> None:
        self.resumed += 1
        header = self.system.header("api", f"resume:{target}:{self.resumed}")
        ended = [pause.event_id for pause in pauses]
        self.system.command_event(SourceResumed(**header, target=target, pauses=ended, person="Ann", reason="it was rubbish"))
        self.system.command_event(ExceptionCleared(**header, fingerprint=pause_fingerprint(target)))

    def _skip(self, halt: PartitionHalted) -> None:
        self.skipped += 1
        record = f"{halt.partition.topic}/{halt.partition.partition}/{halt.offset}"
        header = self.system.header("api", f"skip:{record}")
        self.system.command_event(RecordSkipped(**header, record=record, person="Ann", reason="nobody can apply it"))
        self.halted.pop(halt.partition, None)  # the process may have died meanwhile


def _read_by(flow: Any) -> Iterable[topics.Topic]:
    return (flow.inbox,) if hasattr(flow, "inbox") else flow.topics
