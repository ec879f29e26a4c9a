"""How the API writes to the log: raw records, and commands to the fold that decides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from connectors.api.ports import Accepted, Busy
from schemas.codec import Codec
from schemas.topics import API, ROUTES
from streams.engine.log import Fenced, Log, Outgoing, Unavailable
from streams.engine.partitions import partition_of


def append(log: Log, records: Sequence[Outgoing]) -> Accepted:
    """Write records durably. Raises `Busy`."""
    try:
        offsets = log.append(records)
    except (Unavailable, Fenced) as error:
        raise Busy(f"The log cannot take it now ({error})", "Send it again in a moment: what came twice counts once") from None
    last = records[-1]
    return Accepted(len(offsets), f"{last.topic}/{last.partition}/{offsets[-1]}")


def send(log: Log, codec: Codec, command: Any) -> Accepted:
    """Append a command to its inbox. Raises `Busy`."""
    return append(log, [record_of(codec, command)])


def record_of(codec: Codec, event: Any) -> Outgoing:
    """An event as a record of the topic that carries its type."""
    route = ROUTES[type(event)]
    key = str(getattr(event, route.key)).encode()
    return Outgoing(route.topic.name, partition_of(key, route.topic.partitions), key, codec.encode(event))


def said_now(now_ms: int, trace_id: str) -> dict[str, Any]:
    """The common fields of what a person says over the API."""
    return {
        "event_id": f"api:{uuid4()}",
        "source": API,
        "source_position": now_ms,
        "occurred_at_ms": now_ms,
        "recorded_at_ms": now_ms,
        "trace_id": trace_id,
    }
