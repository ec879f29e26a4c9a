"""One partition of a flow, opened over its committed rows: a fold's or a translator's."""

from __future__ import annotations

from schemas.codec import Codec
from streams.engine.controls import PartitionControls
from streams.engine.flow import Fold
from streams.engine.flow_partition import Flow as Flow  # noqa: PLC0414 - the names importers know
from streams.engine.flow_partition import FlowPartition as FlowPartition  # noqa: PLC0414
from streams.engine.flow_partition import store_id as store_id  # noqa: PLC0414
from streams.engine.fold_partition import FoldPartition
from streams.engine.halts import PartitionHalted as PartitionHalted  # noqa: PLC0414
from streams.engine.limits import Limits as Limits  # noqa: PLC0414
from streams.engine.limits import SourceLimit as SourceLimit  # noqa: PLC0414
from streams.engine.log import Log, Store, TopicPartition
from streams.engine.translator_partition import TranslatorPartition


def open_partition(
    flow: Flow,
    partition: TopicPartition,
    store: Store,
    log: Log,
    codec: Codec,
    limits: Limits,
    controls: PartitionControls | None = None,
) -> FlowPartition:
    """A flow partition over its committed rows. Without `controls` nothing was ever paused or skipped, and nothing will be."""
    known = controls or PartitionControls(can_pause=False)
    if isinstance(flow, Fold):
        return FoldPartition(flow, partition, store, log, codec, limits, known)
    return TranslatorPartition(flow, partition, store, log, codec, limits, known)
