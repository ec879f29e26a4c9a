"""A partition that cannot go on: a defect of ours. What came before it is committed; a person mends it or skips the record."""

from __future__ import annotations

from streams.engine.log import DamagedLog, TopicPartition


class PartitionHalted(Exception):
    """A flow partition stands at a record. What came before it is committed; nothing is lost or half done."""

    def __init__(self, flow: str, partition: TopicPartition, offset: int, event: str, reason: str) -> None:
        super().__init__(
            f"{flow} stopped at {partition.topic}/{partition.partition}/{offset} ({event}): {reason}. "
            "Correct the cause and start again: it goes on from here. "
            f"Or set the record aside as a dead letter: {skip_command(partition, offset)}"
        )
        self.flow = flow
        self.partition = partition
        self.offset = offset
        self.event = event
        self.reason = reason


class PartitionDamaged(PartitionHalted):
    """What a flow partition reads cannot be read. No record is to blame, so none can be skipped."""

    def __init__(self, flow: str, partition: TopicPartition, offset: int, error: DamagedLog) -> None:
        super().__init__(flow, partition, offset, "its files", str(error))
        self.args = (f"{flow} stopped at {partition.topic}/{partition.partition}/{offset}: {error}",)


def skip_command(partition: TopicPartition, offset: int) -> str:
    """How a person has the partition go on without the record."""
    return f'crossdock skip {partition.topic}/{partition.partition}/{offset} --reason "..."'
