"""What was decided about the running of it, as facts in the log: which sources are paused, which records are to be skipped.

It never changes what a flow makes of its inputs, only when, but for a record at which a partition stands: whoever reads the log
again knows that it was skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from schemas.codec import Codec
from schemas.operations import RecordSkipped, SourcePaused, SourceResumed
from schemas.topics import INTERVENTIONS, PAUSES, source_of
from streams.engine.flow import Fold, Translator
from streams.engine.log import Follower, Log, TopicPartition, Unavailable

_TOPICS = (PAUSES.name, INTERVENTIONS.name)
_READ = 1_000
_WAIT_S = 0.5
_PATIENCE_S = 30.0


def target_of(flow: Fold[Any] | Translator, topic: str) -> str:
    """What a pause of a partition names: the source of a raw topic, a fold as `flow.<name>`."""
    return (None if isinstance(flow, Fold) else source_of(topic)) or f"flow.{flow.name}"


class PartitionControls:
    """Pauses, resumptions and skips as far as they were read. One thread uses it, but for looking at `pauses`.

    `can_pause`: whoever folds an inbox again is not stopped by what was paused then.
    """

    def __init__(self, *, can_pause: bool = True) -> None:
        self.can_pause = can_pause
        self.pauses: dict[str, dict[str, SourcePaused]] = {}
        self.skips: dict[str, RecordSkipped] = {}
        self._resumed: dict[str, int] = {}
        self._ended: set[str] = set()

    def is_paused(self, target: str) -> bool:
        """Whether it is to be read no further."""
        return target in self.pauses

    def epoch(self, target: str) -> int:
        """How often it was resumed: what was refused before counts no longer."""
        return self._resumed.get(target, 0)

    def paused(self) -> list[SourcePaused]:
        """Every pause there is, oldest first."""
        found = [pause for pauses in list(self.pauses.values()) for pause in list(pauses.values())]
        return sorted(found, key=lambda pause: pause.recorded_at_ms)

    def note(self, event: Any) -> bool:
        """Take in a fact. Returns whether something may go on that stood."""
        match event:
            case SourcePaused():
                if event.event_id not in self._ended:
                    self.pauses.setdefault(event.target, {})[event.event_id] = event
                return False
            case SourceResumed():
                self._resumed[event.target] = self._resumed.get(event.target, 0) + 1
                self._ended.update(event.pauses)
                left = {key: pause for key, pause in self.pauses.get(event.target, {}).items() if key not in self._ended}
                self.pauses.pop(event.target, None)
                if left:
                    self.pauses[event.target] = left
                return True
            case RecordSkipped():
                self.skips[event.record] = event
                return True
        return False


class FollowedControls(PartitionControls):
    """The same, read from the log whenever one looks. A log without these topics has none."""

    def __init__(self, log: Log, codec: Codec, *, can_pause: bool = True) -> None:
        super().__init__(can_pause=can_pause)
        self._log = log
        self._codec = codec
        self._follower: Follower | None = None
        self._exists = True

    def look(self) -> bool:
        """Read what is new; the first time, all. Returns whether something may go on that stood. Raises `Unavailable`."""
        if self._follower is not None:
            return self._taken(self._follower.poll(_READ, 0.0))
        if not self._exists:
            return False
        try:
            places = [TopicPartition(topic, index) for topic in _TOPICS for index in range(self._log.partitions(topic))]
        except KeyError:
            self._exists = False
            return False
        bounds = {at: self._log.bounds(at) for at in places}
        follower = self._log.follow({at: low for at, (low, _) in bounds.items()})
        try:
            until = time.monotonic() + _PATIENCE_S
            while any(follower.position(at) < end for at, (_, end) in bounds.items()):
                self._taken(follower.poll(_READ, _WAIT_S))
                if time.monotonic() > until:
                    raise Unavailable("what was paused and skipped cannot be read to its end")
        except BaseException:
            follower.close()
            raise
        self._follower = follower
        return True

    def _taken(self, records: Iterable[Any]) -> bool:
        moved = False
        for record in records:
            moved |= self.note(self._codec.decode(record.value or b""))
        return moved

    def close(self) -> None:
        """Look no more."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None


def read_controls(log: Log, codec: Codec) -> PartitionControls:
    """What was decided so far, for whoever folds inboxes again."""
    found = FollowedControls(log, codec, can_pause=False)
    found.look()
    found.close()
    return found
