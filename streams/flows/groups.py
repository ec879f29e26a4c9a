"""What a process does, and which group of workers a flow belongs to.

On the embedded log one process does everything, and one worker reads all flows. On Kafka there are as many processes as wanted,
each with the roles it is given, and two groups of workers: translators may be busy without keeping a promise waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

from streams.engine.flow import Translator
from streams.engine.log import TopicPartition
from streams.engine.partition import Flow, store_id
from streams.engine.topology import inputs_of, partitions_of
from streams.engine.worker import GROUP

Role = Literal["fold", "translate", "act", "serve"]
ROLES: tuple[Role, ...] = get_args(Role)
WORKING: frozenset[Role] = frozenset({"fold", "translate"})
"""The roles that work flows off: those that child processes take over."""

GroupOf = Callable[[Flow], str]


def role_of(flow: Flow) -> Role:
    """Which role works a flow off."""
    return "translate" if isinstance(flow, Translator) else "fold"


def one_group(flow: Flow) -> str:
    """The group of a flow on the embedded log."""
    del flow
    return GROUP


def group_by_role(flow: Flow) -> str:
    """The group of a flow on Kafka."""
    return f"{GROUP}.{role_of(flow)}"


def group_of(*, is_kafka: bool) -> GroupOf:
    """How flows are grouped."""
    return group_by_role if is_kafka else one_group


def by_group(flows: Iterable[Flow], group: GroupOf) -> dict[str, list[Flow]]:
    """The flows of each group."""
    found: dict[str, list[Flow]] = {}
    for flow in flows:
        found.setdefault(group(flow), []).append(flow)
    return found


def stores_of(flows: Sequence[Flow]) -> list[str]:
    """Whose rows a group of flows keeps, as `StoreId` names them."""
    return sorted({store_id(flow, at).flow for flow in flows for at in partitions_of(flow)})


def topics_of(flows: Sequence[Flow]) -> list[str]:
    """The topics that flows read."""
    return [topic.name for flow in flows for topic in inputs_of(flow)]


def partitions_by_group(flows: Iterable[Flow], group: GroupOf) -> dict[str, list[TopicPartition]]:
    """Every partition each group reads."""
    return {name: [at for flow in found for at in partitions_of(flow)] for name, found in by_group(flows, group).items()}
